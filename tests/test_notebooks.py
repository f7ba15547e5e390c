"""The contract of the notebooks, read from their JSON and their code; nothing is executed."""

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROSE = sorted((ROOT / "book").glob("*.md"))
CLAIM = re.compile(r"(`{3,}|:{3,})\{admonition\}[^\n]*\n:class: paper-claim\n.*?\n\1", re.DOTALL)
FENCED = re.compile(r"(`{3,}|:{3,}).*?\n\1", re.DOTALL)
DRAWS = re.compile(r"^style\.show\(", re.MULTILINE)  # not in a function that a later cell calls
CLAIMS = [f"a{n}" for n in range(1, 6)] + [f"b{n}" for n in range(1, 11)]
LONGEST_CELL = 25
PARAMETERS = 8

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


def drawing(path):
    return [cell for cell in cells(path, "code") if DRAWS.search(source(cell)) or figure(cell)]


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
def test_opens_with_label_and_noun_title(path):
    first = cells(path)[0]
    assert first["cell_type"] == "markdown"
    assert re.match(r"\([a-z0-9-]+\)=\n# [A-Z]\S+", source(first)), "label, then title"
    title = source(first).splitlines()[1]
    verbs = r"# (See|Find|Count|Read|Rank|Narrow|Choose|Drop|Compare|Measure|Make|Pretrain) "
    assert not re.match(verbs, title), "a title names the subject; it gives no order"


@each_notebook
def test_first_code_cell_and_no_other_holds_the_parameters(path):
    tagged = ["parameters" in tags(cell) for cell in cells(path, "code")]
    assert tagged == [True] + [False] * (len(tagged) - 1)


@each_notebook
def test_parameters_are_few_typed_and_explained(path):
    lines = source(cells(path, "code")[0]).splitlines()
    for line in lines:
        assert re.fullmatch(r"[a-z_]+: (str|list|int|float|bool) = .+  # \S.*", line), line
    assert lines[0].startswith('profile: str = "tiny"')
    assert len(lines) <= PARAMETERS, "any other setting can be passed without being declared"


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
def test_says_nothing_about_a_profile_that_it_may_not_show(path):
    """The same sentences stand in the books of all profiles."""
    said = re.findall(r"[^.]*`(?:tiny|small|paper)`[^.]*\.", FENCED.sub("", prose(path)))
    assert said == []


@each_notebook
def test_the_graph_sees_every_experiment(path):
    """The Snakefile reads names of experiments from the text of a page, without running it."""
    for cell in cells(path, "code"):
        for call in re.findall(r"settings\.of\((.*)", source(cell)):
            assert re.match(r'"\w+"|experiment=', call), call


@each_notebook
def test_opens_with_question_answer_and_caveat(path):
    head = source(cells(path)[0])
    assert re.findall(r"^\*\*(\w+)\.\*\*", head, re.MULTILINE)[:3] == [
        "Question",
        "Answer",
        "Caveat",
    ]


PRIVATE = r"\b(twins?|in the mean|says? words|the child|a child|lacks|goes nowhere|told on)\b"


@pytest.mark.parametrize("path", [*NOTEBOOKS, *PROSE], ids=lambda path: path.stem)
def test_speaks_in_the_terms_of_the_field(path):
    """Random-init baseline, average over, student: no words that only this project uses."""
    text = path.read_text(encoding="utf-8") if path.suffix == ".md" else prose(path)
    if path.suffix != ".md":
        text += " ".join(figure(cell).get("caption", "") for cell in cells(path, "code"))
    assert re.findall(PRIVATE, text) == []


@each_notebook
def test_ends_with_its_provenance(path):
    assert "provenance" in source(cells(path, "code")[-1])


@each_notebook
def test_its_experiments_are_found_in_its_text(path):
    """As the Snakefile and the links to the data look for them, without reading the code."""
    calls = [
        node.args[0].value
        for cell in cells(path, "code")
        for node in ast.walk(ast.parse(source(cell)))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "settings.of" and node.args
    ]
    found = re.findall(r'settings\.of\(\\"(\w+)', path.read_text(encoding="utf-8"))
    assert sorted(found) == sorted(calls)


@each_notebook
def test_says_how_it_is_run_again_and_on_what_text(path):
    if any("settings.of(" in source(cell) for cell in cells(path, "code")):
        own = path.stem.startswith(("00", "13", "a0"))  # no runs on a text of the book
        assert own or "style.badge(" in "".join(map(source, cells(path, "code")))
        last = "".join(map(source, cells(path, "code")[-3:]))
        assert f'"{path.stem}"' in last, "style.rerun before provenance"


@each_notebook
def test_every_figure_is_named_captioned_and_described(path):
    for cell in drawing(path):
        name, caption = figure(cell).get("name", ""), figure(cell).get("caption", "")
        assert name.startswith("fig-") and caption, source(cell)
        seen = cell["metadata"]["mystnb"].get("image", {}).get("alt", "")
        assert len(seen.split()) >= 5, f"{name}: say what is seen, for readers who hear the page"
        assert seen.strip(" .") != caption.strip(" ."), f"{name}: the caption is read out anyway"


@each_notebook
def test_what_was_found_holds_no_typed_percentage(path):
    """Definitions and criteria may name a share; question, answer, caveat and summary may not."""
    text = prose(path)
    found = text.split("(claim-")[0].split("\n## ")[0] + "".join(text.split("## Summary")[1:])
    found = FENCED.sub("", CLAIM.sub("", found)).split("**In practice.**")[0]
    assert re.findall(r"\d\s*(?:%|per cent)", found) == []


@each_notebook
def test_glued_numbers_are_used_on_some_page(path):
    """A number glued and never shown is dead; one shown on the page must be glued by it."""
    pattern = r"\{glue:(?:text|md)?\}`?\s*([a-z0-9_]+)"
    used = set(re.findall(pattern, prose(path)))
    calls = [
        node
        for cell in cells(path, "code")
        for node in ast.walk(ast.parse(source(cell)))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "glue"
    ]
    glued = {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}
    loops = len(glued) < len(calls)  # some under names that are put together
    elsewhere = "".join(page.read_text(encoding="utf-8") for page in PROSE)
    quoted = set(re.findall(rf"(?:{path.name}::|_generated/)([a-z0-9_]+)", elsewhere))
    assert not used - glued or loops, used - glued
    assert glued <= used | quoted, glued - used - quoted


def test_names_of_figures_are_unique():
    names = [figure(cell)["name"] for path in NOTEBOOKS for cell in cells(path) if figure(cell)]
    assert len(names) == len(set(names))


def test_every_claim_can_be_linked_in_one_place():
    pages = [prose(path) for path in NOTEBOOKS] + [p.read_text(encoding="utf-8") for p in PROSE]
    anchors = re.findall(r"^\(claim-([ab]\d+)\)=", "\n".join(pages), re.MULTILINE)
    assert sorted(anchors) == sorted(CLAIMS)


def test_the_papers_figures_show_figures_that_exist():
    names = {figure(cell)["name"] for path in NOTEBOOKS for cell in cells(path) if figure(cell)}
    shown = [
        name
        for page in PROSE
        for line in re.findall(r"\{drawn\} (.+)", page.read_text(encoding="utf-8"))
        for name in line.split()
    ]
    assert shown
    assert set(shown) - names == set()
