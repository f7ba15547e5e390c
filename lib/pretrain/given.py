"""What a reader asks of the page on pretraining, checked before any work."""

from __future__ import annotations

from pathlib import Path

import torch

from lib import encoders
from lib.errors import BadInput, within
from lib.pretrain import run, shapes, ship, text
from lib.pretrain.ship import About

PYTHON = ("the help pages that come with Python", "PSF licence")


def accept(
    architecture: str,
    *,
    corpus: str,
    source: str | None,
    licence: str | None,
    width: int,
    blocks: int | None,
    vocabulary: int,
    steps: int,
    every: int,
    seed: int,
    precision: str,
    teacher: str | None,
    out: str | None,
) -> About:
    """Check every choice.

    Parameters
    ----------
    architecture, width, blocks, steps, every, seed, precision
        As for :func:`lib.pretrain.run.train`.
    corpus
        As for :func:`lib.pretrain.text.paragraphs`.
    source, licence
        Of the text, in words, for the card; needed to save a model of one's own text.
    vocabulary
        Pieces of the tokenizer at most.
    teacher
        Folder of a finished BERT miniature, for an architecture with a parent.
    out
        Folder for the model, where an unfinished run of it may lie; None keeps nothing.

    Raises
    ------
    BadInput
        In one sentence, for the first thing that cannot be used.
    """
    chosen = {"width": width, "steps": steps, "vocabulary": vocabulary, "seed": seed}
    run.accept(architecture, precision=precision, **chosen)
    usual = shapes.MINIATURES[architecture].model.blocks
    within("blocks", usual if blocks is None else blocks, 1, 48)
    within("every", every, 1, 10_000_000)
    next(text.paragraphs(corpus), None)
    run.check_teacher(architecture, teacher)
    if teacher is not None and encoders.architecture(teacher) != "bert":
        raise BadInput(f"teacher {teacher!r} is no BERT")
    if corpus == text.EMBEDDED:
        source, licence = source or PYTHON[0], licence or PYTHON[1]
    if out is not None and not (source and licence):
        raise BadInput("source and licence are not given; the card of a saved model names both")
    if out is not None and (Path(out) / ship.WEIGHTS).exists():
        raise BadInput(f"out {str(out)!r} holds a finished model; name a new folder")
    told = {"source": source or str(corpus), "licence": licence or "not stated"}
    return About(architecture, str(corpus), width=width, steps=steps, seed=seed, **told)


def read(about: About, vocabulary: int, teacher: str | None, out: str | None) -> run.Read:
    """The text as the run's tokenizer reads it; a student has its teacher's."""
    if teacher is None:
        tokenizer = ship.tokenizer(out, about.architecture, about.corpus, vocabulary)
    else:
        tokenizer = run.childs(ship.tokenizer_in(encoders.find(teacher)))
    return run.read(about.corpus, tokenizer, about.steps * run.RECIPE.batch)


def train(about: About, data: run.Read, *, blocks, every, precision, teacher, device, out):
    """Pretrain what was asked for; with ``out`` a killed run goes on from there."""
    checkpoint = None if out is None else Path(out) / ship.CHECKPOINT
    if checkpoint:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
    parent = None if teacher is None else speaker(teacher)
    chosen = {"width": about.width, "steps": about.steps, "seed": about.seed, "blocks": blocks}
    options = {"every": every, "precision": precision, "teacher": parent}
    options |= {"device": device, "checkpoint": checkpoint}
    return run.train(about.architecture, data, progress=True, **chosen, **options)


def speaker(folder: str | Path) -> torch.nn.Module:
    """A model with the head that predicts words, such as a finished miniature; not in training.

    Raises
    ------
    BadInput
        If it has no such head, as most models that were tuned on something have none.
    """
    kind, options = shapes.BUILDS[encoders.architecture(folder)].kind, {"dtype": "float32"}
    options |= {"local_files_only": True, "output_loading_info": True}
    with encoders.quiet():
        model, found = kind.from_pretrained(encoders.find(folder), **options)
    if found["missing_keys"]:
        raise BadInput(f"model {str(folder)!r} has no head that predicts words")
    return model.eval()
