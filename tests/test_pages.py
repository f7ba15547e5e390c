"""Every notebook through papermill: from two folders, with right and with wrong parameters."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lib import book, profiles
from lib import old_records as records
from lib.errors import BadInput
from lib.grids import AFFECTS

NOTEBOOKS = sorted((book.ROOT / "notebooks").glob("*.ipynb"))
EXPERIMENTS = [p for p in NOTEBOOKS if p.stem.split("_", 1)[1] in AFFECTS]
CLUSTERS, CUTS, OWN = "03_neuron_correlation", "08_dropping", "13_your_model"
PROBES, MINIATURES, WORDS = "04_layer_probes", "a1_pretrain_miniatures", "a2_dropped_words"
UNRECORDED = (OWN, MINIATURES, WORDS)  # these keep no records
RECORDED = [p for p in NOTEBOOKS if p.stem not in UNRECORDED]
WRONG = {
    "name": (CLUSTERS, "thresholdz", [0.3], "parameter 'thresholdz' is not known; valid: profile"),
    "model": (CLUSTERS, "models", ["bert-bose"], "model 'bert-bose' .*bert-base-cased"),
    "task": (CLUSTERS, "tasks", ["poss"], "task 'poss' is not known; valid: pos, "),
    "number": (CLUSTERS, "thresholds", [1.5], "threshold 1.5 is out of range; valid: 0 to 1"),
    "strategy": (CUTS, "strategies", ["topp"], "strategy 'topp' is not known; valid: top, bottom"),
    "protocol": (PROBES, "protocol", "offical", "protocol 'offical' is not known; valid: official"),
    "repeats": ("11_cost", "repeats", 0, "repeats 0 is out of range; valid: 1 to 1,000"),
    "share": (CUTS, "drops", [1.5], "share of blocks 1.5 is out of range; valid: 0.01 to 0.99"),
    "metric": (OWN, "metric", "f1", "metric of this model: 'f1' is not known; valid: accuracy, m"),
    "kind": (
        MINIATURES,
        "architecture",
        "gpt",
        "architecture 'gpt' is not known; valid: bert-mini",
    ),
    "tuned": (WORDS, "tuned", ["evens"], "strategy to be tuned 'evens' is not known; valid: top, "),
    "own": (OWN, "model", "all-minilm-l6-v2", "model is given and file is not; give both, or none"),
}


def grid(path):
    return profiles.get("tiny", path.stem.split("_", 1)[1])


@pytest.mark.slow
@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_tiny_records_its_whole_grid(path, executed):
    settings = grid(path)
    found = dict(records.read(settings))
    assert list(found) == settings.runs()
    for values in found.values():
        likeness = np.array(values.get("cka", []), dtype=float)  # None, where undefined, is NaN
        assert (np.isnan(likeness) | (likeness >= 0) & (likeness <= 1 + 1e-6)).all()
        for left in values.get("clusters", {}).values():
            assert 1 <= left <= values["neurons"]


@pytest.fixture(scope="module")
def second_runs(executed, tmp_path_factory):
    """Every notebook with records again by plain papermill, from an empty folder, two at a time.

    Gives the folders, and the records before and after.
    """

    def contents():
        files = sorted((executed / "book" / "results").rglob("*.jsonl"))
        return {file: file.read_bytes() for file in files}

    def run(path):
        folder = tmp_path_factory.mktemp(path.stem)
        words = [path, "out.ipynb", "-p", "profile", "tiny", "--no-progress-bar"]
        subprocess.run([sys.executable, "-m", "papermill", *words], cwd=folder, check=True)
        return path, folder

    before = contents()
    with ThreadPoolExecutor(2) as pool:
        folders = dict(pool.map(run, RECORDED))
    return folders, before, contents()


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


def test_an_error_in_a_cell_is_no_finished_page(tmp_path):
    import nbformat
    import papermill

    cell = nbformat.v4.new_code_cell("profile = 'tiny'", metadata={"tags": ["parameters"]})
    broken = nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_code_cell("1 / 0")])
    broken.metadata["kernelspec"] = {"name": "another", "display_name": "x", "language": "python"}
    nbformat.write(broken, tmp_path / "broken.ipynb")
    with pytest.raises(papermill.PapermillExecutionError, match="ZeroDivisionError"):
        book.execute(tmp_path / "broken.ipynb", tmp_path / "out.ipynb")
    assert not (tmp_path / "out.ipynb").exists()
