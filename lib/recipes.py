"""How a model is fine-tuned, as data: the released recipe, and the batches that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.errors import BadInput, one_of

POOL = 64  # batches whose sentences are sorted by length together, then shuffled again
PARTS = ("train", "dev")
PRECISIONS = ("best", "float32", "bfloat16")


@dataclass(frozen=True)
class Recipe:
    """How a model is fine-tuned; the defaults are the released code's."""

    learning_rate: float = 5e-5
    epochs: int = 3
    batch: int = 8  # sentences or pairs of one update, whatever the device
    max_length: int = 128  # tokens; longer ones are cut and counted
    clip: float = 1.0  # norm of the gradient at most
    warmup: float = 0.0  # share of the updates in which the rate rises
    weight_decay: float = 0.0  # not on biases and normalisation
    epsilon: float = 1e-8
    parts: tuple[str, ...] = ("train",)  # trained on; with "dev" as in the papers, nothing held out
    freeze: tuple[int, ...] = ()  # blocks kept as they are, numbered before dropping
    freeze_embeddings: bool = False
    updates: int | None = None  # at most; the rate falls to 0 there
    precision: str = "best"  # bfloat16 products on a GPU that has them, else float32

    def __post_init__(self):
        """Refuse what cannot be trained with."""
        one_of("precision", self.precision, PRECISIONS)
        for part in self.parts:
            one_of("part", part, PARTS)
        for name, low in {"learning_rate": 0, "epochs": 1, "batch": 1, "max_length": 4}.items():
            if not (getattr(self, name) > 0 and getattr(self, name) >= low):
                raise BadInput(f"{name} {getattr(self, name)} is not valid; it must be above {low}")

    def rate(self, update: int, updates: int) -> float:
        """Learning rate of one update: linear from 0 through the warmup, then linear to 0."""
        warm = round(self.warmup * updates)
        rising, falling = update / max(warm, 1), (updates - update) / max(updates - warm, 1)
        return self.learning_rate * (rising if update < warm else falling)


RELEASED = Recipe()


def plan(lengths: Sequence[int], recipe: Recipe, seed: int) -> list[np.ndarray]:
    """Sentences of every update: each epoch all of them once, batches of like length in any order.

    An epoch's order is drawn; within runs of :data:`POOL` batches it is sorted by length and cut
    into batches, which are then put in any order.
    """
    lengths, updates = np.asarray(lengths), []
    for epoch in range(recipe.epochs):
        draw = np.random.default_rng([seed, epoch])
        order, size = draw.permutation(len(lengths)), POOL * recipe.batch
        pools = (order[i : i + size] for i in range(0, len(order), size))
        sorted_pools = (pool[np.argsort(lengths[pool], kind="stable")] for pool in pools)
        groups = [
            p[i : i + recipe.batch] for p in sorted_pools for i in range(0, len(p), recipe.batch)
        ]
        updates += [groups[i] for i in draw.permutation(len(groups))]
    return updates[: recipe.updates]
