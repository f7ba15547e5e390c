"""Fine-tuning beside the released loop: speed, memory, depth, and the device's rate it reaches.

A part of :mod:`lib.bench`. The released loop is written here as the papers' code has it: every
sentence padded to 128 tokens, the whole vocabulary, batches of eight in training and evaluation,
AdamW as torch gives it, gradients cut at norm 1, linear decay. Both loops get the same batches.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, BertConfig

from lib import corpora, cost, dropping, encoders, finetune, training
from lib.bench.base import MODEL, TEXT, Bench, check, difference
from lib.training import RELEASED, Recipe, plan

TASKS = ("sst2", "cola")
RECIPE = replace(RELEASED, epochs=1)
MEMORY_UPDATES = 4
LONG = 150  # words of a text that is longer than 128 tokens
BASE_BATCH = {"cpu": 8, "cuda": 64}
WORK = {"train": "tuning", "test": "evaluation"}  # which part of a task serves for what


def padded(tokenizer, task: corpora.Task, items: Sequence) -> dict[str, Tensor]:
    """Items as the released code keeps them: every row of 128 tokens, and its label."""
    options = {"padding": "max_length", "truncation": True, "max_length": RECIPE.max_length}
    rows = tokenizer([text for text, _ in items], return_tensors="pt", **options)
    return {**rows, "labels": finetune.targets(task, items)}


def _batch(rows: dict[str, Tensor], group, device: torch.device) -> dict[str, Tensor]:
    return {name: column[group].to(device) for name, column in rows.items()}


def released_updates(
    model, rows: dict[str, Tensor], groups: Sequence[np.ndarray], recipe: Recipe
) -> Iterator[float]:
    """The released training loop, update by update; yields each loss."""
    optimizer = torch.optim.AdamW(
        model.parameters(), recipe.learning_rate, eps=recipe.epsilon, weight_decay=0.0
    )
    for number, group in enumerate(groups):
        loss = model(**_batch(rows, group, model.device)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.param_groups[0]["lr"] = recipe.rate(number, len(groups))
        optimizer.step()
        model.zero_grad()
        yield loss.item()


@torch.no_grad()
def released_logits(model, rows: dict[str, Tensor], batch: int) -> Tensor:
    """The released evaluation loop: logits (N, C) of batches in the order given."""
    parts = torch.arange(len(rows["labels"])).split(batch)
    return torch.cat([model(**_batch(rows, part, model.device)).logits.cpu() for part in parts])


def load(name: str, examples: int) -> corpora.Task:
    """A task from the data root where there is one, else embedded; its parts cut."""
    task = corpora.load(name, root=corpora.data_root())
    return replace(task, train=task.train[:examples], test=task.test[:examples])


def groups_of(model, tokenizer, task: corpora.Task) -> list[np.ndarray]:
    """The batches that both loops train on: those of :func:`lib.cost.tuning`."""
    encoded = finetune.encode(model, tokenizer, task.train, RECIPE.max_length)
    return plan([len(ids) for ids in encoded.ids], RECIPE, cost.SEED)


class _Pair:
    """One task, and two models of the same weights: one for each loop."""

    def __init__(self, bench: Bench, name: str):
        self.task = load(name, bench.sizes.tuned)
        self.ours, self.tokenizer = finetune.begin(MODEL, self.task, device=bench.device)
        self.released = copy.deepcopy(self.ours)
        self.groups = groups_of(self.ours, self.tokenizer, self.task)
        self.rows = {
            part: padded(self.tokenizer, self.task, getattr(self.task, part)) for part in WORK
        }
        items = self.task.test
        self.encoded = finetune.encode(self.ours, self.tokenizer, items, RECIPE.max_length)

    def train_ours(self) -> float:
        return cost.tuning(self.ours, self.tokenizer, self.task, RECIPE)

    def train_released(self) -> float:
        """Seconds of all updates but the first, as for ours."""
        self.released.train()
        loop = released_updates(self.released, self.rows["train"], self.groups, RECIPE)
        next(loop)
        return cost.timed(lambda: list(loop), self.released.device)

    def read_ours(self) -> float:
        return cost.inference(self.ours, self.tokenizer, self.encoded)

    def read_released(self) -> float:
        model, rows = self.released.eval(), self.rows["test"]
        return cost.timed(lambda: released_logits(model, rows, RECIPE.batch), model.device)


def _speed(bench: Bench, name: str) -> tuple[dict, list[dict]]:
    """Examples a second of both loops in training and evaluation, on one task."""
    bench.say(f"fine-tuning: {name}")
    pair = _Pair(bench, name)
    checks = _checks(pair, bench.sizes.checked_updates)
    ways = {
        ("tuning", "ours"): pair.train_ours,
        ("tuning", "released"): pair.train_released,
        ("evaluation", "ours"): pair.read_ours,
        ("evaluation", "released"): pair.read_released,
    }
    found, seconds = {}, cost.in_turn(ways, bench.sizes.tuned_repeats)
    counts = {"tuning": sum(map(len, pair.groups[1:])), "evaluation": len(pair.task.test)}
    for part, work in WORK.items():
        loops = {loop: seconds[work, loop] for loop in ("ours", "released")}
        tokens = pair.rows[part]["attention_mask"].sum().item() / len(pair.rows[part]["labels"])
        found[work] = {"examples": counts[work], "tokens": tokens, "seconds": loops}
    about = {"source": pair.task.source, "data": pair.task.digest}
    return found | about | {"updates": len(pair.groups) - 1}, checks


def _checks(pair: _Pair, updates: int) -> list[dict]:
    """Same logits; without dropout the same first loss and, but for rounding, the same weights.

    AdamW divides by the gradient's own size, so a weight whose gradient is rounding alone moves as
    far as any other; therefore weights are compared in sum, relative to how far they moved.
    """
    title, start = pair.task.title, copy.deepcopy(pair.ours)
    ours, released = copy.deepcopy(start), copy.deepcopy(start)  # in evaluation mode: no dropout
    apart = difference(
        finetune.logits(start, pair.tokenizer, pair.encoded),
        released_logits(start, pair.rows["test"], RECIPE.batch),
    )
    exact = replace(RECIPE, precision="float32")
    state = finetune.fine_tuning(ours, pair.tokenizer, pair.task, exact, cost.SEED)
    loop = released_updates(released, pair.rows["train"], pair.groups, exact)
    updates, losses = min(updates, len(pair.groups)), []
    with training.repeatable(ours.device):
        for _ in range(updates):
            losses.append(next(loop))
            state.update()
    state.words.put_back()
    return [
        check(f"evaluation, {title}: logits, from the released loop's", apart, 1e-4),
        check(f"fine-tuning, {title}: first loss", abs(losses[0] - state.losses[0]), 1e-5),
        check(
            f"fine-tuning, {title}: weights after {updates} updates, of their change",
            _moved(ours, released) / _moved(start, released),
            0.01,
        ),
    ]


def _moved(left, right) -> float:
    """Sum of the differences of all weights of two models."""
    pairs = zip(left.parameters(), right.parameters(), strict=True)
    return sum((a - b).detach().abs().sum(dtype=torch.float64).item() for a, b in pairs)


def _depths(bench: Bench) -> dict:
    """Time at several depths beside what operations predict; the whole model comes first."""
    bench.say("fine-tuning: depths")
    task = load(TASKS[0], bench.sizes.depth_examples)
    model, tokenizer = finetune.begin(MODEL, task, device=bench.device)
    total = dropping.n_blocks(model)
    keeps = {str(k): range(total - k) for k in range(0, total, bench.sizes.depth_step)}
    seconds = cost.times(model, tokenizer, task, keeps, RECIPE, repeats=bench.sizes.tuned_repeats)
    shapes, found = cost.shapes(model, tokenizer, task, RECIPE), {}
    for work in shapes:
        counted = cost.operations(model, shapes[work])
        found[work] = {
            k: {
                "seconds": seconds[work, k],
                "predicted": cost.predicted(counted, len(kept) / total),
            }
            for k, kept in keeps.items()
        }
    return found


def _tune_ours(device: str, examples: int) -> dict:
    task = load(TASKS[0], examples)
    cost.tuning(*finetune.begin(MODEL, task, device=device), task, RECIPE)
    return {}


def _tune_released(device: str, examples: int) -> dict:
    task = load(TASKS[0], examples)
    model, tokenizer = finetune.begin(MODEL, task, device=device)
    groups, rows = groups_of(model, tokenizer, task), padded(tokenizer, task, task.train)
    list(released_updates(model.train(), rows, groups, RECIPE))
    return {}


def _memory(bench: Bench) -> dict:
    """Peak memory of a few updates of either loop, each in a fresh process."""
    bench.say("fine-tuning: memory")
    given = (str(bench.device), min(bench.sizes.tuned, MEMORY_UPDATES * RECIPE.batch))
    loops = {"ours": _tune_ours, "released": _tune_released}
    return {name: cost.alone(loop, *given) for name, loop in loops.items()}


def _base(bench: Bench) -> dict:
    """Updates of a random model of the shape of a BERT-base, on full rows of 128 tokens."""
    bench.say("fine-tuning: the shape of a BERT-base")
    sizes, batch = bench.sizes, BASE_BATCH[bench.device.type]
    words = [word for sentence, _ in corpora.load(TEXT).train for word in sentence]
    begins = range(0, (1 + sizes.base_updates) * batch * LONG, LONG)
    texts = [" ".join(words[b % (len(words) - LONG) :][:LONG]) for b in begins]
    task = replace(corpora.load(TASKS[0]), train=[(text, "positive") for text in texts])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_config(BertConfig(**sizes.base))
    model, (_, tokenizer) = model.to(bench.device), encoders.load(MODEL, device="cpu")
    recipe = replace(RECIPE, batch=batch)
    shapes = cost.shapes(model, tokenizer, task, recipe)["tuning"]
    seconds = [cost.tuning(model, tokenizer, task, recipe) for _ in range(sizes.tuned_repeats)]
    return {
        "batch": batch,
        "tokens": max(t for _, t in shapes),
        "updates": len(shapes),
        "parameters": cost.parameters(model)["parameters"],
        "operations": 3 * 2 * sum(cost.operations(model, shapes).values()),
        "precision": training.products(bench.device, recipe.precision),
        "seconds": seconds,
    }


def tuning(bench: Bench) -> tuple[dict, list[dict]]:
    """Fine-tuning: memory first, then speed on each task, depths, and the shape of a BERT-base."""
    found, checks = {"memory": _memory(bench), "tasks": {}}, []
    for name in TASKS:
        found["tasks"][name], passed = _speed(bench, name)
        checks += passed
    return found | {"depths": _depths(bench), "base": _base(bench)}, checks
