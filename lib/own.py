"""A smaller version of a reader's own model: what is given, the search, and what is saved.

A fine-tuned classifier and a labelled file are checked as a whole before any work starts. Every cut
of every strategy is scored untrained; then, one block fewer at a time, the best cut is fine-tuned,
the whole model first, until the loss exceeds the tolerance. All of this is decided on dev; the test
part is looked at once, at the end.
"""

from __future__ import annotations

import copy
import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from tqdm import tqdm

from lib import corpora, dropping, encoders, finetune, labelled, settings
from lib.errors import BadInput
from lib.finetune import RELEASED, Recipe

HEAD = "ForSequenceClassification"
TRIED = 8  # texts on which a saved model is compared with the one that was trained
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
        ``model``, a fine-tuned classifier (folder or Hub id); ``file``, ``text``, ``label``,
        ``metric`` and ``seed`` as for :func:`lib.labelled.task`; ``out``, a new or empty folder for
        the smaller model; ``tolerance``, points of the metric that may be lost; ``max_length``,
        tokens read of a text at most.

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
    if asked.label in asked.text:
        raise BadInput(f"column {asked.label!r} is named for text and label; name another for one")
    out = _target(asked.out) if asked.out else folder / "smaller"
    classes = ("negative", "positive") if example else classes_of(asked.model)
    file = write_example(folder) if example else asked.file
    own = {"text": asked.text, "label": asked.label, "metric": asked.metric, "seed": asked.seed}
    task = labelled.task(file, classes, **own)
    changed = {n: getattr(chosen, n) for n in ("epochs", "batch", "learning_rate")}
    changed = {name: value for name, value in changed.items() if name in chosen.given}
    recipe = replace(
        EXAMPLE_RECIPE if example else RELEASED, max_length=asked.max_length, **changed
    )
    model = str(folder / "model") if example else asked.model
    about = asked.tolerance, chosen.strategies, recipe, asked.seed, example
    return Request(model, task, out, *about)


def _target(out: str) -> Path:
    """The folder to write, if it can be written."""
    target = Path(out)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BadInput(f"out {out!r} exists and is not an empty folder; name a new one")
    above = next(parent for parent in target.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise BadInput(f"out {out!r} cannot be written: {above} is no folder one may write to")
    return target


def classes_of(model: str) -> tuple[str, ...]:
    """Names of a fine-tuned model's classes by number; none if it gives one number.

    Raises
    ------
    BadInput
        If the model, its config or its tokenizer cannot be read, and for a model that is no
        classifier of sentences or has no blocks that could be dropped. No weights are read.
    """
    folder = encoders.find(model)
    config, made = encoders.read_config(folder), "no head"
    encoders.read_tokenizer(folder)
    names = [config.id2label.get(number) for number in range(config.num_labels)]
    made = (config.architectures or [made])[0]
    kind = config.problem_type
    faults = {
        f"is {made}; one fine-tuned as ...{HEAD} is needed": not made.endswith(HEAD),
        "shares one block among all layers, so dropping blocks does not make it smaller": (
            encoders.family(config).shared
        ),
        "has one block, and one must stay": encoders.blocks(model) < 2,
        "gives several labels to one text; one is supported": kind == "multi_label_classification",
        "gives several numbers; one, or classes, are supported": (
            kind == "regression" and len(names) > 1
        ),
        f"does not name its classes 0 to {len(names) - 1} each by another name": (
            len(set(names) - {None}) < len(names)
        ),
    }
    for fault, there in faults.items():
        if there:
            raise BadInput(f"model {model!r} {fault}")
    return tuple(names) if len(names) > 1 else ()


# ---- the example, for readers who have no model at hand ---------------------------------------


def _short() -> list[tuple[str, str]]:
    """Short sentences of the example's task, in an order that never changes."""
    found = [item for item in corpora.load(EXAMPLE[1]).train if len(item[0].split()) <= SHORT]
    return found[: SEEN + UNSEEN]


def write_example(folder: Path) -> Path:
    """Write the example's labelled file into a folder; an older example there is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with (folder / "sentences.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *_short()[SEEN:]])
    return folder / "sentences.csv"


def load(request: Request):
    """Model with its head, and tokenizer; the example's model is fine-tuned here and saved."""
    labels = request.task.labels
    if request.example:
        task = replace(corpora.load(EXAMPLE[1]), train=_short()[:SEEN])
        model, tokenizer = finetune.begin(EXAMPLE[0], task, recipe=EXAMPLE_RECIPE)
        model.config.id2label = dict(enumerate(labels))
        model.config.label2id = {name: number for number, name in enumerate(labels)}
        finetune.train(model, tokenizer, task, recipe=EXAMPLE_RECIPE, progress=True)
        dropping.save(model, tokenizer, request.model)
    return encoders.load(request.model, head=len(labels) or 1)


# ---- the search -------------------------------------------------------------------------------


def score(request: Request, model, tokenizer, part: str) -> float:
    """Score of a model on ``dev`` or ``test`` by the task's own metric, in points."""
    task, length = request.task, request.recipe.max_length
    found = finetune.evaluate(model, tokenizer, task, getattr(task, part), max_length=length)
    return 100 * next(iter(found.values()))


def cuts(strategies: Sequence[str], n_blocks: int, similarity=None) -> dict[tuple, list[str]]:
    """Every set of blocks kept, with the strategies that keep just these; the whole model first.

    Examples
    --------
    >>> cuts(["top", "even"], 3)
    {(0, 1, 2): ['whole'], (0, 1): ['top'], (0, 2): ['even'], (0,): ['top']}
    """
    found: dict[tuple, list[str]] = {tuple(range(n_blocks)): ["whole"]}
    for k in range(1, n_blocks):
        for name in strategies:
            if k <= dropping.most_dropped(name, n_blocks):
                keep = dropping.blocks_to_keep(name, n_blocks, k, similarity=similarity)
                found.setdefault(tuple(keep), []).append(name)
    return found


def screen(request: Request, model, tokenizer) -> pd.DataFrame:
    """Score every cut on dev as it is, without training.

    Cost: a forward pass over dev for every different set of blocks, and one over train where
    *contribution* is asked for; no memory beyond the model's.

    Returns
    -------
    DataFrame
        Columns ``k``, ``strategy``, ``keep``, ``score``; the whole model first, then a row per
        strategy, also where two keep the same blocks.
    """
    total, similarity, rows = dropping.n_blocks(model), None, []
    if "contribution" in request.strategies:
        length = request.recipe.max_length
        encoded = finetune.encode(model, tokenizer, request.task.train, length)
        similarity = dropping.block_similarity(model, tokenizer, encoded, progress=True).tolist()
    found = cuts(request.strategies, total, similarity)
    for keep, names in tqdm(found.items(), unit="cut", leave=False):
        reached = score(request, dropping.smaller(model, keep), tokenizer, "dev")
        rows += [(total - len(keep), name, keep, reached) for name in names]
    return pd.DataFrame(rows, columns=["k", "strategy", "keep", "score"])


def descend(
    screened: pd.DataFrame, tolerance: float, tune: Callable[[tuple], float]
) -> pd.DataFrame:
    """Fine-tune the best cut of each depth, one block fewer at a time, while it stays in bounds.

    The whole model is fine-tuned first, as its cuts are. A loss is counted from the better of the
    given model as it is and fine-tuned alike: what more training alone would give is no merit of a
    cut.

    Parameters
    ----------
    screened
        From :func:`screen`.
    tolerance
        Points that may be lost; the first cut beyond it ends the search.
    tune
        Fine-tunes what keeps some blocks, and gives its score on dev.

    Returns
    -------
    DataFrame
        The cuts that were fine-tuned: ``k``, ``strategy``, ``keep``, ``score``, ``loss`` and
        ``within`` (the tolerance).
    """
    best, rows = screened.loc[screened.groupby("k")["score"].idxmax()], []
    reference = screened["score"].iloc[0]
    for k, strategy, keep, _ in best.itertuples(index=False):
        reached = tune(keep)
        reference = max(reference, reached) if k == 0 else reference
        lost = reference - reached
        rows.append((k, strategy, keep, reached, lost, lost <= tolerance + 1e-9))
        if k and not rows[-1][-1]:
            break
    return pd.DataFrame(rows, columns=["k", "strategy", "keep", "score", "loss", "within"])


def smallest(descended: pd.DataFrame) -> tuple[int, ...] | None:
    """Blocks of the smallest model within the tolerance; None where none is smaller."""
    within = descended[descended["within"] & (descended["k"] > 0)]
    return None if within.empty else within.iloc[-1]["keep"]


# ---- what is kept -----------------------------------------------------------------------------


def place(request: Request, keep: Sequence[int]) -> Path:
    """Where one fine-tuned cut is kept until the end, named by all that decides its weights."""
    files = encoders.digest(encoders.find(request.model))
    told = [files, list(keep), asdict(request.recipe), request.seed, request.task.train]
    return request.work / hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def tuned(request: Request, model, tokenizer, keep: Sequence[int]):
    """The given model with some of its blocks, fine-tuned; read if a stopped run had finished it.

    Cost: as :func:`lib.finetune.train`; a training that was stopped goes on. What was saved is read
    again and must give the same numbers.
    """
    folder = place(request, keep)
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        learner = copy.deepcopy(dropping.smaller(model, keep))
        finetune.train(
            learner, tokenizer, request.task, recipe=request.recipe, seed=request.seed,
            checkpoint=folder.with_suffix(".safetensors"), progress=True,
        )  # fmt: skip
        fresh = folder.with_suffix(".part")
        shutil.rmtree(fresh, ignore_errors=True)
        _check_saved(request, learner, tokenizer, dropping.save(learner, tokenizer, fresh))
        fresh.replace(folder)
    return encoders.load(folder, head=model.config.num_labels, device=model.device)[0]


def _check_saved(request: Request, learner, tokenizer, folder: Path) -> None:
    """Refuse a saved model that gives other numbers than the one in memory."""
    again, reader = encoders.load(folder, head=learner.config.num_labels, device=learner.device)
    texts = [text for text, _ in request.task.dev[:TRIED]]
    first, second = (
        finetune.predict(*pair, texts) for pair in ((learner, tokenizer), (again, reader))
    )
    if not torch.equal(first, second):
        apart = float((first - second).abs().max())
        raise BadInput(f"read again, the saved model differs by {apart:.2g}; it is not kept")


def finish(request: Request, keep: Sequence[int] | None) -> Path | None:
    """Put the chosen model where it was asked for, whole, and remove all else; None: nothing."""
    if keep is not None:
        place(request, keep).replace(request.out)
    shutil.rmtree(request.work, ignore_errors=True)
    return None if keep is None else request.out
