"""Every notebook through papermill: from two folders, with right and with wrong parameters."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import planted
import pytest

from lib import book, comparison, records
from lib.errors import BadInput

NOTEBOOKS = sorted((book.ROOT / "notebooks").glob("*.ipynb"))
EXPERIMENTS = {
    path.stem: sorted(set(re.findall(r'settings\.of\(\\"(\w+)', path.read_text(encoding="utf-8"))))
    for path in NOTEBOOKS
}
RECORDED = [path for path in NOTEBOOKS if EXPERIMENTS[path.stem] and "scoreboard" not in path.stem]
PLANNED = {"twelve_layers", "tuned_probes"}  # name models and tasks; records are other pages'
CLUSTERS, CUTS, COST = "03_neuron_correlation", "08_dropping", "11_cost"
WRONG = {
    "name": (CLUSTERS, "thresholdz", [0.3], "parameter 'thresholdz' is not known"),
    "model": (CLUSTERS, "models", ["bert-bose"], "'bert-bose' .*is not valid.*bert-base-cased"),
    "task": (CLUSTERS, "tasks", ["poss"], "'poss'.* is not valid: .*pos, "),
    "number": (CLUSTERS, "thresholds", [1.5], "1.5 is not valid: .*less than or equal to 1"),
    "strategy": (CUTS, "strategies", ["topp"], "'topp'.* is not valid: .*top, bottom"),
    "protocol": ("04_layer_probes", "protocol", "offical", "'offical' is not valid: .*official"),
    "repeats": (COST, "repeats", 0, "repeats 0 is not valid: .*greater than or equal to 1"),
    "share": (CUTS, "drop_shares", [1.5], "1.5 is not valid: .*less than 1"),
    "own": ("13_your_model", "model", "all-minilm-l6-v2", "file is not given"),
}


def lines(folder):
    """Every record of a folder of results, as text, by its file."""
    return {file: file.read_text(encoding="utf-8") for file in sorted(folder.rglob("*.jsonl"))}


@pytest.mark.slow
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_tiny_records_its_whole_grid(path, executed):
    for name in set(EXPERIMENTS[path.stem]) - PLANNED:
        assert lines(executed / "book/results/tiny" / name), f"no record of {name}"
    page = (book.mirror("tiny", executed) / f"notebooks/{path.name}").read_text(encoding="utf-8")
    for done, asked in re.findall(r"(\d+) of (\d+) runs are finished", page):
        assert done == asked


@pytest.fixture(scope="module")
def second_runs(executed, tmp_path_factory):
    """Every notebook with records again by plain papermill, from an empty folder, two at a time.

    Gives the folders, and the records before and after.
    """

    def run(path):
        folder = tmp_path_factory.mktemp(path.stem)
        words = [path, "out.ipynb", "-p", "profile", "tiny", "--no-progress-bar"]
        subprocess.run([sys.executable, "-m", "papermill", *words], cwd=folder, check=True)
        return path, folder

    before = lines(executed / "book/results")
    with pytest.MonkeyPatch.context() as environment, ThreadPoolExecutor(2) as pool:
        environment.setenv("REDUNDANCY_RESULTS", str(executed / "book/results"))
        folders = dict(pool.map(run, RECORDED))
    return folders, before, lines(executed / "book/results")


@pytest.mark.slow
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_second_run_from_another_folder_changes_no_record(path, second_runs):
    folders, before, after = second_runs
    assert after == before
    assert [entry.name for entry in folders[path].iterdir()] == ["out.ipynb"]


@pytest.mark.slow
@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_parameter_stops_in_one_sentence(what, tmp_path, monkeypatch):
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(tmp_path / "results"))
    page, name, value, sentence = WRONG[what]
    path = book.ROOT / "notebooks" / f"{page}.ipynb"
    with pytest.raises(BadInput, match=sentence) as caught:
        book.execute(path, tmp_path / "out.ipynb", {name: value})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_says_the_same_without_a_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "lib.book", "execute", "nowhere.ipynb", tmp_path / "out.ipynb"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "notebook 'nowhere.ipynb' does not exist\n"


@pytest.mark.slow
def test_the_scoreboard_draws_real_text_where_the_results_are_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(tmp_path / "results"))
    path = book.ROOT / "notebooks/00_scoreboard.ipynb"
    book.execute(path, tmp_path / "out.ipynb", {"profile": "tiny"})
    told = (tmp_path / "out.ipynb").read_text()
    (judged,) = re.findall(r"On real text, from the records of the build small, (\d+) of", told)
    assert int(judged) > 0


# Parameters that leave a page little to show: one text, no task that was learned, a model
# or a strategy that others are compared with left out. It says so; no sentence holds a nan.
LITTLE = {
    "01_activations": [{"tasks": ["sst2"]}],
    "02_layer_similarity": [{"tasks": ["sst2"]}, {"weights": ["trained"]}],
    "03_neuron_correlation": [{"probed": ["cola"]}, {"weights": ["trained"]}],
    "04_layer_probes": [{"tasks": ["cola"]}],
    "05_neuron_rankings": [{"unlearned": True}, {"penalties": [0.001, 0.003]}],
    "06_efficient_transfer": [{"tasks": ["cola"]}],
    "08_dropping": [{"tasks": ["rte"], "models": ["bert-mini-12"]}, {"strategies": ["bottom"]}],
    "09_layers_to_spare": [{"tasks": ["rte"]}],
    "10_distilled": [{"unlearned": True}],
    "12_tuning": [{"unlearned": True}, {"models": ["bert-mini-12", "all-minilm-l6-v2"]}],
    "15_encoders_decoders": [{"models": ["bert-mini-12", "all-minilm-l6-v2"]}],
    "16_twelve_layers": [{"unlearned": True}],
    "a2_dropped_words": [{"strategies": ["bottom"]}, {"drop_shares": [0.1667]}],
}


@pytest.mark.slow
@pytest.mark.parametrize(("page", "case"), [(p, i) for p in LITTLE for i in range(len(LITTLE[p]))])
def test_a_page_with_little_to_show_says_so(page, case, monkeypatch):
    given = dict(LITTLE[page][case])
    monkeypatch.delenv("REDUNDANCY_RESULTS", raising=False)
    monkeypatch.setattr(records, "keep_verdict", lambda *_, **__: None)
    if given.pop("unlearned", False):
        monkeypatch.setattr(comparison, "CLEAR", 1000.0)
    told = planted.drawn(page, monkeypatch, profile="small", compute=False, **given)
    words = {name: str(getattr(value, "data", value)) for name, value in told.items()}
    assert "answer" in words
    assert not [name for name, text in words.items() if re.search(r"\bnan\b", text)]


def numbers(folder):
    """What each run gave, by the file of its record."""
    files = [file for file in sorted(folder.rglob("*.jsonl")) if ".provenance" not in file.suffixes]
    return {f: [json.loads(line)["values"] for line in f.open(encoding="utf-8")] for f in files}


def notebook(path, *sources):
    """Write a notebook whose cells are texts: Markdown where they begin with a label or a title."""
    made = [
        nbformat.v4.new_markdown_cell(text)
        if text.startswith(("(", "#"))
        else nbformat.v4.new_code_cell(text)
        for text in sources
    ]
    next(cell for cell in made if cell.cell_type == "code").metadata["tags"] = ["parameters"]
    content = nbformat.v4.new_notebook(cells=made)
    content.metadata["kernelspec"] = {"name": "another", "display_name": "x", "language": "python"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(content, path)
    return path


def test_an_error_in_a_cell_is_no_finished_page(tmp_path):
    import papermill

    path = notebook(tmp_path / "broken.ipynb", "profile = 'tiny'", "1 / 0")
    with pytest.raises(papermill.PapermillExecutionError, match="ZeroDivisionError"):
        book.execute(path, tmp_path / "out.ipynb")
    assert not (tmp_path / "out.ipynb").exists()


# A whole experiment of its own: the grid, the step, a figure, a number. Nothing else in the project
# knows of it but one line in the table of contents.
NEW = (
    "(new-experiment)=\n# Ends of a model",
    'profile: str = "tiny"  # tiny, small or paper\nmodels: list = None  # folders\n'
    'tasks: list = ["pos"]  # texts',
    "from myst_nb import glue\n\n"
    "from lib import activations, corpora, encoders, records, settings, similarity\n\n"
    'chosen = settings.of("ends", globals(), on=("max_words",), seeds=[0, 1])',
    "def step(model, task, seed):\n"
    '    """CKA between the first and the last layer, on twenty sentences."""\n'
    "    text = corpora.load(task, root=chosen.data, seed=seed)\n"
    "    words = [words for words, _ in text.train[:20]]\n"
    "    rows = activations.extract(*encoders.load(model), words, level='word').rows\n"
    "    moments = similarity.Moments(rows[0].numel()).update(rows.flatten(1))\n"
    "    likeness = similarity.linear_cka(moments.scatter, [rows.shape[2]] * rows.shape[1])\n"
    "    return {'cka': likeness[0].tolist(), 'ends': float(likeness[0, -1])}",
    "grid = [(m, t, s) for m in chosen.models for t in chosen.tasks for s in chosen.seeds]\n"
    "runs = records.fill(chosen, grid, step)\n"
    'glue("ends", float(runs["ends"].mean()), display=False)\nruns',
    "# What came out\n\nThe ends are alike by {glue:text}`ends:.2f`"
    " ({download}`data </book/_static/data/ends.csv>`).",
)


@pytest.mark.slow
def test_a_new_experiment_is_a_notebook_and_a_line_in_the_toc(
    tmp_path, monkeypatch, family_folders
):
    """Executed, recorded, resumed after a loss, and built, with its data beside it."""
    results = tmp_path / "book" / "results"
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(results))
    for folder in ("_ext", "_static", "_templates"):
        shutil.copytree(book.ROOT / "book" / folder, tmp_path / "book" / folder)
    shutil.copy(book.ROOT / "book/references.bib", tmp_path / "book")
    shutil.copy(book.ROOT / "_config.yml", tmp_path)
    (tmp_path / "book/index.md").write_text("# A book\n")
    page = notebook(tmp_path / "notebooks/14_ends.ipynb", *NEW)
    toc = "format: jb-book\nroot: book/index\nchapters:\n  - file: notebooks/14_ends\n"
    (tmp_path / "_toc.yml").write_text(toc)
    given = {"profile": "tiny", "models": [str(family_folders[name]) for name in ("bert", "xlnet")]}
    out = book.mirror("tiny", tmp_path) / "notebooks/14_ends.ipynb"

    book.execute(page, out, given)
    first = numbers(results)
    assert [len(found) for found in first.values()] == [2, 2]
    assert all(0 <= values["ends"] <= 1 for found in first.values() for values in found)

    lost = next(iter(first))
    lost.write_text(lost.read_text(encoding="utf-8").splitlines()[0] + "\n")
    assert numbers(results) != first
    book.execute(page, out, given)
    assert numbers(results) == first

    html = book.build("tiny", tmp_path).parent
    assert "The ends are alike by" in (html / "notebooks/14_ends.html").read_text(encoding="utf-8")
    data = (html / "_static/data/ends.csv").read_text(encoding="utf-8").splitlines()
    assert len(data) == 5 and "cka" in data[0]


@pytest.mark.parametrize("target", ["book", "records"])
def test_the_commands_of_the_makefile_are_ones_that_snakemake_takes(target):
    """The line that make would run, as a dry run."""
    told = {"cwd": book.ROOT, "capture_output": True, "text": True}
    printed = subprocess.run(["make", "-n", target, "PROFILE=small"], check=False, **told).stdout
    (line,) = [line for line in printed.splitlines() if "/snakemake " in line]
    words = [sys.executable, "-m", "snakemake", *shlex.split(line)[1:], "-n"]
    done = subprocess.run(words, check=False, **told)
    assert done.returncode == 0, done.stderr


def test_cells_that_no_job_of_one_task_makes_come_last():
    words = "-m snakemake -n all_records --cores 1 --nolock --config profile=small".split()
    told = {"cwd": book.ROOT, "capture_output": True, "text": True}
    plan = subprocess.run([sys.executable, *words], check=True, **told).stdout
    (needs,) = re.findall(r"input: (.*)\n +output: \S+08_dropping/bert-mini-12--rest", plan)
    assert {f"bert-mini-12--{task}.ipynb" for task in ("sst2", "qqp")} == {
        Path(file).name for file in needs.split(", ")[1:]
    }
