"""One fine-tuning run: a model, some of its blocks, a task, a recipe and a seed give scores.

The papers drop blocks of the *pretrained* model and fine-tune what is left: :func:`run`. The steps
are there one by one too: :func:`begin`, :func:`train`, :func:`evaluate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from lib import activations, batches, corpora, dropping, encoders
from lib.errors import BadInput
from lib.recipes import RELEASED, Recipe
from lib.training import Training, finish, repeatable


def outputs(task: corpora.Task) -> int:
    """Outputs of a head for a task: its classes, or 1 for numbers (STS-B)."""
    return len(task.labels) or 1


def targets(task: corpora.Task, items: Sequence) -> Tensor:
    """Labels of some items as class numbers, or as numbers where the task has no classes."""
    labels = [label for _, label in items]
    if not task.labels:
        return torch.tensor(labels, dtype=torch.float32)
    number = {label: i for i, label in enumerate(task.labels)}
    unknown = sorted({str(label) for label in labels if label not in number})
    if unknown:
        raise BadInput(f"labels {unknown} are not among those of {task.name}: {list(number)}")
    return torch.tensor([number[label] for label in labels])


def loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy, or squared error for one output; mean over the batch."""
    if logits.shape[1] == 1:
        return functional.mse_loss(logits[:, 0].float(), target)
    return functional.cross_entropy(logits.float(), target)


def begin(
    model: str | Path, task: corpora.Task, *, keep=None, recipe=RELEASED, seed=0, device=None
):
    """A pretrained model with a fresh head and without the blocks that go, ready for training.

    The head is drawn from the seed alone, so it is the same whatever blocks are kept.
    """
    device = torch.device(device or encoders.default_device())
    with repeatable(device):
        torch.manual_seed(seed)
        learner, tokenizer = encoders.load(model, head=outputs(task), device=device)
    dropping.freeze(learner, recipe.freeze, embeddings=recipe.freeze_embeddings)
    if keep is not None:
        dropping.drop_blocks(learner, keep)
    return learner, tokenizer


def encode(model, tokenizer, items: Sequence, max_length: int) -> batches.Encoded:
    """Items (text or pair, label) of a task as token ids."""
    return batches.encode(
        model, tokenizer, [text for text, _ in items], level="sentence", max_length=max_length
    )


def fine_tuning(model, tokenizer, task: corpora.Task, recipe: Recipe, seed: int) -> Training:
    """The training of a model with a head on a task, before its first update."""
    items = [item for part in recipe.parts for item in getattr(task, part)]
    target = targets(task, items)

    def objective(inputs: dict[str, Tensor], batch: batches.Batch) -> Tensor:
        return loss(model(**inputs).logits, target[batch.where].to(model.device))

    encoded = encode(model, tokenizer, items, recipe.max_length)
    options = {"recipe": recipe, "seed": seed, "told": target.tolist()}
    return Training(model, tokenizer, encoded, objective, **options)


def train(
    model, tokenizer, task: corpora.Task, *, recipe: Recipe = RELEASED, seed: int = 0, **options
) -> dict:
    """Fine-tune a model with its head, in place.

    Parameters
    ----------
    model, tokenizer
        From :func:`lib.finetune.begin`: an encoder with a classification head.
    task
        Its ``train`` part, and others the recipe names, are trained on.
    recipe, seed
        Everything that is drawn follows from the seed.
    options
        ``checkpoint`` and ``progress`` of :func:`finish`.

    Returns
    -------
    dict
        As :func:`finish`; its ``notes`` also name classes without an example.

    Raises
    ------
    BadInput, Diverged
        As :func:`finish`, and if labels are unknown.
    """
    state = fine_tuning(model, tokenizer, task, recipe, seed)
    account, present = finish(state, **options), set(state.told)
    for number, label in enumerate(task.labels):
        if number not in present:
            account["notes"][f"class {label!r} without an example"] = 1
    return account


def predict(
    model, tokenizer, sentences: Sequence, *, max_length: int = 128, batch_tokens: int | None = None
) -> Tensor:
    """Logits of sentences or pairs, shape (N, C), in the order given, on the CPU.

    Batches hold ``batch_tokens`` padded tokens of sentences of like length; results do not depend
    on them beyond rounding.
    """
    encoded = batches.encode(model, tokenizer, sentences, level="sentence", max_length=max_length)
    return logits(model, tokenizer, encoded, batch_tokens=batch_tokens)


def logits(
    model, tokenizer, encoded: batches.Encoded, *, batch_tokens: int | None = None
) -> Tensor:
    """As :func:`predict`, of sentences that are encoded already."""
    found = torch.empty(len(encoded.owner), model.config.num_labels)

    @torch.inference_mode()
    def read(batch: batches.Batch) -> tuple[Tensor, Tensor]:
        inputs = activations.to_device(batch, model.device).inputs
        return batch.where, model(**inputs).logits.float().cpu()

    size = batch_tokens or activations.batch_size(model.device)
    given = batches.batches(encoded, model, tokenizer, batch_tokens=size)
    for where, rows in batches.each(read, given, model.device):
        found[where] = rows
    return found


def evaluate(model, tokenizer, task: corpora.Task, items: Sequence, **options) -> dict[str, float]:
    """Scores of a model on some items of a task, the task's own metric first."""
    return judged(task, predict(model, tokenizer, [text for text, _ in items], **options), items)


def judged(task: corpora.Task, found: Tensor, items: Sequence) -> dict[str, float]:
    """Scores of logits (N, C) on the items that they were given for."""
    labels = [label for _, label in items]
    if not task.labels:
        return corpora.score(task, found[:, 0].tolist(), labels)
    return corpora.score(task, [task.labels[i] for i in found.argmax(dim=1).tolist()], labels)


MARKS = "".join(map(chr, range(33, 127)))  # one printable character for each class or step
RANGE = (-5.0, 5.0)  # of predicted numbers, told apart in 94 steps


def marks(found: Tensor, classes: bool) -> str:
    """Predictions (N, C) as text, one character an example: a class number, or a number's step."""
    low, high = RANGE
    steps = (found[:, 0].clamp(low, high) - low) / (high - low) * (len(MARKS) - 1)
    numbers = found.argmax(dim=1) if classes else steps.round().int()
    alphabet = "0123456789" if classes else MARKS
    return "".join(alphabet[i] for i in numbers.tolist())


def scores(model, tokenizer, task: corpora.Task, recipe: Recipe = RELEASED) -> dict:
    """Scores on the test part by name, ``dev`` those there, ``blocks`` and ``parameters``."""
    length = {"max_length": recipe.max_length}
    found = predict(model, tokenizer, [text for text, _ in task.test], **length)
    return {
        **judged(task, found, task.test),
        "predictions": marks(found, bool(task.labels)),
        "dev": evaluate(model, tokenizer, task, task.dev, **length),
        "blocks": dropping.n_blocks(model),
        "parameters": encoders.n_parameters(model),
    }


def run(
    model: str | Path,
    task: corpora.Task,
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
        From :func:`lib.corpora.load`.
    keep
        Blocks that stay; default all. From :func:`lib.dropping.blocks_to_keep`.
    recipe, seed, device, checkpoint, progress
        As for :func:`begin` and :func:`train`.

    Returns
    -------
    dict
        :func:`scores` of what was learned, and the account of :func:`train`.
    """
    learner, tokenizer = begin(model, task, keep=keep, recipe=recipe, seed=seed, device=device)
    options = {"recipe": recipe, "seed": seed, "checkpoint": checkpoint, "progress": progress}
    account = train(learner, tokenizer, task, **options)
    return scores(learner, tokenizer, task, recipe) | account
