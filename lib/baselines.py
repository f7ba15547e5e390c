"""What a task needs no encoder for: the score of a model that sees words and no context.

A probe that only matches these numbers has found nothing in the activations that was not in the
words. They work on the items of any :class:`lib.corpora.Task`, embedded or real.
"""

from collections import Counter, defaultdict

import numpy as np


def word_majority(train, test) -> float:
    """Return the accuracy of giving every word its commonest label: what context is worth.

    Parameters
    ----------
    train, test
        Lists of (words, labels). Case is ignored; an unknown word gets the commonest label.
    """
    seen = defaultdict(Counter)
    for words, labels in train:
        for word, label in zip(words, labels, strict=True):
            seen[word.lower()][label] += 1
    best = {word: max(counts, key=counts.get) for word, counts in seen.items()}
    total = sum(seen.values(), Counter())
    rare = max(total, key=total.get)
    pairs = [pair for words, labels in test for pair in zip(words, labels, strict=True)]
    return sum(best.get(word.lower(), rare) == label for word, label in pairs) / len(pairs)


def bag_of_words(train, test) -> float:
    """Return the score of a linear model on bags of words.

    A pair is described by the words of either sentence, those in both, and those in only one.
    Labels are predicted by logistic regression and scored by accuracy; numbers by ridge regression
    and Pearson correlation.

    Parameters
    ----------
    train, test
        Lists of (sentence or pair of sentences, label).
    """
    from sklearn.feature_extraction import DictVectorizer  # noqa: PLC0415  (slow to import)
    from sklearn.linear_model import LogisticRegression, Ridge  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import MaxAbsScaler  # noqa: PLC0415

    x, z = ([_counts(given) for given, _ in part] for part in (train, test))
    y, gold = ([label for _, label in part] for part in (train, test))
    numbers = isinstance(y[0], float)
    model = Ridge(1.0) if numbers else LogisticRegression(solver="newton-cg")
    fitted = make_pipeline(DictVectorizer(), MaxAbsScaler(), model).fit(x, y)
    return float(np.corrcoef(fitted.predict(z), gold)[0, 1]) if numbers else fitted.score(z, gold)


def _counts(given):
    """Count the words of a sentence, or of a pair, its overlap and its differences."""
    if isinstance(given, str):
        return Counter(_split(given))
    first, second = (Counter(_split(sentence)) for sentence in given)
    parts = {"1": first, "2": second, "both": first & second}
    parts["one"] = (first - second) + (second - first)
    counts = {f"{part} {w}": n for part, bag in parts.items() for w, n in bag.items()}
    return counts | {part: sum(bag.values()) for part, bag in parts.items()}


def _split(sentence):
    for mark in (".", ",", "?", "n't"):
        sentence = sentence.replace(mark, f" {mark}")
    return sentence.lower().split()
