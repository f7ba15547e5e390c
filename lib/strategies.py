"""Strategies: which blocks to drop, and a greedy search for them.

A strategy is an entry of :data:`STRATEGIES`: from the number of blocks, how many shall go, and for
some a measure of each block, it names the blocks that go. Blocks are numbered 0 to n - 1 from the
embeddings up.
"""

from collections.abc import Callable, Sequence

import numpy as np

from lib.errors import BadInput, one_of


def _most_similar(n: int, k: int, similarity) -> list[int]:
    return most_similar(similarity)[:k]


def _symmetric(n: int, k: int, _) -> range:
    begin = (n - k + 1) // 2  # where the ends cannot be equal, one block more stays at the bottom
    return range(begin, begin + k)


def _nearest_run(n: int, k: int, angles) -> range:
    """The run of k blocks that turns what passes through it least; of equal ones the higher."""
    distance = np.diagonal(np.asarray(angles), k)[::-1]
    begin = n - k - int(np.argmin(distance))
    return range(begin, begin + k)


PAPER_STRATEGIES: dict[str, Callable[[int, int, object], Sequence[int]]] = {
    "top": lambda n, k, _: range(n - k, n),
    "bottom": lambda n, k, _: range(k),
    "even": lambda n, k, _: range(2 * (n // 2) - 1, -1, -2)[:k],  # counted from 1, highest first
    "odd": lambda n, k, _: range(2 * ((n - 1) // 2), -1, -2)[:k],
    "symmetric": _symmetric,
    "contribution": _most_similar,
}
LATER_STRATEGIES = {  # proposed for decoders, not among the paper's six
    "influence": _most_similar,  # by all tokens
    "below_last": lambda n, k, _: range(n - 1 - k, n - 1),  # the top, but never the very last block
    "angular": _nearest_run,
}
STRATEGIES = PAPER_STRATEGIES | LATER_STRATEGIES
MEASURED = {"contribution": 1, "influence": 1, "angular": 2}  # dimensions of what they need
ALTERNATE = ("even", "odd")  # these can drop half of the blocks at most


def most_similar(similarity: Sequence[float]) -> list[int]:
    """Blocks in the order in which they contribute least; of equal ones the higher comes first."""
    similarity = np.asarray(similarity)
    return [int(block) for block in np.lexsort((-np.arange(len(similarity)), -similarity))]


def most_dropped(strategy: str, n_blocks: int) -> int:
    """How many of ``n_blocks`` blocks a strategy can drop: one always stays."""
    one_of("strategy", strategy, STRATEGIES)
    return n_blocks // 2 if strategy in ALTERNATE else n_blocks - 1


def depths(n_blocks: int, tried: int | None = None) -> list[int]:
    """Numbers of blocks that are dropped from the top: ``tried`` of them, evenly, or every one.

    Examples
    --------
    >>> depths(12, 2), depths(4)
    ([4, 8], [1, 2, 3])
    """
    tried = min(tried or n_blocks, n_blocks - 1)
    return [round(n_blocks * place / (tried + 1)) for place in range(1, tried + 1)]


def blocks_to_keep(strategy: str, n_blocks: int, k: int, *, similarity=None) -> list[int]:
    """Blocks that stay when a strategy drops ``k`` of them.

    Parameters
    ----------
    strategy
        Of :cite:t:`sajjad2022effect`: ``top`` and ``bottom`` drop a run at one end, ``symmetric``
        one in the middle, ``even`` and ``odd`` every second block from the top down, counting from
        1, ``contribution`` the blocks whose [CLS] vector is most similar before and after. Later
        ones, not among the paper's six: ``influence``, by the similarity of all tokens
        :cite:p:`shortgpt`; ``below_last``, the top without the very last block, and ``angular``,
        the run of ``k`` blocks with the least angular distance between its input and its output
        :cite:p:`gromov`.
    n_blocks
        Blocks of the model.
    k
        How many go: 0 to ``n_blocks - 1``, for ``even`` and ``odd`` half of the blocks at most.
    similarity
        What ``contribution`` and ``influence`` need, the similarity of each block's input and
        output (n_blocks,), from :func:`lib.criteria.block_similarity`; for ``angular`` the angular
        distances of all layers (n_blocks + 1, n_blocks + 1), from :func:`lib.criteria.measure`. The
        others ignore it.

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
    if strategy in MEASURED:
        _check(strategy, similarity, n_blocks)
    gone = set(STRATEGIES[strategy](n_blocks, k, similarity))
    return [block for block in range(n_blocks) if block not in gone]


def _check(strategy: str, measured, n_blocks: int) -> None:
    """Refuse a measure that is missing, of another shape, or undefined."""
    shape = (n_blocks,) if MEASURED[strategy] == 1 else (n_blocks + 1, n_blocks + 1)
    if measured is None or np.shape(measured) != shape or np.isnan(measured).any():
        what = "none" if measured is None else f"{np.asarray(measured).tolist()!r:.80}"
        need = "one number for each" if len(shape) == 1 else "a distance of any two layers"
        raise BadInput(
            f"similarity is {what}; strategy {strategy!r} needs {need} of the {n_blocks} blocks"
        )


def greedy(loss: Callable[[list[int]], float], n_blocks: int, k: int) -> list[tuple[int, float]]:
    """Drop ``k`` blocks one by one, each time the one without which a loss is least.

    This is the search of :cite:t:`sleb`.

    Parameters
    ----------
    loss
        From the blocks kept, ascending, to a number such as the language-modelling loss.
    n_blocks, k
        Blocks of the model, and how many go.

    Returns
    -------
    list of (int, float)
        The blocks in the order in which they go, and the loss without all of them so far; of equal
        ones the higher block goes. ``loss`` is called about ``k * n_blocks`` times.

    Examples
    --------
    >>> greedy(lambda keep: 10.0 - sum(keep), 4, 2)
    [(0, 4.0), (1, 5.0)]
    """
    keep, gone = list(range(n_blocks)), []
    for _ in range(min(k, n_blocks - 1)):
        tried = {block: loss([b for b in keep if b != block]) for block in reversed(keep)}
        least = min(tried, key=tried.get)
        gone.append((least, tried[least]))
        keep.remove(least)
    return gone
