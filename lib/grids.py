"""What can be chosen, and the grid of runs that each experiment makes of the choices.

A run is found again by its cell of the grid and by a digest of the choices that may change its
number. :mod:`lib.profiles` holds the three profiles, and checks what a reader chooses instead.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass, replace
from pathlib import Path

from lib import corpora, dropping, encoders
from lib.errors import BadInput

WEIGHTS = ("trained", "random")
SOURCES = ("embedded", "root", "hub")

# What may change a number of an experiment; a record made under other values is not reused.
PASS = ("data", "order", "words", "sentences", "pooling")
TUNED = ("data", "examples", "epochs", "batch", "learning_rate")
PROBED = (*TUNED, "order", "pooling", "probed_words", "protocol")
NARROWED = ("layer_tolerances", "neuron_tolerance", "cluster_threshold")
AFFECTS = {
    "activations": PASS,
    "layer_similarity": PASS,
    "neuron_correlation": (*PASS, "thresholds"),
    "layer_probes": PROBED,
    "neuron_rankings": PROBED,
    "clustered_probes": (*PROBED, "thresholds"),
    "efficient_transfer": (*PROBED, *NARROWED),
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
    models: tuple[str, ...]  # names of lib.encoders.MODELS, Hub ids or folders
    tasks: tuple[str, ...]  # texts on which general redundancy is measured; see lib.corpora.TASKS
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
    layer_tolerances: tuple[float, ...] = (1, 2, 3)  # per cent of the oracle that LS may lose
    neuron_tolerance: float = 1  # per cent that FS may lose of what it starts from
    cluster_threshold: float = 0.3  # of 1 - |r|, where one neuron per cluster is kept (CC)
    tuned_on: tuple[str, ...] = ()  # tasks of sentences and pairs on which models are fine-tuned
    examples: int = 10_000  # at most, of a task's training part, and of its dev and test parts
    strategies: tuple[str, ...] = tuple(dropping.PAPER_STRATEGIES)
    drops: tuple[float, ...] = (1 / 6, 1 / 3, 1 / 2)  # shares of the blocks; papers: 2, 4, 6 of 12
    depths: int | None = None  # numbers of blocks tried from the top, evenly apart; None: all
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

        From the top ``depths`` numbers are dropped, by the others the shares of ``drops``.
        """
        n, cuts = encoders.blocks(model), [WHOLE]
        for strategy in self.strategies:
            shares = self._from_top(n) if strategy == "top" else [round(n * s) for s in self.drops]
            most = dropping.most_dropped(strategy, n)
            cuts += [f"{strategy} {k}" for k in dict.fromkeys(shares) if 1 <= k <= most]
        return cuts

    def _from_top(self, blocks: int) -> list[int]:
        """Numbers of blocks that go from the top of a model."""
        steps = min(self.depths or blocks, blocks - 1)
        return [round(blocks * step / (steps + 1)) for step in range(1, steps + 1)]

    def students(self, model: str) -> list[str]:
        """Settings of a distilled student of half the blocks: ``whole``, and cut from the top."""
        return [WHOLE, *(f"top {k}" for k in range(1, encoders.blocks_at_half(model)))]

    def ways(self, model: str) -> list[str]:
        """Settings of the runs around one tuned model: ``whole``, ``after``, ``again``, ``frozen``.

        Blocks go from the top, the shares of ``drops``; ``frozen`` keeps as many as most of these.
        """
        n = encoders.blocks(model)
        shares = [k for k in dict.fromkeys(round(n * s) for s in self.drops) if 1 <= k < n]
        late = [f"{way} {k}" for way in ("after", "again") for k in shares]
        return [WHOLE, *late, f"frozen {max(shares)}"] if shares else [WHOLE]

    def digest(self, run: Run) -> str:
        """Digest of everything, beside the run itself, that its number depends on."""
        known = {name: getattr(self, name) for name in AFFECTS[run.experiment]}
        known["data"] = self.data if self.data in SOURCES else "root"
        if Path(run.model).is_dir():
            known["weights"] = encoders.weights_digest(encoders.find(run.model))
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]

    def root(self) -> str | Path | None:
        """Where :func:`lib.corpora.load` reads, from the field ``data``."""
        if self.data == "root" and corpora.data_root() is None:
            raise BadInput(
                "data 'root' needs a data root, and none was found; set REDUNDANCY_DATA to a folder"
            )
        return {"embedded": None, "root": corpora.data_root()}.get(self.data, self.data)


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
    "clustered_probes": _of_rankings,
    "efficient_transfer": _of_rankings,
    "strategies": _of_inputs,
    "dropping": _of_tuned(Profile.cuts),
    "distilled": _of_tuned(Profile.students),
    "tuning": _of_tuned(Profile.ways),
    "cost": _of_depths,
}
