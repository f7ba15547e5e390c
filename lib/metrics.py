"""Scores of predictions against labels: the metrics of GLUE, and what words alone would score.

Every metric returns its numbers by name, the one that ranks runs first. None of them returns NaN:
a prediction that says nothing scores 0.
"""

import warnings
from collections import Counter

import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import f1_score, matthews_corrcoef

from lib.errors import BadInput


def accuracy(predictions, labels) -> dict[str, float]:
    """Share of predictions that equal their label.

    Parameters
    ----------
    predictions, labels : array-like of shape (N,)
        Class names or class numbers, the same kind in both.

    Raises
    ------
    BadInput
        If the two differ in length, are empty, or are names on one side and numbers on the other.

    Examples
    --------
    >>> accuracy(["a", "b", "b", "b"], ["a", "a", "b", "b"])
    {'accuracy': 0.75}
    """
    predictions, labels = _same_length(predictions, labels)
    return {"accuracy": float(np.mean(predictions == labels))}


def f1(predictions, labels, *, positive=1) -> dict[str, float]:
    """Harmonic mean of precision and recall of the class ``positive``; 0 if it never occurs."""
    predictions, labels = _same_length(predictions, labels)
    if _is_text(labels) and not isinstance(positive, str):
        raise BadInput(f"f1 of named classes needs positive= one of {', '.join(np.unique(labels))}")
    score = f1_score(labels == positive, predictions == positive, zero_division=0.0)
    return {"f1": float(score)}


def accuracy_and_f1(predictions, labels, *, positive=1) -> dict[str, float]:
    """Mean of accuracy and F1, and both: the score of GLUE for MRPC and QQP."""
    parts = accuracy(predictions, labels) | f1(predictions, labels, positive=positive)
    return {"accuracy_and_f1": (parts["accuracy"] + parts["f1"]) / 2} | parts


def matthews(predictions, labels) -> dict[str, float]:
    """Matthews correlation of two classifications, in [-1, 1]; 0 if either is constant."""
    predictions, labels = _same_length(predictions, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one class only: a score of 0, as documented
        return {"matthews": float(matthews_corrcoef(labels, predictions))}


def pearson_spearman(predictions, labels) -> dict[str, float]:
    """Mean of Pearson's and Spearman's correlation, and both: the score of GLUE for STS-B.

    Parameters
    ----------
    predictions, labels : array-like of shape (N,)
        Real numbers; a column of shape (N, 1), as a regression head returns it, is accepted.

    Returns
    -------
    dict
        ``corr`` (the mean), ``pearson``, ``spearman``, each in [-1, 1]. All are 0 if either side
        is constant, or if a prediction is not finite: a diverged model has predicted nothing.
    """
    given = (np.asarray(x, dtype=float) for x in (predictions, labels))
    predictions, labels = _same_length(*(x.reshape(len(x)) for x in given))
    if not np.isfinite(labels).all():
        raise BadInput("labels hold a number that is not finite; a score needs finite labels")
    if not np.isfinite(predictions).all() or 0.0 in (np.ptp(predictions), np.ptp(labels)):
        return {"corr": 0.0, "pearson": 0.0, "spearman": 0.0}
    pearson, spearman = (float(r(predictions, labels)[0]) for r in (pearsonr, spearmanr))
    return {"corr": (pearson + spearman) / 2, "pearson": pearson, "spearman": spearman}


METRICS = {m.__name__: m for m in (accuracy, f1, accuracy_and_f1, matthews, pearson_spearman)}


def fitting(classes) -> list[str]:
    """Metrics that fit a head with these classes, the usual one first; no class means a number."""
    if not len(classes):
        return ["pearson_spearman"]
    return ["accuracy", "matthews"] if len(classes) > 2 else list(METRICS)[:4]


def word_majority(train, test) -> float:
    """Accuracy of giving every word its commonest label: what a model without context scores.

    Parameters
    ----------
    train, test
        Lists of (words, labels). Case is ignored; an unknown word gets the commonest label.
    """
    pairs, asked = (
        [(word.lower(), label) for item in items for word, label in zip(*item, strict=True)]
        for items in (train, test)
    )
    counts = Counter(pairs).most_common()  # of equals the one that comes first
    best = dict(pair for pair, _ in reversed(counts))  # the last one stays
    rare = Counter(label for _, label in pairs).most_common(1)[0][0]
    return sum(best.get(word, rare) == label for word, label in asked) / len(asked)


def _same_length(predictions, labels) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays of shape (N,), or a sentence that says why not."""
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if predictions.shape != labels.shape or labels.ndim != 1 or not len(labels):
        raise BadInput(
            f"predictions of shape {predictions.shape} do not match labels of shape "
            f"{labels.shape}; both are (N,) with N at least 1"
        )
    if _is_text(predictions) != _is_text(labels):
        raise BadInput("predictions and labels are class names on one side, numbers on the other")
    return predictions, labels


def _is_text(values: np.ndarray) -> bool:
    return values.dtype.kind in "UO"
