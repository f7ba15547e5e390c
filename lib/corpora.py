"""Sentences and labels of any task, from any of its sources, with an account of what was read.

The first step of every experiment: :func:`load` reads a task of :data:`~lib.task_table.TASKS` from
the generated treebank, the archive of rated sentences, a folder with the original files, or the
Hub. Memory: plain Python lists, some 100 MB for the largest set; the last four tasks are kept.
"""

import os
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np

from lib import archive, metrics, readers, treebank
from lib.errors import BadInput, one_of
from lib.task_table import TASKS, TaskInfo, official_split  # noqa: F401  (fixed name)

EMBEDDED_SIZES = (4000, 500, 500)  # sentences of the generated treebank for train, dev and test
OF_WORDS = ("tagging", "text")  # kinds of tasks whose sentences are lists of words
OF_FILES = ("folder", "hub")  # sources of which no seed decides anything
WORD = re.compile(r"\w+(?:[-.'’]\w+)*|[^\w\s]")
SAYS = {  # sources in words for an error: values of the parameter ``data``
    "embedded": "data='embedded' (generated)",
    "folder": "data='root' or a folder of files",
    "hub": "data='hub'",
}


@dataclass(frozen=True)
class Task:
    """Text with labels, split, and the account of where it comes from.

    Attributes
    ----------
    name, kind, metric
        As in :class:`~lib.task_table.TaskInfo`.
    title
        The name in prose; it says so where the text is generated.
    labels
        Canonical labels in order. For tagging: the tags of train, sorted. A dev or test tag that
        train lacks stays in the data and is an error for every probe; ``skipped`` counts them.
    source
        In words, without paths of this machine.
    digest
        SHA-256 of what was read; see :func:`digest`.
    skipped
        What the reader left out or altered by rule, and how often.
    train, dev, test
        Items; see :class:`~lib.task_table.TaskInfo` for their shape.
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

    def __str__(self) -> str:
        sizes = " / ".join(f"{len(part):,}" for part in (self.train, self.dev, self.test))
        told = ", ".join(f"{count:,} {what}" for what, count in self.skipped.items())
        return f"{self.title}, {self.source}: {sizes} items; left out or altered: {told or 'none'}"

    @property
    def level(self) -> str:
        """``word`` where sentences are lists of words, one row a word; else ``sentence``."""
        return "word" if self.kind in OF_WORDS else "sentence"

    def first(self, n: int) -> "Task":
        """The same task with each part cut to its first ``n`` items."""
        return replace(self, train=self.train[:n], dev=self.dev[:n], test=self.test[:n])


def title(name: str, data: str | None = None) -> str:
    """The name of a task in prose; it says *generated* where ``data`` makes it so."""
    if name not in TASKS:
        return Path(name).name
    return f"{TASKS[name].title} (generated)" if generated(name, data) else TASKS[name].title


def generated(name: str, data: str | None) -> bool:
    """Whether a task's text is generated: the treebank's, where ``data`` is embedded."""
    return data == "embedded" and name in TASKS and TASKS[name].own == "embedded"


def load(name: str, *, root: str | Path | None = None, seed: int = 0) -> Task:
    """Load one task from one source.

    Parameters
    ----------
    name
        Key of :data:`~lib.task_table.TASKS`.
    root
        None or ``"embedded"``: the generated treebank, for tagging. ``"root"``: the data root of
        :func:`data_root`. ``"hub"``: ``nyu-mll/glue`` on the Hub, or its cache. Any other value: a
        folder with the original files, ``glue/SST-2`` and so on. Tasks of the archive need none.
    seed
        Which sentences the treebank writes, and how the archive is split; files do not depend on
        it.

    Returns
    -------
    Task

    Raises
    ------
    BadInput
        If the task or the source is unknown, or a file is missing or malformed (file and line).

    Examples
    --------
    >>> load("pos").title
    'POS tagging (generated)'
    """
    one_of("task", name, TASKS)
    where, known = _where(TASKS[name], root), digest(name, root=root, seed=seed)
    found = _read(name, where, root, 0 if where in OF_FILES else seed, known)
    own = {part: list(getattr(found, part)) for part in ("train", "dev", "test")}
    return replace(found, skipped=dict(found.skipped), **own)  # a caller may change its lists


@lru_cache(maxsize=4)  # the steps of a page ask for the same few tasks again and again
def _read(name: str, where: str, root, seed: int, known: str | None) -> Task:
    """:func:`load`, once for each digest of the text."""
    info, told = TASKS[name], Counter()
    source, parts = _parts(info, where, _files(info, where, root), seed, told)
    train, dev, test = map(list, parts)
    if not (train and dev and test):
        raise BadInput(f"task {name!r} from {source} has too few items for train, dev and test")
    labels = _labels(info, train, dev + test, told)
    return Task(
        name, title(name, where), info.kind, info.metric, labels, source,
        known, dict(sorted((+told).items())), train, dev, test,
    )  # fmt: skip


def _where(info: TaskInfo, root) -> str:
    """Which source of a task ``root`` means; refuses one that the task does not have."""
    if info.own == "archive":
        return info.own
    where = {None: "embedded", "embedded": "embedded", "hub": "hub"}.get(root, "folder")
    if where not in info.sources:
        valid = " or ".join(SAYS[source] for source in info.sources)
        raise BadInput(f"task {info.name!r} is not to be had with {SAYS[where]}; it has {valid}")
    return where


def _files(info: TaskInfo, where: str, root) -> list[Path]:
    """The files that a task's text depends on."""
    if where == "hub":
        parts = readers.hub(info.name).values()
        return [Path(file["filename"]) for part in parts for file in part.cache_files]
    if where != "folder":
        return [archive.place()] if where == "archive" else treebank.FILES
    root = data_root() if root == "root" else Path(root)
    if root is None:
        raise BadInput("there is no data root: set REDUNDANCY_DATA to its folder")
    places = [f"glue/{info.folder}", info.folder] if info.hub else [info.folder]
    for place in places:
        if (root / place).is_dir():
            return [root / place / part for part in info.parts]
    raise BadInput(f"data root {str(root)!r} has no folder {' or '.join(places)}")


def _parts(info: TaskInfo, where: str, files: list[Path], seed: int, told: Counter) -> tuple:
    """The source in words, and the items of train, dev and test."""
    if where == "folder":
        place = "glue/" * (files[0].parent.parent.name == "glue") + info.folder
        return f"data root, {place}", info.split(*(info.read(file, told) for file in files))
    if where == "hub":
        return f"Hub, {readers.HUB}", info.split(*readers.hub_parts(info, told))
    if where == "embedded":
        items = iter(treebank.tagged(info.name, sum(EMBEDDED_SIZES), seed=seed))
        parts = tuple(list(islice(items, size)) for size in EMBEDDED_SIZES)
        return f"embedded treebank, seed {seed}", parts
    parts = readers.split_apart(info.read(told), seed, (0.8, 0.9), told)
    if info.kind == "text":
        parts = [[(WORD.findall(text), None) for text, _ in part] for part in parts]
    return archive.SOURCE, parts


def _labels(info, train, held_out, told) -> tuple[str, ...]:
    """Labels of the table, or the tags of train, sorted; counts tags that train lacks."""
    if info.kind != "tagging":
        return info.labels
    known = {tag for _, tags in train for tag in tags}
    unseen = sum(tag not in known for _, tags in held_out for tag in tags)
    told["dev and test words whose tag train lacks (kept)"] += unseen
    return tuple(sorted(known))


def data_root() -> Path | None:
    """Find the folder of real data: ``$REDUNDANCY_DATA``, else ``../shared/data``, else None."""
    named = os.environ.get("REDUNDANCY_DATA")
    if named and not Path(named).is_dir():
        raise BadInput(f"REDUNDANCY_DATA names {named!r}, which is not a folder")
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    return Path(named) if named else beside if beside.is_dir() else None


def digest(name: str, *, root: str | Path | None = None, seed: int = 0) -> str | None:
    """SHA-256 of a task's text, equal to the loaded task's; nothing is parsed.

    Of files it is that of their names and bytes; the treebank and the archive add the seed. It is
    kept for files whose size and time of change stay the same.

    Returns
    -------
    str or None
        None where the data is not there.
    """
    if name not in TASKS and Path(name).is_file():  # a plain text of the reader's own
        return digest_of([Path(name)])
    one_of("task", name, TASKS)
    try:
        where = _where(TASKS[name], root)
        files = _files(TASKS[name], where, root)
        return digest_of(files, "" if where in OF_FILES else f"seed {seed}")
    except (OSError, BadInput):
        return None


def digest_of(files, extra: str = "") -> str:
    """SHA-256 of names and bytes of files, and of what else decides about the text."""
    stats = [(Path(file), Path(file).stat()) for file in files]
    return _sha(tuple((file, stat.st_size, stat.st_mtime_ns) for file, stat in stats), extra)


@cache
def _sha(files: tuple, extra: str) -> str:
    found = sha256()
    for file, *_ in files:
        raw = file.read_bytes()
        found.update(f"{file.name}\n{len(raw)}\n".encode() + raw)
    found.update(extra.encode())
    return found.hexdigest()


def sample(task: Task, rows: int, *, order: str = "shuffled", seed: int = 0) -> list:
    """Training sentences up to a number of rows; whole sentences are taken while they fit.

    Parameters
    ----------
    rows
        Words where sentences are lists of words, else sentences.
    order
        ``shuffled`` (by the seed) or ``first`` (as they stand).

    Raises
    ------
    BadInput
        If fewer than two sentences fit.
    """
    return [sentence for sentence, _ in fitting(task, drawn(task, order, seed), rows)]


def drawn(task: Task, order: str, seed: int) -> list:
    """Training items, ``shuffled`` by a seed or as they stand (``first``)."""
    one_of("order", order, ("shuffled", "first"))
    if order == "first":
        return task.train
    return [task.train[i] for i in np.random.default_rng(seed).permutation(len(task.train))]


def fitting(task: Task, items: list, rows: int) -> list:
    """The first items of a task, as many as fit into a number of rows; two at least."""
    sizes = [len(sentence) if task.level == "word" else 1 for sentence, _ in items]
    count = int((np.cumsum(sizes) <= rows).sum())
    if count < 2:
        raise BadInput(f"{rows} rows leave {count} sentences of {task.name}; at least 2 needed")
    return items[:count]


def score(task: Task, predictions, labels) -> dict[str, float]:
    """Score predictions by the task's own metric.

    Parameters
    ----------
    task
    predictions, labels : sequence of length N
        Canonical labels, or numbers where the task has numbers. Where the metric has a positive
        class, it is the task's second label.

    Returns
    -------
    dict
        Numbers by name, the primary one first.
    """
    one_of(f"metric of task {task.name!r}:", task.metric, metrics.METRICS)
    positive = {"positive": task.labels[1]} if "f1" in task.metric else {}
    return metrics.METRICS[task.metric](predictions, labels, **positive)


def constant(task: Task) -> float:
    """Best primary score on the test part of giving one and the same answer: no model at all."""
    gold = [label for _, label in task.test]
    answers = task.labels or (float(np.mean(gold)),)
    return max(next(iter(score(task, [a] * len(gold), gold).values())) for a in answers)
