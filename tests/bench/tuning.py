"""Fine-tuning beside transformers' Trainer and the papers' released loop: speed, memory, rate.

Trainer pads to the longest of a batch, drawn at random or from sentences of like length. The
released loop is written here as the papers' code has it: every sentence padded to 128 tokens, the
whole vocabulary, batches of eight in training and evaluation, AdamW as torch gives it, gradients
cut at norm 1, linear decay. All follow one recipe, and none saves or evaluates on the way.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, BertConfig

from lib import corpora, cost, encoders, finetune, training
from lib.finetune import RELEASED, Recipe
from tests.bench import peers
from tests.bench.base import MODEL, TEXT, Bench, check, difference, rows

RECIPE = replace(RELEASED, epochs=1)
EXACT = replace(RECIPE, precision="float32")
MEMORY_UPDATES = 4
LONG = 150  # words of a text that is longer than 128 tokens
BASE_BATCH = {"cpu": 8, "cuda": 64}


def padded(tokenizer, task: corpora.Task, items: Sequence) -> dict[str, Tensor]:
    """Items as the released code keeps them: every row of 128 tokens, and its label."""
    options = {"padding": "max_length", "truncation": True, "max_length": RECIPE.max_length}
    found = tokenizer([text for text, _ in items], return_tensors="pt", **options)
    return {**found, "labels": finetune.targets(task, items)}


def examples(tokenizer, task: corpora.Task, items: Sequence) -> list[dict]:
    """Items as Trainer takes them: token ids without padding, and a label."""
    labels = finetune.targets(task, items).tolist()
    found = tokenizer([text for text, _ in items], truncation=True, max_length=RECIPE.max_length)
    return [
        {name: column[i] for name, column in found.items()} | {"labels": label}
        for i, label in enumerate(labels)
    ]


def _batch(given: dict[str, Tensor], group, device: torch.device) -> dict[str, Tensor]:
    return {name: column[group].to(device) for name, column in given.items()}


def released_updates(
    model, given: dict[str, Tensor], groups: Sequence[np.ndarray], recipe: Recipe
) -> Iterator[float]:
    """The released training loop, update by update; yields each loss."""
    optimizer = torch.optim.AdamW(
        model.parameters(), recipe.learning_rate, eps=recipe.epsilon, weight_decay=0.0
    )
    for number, group in enumerate(groups):
        loss = model(**_batch(given, group, model.device)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.param_groups[0]["lr"] = recipe.rate(number, len(groups))
        optimizer.step()
        model.zero_grad()
        yield loss.item()


@torch.no_grad()
def released_logits(model, given: dict[str, Tensor], batch: int) -> Tensor:
    """The released evaluation loop: logits (N, C) of batches in the order given."""
    parts = torch.arange(len(given["labels"])).split(batch)
    return torch.cat([model(**_batch(given, part, model.device)).logits.cpu() for part in parts])


def load(name: str, count: int) -> corpora.Task:
    """A task, from the data root where there is one; its parts cut."""
    task = corpora.load(name, root=corpora.data_root())
    return replace(task, train=task.train[:count], test=task.test[:count])


def groups_of(model, tokenizer, task: corpora.Task) -> list[np.ndarray]:
    """The batches of :func:`lib.cost.tuning`, on which the released loop trains too."""
    encoded = finetune.encode(model, tokenizer, task.train, RECIPE.max_length)
    return training.plan([len(ids) for ids in encoded.ids], RECIPE, cost.SEED)


class Beside:
    """One task, and a model of the same weights for every way."""

    def __init__(self, bench: Bench, name: str):
        self.bench, self.task = bench, load(name, bench.sizes.tuned)
        self.model, self.tokenizer = finetune.begin(MODEL, self.task, device=bench.device)
        self.groups = groups_of(self.model, self.tokenizer, self.task)
        self.train = padded(self.tokenizer, self.task, self.task.train)
        self.test = padded(self.tokenizer, self.task, self.task.test)
        self.encoded = finetune.encode(
            self.model, self.tokenizer, self.task.test, RECIPE.max_length
        )

    def trainer(self, model, way: str, recipe: Recipe = RECIPE, order=None):
        """A Trainer on the training part, in the order given."""
        found = examples(self.tokenizer, self.task, self.task.train)
        found = found if order is None else [found[i] for i in order]
        return peers.trainer(model, self.tokenizer, found, recipe, into=self.bench.into, way=way)

    def tuning(self) -> dict[str, Callable[[], float]]:
        """Seconds of all updates of an epoch but the first, by way."""
        ours, released = copy.deepcopy(self.model), copy.deepcopy(self.model)

        def by_released() -> float:
            loop = released_updates(released.train(), self.train, self.groups, RECIPE)
            next(loop)
            return self.bench.timed(lambda: list(loop))

        ways = {
            "ours": lambda: cost.tuning(ours, self.tokenizer, self.task, RECIPE),
            "released loop": by_released,
        }
        for way in ("Trainer", "Trainer, by length") if self.bench.with_peers else ():
            model = copy.deepcopy(self.model)
            ways[way] = lambda m=model, w=way: peers.trainer_seconds(self.trainer(m, w))
        return ways

    def evaluation(self) -> dict[str, Callable[[], float]]:
        """Seconds of reading the test part, by way; text that was encoded beforehand."""
        model, timed = self.model.eval(), self.bench.timed
        ways = {
            "ours": lambda: cost.inference(model, self.tokenizer, self.encoded),
            "released loop": lambda: timed(lambda: released_logits(model, self.test, RECIPE.batch)),
        }
        if self.bench.with_peers:
            ready = self.trainer(model, "Trainer")
            held = examples(self.tokenizer, self.task, self.task.test)
            ways["Trainer"] = lambda: timed(lambda: ready.predict(held))
        return ways


def _speed(bench: Bench, name: str) -> dict:
    """Times of every way in fine-tuning and in evaluation on one task, and the checks."""
    bench.say(f"fine-tuning: {name}")
    beside, found = Beside(bench, name), []
    updates = {"count": sum(map(len, beside.groups[1:])), "updates": len(beside.groups) - 1}
    parts = (
        ("fine-tuning", beside.tuning(), beside.train, updates),
        ("evaluation", beside.evaluation(), beside.test, {"count": len(beside.task.test)}),
    )
    checks = _checks(beside, bench.sizes.checked_updates)
    for work, ways, part, counted in parts:
        tokens = part["attention_mask"].sum().item() / len(part["labels"])
        seconds = cost.in_turn(ways, bench.sizes.tuned_repeats)
        about = counted | {
            "tokens": tokens,
            "source": beside.task.source,
            "data": beside.task.digest,
        }
        found += rows(f"{work}, {beside.task.title}", seconds, **about)
    return {"times": found, "checks": checks}


def _checks(beside: Beside, updates: int) -> list[dict]:
    """Same logits; without dropout the same first loss and, but for rounding, the same weights.

    AdamW divides by the gradient's own size, so a weight whose gradient is rounding alone moves as
    far as any other; therefore weights are compared in sum, relative to how far they moved.
    """
    title, recipe, start = beside.task.title, replace(EXACT, updates=updates), beside.model
    logits = finetune.logits(start, beside.tokenizer, beside.encoded)
    apart = difference(logits, released_logits(start, beside.test, RECIPE.batch))
    checks = [check(f"evaluation, {title}: logits, from the released loop's", apart, 1e-4)]
    loops = {"the released loop's": _released} | (
        {"Trainer's": _trainer} if beside.bench.with_peers else {}
    )
    models = {name: _without_dropout(start) for name in ("ours", *loops)}
    first = _ours(beside, recipe, models["ours"])
    for name, loop in loops.items():
        loss = loop(beside, recipe, models[name])
        moved = _moved(models["ours"], models[name]) / _moved(start, models[name])
        what = f"fine-tuning, {title}"
        checks.append(check(f"{what}: first loss, from {name}", abs(loss - first), 1e-5))
        what += f": weights after {updates} updates, from {name}, of their change"
        checks.append(check(what, moved, 0.01))
    return checks


def _without_dropout(model) -> nn.Module:
    """A copy whose dropout keeps everything, in whatever mode."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def _ours(beside: Beside, recipe: Recipe, model) -> float:
    """First loss of a few updates of a model, in place: of our loop."""
    state = finetune.fine_tuning(model, beside.tokenizer, beside.task, recipe, cost.SEED)
    with state.running():
        for _ in state.plan:
            state.update()
    return state.losses[0]


def _released(beside: Beside, recipe: Recipe, model) -> float:
    """As :func:`_ours`, of the released loop on the same batches."""
    groups = beside.groups[: recipe.updates]
    return list(released_updates(model, beside.train, groups, recipe))[0]


def _trainer(beside: Beside, recipe: Recipe, model) -> float:
    """As :func:`_ours`, of Trainer: it reads the same batches in order."""
    order = np.concatenate(beside.groups[: recipe.updates])
    ready = beside.trainer(model, "in order", recipe, order)
    first = next(iter(ready.get_train_dataloader()))
    with torch.no_grad():
        loss = ready.compute_loss(model, first).item()
    peers.trainer_seconds(ready)
    return loss


def _moved(left, right) -> float:
    """Sum of the differences of all weights of two models."""
    pairs = zip(left.parameters(), right.parameters(), strict=True)
    return sum((a - b).detach().abs().sum(dtype=torch.float64).item() for a, b in pairs)


def _alone(way: str, device: str, name: str, count: int) -> dict:
    task = load(name, count)
    model, tokenizer = finetune.begin(MODEL, task, device=device)
    if way == "ours":
        cost.tuning(model, tokenizer, task, RECIPE)
    else:
        groups, given = groups_of(model, tokenizer, task), padded(tokenizer, task, task.train)
        list(released_updates(model.train(), given, groups, RECIPE))
    return {}


def _memory(bench: Bench) -> list[dict]:
    """Peak memory of a few updates, each way in a fresh process."""
    bench.say("fine-tuning: memory")
    count = min(bench.sizes.tuned, MEMORY_UPDATES * RECIPE.batch)
    given = (str(bench.device), bench.sizes.tasks[0], count)
    ways = ("ours", "released loop")
    return [{"case": "fine-tuning", "way": way} | cost.alone(_alone, way, *given) for way in ways]


def _base(bench: Bench) -> list[dict]:
    """Updates of a random model of the shape of a BERT-base, on full rows of 128 tokens."""
    bench.say("fine-tuning: the shape of a BERT-base")
    sizes, batch = bench.sizes, BASE_BATCH[bench.device.type]
    words = [word for sentence, _ in corpora.load(TEXT).train for word in sentence]
    begins = range(0, (1 + sizes.base_updates) * batch * LONG, LONG)
    texts = [" ".join(words[b % (len(words) - LONG) :][:LONG]) for b in begins]
    task = replace(corpora.load("polarity"), train=[(text, "positive") for text in texts])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_config(BertConfig(**sizes.base))
    model, (_, tokenizer) = model.to(bench.device), encoders.load(MODEL, device="cpu")
    recipe = replace(RECIPE, batch=batch)
    shapes = cost.shapes(model, tokenizer, task, recipe)["tuning"]
    seconds = [cost.tuning(model, tokenizer, task, recipe) for _ in range(sizes.tuned_repeats)]
    about = {
        "batch": batch,
        "tokens": max(t for _, t in shapes),
        "updates": len(shapes),
        "operations": 3 * 2 * sum(cost.operations(model, shapes).values()),
        "precision": training.products(bench.device, recipe.precision),
    }
    return rows("BERT-base", {"ours": seconds}, **about)


def tuning(bench: Bench) -> dict:
    """Fine-tuning: memory first, then speed on each task, and the shape of a BERT-base."""
    found = {"memory": _memory(bench), "times": [], "checks": []}
    for name in bench.sizes.tasks:
        speed = _speed(bench, name)
        found["times"] += speed["times"]
        found["checks"] += speed["checks"]
    return found | {"times": found["times"] + _base(bench)}
