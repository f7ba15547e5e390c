r"""Distillation: a smaller model learns to imitate a larger one, without any label.

The student starts from some blocks of its teacher, as DistilBERT does, and is trained on plain text
until its vectors point where the teacher's do. Sentence encoders are published without a head that
predicts words, so by default only the last layer is imitated; :data:`LOSSES` has what else can be.
"""

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from lib import batches, dropping, encoders, finetune, records
from lib.checkpoints import digest, find, once
from lib.errors import BadInput, one_of
from lib.training import Recipe, Training, finish, repeatable

RECIPE = Recipe(learning_rate=1e-3, warmup=0.1)
HEAT = 2.0  # temperature of a head's distribution :cite:p:`sanh2019distilbert`
ABOUT = "distillation.json"


def agreement(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    r"""Cosine of two models' vectors, mean over the tokens of each sequence, shape (B,).

    .. math:: a_b = \frac{1}{T_b} \sum_{t \le T_b} \cos(s_{b, t}, t_{b, t})

    Parameters
    ----------
    student, teacher
        Vectors of one layer, (B, T, H).
    mask
        1 where a token is real, (B, T).
    """
    cosine = functional.cosine_similarity(student.float(), teacher.float(), dim=-1)
    return (cosine * mask).sum(dim=1) / mask.sum(dim=1)


def _last(given, wanted, mask: Tensor, keep: Sequence[int]) -> Tensor:
    pair = (
        one.last_hidden_state if "last_hidden_state" in one else one.hidden_states[-1]
        for one in (given, wanted)
    )
    return 1 - agreement(*pair, mask)


def _hidden(given, wanted, mask: Tensor, keep: Sequence[int]) -> Tensor:
    """Each block of the student against what enters the next kept block of its teacher."""
    goals = [*keep[1:], len(wanted.hidden_states) - 1]
    pairs = zip(given.hidden_states[1:], goals, strict=True)
    apart = [1 - agreement(ours, wanted.hidden_states[goal], mask) for ours, goal in pairs]
    return torch.stack(apart).mean(dim=0)


def _head(given, wanted, mask: Tensor, keep: Sequence[int]) -> Tensor:
    """Divergence of what two heads predict, of a sequence or mean over its tokens."""
    ours = functional.log_softmax(given.logits.float() / HEAT, dim=-1)
    theirs = functional.log_softmax(wanted.logits.float() / HEAT, dim=-1)
    apart = functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=-1)
    by_token = apart.ndim == 2
    return HEAT**2 * ((apart * mask).sum(dim=1) / mask.sum(dim=1) if by_token else apart)


LOSSES = {"last": _last, "hidden": _hidden, "head": _head}  # each (B,); those asked for are added


def distil(
    model, tokenizer, sentences: Sequence, keep: Sequence[int], *, recipe: Recipe = RECIPE,
    seed: int = 0, losses: Sequence[str] = ("last",), checkpoint: str | Path | None = None,
):  # fmt: skip
    r"""Train a student of fewer blocks to end where its teacher ends :cite:p:`sanh2019distilbert`.

    Parameters
    ----------
    model, tokenizer
        The teacher, from :func:`lib.encoders.load`, with or without a head. It stays as it is.
    sentences
        Lists of words; long ones are continued in another window.
    keep
        Blocks of the teacher that the student starts from.
    recipe, seed, checkpoint
        As for :func:`lib.training.finish`.
    losses
        Of :data:`LOSSES`: ``last`` is one less the :func:`agreement` of the last layer, ``hidden``
        that of every layer of the student with the layer of its teacher that takes its place, and
        ``head`` the divergence of what their heads predict.

    Returns
    -------
    student
        In evaluation mode, on the teacher's device.
    dict
        The account of :func:`lib.training.finish`.

    Raises
    ------
    BadInput
        For an unknown loss, or ``head`` for a model without one.

    Notes
    -----
    Cost per token: a forward pass of the teacher, a forward and a backward pass of the student.
    """
    for name in losses:
        one_of("loss", name, LOSSES)
    if "head" in losses and model is model.base_model:
        raise BadInput("loss 'head' needs a model with a head; the one given is a bare encoder")
    if "head" in losses and model.config.num_labels < 2:
        raise BadInput("loss 'head' compares classes; this model's head gives one number")
    if recipe.freeze or recipe.freeze_embeddings:
        raise BadInput(
            "a student's blocks all learn; leave freeze and freeze_embeddings as they are"
        )
    keep = sorted(int(block) for block in keep)
    student = copy.deepcopy(dropping.smaller(model, keep))
    length = {"level": "word", "max_length": recipe.max_length}
    encoded = batches.encode(model, tokenizer, sentences, **length)

    def objective(inputs: dict[str, Tensor], batch: batches.Batch) -> Tensor:
        mask = batch.inputs["attention_mask"]
        with torch.no_grad():
            wanted = model(**batch.inputs, output_hidden_states=True)
        given = student(**inputs, output_hidden_states=True)
        return sum(LOSSES[name](given, wanted, mask, keep) for name in losses).mean()

    options = {"recipe": recipe, "seed": seed, "told": [*keep, *losses]}
    state = Training(student, tokenizer, encoded, objective, **options)
    return student, finish(state, checkpoint, progress=True)


@torch.inference_mode()
def mean_agreement(student, teacher, tokenizer, sentences: Sequence[Sequence[str]]) -> float:
    """Agreement of two bare encoders on some text, mean over its sequences."""
    encoded = batches.encode(teacher, tokenizer, sentences, level="word", max_length=128)
    found = []
    for batch in batches.batches(encoded, teacher, tokenizer):
        vectors = (model(**batch.inputs).last_hidden_state for model in (student, teacher))
        found.append(agreement(*vectors, batch.inputs["attention_mask"]))
    return float(torch.cat(found).mean())


def student(
    model: str | Path, sentences: Sequence, held: Sequence, keep: Sequence[int], *,
    recipe: Recipe = RECIPE, seed: int = 0, losses: Sequence[str] = ("last",),
) -> tuple[Path, dict]:  # fmt: skip
    """Folder of a bare encoder's student, and how it was made; made once, found by its digest.

    Parameters
    ----------
    model
        Name, Hub id or folder of the teacher.
    sentences, held
        Lists of words: what the student reads, and text on which the two are compared.
    keep, recipe, seed, losses
        As for :func:`distil`.

    Returns
    -------
    Path
        In the cache (:func:`lib.finetune.cached`).
    dict
        The account of the training, ``keep``, ``losses``, and ``agreement`` on the held-out text,
        ``before`` and ``after``.
    """
    known = [digest(find(model)), list(keep), asdict(recipe), seed, list(losses)]
    name = hashlib.sha256(json.dumps([known, sentences, held]).encode()).hexdigest()[:24]
    folder = finetune.cached(f"student-{name}")

    def make(fresh: Path) -> None:
        with repeatable(encoders.default_device()):
            torch.manual_seed(seed)  # a pooler that was not pretrained is drawn
            teacher, tokenizer = encoders.load(model)
        chosen = {"recipe": recipe, "seed": seed, "losses": losses}
        file = folder.with_suffix(".safetensors")
        made, account = distil(teacher, tokenizer, sentences, keep, checkpoint=file, **chosen)
        pair = {"before": dropping.smaller(teacher, keep), "after": made}
        about = account | {"keep": list(keep), "losses": list(losses)}
        about["agreement"] = {
            when: mean_agreement(one, teacher, tokenizer, held) for when, one in pair.items()
        }
        dropping.save(made, tokenizer, fresh)
        (fresh / ABOUT).write_text(json.dumps(records.rounded(about)))

    return folder, json.loads((once(folder, make) / ABOUT).read_text())
