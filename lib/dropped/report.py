"""Tables of the pages on dropping blocks, from records alone.

A loss is in points: 100 times the score of the whole model minus that of the smaller one, seed by
seed, in the task's own metric.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from lib import dropping, encoders
from lib.grids import WHOLE, Profile, cut_of
from lib.report import CLEAR, Table, array, indexed, mean_pm, task_title

COLUMNS = ["model", "task", "strategy", "k", "share", "seed", "score", "loss", "kept", "constant"]


def kept_table(n_blocks: int, ks: Sequence[int], similarity: Sequence[float]) -> pd.DataFrame:
    """Which blocks each strategy keeps: rows (strategy, k), a column of True or False per block."""
    rows = {}
    for strategy in dropping.PAPER_STRATEGIES:
        for k in ks:
            if k <= dropping.most_dropped(strategy, n_blocks):
                keep = dropping.blocks_to_keep(strategy, n_blocks, k, similarity=similarity)
                rows[strategy, k] = [block in keep for block in range(n_blocks)]
    return pd.DataFrame(rows).T.rename_axis(["strategy", "k"])


def similarity_table(table: Table) -> pd.DataFrame:
    """Similarity of each block's output with its input: one row per model, task and weights."""
    rows = {
        (encoders.title(run.model), task_title(run.task), run.setting): values["similarity"]
        for run, values in table
    }
    return indexed(rows, "model", "task", "weights").rename_axis(columns="block")


def ladder(table: Table, weights: str = "trained") -> pd.DataFrame:
    """Blocks in the order in which ``contribution`` drops them, the first to go first.

    Where models differ in depth, a dash stands behind the last block of the shallower one.
    """
    rows = {
        (encoders.title(run.model), task_title(run.task)): dropping.most_similar(
            values["similarity"]
        )
        for run, values in table
        if run.setting == weights
    }
    frame = indexed(rows, "model", "task").astype("Int64").astype(object).fillna("–")
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
                "share": k / encoders.blocks(run.model),
                "seed": run.seed,
                "score": values["score"],
                "loss": 100 * (whole[cell] - values["score"]),
                "kept": values["score"] / whole[cell] if whole[cell] > 0 else np.nan,
                "constant": values["constant"],
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def complete(found: pd.DataFrame, cuts: Callable[[str], list]) -> pd.DataFrame:
    """Only the models, tasks and seeds for which every one of a model's cuts is in.

    An average over tasks compares strategies fairly only if each was run on the same ones.
    """
    size = found.groupby(["model", "task", "seed"])["score"].transform("size")
    return found[size == found["model"].map(lambda model: len(cuts(model)))]


def grid_table(settings: Profile, found: pd.DataFrame) -> pd.DataFrame:
    """How much of each task's grid is in, the whole model's score and a constant answer's."""
    yes, rows = learned(found), {}
    for model in settings.models:
        for task in settings.tuned_on:
            here = found[(found["model"] == model) & (found["task"] == task)]
            whole = here[here["strategy"] == WHOLE]
            rows[encoders.title(model), task_title(task)] = {
                "runs in": f"{len(here)} of {len(settings.cuts(model)) * len(settings.restarts)}",
                "whole model": mean_pm(100 * whole["score"]),
                "constant answer": mean_pm(100 * whole["constant"].drop_duplicates()),
                "learned": "yes" if yes.get((model, task)) else "not run" if here.empty else "no",
            }
    frame = pd.DataFrame(rows).T
    return frame.rename_axis(["model", "task"])


def by_strategy(found: pd.DataFrame) -> pd.DataFrame:
    """Mean loss over tasks and seeds, of each strategy at each number of blocks dropped."""
    cut = found[found["strategy"] != WHOLE]
    mean = cut.pivot_table(index=["model", "strategy"], columns="k", values="loss", sort=False)
    return mean.sort_index(axis="columns")


def by_task(settings: Profile, found: pd.DataFrame) -> pd.DataFrame:
    """Score of every cut on every task, mean over seeds with its spread; a dash where it lacks."""
    rows = {}
    for model in settings.models:
        for cut in settings.cuts(model):
            strategy, k = cut_of(cut)
            same = found[(found["model"] == model) & (found["strategy"] == strategy)]
            same = same[same["k"] == k]
            cells = {t: mean_pm(100 * same[same["task"] == t]["score"]) for t in settings.tuned_on}
            name = (encoders.title(model), strategy, k)
            rows[name] = {task_title(task): cell for task, cell in cells.items()}
    frame = pd.DataFrame(rows).T
    return frame.rename_axis(["model", "strategy", "k"])


def can_go(found: pd.DataFrame, tolerances: Sequence[float]) -> pd.DataFrame:
    """Most blocks that can be dropped from the top at a loss of at most so many points.

    Rows (model, task), one column per tolerance: the largest k such that dropping k, and every
    smaller number, stays within the tolerance in the mean over seeds.
    """
    top = found[found["strategy"].isin(["top", WHOLE])]
    mean = top.pivot_table(index=["model", "task"], columns="k", values="loss", sort=False)
    rows = {
        (encoders.title(model), task_title(task)): {
            f"{points:g} point{'s' * (points != 1)}": _run_length(line.dropna() <= points)
            for points in tolerances
        }
        for (model, task), line in mean.iterrows()
    }
    return indexed(rows, "model", "task")


def _run_length(within: pd.Series) -> int:
    """Last k before the first that is not within; k = 0, the whole model, always is."""
    outside = within.index[~within]
    return int(outside.min() - 1 if len(outside) else within.index.max())


def spared(spare: pd.DataFrame) -> str:
    """The first row of :func:`can_go` in a sentence."""
    if spare.empty:
        return "No model of this page learned its task, so none has blocks to spare."
    model, task = spare.index[0]
    told = ", ".join(f"{blocks} for {points}" for points, blocks in spare.iloc[0].items())
    return f"On {task}, so many blocks of {model} can go: {told}."


def learned(found: pd.DataFrame) -> pd.Series:
    """Whether a whole model clearly beats every constant answer: (model, task), mean over seeds."""
    whole = found[found["strategy"] == WHOLE].groupby(["model", "task"], sort=False)
    return 100 * (whole["score"].mean() - whole["constant"].mean()) > CLEAR


def able(found: pd.DataFrame, rows: pd.DataFrame | None = None) -> pd.DataFrame:
    """Rows, of ``found`` or others, of models on tasks that they learned when they were whole.

    Where a whole model does not learn a task, dropping blocks from it can show nothing.
    """
    yes, rows = learned(found), found if rows is None else rows
    cells = zip(rows["model"], rows["task"], strict=True)
    return rows[np.array([bool(yes.get(cell)) for cell in cells], dtype=bool)]


def change_table(table: Table, measure: str) -> pd.DataFrame:
    """Likeness of each layer before and after fine-tuning, mean over seeds: rows (model, task)."""
    rows: dict[tuple, list] = {}
    for run, values in table:
        if run.setting == WHOLE:
            cell = (encoders.title(run.model), task_title(run.task))
            rows.setdefault(cell, []).append(array(values[measure]))
    means = {cell: np.mean(seeds, axis=0) for cell, seeds in rows.items()}
    return indexed(means, "model", "task").rename_axis(columns="layer")


def when_to_drop(settings: Profile, tuned: Table, dropped: Table) -> pd.DataFrame:
    """Losses of :func:`losses` for dropping ``before`` fine-tuning, ``after`` it, and ``again``.

    ``before`` are the runs of *top* for as many blocks as the other ways drop.
    """
    early = [(run, values) for run, values in dropped if cut_of(run.setting)[0] == "top"]
    found = losses([*early, *tuned])
    ways = {m: {cut_of(w)[1] for w in settings.ways(m)} for m in settings.models}
    asked = [k in ways[model] for model, k in zip(found["model"], found["k"], strict=True)]
    return found[asked].replace({"strategy": {"top": "before"}})


def all_ways(settings: Profile) -> Callable[[str], list]:
    """Names of all that :func:`when_to_drop` can hold of a model."""

    def named(model: str) -> list[str]:
        ways = settings.ways(model)
        return ways + [way.replace("after", "before") for way in ways if way.startswith("after")]

    return named


def frozen_table(found: pd.DataFrame) -> pd.DataFrame:
    """Scores with the lower part frozen, beside the whole model's: rows (model, task)."""
    rows = {}
    for (model, task), cell in found.groupby(["model", "task"], sort=False):
        frozen = cell[cell["strategy"] == "frozen"]
        rows[encoders.title(model), task_title(task)] = {
            "blocks frozen": ", ".join(map(str, frozen["k"].unique())) or "–",
            "frozen": mean_pm(100 * frozen["score"]),
            "whole": mean_pm(100 * cell[cell["strategy"] == WHOLE]["score"]),
        }
    return indexed(rows, "model", "task")


def across(found: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """Scores side by side: rows (model, task, k), a column per strategy; mean and spread."""
    rows = {}
    for (model, task, k), cell in found.groupby(["model", "task", "k"], sort=False):
        scores = {name: mean_pm(100 * cell[cell["strategy"] == name]["score"]) for name in order}
        rows[encoders.title(model), task_title(task), k] = scores
    return indexed(rows, "model", "task", "k")


def by_depth(dropped: pd.DataFrame, students: Table) -> pd.DataFrame:
    """Scores by the number of blocks left, and by how a model came to have so few.

    Parameters
    ----------
    dropped
        From :func:`losses`; strategies ``top`` and ``even``, and the whole model.
    students
        Records of ``distilled``.

    Returns
    -------
    DataFrame
        ``model``, ``task``, ``kind``, ``left``, ``seed``, ``score``, ``constant``. A published
        model whose parent is there too counts as the parent's, its kind being its own title.
    """
    rows, there = [], set(dropped["model"])
    for row in dropped.to_dict("records"):
        above = parent(row["model"], there)
        kind = encoders.title(row["model"]) if above else row["strategy"]
        left = encoders.blocks(row["model"]) - row["k"]
        if not above or row["strategy"] in (WHOLE, "top"):
            rows.append(row | {"model": above or row["model"], "kind": kind, "left": left})
    for run, values in students:
        cell = {"model": run.model, "task": run.task, "kind": "distilled", "seed": run.seed}
        cell |= {name: values[name] for name in ("score", "constant")}
        rows.append(cell | {"left": values["blocks"]})
    columns = ["model", "task", "kind", "left", "seed", "score", "constant"]
    return pd.DataFrame(rows, columns=columns)


def parent(name: str, there: set[str]) -> str | None:
    """The model that another was distilled from, if it is there."""
    known = encoders.MODELS.get(name)
    return known.parent if known and known.parent in there else None


def at_half(found: pd.DataFrame) -> pd.DataFrame:
    """Scores of all kinds at half of the blocks, beside the whole model's."""
    rows = {}
    for (model, task), cell in found.groupby(["model", "task"], sort=False):
        half = cell["left"] == encoders.blocks_at_half(model)
        shown = cell[half | (cell["kind"] == WHOLE)]
        kinds = shown.groupby("kind", sort=False)["score"]
        scores = {kind: mean_pm(100 * score) for kind, score in kinds}
        rows[encoders.title(model), task_title(task)] = scores
    return indexed(rows, "model", "task").fillna("–")


def distillations(students: Table) -> pd.DataFrame:
    """How each student was made: text, tokens, and how far it agrees with its teacher."""
    rows = {}
    for run, values in students:
        made = values["distillation"]
        rows[encoders.title(run.model), run.seed] = {
            "starts from blocks": ", ".join(map(str, made["keep"])),
            "text": task_title(made["text"]),
            "tokens": f"{made['tokens']:,}",
            "agreement before": f"{made['agreement']['before']:.3f}",
            "after": f"{made['agreement']['after']:.3f}",
        }
    return indexed(rows, "model", "seed")
