"""Losses against the whole model, predictions kept as text, and the error of the test part."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from lib import BadInput, comparison, corpora


def made(labels, metric, gold):
    items = [(f"sentence {n}", label) for n, label in enumerate(gold)]
    about = {"name": "a task", "title": "A task", "kind": "sentence", "source": "a test"}
    about |= {"labels": labels, "metric": metric, "digest": "0", "skipped": {}}
    return corpora.Task(**about, train=items, dev=items, test=items)


def test_classes_are_read_as_they_were_kept():
    task = made(tuple("abcdefghijklmnop"), "accuracy", "abcab")
    logits = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))
    logits[:2, 12:] += 9  # classes beyond the ten digits
    expected = [task.labels[i] for i in logits.argmax(dim=1)]
    assert comparison.read(task, comparison.marks(logits, True)) == expected


def test_numbers_are_kept_to_half_a_step():
    task = made((), "pearson_spearman", np.linspace(0, 5, 50).tolist())
    logits = torch.linspace(-6, 6, 50)[:, None]
    read = np.array(comparison.read(task, comparison.marks(logits, False)))
    assert np.abs(read - logits[:, 0].clamp(-5, 5).numpy()).max() <= 10 / 93 / 2 + 1e-6


def test_the_error_of_an_accuracy_is_the_binomial_one():
    task = made(("a", "b"), "accuracy", ["a"] * 400)
    kept = "0" * 300 + "1" * 100
    scores = comparison.bootstrap(task, kept, draws=1000)[:, 0]
    assert scores.mean() == pytest.approx(0.75, abs=0.003)
    assert scores.std() == pytest.approx(np.sqrt(0.75 * 0.25 / 400), rel=0.1)


def test_models_are_compared_on_the_same_examples():
    task = made(("a", "b"), "accuracy", ["a"] * 400)
    whole, cut = "0" * 300 + "1" * 100, "0" * 296 + "1" * 104
    assert comparison.error(task, whole, whole) == 0
    alike = comparison.error(task, whole, cut, draws=1000)
    assert alike == pytest.approx(100 * np.sqrt(0.01 * 0.99 / 400), rel=0.15)
    assert alike < 0.3 * comparison.error(task, whole, whole[::-1])


def test_predictions_of_another_test_part_are_refused():
    task = made(("a", "b"), "accuracy", ["a"] * 4)
    with pytest.raises(BadInput, match="3 predictions do not belong to the 4 test examples"):
        comparison.read(task, "010")


def planted(**changes):
    rows = [
        {"model": "m", "task": task, "strategy": s, "k": k, "seed": seed, "blocks": 6 - k}
        | {"score": 0.9 - 0.1 * k, "constant": 0.5 if task == "sst2" else 0.88}
        for task, (s, k), seed in itertools.product(
            ("sst2", "cola"), (("whole", 0), ("top", 1), ("top", 2)), (0, 1)
        )
    ]
    return pd.DataFrame(rows).assign(**changes)


def test_a_loss_is_the_whole_model_s_score_less_the_smaller_one_s():
    found = comparison.losses(planted())
    assert np.allclose(found["loss"], 10 * found["k"])
    assert np.allclose(found["kept"], (0.9 - 0.1 * found["k"]) / 0.9)
    sst2 = found[found["task"] == "sst2"]
    assert np.allclose(found["share"], found["k"] / 6)
    assert sst2["learned"].all() and not found[found["task"] == "cola"]["learned"].any()


def test_a_run_without_its_whole_model_has_no_loss():
    runs = planted()
    found = comparison.losses(runs[~((runs["k"] == 0) & (runs["seed"] == 1))])
    assert set(found["seed"]) == {0}


def test_a_whole_model_that_failed_is_nothing_to_compare_with():
    runs = planted(constant=0.5)
    failed = (runs["k"] == 0) & (runs["seed"] == 1) & (runs["task"] == "sst2")
    found = comparison.losses(runs.assign(score=runs["score"].where(~failed, 0.5)))
    kept = comparison.averaged(found)
    assert set(kept["seed"]) == {0} and set(kept["task"]) == {"sst2"}
    assert found[found["task"] == "cola"]["learned"].all()


def test_averages_hold_what_was_learned_and_finished_and_no_extra_task():
    runs = planted(constant=0.5)
    found = comparison.losses(runs)
    assert set(comparison.averaged(found)["task"]) == {"sst2"}
    assert set(comparison.averaged(found[found["task"] == "cola"])["task"]) == {"cola"}
    some = found[~((found["k"] == 2) & (found["seed"] == 1))]
    assert set(comparison.averaged(some, cuts={"m": 3})["seed"]) == {0}
