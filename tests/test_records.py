"""Records: any grid, whole at any instant, found again by all they depend on, never by less."""

import json
import multiprocessing
import os
import shutil
import signal
import time

import pandas as pd
import pytest
import torch

from lib import BadInput, records, settings

ON = ("max_words",)


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


def chosen(**page):
    return settings.of("trial", page, on=ON)


def squares(seen=None):
    def step(task, seed):
        if seen is not None:
            seen.append((task, seed))
        return {"square": seed**2, "list": [seed, float("nan")]}

    return step


GRID = [("sst2", seed) for seed in (2, 0, 1)]


def test_a_grid_becomes_a_tidy_table_in_its_own_order():
    table = records.fill(chosen(), GRID, squares())
    assert table[["task", "seed", "square"]].values.tolist() == [
        ["sst2", s, s * s] for _, s in GRID
    ]
    assert table["list"][0] == [2, None]
    assert records.coverage(table) == "3 of 3 runs are finished."
    assert len(table.attrs["made"]) == 3


def test_what_is_recorded_is_not_computed_again():
    seen = []
    records.fill(chosen(), GRID[:2], squares(seen))
    records.fill(chosen(), GRID, squares(seen))
    assert seen == GRID
    records.fill(chosen(use_records=False), GRID[:1], squares(seen))
    assert seen == [*GRID, GRID[0]]


def test_nothing_is_computed_where_it_must_not_be():
    with pytest.raises(BadInput, match="no run of 'trial' has a record"):
        records.fill(chosen(compute=False), GRID, squares())
    records.fill(chosen(), GRID[:1], squares())
    table = records.fill(chosen(compute=False), GRID, squares())
    assert records.coverage(table) == "1 of 3 runs are finished."


def test_grids_of_several_experiments_are_one_table():
    second = settings.of("other_trial", {}, on=ON)
    parts = (chosen(), GRID, squares()), (second, GRID[:1], squares())
    table = records.joined(*parts)
    assert table["experiment"].tolist() == ["trial"] * 3 + ["other_trial"]
    assert records.coverage(table) == "4 of 4 runs are finished." and len(table.attrs["made"]) == 4
    silent = settings.of("empty", {"compute": False}, on=ON)
    some = records.joined((silent, GRID, squares()), (second, [], squares()), parts[0])
    assert set(some["experiment"]) == {"trial"}
    assert records.coverage(some) == "3 of 6 runs are finished."
    with pytest.raises(BadInput, match="no run of 'empty' has a record"):
        records.joined((silent, GRID, squares()))


def test_other_settings_are_other_records_and_unnamed_ones_are_not():
    seen = []
    records.fill(chosen(), GRID, squares(seen))
    records.fill(chosen(epochs=9), GRID, squares(seen))
    assert len(seen) == 3
    records.fill(chosen(max_words=99), GRID, squares(seen))
    assert len(seen) == 6


def test_a_changed_model_folder_is_another_model(family_folders, tmp_path):
    folder, seen = tmp_path / "model", []
    shutil.copytree(family_folders["bert"], folder)

    def step(model, seed):
        seen.append(seed)
        return {"x": len(seen)}

    def fill():
        return records.fill(chosen(models=[str(folder)]), [(str(folder), 0)], step)["x"].tolist()

    assert fill() == fill() == [1]
    for name in ("model.safetensors",):
        content = bytearray((folder / name).read_bytes())
        content[-1] ^= 1
        (folder / name).write_bytes(content)
        assert fill() == [len(seen)] and len(seen) > 1


def test_another_text_is_another_record(tmp_path):
    for name, word in (("one", "good"), ("two", "bad")):
        folder = tmp_path / name / "SST-2"
        folder.mkdir(parents=True)
        rows = "".join(f"{word} film {i}\t{i % 2}\n" for i in range(40))
        for part in ("train.tsv", "dev.tsv"):
            (folder / part).write_text(f"sentence\tlabel\n{rows}")
    seen = []
    for name in ("one", "two", "one"):
        records.fill(chosen(data=str(tmp_path / name)), GRID[:1], squares(seen))
    assert len(seen) == 2


def test_files_lie_where_the_design_says_and_two_machines_write_the_same(results):
    texts = []
    for grid in (GRID, GRID[::-1]):
        records.fill(chosen(use_records=False), grid, squares())
        texts.append((results / "tiny" / "trial" / "sst2.jsonl").read_text())
    assert texts[0] == texts[1]
    for line in texts[0].splitlines():
        assert line == json.dumps(json.loads(line), sort_keys=True)
        assert "seconds" not in line


def test_a_result_may_not_hide_the_cell():
    with pytest.raises(BadInput, match="seed"):
        records.fill(chosen(), GRID, lambda task, seed: {"seed": 1})


def test_a_shared_run_is_found_by_what_it_holds():
    def step(model, task, strategy, seed):
        return {"keep": [0, 1], "score": 0.5}

    model = "all-minilm-l6-v2"
    records.fill(chosen(), [(model, "sst2", "top", 0)], step)
    wanted = {"model": model, "task": "sst2", "seed": 0}
    assert records.same(chosen(), **wanted, keep=[0, 1])["score"] == 0.5
    assert records.same(chosen(), **wanted, keep=[0, 2]) is None
    assert records.same(chosen(), **wanted | {"seed": 1}, keep=[0, 1]) is None
    assert records.same(chosen(max_words=99), **wanted, keep=[0, 1]) is None


def _fill(seeds):
    records.fill(chosen(), [(seed,) for seed in seeds], lambda seed: {"square": seed**2})


def test_processes_that_write_at_once_lose_nothing(results):
    context = multiprocessing.get_context("fork")
    parts = [range(start, 20, 4) for start in range(4)]
    workers = [context.Process(target=_fill, args=(part,)) for part in parts]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    lines = (results / "tiny" / "trial" / "trial.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["seed"] for line in lines) == list(range(20))


def test_a_killed_writer_leaves_whole_files_and_every_number_its_provenance(results):
    writer = multiprocessing.get_context("fork").Process(target=_fill, args=(range(3000),))
    writer.start()
    file = results / "tiny" / "trial" / "trial.jsonl"
    while not file.exists():
        time.sleep(0.01)
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    found = [json.loads(line) for line in file.read_text().splitlines()]
    made = file.with_suffix(".provenance.jsonl").read_text().splitlines()
    assert found
    assert {x["seed"] for x in found} <= {json.loads(line)["seed"] for line in made}


def test_every_committed_number_has_its_provenance():
    def cells(file):
        lines = map(json.loads, file.read_text().splitlines())
        return [{k: v for k, v in line.items() if k != "values"} for line in lines]

    files = (records.ROOT / "book/results/small").glob("*/*.jsonl")
    files = [file for file in files if ".provenance" not in file.suffixes]
    assert files
    for file in files:
        made = cells(file.with_suffix(".provenance.jsonl"))
        assert all(any(c.items() <= line.items() for line in made) for c in cells(file)), file


def test_lists_over_layers_become_rows():
    table = pd.DataFrame(
        {"seed": [0, 1], "score": [[0.5, 0.7], [0.1, 0.2]], "by": [{"0.1": 3}, {}]}
    )
    layers = records.long(table, "layer", "score")
    assert layers["layer"].tolist() == [0, 1, 0, 1] and layers["seed"].tolist() == [0, 0, 1, 1]
    named = records.long(table[:1], "threshold", "by")
    assert named["threshold"].tolist() == [0.1] and named["by"].tolist() == [3]


def test_numbers_are_plain_json():
    assert records.rounded({1: torch.tensor([1 / 3])}) == {"1": [0.333333]}


def test_every_published_table_names_its_source():
    for name in ("top_dropping", "layers_within", "cost", "when_to_drop"):
        assert records.published(name)["table"].notna().all()
    for name in ("strategies", "base_against_finetuned"):
        assert records.published(name)["figure"].notna().all()
    with pytest.raises(BadInput, match="valid: base_against_finetuned"):
        records.published("nothing")


def test_verdicts_are_kept_only_for_the_profile_as_it_is():
    records.keep_verdict(chosen(), "A1", verdict="reproduced")
    records.keep_verdict(chosen(seeds=[5]), "A2", verdict="reproduced")
    assert records.verdicts("tiny")["claim"].tolist() == ["A1"]


def test_a_number_of_another_precision_is_not_given():
    usual = settings.of("dropping", {}, on=("epochs",))
    cell = {"model": "all-minilm-l6-v2", "task": "polarity", "seed": 0}
    records.add(usual, cell, {"score": 0.5, "precision": "bfloat16"}, 1.0)

    def found(precision):
        asked = settings.of("dropping", {"precision": precision}, on=("epochs",))
        assert asked.digest == usual.digest
        return records.same(asked, **cell)

    assert found("best")["score"] == found("bfloat16")["score"] == 0.5
    assert found("float32") is None
    other = settings.of("dropping", {"precision": "float32"}, on=("epochs",))
    records.add(other, cell, {"score": 0.6, "precision": "float32"}, 1.0)
    assert found("bfloat16")["score"] == 0.5 and found("float32")["score"] == 0.6
    runs = records.fill(other, [tuple(cell.values())], lambda model, task, seed: {})
    assert runs["score"].tolist() == [0.6] and runs.attrs["made"][0]["precision"] == "float32"
