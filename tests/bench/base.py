"""What every part of the benchmark shares: sizes, the clock, checks, and the machine's own rates.

A part gives ``times`` (rows of case, way, seconds of every round), ``memory`` (rows of case, way
and bytes), ``checks``, and what else describes it.
"""

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch

from lib import cost, training

MODEL, TEXT = "all-minilm-l6-v2", "editorials"
SMALL_BERT = {
    "num_hidden_layers": 1,
    "hidden_size": 48,
    "num_attention_heads": 2,
    "intermediate_size": 96,
}
SIZES = {  # how much is measured: for a record, and for a quick try
    "sentences": (200, 12),  # extraction
    "repeats": (5, 2),
    "neurons": (9984, 300),  # D of a BERT-base
    "rows": ({2_000: 1, 10_000: 1, 50_000: 2}, {600: 1}),  # N: rounds
    "probe_rows": (10_000, 400),
    "probe_classes": ((2, 45), (2, 5)),
    "probe_repeats": (3, 1),
    "search_rows": (20_000, 500),
    "cka_sentences": (800, 30),
    "cka_repeats": (3, 2),
    "cka_checked": (2000, 300),  # rows on which CKA is compared through N x N Gram matrices
    "tasks": (("sst2", "cola"), ("polarity",)),  # a quick try needs no data root
    "tuned": (512, 16),  # examples of one pass of fine-tuning, and of evaluation
    "tuned_repeats": (3, 1),
    "checked_updates": (4, 2),
    "base": ({}, SMALL_BERT),  # what differs from the shape of a BERT-base
    "base_updates": (2, 1),
    "product": (2048, 256),  # side of the matrix product that gives the rate of the machine
}


def sizes(*, quick: bool, **other) -> SimpleNamespace:
    """How much is measured; ``other`` replaces single entries."""
    return SimpleNamespace(**{name: pair[quick] for name, pair in SIZES.items()} | other)


@dataclass(frozen=True)
class Bench:
    """One run of the benchmark: what every part needs."""

    sizes: SimpleNamespace
    device: torch.device
    with_peers: bool
    into: Path  # a temporary folder

    def say(self, text: str) -> None:
        """Progress, on stderr."""
        print(text, file=sys.stderr, flush=True)

    def timed(self, call: Callable) -> float:
        """Seconds of a call; work still running on the device is waited for."""
        return cost.timed(call, self.device)

    def interleaved(self, ways: dict[str, Callable], repeats: int) -> dict[str, list[float]]:
        """Seconds of each way, run in turn, after each ran once unmeasured."""
        clocked = {way: lambda call=call: self.timed(call) for way, call in ways.items()}
        return cost.in_turn(clocked, repeats)


def rows(case: str, seconds: dict[str, list[float]], **about) -> list[dict]:
    """One row of ``times`` for each way.

    Examples
    --------
    >>> rows("2 classes", {"ours": [0.5]}, count=3)
    [{'case': '2 classes', 'way': 'ours', 'seconds': [0.5], 'count': 3}]
    """
    return [{"case": case, "way": way, "seconds": s} | about for way, s in seconds.items()]


def check(what: str, value: float, limit: float) -> dict:
    """One line of the list of checks: whether ``value`` stays within ``limit``.

    Examples
    --------
    >>> check("vectors agree", 2e-6, 1e-4)["holds"], check("vectors agree", 0.1, 1e-4)["holds"]
    (True, False)
    """
    return {"what": what, "value": float(value), "limit": limit, "holds": bool(value <= limit)}


def difference(left, right) -> float:
    """Largest difference of any number; infinite where shapes differ, or a number is NaN."""
    left, right = torch.as_tensor(left), torch.as_tensor(right)
    if left.shape != right.shape:
        return float("inf")
    return float((left.double() - right.double()).abs().nan_to_num(nan=float("inf")).max())


def rates(bench: Bench) -> dict[str, float]:
    """What the machine gives: operations a second of a product, bytes a second of a copy."""
    side = bench.sizes.product * (4 if bench.device.type == "cuda" else 1)
    found, kinds = {}, {"float32", "float64", training.products(bench.device, "best")}
    for kind in sorted(kinds):
        left, right = torch.randn(2, side, side, device=bench.device, dtype=getattr(torch, kind))
        product = {"product": lambda left=left, right=right: torch.mm(left, right)}
        seconds = bench.interleaved(product, 5)["product"]
        found[kind] = 2 * side**3 / statistics.median(seconds)
    block = torch.randn(16 * side**2, device=bench.device)
    target = torch.empty_like(block)
    seconds = bench.interleaved({"copy": lambda: target.copy_(block)}, 5)["copy"]
    return found | {"copy": 2 * block.nbytes / statistics.median(seconds)}
