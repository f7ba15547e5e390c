"""The example of the page, for readers who have no model at hand: which table a symbol is from.

Unicode gives every symbol a name, and every Python carries these names. A published encoder is
fine-tuned to tell from a name which of four tables of Unicode the symbol stands in. The names it
has not seen go into the labelled file.
"""

from __future__ import annotations

import csv
import shutil
import unicodedata
from pathlib import Path

import numpy as np

from lib import dropping, finetune
from lib.corpora import Task
from lib.old_records import ROOT
from lib.training import Recipe

ENCODER = "all-minilm-l6-v2"
TABLES = {
    "mathematics": range(0x2200, 0x2300),
    "technical": range(0x2300, 0x2400),
    "symbols": range(0x2600, 0x2700),
    "pictures": range(0x1F300, 0x1F400),
}
CLASSES = tuple(TABLES)
RECIPE = Recipe(learning_rate=2e-4, epochs=3, batch=16)
SEEN, UNSEEN = 400, 500  # names that the model is made from, and names in the file
FOLDER = ROOT / "_build" / "example"
MODEL, FILE, OUT = FOLDER / "model", FOLDER / "symbols.csv", FOLDER / "smaller"


def names() -> list[tuple[str, str]]:
    """Names of symbols with their table, in an order that never changes."""
    found = [(unicodedata.name(chr(i), ""), table) for table, r in TABLES.items() for i in r]
    found = [(name.lower(), table) for name, table in found if name]
    return [found[i] for i in np.random.default_rng(0).permutation(len(found))]


def write_file() -> Path:
    """Write the labelled file, with columns ``text`` and ``label``; an older example is removed."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    with FILE.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *names()[SEEN : SEEN + UNSEEN]])
    return FILE


def make_model() -> Path:
    """Fine-tune the encoder on names that are not in the file, and save it; 13 s on one core."""
    seen = names()[:SEEN]
    task = Task(
        "symbols", "Symbols", "sentence", "accuracy", CLASSES, "Unicode", "", {}, seen, [], []
    )
    model, tokenizer = finetune.begin(ENCODER, task, recipe=RECIPE)
    model.config.id2label = dict(enumerate(CLASSES))
    model.config.label2id = {name: number for number, name in enumerate(CLASSES)}
    finetune.train(model, tokenizer, task, recipe=RECIPE, progress=True)
    return dropping.save(model, tokenizer, MODEL)
