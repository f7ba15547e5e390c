"""The search for a smaller version of a reader's own model, and what is saved of it.

Every cut of every strategy is scored untrained; then, one block fewer at a time, the best cut is
trained, the whole model first, until the loss exceeds the tolerance. All of this is decided on dev;
the test part is looked at once, at the end. What is given is checked by :mod:`lib.given`.
"""

import copy
import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from lib import cost, criteria, dropping, encoders, finetune, pretraining, training
from lib.checkpoints import digest, find, once
from lib.given import Request


def rows(request: Request, model, tokenizer, part: str) -> np.ndarray:
    """A part of a plain text as full rows of tokens, no longer than the model reads."""
    texts = [text for text, _ in getattr(request.task, part)]
    length = min(request.recipe.max_length, encoders.max_tokens(model, tokenizer))
    return pretraining.packed(tokenizer, texts, length)


def score(request: Request, model, tokenizer, part: str) -> float:
    """Score of a model on ``dev`` or ``test``, in points: more is better.

    The task's own metric; for words the logarithm of the perplexity times -100, of which one point
    is about one per cent of the perplexity.
    """
    task, length = request.task, request.recipe.max_length
    if request.head == "lm":
        text = rows(request, model, tokenizer, part)
        return -100 * pretraining.losses(model, tokenizer, text)["loss"]
    found = finetune.evaluate(model, tokenizer, task, getattr(task, part), length)
    return 100 * next(iter(found.values()))


def told(request: Request, points: float) -> str:
    """A score in words, with the name of its metric."""
    shown = f"{np.exp(-points / 100):.2f}" if request.head == "lm" else f"{points:.1f}"
    return f"{request.task.metric} {shown}"


def seconds(request: Request, model, tokenizer) -> float:
    """Seconds of reading and scoring the test part."""
    return cost.timed(lambda: score(request, model, tokenizer, "test"), model.device)


def auto_class(request: Request, model) -> str:
    """The class of plain transformers that reads what is saved."""
    words = "CausalLM" if encoders.predicts(model.config) == "causal" else "MaskedLM"
    return f"AutoModelFor{words if request.head == 'lm' else 'SequenceClassification'}"


def cuts(strategies: Sequence[str], n_blocks: int, measured=None) -> dict[tuple, list[str]]:
    """Every set of blocks kept, with the strategies that keep just these; the whole model first.

    Examples
    --------
    >>> cuts(["top", "even"], 3)
    {(0, 1, 2): ['whole'], (0, 1): ['top'], (0, 2): ['even'], (0,): ['top']}
    """
    found: dict[tuple, list[str]] = {tuple(range(n_blocks)): ["whole"]}
    for k, name in itertools.product(range(1, n_blocks), strategies):
        if k <= dropping.most_dropped(name, n_blocks):
            similarity = (measured or {}).get(name)
            keep = dropping.blocks_to_keep(name, n_blocks, k, similarity=similarity)
            found.setdefault(tuple(keep), []).append(name)
    return found


def screen(request: Request, model, tokenizer) -> pd.DataFrame:
    """Score every cut on dev as it is, without training.

    Cost: a forward pass over dev for every different set of blocks, and one over train where a
    strategy measures, such as *contribution*; no memory beyond the model's.

    Returns
    -------
    DataFrame
        Columns ``k``, ``strategy``, ``keep``, ``score``; the whole model first, then a row per
        strategy, also where two keep the same blocks.
    """
    total, measured, rows = dropping.n_blocks(model), None, []
    if set(criteria.NEEDS) & set(request.strategies):
        length = request.recipe.max_length
        encoded = finetune.encode(model, tokenizer, request.task.train, length)
        measured = criteria.needed(model, tokenizer, encoded, request.strategies, progress=True)
    found = cuts(request.strategies, total, measured)
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
    files = digest(find(request.model))
    told = [files, list(keep), asdict(request.recipe), request.seed, request.task.train]
    return request.work / hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def tuned(request: Request, model, tokenizer, keep: Sequence[int]):
    """The given model with some of its blocks, fine-tuned; read if a stopped run had finished it.

    Cost: as :func:`lib.finetune.train`; a training that was stopped goes on. What was saved has
    been read again and compared (:func:`lib.dropping.save`).
    """
    folder = place(request, keep)

    def make(fresh: Path) -> None:
        learner = copy.deepcopy(dropping.smaller(model, keep))
        state = _training(request, learner, tokenizer)
        training.finish(state, folder.with_suffix(".safetensors"), progress=True)
        dropping.save(learner, tokenizer, fresh)

    return encoders.load(once(folder, make), head=request.head, device=model.device)[0]


def _training(request: Request, learner, tokenizer) -> training.Training:
    """The training of one cut before its first update: on labels, or on words."""
    recipe, seed = request.recipe, request.seed
    if request.head != "lm":
        return finetune.fine_tuning(learner, tokenizer, request.task, recipe, seed)
    text = rows(request, learner, tokenizer, "train")
    return pretraining.training_on(text, learner, tokenizer, recipe, seed=seed)


def finish(request: Request, keep: Sequence[int] | None) -> Path | None:
    """Put the chosen model where it was asked for, whole, and remove all else; None: nothing."""
    if keep is not None:
        place(request, keep).replace(request.out)
    shutil.rmtree(request.work, ignore_errors=True)
    return None if keep is None else request.out
