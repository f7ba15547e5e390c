"""The table of tasks: what each is, where its text comes from, how it is split and scored.

Adding a task is one entry here; everything else reads the table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from lib import files

__all__ = ["TASKS", "TaskInfo", "official_split"]


@dataclass(frozen=True)
class TaskInfo:
    """One entry of the table of tasks.

    Attributes
    ----------
    name, title
        Key in :data:`TASKS`; the name in prose.
    kind
        ``tagging``: items (words, tags); ``sentence``: (sentence, label); ``pair``: ((a, b),
        label); ``text``: (words, None).
    metric
        Key in :data:`~lib.metrics.METRICS`; empty for text.
    labels
        Canonical labels in the Hub's order; empty where they are collected from train (tagging),
        or are numbers from 0 to 5 (stsb), or there are none (text).
    folder, parts, read, split
        Folder below a data root, its files, the reader of one file, and what makes train, dev and
        test of them.
    hub
        Columns of text in ``nyu-mll/glue``; empty if the task is not there.
    embedded
        What stands for the task when no data is at hand; empty if nothing does.
    standing
        What the papers used, where the files are something else or another selection.
    licence
        As stated by the source of the files.
    """

    name: str
    title: str
    kind: str
    metric: str = ""
    labels: tuple[str, ...] = ()
    folder: str = ""
    parts: tuple[str, ...] = ()
    read: Callable | None = None
    split: Callable | None = None
    hub: tuple[str, ...] = ()
    embedded: str = "treebank"
    standing: str = ""
    licence: str = "none stated"

    @property
    def sources(self) -> tuple[str, ...]:
        """Which of ``embedded``, ``folder`` and ``hub`` the task can be loaded from."""
        has = {"embedded": self.embedded, "folder": self.folder, "hub": self.hub}
        return tuple(name for name, there in has.items() if there)


def official_split(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Split ``n`` training rows 90/10 into train and dev, exactly as the released code of paper A.

    The legacy generator with seed 7361 shuffles ``0 .. n-1`` in place; the first ``int(0.9 n)`` are
    train. Not stratified. NumPy's global random state is not touched.

    Parameters
    ----------
    n
        Number of rows.

    Returns
    -------
    train, dev : ndarray of int

    Examples
    --------
    >>> train, dev = official_split(10)
    >>> train.tolist(), dev.tolist()
    ([4, 7, 1, 3, 8, 9, 5, 6, 0], [2])
    """
    order = np.arange(n)
    np.random.RandomState(7361).shuffle(order)
    cut = int(n * 0.90)
    return order[:cut], order[cut:]


def _glue_split(train, dev):
    """Cut official train by :func:`official_split`; test on official dev, as paper A does."""
    return *([train[i] for i in rows] for rows in official_split(len(train))), dev


def _tail_split(train, test):
    """Last 10 % of the training sentences as dev, in their order."""
    cut = int(len(train) * 0.90)
    return train[:cut], train[cut:], test


def _half_split(valid, test):
    """The first file as train; the second one's first half as dev, the other half as test."""
    return valid, test[: len(test) // 2], test[len(test) // 2 :]


def _given_split(*parts):
    """The parts as they come: train, dev, test."""
    return parts


def _page_split(pages):
    """Whole pages, in order, each to the part that most lacks sentences: 80, 10 and 10 %."""
    parts, shares = ([], [], []), (0.8, 0.1, 0.1)
    for page in pages:
        min(zip(parts, shares, strict=True), key=lambda p: len(p[0]) / p[1])[0].extend(page)
    return parts


def _glue(name, title, texts, label, hub, *, names, dev="dev.tsv", short_rows=False, **more):  # noqa: PLR0917
    """One entry of GLUE: columns of its files, columns on the Hub, raw to canonical labels."""
    defaults = {
        "kind": "pair" if len(texts) == 2 else "sentence",
        "metric": "accuracy",
        "labels": tuple(label for label in names.values() if label),
    }
    return TaskInfo(
        name,
        title,
        **defaults | more,
        folder=title,
        parts=("train.tsv", dev),
        read=partial(files.table, texts=texts, label=label, names=names, short_rows=short_rows),
        split=_glue_split,
        hub=hub,
    )


def _numbered(*names) -> dict[str, str]:
    return {str(number): name for number, name in enumerate(names)}


def _itself(*names) -> dict[str, str]:
    return {name: name for name in names}


_PAIR = ("sentence1", "sentence2")
_QUESTIONS = ("question1", "question2")
_UD = tuple(f"en_ewt-ud-{part}.conllu" for part in ("train", "dev", "test"))
_PMB = ("train.conll", "dev.conll", "test.conll")
_pmb = partial(files.columns, word=0, width=7, comments=("# ", "###"))

_ENTRIES = (
    TaskInfo(
        "pos", "POS tagging", "tagging", "accuracy",
        folder="ud_ewt", parts=_UD, split=_given_split,
        read=partial(
            files.columns, word=1, tag=4, width=10, comments=("#",), skip=files.conllu_extra
        ),
        standing="XPOS of UD English EWT for the Penn Treebank (LDC)",
        licence="CC BY-SA 4.0",
    ),
    TaskInfo(
        "chunk", "Chunking", "tagging", "accuracy",
        folder="conll2000", parts=("train.txt", "test.txt"), split=_tail_split,
        read=partial(files.columns, word=0, tag=2, width=3, separator=None),
        standing="CoNLL-2000 as in the papers; it has no dev part, the last tenth of train is ours",
        licence="none stated (text of the Wall Street Journal)",
    ),
    TaskInfo(
        "ccg", "CCG supertagging", "tagging", "accuracy",
        folder="pmb", parts=_PMB, split=_given_split,
        read=partial(_pmb, tag=4, units=files.keep_unit),
        standing="categories of the Parallel Meaning Bank 4.0.0 for CCGbank (LDC)",
        licence="not stated with the files",
    ),
    TaskInfo(
        "sem", "Semantic tagging", "tagging", "accuracy",
        folder="pmb", parts=_PMB, split=_given_split,
        read=partial(_pmb, tag=3, units=files.repeat_tag),
        standing="gold part of the Parallel Meaning Bank 4.0.0; units such as New~York are split",
        licence="not stated with the files",
    ),
    _glue(
        "sst2", "SST-2", ("sentence",), "label", ("sentence",),
        names=_numbered("negative", "positive"),
    ),
    _glue(  # no header: source, label, original mark, sentence
        "cola", "CoLA", (3,), 1, ("sentence",),
        names=_numbered("unacceptable", "acceptable"), metric="matthews",
    ),
    _glue(
        "mrpc", "MRPC", ("#1 String", "#2 String"), "Quality", _PAIR,
        names=_numbered("not_equivalent", "equivalent"), metric="accuracy_and_f1",
    ),
    _glue(
        "qqp", "QQP", _QUESTIONS, "is_duplicate", _QUESTIONS, short_rows=True,
        names=_numbered("not_duplicate", "duplicate"), metric="accuracy_and_f1",
    ),
    _glue("stsb", "STS-B", _PAIR, "score", _PAIR, names={}, metric="pearson_spearman"),
    _glue(
        "mnli", "MNLI", _PAIR, "gold_label", ("premise", "hypothesis"), dev="dev_matched.tsv",
        names=_itself("entailment", "neutral", "contradiction") | {"-": None},
        standing="tested on the matched part of dev, as in paper A",
    ),
    _glue(
        "qnli", "QNLI", ("question", "sentence"), "label", ("question", "sentence"),
        names=_itself("entailment", "not_entailment"),
    ),
    _glue(
        "rte", "RTE", _PAIR, "label", _PAIR, names=_itself("entailment", "not_entailment"),
    ),
    _glue(
        "wnli", "WNLI", _PAIR, "label", _PAIR, names=_numbered("not_entailment", "entailment"),
        standing="in GLUE, but not in the papers' tables",
    ),
    TaskInfo(
        "topics", "Python help pages", "text",
        embedded="pydoc_data.topics", split=_page_split,
        standing="real English at hand everywhere, for general redundancy only",
        licence="PSF",
    ),
    TaskInfo(
        "wikitext2", "WikiText-2", "text", embedded="",
        folder="wikitext2", parts=("valid.txt", "test.txt"), split=_half_split,
        read=files.paragraphs,
        standing="valid as train, the halves of test as dev and test; rare words are <unk>",
        licence="CC BY-SA",
    ),
)  # fmt: skip
TASKS: dict[str, TaskInfo] = {entry.name: entry for entry in _ENTRIES}

# Until the archive of rated sentences is read:
TASKS |= {"polarity": TASKS["sst2"]}
TASKS |= dict.fromkeys(("movies", "editorials", "tweets"), TASKS["topics"])
