"""Rows and labels that probes are trained on, from a model and a task.

Tagging tasks are read by the pretrained model, one row per word. Tasks of sentences and pairs are
read by a model that was fine-tuned on them, one row per sentence. The random twin is never tuned.
Memory: N * D numbers, on the device where models run.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from torch import Tensor

from lib import activations, corpora, encoders, finetune, general
from lib.dropped import runs
from lib.grids import Profile, Run
from lib.probing import clock
from lib.training import RELEASED

PARTS = ("train", "dev", "test")
TUNED_ON = {"official": ("train", "dev"), "corrected": ("train",)}  # P4: dev is seen, or held out
DRAWN = 0  # seed of all that probes share: the text, the random twin, the fine-tuning


@dataclass(frozen=True)
class Labelled:
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
    notes : Counter
        As in :class:`lib.activations.Activations`, over all parts.
    passes : dict
        Seconds of passes over some sentences, by the number of blocks kept; see
        :func:`lib.probing.clock.passes`. Empty for random weights.
    """

    task: corpora.Task
    rows: dict[str, Tensor]
    labels: dict[str, list]
    words: dict[str, list[str]]
    layers: int
    own: float | None
    notes: Counter
    passes: dict = field(default_factory=dict)

    @property
    def neurons(self) -> int:
        """D: columns of the rows."""
        return self.rows["train"].shape[1]


def labelled(settings: Profile, run: Run) -> Labelled:
    """Rows of a run's task; cost: one forward pass, and a fine-tuning for tasks of sentences."""
    shared = replace(run, seed=DRAWN)
    whole = general.load_task(run.task, settings.root(), DRAWN)
    by_word = general.level(whole) == "word"
    task = cut(settings, whole) if by_word else runs.task_of(settings, shared)
    model, tokenizer, own = _model(settings, shared, task)
    options = {"level": "word", "pooling": settings.pooling}
    if not by_word:
        options = {"level": "sentence", "max_length": RELEASED.max_length}
    rows, notes = _read(model, tokenizer, task, options)
    labels = {part: _labels(getattr(task, part), by_word) for part in PARTS}
    words = {part: _words(getattr(task, part)) if by_word else [] for part in PARTS}
    layers, passes = activations.n_layers(model), {}
    if run.setting == "trained":
        passes = clock.passes(model, tokenizer, [text for text, _ in task.test], **options)
    return Labelled(task, rows, labels, words, layers, own, notes, passes)


def _read(model, tokenizer, task: corpora.Task, options: dict) -> tuple[dict[str, Tensor], Counter]:
    """Rows (N, D) of all parts of a task, and what was noted."""
    rows, notes = {}, Counter()
    for part in PARTS:
        sentences = [sentence for sentence, _ in getattr(task, part)]
        found = activations.extract(model, tokenizer, sentences, progress=True, **options)
        rows[part] = found.rows.flatten(1).to(encoders.default_device())
        notes += found.notes
    return rows, notes


def cut(settings: Profile, task: corpora.Task) -> corpora.Task:
    """A task of words, each part cut to the profile's number; training sentences are drawn."""
    most = settings.probed_words
    train = general.drawn(settings, task, DRAWN, most)
    dev, test = (general.fitting(task, part, most) for part in (task.dev, task.test))
    return replace(task, train=train, dev=dev, test=test)


def _model(settings: Profile, run: Run, task: corpora.Task) -> tuple:
    """The model that reads a task, its tokenizer, and the score of its own head if it has one."""
    if run.setting == "random" or general.level(task) == "word":
        return *general.load_model(run), None
    recipe = runs.recipe_of(settings, parts=TUNED_ON[settings.protocol])
    model, tokenizer = finetune.begin(run.model, task, recipe=recipe, seed=run.seed)
    finetune.train(model, tokenizer, task, recipe=recipe, seed=run.seed, progress=True)
    scores = finetune.evaluate(model, tokenizer, task, task.test, max_length=recipe.max_length)
    return model, tokenizer, next(iter(scores.values()))


def _labels(items: list, by_word: bool) -> list:
    return [tag for _, tags in items for tag in tags] if by_word else [label for _, label in items]


def _words(items: list) -> list[str]:
    return [word.lower() for words, _ in items for word in words]
