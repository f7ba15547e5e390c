"""Tables of fine-tuning on the benchmark page, from what :mod:`lib.bench.tuning` recorded.

A record from before that part was measured gives tables without rows.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.report import indexed, task_title
from lib.training import RELEASED

GB = 1e9
WORK = {"tuning": "fine-tuning", "evaluation": "evaluation"}
LOOPS = {"ours": "ours", "released": "released loop"}
NOTHING = {"tasks": {}, "depths": {}, "memory": {}, "base": {}}


def part(record: dict) -> dict:
    """What was measured of fine-tuning; empty entries where nothing was."""
    return record.get("tuning", NOTHING)


def gain(record: dict, task: str, work: str) -> float:
    """Time of the released loop over ours, median over rounds; NaN where it was not measured."""
    found = part(record)["tasks"].get(task)
    if not found:
        return float("nan")
    seconds = found[work]["seconds"]
    return float(np.median(np.array(seconds["released"]) / np.array(seconds["ours"])))


def rate(record: dict, task: str, work: str, loop: str) -> np.ndarray:
    """Examples a second of a loop, round by round."""
    found = part(record)["tasks"][task][work]
    return found["examples"] / np.array(found["seconds"][loop])


def speed(record: dict) -> pd.DataFrame:
    """Examples a second of both loops, in training and in evaluation."""
    rows = {
        (task_title(task), title): {
            **{LOOPS[loop]: f"{np.median(rate(record, task, work, loop)):,.0f}" for loop in LOOPS},
            "times as fast": f"{gain(record, task, work):.1f}",
            "tokens a sentence": f"{found[work]['tokens']:.1f}",
            "padding alone": f"{RELEASED.max_length / found[work]['tokens']:.1f}",
        }
        for task, found in part(record)["tasks"].items()
        for work, title in WORK.items()
    }
    return indexed(rows, "task", "examples a second")


def depths(record: dict) -> pd.DataFrame:
    """Share of the whole model's time by blocks dropped, measured and predicted."""
    rows = {}
    for work, found in part(record)["depths"].items():
        whole = np.array(found["0"]["seconds"])
        for k, entry in found.items():
            share = np.median(np.array(entry["seconds"]) / whole)
            told = {"measured": f"{share:.0%}", "predicted": f"{entry['predicted']:.0%}"}
            rows.setdefault(int(k), {}).update(
                {(WORK.get(work, work), n): v for n, v in told.items()}
            )
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("blocks dropped")


def memory(record: dict) -> pd.DataFrame:
    """Peak memory of a few updates of either loop, in GB; the process before it beside it."""
    rows = {
        LOOPS[loop]: {
            "before (GB)": f"{found['start_bytes'] / GB:.2f}",
            "peak (GB)": f"{found['peak_bytes'] / GB:.2f}",
            "on the GPU (GB)": f"{found.get('device_peak_bytes', np.nan) / GB:.2f}",
        }
        for loop, found in part(record)["memory"].items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("loop")
    return table.loc[:, [name for name in table if set(table[name]) != {"nan"}]]


def base(record: dict) -> dict[str, float]:
    """What the training step reaches on the shape of a BERT-base.

    ``base_seconds`` of one update, ``base_rate`` in operations a second, ``base_share`` of the rate
    of a plain matrix product in the same precision; NaN where it was not measured.
    """
    found = part(record)["base"]
    if not found:
        return dict.fromkeys(("base_seconds", "base_rate", "base_share"), float("nan"))
    reached = found["operations"] / float(np.median(found["seconds"]))
    return {
        "base_seconds": float(np.median(found["seconds"])) / found["updates"],
        "base_rate": reached,
        "base_share": reached / record["rates"][found["precision"]],
    }
