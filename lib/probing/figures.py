"""Figures of the pages on task-specific redundancy, from records alone."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib import figures
from lib.report import Table, array, cell_name, cells_of

KINDS = {  # lines of the layer figure: (weights, entry, control) and how they are drawn
    "layers 0 to i": ("trained", "together", False, "C0", "o", "-"),
    "layer i alone": ("trained", "alone", False, "C1", "s", "--"),
    "layers 0 to i, random": ("random", "together", False, "C2", "D", ":"),
    "layers 0 to i, control": ("trained", "together", True, "C3", "^", "-."),
}


def _stacked(count: int, height: float = 2.6) -> tuple[Figure, list[Axes]]:
    """Panels one below the other."""
    size = (figures.WIDTH, height * count + 0.8)
    figure, grid = plt.subplots(count, 1, figsize=size, squeeze=False, layout="constrained")
    return figure, list(grid[:, 0])


def _named(table: Table) -> list[tuple[str, str]]:
    return list(dict.fromkeys((run.model, run.task) for run, _ in table))


def _legend(figure: Figure, panels: list[Axes]) -> None:
    """One legend for all panels, each name once."""
    handles = {}
    for axes in panels:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=2)


def layer_curves(table: Table) -> Figure:
    """Score on test of each layer alone and of the layers up to it, a panel per task."""
    names = _named(table)
    figure, panels = _stacked(len(names))
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
    if cells:
        figures.legend_below(figure, axes)
    return figures.finish(figure)
