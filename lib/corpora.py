"""Sentences and labels of any task, from any of its sources, with an account of what was read.

The first step of every experiment: ``load("pos")`` reads the embedded treebank, a folder with the
original files, or the Hub; :mod:`lib.task_table` says what there is. Memory: plain Python lists,
some 100 MB for the largest set.
"""

import os
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from lib import files, sources
from lib.errors import BadInput, one_of
from lib.metrics import METRICS
from lib.task_table import TASKS, TaskInfo, official_split

__all__ = [
    "METRICS",
    "TASKS",
    "Task",
    "TaskInfo",
    "data_root",
    "load",
    "official_split",
    "score",
]

# How many examples the embedded treebank writes for train, dev and test.
EMBEDDED_SIZES = {
    "tagging": (4000, 500, 500),
    "sentence": (2000, 250, 500),
    "pair": (2000, 250, 500),
}


@dataclass(frozen=True)
class Task:
    """Text with labels, split, and the account of where it comes from.

    Attributes
    ----------
    name, title, kind, metric
        As in :class:`TaskInfo`.
    labels
        Canonical labels in order. For tagging: the tags of train, sorted. A dev or test tag that
        train lacks stays in the data and is an error for every probe; ``skipped`` counts them.
    source
        In words, without paths of this machine.
    digest
        SHA-256 of the files, or of the examples, that were read.
    skipped
        What the reader left out or altered by rule, and how often.
    train, dev, test
        Items; see :class:`TaskInfo` for their shape.
    """

    name: str
    title: str
    kind: str
    metric: str
    labels: tuple[str, ...]
    source: str
    digest: str
    skipped: dict[str, int]
    train: list = field(repr=False)
    dev: list = field(repr=False)
    test: list = field(repr=False)

    def first(self, most: int) -> "Task":
        """The task with at most so many examples in each of its parts."""
        parts = {part: getattr(self, part)[:most] for part in ("train", "dev", "test")}
        return replace(self, **parts)

    def __str__(self) -> str:
        sizes = " / ".join(f"{len(part):,}" for part in (self.train, self.dev, self.test))
        told = ", ".join(f"{count:,} {what}" for what, count in self.skipped.items())
        return f"{self.title}, {self.source}: {sizes} items; left out or altered: {told or 'none'}"


def load(name: str, *, root: str | Path | None = None, seed: int = 0) -> Task:
    """Load one task from one source.

    Parameters
    ----------
    name
        Key of :data:`TASKS`.
    root
        None: embedded data, no files. ``"hub"``: ``nyu-mll/glue`` on the Hub, or its cache. Any
        other value: a data root, a folder with the original files, ``glue/SST-2`` and so on.
    seed
        Which sample the embedded treebank writes; files do not depend on it.

    Returns
    -------
    Task

    Raises
    ------
    BadInput
        If the task or the source is unknown, or a file is missing or malformed (file and line).

    Examples
    --------
    >>> load("topics").kind
    'text'
    """
    one_of("task", name, TASKS)
    root = {"embedded": None, "root": data_root()}.get(root, root)
    info, reading = TASKS[name], files.Reading()
    where = {None: "embedded", "hub": "hub"}.get(root, "folder")
    if where not in info.sources:
        raise BadInput(f"task {name!r} has no {where} source; it has {_elsewhere(info)}")
    source, parts = _SOURCES[where](info, reading, root, seed)
    train, dev, test = (list(part) for part in parts)
    if not (train and dev and test):
        raise BadInput(f"task {name!r} from {source} has too few items for train, dev and test")
    labels = _labels(info, train, dev + test, reading)
    skipped = {what: count for what, count in sorted(reading.left_out.items()) if count}
    return Task(
        name, info.title, info.kind, info.metric, labels, source, reading.digest, skipped,
        train, dev, test,
    )  # fmt: skip


def _embedded(info, reading, root, seed):
    """Train, dev and test cut from one call, in which no input occurs twice."""
    if info.kind == "text":
        return sources.topics_source(), info.split(sources.topics(reading))
    from lib import treebank  # noqa: PLC0415  (only where it is used)

    sizes = EMBEDDED_SIZES[info.kind]
    write = treebank.tagged if info.kind == "tagging" else treebank.examples
    items = write(info.name, sum(sizes), seed=seed)
    reading.note(items)
    first, second = sizes[0], sizes[0] + sizes[1]
    return f"embedded treebank, seed {seed}", (items[:first], items[first:second], items[second:])


def _folder(info, reading, root, seed):
    """Read the files of one task below a data root."""
    places = [f"glue/{info.folder}", info.folder] if info.hub else [info.folder]
    there = [place for place in places if (Path(root) / place).is_dir()]
    if not there:
        raise BadInput(f"data root {str(root)!r} has no folder {' or '.join(places)}")
    parts = [info.read(Path(root) / there[0] / part, reading) for part in info.parts]
    return f"data root, {there[0]}", info.split(*parts)


def _hub(info, reading, root, seed):
    validation = "validation_matched" if info.name == "mnli" else "validation"
    parts = sources.hub(
        info.name, reading, texts=info.hub, names=info.labels, parts=("train", validation),
        elsewhere=_elsewhere(info, but="hub"),
    )  # fmt: skip
    return f"Hub, {sources.HUB}", info.split(*parts)


_SOURCES = {"embedded": _embedded, "folder": _folder, "hub": _hub}
_IN_WORDS = {
    "embedded": "root=None (embedded)",
    "folder": "a folder (root=...)",
    "hub": "root='hub'",
}


def _elsewhere(info: TaskInfo, but: str = "") -> str:
    """Name the sources of a task, in words for an error."""
    return " or ".join(_IN_WORDS[where] for where in info.sources if where != but)


def _labels(info, train, held_out, reading) -> tuple[str, ...]:
    """Labels of the table, or the tags of train, sorted; counts tags that train lacks."""
    if info.kind != "tagging":
        return info.labels
    known = {tag for _, tags in train for tag in tags}
    unseen = sum(tag not in known for _, tags in held_out for tag in tags)
    reading.left_out["dev and test words whose tag train lacks (kept)"] += unseen
    return tuple(sorted(known))


def score(task: Task, predictions, labels) -> dict[str, float]:
    """Score predictions by the task's own metric.

    Parameters
    ----------
    task
    predictions, labels : sequence of length N
        Canonical labels; numbers for stsb. Where the metric has a positive class, it is the
        task's second label.

    Returns
    -------
    dict
        Numbers by name, the primary one first.
    """
    one_of(f"metric of task {task.name!r}:", task.metric, METRICS)
    positive = {"positive": task.labels[1]} if "f1" in task.metric else {}
    return METRICS[task.metric](predictions, labels, **positive)


def title(name: str, data: str | None = None) -> str:
    """Title of a task; where the embedded text of it is generated, the title says so."""
    generated = data == "embedded" and TASKS[name].kind == "tagging"
    return f"{TASKS[name].title} (generated)" if generated else TASKS[name].title


def digest(name: str, *, root=None, seed: int = 0) -> str | None:
    """Digest of a task's text, None where it is not at hand."""
    try:
        return _digest(name, root, seed)
    except BadInput:
        return None


@cache
def _digest(name: str, root, seed: int) -> str:
    return load(name, root=root, seed=seed).digest


def constant(task: Task) -> float:
    """Best score on the test part of giving one and the same answer: no model at all."""
    gold = [label for _, label in task.test]
    answers = task.labels or (sum(gold) / len(gold),)
    return max(next(iter(score(task, [a] * len(gold), gold).values())) for a in answers)


def data_root() -> Path | None:
    """Find the folder of real data: ``$REDUNDANCY_DATA``, else ``../shared/data``, else None."""
    named = os.environ.get("REDUNDANCY_DATA")
    if named and not Path(named).is_dir():
        raise BadInput(f"REDUNDANCY_DATA names {named!r}, which is not a folder")
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    return Path(named) if named else beside if beside.is_dir() else None
