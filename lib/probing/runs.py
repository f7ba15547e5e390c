"""Task-specific redundancy: what one run computes, from rows to the values of its records.

A model reads a task once. On these rows all probes of all seeds are trained, so one computation
serves every page on probes, and every seed.
"""

from __future__ import annotations

from dataclasses import replace

from lib.general import Found
from lib.grids import Profile, Run
from lib.probes import Probes
from lib.probing.clusters import clusters, correlation
from lib.probing.layers import layers
from lib.probing.rankings import rankings
from lib.probing.rows import Labelled, labelled
from lib.probing.transfer import transfer


def probed(settings: Profile, run: Run) -> Found:
    """Values of every seed of one model, task and kind of weights.

    Returns
    -------
    list of (Run, values)
        ``layer_probes``: see :func:`lib.probing.layers.layers`; for trained weights also
        ``neuron_rankings`` (:func:`lib.probing.rankings.rankings`), ``clustered_probes``
        (:func:`lib.probing.clusters.clusters`) and ``efficient_transfer``
        (:func:`lib.probing.transfer.transfer`), each with the scores of the ``oracle`` on dev and
        test, and the ``floor``.
    dict
        What made them, for :func:`lib.old_records.provenance`.
    """
    data = labelled(settings, run)
    probes, values = layers(settings, data)
    pages = {"layer_probes": values}
    if run.setting == "trained":
        beside = [{"oracle": _oracle(v), "floor": v["floor"]} for v in values]
        for page, of_seeds in _of_neurons(settings, data, probes, values).items():
            pages[page] = [a | b for a, b in zip(of_seeds, beside, strict=True)]
    found = [
        (replace(run, experiment=page, seed=seed), value)
        for page, of_seeds in pages.items()
        for seed, value in zip(settings.seeds, of_seeds, strict=True)
    ]
    made = {"data": data.task.digest, "source": data.task.source}
    return found, made | {"device": data.rows["train"].device}


def _of_neurons(settings: Profile, data: Labelled, probes: Probes, values: list[dict]) -> dict:
    """Values of the pages on neurons, seed by seed, by experiment."""
    related = correlation(data)
    return {
        "neuron_rankings": rankings(settings, data, probes.weights[-len(settings.seeds) :]),
        "clustered_probes": clusters(settings, data, related),
        "efficient_transfer": transfer(settings, data, probes, values, related),
    }


def _oracle(values: dict) -> dict[str, float]:
    """Score of the probe on all layers, by part."""
    return {part: float(score[-1]) for part, score in values["together"].items()}
