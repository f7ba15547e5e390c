"""How much is run where: three profiles side by side, and how their fields are overridden.

A notebook never asks for a profile's name; it reads its fields. Every field can be overridden by a
papermill parameter of the same name, and is checked here before any work starts.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

import yaml

from lib import activations, corpora, dropping, encoders
from lib.errors import BadInput, one_of, within
from lib.grids import AFFECTS, SOURCES, WEIGHTS, Profile

ORDERS = ("shuffled", "first")
TEXTS = tuple(name for name, task in corpora.TASKS.items() if task.kind in ("tagging", "text"))
LABELLED = tuple(name for name, task in corpora.TASKS.items() if task.metric)
GLUE = tuple(name for name in LABELLED if corpora.TASKS[name].kind != "tagging")

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
    depths=5,
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
    probed_words=40_000,
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

MINIATURES = tuple(name for name, model in encoders.MODELS.items() if not model.hub)
MODELS_OF = {  # experiments of a profile that have other models than the profile's
    ("tiny", "layer_similarity"): (*TINY.models, *MINIATURES),
    ("tiny", "strategies"): (*TINY.models, *MINIATURES),
}


def _check_model(name: str) -> None:
    if name not in encoders.MODELS and not Path(name).is_dir() and name.count("/") != 1:
        raise BadInput(
            f"model {name!r} is no folder, no Hub id (owner/name) and not in the table; "
            f"the table has: {', '.join(encoders.MODELS)}"
        )


def _within(what: str, low: float, high: float, kind: type | tuple = int):
    return lambda value: within(what, value, low, high, kind)


CHECKS = {  # of one value; a field that holds a tuple is checked value by value
    "models": _check_model,
    "tasks": lambda value: one_of("task", value, corpora.TASKS),
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
    "protocol": lambda value: one_of("protocol", value.PROTOCOLS),
    "layer_tolerances": _within("tolerance", 0, 99, (int, float)),
    "neuron_tolerance": _within("tolerance", 0, 99, (int, float)),
    "cluster_threshold": _within("threshold", 0, 1, (int, float)),
    "tuned_on": lambda value: one_of("task", value, GLUE),
    "examples": _within("examples", 10, 100_000_000),
    "strategies": lambda value: one_of("strategy", value, dropping.STRATEGIES),
    "drops": _within("share of blocks", 0.01, 0.99, float),
    "depths": _within("depths", 1, 1000),
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
        One of :data:`lib.grids.AFFECTS`.
    overrides
        Fields of :class:`lib.grids.Profile`; None keeps the profile's value.

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
    usual = MODELS_OF.get((profile, experiment), PROFILES[profile].models)
    return replace(PROFILES[profile], experiment=experiment, **{"models": usual} | given)


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
    """Rows of the book's table of profiles: one per field, and one per experiment of own models."""
    shown = [f.name for f in fields(Profile) if f.name not in ("name", "experiment")]
    tables = {name: asdict(profile) for name, profile in PROFILES.items()}
    return [
        {"Field": f"`{field}`", **{name: _shown(t[field]) for name, t in tables.items()}}
        for field in shown
    ] + [
        {"Field": f"`models` of *{experiment}*"}
        | {name: _shown(get(name, experiment).models) for name in PROFILES}
        for experiment in dict.fromkeys(experiment for _, experiment in MODELS_OF)
    ]


def _shown(value) -> str:
    many = isinstance(value, list | tuple)
    return (
        ", ".join(map(str, value)) if many else f"{value:,}" if type(value) is int else str(value)
    )
