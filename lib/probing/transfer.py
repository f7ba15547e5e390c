r"""Efficient transfer: layer selector (LS), one neuron per cluster (CC), feature selection (FS).

The lowest layer is found up to which all layers together come near the oracle; of its neurons one
per cluster is kept, or all; these are ranked, and the fewest are kept that come near what all of
them reach :cite:p:`dalvi2020analyzing`. Each step gives up something of what the step before left.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from lib.grids import Profile
from lib.probes import Probes
from lib.probing.clock import trainings
from lib.probing.fits import fit
from lib.probing.rankings import RANKED, curve
from lib.probing.rows import Labelled
from lib.selection import rank_neurons, representatives, select_layer, sizes, smallest_set
from lib.similarity import correlation_clusters


def transfer(
    settings: Profile, data: Labelled, probes: Probes, values: list[dict], related: Tensor
) -> list[dict]:
    """Values of the page on efficient transfer, seed by seed.

    Parameters
    ----------
    probes, values
        From :func:`lib.probing.layers.layers`.
    related : Tensor of shape (D, D)
        Correlation of the neurons.

    Returns
    -------
    list of dict
        ``layers`` and ``neurons``; ``selected``, the layer at each tolerance; ``ways``, for each
        of these layers without and with clusters: see :func:`_way`; ``seconds``: of ``passes`` by
        blocks kept, and of ``trainings`` of a probe on all neurons and on those of each way, in
        the order of ``ways``. Cost: up to 28 probes per layer selected, with and without clusters.
    """
    return [
        _of_seed(settings, data, probes, (place, seed, found), related)
        for place, (seed, found) in enumerate(zip(settings.seeds, values, strict=True))
    ]


def _of_seed(settings: Profile, data: Labelled, probes: Probes, of_seed, related: Tensor) -> dict:
    place, seed, values = of_seed
    dev = values["together"]["dev"]
    selected = [select_layer(dev, dev[-1], t) for t in settings.layer_tolerances]
    ways = []
    for layer in sorted(set(selected)):
        known = probes.weights[(data.layers + layer) * len(settings.seeds) + place]
        base = {part: float(score[layer]) for part, score in values["together"].items()}
        columns = np.arange((layer + 1) * data.neurons // data.layers)
        about = {"layer": layer, "selected": len(columns), "layer_score": base}
        ways.append(about | _way(settings, data, seed, (columns, known, base)))
        clustered = _clustered(settings, data, seed, related[: len(columns), : len(columns)])
        ways.append(about | _way(settings, data, seed, clustered))
    sets = {"all": np.arange(data.neurons)} | {str(i): w["chosen"] for i, w in enumerate(ways)}
    options = {"classes": data.task.labels or None, "protocol": settings.protocol}
    took = trainings(data.rows["train"], data.labels["train"], sets, **options)
    return {
        "layers": data.layers,
        "neurons": data.neurons,
        "tolerances": list(settings.layer_tolerances),
        "selected": selected,
        "ways": ways,
        "seconds": {"passes": data.passes, "trainings": list(took.values())},
    }


def _clustered(settings: Profile, data: Labelled, seed: int, related: Tensor):
    """One neuron per cluster, the weights of a probe on them, and its scores."""
    labels = correlation_clusters(related, [settings.cluster_threshold])
    near = related if settings.protocol == "corrected" else None
    columns = representatives(labels[settings.cluster_threshold], near, seed=seed)
    probes, found = fit(settings, data, [columns], seeds=[seed])
    return columns, probes.weights[0], {part: float(score[0, 0]) for part, score in found.items()}


def _way(settings: Profile, data: Labelled, seed: int, start) -> dict:
    """The fewest neurons near the score of a start: columns, weights of their probe, its scores.

    Returns
    -------
    dict
        ``clusters``, neurons at the start; ``base``, their scores; ``sizes`` tried, with scores of
        the same length under ``tried``; ``chosen``, global numbers of the neurons kept, the most
        important first; ``score`` of those. All of the start is kept where no size is enough.
    """
    columns, weights, base = start
    order = columns[rank_neurons(weights[:, columns], protocol=RANKED[settings.protocol])[0]]
    grid = sizes(data.neurons, len(columns))
    tried = curve(settings, data, order, grid, seed)
    size = smallest_set(grid, tried["dev"], base["dev"], settings.neuron_tolerance)
    score = {p: float(s[grid.index(size)]) for p, s in tried.items()} if size else base
    found = {"clusters": len(columns), "base": base, "sizes": grid, "tried": tried}
    return found | {"chosen": order[:size], "score": score}
