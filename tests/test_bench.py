"""The benchmark's checks hold, and can fail; its page renders from what it writes. Never a time."""

import copy
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lib import BadInput, finetune
from lib import old_records as records
from lib.bench import (
    clusters,
    figures,
    numbers,
    peers,
    probed,
    probing,
    report,
    roofline,
    run,
    tuned,
    tuning,
)
from lib.bench.base import QUICK, check, difference
from lib.bench.vectors import gram_cka
from lib.similarity import Moments, linear_cka

ROOT = Path(__file__).parents[1]
PEERS = peers.versions() == peers.PEERS
TINY = replace(QUICK, sentences=6, neurons=60, cka_sentences=12, cka_checked=120, repeats=1)


@pytest.fixture(scope="module")
def measured():
    """One quick run, with the peers where they are installed."""
    made = run.measure(TINY, device="cpu", with_peers=PEERS)
    return json.loads(json.dumps(run.significant(made)))


@pytest.fixture(scope="module")
def beside(measured):
    """A record with the peers beside us."""
    if not PEERS:
        pytest.skip("NeuroX and pytorch-cka are not installed; 'make bench' installs them")
    return measured


@pytest.fixture(scope="module")
def record(measured):
    """A record of our side alone, as ``--alone`` writes it."""
    ours = json.loads(json.dumps(measured))
    ours["clusters"] = [entry for entry in ours["clusters"] if entry["way"] == "ours"]
    for part in ("extraction", "cka"):
        ways = ours[part]["ways"]
        ours[part]["ways"] = {w: e for w, e in ways.items() if w in report.NAMES}
    ours["cka"]["ways"].pop("pytorch-cka", None)
    ours["cka"]["errors"] = {}
    probes = ours["probing"]
    timed = [
        entry[work] for entry in probes["one"] for work in ("seconds", "evaluation", "ranking")
    ]
    searches = [probes[work]["seconds"] for work in ("sets", "search")]
    for ways in (*timed, *searches, probes["memory"]):
        ways.pop("NeuroX", None)
    probes["search"].pop("widths", None)
    return ours


def test_all_ways_compute_the_same(beside):
    assert len(beside["checks"]) == 5 + 6 + 5
    assert [entry for entry in beside["checks"] if not entry["holds"]] == []
    assert {"extract", "NeuroX HDF5", "NeuroX JSON"} < set(beside["extraction"]["ways"])
    assert {entry["way"] for entry in beside["clusters"]} == {"ours", "NeuroX"}
    assert {"ours", "NeuroX"} <= set(beside["probing"]["one"][0]["ranking"])


def test_a_wrong_vector_is_noticed():
    rows = torch.randn(5, 3, 4)
    wrong = rows.clone()
    wrong[4, 2, 3] += 1e-3
    assert check("vectors", difference(rows, rows), 1e-4)["holds"]
    for other in (wrong, rows[:4], torch.full_like(rows, float("nan"))):
        assert not check("vectors", difference(rows, other), 1e-4)["holds"]


def test_a_wrong_correlation_or_cluster_is_noticed():
    found = {"correlation": np.eye(4), "labels": np.array([1, 1, 2, 3])}
    wrong = {"correlation": np.eye(4) + 1e-4, "labels": np.array([1, 2, 2, 3])}
    same, other = (clusters._cluster_checks(9, found, entry) for entry in (found, wrong))
    assert [entry["holds"] for entry in same + other] == [True, True, False, False]


def test_the_definition_of_cka_knows_ours_from_a_wrong_one():
    rows = torch.randn(50, 3, 4, generator=torch.Generator().manual_seed(0))
    scatter = Moments(12).update(rows.flatten(1)).scatter
    assert difference(linear_cka(scatter, [4] * 3), gram_cka(rows)) < 1e-6
    assert difference(linear_cka(scatter + 1, [4] * 3), gram_cka(rows)) > 1e-5


def test_probes_on_planted_rows_learn_and_the_search_finds_the_lower_layers():
    data = probing.rows_of(3000, 130, 2, "cpu")
    assert len(data.rows) == len(data.labels) == 3000 and len(data.held) == 300
    found = probing.search(data)
    assert found["layer"] < probing.TELLING
    assert found["size"] <= found["clusters"] <= 130 * (found["layer"] + 1) // probing.LAYERS
    assert found["trained"][:26] == [10] * 13 + list(range(10, 131, 10))
    assert probing._accuracy(probing._ours(data), data)[0] > 70


def test_a_neuron_at_another_step_of_the_ranking_is_noticed():
    weights = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    order, entry = probing.rank_neurons(weights, protocol="official")
    cutoffs = [int((entry <= step).sum()) for step in range(1001)]
    assert probing._other_steps(weights, order, cutoffs) == 0
    late = [cutoffs[0] - 1, *cutoffs[1:]]
    assert probing._other_steps(weights, order, late) == 1


def test_fine_tuning_does_the_same_as_the_released_loop(measured):
    checks = [entry for entry in measured["checks"] if "tuning" in entry["what"]]
    assert len(checks) == 4 and all(entry["holds"] for entry in checks)
    assert list(measured["tuning"]["tasks"]) == list(tuning.TASKS)
    for found in measured["tuning"]["tasks"].values():
        assert found["source"] and found["updates"] == 1


def test_other_batches_are_noticed_by_the_check_of_weights(minilm):
    task = tuning.load("sst2", 16)
    start, tokenizer = finetune.begin(tuning.MODEL, task, device="cpu")
    rows = tuning.padded(tokenizer, task, task.train)
    moved = []
    for group in (range(8), range(8, 16)):
        model = copy.deepcopy(start)
        list(tuning.released_updates(model, rows, [np.array(group)], tuning.RECIPE))
        moved.append(model)
    assert tuning._moved(*moved) / tuning._moved(start, moved[0]) > 0.1


def test_planted_rows_do_not_depend_on_who_asks():
    shape = clusters.Shape(700, 20, 0.3, "cpu")
    first, again = (np.concatenate(list(clusters.planted(shape))) for _ in range(2))
    assert first.shape == (700, 20) and first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first.std(axis=0), 1, atol=0.15)


def test_without_peers_one_sentence_says_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr(peers, "versions", dict)
    assert run.main(["--quick"]) == 2
    message = capsys.readouterr().err
    assert "neurox 1.0.9" in message and "make bench" in message
    assert message.count("\n") == 1


def test_pins_of_the_peers_are_those_of_the_requirements():
    lines = (ROOT / "requirements-bench.txt").read_text().splitlines()
    assert dict(line.split("==") for line in lines if "==" in line) == peers.PEERS


def test_the_file_is_named_after_the_device(monkeypatch, tmp_path):
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(tmp_path))
    file = run.default_file("cpu", quick=False)
    assert file.parent == tmp_path / "bench"
    assert re.fullmatch(r"cpu-[a-z0-9_]+-\d+-threads\.json", file.name)
    assert run.default_file("cpu", quick=True).parent == ROOT / "_build"


def test_numbers_keep_their_digits_in_a_record():
    value = {"a": 1.23456789e-9, "b": [float("nan"), 3], 5: float("inf")}
    assert run.significant(value) == {"a": 1.23457e-9, "b": [None, 3], "5": None}


def test_a_missing_record_is_named():
    with pytest.raises(BadInput, match="'no-such-device'"):
        report.read("no-such-device")


@pytest.mark.parametrize("which", ["record", "beside"])
def test_the_page_draws_what_was_measured(which, request):
    found = request.getfixturevalue(which)
    for table in ("targets", "extraction", "clusters", "cka", "checks", "errors", "provenance"):
        getattr(report, table)(found)
    assert len(report.targets(found)) == len(report.TARGETS)
    assert roofline.table(found)["floor (s)"].notna().all()
    for draw in (figures.throughput_bars, figures.memory_lines, figures.time_bars):
        assert draw(found).axes
    assert len(tuned.speed(found)) == 4 and len(tuned.memory(found)) == 2
    assert list(tuned.depths(found).index) == [0, 3]
    assert len(figures.tuning_bars(found).axes) == 2
    assert set(probed.searches(found).index) == {"candidate sets", "LS, CC, FS"}
    assert len(probed.one(found)) == (2 * 9 if which == "beside" else 2 * 6)
    assert len(probed.memory(found)) == (2 if which == "beside" else 1)
    # Two need a peer for vectors and clusters, six a peer for probes or 45 classes.
    absent = "8 not measured" in numbers.of(found)["counted"]
    assert absent == (which == "record")


def test_a_record_from_before_a_part_is_drawn_without_it(record):
    old = {name: entry for name, entry in record.items() if name != "tuning"}
    assert tuned.speed(old).empty and tuned.depths(old).empty and tuned.memory(old).empty
    figures.tuning_bars(old).canvas.draw()
    assert "not measured" in numbers.of(old)["counted"]
    assert np.isnan(numbers.of(old)["base_share"])
    old = {name: entry for name, entry in record.items() if name != "probing"}
    assert probed.one(old).empty and probed.searches(old).empty and probed.memory(old).empty
    assert numbers.of(old)["search_widths"] == "none yet"


def test_a_missed_target_and_a_failed_check_are_said(record):
    slow = json.loads(json.dumps(record))
    slow["extraction"]["ways"]["extract"]["seconds"] = [1e3]
    slow["checks"][0] = check("layer CKA", 1.0, 1e-5)
    told = numbers.of(slow)
    assert "extraction: speed over bare forward pass is 0.00" in told["missed"]
    assert "FAILED: layer CKA" in told["checked"]


def test_the_notebook_renders_such_a_record(record, tmp_path):
    papermill = pytest.importorskip("papermill")
    file = tmp_path / "record.json"
    records.write_whole(file, json.dumps(record))
    page = papermill.execute_notebook(
        ROOT / "notebooks" / "a0_benchmark.ipynb",
        tmp_path / "page.ipynb",
        parameters={"record": str(file)},
        progress_bar=False,
    )
    images = [
        output
        for cell in page.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(images) == 4


@pytest.mark.parametrize(
    "file", sorted((ROOT / "book/results/bench").glob("*.json")), ids=lambda f: f.stem
)
def test_committed_records_are_whole_and_hold(file):
    found = json.loads(file.read_text())
    assert found["checks"] and all(entry["holds"] for entry in found["checks"])
    assert None not in [report.met(found, target) for target in report.TARGETS]
