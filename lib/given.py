"""What a reader gives to have a model made smaller, checked as a whole before any work starts.

A fine-tuned classifier with a labelled file, or a model that predicts words with a plain text; for
readers who have no model at hand an example is made.
"""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from lib import corpora, dropping, encoders, finetune, labelled, settings
from lib.errors import BadInput
from lib.finetune import RELEASED, Recipe
from lib.structure import CLASSIFIER, family

EXAMPLE = "all-minilm-l6-v2", "polarity"  # encoder and sentences of the example
EXAMPLE_RECIPE = Recipe(learning_rate=2e-4, epochs=2, batch=16)  # its cuts: the released rate
SHORT = 12  # words of the example's sentences at most
SEEN, UNSEEN = 320, 500  # sentences that its model is made from, and sentences in its file

Name = Annotated[str, Field(min_length=1)]


def _columns(value) -> tuple:
    """One or two names of columns, also as papermill passes a list."""
    names = settings.listed(value)
    names = (names,) if isinstance(names, str) else names
    if not isinstance(names, tuple) or len(names) not in (1, 2) or not all(names):
        raise ValueError("it should name one column, or two as [first, second]")
    return names


class Wishes(BaseModel):
    """What a reader names: types and ranges. See :func:`accept`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model: Name | None = None
    file: Name | None = None
    out: Name | None = None
    text: Annotated[tuple[Name, ...], BeforeValidator(_columns)] = ("text",)
    label: Name = "label"
    metric: Name | None = None
    tolerance: Annotated[float, Field(ge=0, le=100)] = 5.0
    max_length: Annotated[int, Field(ge=4, le=1_000_000)] = 128
    seed: settings.Seed = 0


@dataclass(frozen=True)
class Request:
    """What is asked for; everything in it has been checked."""

    model: str  # folder or Hub id
    task: corpora.Task
    out: Path  # where the smaller model will be
    tolerance: float  # points of the task's metric
    strategies: tuple[str, ...]
    recipe: Recipe
    seed: int
    example: bool  # the model is not there yet: the example's is made

    @property
    def head(self) -> int | str:
        """The head of the model, as :func:`lib.encoders.load` takes it."""
        return "lm" if self.task.kind == "text" else len(self.task.labels) or 1

    @property
    def work(self) -> Path:
        """Folder beside ``out`` for what a stopped run goes on from; removed at the end."""
        return self.out.parent / f".{self.out.name}.unfinished"


# ---- what is given ----------------------------------------------------------------------------


def accept(chosen: settings.Settings, folder: Path, **wishes) -> Request:
    """Check all that a reader gives, and read the file; no weights are read yet.

    Parameters
    ----------
    chosen
        Strategies, and where the reader changed them ``epochs``, ``batch`` and ``learning_rate``;
        else the released recipe holds, for the example its own.
    folder
        Where the example is made if neither ``model`` nor ``file`` is given.
    wishes
        ``model``, a fine-tuned classifier or a model that predicts words (folder or Hub id);
        ``file``, ``text``, ``label``, ``metric`` and ``seed`` as for :func:`lib.labelled.task`, for
        words a plain text as for :func:`lib.labelled.plain`; ``out``, a new or empty folder for
        the smaller model; ``tolerance``, points of :func:`score` that may be lost; ``max_length``,
        tokens read of a text at most, for words tokens of a row.

    Raises
    ------
    BadInput
        In one sentence, for the first thing that cannot be used.
    """
    try:
        asked = Wishes(**wishes)
    except ValidationError as error:
        raise BadInput(settings.sentence(error)) from None
    example = asked.model is None and asked.file is None
    lacks = [n for n in ("model", "file", "out") if getattr(asked, n) is None]
    if lacks and not example:
        raise BadInput(f"{lacks[0]} is not given; give model, file and out, or none for an example")
    out = target(asked.out) if asked.out else folder / "smaller"
    classes = ("negative", "positive") if example else classes_of(asked.model)
    file = write_example(folder) if example else asked.file
    own = asked.model_dump(include={"text", "label", "metric", "seed"})
    words = classes is None
    task = labelled.plain(file, asked.seed) if words else labelled.task(file, classes, **own)
    usual = replace(EXAMPLE_RECIPE, learning_rate=RELEASED.learning_rate) if example else RELEASED
    changed = chosen.model_dump(include={"epochs", "batch", "learning_rate"} & set(chosen.given))
    recipe = replace(usual, max_length=asked.max_length, **changed)
    model = str(folder / "model") if example else asked.model
    about = asked.tolerance, chosen.strategies, recipe, asked.seed, example
    return Request(model, task, out, *about)


def target(out: str) -> Path:
    """The folder to write, if it can be written."""
    target = Path(out)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BadInput(f"out {out!r} exists and is not an empty folder; name a new one")
    above = next(parent for parent in target.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise BadInput(f"out {out!r} cannot be written: {above} is no folder one may write to")
    return target


def classes_of(model: str) -> tuple[str, ...] | None:
    """Names of a fine-tuned model's classes by number; none if it gives a number; None for words.

    Raises
    ------
    BadInput
        If the model, its config or its tokenizer cannot be read, and for a model that neither
        classifies sentences nor predicts words or has no blocks that could be dropped. No weights
        are read.
    """
    folder = encoders.find(model)
    config = encoders.read_config(folder)
    encoders.read_tokenizer(folder)
    made, kind = (config.architectures or ["no head"])[0], config.problem_type
    saved, shared = encoders.saved_head(config), family(config).shared
    names, headless = saved if isinstance(saved, tuple) else (), saved is None
    numbers = kind == "regression" and len(names) > 1
    unnamed, last = len(set(names) - {None}) < len(names), len(names) - 1
    needed = f"one fine-tuned as ...{CLASSIFIER}, or one that predicts words, is needed"
    faults = {
        f"is {made}; {needed}": headless,
        "shares one block among all layers, so dropping blocks does not make it smaller": shared,
        "has one block, and one must stay": encoders.blocks(model) < 2,
        "gives several labels to one text; one is supported": kind == "multi_label_classification",
        "gives several numbers; one, or classes, are supported": numbers,
        f"does not name its classes 0 to {last} each by another name": unnamed,
    }
    for fault, there in faults.items():
        if there:
            raise BadInput(f"model {model!r} {fault}")
    return None if saved == "lm" else names if len(names) > 1 else ()


# ---- the example, for readers who have no model at hand ---------------------------------------


def _short() -> list[tuple[str, str]]:
    """Short sentences of the example's task, in an order that never changes."""
    found = [item for item in corpora.load(EXAMPLE[1]).train if len(item[0].split()) <= SHORT]
    return found[: SEEN + UNSEEN]


def write_example(folder: Path) -> Path:
    """Write the example's labelled file into a folder; an older example there is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = pd.DataFrame(_short()[SEEN:], columns=["text", "label"])
    rows.to_csv(folder / "sentences.csv", index=False)
    return folder / "sentences.csv"


def load(request: Request):
    """Model with its head, and tokenizer; the example's model is fine-tuned here and saved."""
    if request.example:
        task = replace(corpora.load(EXAMPLE[1]), train=_short()[:SEEN])
        model, tokenizer = finetune.begin(EXAMPLE[0], task, recipe=EXAMPLE_RECIPE)
        finetune.train(model, tokenizer, task, recipe=EXAMPLE_RECIPE, progress=True)
        dropping.save(model, tokenizer, request.model)
    return encoders.load(request.model, head=request.head)
