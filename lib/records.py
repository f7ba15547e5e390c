"""Run the cells of a grid and keep what each gave: one line of JSON a run, never computed twice.

``book/results/<profile>/<experiment>/<model>--<task>.jsonl`` holds the numbers, without times or
host names, so that two machines write the same file (only records of run times hold times).
``... .provenance.jsonl`` beside it holds what made them. A record is found again by its cell and by
everything its numbers depend on: the digest of the settings, of the model's files and of the text.
Files are replaced whole, provenance first: a process killed at any instant leaves whole files, and
never a number without its provenance.
"""

import ast
import inspect
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import pandas as pd
from filelock import FileLock
from tqdm import tqdm

from lib import checkpoints, corpora, encoders, provenance
from lib.errors import BadInput, one_of
from lib.provenance import ROOT
from lib.settings import Settings

PUBLISHED = Path(__file__).parent / "published"  # tables of paper B's first version
COMMITTED = ROOT / "book" / "results"  # records of the repository
DIGITS = 6
SOURCES = {"embedded": "this environment", "hub": "Hub"}  # of texts, in words; else the data root
IDENTITY = ("digest", "files", "text")  # of settings, model and text: what finds a record again


def fill(settings: Settings, grid: Sequence[tuple], step: Callable[..., dict]) -> pd.DataFrame:
    """Compute the cells of a grid that have no record, record them, and return all of them.

    Parameters
    ----------
    settings
        From :func:`lib.settings.of`.
    grid
        One tuple per run. The names of its entries are the names of ``step``'s parameters; those
        that hold the words ``model`` and ``task`` name models and tasks, ``seed`` a seed.
    step
        Computes one run: a dict of numbers, strings, lists and dicts of them.

    Returns
    -------
    DataFrame
        One row per finished run in the grid's order: its cell, then what ``step`` returned, lists
        as lists. ``attrs`` holds ``asked``, the number of cells, and ``made``, what made each run.

    Raises
    ------
    BadInput
        If nothing may be computed and no run has a record.
    """
    return joined((settings, grid, step)).drop(columns="experiment")


def joined(*parts: tuple[Settings, Sequence[tuple], Callable[..., dict]]) -> pd.DataFrame:
    """:func:`fill` of several experiments in one table; column ``experiment`` says whose a run is.

    Each of ``parts`` is what :func:`fill` takes. An experiment without a record may be absent, as
    long as there is another.
    """
    tables = [_filled(*part) for part in parts]
    some = [table for table in tables if len(table)]
    if not some:
        names = " and ".join(repr(settings.experiment) for settings, *_ in parts)
        raise BadInput(
            f"no run of {names} has a record under these settings, and compute is "
            "False; compute them ('make records' does), or choose settings that are recorded"
        )
    whole = pd.concat(some, ignore_index=True)
    asked, made = ([table.attrs[name] for table in tables] for name in ("asked", "made"))
    whole.attrs = {"asked": sum(asked), "made": sum(made, [])}
    return whole


def _filled(settings: Settings, grid: Sequence[tuple], step: Callable[..., dict]) -> pd.DataFrame:
    """The finished runs of one experiment after what is missing was computed; maybe none."""
    names = list(inspect.signature(step).parameters)
    cells = [dict(zip(names, entry, strict=True)) for entry in dict.fromkeys(grid)]
    if settings.compute:
        left = [c for c in cells if not settings.use_records or not _find(settings, c)[0]]
        for cell in tqdm(left, unit="run", disable=not left, leave=False):
            begin = time.perf_counter()
            add(settings, cell, step(**cell), time.perf_counter() - begin)
    found = [(cell, *_find(settings, cell, made=True)) for cell in cells]
    found = [entry for entry in found if entry[1]]
    table = pd.DataFrame([cell | line["values"] for cell, line, _ in found])
    table = table.assign(experiment=settings.experiment)
    table.attrs = {"asked": len(cells), "made": [made for _, _, made in found if made]}
    return table


def coverage(runs: pd.DataFrame) -> str:
    """How many runs of a grid are finished, in words."""
    return f"{len(runs)} of {runs.attrs['asked']} runs are finished."


def long(table: pd.DataFrame, by: str, *columns: str) -> pd.DataFrame:
    """One row per entry of some columns of lists or dicts, numbered or named by ``by``.

    Examples
    --------
    >>> table = pd.DataFrame({"seed": [0], "score": [[0.5, 0.7]]})
    >>> long(table, "layer", "score")["score"].tolist()
    [0.5, 0.7]
    """
    rows = []
    for row in table.to_dict("records"):
        first = row[columns[0]]
        for key in first if isinstance(first, dict) else range(len(first)):
            rows.append(row | {by: _number(key)} | {name: row[name][key] for name in columns})
    return pd.DataFrame(rows)


def _number(key):
    """A number that JSON wrote as text, as the key of a dict; a name as it is."""
    try:
        return ast.literal_eval(str(key))
    except (ValueError, SyntaxError):
        return key


def same(settings: Settings, **wanted) -> dict | None:
    """Values of a recorded run whose cell or values agree with those wanted, None if there is none.

    For runs that several cells share, such as two strategies that keep the same blocks.
    """
    cell = {name: value for name, value in wanted.items() if name != "keep"}
    known, wanted = identity(settings, cell), rounded(wanted)
    for line in _lines(path(settings, cell)):
        if (
            _agrees(line, known)
            and _precise(settings, line)
            and wanted.items() <= (line | line["values"]).items()
        ):
            return line["values"]
    return None


# ---- what finds a record again ----------------------------------------------------------------


def results() -> Path:
    """Folder of all records: ``$REDUNDANCY_RESULTS``, else ``book/results``."""
    return Path(os.environ.get("REDUNDANCY_RESULTS") or COMMITTED)


def path(settings: Settings, cell: dict) -> Path:
    """File that holds the record of a cell."""
    named = [v for n, v in cell.items() if v is not None and ("model" in n or "task" in n)]
    name = "--".join(str(v).strip("/").replace("/", "__").replace("\\", "__") for v in named)
    folder = results() / settings.profile / settings.experiment
    return folder / f"{name or settings.experiment}.jsonl"


def identity(settings: Settings, cell: dict) -> dict:
    """Digests of the settings, of the models' files and of the texts; None where not at hand."""
    files = [_files(v) for n, v in cell.items() if "model" in n and v is not None]
    texts = [
        corpora.digest(v, root=settings.data, seed=cell.get("seed", 0))
        for n, v in cell.items()
        if "task" in n and v is not None
    ]
    return {"digest": settings.digest, "files": _joined(files), "text": _joined(texts)}


def _joined(digests: list[str | None]) -> str | None:
    return None if None in digests else "-".join(digest[:12] for digest in digests)


def _files(model: str) -> str | None:
    """Digest of a model's files, None where they are not on this machine."""
    folder = checkpoints.local(model)
    return folder and checkpoints.digest(folder)


def _agrees(line: dict, known: dict) -> bool:
    return all(known[name] in (None, line.get(name)) for name in IDENTITY)


def _find(settings: Settings, cell: dict, *, made: bool = False) -> list[dict | None]:
    """The record of a cell, None if there is none; and, if asked for, what made it."""
    file, known, wanted = path(settings, cell), identity(settings, cell), rounded(cell)

    def sought(line: dict) -> bool:
        same = all(line.get(n) == v for n, v in wanted.items())
        return same and _agrees(line, known) and _precise(settings, line)

    found = [next(filter(sought, _lines(file)), None)]
    if made:
        told = found[0] and _told(found[0])
        lines = (line for line in _lines(file.with_suffix(".provenance.jsonl")) if sought(line))
        lines = (line for line in lines if None in (told, _told(line)) or told == _told(line))
        found.append(next(lines, None))
    return found


def _told(line: dict) -> str | None:
    """The precision of a record or of its provenance; old ones tell none."""
    return line.get("values", line).get("precision")


def _precise(settings: Settings, line: dict) -> bool:
    """Whether a record is of the precision asked for; *best* takes any."""
    return settings.precision == "best" or _told(line) in (None, settings.precision)


def _lines(file: Path) -> list[dict]:
    if not file.exists():
        return []
    about = file.stat()
    return _parsed(file, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=256)
def _parsed(file: Path, *_: int) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


# ---- writing ----------------------------------------------------------------------------------


def add(settings: Settings, cell: dict, values: dict, seconds: float) -> None:
    """Write one finished run; the record that these settings would find is replaced."""
    taken = set(cell) & set(values)
    if taken:
        raise BadInput(f"the step returns {sorted(taken)}, which are names of the grid's cell")
    file = path(settings, cell)
    file.parent.mkdir(parents=True, exist_ok=True)
    name = rounded(cell) | identity(settings, cell)
    with FileLock(file.with_suffix(".lock")):
        made = _made(settings, cell) | {"seconds": seconds}
        made |= {"precision": values["precision"]} if "precision" in values else {}
        _put(file.with_suffix(".provenance.jsonl"), name, rounded(made), settings)
        _put(file, name, {"values": rounded(values)}, settings)


def _put(file: Path, name: dict, entry: dict, settings: Settings) -> None:
    """Replace or add one line, writing the whole file anew beside the old one."""

    def stays(line: dict) -> bool:
        return {key: line.get(key) for key in name} != name or not _precise(settings, line)

    others = filter(stays, _lines(file))
    lines = sorted(json.dumps(line, sort_keys=True) for line in [*others, name | entry])
    write_whole(file, "".join(f"{line}\n" for line in lines))


def write_whole(file: Path, text: str) -> None:
    """Replace a file by a new one written beside it: a process killed here leaves a whole file."""
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    with fresh.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(fresh, file)


def rounded(value, number: Callable[[float], float] = lambda value: round(value, DIGITS)):
    """Plain JSON values, floats rounded, by default to 6 digits after the point, NaN as None.

    Examples
    --------
    >>> import numpy as np
    >>> rounded({"cka": np.array([1 / 3, float("nan")])})
    {'cka': [0.333333, None]}
    """
    if isinstance(value, dict):
        return {str(key): rounded(entry, number) for key, entry in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [rounded(entry, number) for entry in value]
    if isinstance(value, float):
        return number(value) if math.isfinite(value) else None
    return value


# ---- what made a record -----------------------------------------------------------------------


def _made(settings: Settings, cell: dict) -> dict:
    """Source of the text, device, versions and commit."""
    tasks = [value for name, value in cell.items() if "task" in name]
    known = [corpora.TASKS[task] for task in tasks if task in corpora.TASKS]
    fetched = known and all(task.own == "archive" for task in known)
    source = SOURCES.get("embedded" if fetched else settings.data, "data root")
    return {
        "source": source if len(known) == len(tasks) else "the reader's file",
        "versions": provenance.versions(),
        "device": provenance.device_name(encoders.default_device()),
        "commit": provenance.commit(),
    }


# ---- published numbers, and verdicts ----------------------------------------------------------


def published(name: str) -> pd.DataFrame:
    """A table of paper B's first version (arXiv 2004.03844v1), by the name of its file.

    Every row names its table or figure; tables are as printed, figures were read off the plot.
    """
    one_of("published table", name, [file.stem for file in sorted(PUBLISHED.glob("*.csv"))])
    return pd.read_csv(PUBLISHED / f"{name}.csv")


def keep_verdict(settings: Settings, claim: str, **row) -> None:
    """Write what the scoreboard says of a claim; not where the reader changed a setting."""
    if settings.usual:
        file = results() / settings.profile / "claims" / f"{claim}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(rounded({"claim": claim} | row), indent=1, sort_keys=True))


def verdicts(profile: str, folder: Path | None = None) -> pd.DataFrame:
    """Verdicts that the pages of a profile have written, by default to :func:`results`."""
    files = sorted(((folder or results()) / profile / "claims").glob("*.json"))
    return pd.DataFrame([json.loads(file.read_text()) for file in files])
