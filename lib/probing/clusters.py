"""Accuracy of a probe on one neuron per cluster, at each clustering threshold."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from lib.grids import Profile
from lib.probing.fits import fit
from lib.probing.rows import Labelled
from lib.selection import representatives
from lib.similarity import Moments, correlation_clusters

WAYS = ("closest", "drawn")  # the member closest to its cluster, or any, as in the released code


def correlation(data: Labelled) -> Tensor:
    """Correlation (D, D) of all neurons over the training rows."""
    rows = data.rows["train"]
    return Moments(data.neurons, device=rows.device).update(rows).correlation()


def clusters(settings: Profile, data: Labelled, related: Tensor) -> list[dict]:
    """Values of the probes on one neuron per cluster, seed by seed.

    Parameters
    ----------
    related : Tensor of shape (D, D)
        From :func:`correlation`.

    Returns
    -------
    list of dict
        ``thresholds`` (K,); ``clusters`` (K,), how many are left; for each of :data:`WAYS` scores
        of length K on ``dev`` and ``test``; ``neurons``. Cost: one linkage, and two probes per
        threshold and seed.
    """
    found = correlation_clusters(related, settings.thresholds)
    drawn = [_drawn(settings, data, list(found.values()), seed) for seed in settings.seeds]
    closest = [representatives(labels, related) for labels in found.values()]
    near = [fit(settings, data, [columns])[1] for columns in closest]
    shared = {"thresholds": list(found), "clusters": [len(columns) for columns in closest]}
    return [
        shared
        | {"neurons": data.neurons}
        | {"closest": {p: [float(s[p][0, place]) for s in near] for p in near[0]}}
        | {"drawn": of_seed}
        for place, of_seed in enumerate(drawn)
    ]


def _drawn(settings: Profile, data: Labelled, found: list[np.ndarray], seed: int) -> dict:
    """Scores at each threshold of one seed's own representatives."""
    columns = [representatives(labels, seed=seed) for labels in found]
    scores = [fit(settings, data, [chosen], seeds=[seed])[1] for chosen in columns]
    return {part: [float(score[part][0, 0]) for score in scores] for part in scores[0]}
