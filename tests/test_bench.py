"""The benchmark's checks hold, and can fail; its page renders from what it writes. Never a time."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from lib import BadInput, finetune, records
from lib.similarity import Moments, linear_cka
from tests.bench import base, clusters, peers, probing, run, tuning
from tests.bench.base import check, difference, sizes
from tests.bench.vectors import gram_cka

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "notebooks" / "a0_benchmark.ipynb"
COMMITTED = sorted((ROOT / "book/results/bench").glob("*.json"))
PEERS = peers.versions() == peers.pins()
TINY = sizes(quick=True, sentences=6, neurons=60, cka_sentences=12, cka_checked=120, repeats=1)
PEER_WAYS = ("NeuroX", "pytorch-cka", "Trainer")


@pytest.fixture(scope="module")
def measured():
    """One quick run, with the peers where they are installed."""
    return json.loads(
        json.dumps(run.significant(run.measure(TINY, device="cpu", with_peers=PEERS)))
    )


@pytest.fixture(scope="module")
def beside(measured):
    """A record with the peers beside us."""
    if not PEERS:
        pytest.skip("NeuroX, pytorch-cka and accelerate are not installed; 'make bench' does it")
    return measured


def alone(record):
    """A record of our side alone, as ``--alone`` writes it."""
    ours = copy.deepcopy(record)
    for part in ours["parts"].values():
        for kind in ("times", "memory", "steps"):
            rows = part.get(kind, [])
            part[kind] = [row for row in rows if not row["way"].startswith(PEER_WAYS)]
        part["checks"] = [
            c for c in part["checks"] if not re.search("|".join(PEER_WAYS), c["what"])
        ]
    ours["parts"]["cka"]["errors"] = {}
    return ours


def all_checks(record):
    return [entry for part in record["parts"].values() for entry in part["checks"]]


def ways(record, part):
    return {row["way"] for row in record["parts"][part]["times"]}


def test_all_ways_compute_the_same(measured):
    assert [entry for entry in all_checks(measured) if not entry["holds"]] == []
    assert len(all_checks(measured)) == (2 + 1 + 2 + 5 + 5 if PEERS else 1 + 3)
    assert {"ours", "released loop"} <= ways(measured, "tuning")


def test_every_peer_is_measured(beside):
    assert {"forward", "ours", "NeuroX, HDF5"} < ways(beside, "extraction")
    assert ways(beside, "clusters") == {"ours", "NeuroX"}
    assert "pytorch-cka" in ways(beside, "cka") and "NeuroX" in ways(beside, "probing")
    assert {"Trainer", "Trainer, by length", "released loop"} < ways(beside, "tuning")


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
    same, other = (clusters._checks(9, found, entry) for entry in (found, wrong))
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


def test_other_batches_are_noticed_by_the_check_of_weights(minilm):
    task = tuning.load("polarity", 16)
    start, tokenizer = finetune.begin(base.MODEL, task, device="cpu")
    rows = tuning.padded(tokenizer, task, task.train)
    moved = []
    for group in (range(8), range(8, 16)):
        model = copy.deepcopy(start)
        list(tuning.released_updates(model, rows, [np.array(group)], tuning.RECIPE))
        moved.append(model)
    assert tuning._moved(*moved) / tuning._moved(start, moved[0]) > 0.1


def test_trainer_reads_what_the_released_loop_reads_but_the_padding(minilm):
    task = tuning.load("polarity", 8)
    _, tokenizer = finetune.begin(base.MODEL, task, device="cpu")
    whole = tuning.padded(tokenizer, task, task.train)
    for row, example in enumerate(tuning.examples(tokenizer, task, task.train)):
        length = len(example["input_ids"])
        assert whole["input_ids"][row, :length].tolist() == example["input_ids"]
        assert whole["attention_mask"][row].sum() == length
        assert whole["labels"][row] == example["labels"]


def test_planted_rows_do_not_depend_on_who_asks():
    first, again = (clusters.table(700, 20) for _ in range(2))
    assert first.shape == (700, 20) and first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first.std(axis=0), 1, atol=0.15)


def test_without_peers_one_sentence_says_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr(peers, "versions", dict)
    for arguments, told in ((["--quick"], "make bench"), (["--only", "speed"], "extraction")):
        assert run.main(arguments) == 2
        message = capsys.readouterr().err
        assert told in message and message.count("\n") == 1


def test_tuning_alone_needs_no_peer_but_trainers(monkeypatch):
    monkeypatch.setattr(peers, "versions", lambda: {"accelerate": peers.pins()["accelerate"]})
    peers.check_installed(["tuning"])
    with pytest.raises(BadInput, match=r"neurox 1\.0\.9.* not installed"):
        peers.check_installed(["tuning", "cka"])


def test_the_file_is_named_after_the_device(monkeypatch, tmp_path):
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(tmp_path))
    file = run.default_file("cpu", quick=False)
    assert file.parent == tmp_path / "bench"
    assert re.fullmatch(r"cpu-[a-z0-9_]+-\d+-threads\.json", file.name)
    assert run.default_file("cpu", quick=True).parent == ROOT / "_build"


def test_one_part_measured_again_leaves_the_others_as_they_were(monkeypatch, tmp_path):
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(tmp_path))
    part = {"times": [], "checks": [check("it holds", 0, 1)]}
    monkeypatch.setattr(run, "PARTS", dict.fromkeys(("clusters", "cka"), lambda _: dict(part)))
    monkeypatch.setattr(run, "rates", lambda _: {})
    monkeypatch.setattr(run, "_provenance", lambda *_: {})
    assert run.main(["--alone"]) == 0
    file = run.default_file("cpu", quick=False)
    before = json.loads(file.read_text())
    before["parts"]["clusters"]["kept"] = 1
    records.write_whole(file, json.dumps(before))
    assert run.main(["--alone", "--only", "cka"]) == 0
    assert json.loads(file.read_text())["parts"]["clusters"]["kept"] == 1


def test_numbers_keep_their_digits_in_a_record():
    value = {"a": 1.23456789e-9, "b": [float("nan"), 3], 5: float("inf")}
    assert run.significant(value) == {"a": 1.23457e-9, "b": [None, 3], "5": None}


# ---- the page


def drawn(record, tmp_path):
    """What the page glues, and its tables, from a record: its cells run in one namespace."""
    file = tmp_path / "record.json"
    records.write_whole(file, json.dumps(record))
    cells = [c for c in json.loads(PAGE.read_text())["cells"] if c["cell_type"] == "code"]
    page = {"glued": {}}
    for cell in cells:
        exec("".join(cell["source"]), page)
        if "parameters" in cell["metadata"].get("tags", []):
            page["record"] = str(file)
        page["glue"] = lambda name, value, **_: page["glued"].update({name: value})
    return page


def test_the_page_draws_a_record_with_and_without_peers(measured, tmp_path):
    for record in (measured, alone(measured)):
        page = drawn(record, tmp_path)
        assert "Trainer" in page["glued"]["answer"]
        assert page["floors"]["floor (s)"].gt(0).all()
    assert "not measured yet" in page["glued"]["answer"]
    assert "not measured" in set(page["limits"]["verdict"])


def test_a_missed_limit_and_a_failed_check_are_said(measured, tmp_path):
    slow = copy.deepcopy(measured)
    times = {row["way"]: row for row in slow["parts"]["extraction"]["times"]}
    times["ours"]["seconds"] = [1e3]
    slow["parts"]["cka"]["checks"] = [check("layer CKA", 1.0, 1e-5)]
    told = drawn(slow, tmp_path)["glued"]
    assert "extraction over bare forward pass 0.00, wanted ≥ 0.9" in told["missed"]
    assert "FAILED: layer CKA" in told["caveat"]


def test_a_missing_record_is_named():
    cells = [c for c in json.loads(PAGE.read_text())["cells"] if c["cell_type"] == "code"]
    page = {"profile": "tiny", "record": "no-such-device"}
    with pytest.raises(BadInput, match="'no-such-device'"):
        exec("".join(cells[1]["source"]), page)


@pytest.mark.parametrize("file", COMMITTED, ids=lambda f: f.stem)
def test_committed_records_are_whole_and_hold(file, tmp_path):
    found = json.loads(file.read_text())
    assert set(found["parts"]) == set(run.PARTS)
    assert all(entry["holds"] for entry in all_checks(found))
    assert "not measured" not in set(drawn(found, tmp_path)["limits"]["verdict"])
