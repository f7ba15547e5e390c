"""Run the tagged cells of a page on planted frames, or all of them on the committed records."""

import json
from pathlib import Path

import pandas as pd
import seaborn as sns

from lib import comparison, corpora, encoders, records, style

MODULES = (comparison, corpora, encoders, records, style)
NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def cells(page: str, tag: str) -> list[str]:
    """Sources of the cells of a page that have a tag."""
    found = json.loads((NOTEBOOKS / f"{page}.ipynb").read_text())["cells"]
    return ["".join(c["source"]) for c in found if tag in c["metadata"].get("tags", [])]


def run(page: str, *tags: str, **planted) -> dict:
    """The namespace after the tagged cells of a page have run over what was planted."""
    library = {each.__name__.split(".")[1]: each for each in MODULES}
    namespace = {"pd": pd, "sns": sns} | library | planted
    for tag in tags:
        for source in cells(page, tag):
            exec(compile(source, f"{page}: {tag}", "exec"), namespace)  # noqa: S102
    return namespace


def drawn(page: str, monkeypatch, **parameters) -> dict:
    """What a page glues when all its cells run here, by the name it is shown under."""
    glued = {}
    monkeypatch.setattr("myst_nb.glue", lambda name, value, **_: glued.update({name: value}))
    namespace = {"__name__": "page", "display": lambda _: None}
    for cell in json.loads((NOTEBOOKS / f"{page}.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), page, "exec"), namespace)  # noqa: S102
        if "parameters" in cell["metadata"].get("tags", []):
            namespace |= parameters
    return glued
