"""Dropping with words as the task: what a cut model says of hidden words, at once and after tuning.

Paper B drops blocks and fine-tunes on labelled tasks. The words of a text that a model has not read
are a task too, one that needs no labels and that a model pretrained on little text can learn: here
they are those of the help pages that come with Python.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from lib import batches, corpora, dropping, encoders, profiles
from lib.dropped.report import parent
from lib.errors import one_of, within
from lib.grids import WHOLE
from lib.pretrain import given, measure, run, shapes, ship, text
from lib.report import indexed, this_run
from lib.training import Training, finish

OBJECTIVES = {one.model.family: one.objective for one in shapes.MINIATURES.values()}
RATE = 5e-4  # of the first update of the tuning
MEASURED = 200  # help pages at most on whose words block similarity is measured
COLUMNS = ["model", "strategy", "k", "left", "said", "tuned", "loss"]


@dataclass(frozen=True)
class Choice:
    """What a reader chose, checked: see :func:`accept`."""

    models: tuple[str, ...]
    strategies: tuple[str, ...]
    drops: tuple[float, ...]
    tuned: tuple[str, ...]
    held: int
    steps: int
    seed: int


def accept(
    names: Sequence[str] | str | None,
    *,
    strategies: Sequence[str] | str | None,
    drops: Sequence[float] | str,
    tuned: Sequence[str] | str,
    held: int,
    steps: int,
    seed: int,
) -> Choice:
    """Check every choice before any work.

    Parameters
    ----------
    names
        Models that say words: miniatures, or others with a head for it; None: those that ship.
    strategies, drops
        Which blocks go, None being all of :data:`lib.dropping.PAPER_STRATEGIES`, and the
        shares of the blocks that do.
    tuned
        Strategies whose cuts at the largest share are tuned too, as the whole model is.
    held, steps, seed
        Rows of 64 tokens on which losses are measured, updates of 32 other rows, and what draws
        their order and the words hidden in them.

    Raises
    ------
    BadInput
        In one sentence, for the first thing that cannot be used.
    """
    names = profiles.checked("models", names or profiles.MINIATURES)
    lists = {"strategies": strategies or list(dropping.PAPER_STRATEGIES), "drops": drops}
    chosen = {name: profiles.checked(name, value) for name, value in lists.items()}
    tuned = tuple(profiles.listed(tuned))
    for strategy in tuned:
        one_of("strategy to be tuned", strategy, chosen["strategies"])
    within("held", held, 8, 512)
    within("steps", steps, 1, 10_000)
    within("seed", seed, 0, 2**32 - 1)
    for name in names:
        one_of(f"architecture of {name}", encoders.architecture(name), OBJECTIVES)
    return Choice(names, **chosen, tuned=tuned, held=held, steps=steps, seed=seed)


def read(tokenizer, held: int) -> run.Read:
    """Python's help as a tokenizer reads it; the first rows are held out."""
    rows = text.pack(tokenizer, text.paragraphs(text.EMBEDDED), run.LENGTH, 1 << 20)
    return run.Read(tokenizer, rows[held:], rows[:held], {})  # entropies are not asked for


def losses(choice: Choice, device=None) -> pd.DataFrame:
    """Loss on held-out words of every cut of every model.

    Returns
    -------
    DataFrame
        ``model``, ``strategy``, ``k`` blocks dropped, blocks ``left``, and in nats ``said`` (the
        loss of the model as it is cut), ``tuned`` (after the tuning; NaN where there was none) and
        ``loss`` (what ``said`` is above that of the whole model). The same words are asked of all
        cuts of a model. Cost: a forward pass a cut, and ``steps`` updates for each that is tuned.
    """
    rows = [row for name in choice.models for row in _of_model(choice, name, device)]
    found = pd.DataFrame(rows, columns=COLUMNS)
    whole = found[found["strategy"] == WHOLE].set_index("model")["said"]
    found["loss"] = found["said"] - found["model"].map(whole)
    return found


def _of_model(choice: Choice, name: str, device) -> Iterator[dict]:
    model = given.speaker(name).to(device or encoders.default_device())
    data = read(ship.tokenizer_in(encoders.find(name)), choice.held)
    cuts = _cuts(choice, run.plain(model), data.tokenizer)
    most = max(k for _, k, _ in cuts)
    for strategy, k, keep in tqdm(cuts, desc=encoders.title(name), unit="cut"):
        smaller = dropping.smaller(model, keep)
        row = {"model": name, "strategy": strategy, "k": k, "left": len(keep)}
        row |= {"said": _loss(smaller, data), "tuned": np.nan}
        if strategy == WHOLE or strategy in choice.tuned and k == most:
            row["tuned"] = _tuned(copy.deepcopy(smaller), data, choice)
        yield row


def _cuts(choice: Choice, model, tokenizer) -> list[tuple[str, int, list[int]]]:
    """The whole model, and what each strategy keeps of it."""
    total = dropping.n_blocks(model)
    words = [words for words, _ in corpora.load(text.EMBEDDED).train[:MEASURED]]
    encoded = batches.encode(model.base_model, tokenizer, words, level="word")
    similarity = dropping.block_similarity(model.base_model, tokenizer, encoded).tolist()
    ks = dict.fromkeys(max(1, round(share * total)) for share in choice.drops)
    return [(WHOLE, 0, list(range(total)))] + [
        (strategy, k, dropping.blocks_to_keep(strategy, total, k, similarity=similarity))
        for strategy in choice.strategies
        for k in ks
        if k <= dropping.most_dropped(strategy, total)
    ]


def _loss(model, data: run.Read) -> float:
    """Loss (nats) on the words asked of the held-out rows."""
    rows, objective = text.encoded(data.held, data.tokenizer), OBJECTIVES[model.config.model_type]
    return measure.held_out(model, data.tokenizer, rows, objective)["loss"]


def _tuned(model, data: run.Read, choice: Choice) -> float:
    """The same after some updates on the other rows; the model is changed."""
    said = run.objective(model, data.tokenizer, OBJECTIVES[model.config.model_type])
    recipe = replace(run.recipe(len(data.train), choice.steps), learning_rate=RATE)
    rows = text.encoded(data.train, data.tokenizer)
    finish(Training(model, data.tokenizer, rows, said, recipe=recipe, seed=choice.seed))
    return _loss(model, data)


def side_by_side(found: pd.DataFrame) -> pd.DataFrame:
    """Losses of what was tuned, at once and after: rows (model, what, blocks), in nats.

    A distilled model stands with the model that it was distilled from, if that is there.
    """
    rows, there = {}, set(found["model"])
    for row in found.dropna(subset="tuned").to_dict("records"):
        model, what = parent(row["model"], there) or row["model"], row["strategy"]
        if model != row["model"]:
            what = f"{encoders.title(row['model'])}, {what}"
        cell = {"at once": f"{row['said']:.2f}", "after tuning": f"{row['tuned']:.2f}"}
        rows[encoders.title(model), what, row["left"]] = cell
    return indexed(rows, "model", "what", "blocks").sort_index(level="model", sort_remaining=False)


def told(found: pd.DataFrame) -> str:
    """A sentence on each distilled model beside what was cut from the top of its parent."""
    said = []
    tuned = found.dropna(subset="tuned").set_index(["model", "strategy", "left"])["tuned"]
    for (child, strategy, left), loss in tuned.items():
        above = parent(child, set(found["model"]))
        if strategy == WHOLE and (above, "top", left) in tuned:
            said.append(
                f"After tuning, {encoders.title(child)} stands at {loss:.2f} nats, and "
                f"{encoders.title(above)} with as many blocks left, cut from the top, at "
                f"{tuned[above, 'top', left]:.2f}."
            )
    return " ".join(said) or "No distilled model stands beside its parent at the same depth here."


def provenance(choice: Choice, device) -> pd.DataFrame:
    """Models, text, device and versions."""
    about = {"models": ", ".join(choice.models), "text": f"{given.PYTHON[0]} ({given.PYTHON[1]})"}
    about |= {"seed": str(choice.seed)}
    return this_run(about, torch.device(device or encoders.default_device()))
