"""Sentences and labels of any task, from any of its sources, with an account of what was read.

The first step of every experiment. Adding a task is one entry of the table; everything else reads
the table. Memory: plain Python lists, some 100 MB for the largest set.
"""

import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, partial
from hashlib import sha256
from pathlib import Path

import numpy as np

from lib import archive, metrics, readers, sources
from lib.errors import BadInput, one_of

#: How many examples the generated treebank has in train, dev and test.
EMBEDDED_SIZES = {kind: (2000, 250, 500) for kind in ("sentence", "pair")}
EMBEDDED_SIZES["tagging"] = (4000, 500, 500)
HUB = "nyu-mll/glue"
LEAST = 50  # different texts of a reader's own file, so that each part has ten
WORD = re.compile(r"\w+(?:[-.'’]\w+)*|[^\w\s]")
SAYS = {  # sources in words for an error: values of the parameter ``data``
    "embedded": "data='embedded' (generated)",
    "folder": "data='root' or a folder of files",
    "hub": "data='hub'",
}


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


@dataclass(frozen=True)
class Task:
    """Text with labels, split, and the account of where it comes from.

    Attributes
    ----------
    name, kind, metric
        As in :class:`TaskInfo`.
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

    def __str__(self) -> str:
        sizes = " / ".join(f"{len(part):,}" for part in (self.train, self.dev, self.test))
        told = ", ".join(f"{count:,} {what}" for what, count in self.skipped.items())
        return f"{self.title}, {self.source}: {sizes} items; left out or altered: {told or 'none'}"

    @property
    def level(self) -> str:
        """``word`` where sentences are lists of words, one row a word; else ``sentence``."""
        return "word" if self.kind in {"tagging", "text"} else "sentence"

    def first(self, n: int) -> "Task":
        """The same task with each part cut to its first ``n`` items."""
        return replace(self, train=self.train[:n], dev=self.dev[:n], test=self.test[:n])


# ---- splits --------------------------------------------------------------------------------------


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


def split_apart(items: list, seed: int, shares: tuple, told: Counter) -> tuple[list, list, list]:
    """Cut items by a seed, in its order; texts of the same words come into the same part.

    Parameters
    ----------
    items
        (text or pair, label).
    seed
        Decides which text comes into which part, and the order.
    shares
        Where train ends, and dev, as shares of the different texts.
    told
        Counts the near-duplicates: texts that differ only in case and marks.
    """
    keys = [_bare(text) for text, _ in items]
    groups = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    told["near-duplicates, kept in one part"] += len(keys) - len(groups)
    place = np.random.default_rng(seed).permutation(len(groups)) / max(1, len(groups))
    where, parts = np.array([place[groups[key]] for key in keys]), ([], [], [])
    for i in np.argsort(where, kind="stable"):
        parts[sum(where[i] >= share for share in shares)].append(items[i])
    return parts


def _bare(text) -> str:
    whole = text if isinstance(text, str) else "\n".join(text)
    return " ".join(re.findall(r"\w+", whole.casefold())) or whole


# ---- the table -----------------------------------------------------------------------------------


def _glue(name, title, texts, label, hub, names, *, dev="dev.tsv", short_rows=False, **more):  # noqa: PLR0917
    """One entry of GLUE: columns of its files, columns on the Hub, raw to canonical labels."""
    read = partial(readers.table, texts=texts, label=label, names=names, short_rows=short_rows)
    usual = {"metric": "accuracy", "own": "embedded", "folder": title, "split": _glue_split}
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
        _rated(f"{kind}_sentences", f"{title} (sentences)", "sentence",
               read=partial(archive.sentences, kind))
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


def title(name: str, data: str | None = None) -> str:
    """The name of a task in prose; it says *generated* where ``data`` makes it so."""
    if name not in TASKS:
        return name
    generated = data == "embedded" and TASKS[name].own == "embedded"
    return f"{TASKS[name].title} (generated)" if generated else TASKS[name].title


# ---- loading -------------------------------------------------------------------------------------


def load(name: str, *, root: str | Path | None = None, seed: int = 0) -> Task:
    """Load one task from one source.

    Parameters
    ----------
    name
        Key of :data:`TASKS`.
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
    info, told = _info(name), Counter()
    where = _where(info, root)
    source, parts = _READ[where](info, root, seed, told)
    train, dev, test = (list(part) for part in parts)
    if not (train and dev and test):
        raise BadInput(f"task {name!r} from {source} has too few items for train, dev and test")
    labels = _labels(info, train, dev + test, told)
    return Task(
        name, title(name, where), info.kind, info.metric, labels, source,
        digest(name, root=root, seed=seed), dict(sorted((+told).items())), train, dev, test,
    )  # fmt: skip


def _info(name: str) -> TaskInfo:
    one_of("task", name, TASKS)
    return TASKS[name]


def _where(info: TaskInfo, root) -> str:
    """Which source of a task ``root`` means; refuses one that the task does not have."""
    if info.own in {"archive", "python"}:
        return info.own
    where = {None: "embedded", "embedded": "embedded", "hub": "hub"}.get(root, "folder")
    if where not in info.sources:
        valid = " or ".join(SAYS[source] for source in info.sources)
        raise BadInput(f"task {info.name!r} is not to be had with {SAYS[where]}; it has {valid}")
    return where


def _folder_of(info: TaskInfo, root) -> tuple[Path, str]:
    """The data root and the task's folder in it."""
    root = data_root() if root == "root" else Path(root)
    if root is None:
        raise BadInput("there is no data root: set REDUNDANCY_DATA to its folder")
    places = [f"glue/{info.folder}", info.folder] if info.hub else [info.folder]
    for place in places:
        if (root / place).is_dir():
            return root, place
    raise BadInput(f"data root {str(root)!r} has no folder {' or '.join(places)}")


def _from_folder(info, root, seed, told):
    folder, place = _folder_of(info, root)
    parts = [info.read(folder / place / part, told) for part in info.parts]
    return f"data root, {place}", info.split(*parts)


def _from_archive(info, root, seed, told):
    parts = split_apart(info.read(told), seed, (0.8, 0.9), told)
    if info.kind == "text":
        parts = [[(WORD.findall(text), None) for text, _ in part] for part in parts]
    return archive.SOURCE, parts


def _from_treebank(info, root, seed, told):
    from lib import treebank  # noqa: PLC0415  (only where it is used)

    sizes = EMBEDDED_SIZES[info.kind]
    write = treebank.tagged if info.kind == "tagging" else treebank.examples
    items = write(info.name, sum(sizes), seed=seed)
    first, second = sizes[0], sizes[0] + sizes[1]
    return f"embedded treebank, seed {seed}", (items[:first], items[first:second], items[second:])


def _from_hub(info, root, seed, told):
    parts = ("train", "validation_matched" if info.name == "mnli" else "validation")
    data = _hub_data(info.name)
    return f"Hub, {HUB}", info.split(*(_hub_rows(data[part], part, info, told) for part in parts))


@lru_cache(maxsize=1)
def _hub_data(name: str):
    """A task of GLUE from the Hub, or from its cache where ``HF_HUB_OFFLINE`` is set."""
    from datasets import load_dataset  # noqa: PLC0415  (slow to import)

    try:
        return load_dataset(HUB, name)
    except Exception as error:  # the ways to fail are many: network, cache, proxy
        none = isinstance(error, FileNotFoundError)
        why = "the Hub has no such data set" if none else "the Hub does not answer"
        raise BadInput(
            f"{HUB} ({name}) cannot be had, {why}; use {SAYS['folder']} instead"
        ) from error


def _hub_rows(data, part: str, info: TaskInfo, told) -> list[tuple]:
    """Items of one split; -1 marks a row without label."""
    for column in (*info.hub, "label"):
        one_of(f"{HUB} {part}: column", column, data.column_names)
    declared = tuple(getattr(data.features["label"], "names", None) or info.labels)
    if declared != info.labels:
        raise BadInput(f"{HUB} {part}: classes are {declared}; expected {info.labels}")
    items = []
    for i, (*words, raw) in enumerate(zip(*(data[c] for c in (*info.hub, "label")), strict=True)):
        high = len(info.labels) - 1 if info.labels else 5
        value = None if raw == -1 else readers.number(f"{HUB} {part} row {i}", raw, 0, high)
        named = info.labels and value is not None
        items.append(readers.item(words, info.labels[int(value)] if named else value, told))
    return [found for found in items if found]


_READ = {
    "embedded": _from_treebank,
    "python": lambda info, root, seed, told: (sources.topics_source(), info.read(told)),
    "archive": _from_archive,
    "folder": _from_folder,
    "hub": _from_hub,
}


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


def own(file, classes, *, text, label: str, metric: str | None = None, seed: int = 0) -> Task:
    """Read a reader's own labelled file and cut it into train, dev and test: 60, 20 and 20 %.

    Parameters
    ----------
    file, classes, text, label
        As for :func:`lib.readers.labelled`.
    metric
        One that fits the classes (:func:`lib.metrics.fitting`); default the first of them.
    seed
        Decides which text comes into which part.
    """
    file, valid, told = Path(file), metrics.fitting(classes), Counter()
    one_of("metric of this model:", metric or valid[0], valid)
    items, skipped, how = readers.labelled(file, text, label, classes)
    different = len({words for words, _ in items})
    if different < LEAST:
        raise BadInput(f"{file}: holds {different} different texts; at least {LEAST} are needed")
    parts = split_apart(items, seed, (0.6, 0.8), told)
    kind = "sentence" if isinstance(items[0][0], str) else "pair"
    source = ", ".join(filter(None, (f"file {file.name}", how)))
    return Task(
        "own", file.stem, kind, metric or valid[0], tuple(classes), source, _sha(_stats([file])),
        skipped, *parts,
    )  # fmt: skip


# ---- what a task's numbers depend on, samples, scores --------------------------------------------


def digest(name: str, *, root: str | Path | None = None, seed: int = 0) -> str | None:
    """SHA-256 of a task's text, equal to the loaded task's; nothing is parsed.

    Of files it is that of their names and bytes; the treebank and the archive add the seed. It is
    kept for files whose size and time of change stay the same.

    Returns
    -------
    str or None
        None where the data is not there.
    """
    info = _info(name)
    where = _where(info, root)
    try:
        files = _FILES[where](info, root)
        return _sha(_stats(files), "" if where in {"folder", "hub"} else f"seed {seed}")
    except (OSError, BadInput):
        return None


def _stats(files) -> tuple:
    stats = [(Path(file), Path(file).stat()) for file in files]
    return tuple((file, stat.st_size, stat.st_mtime_ns) for file, stat in stats)


@cache
def _sha(files: tuple, extra: str = "") -> str:
    found = sha256()
    for file, *_ in files:
        raw = file.read_bytes()
        found.update(f"{file.name}\n{len(raw)}\n".encode() + raw)
    found.update(extra.encode())
    return found.hexdigest()


def _folder_files(info, root) -> list[Path]:
    folder, place = _folder_of(info, root)
    return [folder / place / part for part in info.parts]


def _treebank_files(info, root) -> list[str]:
    from lib import treebank  # noqa: PLC0415  (only where it is used)

    return [treebank.__file__]


_FILES = {
    "embedded": _treebank_files,
    "archive": lambda info, root: [archive.place()],
    "python": lambda info, root: [sources.topics_file()],
    "folder": _folder_files,
    "hub": lambda info, root: [
        file["filename"] for part in _hub_data(info.name).values() for file in part.cache_files
    ],
}


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
    one_of("order", order, ("shuffled", "first"))
    items = [sentence for sentence, _ in task.train]
    if order == "shuffled":
        items = [items[i] for i in np.random.default_rng(seed).permutation(len(items))]
    sizes = [len(sentence) if task.level == "word" else 1 for sentence in items]
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
