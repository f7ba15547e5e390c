"""The table of tasks: what each is, where its text comes from, how it is split and scored.

Adding a task is one entry here; everything else reads the table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from lib import archive, readers, sources


@dataclass(frozen=True)
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
    cut = int(n * 0.90)
    return order[:cut], order[cut:]


def _glue_split(train, dev):
    """Official train cut by :func:`official_split`; test on official dev, as paper A does."""
    return *([train[i] for i in rows] for rows in official_split(len(train))), dev


def _tail_split(train, test):
    """Last 10 % of the training sentences as dev, in their order."""
    cut = int(len(train) * 0.90)
    return train[:cut], train[cut:], test


def _half_split(valid, test):
    """The first file as train; the second one's halves as dev and test."""
    return valid, test[: len(test) // 2], test[len(test) // 2 :]


def _given_split(*parts):
    return parts


def _glue(name, title, texts, label, hub, names, *, dev="dev.tsv", short_rows=False, **more):  # noqa: PLR0917
    """One entry of GLUE: columns of its files, columns on the Hub, raw to canonical labels."""
    read = partial(readers.table, texts=texts, label=label, names=names, short_rows=short_rows)
    usual = {"metric": "accuracy", "folder": title, "split": _glue_split}
    usual |= {"labels": tuple(filter(None, names.values())), "parts": ("train.tsv", dev)}
    kind = "pair" if len(texts) == 2 else "sentence"
    return TaskInfo(name, title, kind, read=read, hub=hub, **usual | more)


def _numbered(*names) -> dict[str, str]:
    return {str(number): name for number, name in enumerate(names)}


def _itself(*names) -> dict[str, str]:
    return {name: name for name in names}


_tagging = partial(TaskInfo, kind="tagging", metric="accuracy", own="embedded")
_pmb = partial(readers.columns, word=0, width=7, comments=("# ", "###"))
_gold = {"folder": "pmb", "parts": ("train.conll", "dev.conll", "test.conll")}
_gold |= {"split": _given_split, "licence": "not stated with the files"}
_PAIR, _QUESTIONS = ("sentence1", "sentence2"), ("question1", "question2")
_rated = partial(TaskInfo, own="archive", licence="MIT", standing="not in the papers")

_TEXTS = (
    ("movies", "Movie reviews", "movie"),
    ("editorials", "Editorials", "editorial"),
    ("tweets", "Tweets", "tweet"),
)

_ENTRIES = (
    _tagging(
        "pos", "POS tagging", folder="ud_ewt", split=_given_split,
        parts=tuple(f"en_ewt-ud-{part}.conllu" for part in ("train", "dev", "test")),
        read=partial(readers.columns, word=1, tag=4, width=10, comments=("#",), numbered=True),
        standing="XPOS of UD English EWT for the Penn Treebank (LDC)", licence="CC BY-SA 4.0",
    ),
    _tagging(
        "chunk", "Chunking", folder="conll2000", parts=("train.txt", "test.txt"),
        split=_tail_split, read=partial(readers.columns, word=0, tag=2, width=3, separator=None),
        standing="CoNLL-2000 as in the papers; it has no dev part, the last tenth of train is ours",
        licence="none stated (text of the Wall Street Journal)",
    ),
    _tagging(
        "ccg", "CCG supertagging", read=partial(_pmb, tag=4, units=readers.keep_unit), **_gold,
        standing="categories of the Parallel Meaning Bank 4.0.0 for CCGbank (LDC)",
    ),
    _tagging(
        "sem", "Semantic tagging", read=partial(_pmb, tag=3, units=readers.repeat_tag), **_gold,
        standing="gold part of the Parallel Meaning Bank 4.0.0; units such as New~York are split",
    ),
    _glue(
        "sst2", "SST-2", ("sentence",), "label", ("sentence",),
        _numbered("negative", "positive"),
    ),
    _glue(  # no header: source, label, original mark, sentence
        "cola", "CoLA", (3,), 1, ("sentence",), _numbered("unacceptable", "acceptable"),
        metric="matthews",
    ),
    _glue(
        "mrpc", "MRPC", ("#1 String", "#2 String"), "Quality", _PAIR,
        _numbered("not_equivalent", "equivalent"), metric="accuracy_and_f1",
    ),
    _glue(
        "qqp", "QQP", _QUESTIONS, "is_duplicate", _QUESTIONS,
        _numbered("not_duplicate", "duplicate"), metric="accuracy_and_f1", short_rows=True,
    ),
    _glue("stsb", "STS-B", _PAIR, "score", _PAIR, {}, metric="pearson_spearman"),
    _glue(
        "mnli", "MNLI", _PAIR, "gold_label", ("premise", "hypothesis"),
        _itself("entailment", "neutral", "contradiction") | {"-": None}, dev="dev_matched.tsv",
        standing="tested on the matched part of dev, as in paper A",
    ),
    _glue(
        "qnli", "QNLI", ("question", "sentence"), "label", ("question", "sentence"),
        _itself("entailment", "not_entailment"),
    ),
    _glue("rte", "RTE", _PAIR, "label", _PAIR, _itself("entailment", "not_entailment")),
    _rated(
        "polarity", "Polarity", "sentence", "accuracy", ("negative", "positive"),
        read=archive.polarity,
        standing="movie sentences, the domain of SST-2, by the mean rating of 15 to 20 people each",
    ),
    _rated("domain", "Domain", "sentence", "accuracy", tuple(archive.KINDS), read=archive.domain),
    _rated("valence", "Valence", "sentence", "pearson_spearman", read=archive.valence),
    *(
        _rated(name, title, "text", read=partial(archive.sentences, kind))
        for name, title, kind in _TEXTS
    ),
    *(
        _rated(
            f"{kind}_sentences", f"{title} (sentences)", "sentences",
            read=partial(archive.sentences, kind),
        )
        for name, title, kind in _TEXTS
    ),
    TaskInfo(
        "topics", "Python help pages", "text", own="python", read=sources.topics,
        standing="real English at hand everywhere, for general redundancy only", licence="PSF",
    ),
    TaskInfo(
        "wikitext2", "WikiText-2", "text", folder="wikitext2", parts=("valid.txt", "test.txt"),
        split=_half_split, read=readers.paragraphs, licence="CC BY-SA",
        standing="valid as train, the halves of test as dev and test; rare words are <unk>",
    ),
)  # fmt: skip
TASKS: dict[str, TaskInfo] = {entry.name: entry for entry in _ENTRIES}
