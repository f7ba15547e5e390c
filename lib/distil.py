r"""Distillation: a smaller model learns to say what a larger one says, without any label.

The student starts from some blocks of its teacher, as DistilBERT does, and is trained on plain text
until its last layer points where the teacher's does. Of DistilBERT's three losses this is the one
that needs no word-prediction head; sentence encoders are published without one.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from lib import activations, batches, dropping
from lib.recipes import Recipe
from lib.training import Training, finish

RECIPE = Recipe(learning_rate=1e-3, warmup=0.1)


def agreement(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    r"""Cosine of two models' vectors, mean over the tokens of each sequence, shape (B,).

    .. math:: a_b = \frac{1}{T_b} \sum_{t \le T_b} \cos(s_{b, t}, t_{b, t})

    Parameters
    ----------
    student, teacher
        Vectors of the last layer, (B, T, H).
    mask
        1 where a token is real, (B, T).
    """
    cosine = functional.cosine_similarity(student.float(), teacher.float(), dim=-1)
    return (cosine * mask).sum(dim=1) / mask.sum(dim=1)


def distil(
    model,
    tokenizer,
    sentences: Sequence[Sequence[str]],
    keep: Sequence[int],
    *,
    recipe: Recipe = RECIPE,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool = False,
):
    r"""Train a student of fewer blocks to end where its teacher ends :cite:p:`sanh2019distilbert`.

    The loss of a sequence is :math:`1 - a_b`, one less the :func:`agreement`; every token counts,
    labels do not exist.

    Parameters
    ----------
    model, tokenizer
        The teacher, a bare encoder from :func:`lib.encoders.load`. It stays as it is.
    sentences
        Lists of words; long ones go on in a further window.
    keep
        Blocks of the teacher that the student starts from.
    recipe, seed
        As for fine-tuning.
    checkpoint, progress
        As for :func:`lib.training.finish`.

    Returns
    -------
    student
        In evaluation mode, on the teacher's device.
    dict
        The account of :func:`lib.training.finish`.

    Notes
    -----
    Cost per token: a forward pass of the teacher, a forward and a backward pass of the student.
    """
    student = copy.deepcopy(dropping.smaller(model, keep))
    length = {"level": "word", "max_length": recipe.max_length}
    encoded = batches.encode(model, tokenizer, sentences, **length)

    def objective(inputs: dict[str, Tensor], batch: batches.Batch) -> Tensor:
        with torch.no_grad():
            wanted = model(**batch.inputs).last_hidden_state
        given = student(**inputs).last_hidden_state
        return (1 - agreement(given, wanted, batch.inputs["attention_mask"])).mean()

    options = {"recipe": recipe, "seed": seed, "told": list(keep)}
    state = Training(student, tokenizer, encoded, objective, **options)
    return student, finish(state, checkpoint, progress)


@torch.inference_mode()
def mean_agreement(student, teacher, tokenizer, sentences: Sequence[Sequence[str]]) -> float:
    """Agreement of two models on some text, mean over its sequences."""
    encoded = batches.encode(teacher, tokenizer, sentences, level="word", max_length=128)
    size, found = activations.batch_size(teacher.device), []
    for batch in batches.batches(encoded, teacher, tokenizer, batch_tokens=size):
        inputs = activations.to_device(batch, teacher.device).inputs
        vectors = (model(**inputs).last_hidden_state for model in (student, teacher))
        found.append(agreement(*vectors, inputs["attention_mask"]))
    return float(torch.cat(found).mean())
