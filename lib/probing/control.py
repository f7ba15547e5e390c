"""Control tasks: how much of a probe's accuracy a probe could have learned by heart.

Every word type is given a label drawn at random, with the frequencies of the real labels, and keeps
it wherever it stands :cite:p:`hewitt2019designing`. Such labels can only be memorised.
*Selectivity* is the accuracy on the real labels minus that on the random ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def control_labels(
    words: dict[str, Sequence[str]], labels: Sequence, seed: int = 0
) -> dict[str, list]:
    """Random labels of a task's words: the same word has the same label in every part.

    Parameters
    ----------
    words
        Words of every row, by the name of a part.
    labels
        Real labels of the training rows; each type draws one of them.
    seed
        Draws the labels.

    Examples
    --------
    >>> found = control_labels({"train": ["a", "b", "a"], "test": ["b"]}, ["x", "y", "x"])
    >>> found["train"][0] == found["train"][2], found["train"][1] == found["test"][0]
    (True, True)
    """
    types = sorted({word for part in words.values() for word in part})
    drawn = np.random.default_rng(seed).integers(len(labels), size=len(types))
    label = {word: labels[place] for word, place in zip(types, drawn, strict=True)}
    return {part: [label[word] for word in those] for part, those in words.items()}
