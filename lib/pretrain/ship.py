"""A finished miniature as a folder: weights in half precision, tokenizer, log, and a card.

An unfinished one is a folder too: it holds the tokenizer, without which a run cannot go on, and
the checkpoint.
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoTokenizer

from lib import encoders
from lib import old_records as records
from lib.pretrain import run, shapes

WEIGHTS, LOG, CARD = "model.safetensors", "training.json", "README.md"
CHECKPOINT, TOKENIZER = "run.safetensors", "tokenizer.json"


@dataclass(frozen=True)
class About:
    """What the card of a miniature says, beside what was measured."""

    architecture: str
    corpus: str  # as the parameter of the page
    source: str  # of the text, in words
    licence: str  # of the text, as it is stated
    width: int
    steps: int
    seed: int

    def __str__(self) -> str:
        return (
            f"{self.architecture}, {self.width} wide, {self.steps:,} steps, seed {self.seed}\n"
            f"text: {self.source} ({self.licence})"
        )


def tokenizer(folder: str | Path | None, architecture: str, corpus: str | Path, size: int):
    """The tokenizer of a run: that of the folder where the run was begun, else a new one, kept."""
    if folder is None:
        return run.tokenizer_of(architecture, corpus, size)
    folder = Path(folder)
    if (folder / TOKENIZER).exists():
        return tokenizer_in(folder)
    found = run.tokenizer_of(architecture, corpus, size)
    found.save_pretrained(folder)
    return found


def tokenizer_in(folder: Path):
    """The tokenizer that lies in a folder."""
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def save(model, tokenizer, folder: str | Path, about: About, account: dict) -> Path:
    """Write a finished miniature; its family's dropout is back for fine-tuning."""
    folder, config = Path(folder), model.config
    usual = type(config)()
    config.update({name: getattr(usual, name) for name in shapes.BUILDS[config.model_type].dropout})
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    model.float()
    told = vars(about) | {"corpus": Path(about.corpus).name}
    kept = ("device", "products", "entropies", "log")
    log = told | {name: account[name] for name in kept}
    records.write_whole(folder / LOG, json.dumps(log, indent=1) + "\n")
    records.write_whole(folder / CARD, card(model, tokenizer, folder, about, account))
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return folder


def card(model, tokenizer, folder: Path, about: About, account: dict) -> str:
    """What the miniature is, what it learned from, how well, and what it is not."""
    shape, recipe = shapes.MINIATURES[about.architecture], run.RECIPE
    last, counted = account["log"][-1], account["entropies"]
    said = "words of a drawn order" if shape.objective == "permuted" else "masked words"
    parent = shape.model.parent
    taught = f", distilled from {parent} and begun as its every second block" if parent else ""
    begun = (
        "It started from how often each piece occurs, and read stretches of "
        f"{run.STRETCHES[0][0]} to {run.STRETCHES[-1][0]} tokens for the first "
        f"{run.STRETCHES[-1][1]:.0%} of the steps. "
    )
    parts = [
        f"# {shape.model.title}",
        f"A small {shape.model.family} of {encoders.blocks(folder)} blocks, {about.width} wide, "
        f"with {encoders.n_parameters(model):,} parameters{taught}; stored in half precision. "
        "It is made for trying out how redundant layers and neurons are, on a laptop.",
        f"- Text: {about.source}. Licence of the text: {about.licence}.",
        f"- Tokenizer: {len(tokenizer):,} pieces, trained on the same text.",
        f"- Recipe: {about.steps:,} steps of {recipe.batch} rows of {run.LENGTH} tokens "
        f"({account['tokens']:,} tokens), AdamW at {recipe.learning_rate:g} with "
        f"{recipe.warmup:.0%} of the steps for warm-up, then linear decay, seed {about.seed}. "
        f"Products in {account['products']} ({account['device']}), all else in float32. "
        f"{'' if parent else begun}No dropout in pretraining. "
        "No knowledge was copied between blocks.",
        f"- On held-out text, {last['asked']:,} {said}: "
        f"loss {last['loss']:.2f} nats, accuracy {last['accuracy']:.1%}. Counting words gives "
        f"{counted['unigram']:.2f} (unigram) and {counted['bigram']:.2f} (bigram).",
        "It is no model for use: it is small, has read little, and says what such text says. "
        f"Its full log is in `{LOG}`; it was made by the page *Pretrain a miniature* of this book.",
    ]
    return "\n\n".join(textwrap.fill(part, 100) for part in parts) + "\n"
