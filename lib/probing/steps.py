"""Tables of the page on efficient transfer: what each step leaves, what it costs, what it saves."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib import encoders
from lib.probing.report import able
from lib.report import Table, array, claim_table, indexed, mean_pm, task_title

STEPS = ("all", "LS", "CC", "FS")
LEFT, KEPT = 0.1, 0.97  # A3: share of the neurons at most, and of the score at least
INDEX = ("model", "task", "LS within", "steps")
COLUMNS = ["model", "task", "seed", "tolerance", "clusters", "layer", "blocks", "neurons", "scores"]
COLUMNS += ["left", "kept", "lost", "pass", "training", "able"]


def narrowed(table: Table) -> pd.DataFrame:
    """Every way through the steps, run by run.

    Returns
    -------
    DataFrame
        Columns ``model``, ``task``, ``seed``, ``tolerance`` (of the layer selector, per cent),
        ``clusters`` (whether one neuron per cluster was kept), ``layer`` selected, ``blocks`` of
        the model, ``neurons`` and ``scores`` (on test, points) after each of :data:`STEPS`,
        ``left`` (share of the neurons), ``kept`` (share of the oracle's score), ``lost`` (points),
        ``pass`` and ``training`` (share of the whole's time, of a forward pass and of training a
        probe; a pass without any block is not timed) and ``able`` (see
        :func:`lib.probing.report.able`).
    """
    rows = [
        {"model": run.model, "task": run.task, "seed": run.seed, "tolerance": tolerance}
        | _narrowed(values, number)
        for run, values in table
        for tolerance, layer in zip(values["tolerances"], values["selected"], strict=True)
        for number, way in enumerate(values["ways"])
        if way["layer"] == layer
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _narrowed(values: dict, number: int) -> dict:
    way, whole, oracle = values["ways"][number], values["neurons"], values["oracle"]["test"]
    scores = [oracle, way["layer_score"]["test"], way["base"]["test"], way["score"]["test"]]
    took = values["seconds"]
    first, *others = (float(np.median(seconds)) for seconds in took["trainings"])
    passes = {int(k): float(np.median(seconds)) for k, seconds in took["passes"].items()}
    blocks = values["layers"] - 1
    return {
        "clusters": bool(number % 2),  # each layer without clusters, then with them
        "layer": way["layer"],
        "blocks": blocks,
        "neurons": [whole, way["selected"], way["clusters"], len(way["chosen"])],
        "scores": [100 * score for score in scores],
        "left": len(way["chosen"]) / whole,
        "kept": scores[-1] / oracle if oracle > 0 else np.nan,
        "lost": 100 * (oracle - scores[-1]),
        "pass": passes.get(way["layer"], np.nan) / passes[blocks],
        "training": others[number] / first,
        "able": able(oracle, values["floor"]),
    }


def steps_table(found: pd.DataFrame) -> pd.DataFrame:
    """Neurons and score after each step, over seeds: rows (model, task, tolerance, steps)."""
    rows = {}
    for names, clusters, cell in _cells(found):
        neurons, scores = (array(cell[name].tolist()) for name in ("neurons", "scores"))
        row = {"up to layer": ", ".join(map(str, sorted(set(cell["layer"]))))}
        for place, step in enumerate(STEPS):
            taken = clusters or step != "CC"
            row[step] = f"{neurons[:, place].mean():,.0f}" if taken else "–"
            row[f"{step}: score"] = mean_pm(scores[:, place]) if taken else "–"
        rows[names] = row
    return indexed(rows, *INDEX)


def _cells(found: pd.DataFrame):
    """Name of each row of a table, whether its way has clusters, and its runs."""
    keys = ["model", "task", "tolerance", "clusters"]
    for (model, task, tolerance, clusters), cell in found.groupby(keys, sort=False):
        used = "LS, CC, FS" if clusters else "LS, FS"
        yield (encoders.title(model), task_title(task), f"{tolerance:g} %", used), clusters, cell


def savings_table(found: pd.DataFrame) -> pd.DataFrame:
    """What is left of neurons, score and time, over seeds: rows (model, task, tolerance, steps)."""
    rows = {
        names: {
            "neurons left": f"{cell['left'].mean():.1%}",
            "score kept": f"{cell['kept'].mean():.1%}",
            "points lost": mean_pm(cell["lost"]),
            "time of a pass": _share(cell["pass"]),
            "time to train a probe": _share(cell["training"]),
        }
        for names, _, cell in _cells(found)
    }
    return indexed(rows, *INDEX)


def _share(values: pd.Series) -> str:
    return "–" if values.isna().all() else f"{values.mean():.0%}"


def _kept(found: pd.DataFrame) -> tuple[list[bool], str]:
    mean = found.groupby("task", sort=False)[["kept", "left"]].mean()
    told = [f"{task_title(t)} {m['kept']:.0%} with {m['left']:.1%}" for t, m in mean.iterrows()]
    holds = (mean["kept"] >= KEPT) & (mean["left"] <= LEFT)
    return list(holds), "score kept with neurons left: " + ", ".join(told)


def claims(found: pd.DataFrame) -> pd.DataFrame:
    """Claim A3 beside all three steps at the narrowest tolerance; only tasks that were learned."""
    narrow = found["tolerance"] == found["tolerance"].min()
    usable = found[narrow & found["clusters"].astype(bool) & found["able"].astype(bool)]
    return claim_table(usable, {"A3": _kept}, "no task that was learned" if usable.empty else "")
