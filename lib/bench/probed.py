"""Tables of probes on the benchmark page, from what :mod:`lib.bench.probing` recorded.

A record from before that part was measured gives tables without rows.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

GB = 1e9
NOTHING: dict = {"one": [], "sets": {}, "search": {}, "memory": {}, "rows": 0, "neurons": 0}
NAMES = {
    "products": "its products alone",
    "product": "one product",
    "ours": "ours",
    "ours, corrected": "ours, corrected protocol",
    "NeuroX": "NeuroX",
}


def part(record: dict) -> dict:
    """What was measured of probes; empty entries where nothing was."""
    return record.get("probing", NOTHING)


def over(seconds: dict, way: str, other: str) -> float:
    """Time of one way over that of another, median over rounds; NaN where one is absent."""
    if not {way, other} <= set(seconds):
        return float("nan")
    rounds = min(len(seconds[way]), len(seconds[other]))
    top, low = (np.array(seconds[name][:rounds]) for name in (way, other))
    return float(np.median(top / low))


def _of(record: dict, classes: int, work: str) -> dict:
    entries = [entry[work] for entry in part(record)["one"] if entry["classes"] == classes]
    return entries[0] if entries else {}


def one_over(record: dict, classes: int, work: str, way: str, other: str) -> float:
    """:func:`over` of what was measured of one probe."""
    return over(_of(record, classes, work), way, other)


def _whole(record: dict, work: str) -> float:
    return over(part(record)[work].get("seconds", {}), "NeuroX", "ours")


WANTED = (  # what, sign, wanted, value of a record
    *(
        (f"probe, {c} classes: time over its products", "≤", 1.5,
         partial(one_over, classes=c, work="seconds", way="ours", other="products"))
        for c in (2, 45)
    ),
    *(
        (f"probe, {c} classes: speed over NeuroX", "≥", wanted,
         partial(one_over, classes=c, work="seconds", way="NeuroX", other="ours"))
        for c, wanted in ((2, 2.5), (45, 1.3))
    ),
    ("probe, 2 classes: judging over one product", "≤", 1.5,
     partial(one_over, classes=2, work="evaluation", way="ours", other="product")),
    ("ranking, 45 classes: speed over NeuroX", "≥", 100,
     partial(one_over, classes=45, work="ranking", way="NeuroX", other="ours")),
    ("27 candidate sets: speed over NeuroX", "≥", 10, partial(_whole, work="sets")),
    ("whole search: speed over NeuroX's trainings", "≥", 15, partial(_whole, work="search")),
)  # fmt: skip


def one(record: dict) -> pd.DataFrame:
    """Seconds of training a probe, of judging it on the training rows, and of ranking by it."""
    rows = {}
    titles = {"seconds": "train", "evaluation": "judge", "ranking": "rank"}
    for entry in part(record)["one"]:
        for work, title in titles.items():
            for way, seconds in entry[work].items():
                name = (f"{entry['classes']} classes", title, NAMES[way])
                floor = over(entry[work], way, "products" if work == "seconds" else "product")
                right = entry["accuracy"].get(way) if work == "seconds" else None
                rows[name] = {
                    "seconds": f"{np.median(seconds):.3g}",
                    "over products": "–" if np.isnan(floor) else f"{floor:.2f}",
                    "accuracy": "–" if right is None else f"{right:.1f}",
                }
    index = pd.MultiIndex.from_tuples(rows, names=["probe", "step", "way"]) if rows else None
    return pd.DataFrame(list(rows.values()), index=index)


def searches(record: dict) -> pd.DataFrame:
    """Many probes at once beside the same ones one by one: candidate sets, and the whole search."""
    found, rows = part(record), {}
    for work, title in (("sets", "candidate sets"), ("search", "LS, CC, FS")):
        if found[work]:
            seconds = found[work]["seconds"]
            rows[title] = {
                "rows": f"{found[work].get('rows', found['rows']):,}",
                "probes": found[work].get("sets", len(found[work].get("trained", []))),
                "ours (s)": f"{np.median(seconds['ours']):.1f}",
                "NeuroX (s)": f"{np.median(seconds.get('NeuroX', np.nan)):.1f}",
                "times as fast": f"{_whole(record, work):.1f}",
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("search")


def memory(record: dict) -> pd.DataFrame:
    """Peak memory of training one probe, in GB, beside the rows and the process before them."""
    rows = {
        way: {
            "before (GB)": f"{found['start_bytes'] / GB:.2f}",
            "rows (GB)": f"{found['rows_bytes'] / GB:.2f}",
            "peak (GB)": f"{found['peak_bytes'] / GB:.2f}",
        }
        for way, found in part(record)["memory"].items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("way")
