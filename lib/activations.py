"""Vectors of every layer, for words or for sentences, in one forward pass.

The one switch is ``level``: the papers' code has twin scripts for words and sentences. Rows come
back in the order of the sentences given, whatever the batches. Kept, they cost N * D numbers
(:func:`extract`); streamed into sums, only one batch is ever held (:func:`stream`).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lib import batches
from lib.batches import Batch
from lib.errors import BadInput, one_of
from lib.structure import without_cache


@dataclass(frozen=True)
class Activations:
    """Vectors of all layers, row by row.

    Attributes
    ----------
    rows : Tensor of shape (N, L, H)
        On the CPU. ``rows.flatten(1)`` is (N, D), neuron ``l * H + h`` being neuron h of layer l.
    owner : ndarray of shape (N,)
        Sentence of each row.
    notes : Counter
        Sentences continued in windows, cut, or words read as unknown; see
        :class:`lib.batches.Encoded`.
    """

    rows: Tensor
    owner: np.ndarray
    notes: Counter


def _mean_of_pieces(layer: Tensor, batch: Batch) -> Tensor:
    count = batch.last - batch.first + 1
    row = torch.arange(len(count), device=layer.device).repeat_interleave(count)
    begin = (count.cumsum(0) - count).repeat_interleave(count)
    piece = batch.first[row] + torch.arange(len(row), device=layer.device) - begin
    total = torch.zeros(len(count), layer.shape[1], device=layer.device, dtype=layer.dtype)
    return total.index_add_(0, row, layer[piece]) / count[:, None]


POOLING = {
    "last": lambda layer, batch: layer.index_select(0, batch.last),
    "first": lambda layer, batch: layer.index_select(0, batch.first),
    "mean": _mean_of_pieces,
}


def n_layers(model) -> int:
    """L: blocks of a model plus the embedding layer."""
    return model.config.num_hidden_layers + 1


def states(model, batch: Batch) -> tuple[Tensor, ...]:
    """Hidden states (B, T, H) of all L layers, as plain transformers gives them."""
    options = {"output_hidden_states": True, "return_dict": True} | without_cache(model)
    hidden = model.base_model(**batch.inputs, **options).hidden_states
    if len(hidden) != n_layers(model):
        raise BadInput(f"the model gives {len(hidden)} layers, its config says {n_layers(model)}")
    return hidden


@torch.inference_mode()
def stream(
    model, tokenizer, encoded: batches.Encoded, *, layers: Sequence[int] | None = None,
    pooling: str = "last", **options,
) -> Iterator[tuple[Tensor, Tensor]]:  # fmt: skip
    """Yield ``rows (n, L, H)`` on the model's device and ``where (n,)``, batch by batch.

    Parameters
    ----------
    model, tokenizer
        From :func:`lib.encoders.load`; the model must be in evaluation mode.
    encoded
        From :func:`lib.batches.encode`.
    layers
        Layers wanted, in the order wanted; default all, 0 being the embedding output.
    pooling
        How a word's vector is read from its pieces: ``last``, ``first`` or ``mean``.
    options
        ``batch_tokens`` and ``progress``, as for :func:`lib.batches.batches`. They change speed,
        not results.

    Notes
    -----
    Cost: one forward pass. Memory: the hidden states of one batch, B * T * D numbers.
    """
    one_of("pooling", pooling, POOLING)
    if model.training:
        raise BadInput("the model is in training mode, where dropout changes rows; call .eval()")
    wanted, read = _chosen(model, layers), POOLING[pooling]
    for batch in batches.batches(encoded, model, tokenizer, **options):
        hidden = states(model, batch)
        rows = [read(hidden[layer].flatten(0, 1), batch) for layer in wanted]
        yield torch.stack(rows, dim=1), batch.where


def _chosen(model, layers: Sequence[int] | None) -> list[int]:
    valid = range(n_layers(model))
    chosen = list(valid if layers is None else layers)
    wrong = [layer for layer in chosen if layer not in valid]
    if wrong or not chosen:
        raise BadInput(f"layers {wrong or chosen} do not exist; valid: 0 to {valid[-1]}")
    return chosen


def extract(
    model, tokenizer, sentences: Sequence, *, level: str, layers: Sequence[int] | None = None,
    max_length: int | None = None, **options,
) -> Activations:  # fmt: skip
    """Vectors of all layers for every word or sentence, kept in memory.

    Parameters
    ----------
    model, tokenizer
        From :func:`lib.encoders.load`.
    sentences
        Lists of words for ``level="word"``; strings or pairs of strings for ``level="sentence"``.
    level
        ``word``: one row per word. ``sentence``: one row per sentence, its first token (BERT and
        like) or its last (XLNet).
    layers
        As for :func:`stream`.
    max_length
        Tokens of a sequence at most; default the model's limit.
    options
        ``pooling``, ``batch_tokens`` and ``progress``, as for :func:`stream`.

    Returns
    -------
    Activations
        ``rows`` (N, L, H) in the order of the sentences, ``owner`` (N,), ``notes``.

    Raises
    ------
    BadInput
        For an unknown level, pooling or layer, or a sentence that is empty.
    """
    if level == "sentence" and options.get("pooling", "last") != "last":
        raise BadInput("pooling is of the pieces of a word; a sentence is read from one token")
    encoded = batches.encode(model, tokenizer, sentences, level=level, max_length=max_length)
    out = torch.empty(len(encoded.owner), len(_chosen(model, layers)), model.config.hidden_size)
    for rows, where in stream(model, tokenizer, encoded, layers=layers, **options):
        out[where] = rows.to("cpu", torch.float32)
    return Activations(out, encoded.owner, encoded.notes)
