"""A smaller model's score beside the whole model's, and how sure either is.

A record keeps what a model predicted, one character an example, so that two models can be compared
on the same examples without running either again.
"""

import string

import numpy as np
import pandas as pd
from torch import Tensor

from lib import corpora
from lib.errors import BadInput

CLEAR = 5.0  # points: a task is learned if the score is so far above what needs no model
# Tasks of the averages of paper B's first version; others are this book's extras.
AVERAGED = ("sst2", "mnli", "qnli", "qqp", "stsb", "rte", "mrpc")
ENOUGH = 3  # tasks, and seeds of each, that a claim about averages needs
WHOLE = ["model", "task", "seed"]  # runs that share a whole model
DIGITS = string.digits + string.ascii_letters  # one character for each class
STEPS = "".join(map(chr, range(33, 127)))  # one printable character for each step of a number
LOW, HIGH = -5.0, 5.0  # of predicted numbers, told apart in 94 steps


def losses(runs: pd.DataFrame) -> pd.DataFrame:
    """Every run next to the whole model (``k`` = 0) of its seed; runs without one are left out.

    Returns
    -------
    DataFrame
        The runs with ``loss`` (points: 100 times the whole score less this one), ``kept`` (share of
        the whole score), ``share`` of the blocks dropped, ``whole`` (points), and ``learned``:
        whether the whole model is more than :data:`CLEAR` points above the constant answer,
        averaged over seeds, and above it with this seed. A whole model that failed is nothing to
        compare with.
    """
    whole = runs[runs["k"] == 0].set_index(WHOLE)
    known = pd.DataFrame({"whole": 100 * whole["score"], "total": whole["blocks"]})
    clear = 100 * (whole["score"] - whole["constant"])
    known["learned"] = clear.groupby(["model", "task"]).transform("mean").gt(CLEAR) & (clear > 0)
    found = runs.join(known, on=WHOLE, how="inner")
    return found.assign(
        loss=found["whole"] - 100 * found["score"],
        kept=100 * found["score"] / found["whole"],
        share=found["k"] / found["total"],
    )


def averaged(found: pd.DataFrame, cuts: dict[str, int] | None = None) -> pd.DataFrame:
    """The rows that averages over tasks are made of.

    Tasks that the whole model learned, of the papers' averages where there are any of them; with
    ``cuts``, a number for each model, only tasks and seeds for which so many runs are finished, so
    that all strategies are compared on the same runs.
    """
    rows = found[found["learned"]]
    rows = rows[rows["task"].isin(AVERAGED)] if rows["task"].isin(AVERAGED).any() else rows
    if cuts is None:
        return rows
    return rows[rows.groupby(WHOLE)["k"].transform("size") >= rows["model"].map(cuts).astype(int)]


def over_tasks(rows: pd.DataFrame, by: list[str], column: str = "loss") -> pd.Series:
    """Averages over tasks, each counted once however many seeds it has.

    Examples
    --------
    >>> rows = pd.DataFrame({"task": ["a", "a", "b"], "model": "m", "loss": [1.0, 3.0, 4.0]})
    >>> over_tasks(rows, ["model"])["m"]
    np.float64(3.0)
    """
    each = rows.groupby([*by, "task"], sort=False)[column].mean()
    return each.groupby(by, sort=False).mean()


def n_seeds(rows: pd.DataFrame) -> pd.Series:
    """How many seeds each model has on each task."""
    return rows.groupby(["model", "task"])["seed"].nunique()


def counting(rows: pd.DataFrame) -> pd.Index:
    """Models whose averages count: with three tasks and three seeds of each, or all if none has.

    Examples
    --------
    >>> rows = pd.DataFrame({"model": "m", "task": ["a", "b", "c"], "seed": [0, 0, 0]})
    >>> few, much = rows, pd.concat([rows.assign(model="n", seed=seed) for seed in range(3)])
    >>> counting(few).tolist(), counting(pd.concat([few, much])).tolist()
    (['m'], ['n'])
    """
    seeds = n_seeds(rows).groupby("model", sort=False)
    enough = (seeds.size() >= ENOUGH) & (seeds.min() >= ENOUGH)
    return enough.index[enough if enough.any() else ~enough]


# ---- how sure a score is ----------------------------------------------------------------------


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

    def score(one: np.ndarray, rows: np.ndarray) -> float:
        return next(iter(corpora.score(task, one[rows].tolist(), gold[rows].tolist()).values()))

    return np.array([[score(one, rows) for one in given] for rows in drawn])


def error(task: corpora.Task, whole: str, cut: str, **options) -> float:
    """Standard error (points) of what one model loses against another on the same examples."""
    scores = bootstrap(task, whole, cut, **options)
    return 100 * float((scores[:, 0] - scores[:, 1]).std())


def binomial(score, n):
    """Standard error of accuracies (points) on ``n`` test examples: the binomial formula."""
    share = score / 100
    return 100 * np.sqrt(np.maximum(share * (1 - share), 0) / n)


def errors(runs: pd.DataFrame) -> pd.Series:
    """The :func:`binomial` error of each run, missing where its score is no accuracy or is old."""
    known = runs.reindex(columns=["score", "accuracy", "predictions"])
    accuracy = 100 * known["score"].where(known["score"] == known["accuracy"])
    return binomial(accuracy, known["predictions"].map(len, na_action="ignore").astype(float))
