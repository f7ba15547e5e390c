"""One pretraining: an architecture, a text, a width, a number of steps and a seed give a model.

Everything that is drawn follows from the seed, and a run that was stopped goes on from its
checkpoint to the same weights. Memory: as :mod:`lib.training`, and two bytes a token of the text.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lib import dropping, models
from lib.batches import Batch
from lib.errors import BadInput, within
from lib.pretrain import measure, objectives, shapes, text, vocabulary
from lib.recipes import Recipe
from lib.training import Training, finish

LENGTH = 64  # tokens of a row
VOCABULARY = 8000
HELD = 512  # rows held out on which progress is measured
TOLD = 100_000  # paragraphs at most that a tokenizer is trained on
RECIPE = Recipe(
    learning_rate=1e-3, epochs=1, batch=32, max_length=LENGTH, warmup=0.03, weight_decay=0.01
)


@dataclass(frozen=True)
class Read:
    """A text as one tokenizer reads it: rows (N, T) for training, and rows held out."""

    tokenizer: object
    train: np.ndarray
    held: np.ndarray
    entropies: dict[str, float]


def accept(architecture: str, *, width: int, steps: int, vocabulary: int, seed: int) -> None:
    """Refuse, before any work, what cannot be trained."""
    shapes.check(architecture, width)
    within("steps", steps, 1, 10_000_000)
    within("vocabulary", vocabulary, 300, 2**16 - 1)
    within("seed", seed, 0, 2**32 - 1)


def check_teacher(architecture: str, teacher) -> None:
    """Refuse a child without a teacher, and a teacher of what learns alone."""
    parent = shapes.MINIATURES[architecture].parent
    if parent and teacher is None:
        raise BadInput(
            f"{architecture} needs a teacher: it learns from {parent}; name its folder as teacher"
        )
    if teacher is not None and not parent:
        raise BadInput(f"{architecture} takes no teacher")


def read(corpus: str | Path, tokenizer, rows: int) -> Read:
    """Training rows, and rows held out in whole stretches of the text."""
    train = text.pack(tokenizer, _part(corpus, held=False), LENGTH, rows)
    held = text.pack(tokenizer, _part(corpus, held=True), LENGTH, HELD)
    counted = measure.entropies(train, held, tokenizer.all_special_ids)
    return Read(tokenizer, train, held, counted)


def _part(corpus: str | Path, *, held: bool) -> Iterator[str]:
    found = text.parts(text.paragraphs(corpus))
    return (line for is_held, line in found if is_held == held)


def tokenizer_of(architecture: str, corpus: str | Path, size: int = VOCABULARY):
    """The tokenizer of an architecture, trained on the training part of a text."""
    kind = shapes.MINIATURES[architecture].tokenizer
    return vocabulary.train(kind, itertools.islice(_part(corpus, held=False), TOLD), size)


def childs(tokenizer):
    """A BERT's tokenizer as a DistilBERT wants it: its sentences have no types."""
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return tokenizer


def train(
    architecture: str,
    data: Read,
    *,
    width: int = 128,
    steps: int,
    seed: int = 0,
    blocks: int | None = None,
    teacher=None,
    every: int = 500,
    device=None,
    checkpoint: str | Path | None = None,
    progress: bool = False,
):
    """Pretrain a miniature.

    Parameters
    ----------
    architecture
        Key of :data:`lib.pretrain.shapes.MINIATURES`.
    data
        From :func:`read`; where it has fewer rows than the steps need, rows come again.
    width, blocks
        Of the model; default the family's number of blocks.
    steps, seed
        Updates, and what decides weights, order, dropout and the words asked.
    teacher
        A BERT that predicts words, for an architecture with a parent: the student starts from the
        blocks that *even* keeps.
    every
        Updates from one measurement on the held-out rows to the next.
    device, checkpoint, progress
        As for :func:`lib.finetune.run`.

    Returns
    -------
    model
        In evaluation mode, with its head that predicts words.
    dict
        The account of :func:`lib.training.finish`, ``entropies``, and ``log``: ``step``, ``loss``
        (nats) and ``accuracy`` on the words asked of the held-out rows.
    """
    shape, tokenizer = shapes.MINIATURES[architecture], data.tokenizer
    check_teacher(architecture, teacher)
    device = torch.device(device or models.default_device())
    if teacher is None:
        model = shapes.make(architecture, tokenizer, width, blocks, seed=seed)
    else:
        n = dropping.n_blocks(teacher)
        keep = dropping.blocks_to_keep("even", n, n // 2)
        model = shapes.make(architecture, tokenizer, width, len(keep), seed=seed)
        shapes.inherit(model, teacher, keep)
        teacher.to(device)
    model, held = model.to(device), text.encoded(data.held, tokenizer)
    state = Training(
        model,
        tokenizer,
        text.encoded(data.train, tokenizer),
        _objective(model, tokenizer, shape.objective, teacher),
        recipe=_recipe(len(data.train), steps),
        seed=seed,
        told=[architecture],
    )

    def watch(done: int) -> dict | None:
        if done % every and done != steps:
            return None
        return {"step": done} | measure.held_out(model, tokenizer, held, shape.objective)

    account = finish(state, checkpoint, progress, watch)
    return model, account | {"entropies": data.entropies}


def _recipe(rows: int, steps: int) -> Recipe:
    """The recipe with as many passes over the rows as the steps need, ended at the last step."""
    epochs = -(-steps // -(-rows // RECIPE.batch))
    return replace(RECIPE, epochs=epochs, updates=steps)


def _objective(model, tokenizer, name: str, teacher):
    def said(inputs: dict[str, Tensor], batch: Batch) -> Tensor:
        if teacher is not None:
            return objectives.distilled(model, tokenizer, inputs, teacher)
        return objectives.loss(*objectives.SAY[name](model, tokenizer, inputs))

    return said
