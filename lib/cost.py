"""What a model costs at every depth: parameters, operations, disk, time and memory.

Times are taken in one process, all depths in turn (A B C A B C ...) after an unmeasured round, so
that a busy moment hits all alike; the smaller models share the weights of the whole one. Memory is
taken in a fresh process per depth (:mod:`lib.peak`), from a model that was saved and read again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, PretrainedConfig

from lib import activations, batches, corpora, dropping, encoders, finetune, peak, training
from lib.errors import BadInput
from lib.training import Recipe, plan

SEED = 0  # of the order of the batches; it changes no result that is kept
SHARED = "encoder.albert_layer_groups"  # where ALBERT keeps its one block


def timed(call: Callable, device: torch.device) -> float:
    """Seconds of a call; work still running on the device is waited for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begin = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def in_turn(
    ways: Mapping[Hashable, Callable[[], float]], repeats: int
) -> dict[Hashable, list[float]]:
    """Seconds of each way, run in turn, after each ran once unmeasured.

    Parameters
    ----------
    ways
        Name of a way: a function that runs it and gives the seconds that count.
    repeats
        Rounds that are measured.

    Examples
    --------
    >>> in_turn({"short": lambda: 1.0, "long": lambda: 2.0}, repeats=2)
    {'short': [1.0, 1.0], 'long': [2.0, 2.0]}
    """
    for way in ways.values():
        way()
    rounds = [{name: way() for name, way in ways.items()} for _ in range(repeats)]
    return {name: [seconds[name] for seconds in rounds] for name in ways}


def _blocks(model) -> nn.ModuleList:
    """The modules of a model's blocks; one that serves for all in ALBERT."""
    return model.base_model.get_submodule(encoders.family(model).blocks or SHARED)


def parameters(model) -> dict[str, int]:
    """Parameters of a model: all of them, its word embeddings', its blocks'.

    The first also counts position embeddings, normalisation, pooler and head.
    """
    return {
        "parameters": encoders.n_parameters(model),
        "word_parameters": encoders.n_parameters(model.get_input_embeddings()),
        "block_parameters": encoders.n_parameters(_blocks(model)),
    }


def counted(config: PretrainedConfig) -> dict[str, int]:
    """:func:`parameters` of a classifier of some shape, from its config; no weight is made."""
    with torch.device("meta"):
        return parameters(AutoModelForSequenceClassification.from_config(config))


def operations(model, shapes: Iterable[tuple[int, int]]) -> dict[str, int]:
    r"""Multiply-adds of a forward pass over padded batches, inside the blocks and outside.

    A block multiplies every token by each of its matrices, and in attention every token by every
    token of its sentence, twice (scores, and the mixture they weigh):

    .. math:: \text{blocks} = n \sum_{(B, T)} B T \left(\sum_w |w| + 2 T H\right)

    XLNet scores :math:`2 T` relative positions too. Outside lie projections of embeddings, once a
    token, and pooler and head, once a sentence. Lookups, normalisation and softmax are not counted.
    An update of fine-tuning takes three times as many, whatever the depth: gradients are needed
    for the inputs of every product and for its weights.

    Parameters
    ----------
    model
        Of an architecture in :data:`lib.model_table.FAMILIES`, with a classification head.
    shapes
        (B, T) of every batch.

    Returns
    -------
    dict
        ``blocks`` and ``rest``.
    """
    shapes, width, blocks = list(shapes), model.config.hidden_size, _blocks(model)
    sentences, tokens = sum(b for b, _ in shapes), sum(b * t for b, t in shapes)
    pairs = sum(b * t**2 for b, t in shapes)
    matrices = sum(p.numel() for p in blocks[0].parameters() if p.numel() >= width**2)
    block = tokens * matrices + 2 * pairs * width
    if encoders.family(model).first_position is None:  # 2 T positions, projected and scored
        block += tokens * width**2 + 2 * pairs * width
    inside, by_token, by_sentence = set(blocks.modules()), 0, 0
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and module not in inside:
            by_token += module.weight.numel() * ("embedding" in name)
            by_sentence += module.weight.numel() * ("embedding" not in name)
    rest = tokens * by_token + sentences * by_sentence
    return {"blocks": dropping.n_blocks(model) * block, "rest": rest}


def predicted(counted: Mapping[str, int], left: float) -> float:
    """Share of the whole model's operations when a share ``left`` of its blocks stays.

    Examples
    --------
    >>> predicted({"blocks": 90, "rest": 10}, 0.5)
    0.55
    """
    whole = counted["blocks"] + counted["rest"]
    return (counted["blocks"] * left + counted["rest"]) / whole


def shapes(
    model, tokenizer, task: corpora.Task, recipe: Recipe
) -> dict[str, list[tuple[int, int]]]:
    """(B, T) of the batches of one pass of ``inference`` and of ``tuning`` over a task."""
    encoded = finetune.encode(model, tokenizer, task.train, recipe.max_length)
    lengths = [len(ids) for ids in encoded.ids]
    groups = {
        "inference": batches.bucket(lengths, activations.batch_size(model.device)),
        "tuning": plan(lengths, recipe, SEED)[1:],
    }
    return {
        work: [(len(group), max(lengths[i] for i in group)) for group in of_work]
        for work, of_work in groups.items()
    }


def inference(model, tokenizer, encoded: batches.Encoded) -> float:
    """Seconds of a pass over sentences that are encoded already, in batches of like length."""
    return timed(lambda: finetune.logits(model, tokenizer, encoded), model.device)


def tuning(model, tokenizer, task: corpora.Task, recipe: Recipe) -> float:
    """Seconds of the updates of a recipe but the first, which also makes AdamW's moments.

    The weights are changed; reading the text is not counted.

    Raises
    ------
    BadInput
        If the task's training part makes one update only.
    """
    state = finetune.fine_tuning(model, tokenizer, task, recipe, SEED)
    model.train()
    try:
        if len(state.plan) < 2:
            raise BadInput(
                f"{len(task.train)} sentences in batches of {recipe.batch} make one update; "
                "at least two are needed, as the first is not timed"
            )
        with training.repeatable(model.device):
            state.update()
            return timed(lambda: [state.update() for _ in state.plan[1:]], model.device)
    finally:
        state.words.put_back()
        model.eval()


def times(
    model, tokenizer, task: corpora.Task, keeps: Mapping[str, Sequence[int]], recipe: Recipe, *,
    repeats: int,
) -> dict[tuple[str, str], list[float]]:  # fmt: skip
    """Seconds of one pass of inference and one of fine-tuning, at several depths in turn.

    Parameters
    ----------
    model, tokenizer
        The whole model, from :func:`lib.finetune.begin`.
    task
        Its ``train`` part is read and trained on.
    keeps
        Name of a depth: the blocks it keeps.
    recipe
        Of the updates.
    repeats
        Rounds that are measured.

    Returns
    -------
    dict
        Seconds of every round under (``inference`` or ``tuning``, name of the depth). Memory: one
        model, and one training at a time.
    """
    encoded, ways = finetune.encode(model, tokenizer, task.train, recipe.max_length), {}
    for name, keep in keeps.items():
        cut = dropping.smaller(model, keep)
        ways["inference", name] = lambda cut=cut: inference(cut, tokenizer, encoded)
        ways["tuning", name] = lambda cut=cut: tuning(cut, tokenizer, task, recipe)
    return in_turn(ways, repeats)


def stored(model, tokenizer, folder: Path) -> int:
    """Write a model where plain transformers finds it; bytes of its safetensors files."""
    dropping.save(model, tokenizer, folder)
    return encoders.stored_bytes(folder)


def memory(folder: Path, task: corpora.Task, recipe: Recipe) -> dict[str, int]:
    """Most memory held in a fresh process that reads a model, then infers, then fine-tunes.

    Returns
    -------
    dict
        Bytes: ``start`` (Python and its libraries), and the most held until the end of ``load``,
        ``inference`` and ``tuning``. On a GPU these count what torch holds there, and ``start`` is
        0.
    """
    found = peak.alone(_memory, folder, task, recipe)
    return {"start": found["start_bytes"] if "device_peak_bytes" not in found else 0} | {
        name: found[name] for name in ("load", "inference", "tuning")
    }


def _memory(folder: Path, task: corpora.Task, recipe: Recipe) -> dict[str, int]:
    model, tokenizer = encoders.load(folder, head=finetune.outputs(task))
    most = torch.cuda.max_memory_allocated if model.device.type == "cuda" else peak.held
    found = {"load": most()}
    inference(model, tokenizer, finetune.encode(model, tokenizer, task.train, recipe.max_length))
    found["inference"] = most()
    tuning(model, tokenizer, task, recipe)
    return found | {"tuning": most()}
