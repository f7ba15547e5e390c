"""Tables and sentences of the page on a reader's own model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lib import dropping, encoders, finetune
from lib import old_records as records
from lib.corpora import Task
from lib.own import example, smaller
from lib.own.given import Request
from lib.report import this_run

PARTS = ("train", "dev", "test")


def parts(task: Task) -> pd.DataFrame:
    """Rows of each label in each part; for numbers, how many rows and their mean."""
    found = {part: [label for _, label in getattr(task, part)] for part in PARTS}
    if not task.labels:
        told = {part: (len(v), f"{sum(v) / len(v):.2f}") for part, v in found.items()}
        return pd.DataFrame(told, index=pd.Index(["rows", "mean"], name="number"))
    counts = {part: Counter(labels) for part, labels in found.items()}
    table = {part: [counts[part][label] for label in task.labels] for part in PARTS}
    return pd.DataFrame(table, index=pd.Index(task.labels, name="class"))


def remarks(task: Task) -> str:
    """What a reader should know of the file, in sentences."""
    lacks = [
        f"Class {label!r} has no row in {part}."
        for part in PARTS
        for label in task.labels
        if label not in {given for _, given in getattr(task, part)}
    ]
    blank = task.skipped.get("blank lines", 0)
    lacks += [f"{blank} blank lines were passed over."] * bool(blank)
    return " ".join(lacks) or "Every row was read; no class is missing from a part."


def lengths(request: Request, model, tokenizer) -> str:
    """How many texts of the file are longer than the model is given to read."""
    items = [item for part in PARTS for item in getattr(request.task, part)]
    most = request.recipe.max_length
    cut = finetune.encode(model, tokenizer, items, most).notes.get("cut", 0)
    return f"Texts longer than {most} tokens, which are cut: {cut} of {len(items)}."


def table(screened: pd.DataFrame, descended: pd.DataFrame) -> pd.DataFrame:
    """Loss in points: a row per strategy, untrained, and one for the cuts that were fine-tuned."""
    wide = screened.pivot_table(index="strategy", columns="k", values="loss", sort=False)
    wide.loc["best, fine-tuned"] = descended.set_index("k")["loss"]
    shown = wide.map(lambda loss: "–" if pd.isna(loss) else f"{loss:.1f}")
    return shown.rename_axis(columns="blocks dropped")


def steps(descended: pd.DataFrame) -> pd.DataFrame:
    """The cuts that were fine-tuned, one row each."""
    shown = pd.DataFrame(
        {
            "strategy": descended["strategy"],
            "blocks kept": [" ".join(map(str, keep)) for keep in descended["keep"]],
            "score on dev": [f"{100 * score:.1f}" for score in descended["score"]],
            "loss (points)": [f"{loss:.1f}" for loss in descended["loss"]],
            "within": ["yes" if held else "no" for held in descended["within"]],
        }
    )
    return shown.set_index(pd.Index(descended["k"], name="blocks dropped"))


def measured(request: Request, model, tokenizer, folder: Path) -> dict:
    """What is compared of a model: blocks, parameters, disk (MB), scores on dev and test."""
    return {
        "blocks": dropping.n_blocks(model),
        "parameters": encoders.n_parameters(model),
        "disk (MB)": encoders.stored_bytes(folder) / 1e6,
        "score on dev": 100 * smaller.score(request, model, tokenizer, "dev"),
        "score on test": 100 * smaller.score(request, model, tokenizer, "test"),
    }


def beside(found: Sequence[dict]) -> pd.DataFrame:
    """The given model and, if there is one, the smaller, from :func:`measured`; a column each."""
    shown = [
        {name: f"{v:,d}" if isinstance(v, int) else f"{v:.1f}" for name, v in values.items()}
        for values in found
    ]
    return pd.DataFrame(shown, index=["given", "smaller"][: len(shown)]).T


def outcome(request: Request, found: Sequence[dict]) -> str:
    """The result in one sentence, from the one or two :func:`measured`."""
    points = f"{request.tolerance:g} point{'s' * (request.tolerance != 1)}"
    if len(found) == 1:
        return f"no smaller model stays within {points} on dev, and nothing was saved"
    given, small = found
    lost = given["score on test"] - small["score on test"]
    change = f"{abs(lost):.1f} points {'below' if lost > 0 else 'above'} the given model"
    change = "the same score as the given model" if abs(lost) < 0.05 else change
    return (
        f"{small['blocks']} of {given['blocks']} blocks are enough to stay within {points} on "
        f"dev; on the test part, which nothing was chosen by, it is {change}"
    )


def lines(out: Path | None) -> str:
    """Three lines that load the saved model in plain transformers, or why there are none."""
    if out is None:
        return "Nothing was saved. Allow a larger tolerance, more epochs or another learning rate."
    inside = out.is_relative_to(example.FOLDER)  # its place, seen from the repository's folder
    shown = str(out.relative_to(records.ROOT) if inside else out)
    return (
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer\n"
        f"tokenizer = AutoTokenizer.from_pretrained({shown!r})\n"
        f"model = AutoModelForSequenceClassification.from_pretrained({shown!r})"
    )


def provenance(request: Request, model) -> pd.DataFrame:
    """Model, data, device and versions."""
    about = {
        "model": "the example's" if request.example else encoders.title(request.model),
        "text": request.task.source,
        "digest of the text": request.task.digest[:12],
    }
    return this_run(about, model.device)
