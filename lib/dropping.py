"""Which blocks to keep, and the smaller model that keeps them.

Paper B removes whole encoder blocks before fine-tuning. A strategy is an entry of
:data:`STRATEGIES`: from the number of blocks and how many shall go it names the blocks that go.
:func:`drop_blocks` takes them out of a model, under any head, and sets the config, so that the
smaller model saves and reloads as any other. Blocks are numbered 0 to n - 1 from the embeddings up.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lib import activations, batches
from lib.encoders import family, quiet
from lib.errors import BadInput, one_of

Similarity = Sequence[float] | None


def _top(n: int, k: int, _: Similarity) -> range:
    return range(n - k, n)


def _bottom(n: int, k: int, _: Similarity) -> range:
    return range(k)


def _even(n: int, k: int, _: Similarity) -> range:
    return range(2 * (n // 2) - 1, -1, -2)[:k]  # counted from 1, the highest even block first


def _odd(n: int, k: int, _: Similarity) -> range:
    return range(2 * ((n - 1) // 2), -1, -2)[:k]


def _symmetric(n: int, k: int, _: Similarity) -> range:
    begin = (n - k + 1) // 2  # where the ends cannot be equal, one block more stays at the bottom
    return range(begin, begin + k)


def _contribution(n: int, k: int, similarity: Similarity) -> list[int]:
    return most_similar(similarity)[:k]


STRATEGIES: dict[str, Callable[[int, int, Similarity], Sequence[int]]] = {
    "top": _top,
    "bottom": _bottom,
    "even": _even,
    "odd": _odd,
    "symmetric": _symmetric,
    "contribution": _contribution,
}
ALTERNATE = ("even", "odd")  # these can drop half of the blocks at most


def most_similar(similarity: Sequence[float]) -> list[int]:
    """Blocks in the order in which they contribute least; of equal ones the higher comes first."""
    similarity = np.asarray(similarity)
    return [int(block) for block in np.lexsort((-np.arange(len(similarity)), -similarity))]


def most_dropped(strategy: str, n_blocks: int) -> int:
    """How many of ``n_blocks`` blocks a strategy can drop: one always stays."""
    one_of("strategy", strategy, STRATEGIES)
    return n_blocks // 2 if strategy in ALTERNATE else n_blocks - 1


def blocks_to_keep(
    strategy: str, n_blocks: int, k: int, *, similarity: Sequence[float] | None = None
) -> list[int]:
    """Blocks that stay when a strategy drops ``k`` of them :cite:p:`sajjad2022effect`.

    Parameters
    ----------
    strategy
        ``top`` and ``bottom`` drop a run at one end, ``symmetric`` one in the middle. ``even`` and
        ``odd`` drop every second block from the top down, counting blocks from 1.
        ``contribution`` drops the blocks whose output is most similar to their input.
    n_blocks
        Encoder blocks of the model.
    k
        How many go: 0 to ``n_blocks - 1``, for ``even`` and ``odd`` half of the blocks at most.
    similarity : sequence of length n_blocks
        Of each block's input with its output, from :func:`block_similarity`; ``contribution``
        needs it, the others ignore it.

    Returns
    -------
    list of int
        Ascending, numbered from 0.

    Raises
    ------
    BadInput
        For an unknown strategy, a ``k`` out of range, or a missing, wrongly long or undefined
        similarity.

    Examples
    --------
    >>> blocks_to_keep("even", 12, 4)
    [0, 1, 2, 3, 4, 6, 8, 10]
    >>> blocks_to_keep("symmetric", 12, 4)
    [0, 1, 2, 3, 8, 9, 10, 11]
    >>> blocks_to_keep("contribution", 4, 1, similarity=[0.5, 0.9, 0.99, 0.8])
    [0, 1, 3]
    """
    most = most_dropped(strategy, n_blocks)
    if isinstance(k, bool) or not isinstance(k, int) or not 0 <= k <= most:
        raise BadInput(
            f"k {k!r} is not valid: strategy {strategy!r} drops 0 to {most} of {n_blocks} blocks"
        )
    if strategy == "contribution":
        _check_similarity(similarity, n_blocks)
    gone = set(STRATEGIES[strategy](n_blocks, k, similarity))
    return [block for block in range(n_blocks) if block not in gone]


def keep_below(similarity: Sequence[float], threshold: float) -> list[int]:
    """Blocks that stay when all whose similarity exceeds a threshold go.

    Examples
    --------
    >>> keep_below([0.5, 0.9, 0.99, 0.8], threshold=0.85)
    [0, 3]
    """
    _check_similarity(similarity, len(similarity))
    kept = [block for block, value in enumerate(similarity) if value <= threshold]
    if not kept:
        raise BadInput(
            f"threshold {threshold} would drop every block; the least similar one has "
            f"{min(similarity):.3f}"
        )
    return kept


def _check_similarity(similarity: Sequence[float] | None, n_blocks: int) -> None:
    if similarity is None or len(similarity) != n_blocks or np.isnan(similarity).any():
        what = "none" if similarity is None else f"{list(similarity)}"
        raise BadInput(
            f"similarity is {what}; strategy 'contribution' needs one number for each of the "
            f"{n_blocks} blocks"
        )


def n_blocks(model) -> int:
    """Encoder blocks of a model, with or without a head."""
    return model.config.num_hidden_layers


def block_list(model) -> nn.ModuleList:
    """The list that holds a model's blocks; refuses ALBERT, whose one block has no list."""
    if family(model).shared:
        raise BadInput(f"{model.config.model_type} has one block, used again and again")
    total, found = n_blocks(model), []
    for name, module in model.base_model.named_modules():
        nested = any(name.startswith(f"{above}.") for above, _ in found)
        if isinstance(module, nn.ModuleList) and len(module) == total and not nested:
            found.append((name, module))
    if len(found) != 1:
        raise BadInput(f"{model.config.model_type} has {len(found)} lists of its {total} blocks")
    return found[0][1]


def drop_blocks(model, keep: Sequence[int]):
    """Take all blocks but some out of a model, in place, and set its config accordingly.

    Embeddings, pooler and head stay as they are, as in the released code. The freed weights are
    gone from memory; ``save_pretrained`` writes a model that plain transformers reads at its new
    depth. ALBERT uses one block over and over: there only the number of blocks kept matters.

    Parameters
    ----------
    model
        Of an architecture in :data:`lib.model_table.FAMILIES`, bare or under any head.
    keep
        Numbers of the blocks that stay, 0 being the lowest; they keep the model's order.

    Returns
    -------
    The same model.

    Raises
    ------
    BadInput
        If a block is named twice or does not exist, if none is left, or for an architecture not
        in the table.
    """
    keep, kind = _checked(keep, n_blocks(model)), family(model)
    if kind.shared:
        if getattr(model.config, "num_hidden_groups", 1) > 1:
            raise BadInput("blocks of several shared groups cannot be dropped; one group can")
    else:
        blocks = block_list(model)
        for block in sorted(set(range(len(blocks))) - set(keep), reverse=True):
            del blocks[block]
        _renumber(blocks)
    model.config.num_hidden_layers = len(keep)
    for module in model.modules():  # XLNet and DistilBERT count their blocks in a module too
        for count in ("n_layer", "n_layers", "num_hidden_layers"):
            if count in vars(module):
                setattr(module, count, len(keep))
    return model


def smaller(model, keep: Sequence[int]):
    """A second model with some of the blocks; it shares the weights of the first.

    No memory beyond the first model's. Deep-copy it before one of the two is trained.
    """
    shared = {id(weight): weight for weight in (*model.parameters(), *model.buffers())}
    return drop_blocks(copy.deepcopy(model, shared), keep)


def _renumber(blocks: nn.ModuleList) -> None:
    """Number the attention modules as a reload would; they use it to find their cache."""
    for number, block in enumerate(blocks):
        for module in block.modules():
            if getattr(module, "layer_idx", None) is not None:
                module.layer_idx = number


def _checked(blocks: Sequence[int], total: int) -> list[int]:
    """Block numbers in ascending order, or a sentence that says which are wrong."""
    blocks = [int(block) if isinstance(block, np.integer) else block for block in blocks]
    wrong = [b for b in blocks if isinstance(b, bool) or not isinstance(b, int)]
    wrong = wrong or [b for b in blocks if not 0 <= b < total]
    if wrong:
        raise BadInput(f"blocks {wrong} do not exist; this model has blocks 0 to {total - 1}")
    twice = sorted({b for b in blocks if blocks.count(b) > 1})
    if twice:
        raise BadInput(
            f"blocks {twice} are named twice; each of 0 to {total - 1} may be named once"
        )
    if not blocks:
        raise BadInput(f"no block would be left; keep at least one of 0 to {total - 1}")
    return sorted(blocks)


def freeze(model, blocks: Sequence[int] = (), *, embeddings: bool = False):
    """Keep some blocks, and the embeddings if asked, from being trained; as in the released code.

    Numbers are those of the model as it is given: freeze before dropping, as the released code
    does, or name the blocks as they are numbered afterwards.

    Parameters
    ----------
    blocks
        Numbers of blocks, 0 being the lowest.
    embeddings
        Freeze all of the embeddings (XLNet has word embeddings only).
    """
    frozen: list[nn.Module] = []
    if blocks:
        listed = block_list(model)
        frozen += [listed[block] for block in _checked(blocks, len(listed))]
    if embeddings:
        base = model.base_model
        frozen.append(getattr(base, "embeddings", None) or base.word_embedding)
    for module in frozen:
        module.requires_grad_(False)
    return model


def save(model, tokenizer, folder: str | Path) -> Path:
    """Write a model and its tokenizer where plain transformers finds them; safetensors only."""
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise BadInput(f"folder {folder} is not empty; name a new one")
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


@torch.inference_mode()
def block_similarity(model, tokenizer, encoded: batches.Encoded, **options) -> Tensor:
    r"""Mean cosine between what enters each block and what leaves it.

    .. math:: s_b = \frac{1}{N} \sum_{n} \cos(x_{n, b}, x_{n, b + 1})

    over the rows of some text, words or sentences. A block near 1 hands on what it got.

    Parameters
    ----------
    model, tokenizer, encoded, options
        As for :func:`lib.activations.stream`.

    Returns
    -------
    Tensor of shape (n_blocks,)
        In double precision. One forward pass; memory of one batch.
    """
    total = torch.zeros(n_blocks(model), dtype=torch.float64)
    for rows, _ in activations.stream(model, tokenizer, encoded, **options):
        cosine = nn.functional.cosine_similarity(rows[:, :-1], rows[:, 1:], dim=-1)
        total += cosine.sum(dim=0, dtype=torch.float64).cpu()
    return total / len(encoded.owner)
