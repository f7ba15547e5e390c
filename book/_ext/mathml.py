r"""Formulas as MathML, written when the book is built: no script, no font, no other host.

Sphinx sends formulas to MathJax, a script from another host. Every current browser draws MathML by
itself, so `latex2mathml` turns each formula into it here. What it does not know it passes on as
text, silently; that is a warning here, and the book is built with warnings as errors.
"""

import re
from xml.etree import ElementTree

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

logger = logging.getLogger(__name__)

# The same construct under a name that latex2mathml knows.
SYNONYMS = {r"{aligned}": r"{split}", r"\eqref": r"\ref"}
BARE_AMPERSAND = re.compile(r"&(?!#?\w+;)")


def to_mathml(latex: str, display: str) -> str:
    """MathML of one formula; ValueError if a part of it was not understood."""
    for name, synonym in SYNONYMS.items():
        latex = latex.replace(name, synonym)
    markup = BARE_AMPERSAND.sub("&amp;", convert(latex.strip(), display=display))
    unknown = [
        text
        for text in ElementTree.fromstring(markup).itertext()
        if text == "&" or (text.startswith("\\") and text != "\\")
    ]
    if unknown:
        raise ValueError(f"latex2mathml does not know {', '.join(sorted(set(unknown)))}")
    return markup


def wrap_rows(latex: str) -> str:
    r"""A formula of several rows (``\\`` or blank lines) as one table, as for MathJax."""
    rows = [row.strip() for row in re.split(r"\n\s*\n", latex) if row.strip()]
    body = r" \\ ".join(rows)
    if r"\begin" in body or r"\\" not in body:
        return body
    return rf"\begin{{split}}{body}\end{{split}}"


def render(writer, node, latex: str, display: str) -> str:
    """MathML of a node, or its source with a warning."""
    try:
        return to_mathml(latex, display)
    except Exception as error:  # whatever the parser stumbles over, the author must see the formula
        logger.warning("formula %r: %s", latex, error, location=node)
        return f"<code>{writer.encode(latex)}</code>"


def visit_inline(writer, node):
    """Write an inline formula."""
    writer.body.append(writer.starttag(node, "span", "", CLASS="math notranslate"))
    writer.body.append(render(writer, node, node.astext(), "inline") + "</span>")
    raise nodes.SkipNode


def visit_display(writer, node):
    """Write a displayed formula with its number, in a box that scrolls on narrow screens."""
    writer.body.append(writer.starttag(node, "div", CLASS="math notranslate"))
    writer.body.append('<div class="formula" tabindex="0">')
    writer.body.append(render(writer, node, wrap_rows(node.astext()), "block") + "</div>")
    if node["number"]:
        number = get_node_equation_number(writer, node)
        writer.body.append(f'<span class="eqno">({number})')
        writer.add_permalink_ref(node, "Link to this equation")
        writer.body.append("</span>")
    writer.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app):
    """Register the renderer; `html_math_renderer: mathml` selects it."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_display, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
