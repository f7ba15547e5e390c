r"""How much a miniature has learned: words said on held-out text, beside what counting words gives.

A model that knows only how often a word occurs reaches the unigram entropy, one that also looks at
the word before the bigram entropy. Only words out of the model's sight are counted: one that was
chosen and then left as it is can be copied.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from lib import batches
from lib.activations import batch_size, to_device
from lib.pretrain import objectives

DRAWN = 0  # seed of the words asked: the same ones of every model with the same tokenizer
WEIGHT = 0.5  # of the bigram, the rest of the unigram; added to every count of a word: 1


@torch.no_grad()
def held_out(model, tokenizer, encoded: batches.Encoded, objective: str) -> dict[str, float]:
    """Loss (nats) and accuracy of the words asked on some text, and how many were asked.

    Cost: one forward pass. The mode of the model, and torch's generator, are left as they were.
    """
    training, device = model.training, model.device
    total = {"loss": 0.0, "accuracy": 0.0, "asked": 0}
    model.eval()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(DRAWN)
        for batch in batches.batches(encoded, model, tokenizer, batch_tokens=batch_size(device)):
            inputs = to_device(batch, device).inputs
            logits, words, unseen = objectives.SAY[objective](model, tokenizer, inputs)
            logits, words = logits[unseen].float(), words[unseen]
            total["loss"] += functional.cross_entropy(logits, words, reduction="sum").item()
            total["accuracy"] += (logits.argmax(-1) == words).sum().item()
            total["asked"] += len(words)
    model.train(training)
    asked = max(total["asked"], 1)
    return total | {"loss": total["loss"] / asked, "accuracy": total["accuracy"] / asked}


def entropies(train: np.ndarray, held: np.ndarray, special: list[int]) -> dict[str, float]:
    r"""Cross-entropy of held-out words under counts of the training rows, in nats.

    .. math:: p(w) = \frac{n_w + 1}{n + V}, \qquad
       p(w \mid v) = \tfrac12 \frac{n_{vw}}{n_v} + \tfrac12 p(w)

    Parameters
    ----------
    train, held
        Packed rows (N, T). Every word that is not special is counted, all of them on ``held``.
    special
        Ids of special tokens.

    Returns
    -------
    dict
        ``unigram`` and ``bigram``. Cost: a sort of the training pairs.
    """
    size = int(max(train.max(), held.max())) + 1
    words = np.bincount(train[~np.isin(train, special)].ravel(), minlength=size)
    single = (words + 1) / (words.sum() + size)
    seen, counts = np.unique(_pairs(train, size), return_counts=True)
    first = np.bincount(seen // size, weights=counts, minlength=size)
    asked = _pairs(held, size)[~np.isin(held[:, 1:], special).ravel()]
    place = np.minimum(np.searchsorted(seen, asked), len(seen) - 1)
    both = np.where(seen[place] == asked, counts[place], 0)
    single = single[asked % size]
    double = WEIGHT * both / np.maximum(first[asked // size], 1) + (1 - WEIGHT) * single
    return {"unigram": float(-np.log(single).mean()), "bigram": float(-np.log(double).mean())}


def _pairs(rows: np.ndarray, size: int) -> np.ndarray:
    """Neighbouring tokens of every row as one number each."""
    return (rows[:, :-1].astype(np.int64) * size + rows[:, 1:]).ravel()
