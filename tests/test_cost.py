"""What is counted is what is there; depths share weights; one measurement serves all. No time."""

import numpy as np
import pytest
import torch
from conftest import predict
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

from lib import BadInput, corpora, cost, dropping, encoders, finetune
from lib.training import Recipe, plan

RECIPE = Recipe(epochs=1, batch=8)


@pytest.fixture(scope="module")
def task():
    """Two dozen pairs of different lengths."""
    words = "the old dog saw a small boat near harbour".split()
    pairs = [(" ".join(words[: 2 + n % 7]), " ".join(words[n % 5 :])) for n in range(24)]
    items = [(pair, ("no", "yes")[n % 2]) for n, pair in enumerate(pairs)]
    about = {"name": "mrpc", "title": "MRPC", "kind": "pair", "metric": "accuracy_and_f1"}
    about |= {"labels": ("no", "yes"), "source": "a test", "digest": "0", "skipped": {}}
    return corpora.Task(**about, train=items, dev=items[:8], test=items[:8])


@pytest.fixture(params=["bert", "roberta", "xlnet", "distilbert", "electra", "albert"])
def learner(request, family_folders, task):
    """(family, model with a head, tokenizer), attention in plain products, which can be counted."""
    model, tokenizer = finetune.begin(family_folders[request.param], task, device="cpu")
    if request.param != "xlnet":
        model.set_attn_implementation("eager")
    return request.param, model, tokenizer


def test_counted_operations_are_those_that_run(learner, task, cores):
    """At every length, on whole batches and on one block as well as on all."""
    _, model, tokenizer = learner
    cores(1)  # the counter sees one thread
    encoded = finetune.encode(model, tokenizer, task.train, RECIPE.max_length)
    counted = cost.operations(model, cost.shapes(model, tokenizer, task, RECIPE)["inference"])
    assert dropping.n_blocks(model) == 3
    run = []
    for cut in (model, dropping.smaller(model, [0])):
        with FlopCounterMode(display=False) as counter:
            finetune.logits(cut, tokenizer, encoded)
        run.append(counter.get_total_flops() / 2)
    assert sum(counted.values()) == pytest.approx(run[0], rel=1e-9)
    assert cost.predicted(counted, 1 / 3) == pytest.approx(run[1] / run[0], rel=1e-4)


def test_an_update_takes_three_times_the_operations(family_folders, task):
    model, tokenizer = finetune.begin(family_folders["bert"], task, device="cpu")
    model.set_attn_implementation("eager")
    ids = finetune.encode(model, tokenizer, task.train, RECIPE.max_length).ids
    with FlopCounterMode(display=False) as counter:  # the model has been tried: encode does that
        cost.tuning(model, tokenizer, task, RECIPE)
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
    before = predict(model, tokenizer, [text for text, _ in task.train])
    cut = dropping.smaller(model, [0, 2])
    assert {p.data_ptr() for p in cut.parameters()} <= {p.data_ptr() for p in model.parameters()}
    assert (dropping.n_blocks(cut), dropping.n_blocks(model)) == (2, 3)
    after = predict(model, tokenizer, [text for text, _ in task.train])
    torch.testing.assert_close(after, before, atol=0, rtol=0)


def test_parameters_and_bytes_are_those_of_the_saved_model(learner, tmp_path):
    family, model, tokenizer = learner
    cut = dropping.smaller(model, [1])
    size = encoders.stored_bytes(dropping.save(cut, tokenizer, tmp_path / "cut"))
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


def test_timing_leaves_a_model_as_it_was(family_folders, task):
    model, tokenizer = finetune.begin(family_folders["xlnet"], task, device="cpu")
    assert cost.tuning(model, tokenizer, task, RECIPE) > 0
    assert all(parameter.grad is None for parameter in model.parameters())


def test_one_update_cannot_be_timed(family_folders, task):
    model, tokenizer = finetune.begin(family_folders["bert"], task, device="cpu")
    with pytest.raises(BadInput, match="24 sentences in batches of 64 make one update"):
        cost.tuning(model, tokenizer, task, Recipe(epochs=1, batch=64))
    assert len(model.get_input_embeddings().weight) == model.config.vocab_size


def fill(megabytes):
    return {"sum": float(torch.ones(megabytes * 250_000).sum())}


def test_a_fresh_process_holds_what_it_fills():
    few, many = (cost.alone(fill, megabytes) for megabytes in (10, 210))
    assert 180e6 < many["peak_bytes"] - few["peak_bytes"] < 220e6
    assert many["start_bytes"] < many["peak_bytes"] and many["sum"] == 210 * 250_000


def test_what_fails_in_a_fresh_process_is_raised_here():
    with pytest.raises(TypeError):
        cost.alone(fill, "many")


def test_one_measurement_serves_every_depth(family_folders, task, tmp_path):
    keeps = {0: [0, 1, 2], 1: [0, 1], 2: [0]}
    found = cost.by_depth(family_folders["bert"], task, keeps, RECIPE, repeats=2)
    assert [values["blocks"] for values in found.values()] == [3, 2, 1]
    for values in found.values():
        held = [values["memory"][name] for name in ("start", "inference", "tuning")]
        assert held == sorted(held)
        assert values["inference_operations"] == found[0]["inference_operations"]
        for work in cost.WORK:
            assert len(values[f"{work}_seconds"]) == 2 and min(values[f"{work}_seconds"]) > 0
