"""Figures of the pages on task-specific redundancy, from records alone."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, PercentFormatter, StrMethodFormatter

from lib import encoders, figures
from lib.probing.rankings import KEPT
from lib.probing.steps import STEPS
from lib.report import Table, array, cell_name, cells_of

KINDS = {  # lines of the layer figure: (weights, entry, control) and how they are drawn
    "layers 0 to i": ("trained", "together", False, "C0", "o", "-"),
    "layer i alone": ("trained", "alone", False, "C1", "s", "--"),
    "layers 0 to i, random": ("random", "together", False, "C2", "D", ":"),
    "layers 0 to i, control": ("trained", "together", True, "C3", "^", "-."),
}
ORDERS = {"top": ("C0", "o", "-"), "random": ("C2", "D", ":"), "bottom": ("C1", "s", "--")}


def _named(table: Table) -> list[tuple[str, str]]:
    return list(dict.fromkeys((run.model, run.task) for run, _ in table))


def _legend(figure: Figure, panels: list[Axes]) -> None:
    """One legend for all panels, each name once; above them, as they may outgrow a screen."""
    handles = {}
    for axes in panels:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=2)


def layer_curves(table: Table) -> Figure:
    """Score on test of each layer alone and of the layers up to it, a panel per task."""
    names = _named(table)
    figure, panels = figures.stacked(len(names), 2.6)
    for axes, (model, task) in zip(panels, names, strict=True):
        cells = {w: v for (m, t, w), v in cells_of(table) if (m, t) == (model, task)}
        for label, (weights, entry, control, colour, marker, line) in KINDS.items():
            values = [v["control"] if control else v for v in cells.get(weights, [])]
            if values and values[0]:
                scores = 100 * np.stack([array(v[entry]["test"]) for v in values])
                _line(axes, scores, label=label, color=colour, marker=marker, linestyle=line)
        floor = 100 * next(iter(cells.values()))[0]["floor"]
        axes.axhline(floor, color="0.4", linestyle=":", linewidth=1.5, label="majority")
        axes.set(xlabel="layer i (0 = embeddings)", ylabel="score on test")
        axes.set(title=cell_name(model, task, len({m for m, _ in names}) > 1))
    _legend(figure, panels)
    return figures.finish(figure)


def _line(axes: Axes, scores: np.ndarray, **style) -> None:
    """Mean over seeds with its spread, layer by layer."""
    spread = scores.std(axis=0, ddof=1) if len(scores) > 1 else None
    axes.errorbar(range(scores.shape[1]), scores.mean(axis=0), spread, markersize=5, **style)
    axes.set_xticks(range(scores.shape[1]))


def selectivity_curves(found: pd.DataFrame) -> Figure:
    """Accuracy on real labels minus that on random ones, over the layers."""
    cells = list(found.groupby(["model", "task", "weights"], sort=False))
    if not cells:
        return figures.nothing("no task of words is in yet")
    figure, axes = plt.subplots(figsize=(figures.WIDTH, 4.2), layout="constrained")
    names = list(dict.fromkeys(key[:2] for key, _ in cells))
    for (model, task, weights), rows in cells:
        place = names.index((model, task))
        scores = rows.pivot_table(index="seed", columns="layer", values="selectivity").to_numpy()
        label = cell_name(model, task, len({m for m, _ in names}) > 1)
        _line(
            axes,
            scores,
            label=label + (", random" if weights == "random" else ""),
            color=f"C{place % 10}",
            marker=figures.MARKERS[place % len(figures.MARKERS)],
            linestyle=figures.LINES[weights],
            fillstyle="full" if weights == "trained" else "none",
        )
    axes.axhline(0, color="0.5", linewidth=1)
    axes.set(xlabel="layer (0 = embeddings)", ylabel="selectivity (points)")
    figures.legend_below(figure, axes)
    return figures.finish(figure)


def size_curves(table: Table) -> Figure:
    """Score on test against the number of neurons: first, last and any of a ranking."""
    names = _named(table)
    figure, panels = figures.stacked(len(names), 2.9)
    for axes, (model, task) in zip(panels, names, strict=True):
        values = [v for run, v in table if (run.model, run.task) == (model, task)]
        for kind, (colour, marker, line) in ORDERS.items():
            scores = 100 * np.stack([array(v[kind]["test"]) for v in values])
            spread = scores.std(axis=0, ddof=1) if len(scores) > 1 else None
            style = {"color": colour, "marker": marker, "linestyle": line, "markersize": 4}
            axes.errorbar(values[0]["sizes"], scores.mean(axis=0), spread, label=kind, **style)
        oracle = 100 * np.mean([v["oracle"]["test"] for v in values])
        axes.axhline(oracle, color="0.4", linewidth=1, label="oracle")
        axes.axhline(100 * values[0]["floor"], color="0.4", linestyle=":", label="majority")
        axes.axvline(values[0]["neurons"] / KEPT, color="0.4", linestyle="-.", label="a tenth")
        axes.set(xscale="log", xlabel="neurons", ylabel="score on test")
        axes.set(title=cell_name(model, task, len({m for m, _ in names}) > 1))
    _legend(figure, panels)
    return figures.finish(figure)


def place_bars(found: pd.DataFrame) -> Figure:
    """Share of the smallest set that lies in each layer, a panel per task; dotted: even."""
    cells = list(found.groupby(["model", "task"], sort=False))
    figure, panels = figures.stacked(len(cells), 2.2)
    many = found["model"].nunique() > 1
    for axes, ((model, task), rows) in zip(panels, cells, strict=True):
        shares = np.stack([array(counts) / sum(counts) for counts in rows["by_layer"]])
        spread = shares.std(axis=0, ddof=1) if len(shares) > 1 else None
        axes.bar(range(shares.shape[1]), shares.mean(axis=0), yerr=spread, color="C0")
        axes.axhline(1 / shares.shape[1], color="0.3", linestyle=":")
        axes.set(title=cell_name(model, task, many), ylabel="share of the set")
        axes.set(xlabel="layer (0 = embeddings)", xticks=range(shares.shape[1]))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return figures.finish(figure)


def overlap_maps(found: pd.DataFrame, expected: float) -> Figure:
    """Jaccard index of the first tenths of two tasks, a panel per model."""
    if found.empty:
        return figures.nothing("one seed: nothing to compare")
    cells = list(found.groupby("model", sort=False))
    figure, panels = figures.stacked(len(cells), 0.42 * found["one"].nunique() + 2)
    for axes, (model, rows) in zip(panels, cells, strict=True):
        names = list(dict.fromkeys([*rows["one"], *rows["other"]]))
        wide = rows.pivot_table(index="one", columns="other", values="jaccard")
        matrix = wide.reindex(index=names, columns=names).to_numpy(dtype=float)
        axes.set_facecolor("0.85")
        image = axes.imshow(matrix, vmin=0, vmax=1, cmap="cividis", aspect="auto")
        for (row, column), value in np.ndenumerate(matrix):
            text = "–" if np.isnan(value) else f"{value:.2f}".lstrip("0")
            tone = "white" if value < 0.5 else "black"
            axes.text(column, row, text, ha="center", va="center", color=tone, fontsize=8)
        axes.set_yticks(range(len(names)), names)
        axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
        axes.set_title(f"{encoders.title(model)} (by chance {expected:.2f})")
        axes.grid(False)
        figure.colorbar(image, ax=axes, label="Jaccard index", shrink=0.8)
    return figures.finish(figure)


def _entry(place: int) -> dict:
    """How the line of one task is drawn where several share a panel."""
    return {
        "color": f"C{place % 10}",
        "marker": figures.MARKERS[place % len(figures.MARKERS)],
        "linestyle": figures.DASHES[place // 10 % len(figures.DASHES)],
        "markersize": 5,
    }


def threshold_curves(found: pd.DataFrame) -> Figure:
    """Share of the oracle's score that one neuron per cluster keeps, and what the choice does."""
    cells = list(found.groupby(["model", "task"], sort=False))
    figure, (upper, lower) = figures.stacked(2, 3.4)
    for place, ((model, task), rows) in enumerate(cells):
        at, label = rows.groupby("threshold"), cell_name(model, task, found["model"].nunique() > 1)
        for axes, column, unit in ((upper, "kept", 100), (lower, "apart", 1)):
            mean, spread = unit * at[column].mean(), unit * at[column].std().fillna(0)
            axes.errorbar(mean.index, mean, spread, label=label, **_entry(place))
    upper.axhline(100, color="0.4", linewidth=1)
    lower.axhline(0, color="0.4", linewidth=1)
    upper.set(ylabel="score kept (% of the oracle's)")
    lower.set(xlabel="clustering threshold", ylabel="closest less drawn (points)")
    figures.legend_below(figure, upper)
    return figures.finish(figure)


def narrowing(found: pd.DataFrame, tolerance: float) -> Figure:
    """Neurons left and score kept after each step, a line per task, at one tolerance."""
    shown = found[found["clusters"].astype(bool) & (found["tolerance"] == tolerance)]
    figure, (upper, lower) = figures.stacked(2, 3.2)
    for place, ((model, task), rows) in enumerate(shown.groupby(["model", "task"], sort=False)):
        label = cell_name(model, task, found["model"].nunique() > 1)
        for axes, column in ((upper, "neurons"), (lower, "scores")):
            numbers = array(rows[column].tolist())
            share = 100 * numbers / numbers[:, :1]
            mean = share.mean(axis=0)
            bars = np.abs([share.min(axis=0), share.max(axis=0)] - mean)  # stay above 0: log axis
            axes.errorbar(STEPS, mean, bars, label=label, **_entry(place))
    upper.set(yscale="log", ylabel="neurons left (%)")
    upper.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    upper.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))
    lower.axhline(100, color="0.4", linewidth=1)
    lower.set(ylabel="score kept (% of the oracle's)", xlabel="after step")
    figures.legend_below(figure, upper)
    return figures.finish(figure)
