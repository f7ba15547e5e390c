"""Figures of the pages on dropping blocks, from the tables of :mod:`lib.dropped.report`."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from lib import encoders, figures
from lib.dropped.costs import WORK
from lib.grids import WHOLE
from lib.report import cell_name, task_title

GAP = 0.6  # between two strategies, in rows
KINDS = {"top": "dropped from the top", "even": "every second dropped"}


def kept_blocks(kept: pd.DataFrame) -> Figure:
    """A picture of the strategies: a row per strategy and k, a filled square per block kept."""
    strategies = list(dict.fromkeys(kept.index.get_level_values(0)))
    size = (figures.WIDTH, 0.27 * (len(kept) + GAP * len(strategies)) + 0.7)
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    places = []
    for row, ((strategy, _), blocks) in enumerate(kept.iterrows()):
        places.append(row + GAP * strategies.index(strategy))
        for block, stays in enumerate(blocks):
            colour = {"facecolor": "C0"} if stays else {"fill": False, "linestyle": ":"}
            box = Rectangle((block - 0.4, places[-1] - 0.4), 0.8, 0.8, edgecolor="C0", **colour)
            axes.add_patch(box)
    axes.set_yticks(places, [f"{strategy} {k}" for strategy, k in kept.index])
    axes.set_xticks(range(kept.shape[1]))
    axes.set(xlabel="block (0 = lowest)", ylabel="strategy and blocks dropped")
    axes.set(xlim=(-0.6, kept.shape[1] - 0.4), ylim=(places[-1] + 0.6, -0.6))
    axes.grid(False)
    return figures.finish(figure)


def similarity_curves(found: pd.DataFrame) -> Figure:
    """Similarity of each block's output with its input, tasks and random twins: a panel a model."""
    names = list(found.index.unique("model"))
    tasks = list(found.index.unique("task"))
    figure, panels = figures.stacked(len(names), 2.9)
    for (model, task, weights), line in found.iterrows():
        place, known = tasks.index(task), line.dropna()
        panels[names.index(model)].plot(
            known.index,
            known.astype(float),
            color=f"C{place % 10}",
            linestyle=figures.LINES[weights],
            marker=figures.MARKERS[place % len(figures.MARKERS)],
            fillstyle="full" if weights == "trained" else "none",
            label=task + (", random" * (weights == "random")),
        )
    for axes, model in zip(panels, names, strict=True):
        axes.set(xlabel="block (0 = lowest)", ylabel="cosine of input and output", title=model)
        axes.set_ylim(None, 1.02)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figures.legend_below(figure, panels[0])
    return figures.finish(figure)


def strategy_curves(mean: pd.DataFrame, label: str = "mean loss (points)") -> Figure:
    """Mean loss of each strategy against the number of blocks dropped, a panel per model."""
    if mean.empty:
        return figures.nothing("no task has all of its cuts in yet")
    names = list(dict.fromkeys(mean.index.get_level_values("model")))
    figure, panels = figures.stacked(len(names), 3.6)
    for axes, model in zip(panels, names, strict=True):
        curves = mean.loc[model].T.items()
        for place, (strategy, line) in enumerate((name, c.dropna()) for name, c in curves):
            axes.plot(
                line.index,
                line,
                color=f"C{place}",
                marker=figures.MARKERS[place % len(figures.MARKERS)],
                linestyle=figures.DASHES[place % 3],
                label=strategy,
            )
        axes.axhline(0, color="0.5", linewidth=1)
        axes.set(title=encoders.title(model), xlabel="blocks dropped", ylabel=label)
        axes.set_xticks(mean.loc[model].dropna(axis="columns", how="all").columns)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figures.finish(figure)


def top_curves(found: pd.DataFrame) -> Figure:
    """Score against blocks dropped from the top, a panel per task; a constant answer dotted."""
    top = found[found["strategy"].isin(["top", WHOLE])]
    if top.empty:
        return figures.nothing()
    tasks, names = top["task"].unique(), list(top["model"].unique())
    figure, panels = figures.stacked(len(tasks), 2.5, rest=0.6)
    for axes, task in zip(panels, tasks, strict=True):
        rows = top[top["task"] == task]
        for place, model in enumerate(names):
            scores = rows[rows["model"] == model].groupby("k")["score"].agg(["mean", "std"])
            axes.errorbar(
                scores.index,
                100 * scores["mean"],
                100 * scores["std"].fillna(0),
                color=f"C{place}",
                marker=figures.MARKERS[place % len(figures.MARKERS)],
                label=encoders.title(model),
            )
        axes.axhline(
            100 * rows["constant"].mean(), color="0.4", linestyle=":", label="constant answer"
        )
        axes.set(title=task_title(task), xlabel="blocks dropped from the top", ylabel="score")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figures.finish(figure)


def loss_map(found: pd.DataFrame, model: str) -> Figure:
    """Loss of each cut on each task for one model, in numbers and shades; blank where missing."""
    cut = found[(found["strategy"] != WHOLE) & (found["model"] == model)]
    if cut.empty:
        return figures.nothing()
    mean = cut.pivot_table(index=["strategy", "k"], columns="task", values="loss", sort=False)
    size = (figures.WIDTH, 0.3 * len(mean) + 1.4)
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    shown, most = mean.to_numpy(), max(np.nanmax(np.abs(mean.to_numpy())), 1e-9)
    axes.set_facecolor("0.85")
    image = axes.imshow(shown, cmap="PuOr_r", vmin=-most, vmax=most, aspect="auto")
    for (row, column), value in np.ndenumerate(shown):
        if not np.isnan(value):
            tone = "white" if abs(value) > 0.7 * most else "black"
            place = {"ha": "center", "va": "center", "color": tone, "fontsize": 8}
            axes.text(column, row, f"{value:.1f}", **place)
    axes.set_yticks(range(len(mean)), [f"{strategy} {k}" for strategy, k in mean.index])
    axes.set_xticks(range(mean.shape[1]), [task_title(t) for t in mean.columns], rotation=30)
    axes.set_ylabel("strategy and blocks dropped")
    axes.grid(False)
    figure.colorbar(image, ax=axes, label="loss (points)", shrink=0.6)
    return figures.finish(figure)


def change_curves(tables: dict[str, pd.DataFrame]) -> Figure:
    """Likeness of each layer before and after fine-tuning, a panel per measure."""
    figure, panels = figures.stacked(len(tables), 3.3)
    for axes, (measure, table) in zip(panels, tables.items(), strict=True):
        many = table.index.get_level_values("model").nunique() > 1
        for place, ((model, task), line) in enumerate(table.iterrows()):
            axes.plot(
                line.index,
                line.astype(float),
                color=f"C{place % 10}",
                marker=figures.MARKERS[place % len(figures.MARKERS)],
                linestyle=figures.DASHES[place % 3],
                label=f"{model}, {task}" if many else task,
            )
        axes.set(xlabel="layer (0 = embeddings)", ylabel=measure, ylim=(None, 1.02))
        axes.set(xticks=table.columns, xlim=(-0.3, len(table.columns) - 0.7))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figures.finish(figure)


def depth_curves(found: pd.DataFrame) -> Figure:
    """Score against blocks left, dropped or distilled: a panel per model and task."""
    if found.empty:
        return figures.nothing()
    cells = list(found.groupby(["model", "task"], sort=False))
    kinds = [kind for kind in dict.fromkeys(found["kind"]) if kind != WHOLE]
    figure, panels = figures.stacked(len(cells), 2.5, rest=0.6)
    many = found["model"].nunique() > 1
    for axes, ((model, task), rows) in zip(panels, cells, strict=True):
        for place, kind in enumerate(kinds):
            line = 100 * rows[rows["kind"] == kind].groupby("left")["score"].mean()
            style = {"linestyle": figures.DASHES[place % 3], "marker": figures.MARKERS[place]}
            axes.plot(line.index, line, color=f"C{place}", label=KINDS.get(kind, kind), **style)
        whole = 100 * rows[rows["kind"] == WHOLE]["score"].mean()
        axes.axhline(whole, color="0.4", linestyle="-", linewidth=1, label="whole model")
        constant = 100 * rows["constant"].mean()
        axes.axhline(constant, color="0.4", linestyle=":", label="constant answer")
        axes.set(title=cell_name(model, task, many), xlabel="blocks left", ylabel="score")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figures.finish(figure)


def cost_curves(found: pd.DataFrame) -> Figure:
    """Time of inference and of fine-tuning by blocks dropped, beside what operations predict."""
    if found.empty:
        return figures.nothing()
    figure, pair = figures.stacked(2, 3.6, rest=0)
    for axes, (work, title) in zip(pair, WORK.items(), strict=True):
        for place, (model, rows) in enumerate(found.groupby("model", sort=False)):
            share, colour = rows[f"{work} share"], f"C{place}"
            ends = [share - rows[f"{work} share least"], rows[f"{work} share most"] - share]
            style = {"marker": figures.MARKERS[place], "capsize": 3, "color": colour}
            axes.errorbar(rows["k"], share, ends, label=f"{model}, measured", **style)
            line = {"color": colour, "linestyle": ":", "label": f"{model}, counted"}
            axes.plot(rows["k"], rows[f"{work} predicted"], **line)
        axes.set(title=title, xlabel="blocks dropped from the top", ylabel="share of the time")
        axes.set_ylim(0, None)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(*pair[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figures.finish(figure)
