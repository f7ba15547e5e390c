"""The search for the smallest model within a tolerance.

Every cut of every strategy is scored untrained, which costs forward passes alone. Then, one block
fewer at a time, the cut that lost least is fine-tuned, until the loss exceeds the tolerance. All of
this is decided on dev; the test part is looked at once, at the end.
"""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from lib import dropping, encoders, finetune
from lib.own.given import Request


def cuts(strategies: Sequence[str], n_blocks: int, similarity=None) -> dict[tuple, list[str]]:
    """Every set of blocks kept, with the strategies that keep just these; fewest dropped first.

    Examples
    --------
    >>> cuts(["top", "even"], 3)
    {(0, 1): ['top'], (0, 2): ['even'], (0,): ['top']}
    """
    found: dict[tuple, list[str]] = {}
    for k in range(1, n_blocks):
        for name in strategies:
            if k <= dropping.most_dropped(name, n_blocks):
                keep = dropping.blocks_to_keep(name, n_blocks, k, similarity=similarity)
                found.setdefault(tuple(keep), []).append(name)
    return found


def score(request: Request, model, tokenizer, part: str) -> float:
    """Score of a model on ``dev`` or ``test``, by the task's own metric."""
    task, length = request.task, request.recipe.max_length
    found = finetune.evaluate(model, tokenizer, task, getattr(task, part), max_length=length)
    return next(iter(found.values()))


def screen(request: Request, model, tokenizer, whole: float) -> pd.DataFrame:
    """Score every cut on dev as it is, without training.

    Cost: a forward pass over dev for every different set of blocks, and one over train where
    *contribution* is asked for; no memory beyond the model's.

    Returns
    -------
    DataFrame
        Columns ``k``, ``strategy``, ``keep``, ``score``, ``loss`` (points below ``whole``, the
        given model's score); a row per strategy, also where two keep the same blocks.
    """
    total, similarity = dropping.n_blocks(model), None
    if "contribution" in request.strategies:
        length = request.recipe.max_length
        encoded = finetune.encode(model, tokenizer, request.task.train, length)
        similarity = dropping.block_similarity(model, tokenizer, encoded, progress=True).tolist()
    rows = []
    found = cuts(request.strategies, total, similarity)
    for keep, names in tqdm(found.items(), unit="cut", leave=False):
        reached = score(request, dropping.smaller(model, keep), tokenizer, "dev")
        rows += [_row(total, keep, name, reached, whole) for name in names]
    return pd.DataFrame(rows)


def _row(total: int, keep: tuple, strategy: str, reached: float, whole: float) -> dict:
    k, loss = total - len(keep), 100 * (whole - reached)
    return {"k": k, "strategy": strategy, "keep": keep, "score": reached, "loss": loss}


def descend(
    screened: pd.DataFrame, whole: float, tolerance: float, tune: Callable[[tuple], float]
) -> pd.DataFrame:
    """Fine-tune the best cut of each depth, one block fewer at a time, while it stays in bounds.

    Parameters
    ----------
    screened
        From :func:`screen`.
    whole
        The given model's score on dev.
    tolerance
        Points that may be lost; the first cut beyond it ends the search.
    tune
        Fine-tunes what keeps some blocks, and gives its score on dev.

    Returns
    -------
    DataFrame
        As ``screened``, for the cuts that were fine-tuned, with their scores afterwards, and
        ``within`` (the tolerance).
    """
    rows = []
    for k, same in screened.groupby("k"):
        best = same.loc[same["loss"].idxmin()]
        row = _row(k + len(best["keep"]), best["keep"], best["strategy"], tune(best["keep"]), whole)
        rows.append(row | {"within": row["loss"] <= tolerance + 1e-9})
        if not rows[-1]["within"]:
            break
    return pd.DataFrame(rows)


def smallest(descended: pd.DataFrame) -> tuple[int, ...] | None:
    """Blocks of the smallest model within the tolerance; None where none is."""
    within = descended[descended["within"]]
    return None if within.empty else within.iloc[-1]["keep"]


def place(request: Request, keep: Sequence[int]) -> Path:
    """Where one fine-tuned cut is kept until the end, named by all that decides its weights."""
    weights = encoders.digest(encoders.find(request.model))
    told = [weights, list(keep), asdict(request.recipe), request.seed, request.task.train]
    return request.work / hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def tuned(request: Request, model, tokenizer, keep: Sequence[int]):
    """The given model with some of its blocks, fine-tuned; read if a stopped run had finished it.

    Cost: as :func:`lib.finetune.train`; a training that was stopped goes on.
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
        dropping.save(learner, tokenizer, fresh).replace(folder)
    return encoders.load(folder, head=model.config.num_labels, device=model.device)[0]


def finish(request: Request, keep: Sequence[int] | None) -> Path | None:
    """Put the chosen model where it was asked for, whole, and remove all else; None: nothing."""
    if keep is not None:
        place(request, keep).replace(request.out)
    shutil.rmtree(request.work, ignore_errors=True)
    return None if keep is None else request.out
