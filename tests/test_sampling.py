"""Predictions kept as text, and the error that comes from the test part."""

import numpy as np
import pytest
import torch

from lib import BadInput, corpora, sampling


def made(labels, metric, gold):
    items = [(f"sentence {n}", label) for n, label in enumerate(gold)]
    about = {"name": "a task", "title": "A task", "kind": "sentence", "source": "a test"}
    about |= {"labels": labels, "metric": metric, "digest": "0", "skipped": {}}
    return corpora.Task(**about, train=items, dev=items, test=items)


def test_classes_are_read_as_they_were_kept():
    task = made(("a", "b", "c"), "accuracy", "abcab")
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    expected = [task.labels[i] for i in logits.argmax(dim=1)]
    assert sampling.read(task, sampling.marks(logits, True)) == expected


def test_numbers_are_kept_to_half_a_step():
    task = made((), "pearson_spearman", np.linspace(0, 5, 50).tolist())
    logits = torch.linspace(-6, 6, 50)[:, None]
    read = np.array(sampling.read(task, sampling.marks(logits, False)))
    assert np.abs(read - logits[:, 0].clamp(-5, 5).numpy()).max() <= 10 / 93 / 2 + 1e-6


def test_the_error_of_an_accuracy_is_the_binomial_one():
    task = made(("a", "b"), "accuracy", ["a"] * 400)
    kept = "0" * 300 + "1" * 100
    scores = sampling.bootstrap(task, kept, draws=1000)[:, 0]
    assert scores.mean() == pytest.approx(0.75, abs=0.003)
    assert scores.std() == pytest.approx(np.sqrt(0.75 * 0.25 / 400), rel=0.1)


def test_models_are_compared_on_the_same_examples():
    task = made(("a", "b"), "accuracy", ["a"] * 400)
    whole, cut = "0" * 300 + "1" * 100, "0" * 296 + "1" * 104
    assert sampling.error(task, whole, whole) == 0
    alike = sampling.error(task, whole, cut, draws=1000)
    assert alike == pytest.approx(100 * np.sqrt(0.01 * 0.99 / 400), rel=0.15)
    assert alike < 0.3 * sampling.error(task, whole, whole[::-1])


def test_predictions_of_another_test_part_are_refused():
    task = made(("a", "b"), "accuracy", ["a"] * 4)
    with pytest.raises(BadInput, match="3 predictions do not belong to the 4 test examples"):
        sampling.read(task, "010")
