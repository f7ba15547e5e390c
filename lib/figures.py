"""The only plotter: figures of the pages, drawn from records alone.

Every figure reads without colour too (line style, marker, position or number), uses a palette that
the colour-blind can tell apart, and stacks its panels, so that it can be read on a phone. Functions
take what :func:`lib.experiments.fill` returns and give a matplotlib figure.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from lib import encoders
from lib.report import (
    Table,
    array,
    cell_name,
    cells_of,
    mean_and_spread,
    only,
    redundant_share,
    task_title,
)

WIDTH = 6  # inches, of every figure
LINES = {"trained": "-", "random": "--"}
MARKERS = "osD^vPX"
DASHES = ("-", "--", ":")
SIZES = {1: "1", 2: "2", 5: "3 to 5", 10: "6 to 10"}  # classes of cluster size, by upper edge
sns.set_theme(
    context="notebook",
    style="ticks",
    palette="colorblind",
    rc={"figure.dpi": 140, "axes.grid": True, "grid.alpha": 0.3, "axes.spines.right": False}
    | {"axes.spines.top": False, "legend.frameon": False, "font.size": 10, "axes.titlesize": 11},
)


def finish(figure: Figure) -> Figure:
    """Leave the figure to the cell that asked for it, so that it is not shown twice."""
    plt.close(figure)
    return figure


def nothing(what: str = "no run of this grid is in yet") -> Figure:
    """An empty frame that says why it is empty."""
    figure, axes = plt.subplots(figsize=(WIDTH, 1), layout="constrained")
    axes.text(0.5, 0.5, what, ha="center", va="center")
    axes.set(xticks=[], yticks=[])
    return finish(figure)


def stacked(count: int, height: float, rest: float = 0.8) -> tuple[Figure, list[Axes]]:
    """Panels one below the other, each some inches high, with a rest for legend and margins."""
    size = (WIDTH, height * count + rest)
    figure, grid = plt.subplots(count, 1, figsize=size, squeeze=False, layout="constrained")
    return figure, list(grid[:, 0])


def _layer_axis(axes: Axes, n_layers: int, label: str = "layer (0 = embeddings)") -> None:
    axes.set_xticks(range(n_layers))
    axes.set_xlabel(label)


def _curves(axes: Axes, table: Table, key: str) -> None:
    """One line per cell and kind of weights over the layers, with the spread over seeds.

    A line is named by its text, where there are several models by its model too.
    """
    cells = cells_of(table)
    names = list(dict.fromkeys((model, task) for (model, task, _), _ in cells))
    many = len({model for model, _ in names}) > 1
    for (model, task, weights), values in cells:
        mean, spread = mean_and_spread(values, key)
        place = names.index((model, task))
        axes.errorbar(
            np.arange(len(mean)),
            mean,
            spread,
            color=f"C{place}",
            linestyle=LINES[weights],
            marker=MARKERS[place % len(MARKERS)],
            markersize=5,
            fillstyle="full" if weights == "trained" else "none",
            label=f"{cell_name(model, task, many)}{', random' if weights == 'random' else ''}",
        )


def legend_below(figure: Figure, axes: Axes) -> None:
    """Trained weights in the first column, random ones in the second."""
    entries = sorted(zip(*axes.get_legend_handles_labels(), strict=True), key=_is_random)
    figure.legend(*zip(*entries, strict=True), loc="outside lower center", ncols=2)


def _is_random(entry: tuple) -> bool:
    return entry[1].endswith(", random")


def scale_curves(table: Table) -> Figure:
    """Size of the vectors of each layer, and the share that the largest neuron has of it."""
    figure, (upper, lower) = stacked(2, 3.2, rest=0)
    for axes, key in ((upper, "rms"), (lower, "largest_share")):
        _curves(axes, table, key)
        _layer_axis(axes, len(table[0][1][key]))
    upper.set(ylabel="root mean square", ylim=(0, None))
    lower.set(ylabel="largest neuron's share", ylim=(0, 1))
    lower.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    legend_below(figure, upper)
    return finish(figure)


def heat_maps(table: Table, key: str = "cka") -> Figure:
    """Layers against layers, one panel per text and kind of weights, one colour scale for all."""
    cells = cells_of(table)
    rows = list(dict.fromkeys((model, task) for (model, task, _), _ in cells))
    columns = list(dict.fromkeys(weights for (_, _, weights), _ in cells))
    many = len({model for model, _ in rows}) > 1
    size = (3.1 * len(columns) + 0.9, 3.1 * len(rows) + 0.4)
    figure, grid = plt.subplots(
        len(rows), len(columns), figsize=size, squeeze=False, layout="constrained"
    )
    for (model, task, weights), values in cells:
        axes = grid[rows.index((model, task)), columns.index(weights)]
        image = _heat_map(axes, mean_and_spread(values, key)[0])
        name = (
            f"{encoders.title(model)}\n" if many else ""
        )  # on a line of its own: panels are narrow
        axes.set_title(f"{name}{task_title(task)}, {weights}")
    for axes in grid[:, 0]:
        axes.set_ylabel("layer")
    for axes in grid[-1]:
        axes.set_xlabel("layer (0 = embeddings)")
    figure.colorbar(image, ax=grid, label="linear CKA", shrink=0.5)
    return finish(figure)


def _heat_map(axes: Axes, matrix: np.ndarray):
    """One matrix, layer 0 at the lower left; undefined cells hatched, numbers where they fit."""
    axes.set_facecolor("0.85")
    image = axes.imshow(matrix, vmin=0, vmax=1, cmap="cividis", origin="lower")
    axes.grid(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    for (row, column), value in np.ndenumerate(matrix):
        if np.isnan(value):
            axes.text(column, row, "/", ha="center", va="center", color="0.3", fontsize=8)
        elif len(matrix) <= 8:
            tone = "white" if value < 0.5 else "black"
            text = f"{value:.2f}".lstrip("0")
            axes.text(column, row, text, ha="center", va="center", color=tone, fontsize=8)
    return image


def neighbour_curves(table: Table) -> Figure:
    """CKA of each layer with the next, over the layers: a panel per model."""
    pairs = [(run, {"next": np.diagonal(array(v["cka"]), offset=1)}) for run, v in table]
    names = list(dict.fromkeys(run.model for run, _ in pairs))
    figure, panels = stacked(len(names), 2.9)
    for axes, model in zip(panels, names, strict=True):
        own = only(pairs, model=model)
        _curves(axes, own, "next")
        _layer_axis(axes, len(own[0][1]["next"]), "layer, compared with the one above it")
        axes.set(title=encoders.title(model), ylabel="linear CKA", ylim=(0, 1.02))
    legend_below(figure, panels[0])
    return finish(figure)


def cluster_curves(table: Table) -> Figure:
    """Share of redundant neurons against the threshold, all neurons and without constant ones."""
    figure, pair = stacked(2, 3.4, rest=0)
    for axes, without in zip(pair, (False, True), strict=True):
        shares = [
            (run, {"share": list(redundant_share(v, without_constant=without).values())})
            for run, v in table
        ]
        _curves(axes, shares, "share")
        axes.set_title("without constant neurons" if without else "all neurons")
        axes.set_xticks(range(len(table[0][1]["clusters"])), table[0][1]["clusters"])
        axes.set(xlabel="clustering threshold on 1 - |r|", ylabel="redundant neurons", ylim=(0, 1))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    legend_below(figure, pair[0])
    return finish(figure)


def _panels(table: Table, weights: str) -> tuple[Figure, list[Axes], list]:
    """One panel per model and text, for one kind of weights."""
    cells = [cell for cell in cells_of(table) if cell[0][2] == weights] or cells_of(table)
    figure, panels = stacked(len(cells), 2.6)
    many = len({model for (model, _, _), _ in cells}) > 1
    for axes, ((model, task, _), _) in zip(panels, cells, strict=True):
        axes.set_title(cell_name(model, task, many))
    return figure, panels, cells


def size_bars(table: Table, *, weights: str = "trained") -> Figure:
    """Where neurons live: share of neurons in clusters of each size, at each threshold."""
    figure, panels, cells = _panels(table, weights)
    names = [*SIZES.values(), f"more than {max(SIZES)}"]
    for axes, (_, values) in zip(panels, cells, strict=True):
        shares = np.mean([_size_shares(v) for v in values], axis=0)
        bottom = np.zeros(len(shares))
        for place, name in enumerate(names):
            axes.bar(
                list(values[0]["sizes"]),
                shares[:, place],
                bottom=bottom,
                label=name,
                color=sns.color_palette("cividis", len(names))[place],
                edgecolor="white",
                linewidth=0.5,
            )
            bottom += shares[:, place]
        axes.set(xlabel="clustering threshold", ylabel="neurons", ylim=(0, 1))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.grid(False)
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=5, title="neurons in the cluster")
    return finish(figure)


def _size_shares(values: dict) -> list[list[float]]:
    """Per threshold, the share of neurons in clusters of each class of size."""
    shares = []
    for histogram in values["sizes"].values():
        part = np.zeros(len(SIZES) + 1)
        for size, count in histogram.items():
            part[np.searchsorted(list(SIZES), int(size))] += int(size) * count
        shares.append(part / values["neurons"])
    return shares


def window_bars(table: Table, threshold: float) -> Figure:
    """How many layers the clusters of two or more neurons span, at one threshold."""
    figure, panels, cells = _panels(table, "trained")
    for axes, (_, values) in zip(panels, cells, strict=True):
        counts = np.stack([_window_counts(v, threshold) for v in values])
        spread = counts.std(axis=0, ddof=1) if len(counts) > 1 else None
        axes.bar(range(1, counts.shape[1] + 1), counts.mean(axis=0), yerr=spread, color="C0")
        axes.set_xticks(range(1, counts.shape[1] + 1))
        axes.set(xlabel="window (layers spanned)", ylabel="clusters of two or more")
    top = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(0, top)
    return finish(figure)


def _window_counts(values: dict, threshold: float) -> np.ndarray:
    histogram = values["windows_of_several"][str(threshold)]
    return np.array([histogram.get(str(w), 0) for w in range(1, values["layers"] + 1)])


def example_lines(example: dict) -> Figure:
    """Neurons of one cluster, word by word over a few sentences, in standard deviations."""
    figure, panels = stacked(len(example["words"]), 3.2, rest=0)
    begin = 0
    for axes, words in zip(panels, example["words"], strict=True):
        for place, (layer, neuron) in enumerate(example["neurons"]):
            axes.plot(
                example["values"][place][begin : begin + len(words)],
                marker=MARKERS[place],
                markersize=5,
                color=f"C{place}",
                label=f"layer {layer}, neuron {neuron}",
            )
        axes.set_xticks(range(len(words)), words, rotation=40, ha="right")
        axes.set_ylabel("standard deviations")
        begin += len(words)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return finish(figure)
