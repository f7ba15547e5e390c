"""What the machine could do at best: the arithmetic beside every time of the benchmark page."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from lib.bench.report import GB, largest, median


def table(record: dict) -> pd.DataFrame:
    """Operations and bytes that cannot be avoided, the time they take here, and what was measured.

    The floor is the longer of operations over the rate of a plain matrix product and bytes over
    that of a copy, both measured in the same run, on all threads.
    """
    rates, rows = record["rates"], []
    for what, ops, moved, kind, seconds in _work(record):
        times = {"products": ops / rates[kind], "memory": moved / rates["copy"]}
        bound = max(times, key=times.get)
        rows.append(
            {
                "step": what,
                "operations (1e9)": f"{ops / 1e9:,.1f}",
                "moved (GB)": f"{moved / GB:.2f}",
                "bound by": bound,
                "floor (s)": f"{times[bound]:.3f}",
                "measured (s)": f"{seconds:.3f}",
                "measured over floor": f"{seconds / times[bound]:.1f}",
            }
        )
    return pd.DataFrame(rows).set_index("step")


def _work(record: dict) -> Iterator[tuple]:
    """Yield (step, operations, bytes, precision, seconds) of every step.

    Half a product suffices for N rows of D columns: N * D^2 operations, as the result is symmetric.
    """
    part, text, ours = record["extraction"], record["cka"], largest(record, "ours")
    kept, d, seconds = 8 * part["words"] * part["neurons"], text["neurons"], ours["parts"]
    yield (
        "extraction",
        part["forward_ops"],
        kept,
        "float32",
        median(record, "extraction", "extract"),
    )
    yield "pass under CKA", text["forward_ops"], 0, "float32", median(record, "cka", "forward")
    yield _moments("moments for CKA", text["words"], d, median(record, "cka", "moments"))
    yield "layer CKA", 2 * d**2, 8 * d**2, "float64", median(record, "cka", "cka")
    yield (
        "correlation for CKA",
        4 * d**2,
        16 * d**2,
        "float64",
        median(record, "cka", "correlation"),
    )
    n, d = ours["rows"], ours["neurons"]
    yield _moments(f"moments, {n:,} rows", n, d, seconds["moments"])
    yield f"correlation, D = {d:,}", 4 * d**2, 16 * d**2, "float64", seconds["correlation"]
    yield f"clusters, D = {d:,}", 3 * d**2, 24 * d**2, "float64", seconds["clusters"]
    theirs = largest(record, "NeuroX")
    if theirs:
        moved = 12 * n * d + 16 * d**2
        taken = theirs["parts"]["correlation"]
        yield f"NeuroX: correlation, {n:,} rows", n * d**2, moved, "float64", taken


def _moments(what: str, n: int, d: int, seconds: float) -> tuple:
    return what, n * d**2, 4 * n * d + 8 * d**2, "float32", seconds
