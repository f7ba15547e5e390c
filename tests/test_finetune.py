"""Fine-tuning: laws of the batches, determinism, resume, what goes wrong said in words."""

import copy
import dataclasses
import math
import shutil

import numpy as np
import pytest
import torch
from conftest import CONFIGS, predict

from lib import BadInput, change, checkpoints, corpora, dropping, encoders, finetune, settings
from lib.errors import Diverged
from lib.training import POOL, RELEASED, Recipe, Training, plan

FAST = Recipe(learning_rate=1e-3, epochs=2, batch=4, precision="float32")


def made(name, labels, metric, items):
    about = {"name": name, "title": name, "kind": "sentence", "source": "a test", "digest": "0"}
    about |= {"labels": labels, "metric": metric, "skipped": {}}
    return corpora.Task(**about, train=items[:20], dev=items[20:24], test=items[24:])


@pytest.fixture(scope="module")
def task():
    """Two dozen sentences of two classes that one word tells apart."""
    good = [(f"the {noun} was good", "positive") for noun in "boat dog harbour sailor".split()]
    bad = [(f"a {noun} was bad , nobody helped", "negative") for noun in "boat dog sailor".split()]
    items = (good + bad) * 4
    return made("sst2", ("negative", "positive"), "accuracy", items)


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    """A cache of each test's own."""
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_every_epoch_sees_every_sentence_once_in_batches_of_like_length():
    lengths = np.random.default_rng(0).integers(3, 60, size=1000)
    recipe = Recipe(epochs=3, batch=8)
    updates = plan(lengths, recipe, seed=1)
    assert len(updates) == 3 * math.ceil(1000 / 8)
    for epoch in range(3):
        seen = np.concatenate(updates[epoch * 125 : (epoch + 1) * 125])
        assert sorted(seen) == list(range(1000))
    padded = sum(len(group) * lengths[group].max() for group in updates)
    assert padded < 1.1 * 3 * lengths.sum() < 3 * 1000 * 128 / 2
    assert POOL * recipe.batch < 1000  # so more than one pool was drawn


def test_every_epoch_has_an_order_of_its_own():
    recipe = Recipe(epochs=3, batch=4)
    updates = np.array(plan([9] * 64, recipe, seed=0)).reshape(3, -1)
    assert all(sorted(epoch) == list(range(64)) for epoch in updates.tolist())
    assert len({tuple(epoch) for epoch in updates.tolist()}) == 3


def test_batches_follow_from_the_seed_alone():
    lengths = list(range(5, 105))
    first, again, other = (plan(lengths, RELEASED, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_the_same_seed_gives_the_same_weights_and_torch_is_left_as_it_was(family_folders, task):
    for folder in family_folders.values():
        found = []
        for seed in (0, 0, 1):
            state = torch.get_rng_state()
            model, tokenizer = finetune.begin(folder, task, seed=seed, device="cpu")
            finetune.train(model, tokenizer, task, recipe=FAST, seed=seed)
            assert torch.equal(torch.get_rng_state(), state)
            assert torch.utils.deterministic.fill_uninitialized_memory
            assert not torch.are_deterministic_algorithms_enabled()
            torch.rand(1)  # a reader's own draws must not matter
            found.append(weights(model))
        assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_the_head_is_the_same_whatever_blocks_are_kept(family_folders, task):
    heads = []
    for keep in (None, [0], [1, 2]):
        model, _ = finetune.begin(family_folders["bert"], task, keep=keep, device="cpu")
        heads.append(model.classifier.weight)
    assert torch.equal(heads[0], heads[1]) and torch.equal(heads[0], heads[2])


def test_every_family_learns_what_one_word_tells(family_folders, task):
    for folder in family_folders.values():
        recipe = dataclasses.replace(FAST, epochs=25, learning_rate=2e-3, warmup=0.1)
        found = finetune.run(folder, task, keep=[0, 1], recipe=recipe, device="cpu")
        assert found["accuracy"] == 1.0
        assert found["epoch_losses"][-1] < found["epoch_losses"][0]
        assert found["blocks"] == 2 and found["updates"] == 25 * 5 and found["examples"] == 20


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


@pytest.mark.parametrize("family", ["bert", "roberta", "xlnet", "albert"])
def test_updates_are_those_of_the_released_loop(family_folders, task, family):
    """The plain loop: whole vocabulary, all padded to one length, transformers' own loss."""
    folder = family_folders[family]
    model, tokenizer = finetune.begin(folder, task, device="cpu")
    finetune.train(without_dropout(model), tokenizer, task, recipe=FAST)
    plain, tokenizer = finetune.begin(folder, task, device="cpu")
    without_dropout(plain).train()
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-3, weight_decay=0.0)
    texts, target = [text for text, _ in task.train], finetune.targets(task, task.train)
    updates = plan([len(tokenizer(text)["input_ids"]) for text in texts], FAST, 0)
    for number, group in enumerate(updates):
        batch = tokenizer(
            [texts[i] for i in group], padding="max_length", max_length=40, return_tensors="pt"
        )
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 - number / len(updates))
        plain(**batch, labels=target[group]).loss.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    for (name, ours), theirs in zip(model.named_parameters(), plain.parameters(), strict=True):
        if name.endswith("key.bias"):  # softmax cancels it: its gradient is rounding, 0 in theory
            continue
        torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-3, msg=name)


def test_a_stopped_training_goes_on_to_the_same_weights(
    family_folders, task, tmp_path, killed_after
):
    folder, file = family_folders["bert"], tmp_path / "run.safetensors"
    model, tokenizer = finetune.begin(folder, task, device="cpu")
    told = finetune.train(model, tokenizer, task, recipe=FAST)
    stopped, _ = finetune.begin(folder, task, device="cpu")
    with killed_after(7):
        finetune.train(stopped, tokenizer, task, recipe=FAST, checkpoint=file)
    fresh, _ = finetune.begin(folder, task, device="cpu")
    assert finetune.train(fresh, tokenizer, task, recipe=FAST, checkpoint=file) == told
    assert torch.equal(weights(fresh), weights(model)) and not file.exists()


def test_a_checkpoint_of_another_run_is_refused(family_folders, task, tmp_path):
    file = tmp_path / "run.safetensors"
    model, tokenizer = finetune.begin(family_folders["bert"], task, device="cpu")
    state = finetune.fine_tuning(model, tokenizer, task, FAST, 0)
    state.save(file)
    state.words.put_back()
    with pytest.raises(BadInput, match="belongs to another run"):
        finetune.train(model, tokenizer, task, recipe=FAST, seed=1, checkpoint=file)


def test_a_batch_that_does_not_fit_is_computed_in_pieces_with_the_same_gradients(
    family_folders, task
):
    model, tokenizer = finetune.begin(family_folders["bert"], task, device="cpu")
    model.eval()  # no dropout, so that the gradients can be compared
    state = finetune.fine_tuning(model, tokenizer, task, FAST, 0)
    state.gradients(state.plan[0])
    whole = torch.cat([p.grad.flatten() for p in model.parameters()])
    forward = model.forward

    def small(input_ids, **inputs):
        if len(input_ids) > 1:
            raise torch.OutOfMemoryError
        return forward(input_ids=input_ids, **inputs)

    model.forward = small
    model.zero_grad()
    with pytest.warns(UserWarning, match="does not fit the device's memory"):
        state.gradients(state.plan[0])
    assert state.pieces == 4 and state.account()["notes"]
    pieces = torch.cat([p.grad.flatten() for p in model.parameters()])
    torch.testing.assert_close(pieces, whole, atol=1e-6, rtol=1e-4)


def test_a_sentence_that_does_not_fit_alone_is_said(family_folders, task):
    model, tokenizer = finetune.begin(family_folders["bert"], task, device="cpu")

    def none(**_):
        raise torch.OutOfMemoryError

    model.forward = none
    with (
        pytest.warns(UserWarning, match="does not fit"),
        pytest.raises(BadInput, match="one sentence of 128 tokens does not fit"),
    ):
        finetune.train(model, tokenizer, task, recipe=FAST)


def test_a_loss_that_is_no_number_stops_with_the_update(family_folders, task):
    recipe = dataclasses.replace(FAST, learning_rate=1e30)
    with pytest.raises(
        Diverged, match=r"the loss is (nan|inf) at update \d+ of 10 \(learning rate"
    ):
        finetune.run(family_folders["bert"], task, recipe=recipe, device="cpu")


def test_a_class_missing_from_train_is_named(family_folders, task):
    one = dataclasses.replace(task, train=[item for item in task.train if item[1] == "positive"])
    found = finetune.run(family_folders["bert"], one, recipe=FAST, device="cpu")
    assert found["notes"] == {"class 'negative' without an example": 1}


def test_an_unknown_label_is_refused(family_folders, task):
    odd = dataclasses.replace(task, train=[*task.train, ("the dog", "neutral")])
    with pytest.raises(BadInput, match=r"labels \['neutral'\] are not among those of sst2"):
        finetune.run(family_folders["bert"], odd, recipe=FAST, device="cpu")


def test_predictions_do_not_depend_on_batches(family_folders, task):
    for folder in family_folders.values():
        model, tokenizer = finetune.begin(folder, task, device="cpu")
        texts = [text for text, _ in task.train]
        alone = torch.cat([predict(model, tokenizer, [text]) for text in texts])
        for size in (16, 4096):
            together = predict(model, tokenizer, texts, batch_tokens=size)
            torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_batches_side_by_side_change_no_prediction(family_folders, task, cores):
    """A core for each batch gives what one core gives, in the order of the sentences."""
    texts = [text for text, _ in task.train]
    for folder in family_folders.values():
        model, tokenizer = finetune.begin(folder, task, device="cpu")
        got = []
        for count in (1, 3):
            cores(count)
            got.append(predict(model, tokenizer, texts, batch_tokens=16))
            assert torch.get_num_threads() == count
        assert torch.equal(*got)


def test_numbers_are_fitted_by_squared_error(family_folders):
    words = "boat dog harbour sailor".split()
    items = [(f"the {word} saw a {word}", n / 3) for n, word in enumerate(words * 8)]
    few = made("stsb", (), "pearson_spearman", items)
    found = finetune.run(family_folders["bert"], few, recipe=FAST, device="cpu")
    assert found["score"] == found["corr"] and list(found)[2:5] == ["corr", "pearson", "spearman"]
    model, _ = encoders.load(family_folders["bert"], head=(), device="cpu")
    assert model.config.num_labels == 1


@pytest.mark.parametrize(
    ("field", "value"), [("epochs", 0), ("batch", 0), ("learning_rate", 0), ("precision", "half")]
)
def test_recipes_that_cannot_train_are_refused(field, value):
    with pytest.raises(BadInput, match=f"{field} "):
        Recipe(**{field: value})


@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_a_run_goes_on_from_a_checkpoint_of_its_own(
    family_folders, task, results, killed_after, family
):
    folder, whole = family_folders[family], None
    for keep in ([0, 1], [0, 2]):  # as many weights: the file's name tells the runs apart
        chosen = {"keep": keep, "recipe": FAST, "seed": 2, "device": "cpu"}
        expected = finetune.run(folder, task, **chosen)
        with killed_after(6):
            finetune.run(folder, task, **chosen)
        assert len(list(results.rglob("*.safetensors"))) == 1
        other = finetune.run(folder, task, **chosen | {"seed": 3})
        assert other["predictions"] and len(list(results.rglob("*.safetensors"))) == 1
        assert finetune.run(folder, task, **chosen) == expected != whole
        assert not list(results.rglob("*.safetensors"))
        whole = expected


def decayed_alone(model, tokenizer, task, decay):
    """Weights after one update whose gradients are all zero: only a decay can move them."""
    recipe = dataclasses.replace(FAST, weight_decay=decay, learning_rate=0.1)
    state = finetune.fine_tuning(model, tokenizer, task, recipe, 0)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    state.optimizer.step()
    state.words.put_back()
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("family", ["bert", "roberta", "xlnet", "distilbert", "electra", "albert"])
def test_weights_decay_but_never_biases_and_normalisation(family_folders, task, family):
    model, tokenizer = finetune.begin(family_folders[family], task, device="cpu")
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1)  # biases start at 0, where no decay would show
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    after = decayed_alone(model, tokenizer, task, 0.5)
    for name, weight in before.items():
        spared = "bias" in name.lower() or "norm" in name.lower()
        if spared:
            assert torch.equal(after[name], weight), name
        elif "word" not in name and "seg_embed" not in name:
            torch.testing.assert_close(after[name], weight * (1 - 0.1 * 0.5), msg=name)
    model, tokenizer = finetune.begin(family_folders[family], task, device="cpu")
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    after = decayed_alone(model, tokenizer, task, 0.0)
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


def test_every_update_draws_a_dropout_of_its_own(family_folders, task):
    """The same batch at the same weights: two updates differ, the same update repeats."""
    model, tokenizer = finetune.begin(family_folders["bert"], task, device="cpu")
    recipe = dataclasses.replace(FAST, learning_rate=1e-12)
    state = finetune.fine_tuning(model, tokenizer, task, recipe, 0)
    state.plan = [state.plan[0]] * len(state.plan)
    with state.running():
        for _ in state.plan[:4]:
            state.update()
        assert len(set(state.losses[:4])) == 4
        first, state.done = state.losses[0], 0
        state.update()
    assert state.losses[0] == pytest.approx(first, abs=1e-6)


def test_the_tuned_model_is_kept_and_is_what_a_run_gives(
    family_folders, task, results, monkeypatch
):
    chosen = {"seed": 1, "device": "cpu"}
    folder = family_folders["bert"]
    first, tokenizer, account = finetune.tuned(folder, task, (None, FAST), **chosen)
    monkeypatch.setattr(Training, "update", None)  # from now on nothing can be trained
    again, _, told = finetune.tuned(folder, task, (None, FAST), **chosen)
    assert torch.equal(weights(first), weights(again)) and told == account
    monkeypatch.undo()
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(results / "other"))
    values = finetune.scores(again, tokenizer, task, FAST) | account | {"keep": None}
    assert finetune.run(folder, task, recipe=FAST, **chosen) == values


def test_another_text_recipe_or_model_is_tuned_anew(family_folders, task, results):
    finetune.tuned(family_folders["bert"], task, (None, FAST), device="cpu")
    swapped = dataclasses.replace(task, train=task.train[::-1])
    recipe = dataclasses.replace(FAST, learning_rate=2e-3)
    for model, text, how in (
        ("bert", swapped, FAST), ("bert", task, recipe), ("electra", task, FAST),
    ):  # fmt: skip
        finetune.tuned(family_folders[model], text, (None, how), device="cpu")
    assert len(list(results.rglob("tuned-*.safetensors"))) == 4


def test_the_cache_keeps_the_newest(family_folders, task, results, monkeypatch):
    monkeypatch.setattr(finetune, "KEPT", 2)
    for seed in range(3):
        finetune.tuned(family_folders["bert"], task, (None, FAST), seed=seed, device="cpu")
    assert len(list(results.rglob("tuned-*.safetensors"))) == 2


def test_a_run_from_the_tuned_model_starts_where_tuning_ended(family_folders, task):
    still = dataclasses.replace(FAST, learning_rate=1e-12)
    model, tokenizer, _ = finetune.tuned(family_folders["bert"], task, (None, still), device="cpu")
    cut = finetune.dropping.smaller(model, [0, 1])
    after = finetune.scores(cut, tokenizer, task)
    chosen = {"recipe": still, "earlier": [(None, still)], "device": "cpu"}
    again = finetune.run(family_folders["bert"], task, keep=[0, 1], **chosen)
    assert again["predictions"] == after["predictions"] and again["keep"] == [0, 1]


def test_blocks_of_a_later_stage_are_those_of_the_whole_model(family_folders, task):
    still, folder = dataclasses.replace(FAST, learning_rate=1e-12), family_folders["bert"]
    n = encoders.blocks(folder)
    stages = [(range(1, n), still), ([n - 1], still)]  # the first, then all but the last
    model, _, _ = finetune.tuned(folder, task, *stages, device="cpu")
    whole, _ = finetune.begin(folder, task, keep=[n - 1], device="cpu")
    assert torch.allclose(weights(whole), weights(model), atol=1e-6)
    with pytest.raises(
        BadInput, match=r"blocks \[0\] cannot be kept or frozen: an earlier stage dropped"
    ):
        finetune.tuned(folder, task, stages[0], ([0], still), device="cpu")


def test_a_stage_trains_what_an_earlier_one_had_frozen(family_folders, task):
    folder = family_folders["bert"]
    first = dataclasses.replace(FAST, freeze=(0,), freeze_embeddings=True)
    frozen, _, _ = finetune.tuned(folder, task, (None, first), device="cpu")
    free, _, _ = finetune.tuned(folder, task, (None, first), (None, FAST), device="cpu")
    fresh, _ = finetune.begin(folder, task, device="cpu")
    before, held, moved = (
        weights(finetune.dropping.block_list(model)[0]) for model in (fresh, frozen, free)
    )
    assert torch.equal(before, held) and not torch.equal(before, moved)


def test_the_losses_of_an_epoch_are_those_of_its_updates(family_folders, task):
    model, tokenizer = finetune.begin(family_folders["bert"], task, device="cpu")
    recipe = dataclasses.replace(FAST, updates=7)  # of five an epoch
    state = finetune.fine_tuning(model, tokenizer, task, recipe, 0)
    state.losses[:] = range(7)
    assert state.account()["epoch_losses"] == [2.0, 5.5]


def test_frozen_blocks_of_a_later_stage_are_those_of_the_whole_model(family_folders, task):
    folder = family_folders["bert"]
    n, still = encoders.blocks(folder), dataclasses.replace(FAST, learning_rate=1e-12)
    held = dataclasses.replace(FAST, freeze=(n - 1,))
    stages = [(range(1, n), still), (None, held)]
    model, _, _ = finetune.tuned(folder, task, *stages, device="cpu")
    frozen = [not p.requires_grad for p in finetune.dropping.block_list(model)[-1].parameters()]
    free = [p.requires_grad for p in finetune.dropping.block_list(model)[0].parameters()]
    assert all(frozen) and all(free)
    gone = dataclasses.replace(FAST, freeze=(0,))
    with pytest.raises(BadInput, match=r"blocks \[0\] cannot be kept or frozen"):
        finetune.tuned(folder, task, stages[0], (None, gone), device="cpu")


def test_training_in_place_freezes_what_the_recipe_says(family_folders, task):
    model, tokenizer = finetune.begin(family_folders["bert"], task, device="cpu")
    held = finetune.dropping.block_list(model)[0]
    before = weights(held), weights(finetune.dropping.block_list(model)[1])
    finetune.train(model, tokenizer, task, recipe=dataclasses.replace(FAST, freeze=(0,)))
    after = weights(held), weights(finetune.dropping.block_list(model)[1])
    assert torch.equal(before[0], after[0]) and not torch.equal(before[1], after[1])


def test_more_labels_than_predictions_can_name_are_refused_before_training(family_folders):
    names = tuple(f"class {i}" for i in range(63))
    task = made("many", names, "accuracy", [(f"a dog {i}", names[i % 63]) for i in range(70)])
    model, tokenizer = finetune.begin(family_folders["bert"], task, device="cpu")
    with pytest.raises(BadInput, match="many has 63 labels; 62 at most"):
        finetune.train(model, tokenizer, task, recipe=FAST)


def test_a_model_that_is_replaced_is_measured_anew(family_folders, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(family_folders["bert"], folder)
    chosen = settings.of("dropping", {"models": [str(folder)], "max_examples": 12})
    asked = (chosen, str(folder), "contribution", "polarity", 0)
    first = finetune._measured(*asked, checkpoints.digest(folder))
    model, tokenizer = encoders.load(folder, random_seed=7, device="cpu")
    shutil.rmtree(folder)
    dropping.save(model, tokenizer, folder)
    assert finetune._measured(*asked, checkpoints.digest(folder)) != first


def test_every_strategy_of_the_table_names_blocks_and_measures_what_it_goes_by(family_folders):
    folder = str(family_folders["bert"])
    chosen = settings.of("dropping", {"models": [folder], "max_examples": 12})
    n = encoders.blocks(folder)
    for strategy in dropping.STRATEGIES:
        kept = finetune.kept(chosen, folder, strategy, 1, task="polarity", seed=0)
        assert len(kept) == n - 1, strategy
    model, tokenizer = encoders.load(folder)
    train = corpora.load("polarity", root=chosen.data, seed=0).first(12).train
    near = dropping.block_similarity(
        model, tokenizer, finetune.encode(model, tokenizer, train, 128)
    )
    expected = dropping.blocks_to_keep("contribution", n, 1, similarity=near.tolist())
    assert finetune.kept(chosen, folder, "contribution", 1, task="polarity", seed=0) == expected
    whole = finetune.kept(chosen, folder, "whole", 0, task="polarity", seed=0)
    assert whole == list(range(n))


def test_comparing_a_model_with_itself_finds_no_change(family_folders, task):
    model, tokenizer = encoders.load(family_folders["bert"], device="cpu")
    found = change.compare(model, copy.deepcopy(model), tokenizer, task)
    for name, line in found.items():
        np.testing.assert_allclose(line[1:], 1, atol=1e-5, err_msg=name)
    assert np.isnan(found["cka"][0]) and np.isnan(found["centred"][0])  # [CLS] alone never varies
    assert set(found) == {n + s for n in ("cosine", "centred", "cka") for s in ("", "_mean")}


@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_comparisons_are_those_of_slow_formulas(family_folders, task, family):
    """One sentence at a time, every token; and one neuron that hides a change from the cosine."""
    before, tokenizer = encoders.load(family_folders[family], device="cpu")
    after, _ = encoders.load(family_folders[family], device="cpu", random_seed=1)
    found = change.compare(before, after, tokenizer, task)
    rows = {}
    with torch.inference_mode():
        for name, model in (("x", before), ("y", after)):
            states = [
                model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
                for text, _ in task.train
            ]
            states = [torch.stack(out.hidden_states)[:, 0].double() for out in states]
            read = -1 if family == "xlnet" else 0
            rows[name] = torch.stack([layers[:, read] for layers in states])
            rows[f"{name}_mean"] = torch.stack([layers.mean(dim=1) for layers in states])
    for suffix in ("", "_mean"):
        x, y = rows[f"x{suffix}"][:, 2], rows[f"y{suffix}"][:, 2]
        cosine = torch.cosine_similarity(x, y, dim=-1).mean()
        x, y = x - x.mean(dim=0), y - y.mean(dim=0)
        centred = torch.cosine_similarity(x, y, dim=-1).mean()
        cka = (x.T @ y).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())
        expected = {"cosine": cosine, "centred": centred, "cka": cka}
        for name, value in expected.items():
            assert found[name + suffix][2] == pytest.approx(float(value), abs=2e-4), name + suffix


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_trains_as_the_cpu_does(family_folders, task):
    recipe = dataclasses.replace(FAST, epochs=1)
    found, learned = {}, {}
    for device in ("cpu", "cuda"):
        model, tokenizer = finetune.begin(family_folders["bert"], task, device=device)
        finetune.train(without_dropout(model), tokenizer, task, recipe=recipe)  # draws differ
        found[device] = predict(model, tokenizer, [text for text, _ in task.test])
        # a key's bias has no gradient but rounding, and AdamW makes steps of it
        kept = {n: p.detach() for n, p in model.named_parameters() if not n.endswith("key.bias")}
        learned[device] = torch.cat([weight.flatten() for weight in kept.values()]).cpu()
    torch.testing.assert_close(learned["cuda"], learned["cpu"], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found["cuda"], found["cpu"], atol=1e-3, rtol=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", CONFIGS)
def test_a_training_on_cuda_repeats(family_folders, task, family, precision):
    recipe, found = dataclasses.replace(FAST, epochs=1, precision=precision), []
    for _ in range(2):
        model, tokenizer = finetune.begin(family_folders[family], task, device="cuda")
        finetune.train(model, tokenizer, task, recipe=recipe)
        found.append(weights(model))
    assert torch.equal(*found)


def test_a_whole_model_that_other_pages_go_on_from_is_a_run_like_any_other(family_folders, results):
    model = str(family_folders["bert"])
    asked = settings.of("dropping", {}, models=[model], tasks=["polarity"], max_examples=16)
    keep, text = list(range(encoders.blocks(model))), corpora.load("polarity").first(16)
    found = finetune.recorded(asked, model, "polarity", keep, seed=0)
    assert found == finetune.run(model, text, keep=keep, recipe=finetune.recipe(asked), seed=0)
    assert len(list((results / ".checkpoints").glob("tuned-*.safetensors"))) == 1
