"""Neurons ranked by a probe's weights, and probes on the first, the last and any of them."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from lib.grids import Profile
from lib.probing.fits import fit
from lib.probing.rows import Labelled
from lib.selection import rank_neurons, sizes

RANKED = {"official": "official", "corrected": "exact"}  # protocol: way to rank
KEPT = 10  # a record names the first of so many equal parts of the ranking


def rankings(settings: Profile, data: Labelled, weights: Tensor) -> list[dict]:
    """Values of the page on neurons, seed by seed.

    Parameters
    ----------
    weights : Tensor of shape (seeds, C, D)
        Of the oracles.

    Returns
    -------
    list of dict
        ``sizes`` (K,), the released grid; for ``top``, ``random`` and ``bottom`` sets of these
        sizes, scores of length K on ``dev`` and ``test``; ``by_layer`` (K, L), where the top sets
        lie; ``order``, the first tenth of the ranking; ``neurons``. Cost: a probe per size, kind
        and seed; the sizes of a kind are nested and cost the sum of their columns.
    """
    pairs = zip(settings.seeds, weights, strict=True)
    return [_of_seed(settings, data, seed, of_seed) for seed, of_seed in pairs]


def orders(weights: Tensor, protocol: str, seed: int) -> dict[str, np.ndarray]:
    """Neurons (D,) from the most important on, from the least important on, and in any order."""
    ranked, _ = rank_neurons(weights, protocol=RANKED[protocol])
    drawn = np.random.default_rng(seed).permutation(len(ranked))
    return {"top": ranked, "random": drawn, "bottom": ranked[::-1]}


def curve(
    settings: Profile, data: Labelled, order: np.ndarray, grid: list[int], seed: int
) -> dict[str, np.ndarray]:
    """Scores (K,) on dev and test of probes on the first neurons of an order, K sizes."""
    scores = fit(settings, data, [order[:size] for size in grid], seeds=[seed])[1]
    return {part: score[:, 0] for part, score in scores.items()}


def _of_seed(settings: Profile, data: Labelled, seed: int, weights: Tensor) -> dict:
    grid = sizes(data.neurons, data.neurons)
    found = orders(weights, settings.protocol, seed)
    values = {"neurons": data.neurons, "layers": data.layers, "sizes": grid}
    for kind, order in found.items():
        values[kind] = curve(settings, data, order, grid, seed)
    layer = found["top"] // (data.neurons // data.layers)
    counts = [np.bincount(layer[:size], minlength=data.layers) for size in grid]
    kept = found["top"][: data.neurons // KEPT]
    return values | {"by_layer": counts, "order": kept}
