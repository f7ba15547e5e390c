"""The contract of the notebooks, read from their JSON and their code; nothing is executed."""

import ast
import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
CLAIM = re.compile(r"(`{3,}|:{3,})\{admonition\}[^\n]*\n:class: paper-claim\n.*?\n\1", re.DOTALL)
PLOTTER = "figures"  # the module that draws; its calls are the cells that hold a figure
LONGEST_CELL = 20

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path, kind=None):
    content = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in content if kind in (None, cell["cell_type"])]


def source(cell):
    return "".join(cell["source"])


def tags(cell):
    return cell["metadata"].get("tags", [])


def prose(path):
    return "\n\n".join(source(cell) for cell in cells(path, "markdown"))


def figure(cell):
    return cell["metadata"].get("mystnb", {}).get("figure", {})


def draws(cell):
    calls = (node for node in ast.walk(ast.parse(source(cell))) if isinstance(node, ast.Call))
    return any(ast.unparse(call.func).startswith(f"{PLOTTER}.") for call in calls)


def constants(path):
    for cell in cells(path, "code"):
        for node in ast.walk(ast.parse(source(cell))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_there_are_notebooks():
    assert NOTEBOOKS


@each_notebook
def test_holds_no_outputs(path):
    for cell in cells(path, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
    for cell in cells(path):
        assert "papermill" not in cell["metadata"]
        assert "execution" not in cell["metadata"]


@each_notebook
def test_opens_with_label_and_title(path):
    first = cells(path)[0]
    assert first["cell_type"] == "markdown"
    assert re.match(r"\([a-z0-9-]+\)=\n# \S", source(first)), "label, then title"


@each_notebook
def test_first_code_cell_and_no_other_holds_the_parameters(path):
    tagged = ["parameters" in tags(cell) for cell in cells(path, "code")]
    assert tagged == [True] + [False] * (len(tagged) - 1)


@each_notebook
def test_parameters_are_typed_and_explained(path):
    lines = source(cells(path, "code")[0]).splitlines()
    for line in lines:
        assert re.fullmatch(r"[a-z_]+: (str|list|int|float|bool) = .+  # \S.*", line), line
    assert lines[0].startswith('profile: str = "tiny"')


@each_notebook
def test_cells_are_short(path):
    for cell in cells(path, "code"):
        assert len(source(cell).splitlines()) <= LONGEST_CELL, source(cell)


@each_notebook
def test_knows_no_path_no_device_and_no_profile_by_name(path):
    for text in constants(path):
        assert not re.match(r"(/|~|\.\.?/|[A-Za-z]:\\)\S", text), f"a path: {text!r}"
        assert "cuda" not in text
    for cell in cells(path, "code"):
        for node in ast.walk(ast.parse(source(cell))):
            if isinstance(node, ast.If | ast.IfExp | ast.Compare):
                assert "profile" not in ast.unparse(getattr(node, "test", node)), source(cell)


@each_notebook
def test_ends_with_its_provenance(path):
    assert "provenance" in source(cells(path, "code")[-1])


@each_notebook
def test_every_figure_is_folded_named_captioned_and_referred_to(path):
    text = prose(path)
    for cell in filter(draws, cells(path, "code")):
        assert "hide-input" in tags(cell), source(cell)
        assert figure(cell).get("name", "").startswith("fig-"), source(cell)
        assert figure(cell).get("caption"), source(cell)
        assert f"{{numref}}`{figure(cell)['name']}`" in text, figure(cell)["name"]


@each_notebook
def test_only_claims_of_papers_hold_typed_percentages(path):
    assert re.findall(r"\d\s*(?:%|per cent)", CLAIM.sub("", prose(path))) == []


@each_notebook
def test_glued_numbers_are_used_on_some_page(path):
    """A number glued and never shown is dead; one shown on the page must be glued by it."""
    used = set(re.findall(r"\{glue:text\}`([a-z0-9_]+)[:`]", prose(path)))
    glued = {
        node.args[0].value
        for cell in cells(path, "code")
        for node in ast.walk(ast.parse(source(cell)))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "glue"
    }
    elsewhere = "".join(page.read_text() for page in (path.parents[1] / "book").glob("*.md"))
    quoted = set(re.findall(rf"{path.name}::([a-z0-9_]+)", elsewhere))
    assert used | quoted == glued


def test_names_of_figures_are_unique():
    names = [figure(cell)["name"] for path in NOTEBOOKS for cell in cells(path) if figure(cell)]
    assert len(names) == len(set(names))
