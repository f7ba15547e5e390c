"""Tables of the benchmark page, drawn from one record of :mod:`lib.bench`.

A ratio between two ways is the median over the turns in which both ran one after the other, so a
machine that is busy for a while moves both and not the ratio.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from lib import encoders
from lib import old_records as records
from lib.bench import probed, run, tuned
from lib.errors import BadInput
from lib.report import task_title

GB = 1e9
ORDER = ("forward", "extract", "moments", "NeuroX HDF5", "NeuroX JSON")
NAMES = {
    "forward": "bare forward pass",
    "extract": "ours, rows kept",
    "moments": "ours, streamed into moments",
    "cka": "layer CKA",
    "correlation": "neuron correlation",
    "whole": "ours: forward, CKA and correlation",
    "pytorch-cka": "pytorch-cka: forward and CKA",
}


def found() -> dict[str, Path]:
    """Every benchmark record, by the name of its device; the repository's where there are none."""
    for folder in (records.results(), records.ROOT / "book" / "results"):
        files = sorted((folder / "bench").glob("*.json"))
        if files:
            return {file.stem: file for file in files}
    return {}


def read(record: str | Path | None = None) -> dict:
    """A benchmark record.

    Parameters
    ----------
    record
        A file, or the name of one of :func:`found`; None takes that of this machine, else the
        first.

    Raises
    ------
    BadInput
        If there is no such record.
    """
    known = found()
    if record is None and known:
        here = run.default_file(encoders.default_device(), quick=False).stem
        record = here if here in known else next(iter(known))
    file = known.get(str(record), Path(str(record)))
    if not file.is_file():
        valid = ", ".join(known) or "none yet; 'make bench' makes one"
        raise BadInput(f"record {str(record)!r} is no file and not a benchmark record ({valid})")
    return json.loads(file.read_text())


def median(record: dict, part: str, way: str) -> float:
    """Seconds of a way; NaN where it was not measured."""
    return float(np.median(record[part]["ways"].get(way, {}).get("seconds", [np.nan])))


def ratio(record: dict, part: str, ways: tuple[str, ...], over: str) -> float:
    """Time of some ways together over that of another, median over turns; NaN if one is absent."""
    measured = record[part]["ways"]
    if not {*ways, over} <= set(measured):
        return float("nan")
    top = np.sum([measured[way]["seconds"] for way in ways], axis=0)
    return float(np.median(top / np.array(measured[over]["seconds"])))


def largest(record: dict, way: str) -> dict:
    """The entry with most rows of one way of clustering; empty where it was not measured."""
    entries = [entry for entry in record["clusters"] if entry["way"] == way]
    return max(entries, key=lambda entry: entry["rows"], default={})


def cluster_gain(record: dict) -> float:
    """NeuroX's time for one threshold over ours for all of them, at most rows."""
    ours, theirs = largest(record, "ours"), largest(record, "NeuroX")
    if not theirs:
        return float("nan")
    return float(np.median(np.array(theirs["seconds"]) / np.array(ours["seconds"])))


def peaks(record: dict, way: str) -> dict[int, float]:
    """Peak memory in GB at each number of rows."""
    entries = [entry for entry in record["clusters"] if entry["way"] == way]
    return {entry["rows"]: entry["peak_bytes"] / GB for entry in entries}


def _growth(record: dict) -> float:
    """Peak at most rows over that at the fewest which fill a chunk."""
    peak = peaks(record, "ours")
    full = [rows for rows in peak if rows > 2048] or list(peak)
    return peak[max(peak)] / peak[min(full)]


@dataclass(frozen=True)
class Target:
    """What was asked for, and how it is read from a record."""

    what: str
    sign: str
    wanted: float
    value: Callable[[dict], float]


BETTER = {"≥": operator.ge, "≤": operator.le}
SUMMED = ("moments", "cka", "correlation")
TARGETS = (
    Target(
        "extraction: speed over bare forward pass",
        "≥",
        0.9,
        lambda r: 1 / ratio(r, "extraction", ("extract",), "forward"),
    ),
    Target(
        "extraction: speed over NeuroX, HDF5",
        "≥",
        2.4,
        lambda r: ratio(r, "extraction", ("NeuroX HDF5",), "extract"),
    ),
    Target(
        "clusters: speed over NeuroX", "≥", 2,
        cluster_gain,
    ),
    Target(
        "clusters: peak memory (GB)", "≤", 3,
        lambda r: max(peaks(r, "ours").values()),
    ),
    Target("clusters: growth of the peak with rows", "≤", 1.05, _growth),
    Target(
        "CKA, correlation: cost over forward pass", "≤", 1,
        lambda r: ratio(r, "cka", SUMMED, "forward"),
    ),
    *(
        Target(
            f"{tuned.WORK[work]}, {task_title(task)}: speed over the released loop", "≥", wanted,
            partial(tuned.gain, task=task, work=work),
        )
        for work, wanted in (("tuning", 3), ("evaluation", 5))
        for task in ("sst2", "cola")
    ),
    *(Target(*wanted) for wanted in probed.WANTED),
)  # fmt: skip


def met(record: dict, target: Target) -> bool | None:
    """Whether a target was met; None where it was not measured."""
    value = target.value(record)
    return None if np.isnan(value) else bool(BETTER[target.sign](value, target.wanted))


VERDICT = {True: "met", False: "missed", None: "not measured"}


def targets(record: dict) -> pd.DataFrame:
    """Every target, what was measured, and whether it was met."""
    rows = [
        {
            "target": target.what,
            "wanted": f"{target.sign} {target.wanted:g}",
            "measured": f"{target.value(record):.2f}",
            "verdict": VERDICT[met(record, target)],
        }
        for target in TARGETS
    ]
    return pd.DataFrame(rows).set_index("target")


def counted(record: dict) -> str:
    """How many targets were met, in words."""
    verdicts = [met(record, target) for target in TARGETS]
    absent = verdicts.count(None)
    text = f"{verdicts.count(True)} of {len(verdicts)} targets were met"
    return text + (f", {absent} not measured" if absent else "")


def checks(record: dict) -> pd.DataFrame:
    """What shows that the ways computed the same thing."""
    rows = [
        {
            "check": entry["what"],
            "largest difference": "infinite" if entry["value"] is None else f"{entry['value']:.1e}",
            "limit": f"{entry['limit']:.0e}",
            "verdict": "holds" if entry["holds"] else "FAILS",
        }
        for entry in record["checks"]
    ]
    return pd.DataFrame(rows).set_index("check")


def _seconds(values) -> str:
    """Median, and the range in brackets where there were several."""
    values = np.atleast_1d(values)
    spread = f" ({values.min():.2f} to {values.max():.2f})" if len(values) > 1 else ""
    return f"{np.median(values):.2f}{spread}"


def extraction(record: dict) -> pd.DataFrame:
    """Throughput of every way of reading word vectors."""
    ways, rows = record["extraction"]["ways"], []
    floor = ways["forward"]["words"] / np.median(ways["forward"]["seconds"])
    for way in (way for way in ORDER if way in ways):
        speed = ways[way]["words"] / np.median(ways[way]["seconds"])
        rows.append(
            {
                "way": NAMES.get(way, way),
                "words": f"{ways[way]['words']:,}",
                "seconds": _seconds(ways[way]["seconds"]),
                "words a second": f"{speed:,.0f}",
                "over bare forward": f"{speed / floor:.2f}",
            }
        )
    return pd.DataFrame(rows).set_index("way")


def clusters(record: dict) -> pd.DataFrame:
    """Time and memory of correlation and clusters, by rows and way."""
    rows = [
        {
            "rows": f"{entry['rows']:,}",
            "way": entry["way"],
            "thresholds": entry["thresholds"],
            "seconds": _seconds(entry["seconds"]),
            "peak memory (GB)": f"{entry['peak_bytes'] / GB:.2f}",
        }
        for entry in record["clusters"]
    ]
    return pd.DataFrame(rows).set_index(["rows", "way"])


def cka(record: dict) -> pd.DataFrame:
    """What layer CKA and neuron correlation add to the pass, beside pytorch-cka's whole run."""
    rows = [
        {
            "way": "moments of all neurons" if way == "moments" else NAMES[way],
            "seconds": _seconds(entry["seconds"]),
            "over bare forward": f"{ratio(record, 'cka', (way,), 'forward'):.2f}",
        }
        for way, entry in record["cka"]["ways"].items()
    ]
    return pd.DataFrame(rows).set_index("way")


def errors(record: dict) -> pd.DataFrame:
    """How far the minibatch estimate is from the exact CKA, over pairs of different layers."""
    table = pd.DataFrame(record["cka"]["errors"]).T.rename_axis("minibatches")
    return table.map("{:.4f}".format).rename(columns=lambda name: f"{name} error")


def provenance(record: dict) -> pd.DataFrame:
    """What made the record."""
    made = record["provenance"]
    shown = {name: made[name] for name in ("device", "threads", "cores", "model", "source")}
    shown |= {"commit": made["commit"], "seconds": f"{made['seconds']:.0f}"} | made["versions"]
    return pd.DataFrame({"value": {key: str(value) for key, value in shown.items()}})


def overview() -> pd.DataFrame:
    """What was measured for every target, one column for each record there is."""
    columns = {}
    for file in found().values():
        record = json.loads(file.read_text())
        columns[record["provenance"]["device"]] = targets(record)["measured"]
    return pd.DataFrame(columns)
