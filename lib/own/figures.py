"""The figure of the page on a reader's own model."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lib import figures


def losses(screened: pd.DataFrame, descended: pd.DataFrame, tolerance: float) -> Figure:
    """Loss against blocks dropped: every strategy untrained, below it the cuts fine-tuned.

    Parameters
    ----------
    screened, descended
        From :func:`lib.own.smaller.screen` and :func:`lib.own.smaller.descend`.
    tolerance
        Points that may be lost: a line.
    """
    size = (figures.WIDTH, 7)
    figure, (upper, lower) = plt.subplots(2, 1, figsize=size, sharex=True, layout="constrained")
    for place, (strategy, line) in enumerate(screened.groupby("strategy", sort=False)):
        marker, style = figures.MARKERS[place % len(figures.MARKERS)], figures.DASHES[place % 3]
        look = {"color": f"C{place}", "marker": marker, "linestyle": style}
        upper.plot(line["k"], line["loss"], label=strategy, **look)
    lower.plot(descended["k"], descended["loss"], color="black", marker="o", label="best cut")
    lower.axhline(tolerance, color="0.3", linestyle="--", label="tolerance")
    upper.set(title="before training", ylabel="loss on dev (points)")
    lower.set(title="after fine-tuning", ylabel="loss on dev (points)", xlabel="blocks dropped")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (upper, lower):
        axes.axhline(0, color="0.5", linewidth=1)
    entries = zip(*(axes.get_legend_handles_labels() for axes in (upper, lower)), strict=True)
    figure.legend(
        *(first + second for first, second in entries), loc="outside lower center", ncols=3
    )
    return figures.finish(figure)
