"""The rows that probes read: a model's vectors for the words or sentences of a labelled task.

Tagging tasks are read by the pretrained model, one row per word. Tasks of sentences and pairs are
read by a model that was fine-tuned on them, one row per sentence; the random-init baseline is never
tuned. The last two tasks read are kept, and tuned weights as files (:func:`lib.finetune.tuned`),
both under a digest of everything that they depend on.

Memory: N * D numbers for each of the last two tasks, on the device where models run.
"""

from collections import Counter, namedtuple
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain

import numpy as np
from torch import Tensor

from lib import activations, corpora, encoders, finetune
from lib.checkpoints import digest, find
from lib.metrics import word_majority
from lib.settings import Settings

PARTS = ("train", "dev", "test")
DRAWN = 0  # seed of all that probes share: the text, the random weights, the fine-tuning
TUNED_ON = {"official": ("train", "dev"), "corrected": ("train",)}  # P4: dev is seen, or held out
KINDS = ("tagging", "sentence", "pair")  # of tasks that have labels

# What the numbers of every page on probes depend on, beside the task and the model.
READS = "max_words max_examples epochs batch learning_rate protocol order pooling".split()


@dataclass(frozen=True, eq=False)
class Rows:
    """The three parts of a task, as one model reads them.

    Attributes
    ----------
    task : Task
        Its parts cut to what was read.
    rows : dict of Tensor of shape (N, D)
        By the name of a part.
    labels : dict of list of length N
    words : dict of list of length N
        Of every row, in small letters; empty lists where a row is a sentence.
    layers : int
        L; neuron h of layer l is column ``l * H + h``.
    own : float or None
        Score on test of the head that the model was tuned with.
    floor : float
        Score on test of what needs no model: the commonest label of each word, or one answer.
    notes : Counter
        As in :class:`lib.activations.Activations`, over all parts.
    """

    task: corpora.Task
    rows: dict[str, Tensor]
    labels: dict[str, list]
    words: dict[str, list[str]]
    layers: int
    own: float | None
    floor: float
    notes: Counter

    @property
    def neurons(self) -> int:
        """D: columns of the rows."""
        return self.rows["train"].shape[1]

    @property
    def by_word(self) -> bool:
        """Whether a row is a word."""
        return self.task.kind == "tagging"


# Everything that rows depend on.
Reading = namedtuple("Reading", ("model", "task", "weights", "files", "text", "data", *READS))


def rows(model: str, task: str, settings: Settings, weights: str = "trained") -> Rows:
    """Rows and labels of a task; the last two that were asked for are kept.

    Cost: one forward pass, and for tasks of sentences a fine-tuning, the first time: the tuned
    weights are kept as a file.

    Parameters
    ----------
    weights
        ``trained``, or ``random`` for the random-init baseline.
    """
    files = digest(find(model))
    text = corpora.digest(task, root=settings.data, seed=DRAWN)
    chosen = (getattr(settings, name) for name in ("data", *READS))
    return _rows(Reading(model, task, weights, files, text, *chosen))


@lru_cache(maxsize=2)
def _rows(asked: Reading) -> Rows:
    whole = corpora.load(asked.task, root=asked.data, seed=DRAWN)
    by_word = whole.kind == "tagging"
    task = _cut(whole, asked) if by_word else whole.first(asked.max_examples)
    model, tokenizer, own = _model(asked, task)
    options = {"level": "word", "pooling": asked.pooling}
    if not by_word:
        options = {"level": "sentence", "max_length": finetune.RELEASED.max_length}
    table, labels, words, notes = {}, {}, {}, Counter()
    for part in PARTS:
        texts, given = zip(*getattr(task, part), strict=True)
        found = activations.extract(model, tokenizer, list(texts), progress=True, **options)
        table[part] = found.rows.flatten(1).to(encoders.default_device())
        labels[part] = list(chain(*given) if by_word else given)
        words[part] = [word.lower() for word in chain(*texts)] if by_word else []
        notes += found.notes
    floor = word_majority(task.train, task.test) if by_word else corpora.constant(task)
    return Rows(task, table, labels, words, activations.n_layers(model), own, floor, notes)


def _cut(task: corpora.Task, asked: Reading) -> corpora.Task:
    """A task of words, each part cut to some rows; training sentences are drawn."""
    parts = {"train": corpora.drawn(task, asked.order, DRAWN), "dev": task.dev, "test": task.test}
    cut = {part: corpora.fitting(task, items, asked.max_words) for part, items in parts.items()}
    return replace(task, **cut)


def _model(asked: Reading, task: corpora.Task) -> tuple:
    """The model that reads a task, its tokenizer, and the score of its own head if it has one."""
    if asked.weights == "random" or task.kind == "tagging":
        seed = DRAWN if asked.weights == "random" else None
        return *encoders.load(asked.model, random_seed=seed), None
    recipe = finetune.Recipe(
        asked.learning_rate, asked.epochs, asked.batch, parts=TUNED_ON[asked.protocol]
    )
    model, tokenizer, _ = finetune.tuned(asked.model, task, (None, recipe), seed=DRAWN)
    found = finetune.evaluate(model, tokenizer, task, task.test, recipe.max_length)
    return model, tokenizer, next(iter(found.values()))


def control_labels(words: dict[str, Sequence], labels: Sequence, seed: int = 0) -> dict[str, list]:
    """Labels of a control task: random, but the same wherever a word stands.

    They can only be memorised :cite:p:`hewitt2019designing`. *Selectivity* is the accuracy on the
    real labels minus that on these.

    Parameters
    ----------
    words
        Words of every row, by the name of a part.
    labels
        Real labels of the training rows; each distinct word draws one of them.

    Examples
    --------
    >>> found = control_labels({"train": ["a", "b", "a"], "test": ["b"]}, ["x", "y", "x"])
    >>> found["train"][0] == found["train"][2], found["train"][1] == found["test"][0]
    (True, True)
    """
    types = sorted({word for part in words.values() for word in part})
    drawn = np.random.default_rng(seed).integers(len(labels), size=len(types))
    label = {word: labels[place] for word, place in zip(types, drawn, strict=True)}
    return {part: [label[word] for word in those] for part, those in words.items()}
