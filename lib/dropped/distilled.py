"""Dropped against distilled: the runs of a student of half the blocks, made from the model itself.

The student starts from every second block, those that ``even`` keeps, so that the two differ in the
distillation alone. It is made once per model and seed, then cut and fine-tuned as any model.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from filelock import FileLock

from lib import distil, dropping, encoders, general
from lib import old_records as records
from lib.dropped.runs import learn, made_of, task_of
from lib.general import Found
from lib.grids import Profile, Run, cut_of
from lib.training import Recipe

HELD_OUT = 200  # sentences on which student and teacher are compared
ABOUT = "distillation.json"


def distilled(settings: Profile, run: Run) -> Found:
    """Fine-tune the student, or what is left when its top is dropped too."""
    task, (folder, about) = task_of(settings, run), student(settings, run)
    keep = list(range(encoders.blocks(folder) - cut_of(run.setting)[1]))
    values = learn(settings, run, task, folder, keep=keep)
    return [(run, values | {"distillation": about})], made_of(settings, task)


def student(settings: Profile, run: Run) -> tuple[Path, dict]:
    """Folder of a model's student, and how it was made; other processes wait while one makes it."""
    sentences, text = general.sample(settings, replace(run, task=settings.distil_on))
    n, recipe = encoders.blocks(run.model), replace(distil.RECIPE, epochs=settings.distil_epochs)
    keep = dropping.blocks_to_keep("even", n, n // 2)
    told = [encoders.digest(encoders.find(run.model)), keep, asdict(recipe), run.seed, sentences]
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]
    folder = records.results() / settings.name / ".students" / digest
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / ABOUT).exists():
            texts = sentences, [words for words, _ in text.dev[:HELD_OUT]]
            about = {"keep": keep, "text": settings.distil_on}
            _make(run, about, texts, recipe, folder)
    return folder, json.loads((folder / ABOUT).read_text())


def _make(run: Run, about: dict, texts: tuple, recipe: Recipe, folder: Path) -> None:
    """Write the student and an account of it; the folder appears whole or not at all."""
    teacher, tokenizer = encoders.load(run.model)
    begun = dropping.smaller(teacher, about["keep"])
    options = {"checkpoint": folder.with_suffix(".safetensors"), "progress": True}
    options |= {"recipe": recipe, "seed": run.seed}
    made, account = distil.distil(teacher, tokenizer, texts[0], about["keep"], **options)
    about["agreement"] = {
        when: distil.mean_agreement(model, teacher, tokenizer, texts[1])
        for when, model in (("before", begun), ("after", made))
    }
    with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
        dropping.save(made, tokenizer, fresh)
        (Path(fresh) / ABOUT).write_text(json.dumps(records.rounded(about | account)))
        Path(fresh).rename(folder)
