"""The claims of paper B beside what was measured: one row per claim, with its verdict.

A model counts on the tasks that it learned when it was whole; where there is none, a claim cannot
be tested.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from lib import encoders
from lib.dropped.report import able, by_strategy, learned
from lib.dropping import STRATEGIES
from lib.grids import WHOLE
from lib.report import Test, claim_table, task_title

ROBUST = ("mrpc", "qqp", "stsb")  # paraphrase detection and sentence similarity, of B4
PRUNED, KEPT = 0.4, 0.98  # B1: at most this share of the blocks goes, this share of the score stays
HALF_LOSS = 3.28  # B7: points, the larger of its average losses
THIRD_LOSS = 2.0  # B8: points on every task
DIFFER = 0.5  # B5: points; ours, the paper gives no number
ON_PAR = 1.0  # B2: points; ours, the paper gives no number
ROUNDING = 1e-9
NOT_IN = "no task has all of its runs in yet"
NOT_LEARNED = "no task that the whole model learned"
SAME_TASKS = "needs a BERT and an XLNet of one depth that learned the same task"


def _extreme(found: pd.DataFrame, strategy: str, most: Callable) -> tuple[list[bool], str]:
    """Is a strategy the one with the most extreme mean loss, at every number of blocks."""
    mean = by_strategy(found)
    holds, told = [], []
    many = mean.index.get_level_values("model").nunique() > 1
    for model, losses in mean.groupby(level="model", sort=False):
        for k, column in losses.droplevel("model").items():
            shared = column.dropna()
            if strategy in shared and len(shared) > 1:
                holds.append(bool(shared[strategy] == most(shared)))
                ends = {name: loss for name, loss in shared.items() if loss == most(shared)}
                name = f"{encoders.title(model)}, " if many else ""
                told.append(f"{name}k = {k}: {', '.join(ends)}")
    return holds, "; ".join(told)


def _lowest(found: pd.DataFrame) -> tuple[list[bool], str]:
    holds, told = _extreme(found, "bottom", max)
    return holds, f"loses most at {told}" if told else ""


def _best(found: pd.DataFrame) -> tuple[list[bool], str]:
    holds, told = _extreme(found, "top", min)
    return holds, f"loses least at {told}" if told else ""


def _from_top(found: pd.DataFrame, share: float) -> pd.DataFrame:
    """Runs from which this share of the blocks was dropped from the top."""
    return found[(found["strategy"] == "top") & ((found["share"] - share).abs() < ROUNDING)]


def _robust(found: pd.DataFrame) -> tuple[list[bool], str]:
    """With half of the blocks dropped from the top: the named tasks lose less than the others."""
    half = _from_top(found, 1 / 2)
    kind = half["task"].isin(ROBUST)
    if not kind.any() or kind.all():
        return [], "needs tasks of both kinds"
    named, others = half[kind]["loss"].mean(), half[~kind]["loss"].mean()
    return [bool(named < others)], f"lose {named:.1f} points, the others {others:.1f}"


def _pruned(found: pd.DataFrame) -> tuple[list[bool], str]:
    """Best share of the score kept by a strategy, in the mean, at the claimed share of blocks."""
    cut = found[(found["strategy"] != WHOLE) & (found["share"] <= PRUNED + ROUNDING)]
    if cut.empty:
        return [], "no cut of that size"
    cut = cut[cut["share"] > cut.groupby("model")["share"].transform("max") - ROUNDING]
    kept = cut.groupby(["model", "strategy"], sort=False)["kept"].mean()
    best = kept.groupby(level="model", sort=False).max()
    told = f"{kept.idxmax()[1]} keeps {kept.max():.1%} with {cut['share'].max():.0%} dropped"
    return [bool(value >= KEPT) for value in best], told


def _third(found: pd.DataFrame) -> tuple[list[bool], str]:
    """Mean loss of each task with a third of the blocks dropped from the top."""
    third = _from_top(found, 1 / 3)
    loss = third.groupby("task", sort=False)["loss"].mean()
    told = ", ".join(f"{task_title(task)} {points:.1f}" for task, points in loss.items())
    return [bool(points <= THIRD_LOSS) for points in loss], f"points lost: {told}"


def _half(found: pd.DataFrame) -> tuple[list[bool], str]:
    """Mean loss over tasks with half of the blocks dropped from the top, model by model."""
    half = _from_top(found, 1 / 2)
    loss = half.groupby("model", sort=False)["loss"].mean()
    told = ", ".join(f"{points:.1f}" for points in loss)
    return [bool(points <= HALF_LOSS) for points in loss], f"points lost in the mean: {told}"


def _on_par(depth: pd.DataFrame) -> tuple[list[bool], str]:
    """With half of the blocks left: dropped from the top is not far below any distilled model."""
    half = depth[depth["left"] == depth["model"].map(encoders.blocks_at_half)]
    mean = half.pivot_table("score", ["model", "task"], "strategy")
    apart = [
        100 * (mean["top"] - mean[kind]).groupby(level="model").mean().dropna()
        for kind in mean.columns
        if kind not in STRATEGIES and "top" in mean
    ]
    found = pd.concat(apart) if apart else pd.Series(dtype=float)
    told = ", ".join(f"{points:+.1f}" for points in found)
    return [bool(points >= -ON_PAR) for points in found], f"points above the distilled: {told}"


def _again(found: pd.DataFrame) -> tuple[list[bool], str]:
    """Dropping from the tuned model and tuning again is not better than dropping before."""
    if not {"before", "again"} <= set(found["strategy"]):
        return [], NOT_IN
    mean = by_strategy(found)
    better = (mean.xs("before", level="strategy") - mean.xs("again", level="strategy")).stack()
    told = ", ".join(f"k = {k}: {points:+.1f}" for (_, k), points in better.items())
    return [bool(points <= 0) for points in better], f"points that again is above before: {told}"


def _change(cosine: pd.DataFrame, families: dict[str, str]) -> tuple[list[bool], str]:
    """Where fine-tuning changes most, by thirds of the layers: top of BERT, middle of XLNet."""
    holds, told = [], []
    for (model, task), layers in cosine.iterrows():
        low, middle, high = (part.mean() for part in np.array_split(layers.to_numpy()[1:], 3))
        expected = EXPECTED.get(families[model])
        if expected:
            holds += [bool(yes) for yes in expected(low, middle, high)]
            told.append(f"{task} {low:.2f}, {middle:.2f}, {high:.2f}")
    return holds, f"cosine of lower, middle and upper third: {'; '.join(told)}"


EXPECTED = {
    "bert": lambda low, middle, high: (low > middle, middle > high),
    "xlnet": lambda low, middle, high: (middle < low, middle < high),
}


def _objectives(found: pd.DataFrame) -> tuple[list[bool], str]:
    """Half of the blocks gone from the top, a BERT and an XLNet as deep lose differently much."""
    half = _from_top(found, 1 / 2)
    cells = [half["model"].map(encoders.blocks).rename("blocks"), half["task"]]
    lost = half.pivot_table("loss", cells, half["model"].map(encoders.architecture))
    mean = lost.reindex(columns=["bert", "xlnet"]).dropna().groupby("blocks").mean()
    if mean.empty:
        return [], SAME_TASKS
    told = "; ".join(f"BERT {bert:.1f}, XLNet {xlnet:.1f}" for bert, xlnet in mean.to_numpy())
    holds = [bool(abs(bert - xlnet) > DIFFER) for bert, xlnet in mean.to_numpy()]
    return holds, f"points lost: {told}"


def _worst(found: pd.DataFrame) -> tuple[list[bool], str]:
    """At every number of blocks, XLNet loses most by another strategy than BERT."""
    mean = by_strategy(found)
    families = mean.index.get_level_values("model").map(encoders.architecture)
    pair = [mean[families == name] for name in ("bert", "xlnet")]
    shared = [k for k in mean if all(part[k].notna().any() for part in pair)]
    worst = {k: [part[k].idxmax()[1] for part in pair] for k in shared}
    told = "; ".join(f"k = {k}: {bert}, {xlnet}" for k, (bert, xlnet) in worst.items())
    holds = [bert != xlnet for bert, xlnet in worst.values()]
    return holds, f"BERT, XLNet lose most by {told}" if told else "needs a BERT and an XLNet"


GRID = {"B1": _pruned, "B3": _lowest, "B4": _robust, "B6": _best}
DEPTH = {"B5": _objectives, "B7": _half, "B8": _third}
WORDS = {"B3": _lowest, "B5": _worst, "B6": _best}


def _judged(found: pd.DataFrame, tests: dict[str, Test]) -> pd.DataFrame:
    """Claims tested on the tasks that the whole model learned."""
    if found.empty:
        return claim_table(found, tests, NOT_IN)
    usable = able(found)
    return claim_table(usable, tests, NOT_LEARNED if usable.empty else "")


def of_grid(found: pd.DataFrame) -> pd.DataFrame:
    """Claims on strategies, from :func:`lib.dropped.report.complete` losses."""
    return _judged(found, GRID)


def of_words(found: pd.DataFrame) -> pd.DataFrame:
    """Claims on strategies with words as the task, from :func:`lib.dropped.words.losses`."""
    return claim_table(found, WORDS)


def of_distilled(depth: pd.DataFrame) -> pd.DataFrame:
    """The claim on distilled models, from :func:`lib.dropped.report.by_depth`."""
    return _judged(depth.rename(columns={"kind": "strategy"}), {"B2": _on_par})


def of_tuning(
    found: pd.DataFrame, every: pd.DataFrame, cosine: pd.DataFrame, families: dict[str, str]
) -> pd.DataFrame:
    """Claims on what fine-tuning changes and when to drop.

    Parameters
    ----------
    found, every
        Losses from :func:`lib.dropped.report.when_to_drop`, and the complete ones among them.
    cosine
        From :func:`lib.dropped.report.change_table`.
    families
        Architecture of each model, by its title.
    """
    cells = {
        (encoders.title(m), task_title(task)) for (m, task), yes in learned(found).items() if yes
    }
    shown = cosine[cosine.index.isin(cells)]
    tests = {"B9": lambda _: _change(shown, families), "B10": lambda _: _again(able(found, every))}
    return _judged(found, tests)


def of_depth(found: pd.DataFrame) -> pd.DataFrame:
    """Claims on how much can go from the top, from :func:`lib.dropped.report.losses`."""
    return _judged(found, DEPTH)
