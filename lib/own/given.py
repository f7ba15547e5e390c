"""What a reader gives: model, file and wishes, checked as a whole before any work starts."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lib import dropping, encoders, profiles
from lib.corpora import Task
from lib.errors import BadInput, within
from lib.own import example, labelled
from lib.recipes import RELEASED, Recipe

HEAD = "ForSequenceClassification"
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")


@dataclass(frozen=True)
class Request:
    """What is asked for; everything in it has been checked."""

    model: str  # folder or Hub id
    task: Task
    out: Path  # where the smaller model will be
    tolerance: float  # points of the task's metric
    strategies: tuple[str, ...]
    recipe: Recipe
    seed: int
    example: bool = False  # the model is not there yet: the example's is made

    @property
    def work(self) -> Path:
        """Folder beside ``out`` for what a stopped run goes on from; removed at the end."""
        return self.out.parent / f".{self.out.name}.unfinished"


def accept(
    *,
    model: str | None = None,
    file: str | None = None,
    text: str | Sequence[str] = "text",
    label: str = "label",
    metric: str | None = None,
    tolerance: float = 2.0,
    strategies: Sequence[str] | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    learning_rate: float | None = None,
    max_length: int = 128,
    seed: int = 0,
    out: str | None = None,
) -> Request:
    """Check all that a reader gives, and read the file; no weights are read yet.

    Parameters
    ----------
    model, file
        A fine-tuned classifier (folder or Hub id) and a labelled file; both, or none for
        :mod:`lib.own.example`.
    text, label, metric
        As for :func:`lib.own.labelled.task`; pairs may be written ``"[first, second]"``.
    tolerance
        Points of the metric that the smaller model may lose, 0 to 100.
    strategies
        Keys of :data:`lib.dropping.STRATEGIES`; default all.
    epochs, batch, learning_rate
        Of :class:`lib.recipes.Recipe`; default the released ones, for the example its own.
    max_length
        Tokens read of a text at most.
    seed
        Decides the parts of the file and all that is drawn in training.
    out
        New or empty folder for the smaller model; needed with a model of one's own.

    Raises
    ------
    BadInput
        In one sentence, for the first thing that cannot be used.
    """
    within("tolerance", tolerance, 0, 100, (int, float))
    within("max_length", max_length, 4, 1_000_000)
    wishes = {"strategies": strategies, "epochs": epochs, "batch": batch, "seeds": [seed]}
    wishes = _checked(wishes | {"learning_rate": learning_rate})
    chosen, (seed,) = wishes.pop("strategies", tuple(dropping.STRATEGIES)), wishes.pop("seeds")
    _check_together(model, file, out)
    columns = _columns(text, str(label))
    target, own = _target(example.OUT if out is None else out), model is not None
    classes = classes_of(model) if own else example.CLASSES
    source = file if own else example.write_file()
    task = labelled.task(source, classes, **columns, metric=metric, seed=seed)
    planned = replace(RELEASED if own else example.RECIPE, max_length=max_length, **wishes)
    name = model if own else str(example.MODEL)
    return Request(name, task, target, tolerance, chosen, planned, seed, example=not own)


def _checked(wishes: dict) -> dict:
    """Those that are given, as a profile's fields are checked."""
    return {name: profiles.checked(name, v) for name, v in wishes.items() if v is not None}


def _check_together(model, file, out) -> None:
    if (model is None) != (file is None):
        there, lacks = ("file", "model") if model is None else ("model", "file")
        raise BadInput(f"{there} is given and {lacks} is not; give both, or none for the example")
    if model is not None and out is None:
        raise BadInput("out is not given; name a new folder for the smaller model")


def _target(out: str | Path) -> Path:
    """The folder to write, if it can be written; the example's own is always made anew."""
    target = Path(out)
    if target == example.OUT:
        return target
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BadInput(f"out {str(out)!r} exists and is not an empty folder; name a new one")
    above = next(parent for parent in target.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise BadInput(f"out {str(out)!r} cannot be written: {above} is no folder one may write to")
    return target


def _columns(text, label: str) -> dict:
    """Names of the columns that are read."""
    columns = profiles.listed(text)
    columns = [columns] if isinstance(columns, str) else list(columns)
    if len(columns) not in (1, 2) or not all(isinstance(name, str) for name in columns):
        raise BadInput(f"text {text!r} is not valid; it takes one column, or a list of two")
    if label in columns:
        raise BadInput(f"column {label!r} is named for text and label; name another for one")
    return {"text": columns, "label": label}


def classes_of(model: str) -> tuple[str, ...]:
    """Names of a fine-tuned model's classes by number; none if it gives one number.

    Reads the config alone.

    Raises
    ------
    BadInput
        As :func:`lib.encoders.find`, and for a model that is no classifier of sentences, has no
        tokenizer beside it, or no blocks that could be dropped.
    """
    folder = encoders.find(model)
    _check_kind(model, folder)
    config = encoders.read_config(folder)
    names = [config.id2label.get(number) for number in range(config.num_labels)]
    faults = {
        "shares one block among all layers (ALBERT), so dropping blocks does not make it smaller": (
            encoders.family(config).shared
        ),
        "has one block, and one must stay": encoders.blocks(folder) < 2,
        "gives several labels to one text; one is supported": (
            config.problem_type == "multi_label_classification"
        ),
        "gives several numbers; one, or classes, are supported": (
            config.problem_type == "regression" and len(names) > 1
        ),
        f"does not name its classes 0 to {len(names) - 1} each by another name": (
            len(set(names) - {None}) < len(names)
        ),
        "has no tokenizer beside it; save the tokenizer into the same folder": (
            not any(file for pattern in TOKENIZERS for file in folder.glob(pattern))
        ),
    }
    for fault, there in faults.items():
        if there:
            raise BadInput(f"model {model!r} {fault}")
    return tuple(names) if len(names) > 1 else ()


def _check_kind(model: str, folder: Path) -> None:
    """Refuse a folder whose config does not say that it is a fine-tuned classifier we know."""
    try:
        stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"model {model!r} has no config.json that can be read") from error
    made = (stored.get("architectures") or ["no head"])[0]
    if not made.endswith(HEAD):
        raise BadInput(f"model {model!r} is {made}; one fine-tuned as ...{HEAD} is needed")


def load(request: Request):
    """Model with its head, and tokenizer; the example's model is made here."""
    if request.example:
        example.make_model()
    return encoders.load(request.model, head=len(request.task.labels) or 1)
