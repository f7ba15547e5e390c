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

from lib import dropping, encoders
from lib.batches import Batch
from lib.errors import BadInput, one_of, within
from lib.pretrain import measure, objectives, shapes, text, vocabulary
from lib.training import PRECISIONS, Recipe, Training, finish, products

LENGTH = 64  # tokens of a row
VOCABULARY = 8000
HELD = 512  # rows held out on which progress is measured
TOLD = 100_000  # paragraphs at most that a tokenizer is trained on
STRETCHES = ((4, 0.05), (8, 0.10), (16, 0.15), (32, 0.20))  # tokens, up to this share of the steps
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

    def counts(self) -> np.ndarray:
        """How often each piece occurs in training, (V,); special ones count as never seen."""
        found = np.bincount(self.train.ravel(), minlength=len(self.tokenizer))
        found[self.tokenizer.all_special_ids] = 0
        return found


def accept(
    architecture: str, *, width: int, steps: int, vocabulary: int, seed: int, precision: str
) -> None:
    """Refuse, before any work, what cannot be trained."""
    shapes.check(architecture, width)
    within("steps", steps, 1, 10_000_000)
    within("vocabulary", vocabulary, 300, 2**16 - 1)
    within("seed", seed, 0, 2**32 - 1)
    one_of("precision", precision, PRECISIONS)


def check_teacher(architecture: str, teacher) -> None:
    """Refuse a child without a teacher, and a teacher of what learns alone."""
    parent = shapes.MINIATURES[architecture].model.parent
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
    precision: str = "best",
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
        Updates, and what decides weights, order and the words asked.
    precision
        Of the products, as in :class:`lib.training.Recipe`; ``bfloat16`` also pays on a processor
        that multiplies it.
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
        (nats) and ``accuracy`` on the words asked of the held-out rows. Also ``device``, and
        ``products``, the precision that they had.
    """
    shape, tokenizer = shapes.MINIATURES[architecture], data.tokenizer
    check_teacher(architecture, teacher)
    device = torch.device(device or encoders.default_device())
    if teacher is not None:
        plain(teacher.to(device))
    begun = _begun(architecture, data, width=width, blocks=blocks, seed=seed, teacher=teacher)
    model = plain(begun.to(device))
    held = text.encoded(data.held, tokenizer)
    learned = objective(model, tokenizer, shape.objective, teacher)

    def said(inputs: dict[str, Tensor], batch: Batch) -> Tensor:
        short = LENGTH if teacher else stretch(state.done, steps)
        return learned({name: value.reshape(-1, short) for name, value in inputs.items()})

    state = Training(
        model,
        tokenizer,
        text.encoded(data.train, tokenizer),
        said,
        recipe=recipe(len(data.train), steps, precision),
        seed=seed,
        told=[architecture, STRETCHES],
    )

    def watch(done: int) -> dict | None:
        if done % every and done != steps:
            return None
        return {"step": done} | measure.held_out(model, tokenizer, held, shape.objective)

    account = finish(state, checkpoint, progress, watch)
    done_on = {"device": device.type, "products": products(device, precision)}
    return model, account | done_on | {"entropies": data.entropies}


def _begun(architecture: str, data: Read, *, width: int, blocks: int | None, seed: int, teacher):
    """The model before its first update: it guesses by frequency, or has blocks of a teacher."""
    if teacher is None:
        model = shapes.make(architecture, data.tokenizer, width, blocks, seed=seed)
        shapes.guess(model, data.counts())
        return model
    n = dropping.n_blocks(teacher)
    keep = dropping.blocks_to_keep("even", n, n // 2)
    model = shapes.make(architecture, data.tokenizer, width, len(keep), seed=seed)
    shapes.inherit(model, teacher, keep)
    return model


def stretch(done: int, steps: int) -> int:
    """Tokens that see one another at an update: few at first, in the end all of a row.

    Among a few tokens attention that is still blind reaches the neighbours, from which there is
    most to learn; among many it drowns them, and a deep stack stays long at guessing by frequency.
    """
    return next((width for width, until in STRETCHES if done < until * steps), LENGTH)


def plain(model):
    """The model with attention written out on a CPU, where it is the faster one for short rows."""
    if model.device.type == "cpu":
        model.set_attn_implementation("eager")
    return model


def recipe(rows: int, steps: int, precision: str = "best") -> Recipe:
    """The recipe with as many passes over the rows as the steps need, ended at the last step."""
    epochs = -(-steps // -(-rows // RECIPE.batch))
    return replace(RECIPE, epochs=epochs, updates=steps, precision=precision)


def objective(model, tokenizer, name: str, teacher=None):
    """What a batch is trained on: the words asked, or with a teacher DistilBERT's three losses."""

    def said(inputs: dict[str, Tensor], _: Batch | None = None) -> Tensor:
        if teacher is not None:
            return objectives.distilled(model, tokenizer, inputs, teacher)
        return objectives.loss(*objectives.SAY[name](model, tokenizer, inputs))

    return said
