"""What is counted is what is there; depths share weights; one measurement serves all. No time."""

import dataclasses

import matplotlib
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

from lib import BadInput, corpora, cost, dropping, experiments, finetune, peak, profiles
from lib.dropped import costs, figures
from lib.grids import Run
from lib.training import Recipe, plan

matplotlib.use("Agg")
RECIPE = Recipe(epochs=1, batch=8)


@pytest.fixture(scope="module")
def task():
    """Two dozen pairs."""
    whole = corpora.load("mrpc", seed=0)
    return dataclasses.replace(whole, train=whole.train[:24])


@pytest.fixture(params=["bert", "roberta", "xlnet", "distilbert", "electra", "albert"])
def learner(request, family_folders, task):
    """(family, model with a head, tokenizer), attention in plain products, which can be counted."""
    model, tokenizer = finetune.begin(family_folders[request.param], task, device="cpu")
    if request.param != "xlnet":
        model.set_attn_implementation("eager")
    return request.param, model, tokenizer


def test_counted_operations_are_those_that_run(learner, task, cores):
    """XLNet's scores of segments, a few per mille of a model that is not this small, are left."""
    family, model, tokenizer = learner
    cores(1)  # the counter sees one thread
    encoded = finetune.encode(model, tokenizer, task.train, RECIPE.max_length)
    counted = cost.operations(model, cost.shapes(model, tokenizer, task, RECIPE)["inference"])
    run = []
    for cut in (model, dropping.smaller(model, [0])):
        with FlopCounterMode(display=False) as counter:
            finetune.logits(cut, tokenizer, encoded)
        run.append(counter.get_total_flops() / 2)
    assert sum(counted.values()) == pytest.approx(run[0], rel=0.03 if family == "xlnet" else 0)
    assert cost.predicted(counted, 1 / 3) == pytest.approx(run[1] / run[0], rel=1e-4)


def test_an_update_takes_three_times_the_operations(family_folders, task):
    model, tokenizer = finetune.begin(family_folders["bert"], task, device="cpu")
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter:
        cost.tuning(model, tokenizer, task, RECIPE)
    ids = finetune.encode(model, tokenizer, task.train, RECIPE.max_length).ids
    groups = plan([len(sentence) for sentence in ids], RECIPE, cost.SEED)
    shapes = [(len(group), max(len(ids[i]) for i in group)) for group in groups]
    assert shapes[1:] == cost.shapes(model, tokenizer, task, RECIPE)["tuning"]
    counted = 3 * sum(cost.operations(model, shapes).values())
    assert counter.get_total_flops() / 2 == pytest.approx(counted, rel=1e-3)


def test_the_prediction_falls_linearly():
    shares = [cost.predicted({"blocks": 80, "rest": 20}, left / 4) for left in range(5)]
    np.testing.assert_allclose(np.diff(shares), 0.2)
    assert shares[-1] == 1


def test_smaller_models_share_the_weights_and_leave_the_whole_one_alone(learner, task):
    _, model, tokenizer = learner
    before = finetune.predict(model, tokenizer, [text for text, _ in task.train])
    cut = dropping.smaller(model, [0, 2])
    assert {p.data_ptr() for p in cut.parameters()} <= {p.data_ptr() for p in model.parameters()}
    assert (dropping.n_blocks(cut), dropping.n_blocks(model)) == (2, 3)
    after = finetune.predict(model, tokenizer, [text for text, _ in task.train])
    torch.testing.assert_close(after, before, atol=0, rtol=0)


def test_parameters_and_bytes_are_those_of_the_saved_model(learner, tmp_path):
    family, model, tokenizer = learner
    cut = dropping.smaller(model, [1])
    size = cost.stored(cut, tokenizer, tmp_path / "cut")
    saved = load_file(tmp_path / "cut" / "model.safetensors")
    counted = cost.parameters(cut)
    assert counted["parameters"] == sum(tensor.numel() for tensor in saved.values())
    assert size == (tmp_path / "cut" / "model.safetensors").stat().st_size
    assert 4 * counted["parameters"] < size < 4 * counted["parameters"] + 20_000
    gone = cost.parameters(model)["parameters"] - counted["parameters"]
    assert gone == (0 if family == "albert" else 2 * counted["block_parameters"])


def test_a_config_is_counted_as_its_model(learner):
    _, model, _ = learner
    assert cost.counted(model.config) == cost.parameters(model)


def test_times_come_from_every_depth_in_every_round(family_folders, task):
    model, tokenizer = finetune.begin(family_folders["xlnet"], task, device="cpu")
    found = cost.times(model, tokenizer, task, {"a": [0, 1, 2], "b": [0]}, RECIPE, repeats=2)
    assert set(found) == {(work, name) for work in costs.WORK for name in "ab"}
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in found.values())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_one_update_cannot_be_timed(family_folders, task):
    model, tokenizer = finetune.begin(family_folders["bert"], task, device="cpu")
    with pytest.raises(BadInput, match="24 sentences in batches of 64 make one update"):
        cost.tuning(model, tokenizer, task, Recipe(epochs=1, batch=64))
    assert len(model.get_input_embeddings().weight) == model.config.vocab_size


def fill(megabytes):
    return {"sum": float(torch.ones(megabytes * 250_000).sum())}


def test_a_fresh_process_holds_what_it_fills():
    few, many = (peak.alone(fill, megabytes) for megabytes in (10, 210))
    assert 180e6 < many["peak_bytes"] - few["peak_bytes"] < 220e6
    assert many["start_bytes"] < many["peak_bytes"] and many["sum"] == 210 * 250_000


def test_what_fails_in_a_fresh_process_is_raised_here():
    with pytest.raises(TypeError):
        peak.alone(fill, "many")


def test_one_measurement_serves_every_depth(family_folders, tmp_path, monkeypatch):
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(tmp_path))
    asked, measure = [], cost.times
    monkeypatch.setattr(cost, "times", lambda *a, **k: asked.append(1) or measure(*a, **k))
    given = {"models": [str(family_folders["bert"])], "timed": 16, "repeats": 1}
    settings = profiles.get("tiny", "cost", **given)
    table = experiments.fill(settings)
    assert [run.setting for run, _ in table] == ["whole", "top 1", "top 2"]
    assert len(asked) == 1 and len(list(tmp_path.rglob("*.safetensors"))) == 0
    assert [values["blocks"] for _, values in table] == [3, 2, 1]
    for _, values in table:
        held = [values["memory"][name] for name in ("start", "load", "inference", "tuning")]
        assert held == sorted(held)
    assert experiments.fill(settings) == table and len(asked) == 1


def planted(*, half=0.5, per_block=0.8, blocks=6):
    """Records of a model whose blocks hold a share of its parameters and of its time."""
    table = []
    for left in range(blocks, 0, -1):
        share = 1 - (1 - half) * 2 * (blocks - left) / blocks
        seconds = [share * busy for busy in (1.0, 3.0, 1.1)]
        parameters = 100 * (1 - per_block * (blocks - left) / blocks)
        values = {
            "blocks": left,
            "parameters": parameters,
            "word_parameters": 10,
            "block_parameters": 100 * per_block * left / blocks,
            "disk_bytes": 4 * parameters,
            "memory": {"start": 1e6, "load": 2e6, "inference": 3e6, "tuning": 4e6},
            **{f"{work}_seconds": seconds for work in costs.WORK},
            **{f"{work}_operations": {"blocks": 90, "rest": 10} for work in costs.WORK},
        }
        cut = f"top {blocks - left}" if left < blocks else "whole"
        table.append((Run("cost", "all-minilm-l6-v2", "sst2", cut, 0), values))
    return table


@pytest.mark.parametrize(
    ("half", "per_block", "verdict"),
    [(0.5, 0.8, "agrees"), (0.5, 0.5, "partly agrees"), (0.7, 0.5, "disagrees")],
)
def test_savings_are_judged_beside_the_claim(half, per_block, verdict):
    found = costs.measured(planted(half=half, per_block=per_block))
    judged = costs.judged(found)
    assert judged.loc["B7", "verdict"] == verdict
    assert judged.loc["B2", "verdict"] == "agrees"
    assert found["inference share"].iloc[3] == pytest.approx(half)  # busy rounds cancel


def test_an_odd_number_of_blocks_has_no_half():
    judged = costs.judged(costs.measured(planted(blocks=5)))
    assert judged.loc["B7", "verdict"] == "cannot be tested"
    assert costs.judged(costs.measured([]))["verdict"].iloc[0] == "cannot be tested"


@pytest.mark.parametrize("rows", [6, 0])
def test_tables_and_figure_draw(rows):
    found = costs.measured(planted()[:rows])
    assert len(costs.size_table(found)) == rows and len(costs.time_table(found)) == 2 * rows
    figure = figures.cost_curves(found)
    figure.canvas.draw()
    assert len(figure.axes) == (2 if rows else 1)
    if rows:
        assert costs.shares_table(found).loc["BERT-base, counted", "blocks"] == "78%"
