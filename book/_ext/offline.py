"""Keep Jupyter Book's live-code extension out of the pages.

Jupyter Book loads sphinx-thebe whatever the configuration says, and it writes the address of a
script of another host into every page (twice, which is an error in itself). The extension is
loaded before this one, so its listeners can be taken off again.
"""

UNWANTED = "sphinx_thebe"


def setup(app):
    """Disconnect every listener of the unwanted extension, and forget its style sheet."""
    for listeners in app.events.listeners.values():
        listeners[:] = [one for one in listeners if not one.handler.__module__.startswith(UNWANTED)]
    styles = app.registry.css_files
    styles[:] = [one for one in styles if "thebe" not in one[0]]
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
