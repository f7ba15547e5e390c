"""What every page gets: its build named above it, table headers with a scope, figures by name.

The book of a profile lies in ``_build/<profile>/_build/html``. Where the book of another profile
was there when this one was built, each page links to the same page of it.
"""

import base64
import json
import os
import re
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

SEEN = {
    "tiny": "Small models, minutes on a laptop.",
    "small": "Real corpora, drawn from the records in the repository.",
    "paper": "The papers' own models and sizes.",
}
GLUED = "application/papermill.record/text/markdown"
PARTS = (("thead", "col"), ("tbody", "row"))


def other_builds(profile: str, html: Path, page: str) -> dict[str, str]:
    """Relative address of the same page in the book of each other profile that is there."""
    found = {}
    for other in (name for name in SEEN if name != profile):
        built = html.parents[2] / other / "_build" / "html"
        target = built / f"{page}.html"
        if (built / "index.html").is_file():
            target = target if target.is_file() else built / "book" / "index.html"
            found[other] = os.path.relpath(target, (html / page).parent)
    return found


def banner(profile: str, html: Path, page: str) -> str:
    """One line above a page: which build this is, and where the other ones are."""
    links = other_builds(profile, html, page)
    text = f"This is the <strong>{profile}</strong> build. {SEEN.get(profile, '')}"
    for other in (name for name in SEEN if name != profile and name in links):
        text += f' <a href="{links[other]}">This page in the <strong>{other}</strong> build</a>'
    if profile == "tiny" and not links:
        text += " Real corpora: <code>make book PROFILE=small</code>"
    return text


def with_scopes(body: str) -> str:
    """Every header cell of every table says whether it heads its column or its row."""
    for part, scope in PARTS:
        body = re.sub(
            rf"<{part}\b.*?</{part}>",
            lambda found, scope=scope: re.sub(
                r"<th(?![^>]*\bscope=)(?=[ >])", f'<th scope="{scope}"', found[0]
            ),
            body,
            flags=re.DOTALL,
        )
    return body


def data_links(app, page: str, to) -> str:
    """Links to what a page draws, as csv; nothing for a page without any."""
    source = Path(app.srcdir, f"{page}.ipynb")
    text = source.read_text(encoding="utf-8") if source.is_file() else ""
    names = sorted(set(re.findall(r'settings\.of\((?:experiment=)?\\"(\w+)', text)))
    files = [Path(app.srcdir, f"book/_static/data/{name}.csv") for name in names]
    links = [
        f'<a href="{to(f"_static/data/{file.name}", 1)}" download>{file.name}</a>'
        for file in files
        if file.is_file() and file.stat().st_size > 1
    ]
    told = f'<p class="data">The data of this page, a row a run: {", ".join(links)}</p>'
    return told if links else ""


def improve(app, page, _template, context, _doctree):
    """Change what a page is written from."""
    html = Path(app.outdir)
    context["theme_announcement"] = banner(html.parents[1].name, html, page)
    if "body" in context:
        links = data_links(app, page, context["pathto"])
        context["body"] = with_scopes(context["body"])
        if "_static/data/" not in context["body"]:
            context["body"] += links


def link_images(_app, doctree):
    """Give every picture a width, so that Sphinx links it to the picture itself."""
    for image in doctree.findall(nodes.image):
        if not any(size in image for size in ("width", "height", "scale")):
            image["width"] = "100%"


def keep_outputs(app):
    """Write every named figure and glued Markdown of the executed pages for other pages to show."""
    folder, texts = Path(app.srcdir, "book/_static/figures"), Path(app.srcdir, "book/_generated")
    for made in (folder, texts):
        made.mkdir(parents=True, exist_ok=True)
    for path in sorted(Path(app.srcdir, "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            drawn = cell["metadata"].get("mystnb", {})
            name = drawn.get("figure", {}).get("name")
            if name:
                seen = drawn.get("image", {}).get("alt", name)
                (texts / f"{name}.alt").write_text(seen, encoding="utf-8")
            for output in cell.get("outputs", ()):
                data = output.get("data", {})
                if GLUED in data:
                    file = texts / f"{output['metadata']['scrapbook']['name']}.txt"
                    file.write_text("".join(data[GLUED]), encoding="utf-8")
                if name and "image/svg+xml" in data:
                    (folder / f"{name}.svg").write_text("".join(data["image/svg+xml"]))
                elif name and "image/png" in data:
                    (folder / f"{name}.png").write_bytes(base64.b64decode(data["image/png"]))


class Drawn(SphinxDirective):
    """Figures of other pages by their names, small, each with a link to where it stands.

    A figure that this build lacks (its page found no records) is named as missing.
    """

    required_arguments = 1
    final_argument_whitespace = True
    option_spec = {"large": directives.flag}

    def run(self):
        box = nodes.container(classes=["drawn", *self.options])
        for name in self.arguments[0].split():
            box += nodes.container("", *self.parse_text_to_nodes(self.shown(name)))
        return [box]

    def shown(self, name: str) -> str:
        file = next(Path(self.env.srcdir, "book/_static/figures").glob(f"{name}.*"), None)
        if file is None:
            return f"`{name}` is not drawn in this build."
        image = f"```{{image}} /book/_static/figures/{file.name}\n"
        seen = Path(self.env.srcdir, f"book/_generated/{name}.alt").read_text(encoding="utf-8")
        alt = f":alt: {seen}\n```"
        return f"{image}{alt}\n\n{{numref}}`{name}`"


def setup(app):
    """Register all of it."""
    app.connect("builder-inited", keep_outputs)
    app.connect("html-page-context", improve)
    app.connect("doctree-read", link_images)
    app.add_directive("drawn", Drawn)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
