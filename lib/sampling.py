"""How sure a score is: predictions kept as text, and their bootstrap over the test part.

A record keeps what a model predicted, one character an example, so that two models can be compared
on the same examples without running either again.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from lib import corpora
from lib.errors import BadInput

DIGITS = "0123456789"
STEPS = "".join(map(chr, range(33, 127)))  # one printable character for each step of a number
LOW, HIGH = -5.0, 5.0  # of predicted numbers, told apart in 94 steps


def marks(logits: Tensor, classes: bool) -> str:
    """Predictions from logits (N, C): a class number, or a number's step, for each example."""
    if classes:
        return "".join(DIGITS[i] for i in logits.argmax(dim=1).tolist())
    steps = (logits[:, 0].clamp(LOW, HIGH) - LOW) / (HIGH - LOW) * (len(STEPS) - 1)
    return "".join(STEPS[i] for i in steps.round().int().tolist())


def read(task: corpora.Task, kept: str) -> list:
    """Predictions that were kept as text, as labels or numbers of a task."""
    if len(kept) != len(task.test):
        raise BadInput(
            f"{len(kept)} predictions do not belong to the {len(task.test)} test examples of "
            f"{task.name}"
        )
    if task.labels:
        return [task.labels[DIGITS.index(mark)] for mark in kept]
    return [LOW + (HIGH - LOW) * STEPS.index(mark) / (len(STEPS) - 1) for mark in kept]


def bootstrap(task: corpora.Task, *kept: str, draws: int = 200, seed: int = 0) -> np.ndarray:
    """Scores of one or several models on test parts drawn again from the task's own.

    Parameters
    ----------
    task
        Its ``test`` part is that on which the predictions were made.
    kept
        Predictions of each model, as text.
    draws, seed
        How many test parts are drawn, each as large as the task's own and with replacement.

    Returns
    -------
    ndarray of shape (draws, models)
        The task's own metric. In one row all models are scored on the same examples.
    """
    given = [np.array(read(task, one), dtype=object) for one in kept]
    gold = np.array([label for _, label in task.test], dtype=object)
    drawn = np.random.default_rng(seed).integers(len(gold), size=(draws, len(gold)))
    return np.array([[_score(task, one[rows], gold[rows]) for one in given] for rows in drawn])


def _score(task: corpora.Task, given: np.ndarray, gold: np.ndarray) -> float:
    return next(iter(corpora.score(task, given.tolist(), gold.tolist()).values()))


def error(task: corpora.Task, whole: str, cut: str, **options) -> float:
    """Standard error (points) of what one model loses against another on the same examples."""
    scores = bootstrap(task, whole, cut, **options)
    return 100 * float((scores[:, 0] - scores[:, 1]).std())
