"""Every number and word that the prose of the benchmark page quotes."""

from __future__ import annotations

import numpy as np

from lib.bench import probed, tuned
from lib.bench.report import GB, SUMMED, TARGETS, counted, largest, met, peaks, ratio


def _checked(record: dict) -> str:
    failed = [entry["what"] for entry in record["checks"] if not entry["holds"]]
    return f"checks that FAILED: {'; '.join(failed)}" if failed else "every check holds"


def _missed(record: dict) -> str:
    missed = [t for t in TARGETS if met(record, t) is False]
    words = [f"{t.what} is {t.value(record):.2f}, wanted {t.sign} {t.wanted:g}" for t in missed]
    return f"missed: {'; '.join(words)}" if words else "none was missed"


def _apart(record: dict, what: str) -> float:
    """Largest difference found by the checks whose name begins so."""
    values = [entry["value"] for entry in record["checks"] if entry["what"].startswith(what)]
    return max((v for v in values if v is not None), default=float("nan"))


def _tuning(record: dict) -> dict:
    """Of fine-tuning: what it was measured on, and what it reached."""
    found, reached = tuned.part(record), tuned.base(record)
    tasks = found["tasks"].values()
    return {
        "tuned_on": ", ".join(entry["source"] for entry in tasks) or "nothing yet",
        "tuned_updates": next((entry["updates"] for entry in tasks), 0),
        "tuned_logits": _apart(record, "evaluation"),
        "base_seconds": reached["base_seconds"],
        "base_rate": reached["base_rate"] / 1e9,
        "base_share": reached["base_share"],
        "base_batch": found["base"].get("batch", 0),
        "base_precision": found["base"].get("precision", "no precision yet"),
    }


def _probing(record: dict) -> dict:
    """Of probes: how many rows and neurons, and how the search was added up."""
    found = probed.part(record)
    widths = found["search"].get("widths", {})
    return {
        "probe_rows": found["rows"],
        "probe_room": probed.one_over(record, 2, "seconds", "NeuroX", "products"),
        "search_widths": ", ".join(f"{int(width):,}" for width in widths) or "none yet",
    }


def of(record: dict) -> dict:
    """Name of a quoted value: the value, from one record."""
    speed = {
        way: entry["words"] / np.median(entry["seconds"])
        for way, entry in record["extraction"]["ways"].items()
    }
    theirs = peaks(record, "NeuroX") or {0: np.nan, 1: np.nan}
    few, many = min(theirs), max(theirs)
    seconds = np.median(largest(record, "NeuroX").get("seconds", np.nan))
    return {
        "device": record["provenance"]["device"],
        "commit": record["provenance"]["commit"],
        "counted": counted(record),
        "checked": _checked(record),
        "missed": _missed(record),
        "share": 1 / ratio(record, "extraction", ("extract",), "forward"),
        "gain_hdf5": ratio(record, "extraction", ("NeuroX HDF5",), "extract"),
        "gain_json": speed["extract"] / speed.get("NeuroX JSON", np.nan),
        "apart_vectors": _apart(record, "word vectors"),
        "apart_r": _apart(record, "correlation"),
        "neurons": largest(record, "ours")["neurons"],
        "nine": float(seconds) * largest(record, "ours")["thresholds"],
        "peak": max(peaks(record, "ours").values()),
        "peer_peak": theirs[many],
        "per_row": (theirs[many] - theirs[few]) * GB / 1000 / max(many - few, 1),
        "cost": ratio(record, "cka", SUMMED, "forward"),
        **_tuning(record),
        **_probing(record),
        **{f"rate_{name}": rate / 1e9 for name, rate in record["rates"].items()},
    }
