"""Correlation and clusters at the size of a BERT-base, each way in a process of its own.

The peak of a process is the peak of its way alone only if nothing else ever ran in it, so every
measurement starts a fresh process, which makes the rows from a seed, runs one way and ends. Making
the rows is not timed.
"""

import statistics
from collections.abc import Iterator

import numpy as np
import torch

from lib import cost
from lib.similarity import Moments, correlation_clusters
from tests.bench import peers
from tests.bench.base import Bench, check, difference, rows

CHUNK = 512  # rows made at once
GROUP = 6  # neurons of one planted group, on average
PICKED = 256  # neurons whose correlation with all others is compared
THRESHOLD = 0.3  # at which clusters are compared, and the only one for NeuroX
THRESHOLDS = tuple(round(0.1 * i, 1) for i in range(1, 10))


def planted(count: int, neurons: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Chunks of rows (n, D), float32: groups of neurons that share a source, more or less.

    Neuron d of group g is ``a_d * s_g + sqrt(1 - a_d^2) * noise`` with ``a_d`` from -1 to 1, so two
    neurons of a group correlate by ``a_d * a_e`` and clusters form at every threshold.
    """
    random = np.random.default_rng(seed)
    group = random.integers(max(neurons // GROUP, 1), size=neurons)
    share = random.uniform(0.3, 1, neurons) * random.choice([-1, 1], neurons)
    share, rest = share.astype(np.float32), np.sqrt(1 - share**2).astype(np.float32)
    for begin in range(0, count, CHUNK):
        size = min(CHUNK, count - begin)
        chunk = random.standard_normal((size, neurons), dtype=np.float32)
        source = random.standard_normal((size, group.max() + 1), dtype=np.float32)
        chunk *= rest
        chunk += source[:, group] * share
        yield chunk


def table(count: int, neurons: int, seed: int = 0) -> np.ndarray:
    """All planted rows at once, (N, D)."""
    found, begin = np.empty((count, neurons), dtype=np.float32), 0
    for chunk in planted(count, neurons, seed):
        found[begin : begin + len(chunk)] = chunk
        begin += len(chunk)
    return found


def picked(neurons: int) -> np.ndarray:
    """Neurons whose correlations are compared."""
    return np.unique(np.linspace(0, neurons - 1, PICKED).astype(int))


def ours(count: int, neurons: int, device: str) -> dict:
    """Stream rows into moments, correlate, and cut one linkage at all thresholds."""
    on, found, steps = torch.device(device), {}, {}
    moments = Moments(neurons, device=on)
    steps["moments"] = sum(
        cost.timed(lambda chunk=chunk: moments.update(torch.from_numpy(chunk)), on)
        for chunk in planted(count, neurons)
    )
    steps["correlation"] = cost.timed(lambda: found.update(r=moments.correlation()), on)
    moments = None  # let go before the linkage
    steps["clusters"] = cost.timed(
        lambda: found.update(labels=correlation_clusters(found["r"], THRESHOLDS)), on
    )
    return {
        "steps": steps,
        "seconds": sum(steps.values()),
        "labels": found["labels"][THRESHOLD],
        "correlation": found["r"][picked(neurons)].cpu().numpy(),
    }


def neurox(count: int, neurons: int, device: str) -> dict:
    """Hold the whole table, as NeuroX asks for it, and cluster it at one threshold."""
    held, found = table(count, neurons), {}
    seconds = cost.timed(
        lambda: found.update(peers.neurox_clusters(held, THRESHOLD, picked(neurons))),
        torch.device(device),
    )
    return found | {"seconds": seconds}


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


def clusters(bench: Bench) -> dict:
    """Correlation and clusters of planted rows, at every number of rows, way by way."""
    neurons, ways = bench.sizes.neurons, list(WAYS)[: 1 + bench.with_peers]
    found = {"neurons": neurons, "times": [], "memory": [], "steps": [], "checks": []}
    for count, repeats in bench.sizes.rows.items():
        runs: dict[str, list] = {way: [] for way in ways}
        for turn in range(repeats):
            for way in ways:
                bench.say(f"clusters: {count:,} rows, {way}, {turn + 1} of {repeats}")
                runs[way].append(cost.alone(WAYS[way], count, neurons, str(bench.device)))
        for way, done in runs.items():
            _add(found, f"clusters, {count:,} rows", way, done)
        if bench.with_peers:
            found["checks"] += _checks(count, runs["ours"][0], runs["NeuroX"][0])
    return found


def _add(found: dict, case: str, way: str, runs: list[dict]) -> None:
    """Add the runs of one way to a part's rows."""
    found["times"] += rows(case, {way: [run["seconds"] for run in runs]})
    most = {key: max(r[key] for r in runs) for key in runs[0] if key.endswith("_bytes")}
    found["memory"].append({"case": case, "way": way} | most)
    if "steps" in runs[0]:
        steps = {n: statistics.median(r["steps"][n] for r in runs) for n in runs[0]["steps"]}
        found["steps"].append({"case": case, "way": way} | steps)


def _checks(count: int, ours: dict, theirs: dict) -> list[dict]:
    apart = difference(ours["correlation"], theirs["correlation"])
    other = not same_clusters(ours["labels"], theirs["labels"])
    return [
        check(f"correlation, {count:,} rows: from NeuroX's", apart, 1e-5),
        check(f"clusters, {count:,} rows: other than NeuroX's", other, 0),
    ]
