"""The only writer of results: one line of JSON per run, found again by what it depends on.

``book/results/<profile>/<experiment>/<model>--<task>.jsonl`` holds the numbers, without times or
host names, so that two machines write the same file; only the records of ``cost`` and
``efficient_transfer`` hold times too, which are among their numbers. ``... .provenance.jsonl``
beside it holds what made them. Files are replaced whole, provenance first: a process killed at any
instant leaves whole files, and never a number without its provenance.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import torch
from filelock import FileLock

from lib.grids import Profile, Run

ROOT = Path(__file__).resolve().parent.parent
DIGITS = 6
PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "scipy", "scikit-learn", "datasets")


def results() -> Path:
    """Folder of all records: ``$REDUNDANCY_RESULTS``, else ``book/results``."""
    return Path(os.environ.get("REDUNDANCY_RESULTS") or ROOT / "book" / "results")


def slug(model: str) -> str:
    """Name of a model as part of a file's name: the slashes of a folder or Hub id become ``__``."""
    return model.strip("/").replace("/", "__").replace("\\", "__")


def path(profile: str, run: Run) -> Path:
    """File that holds a run's record."""
    return results() / profile / run.experiment / f"{slug(run.model)}--{run.task}.jsonl"


def rounded(value):
    """Plain JSON values, floats rounded to 6 digits after the point, NaN as None.

    Examples
    --------
    >>> rounded({"cka": torch.tensor([1 / 3, float("nan")])})
    {'cka': [0.333333, None]}
    """
    if isinstance(value, dict):
        return {str(key): rounded(entry) for key, entry in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [rounded(entry) for entry in value]
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, DIGITS)
    return value


def _lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _key(line: dict) -> tuple:
    return line["setting"], line["seed"], line["digest"]


def _put(file: Path, entry: dict) -> None:
    """Replace or add one line, writing the whole file anew beside the old one."""
    lines = {_key(line): line for line in _lines(file)} | {_key(entry): entry}
    text = "".join(json.dumps(lines[key], sort_keys=True) + "\n" for key in sorted(lines))
    write_whole(file, text)


def write_whole(file: Path, text: str) -> None:
    """Replace a file by a new one written beside it: a process killed here leaves a whole file."""
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    with fresh.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(fresh, file)


def add(settings: Profile, run: Run, values: dict, provenance: dict) -> None:
    """Write one finished run; a record of the same run and digest is replaced.

    Parameters
    ----------
    settings
        The profile under which it ran.
    run
        What was run.
    values
        Numbers, lists or dicts of them; tensors and arrays are written as lists.
    provenance
        What made them, from :func:`provenance`.
    """
    file = path(settings.name, run)
    file.parent.mkdir(parents=True, exist_ok=True)
    name = {**asdict(run), "digest": settings.digest(run)}
    with FileLock(file.with_suffix(".lock")):
        _put(file.with_suffix(".provenance.jsonl"), {**name, **rounded(provenance)})
        _put(file, {**name, "values": rounded(values)})


def find(settings: Profile, run: Run) -> dict | None:
    """The record of a run, None where it has not been computed under these settings."""
    return _find(path(settings.name, run), settings, run)


def made_by(settings: Profile, run: Run) -> dict | None:
    """The provenance of a run."""
    return _find(path(settings.name, run).with_suffix(".provenance.jsonl"), settings, run)


def _find(file: Path, settings: Profile, run: Run) -> dict | None:
    if not file.exists():
        return None
    key = (run.setting, run.seed, settings.digest(run))
    return next((line for line in _lines(file) if _key(line) == key), None)


def read(settings: Profile) -> Iterator[tuple[Run, dict]]:
    """Every run of a grid that has a record, with its values."""
    for run in settings.runs():
        record = find(settings, run)
        if record is not None:
            yield run, record["values"]


def commit() -> str:
    """Commit of the code, marked where the tree differs from it; ``unknown`` outside git."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "lib", "notebooks")
        return git("rev-parse", "--short=12", "HEAD") + ("+changed" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def device_name(device) -> str:
    """The device in words: the GPU's name, or the processor type and the threads used."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"


def provenance(
    *, device, weights: str, data: str, source: str, precision: str = "float32", **seconds: float
) -> dict:
    """What a record's numbers come from.

    Parameters
    ----------
    device
        Where the model ran.
    weights, data
        SHA-256 of the model's weights and of the text read.
    source
        Where the text came from, in words.
    precision
        Of the model's matrix products.
    seconds
        Wall time: ``seconds`` of the run, and of parts of it under names of their own.
    """
    return {
        "versions": versions(),
        "device": device_name(device),
        "precision": precision,
        "commit": commit(),
        "weights": weights,
        "data": data,
        "source": source,
        **seconds,
    }
