"""The table of tasks: what each is, where its text comes from, how it is split and scored.

Adding a task is one entry in ``lib/tasks.yml``; everything else reads the table.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from pydantic.dataclasses import dataclass

from lib import archive, readers


@dataclass(frozen=True, config={"extra": "forbid"})
class TaskInfo:
    """One entry of the table of tasks.

    Attributes
    ----------
    name, title
        Key in :data:`TASKS`; the name in prose.
    kind
        ``tagging``: items (words, tags); ``sentence``: (sentence, label); ``pair``: ((a, b),
        label); without labels ``text``: (words, None), and ``sentences``: (sentence, None).
    metric
        Key in :data:`~lib.metrics.METRICS`; empty for text without labels.
    labels
        Canonical labels in the Hub's order; empty where they are collected from train (tagging),
        are numbers (``valence`` from -4 to 4, ``stsb`` from 0 to 5), or do not exist.
    own
        The source that needs neither files nor Hub: ``embedded`` (the generated treebank),
        ``archive`` (:mod:`lib.archive`), or none.
    read
        Reader: of one file of a data root, or of the whole task in the archive.
    folder, parts, split
        Folder below a data root, its files, and what makes train, dev and test of them.
    hub
        Columns of text in ``nyu-mll/glue``; empty if the task is not there.
    standing
        What the papers used, where the text is something else or another selection.
    licence
        As stated by the source of the text.
    """

    name: str
    title: str
    kind: str
    metric: str = ""
    labels: tuple[str, ...] = ()
    own: str = ""
    read: Callable | None = None
    folder: str = ""
    parts: tuple[str, ...] = ()
    split: Callable | None = None
    hub: tuple[str, ...] = ()
    standing: str = ""
    licence: str = "none stated"

    @property
    def sources(self) -> tuple[str, ...]:
        """Where the task can be loaded from: ``embedded``, ``archive``, ``folder``, ``hub``."""
        return tuple(filter(None, (self.own, self.folder and "folder", self.hub and "hub")))


def _cut(items, share: float) -> tuple:
    """The first so many items, and the others."""
    place = int(len(items) * share)
    return items[:place], items[place:]


def official_split(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Split ``n`` training rows 90/10 into train and dev, exactly as the released code of paper A.

    The legacy generator with seed 7361 shuffles ``0 .. n-1`` in place; the first ``int(0.9 n)`` are
    train. Not stratified. NumPy's global random state is not touched.

    Examples
    --------
    >>> train, dev = official_split(10)
    >>> train.tolist(), dev.tolist()
    ([4, 7, 1, 3, 8, 9, 5, 6, 0], [2])
    """
    order = np.arange(n)
    np.random.RandomState(7361).shuffle(order)
    return _cut(order, 0.90)


def _glue_split(train, dev):
    """Official train cut by :func:`official_split`; test on official dev, as paper A does."""
    return *([train[i] for i in rows] for rows in official_split(len(train))), dev


READERS = {
    "table": readers.table,
    "columns": readers.columns,
    "paragraphs": readers.paragraphs,
    "polarity": archive.polarity,
    "sentences": archive.sentences,
}
SPLITS = {
    "glue": _glue_split,
    "tail": lambda train, test: (*_cut(train, 0.90), test),  # the last tenth of train as dev
    "half": lambda valid, test: (valid, *_cut(test, 0.50)),  # the first file as train
    "given": lambda *parts: parts,
}


def _entry(name: str, entry: dict) -> TaskInfo:
    """One entry of ``lib/tasks.yml``, with its reader and its split as functions."""
    how, split = entry.pop("format", {}), SPLITS.get(entry.pop("split", None))
    read = partial(READERS[entry.pop("read")], **how)
    named = {"labels": list(filter(None, how.get("names", {}).values()))}
    return TaskInfo(name=name, read=read, split=split, **named | entry)


_TABLE = yaml.safe_load(Path(__file__).with_name("tasks.yml").read_text("utf-8"))
TASKS: dict[str, TaskInfo] = {name: _entry(name, entry) for name, entry in _TABLE.items()}
