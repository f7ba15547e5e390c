"""What every part of the benchmark shares: sizes, the clock, checks, and the machine's own rates.

A part of :mod:`lib.bench`.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from lib import cost, training

MODEL, TEXT = "all-minilm-l6-v2", "topics"


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    sentences: int = 200  # extraction
    json_sentences: int = 40  # NeuroX's JSON is slow: fewer, once, as it grows in proportion
    repeats: int = 5
    neurons: int = 9984  # D of a BERT-base
    rows: dict[int, int] = field(
        default_factory=lambda: {2_000: 1, 10_000: 1, 50_000: 2}
    )  # N: repeats
    threshold: float = 0.3
    probe_rows: int = 10_000
    probe_classes: tuple[int, ...] = (2, 45)
    probe_repeats: int = 3
    search_rows: int = 20_000
    cka_sentences: int = 800
    cka_repeats: int = 3
    cka_checked: int = 2000  # rows on which CKA is compared through their N x N Gram matrices
    tuned: int = 512  # examples of one pass of fine-tuning, and of evaluation
    tuned_repeats: int = 3
    checked_updates: int = 4
    depth_examples: int = 128
    depth_step: int = 1  # blocks dropped between two depths
    base: dict = field(default_factory=dict)  # what differs from the shape of a BERT-base
    base_updates: int = 2
    product: int = 2048  # side of the matrix product that gives the rate of the machine


QUICK = Sizes(
    sentences=12,
    json_sentences=2,
    repeats=2,
    neurons=300,
    rows={600: 1},
    probe_rows=400,
    probe_classes=(2, 5),
    probe_repeats=1,
    search_rows=500,
    cka_sentences=30,
    cka_repeats=2,
    cka_checked=300,
    tuned=16,
    tuned_repeats=1,
    depth_examples=16,
    depth_step=3,
    base={
        "num_hidden_layers": 1,
        "hidden_size": 48,
        "num_attention_heads": 2,
        "intermediate_size": 96,
    },
    base_updates=1,
    product=256,
)


@dataclass(frozen=True)
class Bench:
    """One run of the benchmark: what every part needs."""

    sizes: Sizes
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
    found = {}
    kinds = [torch.float32, torch.float64]
    if training.products(bench.device, "best") == "bfloat16":
        kinds.append(torch.bfloat16)
    for dtype in kinds:
        left, right = torch.randn(2, side, side, device=bench.device, dtype=dtype)
        product = {"product": lambda left=left, right=right: torch.mm(left, right)}
        seconds = bench.interleaved(product, 5)["product"]
        found[str(dtype).removeprefix("torch.")] = 2 * side**3 / statistics.median(seconds)
    block = torch.randn(16 * side**2, device=bench.device)
    target = torch.empty_like(block)
    seconds = bench.interleaved({"copy": lambda: target.copy_(block)}, 5)["copy"]
    return found | {"copy": 2 * block.nbytes / statistics.median(seconds)}
