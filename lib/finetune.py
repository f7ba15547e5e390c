"""One fine-tuning run: a model, some of its blocks, a task, a recipe and a seed give scores.

The papers drop blocks of the *pretrained* model and fine-tune what is left: :func:`run`. The steps
are there one by one too: :func:`begin`, :func:`lib.training.train`, :func:`evaluate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lib import activations, batches, dropping, models, tasks
from lib.recipes import RELEASED, Recipe
from lib.training import outputs, repeatable, train


def begin(model: str | Path, task: tasks.Task, *, keep=None, recipe=RELEASED, seed=0, device=None):
    """A pretrained model with a fresh head and without the blocks that go, ready for training.

    The head is drawn from the seed alone, so it is the same whatever blocks are kept.
    """
    device = torch.device(device or models.default_device())
    with repeatable(device):
        torch.manual_seed(seed)
        learner, tokenizer = models.load(model, head=outputs(task), device=device)
    dropping.freeze(learner, recipe.freeze, embeddings=recipe.freeze_embeddings)
    if keep is not None:
        dropping.drop_blocks(learner, keep)
    return learner, tokenizer


def predict(
    model, tokenizer, sentences: Sequence, *, max_length: int = 128, batch_tokens: int | None = None
) -> Tensor:
    """Logits of sentences or pairs, shape (N, C), in the order given, on the CPU.

    Batches hold ``batch_tokens`` padded tokens of sentences of like length; results do not depend
    on them beyond rounding.
    """
    encoded = batches.encode(model, tokenizer, sentences, level="sentence", max_length=max_length)
    return logits(model, tokenizer, encoded, batch_tokens=batch_tokens)


@torch.inference_mode()
def logits(
    model, tokenizer, encoded: batches.Encoded, *, batch_tokens: int | None = None
) -> Tensor:
    """As :func:`predict`, of sentences that are encoded already."""
    size = batch_tokens or activations.batch_size(model.device)
    found = torch.empty(len(encoded.owner), model.config.num_labels)
    for batch in batches.batches(encoded, model, tokenizer, batch_tokens=size):
        inputs = activations.to_device(batch, model.device).inputs
        found[batch.where] = model(**inputs).logits.float().cpu()
    return found


def evaluate(model, tokenizer, task: tasks.Task, items: Sequence, **options) -> dict[str, float]:
    """Scores of a model on some items of a task, the task's own metric first."""
    found = predict(model, tokenizer, [text for text, _ in items], **options)
    labels = [label for _, label in items]
    if not task.labels:
        return tasks.score(task, found[:, 0].tolist(), labels)
    return tasks.score(task, [task.labels[i] for i in found.argmax(dim=1).tolist()], labels)


def run(
    model: str | Path,
    task: tasks.Task,
    *,
    keep: Sequence[int] | None = None,
    recipe: Recipe = RELEASED,
    seed: int = 0,
    device=None,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> dict:
    """Drop blocks of a pretrained model, fine-tune what is left, and score it.

    Parameters
    ----------
    model
        A name in :data:`lib.model_table.MODELS`, a Hub id, or a folder.
    task
        From :func:`lib.tasks.load`.
    keep
        Blocks that stay; default all. From :func:`lib.dropping.blocks_to_keep`.
    recipe, seed, device, checkpoint, progress
        As for :func:`begin` and :func:`train`.

    Returns
    -------
    dict
        Scores on the task's test part by name, its own metric first; ``dev``, the scores there;
        ``blocks`` and ``parameters`` of the model; and the account of :func:`train`.
    """
    learner, tokenizer = begin(model, task, keep=keep, recipe=recipe, seed=seed, device=device)
    options = {"recipe": recipe, "seed": seed, "checkpoint": checkpoint, "progress": progress}
    account = train(learner, tokenizer, task, **options)
    length = {"max_length": recipe.max_length}
    return {
        **evaluate(learner, tokenizer, task, task.test, **length),
        "dev": evaluate(learner, tokenizer, task, task.dev, **length),
        "blocks": dropping.n_blocks(learner),
        "parameters": sum(p.numel() for p in learner.parameters()),
        **account,
    }
