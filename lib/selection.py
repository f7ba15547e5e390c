r"""Which layers and neurons a probe needs: the choices of paper A, from scores and weights.

Neurons are ranked by how much of a class's weight they carry, the smallest sufficient set is found
on a grid of sizes, and the pipeline of the paper narrows step by step: a layer
selector (LS), one neuron per cluster (CC), and feature selection (FS). Every result names neurons
by their global number, ``l * H + h``.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lib.errors import BadInput, one_of

STRIDE = 1000  # steps of weight mass in the released ranking
PER_MILLE = (1, 2, 3, 4, 5, *range(10, 101, 10), *range(150, 501, 50), 600, 700, 800, 900)


def shares(weights: Tensor) -> Tensor:
    r"""Weight mass of a class that larger weights hold, least over classes, shape (D,).

    .. math:: e_d = \min_c \frac{\sum_{j : |w_{cj}| > |w_{cd}|} |w_{cj}|}{\sum_j |w_{cj}|}

    A neuron belongs to the smallest set that carries more than this share of some class. Infinite
    for neurons without any weight.

    Parameters
    ----------
    weights : Tensor of shape (C, D)
    """
    size = weights.abs().double()
    order = size.argsort(dim=1, descending=True)
    ranked = size.gather(1, order)
    before = ranked.cumsum(dim=1) - ranked
    first = _first_of_equals(ranked)
    larger = before.gather(1, first) / ranked.sum(dim=1, keepdim=True)
    larger[ranked == 0] = torch.inf
    return torch.empty_like(larger).scatter_(1, order, larger).amin(dim=0)


def _first_of_equals(ranked: Tensor) -> Tensor:
    """Position of the first entry of each run of equal values in descending rows."""
    position = torch.arange(ranked.shape[1], device=ranked.device).expand_as(ranked)
    new = torch.ones_like(ranked, dtype=torch.bool)
    new[:, 1:] = ranked[:, 1:] < ranked[:, :-1]
    return torch.where(new, position, 0).cummax(dim=1).values


def rank_neurons(
    weights: Tensor | np.ndarray, *, protocol: str = "exact", stride: int = STRIDE
) -> tuple[np.ndarray, np.ndarray]:
    """Order neurons by their weight in a probe, the most important first.

    This is how :cite:t:`dalvi2020analyzing` rank them.

    Parameters
    ----------
    weights : Tensor or array of shape (C, D)
        Of one probe; only their size counts.
    protocol
        ``exact`` orders by :func:`shares`. ``official`` takes them in ``stride`` steps, as the
        released code does (P9): neurons that enter at the same step are one chunk. Within a chunk
        the exact share decides, then the number; there the released order is arbitrary.
    stride
        Steps of the official protocol.

    Returns
    -------
    order : ndarray of shape (D,)
        Numbers of neurons; those without weight come last, in order of their number (P8).
    entry : ndarray of shape (D,)
        In the same order: the share, or the step from 0 at which a neuron enters; infinite for
        neurons without weight.

    Notes
    -----
    Cost: one sort per class.

    Examples
    --------
    >>> order, entry = rank_neurons(torch.tensor([[4.0, 1, 5], [1, 1, 10]]), protocol="official")
    >>> order.tolist(), entry.tolist()
    ([2, 0, 1], [0.0, 501.0, 834.0])
    """
    one_of("protocol", protocol, ("exact", "official"))
    weights = torch.as_tensor(weights)
    if weights.ndim != 2 or not weights.isfinite().all():
        raise BadInput(f"weights of shape {tuple(weights.shape)} are not (C, D), or not finite")
    exact = shares(weights).cpu().numpy()
    entry = exact
    if protocol == "official":  # the smallest k with k / stride above the share
        entry = np.where(exact == 0, 0, np.floor(exact * stride) + 1)
    order = np.lexsort((np.arange(len(exact)), exact, entry))
    return order, entry[order]


def select_layer(scores: Sequence[float], oracle: float, tolerance: float) -> int:
    """Lowest layer whose score is above the oracle's, less a tolerance.

    Parameters
    ----------
    scores : sequence of length L
        Of probes on the layers 0 to i together, or on layer i alone.
    oracle
        Score on all layers.
    tolerance
        Per cent of the oracle that may be lost; a score must be strictly above what is left (P10).

    Returns
    -------
    int
        The last layer where none is above.

    Examples
    --------
    >>> select_layer([0.5, 0.89, 0.9, 0.9], oracle=0.9, tolerance=2)
    1
    """
    enough = np.flatnonzero(np.asarray(scores) > oracle * (1 - tolerance / 100))
    return int(enough[0]) if len(enough) else len(scores) - 1


def sizes(total: int, available: int, *, per_mille: Sequence[int] = PER_MILLE) -> list[int]:
    """Sizes of candidate sets: shares of all neurons, as far as that many are left (P11).

    Examples
    --------
    >>> sizes(9984, 60)
    [9, 19, 29, 39, 49]
    """
    found = dict.fromkeys(total * share // 1000 for share in per_mille)
    return [size for size in found if 0 < size <= available]


def smallest_set(
    candidates: Sequence[int], scores: Sequence[float], base: float, tolerance: float
) -> int | None:
    """Smallest candidate size whose score is within a tolerance of the base.

    Parameters
    ----------
    candidates, scores
        Sizes, ascending, and what probes on the first so many neurons score.
    base, tolerance
        As the oracle of :func:`select_layer`.

    Returns
    -------
    int or None
        None where no candidate is enough: then all neurons are needed.

    Examples
    --------
    >>> smallest_set([10, 50, 100], [0.7, 0.9, 0.8], base=0.9, tolerance=1)
    50
    """
    pairs = zip(candidates, scores, strict=True)
    return next((size for size, score in pairs if score > base * (1 - tolerance / 100)), None)


def representatives(
    labels: np.ndarray, correlation: Tensor | None = None, *, seed: int = 0
) -> np.ndarray:
    """One neuron per cluster, ascending.

    Parameters
    ----------
    labels : ndarray of shape (D,)
        From :func:`lib.similarity.correlation_clusters`.
    correlation : Tensor of shape (D, D)
        Takes the member most correlated with all others of its cluster; without it the seed draws
        one, as in the released code (P3).
    """
    labels, draw, found = np.asarray(labels), np.random.default_rng(seed), []
    order = np.argsort(labels, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        if correlation is None:
            found.append(int(draw.choice(members)))
        else:
            near = correlation[members][:, members].abs().sum(dim=1)
            found.append(int(members[int(near.argmax())]))
    return np.sort(np.array(found))
