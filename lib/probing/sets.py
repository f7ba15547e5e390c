"""Tables of the page on neurons: the smallest sets that are enough, and what sets share."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from lib import encoders
from lib.probing.rankings import KEPT
from lib.probing.report import able
from lib.report import Table, Test, array, claim_table, indexed, mean_pm, task_title
from lib.selection import smallest_set

TOLERANCE = 1  # per cent of the oracle, as in paper A
COLUMNS = ["model", "task", "seed", "neurons", "size", "removed", "score", "lost", "tenth"]
REMOVED = 0.92  # A2: share of the neurons that can go
KEPT_SCORE = 0.97  # A3: share of the score kept, with a tenth of the neurons


def smallest(table: Table, tolerance: float = TOLERANCE) -> pd.DataFrame:
    """Smallest set of first-ranked neurons within a tolerance of the oracle on dev, run by run.

    Returns
    -------
    DataFrame
        Columns ``model``, ``task``, ``seed``, ``neurons`` (D), ``size`` (D where no set is
        enough), ``removed`` (share of the neurons), on test ``score``, ``lost`` (points, against
        the oracle) and ``tenth`` (share of the oracle's score that the first tenth keeps),
        ``by_layer`` (neurons of the set in each layer) and ``able`` (see
        :func:`lib.probing.report.able`).
    """
    rows = [_smallest(run, values, tolerance) for run, values in table]
    return pd.DataFrame(rows, columns=[*COLUMNS, "by_layer", "able"])


def _smallest(run, values: dict, tolerance: float) -> dict:
    grid, neurons, oracle = values["sizes"], values["neurons"], values["oracle"]
    dev, test = (array(values["top"][part]) for part in ("dev", "test"))
    size = smallest_set(grid, dev, oracle["dev"], tolerance)
    place = grid.index(size) if size else None
    even = [neurons // values["layers"]] * values["layers"]
    score = oracle["test"] if place is None else test[place]
    tenth = test[grid.index(neurons // KEPT)]
    return {
        "model": run.model,
        "task": run.task,
        "seed": run.seed,
        "neurons": neurons,
        "size": size or neurons,
        "removed": 1 - (size or neurons) / neurons,
        "score": 100 * score,
        "lost": 100 * (oracle["test"] - score),
        "tenth": tenth / oracle["test"] if oracle["test"] > 0 else np.nan,
        "by_layer": even if place is None else values["by_layer"][place],
        "able": able(oracle["test"], values["floor"]),
    }


def smallest_table(found: pd.DataFrame) -> pd.DataFrame:
    """Size of the smallest set, what goes, and what it costs: rows (model, task), over seeds."""
    rows = {
        (encoders.title(model), task_title(task)): {
            "neurons": ", ".join(f"{size:,}" for size in sorted(set(cell["size"]))),
            "of": f"{cell['neurons'].iloc[0]:,}",
            "can go": f"{cell['removed'].mean():.0%}",
            "score": mean_pm(cell["score"]),
            "points lost": mean_pm(cell["lost"]),
            "kept with a tenth": f"{cell['tenth'].mean():.1%}",
        }
        for (model, task), cell in found.groupby(["model", "task"], sort=False)
    }
    return indexed(rows, "model", "task")


def overlaps(table: Table) -> pd.DataFrame:
    r"""How far the first tenths of two rankings agree, in the mean over pairs of seeds.

    Jaccard index :math:`|A \cap B| / |A \cup B|`. Two rankings of one seed are not compared: their
    probes began at the same weights.

    Returns
    -------
    DataFrame
        Columns ``model``, ``one``, ``other`` (titles of tasks), ``jaccard``; every pair twice.
        Empty for a single seed.
    """
    cells: dict[tuple, list[float]] = {}
    for (run, a), (also, b) in itertools.permutations(table, 2):
        if run.model == also.model and run.seed != also.seed:
            names = (run.model, task_title(run.task), task_title(also.task))
            cells.setdefault(names, []).append(jaccard(a["order"], b["order"]))
    rows = [(*names, float(np.mean(values))) for names, values in cells.items()]
    return pd.DataFrame(rows, columns=["model", "one", "other", "jaccard"])


def jaccard(one, other) -> float:
    """Share of what two sets hold together that both hold.

    Examples
    --------
    >>> jaccard([1, 2, 3], [2, 3, 4])
    0.5
    """
    one, other = set(one), set(other)
    return len(one & other) / len(one | other)


def chance(share: float = 1 / KEPT) -> float:
    """Jaccard index to be expected of two random sets that each hold a share of all neurons."""
    return share / (2 - share)


def _removed(found: pd.DataFrame) -> tuple[list[bool], str]:
    mean = found.groupby("task", sort=False)["removed"].mean()
    return list(mean >= REMOVED), _told("can go", mean)


def _tenth(found: pd.DataFrame) -> tuple[list[bool], str]:
    mean = found.groupby("task", sort=False)["tenth"].mean()
    return list(mean >= KEPT_SCORE), _told("kept", mean)


def _told(what: str, mean: pd.Series) -> str:
    return f"{what}: " + ", ".join(f"{task_title(t)} {share:.0%}" for t, share in mean.items())


CLAIMS: dict[str, Test] = {"A2": _removed, "A3": _tenth}


def claims(found: pd.DataFrame) -> pd.DataFrame:
    """Claims A2 and A3 beside :func:`smallest`; a task that was not learned is left out."""
    learned = found[found["able"].astype(bool)]
    return claim_table(learned, CLAIMS, "no task that was learned" if learned.empty else "")
