"""Figures of the benchmark page, drawn from one record of :mod:`lib.bench`."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from lib import figures
from lib.bench import tuned
from lib.bench.report import NAMES, ORDER, largest, peaks
from lib.report import task_title

POINTS = "offset points"
PARTS = {
    "moments": "moments",
    "correlation": "correlation",
    "linkage": "distances and linkage",
    "rest": "the rest",
}
HATCHES = ("", "//", "", "..")


def throughput_bars(record: dict) -> Figure:
    """Words a second of every way of extraction, and how they compare with the bare pass."""
    ways = record["extraction"]["ways"]
    shown = [way for way in ORDER if way in ways]
    speed = [ways[way]["words"] / np.array(ways[way]["seconds"]) for way in shown]
    middle = np.array([np.median(s) for s in speed])
    spread = np.abs([[m - s.min(), s.max() - m] for m, s in zip(middle, speed, strict=True)]).T
    figure, axes = plt.subplots(figsize=(figures.WIDTH, 0.6 * len(shown) + 1), layout="constrained")
    colours = ["C7" if w == "forward" else "C1" if "NeuroX" in w else "C0" for w in shown]
    axes.barh([NAMES.get(w, w) for w in shown], middle, xerr=spread, color=colours)
    for row, (m, reached) in enumerate(zip(middle, middle + spread[1], strict=True)):
        axes.annotate(
            f"{m / middle[0]:.2f}", (reached, row), (5, 0), va="center", textcoords=POINTS
        )
    axes.margins(x=0.12)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("words a second")
    return figures.finish(figure)


def memory_lines(record: dict) -> Figure:
    """Peak memory against the number of rows."""
    figure, axes = plt.subplots(figsize=(figures.WIDTH, 3.8), layout="constrained")
    for place, way in enumerate(way for way in ("ours", "NeuroX") if peaks(record, way)):
        peak = peaks(record, way)
        axes.plot(list(peak), list(peak.values()), "-" if place == 0 else "--",
                  marker=figures.MARKERS[place], color=f"C{place}", label=way)  # fmt: skip
    axes.axhline(3, color="0.4", linestyle=":", label="target")
    axes.set(xlabel="rows", ylabel="peak memory (GB)", ylim=(0, None))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.legend()
    return figures.finish(figure)


def time_bars(record: dict) -> Figure:
    """Where the time of correlation and clusters goes, at most rows."""
    figure, axes = plt.subplots(figsize=(figures.WIDTH, 2.8), layout="constrained")
    entries = [entry for way in ("ours", "NeuroX") if (entry := largest(record, way))]
    parts = [_with_rest(entry) for entry in entries]
    names = [name for name in PARTS if any(name in part for part in parts)]
    left = np.zeros(len(entries))
    for place, name in enumerate(names):
        seconds = np.array([part.get(name, 0.0) for part in parts])
        style = {"color": plt.get_cmap("cividis")(place / 3), "hatch": HATCHES[place]}
        ways = [f"{e['way']}, thresholds: {e['thresholds']}" for e in entries]
        axes.barh(ways, seconds, left=left, edgecolor="white", label=PARTS[name], **style)
        left += seconds
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("seconds")
    figure.legend(loc="outside lower center", ncols=len(names))
    return figures.finish(figure)


def tuning_bars(record: dict) -> Figure:
    """Examples a second of both loops in fine-tuning and evaluation, a group of bars per task."""
    found = tuned.part(record)["tasks"]
    figure, pair = figures.stacked(2, 2.6, rest=0)
    for axes, (work, title) in zip(pair, tuned.WORK.items(), strict=True):
        for place, (loop, name) in enumerate(tuned.LOOPS.items()):
            rates = [tuned.rate(record, task, work, loop) for task in found]
            middle = np.array([np.median(r) for r in rates])
            ends = [[m - r.min(), r.max() - m] for m, r in zip(middle, rates, strict=True)]
            rows = np.arange(len(found)) + 0.4 * place
            style = {"color": f"C{place}", "hatch": HATCHES[place], "label": name}
            axes.barh(rows, middle, 0.38, xerr=np.transpose(ends) if ends else None, **style)
        axes.set_yticks(np.arange(len(found)) + 0.2, [task_title(task) for task in found])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(title=title, xlabel="examples a second")
    figure.legend(*pair[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figures.finish(figure)


def _with_rest(entry: dict) -> dict[str, float]:
    """Seconds of the parts that were watched, and of what lies between them."""
    parts = {"linkage" if name == "clusters" else name: s for name, s in entry["parts"].items()}
    return parts | {"rest": max(float(np.median(entry["seconds"])) - sum(parts.values()), 0.0)}
