"""How much is run where: three profiles side by side, and the grid of runs each one asks for.

A notebook never asks for a profile's name; it reads its fields. Every field can be overridden by a
papermill parameter of the same name, and is checked here before any work starts.
"""

from __future__ import annotations

import ast
import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import yaml

from lib import activations, dropping, models, probes, tasks
from lib.errors import BadInput, one_of, within

ORDERS = ("shuffled", "first")
WEIGHTS = ("trained", "random")
SOURCES = ("embedded", "root", "hub")
TEXTS = tuple(name for name, task in tasks.TASKS.items() if task.kind in ("tagging", "text"))
GLUE = tuple(name for name, task in tasks.TASKS.items() if task.kind in ("sentence", "pair"))
LABELLED = tuple(name for name, task in tasks.TASKS.items() if task.kind != "text")

# What may change a number of an experiment; a record made under other values is not reused.
PASS = ("data", "order", "words", "sentences", "pooling")
TUNED = ("data", "examples", "epochs", "batch", "learning_rate")
PROBED = (*TUNED, "order", "pooling", "probed_words", "protocol")
AFFECTS = {
    "activations": PASS,
    "layer_similarity": PASS,
    "neuron_correlation": (*PASS, "thresholds"),
    "layer_probes": PROBED,
    "neuron_rankings": PROBED,
    "strategies": ("data", "examples"),
    "dropping": TUNED,
    "distilled": (*TUNED, "words", "order", "distil_on", "distil_epochs"),
    "tuning": TUNED,
    "cost": ("data", "timed", "repeats", "batch"),
}
WHOLE = "whole"  # setting of a run from which no block is dropped


@dataclass(frozen=True)
class Run:
    """One cell of a grid, and the name under which its record is found again."""

    experiment: str
    model: str
    task: str
    setting: str
    seed: int


def cut_of(setting: str) -> tuple[str, int]:
    """Strategy and number of blocks dropped of a setting such as ``top 2``; 0 of ``whole``."""
    strategy, _, k = setting.partition(" ")
    return strategy, int(k or 0)


@dataclass(frozen=True)
class Profile:
    """What is run: one line per choice, the same for every page that has use for it."""

    name: str
    purpose: str  # for the reader of the table of profiles
    models: tuple[str, ...]  # names of lib.models.MODELS, Hub ids or folders
    tasks: tuple[str, ...]  # texts on which general redundancy is measured; see lib.tasks.TASKS
    data: str  # embedded, root (the data root), hub, or a folder laid out like the data root
    words: int  # rows at most of a text read word by word; paper A takes the first 150,000
    sentences: int  # rows at most of a text read sentence by sentence
    seeds: tuple[int, ...]  # each draws another sample of the text (and other random weights)
    weights: tuple[str, ...] = WEIGHTS  # trained, and as a floor a random twin of the same shape
    order: str = "shuffled"  # how sentences are drawn: shuffled by the seed, or the papers' first
    pooling: str = "last"  # piece that a word's vector is read from
    thresholds: tuple[float, ...] = tuple(round(0.1 * i, 1) for i in range(1, 10))  # 1 - |r|
    probed: tuple[str, ...] = ()  # tasks on which probes are trained
    probed_words: int = 150_000  # rows at most of each part of a tagging task that is probed
    protocol: str = "corrected"  # how probes are trained and neurons ranked: official, corrected
    tuned_on: tuple[str, ...] = ()  # tasks of sentences and pairs on which models are fine-tuned
    examples: int = 10_000  # at most, of a task's training part, and of its dev and test parts
    strategies: tuple[str, ...] = tuple(dropping.STRATEGIES)
    drops: tuple[float, ...] = (1 / 6, 1 / 3, 1 / 2)  # shares of the blocks; papers: 2, 4, 6 of 12
    epochs: int = 3  # this and the next two: the released recipe
    batch: int = 8
    learning_rate: float = 5e-5
    restarts: tuple[int, ...] = (0, 1, 2)  # each draws another head, order and dropout
    distil_on: str = "wikitext2"  # text from which a student learns, up to ``words`` of it
    distil_epochs: int = 3
    timed: int = 512  # sentences or pairs of one timed pass of inference and of fine-tuning
    repeats: int = 5  # rounds in which every depth is timed once
    use_records: bool = True  # False computes again what is already recorded
    compute: bool = True  # False computes nothing: what has no record is shown as missing
    experiment: str = ""  # the page that asks

    def runs(self) -> list[Run]:
        """The grid of the experiment: model x task x setting x seed."""
        return [Run(self.experiment, *cell) for cell in GRIDS[self.experiment](self)]

    def cuts(self, model: str) -> list[str]:
        """Settings of a model's runs: ``whole``, and a strategy with how many blocks it drops.

        From the top every number is dropped, by the other strategies the shares of ``drops``.
        """
        n, cuts = models.blocks(model), [WHOLE]
        for strategy in self.strategies:
            shares = range(1, n) if strategy == "top" else [round(n * s) for s in self.drops]
            most = dropping.most_dropped(strategy, n)
            cuts += [f"{strategy} {k}" for k in dict.fromkeys(shares) if 1 <= k <= most]
        return cuts

    def students(self, model: str) -> list[str]:
        """Settings of a distilled student of half the blocks: ``whole``, and cut from the top."""
        return [WHOLE, *(f"top {k}" for k in range(1, models.blocks_at_half(model)))]

    def ways(self, model: str) -> list[str]:
        """Settings of the runs around one tuned model: ``whole``, ``after``, ``again``, ``frozen``.

        Blocks go from the top, the shares of ``drops``; ``frozen`` keeps as many as most of these.
        """
        n = models.blocks(model)
        shares = [k for k in dict.fromkeys(round(n * s) for s in self.drops) if 1 <= k < n]
        late = [f"{way} {k}" for way in ("after", "again") for k in shares]
        return [WHOLE, *late, f"frozen {max(shares)}"] if shares else [WHOLE]

    def digest(self, run: Run) -> str:
        """Digest of everything, beside the run itself, that its number depends on."""
        known = {name: getattr(self, name) for name in AFFECTS[run.experiment]}
        known["data"] = self.data if self.data in SOURCES else "root"
        if Path(run.model).is_dir():
            known["weights"] = models.digest(models.find(run.model))
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]

    def root(self) -> str | Path | None:
        """Where :func:`lib.tasks.load` reads, from the field ``data``."""
        if self.data == "root" and tasks.data_root() is None:
            raise BadInput(
                "data 'root' needs a data root, and none was found; set REDUNDANCY_DATA to a folder"
            )
        return {"embedded": None, "root": tasks.data_root()}.get(self.data, self.data)


def _of_texts(settings: Profile):
    return itertools.product(settings.models, settings.tasks, settings.weights, settings.seeds)


def _of_probes(settings: Profile):
    return itertools.product(settings.models, settings.probed, settings.weights, settings.seeds)


def _of_rankings(settings: Profile):
    return _of_probes(replace(settings, weights=("trained",)))


def _of_inputs(settings: Profile):
    """Nothing is drawn but the random twin and generated text, so one seed is enough."""
    seeds = settings.restarts[:1]
    return itertools.product(settings.models, settings.tuned_on, settings.weights, seeds)


def _of_tuned(settings_of):
    """Grid of fine-tuning runs: the settings of a model x task x seed."""

    def grid(profile: Profile):
        for model, task in itertools.product(profile.models, profile.tuned_on):
            settings = settings_of(profile, model)
            for setting, seed in itertools.product(settings, profile.restarts):
                yield model, task, setting, seed

    return grid


def _of_depths(settings: Profile):
    """Every depth from the top down, of each model, on the first task alone."""
    for model in settings.models:
        for setting in replace(settings, strategies=("top",)).cuts(model):
            yield model, settings.tuned_on[0], setting, settings.restarts[0]


GRIDS = {
    "activations": _of_texts,
    "layer_similarity": _of_texts,
    "neuron_correlation": _of_texts,
    "layer_probes": _of_probes,
    "neuron_rankings": _of_rankings,
    "strategies": _of_inputs,
    "dropping": _of_tuned(Profile.cuts),
    "distilled": _of_tuned(Profile.students),
    "tuning": _of_tuned(Profile.ways),
    "cost": _of_depths,
}

PROBED_TASKS = ("pos", "sem", "ccg", "chunk", "rte", "mrpc", "stsb", "cola", "sst2", "qnli")
PROBED_TASKS += ("mnli", "qqp")  # CoLA is ours, the others are paper A's

TINY = Profile(
    name="tiny",
    purpose="see every experiment work; two laptop cores, no network, minutes",
    models=("all-minilm-l6-v2",),
    tasks=("pos", "topics", "sst2"),
    data="embedded",
    words=6_000,
    sentences=1_000,
    seeds=(0, 1, 2),
    probed=("pos", "sst2"),
    probed_words=1_500,
    tuned_on=("sst2",),
    examples=256,
    drops=(1 / 3,),
    epochs=4,
    learning_rate=1e-4,
    restarts=(0,),
    distil_on="topics",
    timed=48,
    repeats=3,
)
SMALL = Profile(
    name="small",
    purpose="real data, recorded in the repository; a CPU in an hour, a GPU in minutes",
    models=("all-minilm-l6-v2",),
    tasks=("pos", "wikitext2", "sst2"),
    data="root",
    words=150_000,
    sentences=10_000,
    seeds=(0, 1, 2),
    probed=PROBED_TASKS,
    tuned_on=("rte", "mrpc", "stsb", "cola", "sst2", "qnli", "mnli", "qqp"),
    timed=128,
)
PAPER = Profile(
    name="paper",
    purpose="the papers' models and sizes; a GPU or a cluster",
    models=(
        "bert-base-cased",
        "roberta-base",
        "xlnet-base-cased",
        "distilbert-base-cased",
        "distilroberta-base",
    ),
    tasks=("pos", "sem", "ccg", "chunk", "sst2", "mrpc", "mnli", "qnli", "qqp", "rte", "stsb"),
    data="root",
    words=150_000,
    sentences=1_000_000,
    seeds=(0, 1, 2),
    probed=PROBED_TASKS,
    tuned_on=("rte", "mrpc", "stsb", "cola", "sst2", "qnli", "mnli", "qqp"),
    examples=1_000_000,
)
PROFILES = {profile.name: profile for profile in (TINY, SMALL, PAPER)}


def _check_model(name: str) -> None:
    if name not in models.MODELS and not Path(name).is_dir() and name.count("/") != 1:
        raise BadInput(
            f"model {name!r} is no folder, no Hub id (owner/name) and not in the table; "
            f"the table has: {', '.join(models.MODELS)}"
        )


def _within(what: str, low: float, high: float, kind: type | tuple = int):
    return lambda value: within(what, value, low, high, kind)


CHECKS = {  # of one value; a field that holds a tuple is checked value by value
    "models": _check_model,
    "tasks": lambda value: one_of("task", value, tasks.TASKS),
    "data": lambda value: Path(value).is_dir() or one_of("data", value, (*SOURCES, "a folder")),
    "words": _within("words", 10, 100_000_000),
    "sentences": _within("sentences", 10, 100_000_000),
    "seeds": _within("seed", 0, 2**32 - 1),
    "weights": lambda value: one_of("weights", value, WEIGHTS),
    "order": lambda value: one_of("order", value, ORDERS),
    "pooling": lambda value: one_of("pooling", value, activations.POOLING),
    "thresholds": _within("threshold", 0, 1, (int, float)),
    "probed": lambda value: one_of("task", value, LABELLED),
    "probed_words": _within("probed_words", 10, 100_000_000),
    "protocol": lambda value: one_of("protocol", value, probes.PROTOCOLS),
    "tuned_on": lambda value: one_of("task", value, GLUE),
    "examples": _within("examples", 10, 100_000_000),
    "strategies": lambda value: one_of("strategy", value, dropping.STRATEGIES),
    "drops": _within("share of blocks", 0.01, 0.99, float),
    "epochs": _within("epochs", 1, 100),
    "batch": _within("batch", 1, 4096),
    "learning_rate": _within("learning_rate", 1e-8, 1, float),
    "restarts": _within("restart", 0, 2**32 - 1),
    "distil_on": lambda value: one_of("text", value, TEXTS),
    "distil_epochs": _within("distil_epochs", 1, 100),
    "timed": _within("timed", 10, 1_000_000),
    "repeats": _within("repeats", 1, 1000),
    "use_records": lambda value: one_of("use_records", value, (True, False)),
    "compute": lambda value: one_of("compute", value, (True, False)),
}


def listed(value):
    """A parameter's value; a list that papermill's ``-p`` passed as text becomes a list again."""
    return yaml.safe_load(value) if isinstance(value, str) and value.startswith("[") else value


def checked(name: str, value):
    """A parameter's value, as the profile holds it, or a sentence that says why not."""
    one_of("parameter", name, CHECKS)
    value = listed(value)
    if not isinstance(getattr(TINY, name), tuple):
        CHECKS[name](value)
        return value
    if not isinstance(value, list | tuple) or not value:
        raise BadInput(f"{name} {value!r} is not valid; it takes a list of at least one value")
    if len(set(map(str, value))) != len(value):
        raise BadInput(f"{name} {value!r} names a value twice; each may be named once")
    for entry in value:
        CHECKS[name](entry)
    if name == "weights" and "trained" not in value:
        raise BadInput(f"weights {value!r} lack 'trained', beside which the random twin is a floor")
    return tuple(value)


def get(profile: str, experiment: str, **overrides) -> Profile:
    """A profile for one experiment, with some of its fields overridden.

    Parameters
    ----------
    profile
        ``tiny``, ``small`` or ``paper``.
    experiment
        One of :data:`AFFECTS`.
    overrides
        Fields of :class:`Profile`; None keeps the profile's value.

    Raises
    ------
    BadInput
        For an unknown profile, experiment, parameter or value, naming the valid ones.

    Examples
    --------
    >>> get("tiny", "layer_similarity", seeds=[7]).seeds
    (7,)
    >>> get("tiny", "layer_similarity", thresholds=[1.2])
    Traceback (most recent call last):
    lib.errors.BadInput: threshold 1.2 is out of range; valid: 0 to 1
    """
    one_of("profile", profile, PROFILES)
    one_of("experiment", experiment, AFFECTS)
    given = {name: checked(name, v) for name, v in overrides.items() if v is not None}
    return replace(PROFILES[profile], experiment=experiment, **given)


def check_names(cells: Sequence[str]) -> None:
    """Refuse a parameter that a notebook does not have, which papermill itself lets pass.

    Parameters
    ----------
    cells
        Sources of the cells run so far (``In`` in a notebook): papermill writes the parameters it
        was given into a cell of its own, right behind the one that declares them.
    """
    for declared, given in itertools.pairwise(cells):
        if given.startswith("# Parameters"):
            valid = _assigned(declared)
            for name in _assigned(given):
                one_of("parameter", name, valid)


def _assigned(source: str) -> list[str]:
    targets = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            targets += node.targets
        elif isinstance(node, ast.AnnAssign):
            targets.append(node.target)
    return [target.id for target in targets if isinstance(target, ast.Name)]


def describe() -> list[dict[str, str]]:
    """Rows of the book's table of profiles, one per field."""
    shown = [f.name for f in fields(Profile) if f.name not in ("name", "experiment")]
    tables = {name: asdict(profile) for name, profile in PROFILES.items()}
    return [
        {"Field": f"`{field}`", **{name: _shown(t[field]) for name, t in tables.items()}}
        for field in shown
    ]


def _shown(value) -> str:
    many = isinstance(value, list | tuple)
    return (
        ", ".join(map(str, value)) if many else f"{value:,}" if type(value) is int else str(value)
    )
