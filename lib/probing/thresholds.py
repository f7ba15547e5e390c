"""Tables on one neuron per cluster: what probes on them reach at each clustering threshold."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib import encoders
from lib.probing.report import TOLERANCES, able
from lib.report import Table, claim_table, indexed, mean_pm, task_title

WITHIN = max(TOLERANCES)  # per cent of the oracle that may be lost; ours, A1 names none
REDUNDANT = 0.85  # A1: share of the neurons
COLUMNS = ["model", "task", "seed", "threshold", "clusters", "redundant", "closest", "drawn"]
COLUMNS += ["kept", "apart", "enough", "able"]


def accuracy(table: Table) -> pd.DataFrame:
    """Scores of probes on one neuron per cluster, one row per run and threshold.

    Returns
    -------
    DataFrame
        Columns ``model``, ``task``, ``seed``, ``threshold``, ``clusters`` left, ``redundant``
        (share of the neurons), on test ``closest`` and ``drawn`` (points, by how the neuron was
        chosen), ``kept`` (share of the oracle's score, by the closest), ``apart`` (closest less
        drawn), ``enough`` (within :data:`WITHIN` of the oracle on dev) and ``able`` (see
        :func:`lib.probing.report.able`).
    """
    rows = [
        {"model": run.model, "task": run.task, "seed": run.seed} | _at(values, place)
        for run, values in table
        for place in range(len(values["thresholds"]))
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _at(values: dict, place: int) -> dict:
    closest, drawn = (values[way]["test"][place] for way in ("closest", "drawn"))
    oracle = values["oracle"]
    return {
        "threshold": values["thresholds"][place],
        "clusters": values["clusters"][place],
        "redundant": 1 - values["clusters"][place] / values["neurons"],
        "closest": 100 * closest,
        "drawn": 100 * drawn,
        "kept": closest / oracle["test"] if oracle["test"] > 0 else np.nan,
        "apart": 100 * (closest - drawn),
        "enough": values["closest"]["dev"][place] > oracle["dev"] * (1 - WITHIN / 100),
        "able": able(oracle["test"], values["floor"]),
    }


def highest(found: pd.DataFrame) -> pd.DataFrame:
    """The highest threshold that is enough, run by run; none: no row says what could go (NaN)."""
    keys = ["model", "task", "seed"]
    enough = found[found["enough"].astype(bool)]
    last = enough.sort_values("threshold").groupby(keys, sort=False).tail(1).set_index(keys)
    every = found.drop_duplicates(keys).set_index(keys)[["able"]]
    return every.join(last.drop(columns="able")).reset_index()


def threshold_table(found: pd.DataFrame) -> pd.DataFrame:
    """The highest threshold that is enough, what goes there, and what the choice of neuron does.

    Rows (model, task), over seeds; scores on test.
    """
    rows = {}
    for (model, task), cell in highest(found).groupby(["model", "task"], sort=False):
        every = found[(found["model"] == model) & (found["task"] == task)]
        rows[encoders.title(model), task_title(task)] = {
            "highest threshold": ", ".join(f"{t:g}" for t in sorted(set(cell["threshold"]))),
            "redundant": f"{cell['redundant'].mean():.0%}",
            "score": mean_pm(cell["closest"]),
            "kept": f"{cell['kept'].mean():.1%}",
            "closest less drawn": mean_pm(every["apart"]),
        }
    return indexed(rows, "model", "task")


def _redundant(found: pd.DataFrame) -> tuple[list[bool], str]:
    mean = found.groupby("task", sort=False)["redundant"].mean().fillna(0)
    told = ", ".join(f"{task_title(task)} {share:.0%}" for task, share in mean.items())
    return list(mean >= REDUNDANT), f"redundant: {told}"


def claims(found: pd.DataFrame) -> pd.DataFrame:
    """Claim A1 beside :func:`highest`; a task that was not learned is left out."""
    learned = highest(found[found["able"].astype(bool)])
    lacks = "no task that was learned" if learned.empty else ""
    return claim_table(learned, {"A1": _redundant}, lacks)
