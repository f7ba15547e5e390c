"""Records: whole at any instant, found again, the same on every machine."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from lib import experiments, profiles
from lib import old_records as records
from lib.grids import Run

RUN = Run("layer_similarity", "owner/name", "pos", "trained", 0)
SETTINGS = profiles.get("tiny", "layer_similarity")


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


def test_what_is_added_is_found_and_read():
    records.add(SETTINGS, RUN, {"cka": torch.eye(2) / 3, "odd": float("nan")}, {"seconds": 1.5})
    found = records.find(SETTINGS, RUN)
    assert found["values"] == {"cka": [[0.333333, 0.0], [0.0, 0.333333]], "odd": None}
    assert records.made_by(SETTINGS, RUN)["seconds"] == 1.5
    assert records.find(SETTINGS, replace(RUN, seed=1)) is None
    assert records.find(replace(SETTINGS, words=11), RUN) is None


def test_files_lie_where_the_design_says(results):
    records.add(SETTINGS, RUN, {}, {})
    assert (results / "tiny" / "layer_similarity" / "owner__name--pos.jsonl").exists()


def test_lines_are_the_same_whatever_the_order_and_the_machine(results):
    runs = [replace(RUN, seed=seed) for seed in (2, 0, 1)]
    texts = []
    for order, seconds in ((runs, 1.0), (runs[::-1], 2.0)):
        for run in order:
            records.add(SETTINGS, run, {"b": 1, "a": run.seed}, {"seconds": seconds})
        texts.append(records.path("tiny", RUN).read_text())
    assert texts[0] == texts[1]
    for line in texts[0].splitlines():
        assert line == json.dumps(json.loads(line), sort_keys=True)
        assert "seconds" not in line


def test_a_second_record_of_a_run_replaces_the_first_but_not_other_settings():
    other = replace(SETTINGS, words=999)
    for settings, value in ((SETTINGS, 1), (other, 2), (SETTINGS, 3)):
        records.add(settings, RUN, {"x": value}, {})
    assert records.find(SETTINGS, RUN)["values"] == {"x": 3}
    assert records.find(other, RUN)["values"] == {"x": 2}


def _add_many(seeds):
    for seed in seeds:
        records.add(SETTINGS, replace(RUN, seed=seed), {"seed": seed}, {})


def test_processes_that_write_at_once_lose_nothing():
    context = multiprocessing.get_context("fork")
    parts = [range(start, 40, 4) for start in range(4)]
    workers = [context.Process(target=_add_many, args=(part,)) for part in parts]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seeds = [json.loads(x)["seed"] for x in records.path("tiny", RUN).read_text().splitlines()]
    assert seeds == list(range(40))


WRITER = """
from dataclasses import replace
from lib import profiles, old_records as records
from lib.grids import Run
settings = profiles.get("tiny", "layer_similarity")
run = Run("layer_similarity", "m", "pos", "trained", 0)
for seed in range(10**6):
    records.add(settings, replace(run, seed=seed), {"filler": list(range(500))}, {"seed": seed})
    if not seed:
        print("go", flush=True)
"""


@pytest.mark.parametrize("wait", [0.11, 0.23, 0.37])
def test_killed_while_writing_leaves_whole_lines_with_provenance(results, wait):
    writer = subprocess.Popen([sys.executable, "-c", WRITER], stdout=subprocess.PIPE)
    writer.stdout.readline()
    time.sleep(wait)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    file = records.path("tiny", Run("layer_similarity", "m", "pos", "trained", 0))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    made = file.with_suffix(".provenance.jsonl").read_text().splitlines()
    assert [line["seed"] for line in lines] == list(range(len(lines)))
    assert len(lines) <= len(made) <= len(lines) + 1
    records.add(SETTINGS, replace(RUN, model="m", seed=10**7), {}, {})  # no lock is left behind
    assert len(file.read_text().splitlines()) == len(lines) + 1


FILL = """
import sys
from lib import experiments, profiles
experiments.fill(profiles.get("tiny", "layer_similarity", models=[sys.argv[1]], tasks=["topics"],
    seeds=list(range(5)), weights=["trained"], words=200))
"""


def test_a_killed_run_goes_on_where_it_was(results, family_folders):
    folder = str(family_folders["bert"])
    settings = profiles.get(
        "tiny",
        "layer_similarity",
        models=[folder],
        tasks=["topics"],
        seeds=list(range(5)),
        weights=["trained"],
        words=200,
    )
    run = settings.runs()[0]
    file = records.path("tiny", run)
    worker = subprocess.Popen([sys.executable, "-c", FILL, folder], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (file.exists() and len(file.read_text().splitlines()) >= 2):
        assert worker.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    before = {r.seed: records.made_by(settings, r) for r, _ in records.read(settings)}
    assert len(before) >= 2
    assert len(experiments.fill(settings)) == 5
    for seed, made in before.items():
        assert records.made_by(settings, replace(run, seed=seed)) == made


def test_use_records_false_computes_again(family_folders):
    settings = profiles.get(
        "tiny",
        "layer_similarity",
        models=[str(family_folders["bert"])],
        tasks=["topics"],
        seeds=[0],
        weights=["trained"],
        words=200,
    )
    first = experiments.fill(settings)
    run = settings.runs()[0]
    records.add(settings, run, {"cka": "stale"}, {})
    assert experiments.fill(settings)[0][1] == {"cka": "stale"}
    assert experiments.fill(replace(settings, use_records=False)) == first


def test_provenance_says_what_made_a_number():
    made = records.provenance(device="cpu", weights="w", data="d", source="s", seconds=2)
    assert {"versions", "device", "precision", "commit", "weights", "data", "seconds"} <= set(made)
    assert {"python", "torch", "transformers", "numpy"} <= set(made["versions"])
