"""Correlation and clusters at the size of a BERT-base, each way in a process of its own.

A part of :mod:`lib.bench`. The peak of a process is the peak of its way alone only if nothing else
ever ran in it, so every measurement starts a fresh process, which makes the rows from a seed, runs
one way and ends. Making the rows is not timed.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from lib import cost
from lib.bench import peers
from lib.bench.base import Bench, check, difference
from lib.similarity import Moments, correlation_clusters

CHUNK = 512  # rows made at once
GROUP = 6  # neurons of one planted group, on average
PICKED = 256  # neurons whose correlation with all others is compared
THRESHOLDS = tuple(round(0.1 * i, 1) for i in range(1, 10))


@dataclass(frozen=True)
class Shape:
    """What one process is to do: N rows of D neurons, where."""

    rows: int
    neurons: int
    threshold: float  # the one at which clusters are compared, and the only one for NeuroX
    device: str
    seed: int = 0


def planted(shape: Shape) -> Iterator[np.ndarray]:
    """Chunks of rows (n, D), float32: groups of neurons that share a source, more or less.

    Neuron d of group g is ``a_d * s_g + sqrt(1 - a_d^2) * noise`` with ``a_d`` from -1 to 1, so two
    neurons of a group correlate by ``a_d * a_e`` and clusters form at every threshold.
    """
    random = np.random.default_rng(shape.seed)
    group = random.integers(max(shape.neurons // GROUP, 1), size=shape.neurons)
    share = random.uniform(0.3, 1, shape.neurons) * random.choice([-1, 1], shape.neurons)
    share, rest = share.astype(np.float32), np.sqrt(1 - share**2).astype(np.float32)
    for begin in range(0, shape.rows, CHUNK):
        size = min(CHUNK, shape.rows - begin)
        rows = random.standard_normal((size, shape.neurons), dtype=np.float32)
        source = random.standard_normal((size, group.max() + 1), dtype=np.float32)
        rows *= rest
        rows += source[:, group] * share
        yield rows


def picked(shape: Shape) -> np.ndarray:
    """Neurons whose correlations are compared."""
    return np.unique(np.linspace(0, shape.neurons - 1, PICKED).astype(int))


class Clock(Counter):
    """Seconds by name; a device's work is waited for."""

    def add(self, name: str, device: torch.device, call):
        """Run ``call``, add what it took under ``name`` and give its result."""
        begin = time.perf_counter()
        result = call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self[name] += time.perf_counter() - begin
        return result


def _correlated(shape: Shape, device: torch.device, clock: Clock) -> torch.Tensor:
    """Correlation of all neurons, (D, D); the moments are let go with this function."""
    moments = Moments(shape.neurons, device=device)
    for rows in planted(shape):
        clock.add("moments", device, lambda rows=rows: moments.update(torch.from_numpy(rows)))
    return clock.add("correlation", device, moments.correlation)


def ours(shape: Shape) -> dict:
    """Stream rows into moments, correlate, and cut one linkage at all thresholds."""
    device, clock = torch.device(shape.device), Clock()
    correlation = _correlated(shape, device, clock)
    labels = clock.add("clusters", device, lambda: correlation_clusters(correlation, THRESHOLDS))
    return {
        "parts": dict(clock),
        "seconds": clock.total(),
        "labels": labels[shape.threshold],
        "clusters": {str(t): int(label.max()) for t, label in labels.items()},
        "correlation": correlation[picked(shape)].cpu().numpy(),
    }


def neurox(shape: Shape) -> dict:
    """Hold the whole table, as NeuroX asks for it, and cluster it at one threshold."""
    table = np.empty((shape.rows, shape.neurons), dtype=np.float32)
    for number, rows in enumerate(planted(shape)):
        table[number * CHUNK : number * CHUNK + len(rows)] = rows
    begin = time.perf_counter()
    found = peers.neurox_clusters(table, shape.threshold, picked(shape))
    labels, correlation, parts = found
    return {
        "seconds": time.perf_counter() - begin,
        "parts": parts,
        "labels": labels,
        "correlation": correlation,
    }


WAYS = {"ours": ours, "NeuroX": neurox}


def same_clusters(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether two labellings join the same neurons, whatever their names.

    Examples
    --------
    >>> same_clusters(np.array([1, 1, 2]), np.array([7, 7, 3]))
    True
    >>> same_clusters(np.array([1, 1, 2]), np.array([7, 3, 3]))
    False
    """
    pairs = set(zip(left.tolist(), right.tolist(), strict=True))
    return len(pairs) == len(set(left.tolist())) == len(set(right.tolist()))


def clusters(bench: Bench) -> tuple[list[dict], list[dict]]:
    """Correlation and clusters of planted rows, at every number of rows, way by way."""
    sizes, found, checks = bench.sizes, [], []
    for rows, repeats in sizes.rows.items():
        shape = Shape(rows, sizes.neurons, sizes.threshold, str(bench.device))
        ways = ["ours", "NeuroX"] if bench.with_peers else ["ours"]
        runs = {way: [] for way in ways}
        for turn in range(repeats):
            for way in ways:
                bench.say(f"clusters: {rows:,} rows, {way}, {turn + 1} of {repeats}")
                runs[way].append(cost.alone(WAYS[way], shape))
        found += [_cluster_entry(way, shape, done) for way, done in runs.items()]
        if bench.with_peers:
            checks += _cluster_checks(rows, runs["ours"][0], runs["NeuroX"][0])
    return found, checks


def _cluster_entry(way: str, shape: Shape, runs: list[dict]) -> dict:
    parts = {name: statistics.median(r["parts"][name] for r in runs) for name in runs[0]["parts"]}
    most = {key: max(r[key] for r in runs) for key in runs[0] if key.endswith("_bytes")}
    return {
        "way": way,
        "rows": shape.rows,
        "neurons": shape.neurons,
        "seconds": [run["seconds"] for run in runs],
        "parts": parts,
        "thresholds": len(runs[0].get("clusters", [shape.threshold])),
        "clusters": runs[0].get("clusters", {}),
        **most,
    }


def _cluster_checks(rows: int, ours: dict, theirs: dict) -> list[dict]:
    apart = difference(ours["correlation"], theirs["correlation"])
    other = not same_clusters(ours["labels"], theirs["labels"])
    return [
        check(f"correlation, {rows:,} rows: from NeuroX's", apart, 1e-5),
        check(f"clusters, {rows:,} rows: other than NeuroX's", other, 0),
    ]
