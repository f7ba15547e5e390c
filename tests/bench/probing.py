"""Probes, the ranking of neurons and the search for the fewest, beside NeuroX.

Rows are the planted ones of :mod:`tests.bench.clusters`, as wide as those of a BERT-base; a label
is what a drawn linear map says of some neurons of the lower layers. Both sides train under the
released protocol. The floor of a training are its products alone: one of every batch with the
weights, and one for the gradient.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lib.probes import Probes, fit_probes
from lib.selection import rank_neurons, representatives, select_layer, sizes, smallest_set
from lib.similarity import Moments, correlation_clusters
from tests.bench import peers
from tests.bench.base import Bench, check, rows
from tests.bench.clusters import THRESHOLD, table

LAYERS = 13
TELLING = 4  # lowest layers, in which the neurons lie that decide a label
DECIDING = 60  # neurons
NOISE = 0.5  # of a class's score, over the spread of what the neurons say
TOLERANCE = 1
EPOCHS, BATCH = 10, 128  # of the released protocol
POINTS = 0.5  # accuracies of two ways may lie this far apart
MOVED = 0.005  # share of the neurons that may enter at another step, by rounding


@dataclass(frozen=True)
class Rows:
    """Rows (N, D) and class numbers, to train on and to judge by."""

    rows: Tensor
    labels: list[int]
    held: Tensor
    held_labels: list[int]


def rows_of(count: int, neurons: int, classes: int, device: str, seed: int = 0) -> Rows:
    """Planted rows with labels; another tenth of them is held out."""
    found = table(count + max(count // 10, 2 * classes), neurons, seed)
    draw = np.random.default_rng([seed, classes])
    telling = draw.integers(neurons * TELLING // LAYERS, size=min(DECIDING, neurons))
    says = found[:, telling] @ draw.standard_normal((len(telling), classes))
    says += NOISE * says.std() * draw.standard_normal(says.shape)
    given, labels = torch.from_numpy(found).to(device), says.argmax(axis=1).tolist()
    return Rows(given[:count], labels[:count], given[count:], labels[count:])


def products(data: Rows, classes: int) -> None:
    """The products that training one probe takes, and nothing else."""
    weights = torch.zeros(classes, data.rows.shape[1], device=data.rows.device)
    for _ in range(EPOCHS):
        for part in data.rows.split(BATCH):
            torch.mm((part @ weights.T).T, part)


def _ours(data: Rows, sets: Sequence | None = None, protocol: str = "official") -> Probes:
    return fit_probes(data.rows, data.labels, columns=sets, protocol=protocol)


def _accuracy(probes: Probes, data: Rows) -> np.ndarray:
    return 100 * probes.score(data.held, data.held_labels)


def _one(bench: Bench, classes: int) -> tuple[list[dict], list[dict]]:
    """Training one probe on all neurons, judging it and ranking by it: both sides, and floors."""
    bench.say(f"probes: {classes} classes")
    data = rows_of(bench.sizes.probe_rows, bench.sizes.neurons, classes, str(bench.device))
    trained: dict = {}
    train = {
        "products": lambda: products(data, classes),
        "ours": lambda: trained.update(ours=_ours(data)),
        "ours, corrected": lambda: _ours(data, protocol="corrected"),
    }
    if bench.with_peers:
        train["NeuroX"] = lambda: trained.update(NeuroX=peers.neurox_probe(data.rows, data.labels))
    repeats, of = bench.sizes.probe_repeats, f"probe, {classes} classes"
    found = rows(f"training a {of}", bench.interleaved(train, repeats))
    ours, theirs = trained["ours"], trained.get("NeuroX")
    judge = {
        "products": lambda: data.rows @ ours.weights[0].T,
        "ours": lambda: ours.score(data.rows, data.labels),
    }
    if bench.with_peers:
        judge["NeuroX"] = lambda: peers.neurox_accuracy(theirs, data.rows, data.labels)
    found += rows(f"judging by a {of}", bench.interleaved(judge, repeats))
    ranked, checks = _ranked(bench, ours.weights[0])
    if bench.with_peers:
        scored = peers.neurox_accuracy(theirs, data.held, data.held_labels)
        apart = abs(float(_accuracy(ours, data)[0]) - scored)
        checks.append(check(f"{of}: points from NeuroX's", apart, POINTS))
    return found + rows(f"ranking neurons, {classes} classes", ranked), checks


def _ranked(bench: Bench, weights: Tensor) -> tuple[dict, list[dict]]:
    """Seconds of ranking all neurons; NeuroX's once, as it is slow."""
    ways = {"ours": lambda: rank_neurons(weights, protocol="official")}
    seconds, order = bench.interleaved(ways, bench.sizes.probe_repeats), []
    if not bench.with_peers:
        return seconds, []
    seconds["NeuroX"] = [bench.timed(lambda: order.extend(peers.neurox_order(weights)))]
    what = f"ranking, {len(weights)} classes: neurons at another step than NeuroX's"
    return seconds, [check(what, _other_steps(weights, *order), MOVED * weights.shape[1])]


def _other_steps(weights: Tensor, order: np.ndarray, cutoffs: Sequence[int]) -> int:
    """Neurons that enter NeuroX's ranking at another step than ours: it sums in single."""
    ours, entry = rank_neurons(weights, protocol="official")
    step = np.empty(len(order))
    step[order] = np.searchsorted(cutoffs, np.arange(len(order)), side="right")
    return int((step[ours] != np.minimum(entry, len(cutoffs) - 1)).sum())


def _sets(bench: Bench) -> tuple[list[dict], list[dict]]:
    """The candidate sets of the released grid, trained together, and one by one with NeuroX."""
    bench.say("probes: candidate sets")
    neurons = bench.sizes.neurons
    data = rows_of(bench.sizes.probe_rows, neurons, 2, str(bench.device))
    order, _ = rank_neurons(_ours(data).weights[0], protocol="official")
    candidates = [order[:size] for size in sizes(neurons, neurons)]
    scores: dict[str, np.ndarray] = {}
    ways = {"ours": lambda: scores.update(ours=_accuracy(_ours(data, candidates), data))}
    if bench.with_peers:
        ways["NeuroX"] = lambda: scores.update(NeuroX=_one_by_one(data, candidates))
    seconds = {way: [bench.timed(call)] for way, call in ways.items()}
    found = rows("candidate sets", seconds, count=len(candidates), rows=len(data.rows))
    if not bench.with_peers:
        return found, []
    apart = np.abs(scores["ours"] - scores["NeuroX"]).mean()
    return found, [check("candidate sets: points from NeuroX's, on average", apart, POINTS)]


def _one_by_one(data: Rows, sets: Sequence[np.ndarray]) -> np.ndarray:
    """Held-out accuracy of a probe on each set, trained alone by NeuroX on copied columns."""
    scores = []
    for columns in sets:
        where = torch.from_numpy(np.ascontiguousarray(columns)).to(data.rows.device)
        probe = peers.neurox_probe(data.rows[:, where], data.labels)
        scores.append(peers.neurox_accuracy(probe, data.held[:, where], data.held_labels))
    return np.array(scores)


def search(data: Rows) -> dict:
    """Layer selector, clusters and feature selection of one task; columns of every training."""
    neurons = data.rows.shape[1]
    ends = [neurons * (layer + 1) // LAYERS for layer in range(LAYERS)]
    alone = [range(b, e) for b, e in zip([0, *ends], ends, strict=False)]
    together = [range(end) for end in ends]
    scores = _accuracy(_ours(data, [*alone, *together]), data)[LAYERS:]
    layer = select_layer(scores, scores[-1], TOLERANCE)
    given = data.rows[:, : ends[layer]]
    related = Moments(ends[layer], device=given.device).update(given).correlation()
    columns = representatives(correlation_clusters(related, [THRESHOLD])[THRESHOLD], seed=0)
    probes = _ours(data, [columns])
    order = columns[rank_neurons(probes.weights[0][:, columns], protocol="official")[0]]
    grid = sizes(neurons, len(order))

    def score(candidates: list[int]) -> np.ndarray:
        return _accuracy(_ours(data, [order[:size] for size in candidates]), data)

    size = smallest_set(grid, score(grid), _accuracy(probes, data)[0], TOLERANCE)
    trained = [*map(len, alone), *map(len, together), len(columns), *grid]
    chosen = {"layer": layer, "clusters": len(columns), "size": size or len(columns)}
    return chosen | {"trained": trained}


def _search(bench: Bench) -> tuple[list[dict], list]:
    """The whole search, beside the sum of the same trainings one by one with NeuroX.

    NeuroX trains on a few widths; what lies between is taken on the line between its neighbours.
    """
    bench.say("probes: the whole search")
    data = rows_of(bench.sizes.search_rows, bench.sizes.neurons, 2, str(bench.device))
    found: dict = {}
    seconds = {"ours": [bench.timed(lambda: found.update(search(data)))]}
    trained = found["trained"]
    if bench.with_peers:
        widths = sorted({min(trained), max(trained) // 4, max(trained) // 2, max(trained)})
        taken = [bench.timed(lambda w=w: _one_by_one(data, [np.arange(w)])) for w in widths]
        seconds["NeuroX"] = [float(np.interp(trained, widths, taken).sum())]
    return rows("whole search", seconds, count=len(trained), rows=len(data.rows)), []


def probing(bench: Bench) -> dict:
    """Probes: one of each kind, the candidate sets, and the whole search."""
    found = {"times": [], "checks": []}
    steps: list[Callable] = [partial(_one, classes=c) for c in bench.sizes.probe_classes]
    for step in [*steps, _sets, _search]:
        times, checks = step(bench)
        found["times"] += times
        found["checks"] += checks
    return found
