"""Cost at every depth: what one run measures, its tables, and the papers' claims beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from transformers import BertConfig, DistilBertConfig

from lib import corpora, cost, dropping, encoders, finetune
from lib.dropped import runs
from lib.dropped.claims import ROUNDING
from lib.general import Found
from lib.grids import Profile, Run, cut_of
from lib.report import Table, claim_table, indexed
from lib.training import Recipe

MB = 1e6
WORK = {"inference": "inference", "tuning": "fine-tuning"}  # name in a record: in a table
SHAPES = {"BERT-base": BertConfig, "DistilBERT": DistilBertConfig}  # transformers' defaults
SAVED = {"parameters": 0.4, "tuning": 0.5, "inference": 0.5}  # B7, with half of the blocks dropped
NEAR = 0.05  # of the whole model: this far from a claim is still at it


def costs(settings: Profile, run: Run) -> Found:
    """Cost of a model at every depth; one measurement serves all settings of its task."""
    task = runs.task_of(replace(settings, examples=settings.timed), run)
    device, recipe = encoders.default_device(), Recipe(epochs=1, batch=settings.batch)
    same = [r for r in settings.runs() if (r.model, r.task) == (run.model, run.task)]
    keeps = {other.setting: runs.kept(settings, other) for other in same}
    model, tokenizer = finetune.begin(run.model, task, seed=run.seed, device=device)
    sizes = {name: _size(model, tokenizer, keep, task, recipe) for name, keep in keeps.items()}
    seconds = cost.times(model, tokenizer, task, keeps, recipe, repeats=settings.repeats)
    shapes = cost.shapes(model, tokenizer, task, recipe)
    known = {f"{work}_operations": cost.operations(model, shapes[work]) for work in WORK}
    known |= {"sentences": len(task.train), "updates": len(shapes["tuning"])}
    known["tokens"] = {work: sum(b * t for b, t in shapes[work]) for work in WORK}
    values = {
        name: size | known | {f"{work}_seconds": seconds[work, name] for work in WORK}
        for name, size in sizes.items()
    }
    return [(other, values[other.setting]) for other in same], runs.made_of(settings, task)


def _size(model, tokenizer, keep: Sequence[int], task: corpora.Task, recipe: Recipe) -> dict:
    """Parameters, bytes on disk and peak memory of the model at one depth."""
    cut = dropping.smaller(model, keep)
    with tempfile.TemporaryDirectory() as folder:
        stored = cost.stored(cut, tokenizer, Path(folder))
        held = cost.memory(Path(folder), task, recipe)
    return {"blocks": len(keep), **cost.parameters(cut), "disk_bytes": stored, "memory": held}


def measured(table: Table) -> pd.DataFrame:
    """Every depth beside the whole model.

    Returns
    -------
    DataFrame
        Columns ``model`` (title), ``k`` (blocks dropped from the top), ``blocks`` (left), ``share``
        (of the blocks dropped), ``parameters``, ``words``, ``in blocks``, ``disk``, ``start``,
        ``inference memory`` and ``tuning memory`` (MB); for each of :data:`WORK` its ``seconds``
        (median over rounds; with ``least`` and ``most``). As shares of the whole model's:
        ``parameters share``, ``disk share``, and for each work its ``share`` (likewise, round by
        round, as the depths ran in turn) and ``predicted``. A model whose whole is not in is left
        out.
    """
    whole = {run.model: values for run, values in table if cut_of(run.setting)[1] == 0}
    rows = [_row(run, values, whole[run.model]) for run, values in table if run.model in whole]
    return pd.DataFrame(rows, columns=None if rows else ["model", "k", "blocks", "share"])


def _row(run: Run, values: dict, whole: dict) -> dict:
    left, held = values["blocks"] / whole["blocks"], values["memory"]
    row = {
        "model": encoders.title(run.model),
        "k": whole["blocks"] - values["blocks"],
        "blocks": values["blocks"],
        "share": 1 - left,
        "parameters": values["parameters"],
        "parameters share": values["parameters"] / whole["parameters"],
        "words": values["word_parameters"],
        "in blocks": values["block_parameters"],
        "disk": values["disk_bytes"] / MB,
        "disk share": values["disk_bytes"] / whole["disk_bytes"],
        "start": held["start"] / MB,
        **{f"{work} memory": held[work] / MB for work in WORK},
    }
    for work in WORK:
        seconds = np.array(values[f"{work}_seconds"])
        shares = seconds / np.array(whole[f"{work}_seconds"])
        row |= _spread(f"{work} seconds", seconds) | _spread(f"{work} share", shares)
        row[f"{work} predicted"] = cost.predicted(values[f"{work}_operations"], left)
    return row


def _spread(name: str, values: np.ndarray) -> dict[str, float]:
    return {name: np.median(values), f"{name} least": values.min(), f"{name} most": values.max()}


def size_table(found: pd.DataFrame) -> pd.DataFrame:
    """Parameters, disk and memory at every depth, with their share of the whole model's."""
    rows = {
        (row["model"], row["blocks"]): {
            "parameters (million)": f"{row['parameters'] / 1e6:.1f}",
            "share": f"{row['parameters share']:.0%}",
            "disk (MB)": f"{row['disk']:.1f}",
            "memory, inference (MB)": f"{row['inference memory']:,.0f}",
            "memory, fine-tuning (MB)": f"{row['tuning memory']:,.0f}",
        }
        for row in found.to_dict("records")
    }
    return indexed(rows, "model", "blocks left")


def time_table(found: pd.DataFrame) -> pd.DataFrame:
    """Seconds of both kinds of work at every depth, their share, and the share predicted."""
    rows = {
        (row["model"], row["blocks"], title): {
            "seconds": f"{row[f'{work} seconds']:.3f}",
            "from": f"{row[f'{work} seconds least']:.3f}",
            "to": f"{row[f'{work} seconds most']:.3f}",
            "share": f"{row[f'{work} share']:.0%}",
            "predicted": f"{row[f'{work} predicted']:.0%}",
        }
        for work, title in WORK.items()
        for row in found.to_dict("records")
    }
    return indexed(rows, "model", "blocks left", "work")


@cache
def of_shapes() -> dict[str, dict[str, int]]:
    """Parameters of the papers' shapes, counted from their configs without any weight."""
    return {title: cost.counted(config()) for title, config in SHAPES.items()}


def shares_table(found: pd.DataFrame) -> pd.DataFrame:
    """Where the parameters are: models measured, then the shapes counted from their configs."""
    whole = found[found["k"] == 0]
    shapes = {
        row["model"]: (row["parameters"], row["words"], row["in blocks"])
        for row in whole.to_dict("records")
    }
    shapes |= {f"{title}, counted": tuple(c.values()) for title, c in of_shapes().items()}
    rows = {
        title: {
            "parameters (million)": f"{total / 1e6:.1f}",
            "word embeddings": f"{words / total:.0%}",
            "blocks": f"{blocks / total:.0%}",
            "gone with half of the blocks": f"{blocks / 2 / total:.0%}",
        }
        for title, (total, words, blocks) in shapes.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def half(found: pd.DataFrame) -> pd.DataFrame:
    """Rows from which half of the blocks is dropped, with what each saves of :data:`SAVED`."""
    rows = found[(found["share"] - 0.5).abs() < ROUNDING]
    return rows.assign(**{f"{what} saved": 1 - rows.get(f"{what} share") for what in SAVED})


def _saved(found: pd.DataFrame) -> tuple[list[bool], str]:
    """What half of the blocks saves, beside the three numbers of B7."""
    names = {"parameters": "parameters", **WORK}
    holds, told = [], []
    for row in half(found).to_dict("records") if len(found) else []:
        saved = {what: row[f"{what} saved"] for what in SAVED}
        holds += [bool(abs(saved[what] - claimed) <= NEAR) for what, claimed in SAVED.items()]
        told.append(", ".join(f"{names[what]} -{share:.0%}" for what, share in saved.items()))
    return holds, "; ".join(told) or "no model with half of its blocks dropped"


def _distilled(_: pd.DataFrame) -> tuple[list[bool], str]:
    """Half of a BERT-base beside DistilBERT, both counted from their configs."""
    base, distilled = of_shapes().values()
    cut = base["parameters"] - base["block_parameters"] / 2
    told = f"{cut / 1e6:.1f} million parameters, distilled {distilled['parameters'] / 1e6:.1f}"
    return [bool(abs(cut / distilled["parameters"] - 1) <= NEAR)], told


CLAIMS = {"B7": _saved, "B2": _distilled}


def judged(found: pd.DataFrame) -> pd.DataFrame:
    """The claims on cost beside what was measured or counted: one row each, with its verdict."""
    return claim_table(found, CLAIMS)
