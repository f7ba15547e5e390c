"""Distillation, and the runs around one tuned model: laws on small models, planted claims."""

import copy
import dataclasses

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch

from lib import corpora, distil, dropping, encoders, experiments, finetune, profiles
from lib import old_records as records
from lib.dropped import claims, distilled, figures, report, tuned
from lib.grids import WHOLE, Run
from lib.recipes import Recipe

matplotlib.use("Agg")
TEXT = [words for words, _ in corpora.load("pos").train[:24]]
QUICK = Recipe(learning_rate=3e-3, epochs=3, batch=8, warmup=0.1)
CUT = {"tuned_on": ["mrpc"], "examples": 16, "epochs": 1, "restarts": [0], "words": 200}
ABLE = {"drops": [1 / 3], "distil_on": "pos", "distil_epochs": 1}


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(tmp_path))
    return tmp_path


def filled(experiment, folder, **overrides):
    given = {**CUT, **ABLE, "models": [str(folder)], **overrides}
    settings = profiles.get("tiny", experiment, **given)
    return settings, experiments.fill(settings)


def test_agreement_is_the_mean_cosine_of_real_tokens():
    draw = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 3, 5, 4, generator=draw)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 1, 1, 1]])
    found = distil.agreement(one, other, mask)
    for row in range(3):
        pairs = [(one[row, t], other[row, t]) for t in range(5) if mask[row, t]]
        slow = np.mean([float(a @ b / a.norm() / b.norm()) for a, b in pairs])
        assert found[row].item() == pytest.approx(slow, abs=1e-6)


@pytest.mark.parametrize("family", ["bert", "xlnet", "distilbert"])
def test_a_student_comes_nearer_to_its_teacher_which_stays_as_it_was(family_folders, family):
    teacher, tokenizer = encoders.load(family_folders[family], device="cpu")
    before = copy.deepcopy(teacher.state_dict())
    students = [distil.distil(teacher, tokenizer, TEXT, [0, 2], recipe=QUICK) for _ in range(2)]
    (student, account), (again, _) = students
    assert dropping.n_blocks(student) == 2 and account["loss"][-1] < account["loss"][0]
    begun = dropping.smaller(teacher, [0, 2])
    agreement = [distil.mean_agreement(m, teacher, tokenizer, TEXT) for m in (begun, student)]
    assert agreement[0] < agreement[1] < 1
    for name, weight in teacher.state_dict().items():
        assert torch.equal(weight, before[name])
    for left, right in zip(student.parameters(), again.parameters(), strict=True):
        assert torch.equal(left, right)


def test_a_student_of_all_blocks_has_nothing_to_learn(family_folders):
    teacher, tokenizer = encoders.load(family_folders["bert"], device="cpu")
    same = dropping.smaller(teacher, [0, 1, 2])
    assert distil.mean_agreement(same, teacher, tokenizer, TEXT) == pytest.approx(1, abs=1e-6)


def test_one_student_serves_every_cut_and_task(family_folders, results, monkeypatch):
    made, make = [], distilled._make
    monkeypatch.setattr(distilled, "_make", lambda *a: made.append(a) or make(*a))
    folder = family_folders["bert"]
    settings, table = filled("distilled", folder, tuned_on=["mrpc", "sst2"])
    assert len(made) == 1 and not list(results.rglob("*.safetensors.*"))
    assert [run.setting for run, _ in table] == 2 * settings.students(str(folder))
    assert [values["blocks"] for _, values in table] == [2, 1, 2, 1]  # of three, one went
    assert {tuple(v["distillation"]["keep"]) for _, v in table} == {(0, 2)}


def test_comparing_a_model_with_itself_finds_no_change(family_folders):
    model, tokenizer = encoders.load(family_folders["bert"], device="cpu")
    found = tuned.compare(model, copy.deepcopy(model), tokenizer, corpora.load("sst2"))
    np.testing.assert_allclose(found["cosine"], 1, atol=1e-6)
    np.testing.assert_allclose(found["cka"][1:], 1, atol=1e-6)
    assert np.isnan(found["cka"][0])  # one vector for all sentences


def test_every_way_starts_from_the_same_tuned_model(family_folders, results, monkeypatch):
    trained, train = [], finetune.train
    monkeypatch.setattr(
        finetune, "train", lambda model, *a, **k: trained.append(model) or train(model, *a, **k)
    )
    settings, table = filled("tuning", family_folders["bert"])
    found = {run.setting: values for run, values in table}
    assert list(found) == ["whole", "after 1", "again 1", "frozen 1"]
    assert len(trained) == 3  # whole, again, frozen
    assert [dropping.n_blocks(model) for model in trained] == [3, 2, 3]
    assert not list((results / ".checkpoints").iterdir())
    whole = dataclasses.replace(settings.runs()[0], experiment="dropping")
    asked = dataclasses.replace(settings, experiment="dropping")
    values = records.find(asked, whole)["values"]
    assert values["score"] == found["whole"]["score"] and "cosine" not in values
    task = tuned.task_of(settings, whole)
    cut = dropping.smaller(trained[0], [0, 1])
    _, tokenizer = encoders.load(family_folders["bert"], head=2)
    again = finetune.evaluate(cut, tokenizer, task, task.test)
    assert found["after 1"]["score"] == pytest.approx(next(iter(again.values())), abs=1e-6)


def test_frozen_parts_stay_and_the_rest_moves(family_folders):
    recipe = Recipe(epochs=1, freeze=(0,), freeze_embeddings=True)
    mrpc = corpora.load("mrpc")
    task = dataclasses.replace(mrpc, train=mrpc.train[:16])
    model, tokenizer = finetune.begin(family_folders["bert"], task, recipe=recipe, device="cpu")
    before = copy.deepcopy(model.state_dict())
    finetune.train(model, tokenizer, task, recipe=recipe)
    for name, weight in model.state_dict().items():
        frozen = ".embeddings." in name or ".layer.0." in name
        assert torch.equal(weight, before[name]) == frozen or name.endswith("key.bias"), name


def lost(**points):
    """Losses of one learned task: two blocks dropped, so many points by each way."""
    rows = [("whole", 0, 0.0), *((way, 2, loss) for way, loss in points.items())]
    cells = [
        {"model": "all-minilm-l6-v2", "task": "rte", "strategy": way, "k": k, "share": k / 6}
        | {"seed": 0, "score": 0.9 - loss / 100, "loss": loss, "kept": 1, "constant": 0.5}
        for way, k, loss in rows
    ]
    return pd.DataFrame(cells)


@pytest.mark.parametrize(("again", "verdict"), [(3.0, "agrees"), (1.0, "disagrees")])
def test_again_is_held_against_before(again, verdict):
    layers = pd.DataFrame(
        [[1, 1, 0.9, 0.8, 0.7, 0.6, 0.5]],
        index=pd.MultiIndex.from_tuples([("all-MiniLM-L6-v2", "RTE")], names=["model", "task"]),
    )
    found = lost(before=2.0, after=20.0, again=again)
    judged = claims.of_tuning(found, found, layers, {"all-MiniLM-L6-v2": "bert"})
    assert list(judged["verdict"]) == ["agrees", verdict]
    judged = claims.of_tuning(found, found, layers, {"all-MiniLM-L6-v2": "xlnet"})
    assert judged.loc["B9", "verdict"] == "partly agrees"  # below the lower, not the upper third
    judged = claims.of_tuning(found, found, layers, {"all-MiniLM-L6-v2": "electra"})
    assert judged.loc["B9", "verdict"] == "cannot be tested"
    judged = claims.of_tuning(found, found.iloc[:0], layers, {"all-MiniLM-L6-v2": "bert"})
    assert list(judged["verdict"]) == ["agrees", "cannot be tested"]


@pytest.mark.parametrize(("points", "verdict"), [(0.5, "agrees"), (1.5, "disagrees")])
def test_dropped_is_held_against_distilled_and_against_published_students(points, verdict):
    def cell(model, kind, left, score):
        return {"model": model, "task": "rte", "kind": kind, "left": left, "seed": 0} | {
            "score": score,
            "constant": 0.5,
        }

    model, score = "bert-base-cased", 0.8
    rows = [cell(model, WHOLE, 12, 0.9), cell(model, "top", 6, score - points / 100)]
    found = pd.DataFrame([*rows, cell(model, "distilled", 6, score)])
    assert claims.of_distilled(found).loc["B2", "verdict"] == verdict
    published = Run("dropping", "distilbert-base-cased", "rte", WHOLE, 0)
    whole = Run("dropping", model, "rte", WHOLE, 0)
    table = [(run, {"score": score, "constant": 0.5}) for run in (whole, published)]
    depth = report.by_depth(report.losses(table), [])
    assert set(depth["model"]) == {model} and "DistilBERT" in set(depth["kind"])
    assert set(depth.loc[depth["kind"] == "DistilBERT", "left"]) == {6}


def test_pages_draw_what_was_computed(family_folders):
    settings, table = filled("tuning", family_folders["bert"])
    _, early = filled("dropping", family_folders["bert"], strategies=["top", "even"])
    found = report.when_to_drop(settings, table, early)
    every = report.complete(found, report.all_ways(settings))
    assert len(every) == len(found) == 5  # whole, before, after, again, frozen
    mean = report.by_strategy(every[every["strategy"].isin(["before", "after", "again"])])
    assert list(mean.index.get_level_values("strategy")) == ["before", "after", "again"]
    assert report.frozen_table(found)["blocks frozen"].to_list() == ["1"]
    figures.strategy_curves(mean).canvas.draw()
    likeness = {name: report.change_table(table, name) for name in ("cosine", "cka")}
    figures.change_curves(likeness).canvas.draw()
    _, students = filled("distilled", family_folders["bert"])
    depth = report.by_depth(report.losses(early), students)
    assert set(depth["kind"]) == {"whole", "top", "even", "distilled"}
    assert not report.at_half(depth).empty and not report.distillations(students).empty
    figures.depth_curves(depth).canvas.draw()
    figures.depth_curves(depth.iloc[:0]).canvas.draw()
