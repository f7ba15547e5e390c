"""Tables of the pages on task-specific redundancy, from records alone.

Scores are in the task's own metric, times 100. What is chosen is chosen on dev, and told on test.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lib import encoders
from lib.probes import PROTOCOLS
from lib.probing.rows import PARTS
from lib.report import CLEAR, Table, array, cells_of, indexed, left_out, mean_pm, task_title
from lib.selection import select_layer

TOLERANCES = (1, 2, 3)  # per cent of the oracle, as in paper A


def needed(table: Table, tolerances: Sequence[float] = TOLERANCES) -> pd.DataFrame:
    """Lowest layer up to which the layers together come near the oracle, run by run.

    Returns
    -------
    DataFrame
        Columns ``model``, ``task``, ``seed``, ``layers`` (L), ``tolerance``, ``layer``, ``score``
        (on test), ``lost`` (points, against the oracle on test) and ``able`` (see :func:`able`);
        trained weights only.
    """
    rows = []
    for run, values in table:
        if run.setting == "trained":
            dev, test = (array(values["together"][part]) for part in ("dev", "test"))
            cell = {"model": run.model, "task": run.task, "seed": run.seed, "layers": len(dev)}
            cell["able"] = able(test[-1], values["floor"])
            for tolerance in tolerances:
                layer = select_layer(dev, dev[-1], tolerance)
                found = {"tolerance": tolerance, "layer": layer, "score": 100 * test[layer]}
                rows.append(cell | found | {"lost": 100 * (test[-1] - test[layer])})
    columns = ["model", "task", "seed", "layers", "able", "tolerance", "layer", "score", "lost"]
    return pd.DataFrame(rows, columns=columns)


def able(oracle: float, floor: float) -> bool:
    """Whether a probe on all layers is clearly above what needs no model; else it shows nothing."""
    return bool(100 * (oracle - floor) > CLEAR)


def needed_table(found: pd.DataFrame) -> pd.DataFrame:
    """Layers needed at each tolerance, and the points lost on test: rows (model, task)."""
    rows: dict[tuple, dict] = {}
    for (model, task, tolerance), cell in found.groupby(["model", "task", "tolerance"], sort=False):
        row = rows.setdefault((encoders.title(model), task_title(task)), {})
        row[f"{tolerance:g} %: up to layer"] = ", ".join(map(str, sorted(set(cell["layer"]))))
        row[f"{tolerance:g} %: points lost"] = mean_pm(cell["lost"])
    return indexed(rows, "model", "task")


def floors_table(table: Table) -> pd.DataFrame:
    """The oracle beside what needs less: rows (model, task), scores on test over seeds.

    ``best layer`` is the layer that scores best alone on dev; ``majority`` the commonest label of
    each word, or the best constant answer for sentences; ``own head`` the fine-tuned model's.
    """
    rows: dict[tuple, dict] = {}
    for (model, task, weights), values in cells_of(table):
        row = rows.setdefault((encoders.title(model), task_title(task)), {})
        oracle = [v["together"]["test"][-1] for v in values]
        if weights == "random":
            row["random twin"] = percent(oracle)
            continue
        row["oracle"] = percent(oracle)
        row |= best_alone(values)
        row["majority"] = f"{100 * values[0]['floor']:.1f}"
        row["own head"] = "–" if values[0]["own"] is None else f"{100 * values[0]['own']:.1f}"
    return indexed(rows, "model", "task").fillna("–")


def best_alone(values: Sequence[dict]) -> dict[str, str]:
    """The layer that scores best alone on dev, seed by seed, and its score on test."""
    best = [int(np.argmax(v["alone"]["dev"])) for v in values]
    alone = [v["alone"]["test"][layer] for v, layer in zip(values, best, strict=True)]
    return {"best layer": ", ".join(map(str, sorted(set(best)))), "its score": percent(alone)}


def selectivity(table: Table) -> pd.DataFrame:
    """Accuracy, control accuracy and their difference, layer by layer, alone; tagging tasks only.

    Returns
    -------
    DataFrame
        Columns ``model``, ``task``, ``weights``, ``seed``, ``layer``, ``accuracy``, ``control``
        and ``selectivity``, in points.
    """
    rows = [
        {"model": run.model, "task": run.task, "weights": run.setting, "seed": run.seed}
        | {"layer": layer, "accuracy": 100 * real, "control": 100 * guessed}
        for run, v in table
        if v["control"]
        for layer, (real, guessed) in enumerate(
            zip(v["alone"]["test"], v["control"]["alone"]["test"], strict=True)
        )
    ]
    columns = ["model", "task", "weights", "seed", "layer", "accuracy", "control"]
    found = pd.DataFrame(rows, columns=columns)
    return found.assign(selectivity=found["accuracy"] - found["control"])


def protocols_table(table: Table) -> pd.DataFrame:
    """The oracle under both protocols: rows (model, task, weights), scores on test over seeds."""
    rows = {}
    for (model, task, weights), values in cells_of(table):
        by_name = {n: np.array([v["oracle"][n]["test"] for v in values]) for n in PROTOCOLS}
        apart = 100 * (by_name["corrected"] - by_name["official"])
        row = {name: percent(scores) for name, scores in by_name.items()}
        rows[encoders.title(model), task_title(task), weights] = row | {
            "difference": mean_pm(apart)
        }
    return indexed(rows, "model", "task", "weights")


def rows_table(table: Table) -> pd.DataFrame:
    """What the probes were trained and judged on: rows (task)."""
    rows = {}
    for (_, task, _), (first, *_) in cells_of(table):
        rows[task_title(task)] = {
            "a row is a": first["level"],
            **{part: f"{first['rows'][part]:,}" for part in PARTS},
            "classes": first["classes"] or "a number",
            "classes without a training row": _some(first["missing"]),
            "left out or changed": left_out(first),
        }
    return pd.DataFrame(rows).T.rename_axis("task")


def _some(names: Sequence[str], most: int = 3) -> str:
    """Names, or the first few of many and how many there are."""
    told = ", ".join(names[:most]) or "none"
    return told if len(names) <= most else f"{len(names)}, such as {told}"


def percent(scores: Sequence[float]) -> str:
    """Scores from 0 to 1 as points: mean and standard deviation."""
    return mean_pm(100 * np.asarray(scores, dtype=float))
