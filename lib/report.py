"""Tables of the pages, and the shape in which records become tables and figures.

Everything is drawn from records alone: the functions take what :func:`lib.experiments.fill` gives,
a list of (run, values), and give a table; :mod:`lib.figures` gives the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from lib import corpora, encoders
from lib import old_records as records
from lib.errors import BadInput
from lib.grids import Profile, Run

Table = Sequence[tuple[Run, dict]]
Test = Callable[[pd.DataFrame], tuple[list[bool], str]]  # gives its checks and what was measured
PM = "\u00a0±\u00a0"  # a table does not break the line there
CLEAR = 5.0  # a task is learned if its score is more points than this above what needs no model
pd.set_option("display.max_colwidth", None)  # pages show what a cell says to its end


def coverage(settings: Profile, table: Table) -> str:
    """How much of the grid is in, in words."""
    return f"{len(table)} of {len(settings.runs())} runs of the grid are in."


def task_title(name: str) -> str:
    """Title of a task as figures show it."""
    return corpora.TASKS[name].title


def indexed(rows: dict[tuple, dict | Sequence], *names: str) -> pd.DataFrame:
    """One row per entry, its key spread over the index."""
    index = pd.MultiIndex.from_tuples(rows, names=names) if rows else None
    return pd.DataFrame(list(rows.values()), index=index)


def mean_pm(points: Sequence[float]) -> str:
    """Mean and standard deviation over seeds, of points; a dash where there are none."""
    points = np.asarray(points, dtype=float)
    spread = f"{PM}{points.std(ddof=1):.1f}" if len(points) > 1 else ""
    return f"{points.mean():.1f}{spread}".replace("-0.0", "0.0") if len(points) else "–"


def array(nested) -> np.ndarray:
    """A list of numbers from a record, None being NaN."""
    return np.array(nested, dtype=float)


def cells_of(table: Table) -> list[tuple[tuple[str, str, str], list[dict]]]:
    """Values of all seeds, grouped by (model, task, weights) in the order of the grid."""
    groups: dict[tuple[str, str, str], list[dict]] = {}
    for run, values in table:
        groups.setdefault((run.model, run.task, run.setting), []).append(values)
    return list(groups.items())


def only(table: Table, **cell: str) -> Table:
    """Runs of one ``model``, one ``task`` or one ``setting``."""
    return [pair for pair in table if all(getattr(pair[0], k) == v for k, v in cell.items())]


def mean_and_spread(values: list[dict], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds of a list-valued entry, and its standard deviation (0 for one seed)."""
    stacked = np.stack([array(entry[key]) for entry in values])
    spread = stacked.std(axis=0, ddof=1) if len(stacked) > 1 else np.zeros_like(stacked[0])
    return stacked.mean(axis=0), spread


def cell_name(model: str, task: str, many_models: bool) -> str:
    """Name of a cell of the grid in titles and legends: the model only where there are several."""
    return f"{encoders.title(model)}, {task_title(task)}" if many_models else task_title(task)


def left_out(values: dict) -> str:
    """What a loader left out or changed in a text, from its record."""
    told = [f"{n:,} {what}" for what, n in (values["skipped"] | values["notes"]).items()]
    return "; ".join(told) or "nothing"


def text_table(settings: Profile, table: Table) -> pd.DataFrame:
    """What was read, per text: where from, rows, tokens, and what a loader left out."""
    source = {run.task: (records.made_by(settings, run) or {}).get("source") for run, _ in table}
    rows = {}
    for (_, task, _), (first, *_) in cells_of(table):
        rows[task_title(task)] = {
            "from": source[task],
            "a row is a": first["level"],
            "rows": f"{first['rows']:,}",
            "sentences": f"{first['sentences']:,}",
            "tokens": f"{first['tokens']:,}",
            "longest (tokens)": first["longest"],
            "left out or changed": left_out(first),
        }
    return pd.DataFrame(rows).T.rename_axis("text")


def padding_table(table: Table) -> pd.DataFrame:
    """Tokens computed in vain, batches filled in file order and by length."""
    rows = {}
    for (_, task, _), values in cells_of(table):
        first = values[0]
        in_vain = {
            way: 1 - first["tokens"] / first[key]
            for way, key in (("file order", "padded_in_order"), ("by length", "padded_by_length"))
        }
        rows[task_title(task)] = {
            "sentences a batch": first["batch_size"],
            **{f"padding, {way}": f"{share:.1%}" for way, share in in_vain.items()},
        }
    return pd.DataFrame(rows).T.rename_axis("text")


def by_distance(matrices: Sequence[tuple[Run, np.ndarray]]) -> pd.DataFrame:
    """Mean CKA of pairs of layers, per text: by distance; neighbours high up and below it too.

    Parameters
    ----------
    matrices
        (run, CKA of shape (L, L)); seeds of a text are averaged, undefined pairs left out.
    """
    rows = [
        {"model": encoders.title(run.model), "text": task_title(run.task)}
        | {name: pd.Series(cka[pairs]).mean() for name, pairs in _pairs(len(cka)).items()}
        for run, cka in matrices
    ]
    frame = pd.DataFrame(rows, columns=["model", "text", *_pairs(1)])
    return frame.groupby(["model", "text"], sort=False).mean()


def _pairs(layers: int) -> dict[str, np.ndarray]:
    """Kinds of pairs of layers, each as a mask (L, L)."""
    place = np.arange(layers)
    apart = np.abs(np.subtract.outer(place, place))
    high = np.maximum.outer(place, place) >= layers - layers // 3
    return {
        "neighbours": apart == 1,
        "all others": apart > 1,
        "first and last": apart == layers - 1,
        "highest third": (apart == 1) & high,
        "below it": (apart == 1) & ~high,
    }


def verdict(checks: Sequence[bool]) -> str:
    """Say ``agrees`` where all checks hold, ``partly agrees`` where some do, else ``disagrees``."""
    checks = list(checks)
    if not checks:
        return "cannot be tested"
    return "agrees" if all(checks) else "partly agrees" if any(checks) else "disagrees"


def claim_table(found: pd.DataFrame, tests: dict[str, Test], lacks: str = "") -> pd.DataFrame:
    """Claims beside what was measured: one row each, with its verdict.

    Parameters
    ----------
    found
        What the claims are tested on.
    tests
        Name of a claim: a function of ``found`` that gives its checks and what was measured.
    lacks
        Why no claim can be tested, where none can; then no test is called.
    """
    rows = {}
    for claim, test in tests.items():
        holds, told = ([], lacks) if lacks else test(found)
        rows[claim] = {"measured": told, "verdict": verdict(holds)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("claim")


def over_thresholds(values: dict, key: str) -> dict[float, float]:
    """Entries of a record that are kept per threshold, with the thresholds as numbers."""
    return {float(threshold): count for threshold, count in values[key].items()}


def redundant_share(values: dict, *, without_constant: bool = False) -> dict[float, float]:
    """Share of neurons that can go if one per cluster is kept, at each threshold.

    ``1 - K / D``; without constant neurons both K and D count only those that vary (P1).
    """
    key = "clusters_varying" if without_constant else "clusters"
    total = values["neurons"] - (values["constant"] if without_constant else 0)
    return {t: 1 - k / total for t, k in over_thresholds(values, key).items()}


def shares(table: Table) -> pd.DataFrame:
    """Share of redundant neurons of every run at every threshold, one row each."""
    rows = [
        {"run": i, "weights": run.setting, "level": v["level"], "threshold": t, "redundant": share}
        for i, (run, v) in enumerate(table)
        for t, share in redundant_share(v).items()
    ]
    return pd.DataFrame(rows)


def cluster_table(table: Table) -> pd.DataFrame:
    """Clusters left at each threshold, mean and standard deviation over seeds."""
    rows = {}
    for (model, task, weights), values in cells_of(table):
        counts = np.stack([list(v["clusters"].values()) for v in values])
        spread = counts.std(axis=0, ddof=1) if len(counts) > 1 else np.zeros(counts.shape[1])
        cells = [f"{m:,.0f}{PM}{s:.0f}" for m, s in zip(counts.mean(axis=0), spread, strict=True)]
        constant = np.mean([v["constant"] for v in values])
        name = (encoders.title(model), task_title(task), weights)
        rows[name] = {"constant": f"{constant:,.0f}"} | dict(
            zip(values[0]["clusters"], cells, strict=True)
        )
    return pd.DataFrame(rows).T.rename_axis(["model", "text", "weights"])


def provenance_table(settings: Profile, table: Table) -> pd.DataFrame:
    """What made the records of a page: one row per model and text."""
    rows = []
    for run, _ in table:
        made = records.made_by(settings, run) or {}
        rows.append(
            {
                "model": encoders.title(run.model),
                "text": f"{task_title(run.task)} ({made.get('source', 'unknown')})",
                "device": made.get("device", "unknown"),
                "torch": made.get("versions", {}).get("torch", "unknown"),
                "commit": made.get("commit", "unknown"),
                "seconds": made.get("seconds", float("nan")),
            }
        )
    keys = ["model", "text", "device", "torch", "commit"]
    summed = pd.DataFrame(rows).groupby(keys, sort=False)["seconds"]
    return summed.agg(runs="size", seconds="sum").round(1).reset_index()


def this_run(about: dict[str, str], device) -> pd.DataFrame:
    """What made the numbers of a page that keeps no records: its own facts, device, versions."""
    found = records.versions()
    rows = about | {
        "device": records.device_name(device),
        "torch": found["torch"],
        "transformers": found["transformers"],
        "commit": records.commit(),
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["this run"])


def example(table: Table) -> dict:
    """The first run's example of a cluster, of published weights where there are some."""
    found = [v["example"] for run, v in table if v["example"] and run.setting == "trained"]
    found += [v["example"] for _, v in table if v["example"]]
    if not found:
        raise BadInput("no text of words is among the tasks, so there is no cluster to show")
    return found[0]
