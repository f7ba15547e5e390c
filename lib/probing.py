"""Task-specific redundancy: what each page asks of the rows of a task.

:func:`layers`, :func:`rankings` and :func:`penalised`, :func:`clusters`, and :func:`transfer` are
one page each, and none needs what another computes. Choices are made on dev, scores are on
test. Their rows are those of :func:`lib.task_rows.rows`, here as ``probing.rows``.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from torch import Tensor

from lib.probes import CONSTANT, PROTOCOLS, Probes, Protocol, fit_probes
from lib.selection import rank_neurons, representatives, select_layer, sizes, smallest_set
from lib.settings import Settings
from lib.similarity import Moments, correlation_clusters
from lib.task_rows import DRAWN, KINDS, PARTS, READS, Rows, control_labels, rows  # noqa: F401

JUDGED = PARTS[1:]
RANKED = {"official": "official", "corrected": "exact"}  # protocol: way to rank
TENTH = 10  # a record names the first of so many equal parts of a ranking
FEW = (5, 10, 20, 40, 80, 100, 200)  # per mille of the neurons, where penalties are tried

Scores = dict[str, np.ndarray]  # by part, of every set of columns


def fit(
    data: Rows,
    protocol: str | Protocol,
    seed: int,
    sets: Sequence[Sequence[int]] | None = None,
    labels: dict[str, list] | None = None,
) -> tuple[Probes, Scores]:
    """Probes on sets of columns, trained together, and their scores on dev and test.

    Parameters
    ----------
    sets
        Columns of each probe; default one set of all.
    labels
        By the name of a part; default those of the task.
    """
    labels, metric = labels or data.labels, data.task.metric
    probes = fit_probes(
        data.rows["train"],
        labels["train"],
        columns=sets,
        protocol=protocol,
        seeds=[seed],
        classes=data.task.labels or None,
        dev=(data.rows["dev"], labels["dev"]),
        metric=metric,
    )
    return probes, {p: probes.score(data.rows[p], labels[p], metric=metric) for p in JUDGED}


def _at(scores: Scores, place: int = 0) -> dict[str, float]:
    """Scores of one set of columns, by part."""
    return {part: float(score[place]) for part, score in scores.items()}


def _ranked(settings: Settings, weights: Tensor) -> np.ndarray:
    """Neurons, or columns, in the order of a probe's weights (C, D)."""
    return rank_neurons(weights, protocol=RANKED[settings.protocol])[0]


# ---- page 04: layers --------------------------------------------------------------------------


def layer_sets(data: Rows) -> list[range]:
    """Columns of every layer alone, then of the layers 0 to i; the last set is the oracle's."""
    width = data.neurons // data.layers
    ends = range(width, data.neurons + 1, width)
    return [*(range(end - width, end) for end in ends), *(range(end) for end in ends)]


def layers(data: Rows, settings: Settings, seed: int) -> dict:
    """Probes on each layer alone, and on the layers up to it.

    Returns
    -------
    dict
        ``alone`` and ``together``: scores of length L on ``dev`` and ``test``; ``control``: the
        same on random labels of the words, None for sentences; ``oracle``: scores on all layers
        by protocol; ``own`` and ``floor``, see :class:`Rows`; counts of what was read.
    """
    found = _by_layer(data, settings.protocol, seed)
    others = [name for name in PROTOCOLS if name != settings.protocol]
    oracle = {name: _at(fit(data, name, seed)[1]) for name in others}
    oracle[settings.protocol] = _at(found["together"], -1)
    control, task = None, data.task
    if data.by_word:
        guessed = control_labels(data.words, data.labels["train"], DRAWN)
        control = _by_layer(data, settings.protocol, seed, guessed)
    return found | {
        "control": control,
        "oracle": oracle,
        "level": "word" if data.by_word else "sentence",
        "layers": data.layers,
        "neurons": data.neurons,
        "classes": len(task.labels),
        "missing": sorted(set(task.labels) - set(data.labels["train"])),
        "rows": {part: len(data.rows[part]) for part in PARTS},
        "floor": data.floor,
        "own": data.own,
        "skipped": task.skipped,
        "notes": data.notes,
    }


def _by_layer(
    data: Rows, protocol: str, seed: int, labels: dict | None = None
) -> dict[str, Scores]:
    """Scores (L,) of each layer ``alone``, and of the layers up to it ``together``."""
    scores = fit(data, protocol, seed, layer_sets(data), labels)[1]
    halves = {"alone": slice(data.layers), "together": slice(data.layers, None)}
    return {n: {part: score[half] for part, score in scores.items()} for n, half in halves.items()}


# ---- page 05: rankings ------------------------------------------------------------------------


def rankings(data: Rows, settings: Settings, seed: int) -> dict:
    """Neurons ranked by the probe on all of them, and new probes on some of them.

    Returns
    -------
    dict
        ``sizes`` (K,), the released grid; for the first neurons of the ranking (``top``), the last
        (``bottom``) and any (``random``), scores of length K on ``dev`` and ``test``; ``by_layer``
        (K, L), where the first lie; ``order``, the first tenth; ``oracle``, ``floor``, ``layers``,
        ``neurons``. Cost: a probe per size and kind; nested sets cost the sum of their columns.
    """
    probes, oracle = fit(data, settings.protocol, seed)
    ranked = _ranked(settings, probes.weights[0])
    drawn = np.random.default_rng(seed).permutation(len(ranked))
    orders = {"top": ranked, "random": drawn, "bottom": ranked[::-1]}
    found = _curves(data, settings, orders, sizes(data.neurons, data.neurons), seed)
    return _about(data, ranked, found["sizes"]) | found | {"oracle": _at(oracle)}


def penalised(data: Rows, settings: Settings, penalty: float, seed: int) -> dict:
    """As :func:`rankings`, by a probe with another number for both penalties.

    The new probes keep the released penalties, so that their scores compare. *Last* and *random*
    are among the ``varying`` neurons alone: those that are constant would be last, and say nothing.

    Returns
    -------
    dict
        As :func:`rankings`, with ``first``, ``last`` and ``random`` on the sizes of :data:`FEW`;
        ``oracle`` is the probe with these penalties.
    """
    protocol = replace(PROTOCOLS[settings.protocol], l1=penalty, l2=penalty)
    probes, oracle = fit(data, protocol, seed)
    ranked = _ranked(settings, probes.weights[0])
    low, high = (table.cpu().numpy() for table in data.rows["train"].aminmax(dim=0))
    varies = ranked[(high - low > CONSTANT * np.abs(high))[ranked]]
    drawn = np.random.default_rng([seed, round(1e6 * penalty)]).permutation(varies)
    orders = {"first": ranked, "last": varies[::-1], "random": drawn}
    grid = sizes(data.neurons, len(varies), per_mille=FEW)
    found = _curves(data, settings, orders, grid, seed) | {"varying": len(varies)}
    return _about(data, ranked, grid) | found | {"oracle": _at(oracle)}


def _about(data: Rows, ranked: np.ndarray, grid: list[int]) -> dict:
    layer = ranked // (data.neurons // data.layers)
    by_layer = [np.bincount(layer[:size], minlength=data.layers) for size in grid]
    return _sizes(data) | {"by_layer": by_layer, "order": ranked[: data.neurons // TENTH]}


def _sizes(data: Rows) -> dict:
    return {
        "neurons": data.neurons,
        "layers": data.layers,
        "tested": len(data.rows["test"]),
        "floor": data.floor,
    }


def _curves(data: Rows, settings: Settings, orders: dict, grid: list[int], seed: int) -> dict:
    """The sizes (K,), and scores (K,) of probes on the first neurons of each order, by part."""
    return {"sizes": grid} | {
        name: fit(data, settings.protocol, seed, [order[:size] for size in grid])[1]
        for name, order in orders.items()
    }


# ---- page 03: one neuron per cluster ----------------------------------------------------------


@lru_cache(maxsize=1)
def correlation(data: Rows) -> Tensor:
    """Correlation (D, D) of all neurons over the training rows."""
    table = data.rows["train"]
    return Moments(data.neurons, device=table.device).update(table).correlation()


@lru_cache(maxsize=1)
def _labels(data: Rows, thresholds: tuple[float, ...]) -> dict[float, np.ndarray]:
    return correlation_clusters(correlation(data), thresholds)


def clusters(data: Rows, settings: Settings, seed: int) -> dict:
    """Probes on one neuron per cluster, at each clustering threshold.

    Returns
    -------
    dict
        ``thresholds`` (K,); ``clusters`` (K,), how many are left; scores of length K on ``dev`` and
        ``test`` of the member ``closest`` to its cluster, and of one ``drawn`` at random as in the
        released code; ``oracle``, ``floor``, ``neurons``. Cost: one linkage, two probes each.
    """
    found = _labels(data, tuple(settings.thresholds))
    closest = [representatives(labels, correlation(data)) for labels in found.values()]
    drawn = [representatives(labels, seed=seed) for labels in found.values()]
    return {
        "thresholds": list(found),
        "clusters": [len(columns) for columns in closest],
        "closest": _apart(data, settings, closest, seed),
        "drawn": _apart(data, settings, drawn, seed),
        "oracle": _at(fit(data, settings.protocol, seed)[1]),
        "floor": data.floor,
        "neurons": data.neurons,
    }


def _apart(data: Rows, settings: Settings, sets: list, seed: int) -> dict[str, list[float]]:
    """Scores of sets that share few columns, one after the other."""
    scores = [_at(fit(data, settings.protocol, seed, [columns])[1]) for columns in sets]
    return {part: [score[part] for score in scores] for part in JUDGED}


# ---- page 06: efficient transfer --------------------------------------------------------------


def transfer(data: Rows, settings: Settings, seed: int) -> dict:
    """Layer selector (LS), one neuron per cluster (CC), feature selection (FS).

    The lowest layer is found up to which all layers together come near the oracle; of its neurons
    one per cluster is kept, or all; these are ranked, and the fewest are kept that come near what
    all of them reach :cite:p:`dalvi2020analyzing`.

    Returns
    -------
    dict
        ``selected``, the layer at each of ``tolerances``; ``ways``, for each of these layers
        without and then with clusters: see :func:`_way`; ``oracle``, ``floor``, ``layers``,
        ``neurons``. Cost: up to 28 probes per layer selected, without and with clusters.
    """
    together = layer_sets(data)[data.layers :]
    probes, scores = fit(data, settings.protocol, seed, together)
    dev, ways = scores["dev"], []
    selected = [select_layer(dev, dev[-1], t) for t in settings.layer_tolerances]
    for layer in sorted(set(selected)):
        columns, base = np.array(together[layer]), _at(scores, layer)
        about = {"layer": layer, "selected": len(columns), "layer_score": base}
        plain = (columns, probes.weights[layer], base)
        for start in (plain, _clustered(data, settings, seed, len(columns))):
            ways.append(about | _way(data, settings, seed, start))
    found = {"tolerances": list(settings.layer_tolerances), "selected": selected, "ways": ways}
    return _sizes(data) | found | {"oracle": _at(scores, -1)}


def _clustered(data: Rows, settings: Settings, seed: int, width: int):
    """One neuron per cluster of the first columns, the weights of a probe, and its scores."""
    related = correlation(data)[:width, :width]
    labels = correlation_clusters(related, [settings.cluster_threshold])
    near = related if settings.protocol == "corrected" else None
    columns = representatives(labels[settings.cluster_threshold], near, seed=seed)
    probes, found = fit(data, settings.protocol, seed, [columns])
    return columns, probes.weights[0], _at(found)


def _way(data: Rows, settings: Settings, seed: int, start: tuple) -> dict:
    """The fewest neurons near the score of a start: columns, weights of their probe, its scores.

    Returns
    -------
    dict
        ``clusters``, neurons at the start; ``base``, their scores; ``sizes`` tried, with scores of
        the same length under ``tried``; ``chosen``, numbers of the neurons kept, the most important
        first; ``score`` of those. All of the start is kept where no size is enough.
    """
    columns, weights, base = start
    order = columns[_ranked(settings, weights[:, columns])]
    grid = sizes(data.neurons, len(columns)) or [len(columns)]  # fewer than the smallest share
    found = _curves(data, settings, {"tried": order}, grid, seed)
    size = smallest_set(grid, found["tried"]["dev"], base["dev"], settings.neuron_tolerance)
    score = _at(found["tried"], grid.index(size)) if size else base
    return found | {"clusters": len(columns), "base": base, "chosen": order[:size], "score": score}
