"""Dropping layers: what one run computes, from a model and a task to the values of its records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from lib import corpora, dropping, encoders, finetune, general, training
from lib import old_records as records
from lib.general import Found
from lib.grids import WHOLE, Profile, Run, cut_of
from lib.training import RELEASED, Recipe


def task_of(settings: Profile, run: Run) -> corpora.Task:
    """The run's task, each of its parts cut to the profile's number of examples."""
    task = general.load_task(run.task, settings.root(), run.seed)
    most = settings.examples
    return replace(task, train=task.train[:most], dev=task.dev[:most], test=task.test[:most])


def similarity(settings: Profile, run: Run) -> Found:
    """How similar each block's output is to its input, on the sentences of a task."""
    task = task_of(settings, run)
    model, tokenizer = general.load_model(run)
    encoded = finetune.encode(model, tokenizer, task.train, RELEASED.max_length)
    found = dropping.block_similarity(model, tokenizer, encoded, progress=True)
    values = {"similarity": found, "sentences": len(task.train), "notes": encoded.notes}
    made = {"data": task.digest, "source": task.source, "device": model.device}
    return [(run, values)], made


def kept(settings: Profile, run: Run) -> list[int]:
    """Blocks that a run's setting keeps, such as those of ``top 2``."""
    total = encoders.blocks(run.model)
    if run.setting == WHOLE:
        return list(range(total))
    strategy, k = cut_of(run.setting)
    known = _similarity(settings, run) if strategy == "contribution" else None
    return dropping.blocks_to_keep(strategy, total, k, similarity=known)


def _similarity(settings: Profile, run: Run) -> list[float]:
    """Similarity of the pretrained model's blocks, from the record of ``strategies``."""
    asked = replace(settings, experiment="strategies")
    measured = Run("strategies", run.model, run.task, "trained", settings.restarts[0])
    return records.find(asked, measured)["values"]["similarity"]


def dropped(settings: Profile, run: Run) -> Found:
    """Fine-tune what one setting keeps; it serves every setting that keeps the same blocks."""
    task, keep = task_of(settings, run), kept(settings, run)
    values = learn(settings, run, task, run.model, keep=keep)
    same = [replace(run, setting=setting) for setting in settings.cuts(run.model)]
    served = [(other, values) for other in same if kept(settings, other) == keep]
    return served, made_of(settings, task)


def learn(settings: Profile, run: Run, task: corpora.Task, model, *, keep=None, **changes) -> dict:
    """Fine-tune some blocks of a model by the profile's recipe; the values of the run's record."""
    recipe, file = recipe_of(settings, **changes), checkpoint(settings, run)
    options = {"recipe": recipe, "seed": run.seed, "checkpoint": file, "progress": True}
    return judged(finetune.run(model, task, keep=keep, **options), task) | {"keep": keep}


def recipe_of(settings: Profile, **changes) -> Recipe:
    """The recipe that a profile asks for."""
    return Recipe(settings.learning_rate, settings.epochs, settings.batch, **changes)


def judged(values: dict, task: corpora.Task) -> dict:
    """Scores with the task's own metric as ``score``, and a constant answer's beside it."""
    return values | {"score": next(iter(values.values())), "constant": constant(task)}


def made_of(settings: Profile, task: corpora.Task) -> dict:
    """What made a fine-tuning run, for its provenance."""
    device = encoders.default_device()
    precision = training.products(device, recipe_of(settings).precision)
    made = {"data": task.digest, "source": task.source}
    return made | {"device": device, "precision": precision}


def constant(task: corpora.Task) -> float:
    """Best score on the test part of giving one and the same answer: no model at all."""
    gold = [label for _, label in task.test]
    answers = task.labels or (float(np.mean(gold)),)
    return max(next(iter(corpora.score(task, [a] * len(gold), gold).values())) for a in answers)


def checkpoint(settings: Profile, run: Run) -> Path:
    """A file of the run's own, where a killed run goes on."""
    where, digest = records.path(settings.name, run).stem, settings.digest(run)
    name = f"{where}--{run.setting}--{run.seed}--{digest}"
    folder = records.results() / ".checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name.replace(' ', '-')}.safetensors"
