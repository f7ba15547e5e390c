"""Fine-tuning: a model, some of its blocks, a task, a recipe and a seed give scores.

The papers drop blocks of the *pretrained* model and fine-tune what is left: :func:`run`, which goes
on from a checkpoint of its own. :func:`tuned` keeps the weights of the whole model; what the
training did to each layer is said by :mod:`lib.change`, and students are in :mod:`lib.distil`.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional

from lib import batches, comparison, corpora, criteria, dropping, encoders, provenance, records
from lib.checkpoints import digest, find, once
from lib.errors import BadInput
from lib.settings import Settings
from lib.training import RELEASED, Recipe, Training, finish, repeatable, weights, write_tensors

Stage = tuple[Sequence[int] | None, Recipe]  # the blocks that stay, and how they are trained
KEPT = 48  # tuned models in the cache; those used longest ago go


def cached(name: str) -> Path:
    """A place in the cache of weights, which may be emptied at any time and is never committed."""
    folder = records.results() / ".checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def targets(task: corpora.Task, items: Sequence) -> Tensor:
    """Labels of some items as class numbers, or as numbers where the task has no classes."""
    labels = [label for _, label in items]
    if not task.labels:
        return torch.tensor(labels, dtype=torch.float32)
    number = {label: i for i, label in enumerate(task.labels)}
    unknown = sorted({str(label) for label in labels if label not in number})
    if unknown:
        raise BadInput(f"labels {unknown} are not among those of {task.name}: {list(number)}")
    return torch.tensor([number[label] for label in labels])


def loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy, or squared error for one output; mean over the batch."""
    if logits.shape[1] == 1:
        return functional.mse_loss(logits[:, 0].float(), target)
    return functional.cross_entropy(logits.float(), target)


def begin(
    model: str | Path, task: corpora.Task, *, keep=None, recipe=RELEASED, seed=0, device=None
):
    """A pretrained model with a fresh head and without the blocks that go, ready for training.

    The head is drawn from the seed alone, so it is the same whatever blocks are kept.
    """
    device = torch.device(device or encoders.default_device())
    with repeatable(device):
        torch.manual_seed(seed)
        learner, tokenizer = encoders.load(model, head=tuple(task.labels), device=device)
    return _cut(learner, keep, recipe), tokenizer


def _cut(learner, keep: Sequence[int] | None, recipe: Recipe):
    """Freeze what the recipe says, by the numbers of the whole model, then drop blocks."""
    dropping.freeze(learner, recipe.freeze, embeddings=recipe.freeze_embeddings)
    return learner if keep is None else dropping.drop_blocks(learner, keep)


def encode(model, tokenizer, items: Sequence, max_length: int) -> batches.Encoded:
    """Items (text or pair, label) of a task as token ids."""
    texts = [text for text, _ in items]
    return batches.encode(model, tokenizer, texts, level="sentence", max_length=max_length)


def fine_tuning(
    model, tokenizer, task: corpora.Task, recipe: Recipe, seed: int, *, told: Sequence = ()
) -> Training:
    """The training of a model with a head on a task, before its first update.

    ``told`` says where the weights come from, for the identity of the training.
    """
    if len(task.labels) > len(comparison.DIGITS):
        raise BadInput(
            f"{task.name} has {len(task.labels)} labels; {len(comparison.DIGITS)} at most"
        )
    items = [item for part in recipe.parts for item in getattr(task, part)]
    target = targets(task, items)

    def objective(inputs: dict[str, Tensor], batch: batches.Batch) -> Tensor:
        return loss(model(**inputs).logits, target[batch.where].to(model.device))

    encoded = encode(model, tokenizer, items, recipe.max_length)
    for number in sorted(set(range(len(task.labels))) - set(target.tolist())):
        encoded.notes[f"class {task.labels[number]!r} without an example"] = 1
    options = {"recipe": recipe, "seed": seed, "told": [*told, *target.tolist()]}
    return Training(model, tokenizer, encoded, objective, **options)


def train(
    model, tokenizer, task: corpora.Task, *, recipe: Recipe = RELEASED, seed: int = 0, **options
) -> dict:
    """Fine-tune a model with its head, in place; the account of the training.

    The recipe's frozen blocks are numbered as the model has them. ``options`` are those of
    :func:`lib.training.finish`, which says what is raised.
    """
    _cut(model, None, recipe)
    return finish(fine_tuning(model, tokenizer, task, recipe, seed), **options)


def logits(model, tokenizer, encoded: batches.Encoded, **options) -> Tensor:
    """Logits of sentences or pairs, shape (N, C), in the order given, on the CPU.

    Options are those of :func:`lib.batches.batches`, on which results depend by rounding alone.
    """
    found = torch.empty(len(encoded.owner), model.config.num_labels)

    @torch.inference_mode()
    def read(batch: batches.Batch) -> tuple[Tensor, Tensor]:
        return batch.where, model(**batch.inputs).logits.float().cpu()

    given = batches.batches(encoded, model, tokenizer, **options)
    for where, rows in batches.each(read, given, model.device):
        found[where] = rows
    return found


def evaluate(
    model, tokenizer, task: corpora.Task, items: Sequence, max_length: int
) -> dict[str, float]:
    """Scores of a model on some items of a task, the task's own metric first."""
    encoded = encode(model, tokenizer, items, max_length)
    return judged(task, logits(model, tokenizer, encoded), items)


def judged(task: corpora.Task, found: Tensor, items: Sequence) -> dict[str, float]:
    """Scores of logits (N, C) on the items that they were given for."""
    labels = [label for _, label in items]
    if not task.labels:
        return corpora.score(task, found[:, 0].tolist(), labels)
    return corpora.score(task, [task.labels[i] for i in found.argmax(dim=1).tolist()], labels)


def scores(model, tokenizer, task: corpora.Task, recipe: Recipe = RELEASED) -> dict:
    """What a model scores on the test part, by name.

    ``score`` is the task's own metric and ``constant`` the best of one constant answer; then all
    metrics, ``predictions`` (:func:`lib.comparison.marks`), ``dev``, ``blocks`` and ``parameters``.
    """
    encoded = encode(model, tokenizer, task.test, recipe.max_length)
    found = logits(model, tokenizer, encoded)
    metrics = judged(task, found, task.test)
    return {
        "score": next(iter(metrics.values())),
        "constant": corpora.constant(task),
        **metrics,
        "predictions": comparison.marks(found, bool(task.labels)),
        "dev": evaluate(model, tokenizer, task, task.dev, recipe.max_length),
        "blocks": dropping.n_blocks(model),
        "parameters": encoders.n_parameters(model),
    }


def recipe(settings: Settings) -> Recipe:
    """The recipe of a page's settings."""
    chosen = settings.learning_rate, settings.epochs, settings.batch
    return Recipe(*chosen, precision=settings.precision)


def kept(
    settings: Settings, model: str, strategy: str, k: int, *, task: str, seed: int
) -> list[int]:
    """Blocks that a strategy keeps of a model, ``whole`` all of them.

    A strategy that measures (:data:`lib.criteria.NEEDS`) reads the training part for it.
    """
    needs = strategy in criteria.NEEDS
    measured = (
        _measured(settings, model, strategy, task, seed, digest(find(model))) if needs else None
    )
    strategy = "top" if strategy == "whole" else strategy
    return dropping.blocks_to_keep(strategy, encoders.blocks(model), k, similarity=measured)


@lru_cache(maxsize=4)  # the same whatever number of blocks goes
def _measured(settings, model: str, strategy: str, task: str, seed: int, _digest: str) -> list:
    encoder, tokenizer = encoders.load(model)
    text = corpora.load(task, root=settings.data, seed=seed).first(settings.max_examples)
    encoded = encode(encoder, tokenizer, text.train, RELEASED.max_length)
    return criteria.needed(encoder, tokenizer, encoded, [strategy])[strategy]


def recorded(settings: Settings, model: str, task: str, keep: Sequence[int], seed: int) -> dict:
    """:func:`run` by a page's settings; of cells that keep the same blocks only one is computed.

    The weights of a whole model are kept in the cache: other pages go on from them.
    """
    known = records.same(settings, model=model, task=task, seed=seed, keep=list(keep))
    if known:
        return known
    text = corpora.load(task, root=settings.data, seed=seed).first(settings.max_examples)
    how = recipe(settings)
    if len(keep) < encoders.blocks(model):
        return run(model, text, keep=keep, recipe=how, seed=seed, progress=True)
    learner, tokenizer, account = tuned(model, text, (None, how), seed=seed)
    return scores(learner, tokenizer, text, how) | account | {"keep": list(keep)}


def run(
    model: str | Path,
    task: corpora.Task,
    *,
    keep: Sequence[int] | None = None,
    recipe: Recipe = RELEASED,
    seed: int = 0,
    earlier: Sequence[Stage] = (),
    device=None,
    progress: bool = False,
) -> dict:
    """Drop blocks of a model, fine-tune what is left, and score it.

    A run that was stopped goes on from its checkpoint, found by a digest of all that decides it.

    Parameters
    ----------
    model
        A name in :data:`lib.model_table.MODELS`, a Hub id, or a folder.
    task
        From :func:`lib.corpora.load`.
    keep
        Blocks that stay, by the numbers of the whole model; default all. From
        :func:`lib.strategies.blocks_to_keep`.
    recipe, seed
        Everything that is drawn follows from the seed.
    earlier
        What the model went through before, see :func:`tuned`; nothing: it is the pretrained one.

    Returns
    -------
    dict
        :func:`scores` of what was learned, :meth:`lib.training.Training.account`, and ``keep``.

    Raises
    ------
    BadInput, Diverged
        For unknown labels, blocks that are gone, and as :func:`lib.training.finish`.
    """
    keep = None if keep is None else [int(block) for block in keep]
    learner, tokenizer, state = _stage(model, task, (*earlier, (keep, recipe)), seed, device)
    account = finish(state, cached(f"{state.identity}.safetensors"), progress)
    return scores(learner, tokenizer, task, recipe) | account | {"keep": keep}


def tuned(
    model: str | Path, task: corpora.Task, *stages: Stage, seed: int = 0, device=None
) -> tuple:
    """A model after some stages of dropping and fine-tuning, its tokenizer, the last's account.

    A stage is a pair: the blocks that stay (by the numbers of the whole model, None for all that
    are left) and the recipe by which they are then trained. Each is trained once: its weights wait
    in the cache, under a digest of all that decides them, and a killed training goes on.
    """
    learner, tokenizer, state = _stage(model, task, stages, seed, device)

    def make(fresh: Path) -> None:
        account = finish(state, cached(f"{state.identity}.safetensors"), progress=True)
        write_tensors(weights(learner), fresh, {"account": json.dumps(account)})

    file = once(cached(f"tuned-{state.identity}.safetensors"), make)
    os.utime(file)  # used now; touch would make an empty file where another process deleted it
    state.words.put_back()
    with safe_open(file, "pt") as stored:
        for name, tensor in weights(learner).items():
            tensor.copy_(stored.get_tensor(name))
        account = json.loads(stored.metadata()["account"])
    _forget(file.parent)
    return learner, tokenizer, account


def _forget(folder: Path) -> None:
    """Delete the tuned weights that were used longest ago, beyond so many files."""
    files = sorted(folder.glob("tuned-*.safetensors"), key=_used)
    for file in files[:-KEPT]:
        file.unlink(missing_ok=True)


def _used(file: Path) -> float:
    """When a file was used last; long ago if another process has deleted it meanwhile."""
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _stage(model, task: corpora.Task, stages: Sequence[Stage], seed: int, device) -> tuple:
    """The model and tokenizer as the last stage finds them, and its training before it starts."""
    *earlier, (keep, recipe) = stages
    if earlier:
        learner, tokenizer, _ = tuned(model, task, *earlier, seed=seed, device=device)
        there = next((kept for kept, _ in reversed(earlier) if kept), None)
        frozen = tuple(_renumbered(recipe.freeze, there))
        _cut(learner.requires_grad_(True), _renumbered(keep, there), replace(recipe, freeze=frozen))
    else:
        learner, tokenizer = begin(model, task, keep=keep, recipe=recipe, seed=seed, device=device)
    told = [digest(find(model)), provenance.versions()]
    told += [(kept and list(kept), asdict(how)) for kept, how in stages]
    return learner, tokenizer, fine_tuning(learner, tokenizer, task, recipe, seed, told=told)


def _renumbered(blocks: Sequence[int] | None, there: Sequence[int] | None) -> Sequence[int] | None:
    """Numbers of blocks in a model that has only those of ``there``."""
    if blocks is None or there is None:
        return blocks
    if gone := sorted(set(blocks) - set(there)):
        raise BadInput(f"blocks {gone} cannot be kept or frozen: an earlier stage dropped them")
    return [list(there).index(block) for block in blocks]
