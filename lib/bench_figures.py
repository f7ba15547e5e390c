"""Figures of the benchmark page, drawn from one record of :mod:`lib.bench`."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from lib import figures
from lib.bench_report import NAMES, ORDER, largest, peaks


def throughput_bars(record: dict) -> Figure:
    """Words a second of every way of extraction, and how they compare with the bare pass."""
    ways = record["extraction"]["ways"]
    shown = [way for way in ORDER if way in ways]
    speed = [ways[way]["words"] / np.array(ways[way]["seconds"]) for way in shown]
    middle = np.array([np.median(s) for s in speed])
    spread = np.abs([[m - s.min(), s.max() - m] for m, s in zip(middle, speed, strict=True)]).T
    figure, axes = plt.subplots(figsize=(7, 0.6 * len(shown) + 1), layout="constrained")
    colours = ["C7" if w == "forward" else "C1" if "NeuroX" in w else "C0" for w in shown]
    bars = axes.barh([NAMES.get(w, w) for w in shown], middle, xerr=spread, color=colours)
    labels = [f"  {m / middle[0]:.2f}" for m in middle]
    axes.bar_label(bars, labels, label_type="center", color="white", fontweight="bold")
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("words a second (number in the bar: over bare forward)")
    return figures._finish(figure)


def memory_lines(record: dict) -> Figure:
    """Peak memory against the number of rows."""
    figure, axes = plt.subplots(figsize=(7, 3.8), layout="constrained")
    for place, way in enumerate(way for way in ("ours", "NeuroX") if peaks(record, way)):
        peak = peaks(record, way)
        axes.plot(list(peak), list(peak.values()), "-" if place == 0 else "--",
                  marker=figures.MARKERS[place], color=f"C{place}", label=way)  # fmt: skip
    axes.axhline(3, color="0.4", linestyle=":", label="target")
    axes.set(xlabel="rows", ylabel="peak memory (GB)", ylim=(0, None))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.legend()
    return figures._finish(figure)


def time_bars(record: dict) -> Figure:
    """Where the time of correlation and clusters goes, at most rows."""
    figure, axes = plt.subplots(figsize=(7, 2.4), layout="constrained")
    entries = [e for way in ("ours", "NeuroX") if (e := largest(record, way))]
    for row, entry in enumerate(entries):
        parts, left = dict(entry["parts"]), 0.0
        parts["rest"] = max(np.median(entry["seconds"]) - sum(parts.values()), 0)
        for place, (name, seconds) in enumerate((n, s) for n, s in parts.items() if s > 0.01):
            tone = plt.get_cmap("cividis")(place / 3)
            axes.barh(row, seconds, left=left, color=tone, edgecolor="white")
            if seconds > 0.06 * max(np.median(e["seconds"]) for e in entries):
                colour = "white" if place < 2 else "black"
                axes.text(left + seconds / 2, row, name, ha="center", va="center", color=colour)
            left += seconds
    names = [
        f"{e['way']}, {e['thresholds']} threshold" + "s" * (e["thresholds"] > 1) for e in entries
    ]
    axes.set_yticks(range(len(entries)), names)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("seconds")
    return figures._finish(figure)
