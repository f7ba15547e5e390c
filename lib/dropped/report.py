"""Tables of the pages on dropping blocks, from records alone.

A loss is in points: 100 times the score of the whole model minus that of the smaller one, seed by
seed, in the task's own metric.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lib import dropping, models
from lib.profiles import WHOLE, Profile, cut_of
from lib.report import Table, task_title

COLUMNS = ["model", "task", "strategy", "k", "share", "seed", "score", "loss", "kept", "constant"]


def kept_table(n_blocks: int, ks: Sequence[int], similarity: Sequence[float]) -> pd.DataFrame:
    """Which blocks each strategy keeps: rows (strategy, k), a column of True or False per block."""
    rows = {}
    for strategy in dropping.STRATEGIES:
        for k in ks:
            if k <= dropping.most_dropped(strategy, n_blocks):
                keep = dropping.blocks_to_keep(strategy, n_blocks, k, similarity=similarity)
                rows[strategy, k] = [block in keep for block in range(n_blocks)]
    return pd.DataFrame(rows).T.rename_axis(["strategy", "k"])


def _frame(rows: dict[tuple, dict | list], *names: str) -> pd.DataFrame:
    """One row per entry, its key spread over the index."""
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index = pd.MultiIndex.from_tuples(frame.index, names=names)
    return frame


def similarity_table(table: Table) -> pd.DataFrame:
    """Similarity of each block's output with its input: one row per model, task and weights."""
    rows = {
        (models.title(run.model), task_title(run.task), run.setting): values["similarity"]
        for run, values in table
    }
    return _frame(rows, "model", "task", "weights").rename_axis(columns="block")


def ladder(table: Table, weights: str = "trained") -> pd.DataFrame:
    """Blocks in the order in which ``contribution`` drops them, the first to go first."""
    rows = {
        (models.title(run.model), task_title(run.task)): dropping.most_similar(values["similarity"])
        for run, values in table
        if run.setting == weights
    }
    frame = _frame(rows, "model", "task")
    return frame.rename(columns=lambda place: f"{place + 1}.").rename_axis(columns="goes")


def losses(table: Table) -> pd.DataFrame:
    """Every run beside the whole model of its seed.

    Returns
    -------
    DataFrame
        Columns ``model``, ``task``, ``strategy``, ``k``, ``share`` (of the blocks dropped),
        ``seed``, ``score``, ``loss`` (points), ``kept`` (share of the score), ``constant``. A run
        whose whole model is not in is left out.
    """
    whole = {(r.model, r.task, r.seed): v["score"] for r, v in table if r.setting == WHOLE}
    rows = []
    for run, values in table:
        cell = (run.model, run.task, run.seed)
        if cell not in whole:
            continue
        strategy, k = cut_of(run.setting)
        rows.append(
            {
                "model": run.model,
                "task": run.task,
                "strategy": strategy,
                "k": k,
                "share": k / models.blocks(run.model),
                "seed": run.seed,
                "score": values["score"],
                "loss": 100 * (whole[cell] - values["score"]),
                "kept": values["score"] / whole[cell] if whole[cell] > 0 else np.nan,
                "constant": values["constant"],
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def complete(settings: Profile, found: pd.DataFrame) -> pd.DataFrame:
    """Only the models, tasks and seeds for which every cut of the grid is in.

    An average over tasks compares strategies fairly only if each was run on the same ones.
    """
    size = found.groupby(["model", "task", "seed"])["score"].transform("size")
    return found[size == found["model"].map(lambda model: len(settings.cuts(model)))]


def grid_table(settings: Profile, found: pd.DataFrame) -> pd.DataFrame:
    """How much of each task's grid is in, the whole model's score and a constant answer's."""
    able, rows = learned(found), {}
    for model in settings.models:
        for task in settings.tuned_on:
            here = found[(found["model"] == model) & (found["task"] == task)]
            whole = here[here["strategy"] == WHOLE]
            rows[models.title(model), task_title(task)] = {
                "runs in": f"{len(here)} of {len(settings.cuts(model)) * len(settings.restarts)}",
                "whole model": _mean_pm(whole["score"]),
                "constant answer": _mean_pm(whole["constant"].drop_duplicates()),
                "learned": "yes" if able.get(task) else "not run" if here.empty else "no",
            }
    frame = pd.DataFrame(rows).T
    return frame.rename_axis(["model", "task"])


def by_strategy(found: pd.DataFrame) -> pd.DataFrame:
    """Mean loss over tasks and seeds, of each strategy at each number of blocks dropped."""
    cut = found[found["strategy"] != WHOLE]
    return cut.pivot_table(index=["model", "strategy"], columns="k", values="loss", sort=False)


def by_task(settings: Profile, found: pd.DataFrame) -> pd.DataFrame:
    """Score of every cut on every task, mean over seeds with its spread; a dash where it lacks."""
    rows = {}
    for model in settings.models:
        for cut in settings.cuts(model):
            strategy, k = cut_of(cut)
            same = found[(found["model"] == model) & (found["strategy"] == strategy)]
            same = same[same["k"] == k]
            cells = {t: _mean_pm(same[same["task"] == t]["score"]) for t in settings.tuned_on}
            name = (models.title(model), strategy, k)
            rows[name] = {task_title(task): cell for task, cell in cells.items()}
    frame = pd.DataFrame(rows).T
    return frame.rename_axis(["model", "strategy", "k"])


def _mean_pm(scores: pd.Series) -> str:
    if scores.empty:
        return "–"
    spread = f" ± {100 * scores.std():.1f}" if len(scores) > 1 else ""
    return f"{100 * scores.mean():.1f}{spread}"


def can_go(found: pd.DataFrame, tolerances: Sequence[float]) -> pd.DataFrame:
    """Most blocks that can be dropped from the top at a loss of at most so many points.

    Rows (model, task), one column per tolerance: the largest k such that dropping k, and every
    smaller number, stays within the tolerance in the mean over seeds.
    """
    top = found[found["strategy"].isin(["top", WHOLE])]
    mean = top.pivot_table(index=["model", "task"], columns="k", values="loss", sort=False)
    rows = {
        (models.title(model), task_title(task)): {
            f"{points:g} point{'s' * (points != 1)}": _run_length(line.dropna() <= points)
            for points in tolerances
        }
        for (model, task), line in mean.iterrows()
    }
    return _frame(rows, "model", "task")


def _run_length(within: pd.Series) -> int:
    """Last k before the first that is not within; k = 0, the whole model, always is."""
    outside = within.index[~within]
    return int(outside.min() - 1 if len(outside) else within.index.max())


def learned(found: pd.DataFrame, points: float = 5.0) -> dict[str, bool]:
    """Tasks on which the whole model beats every constant answer by some points, in the mean."""
    whole = found[found["strategy"] == WHOLE].groupby("task", sort=False)
    return dict(100 * (whole["score"].mean() - whole["constant"].mean()) > points)
