"""What fine-tuning changes, and when to drop: the runs around one model that was tuned whole.

Its vectors are compared with those it had before; blocks are dropped from it as it is (``after``),
and with a second fine-tuning of what is left (``again``). ``frozen`` tunes the whole model with its
embeddings and lower blocks kept as they were pretrained.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from lib import activations, dropping, encoders, finetune
from lib.corpora import Task
from lib.dropped.runs import checkpoint, judged, learn, made_of, recipe_of, task_of
from lib.general import Found
from lib.grids import WHOLE, Profile, Run, cut_of
from lib.similarity import Moments, linear_cka

COMPARED = 2000  # sentences of the training part at most, on which layers are compared


def tuning(settings: Profile, run: Run) -> Found:
    """Values of one run; ``whole`` serves ``after`` too, and the whole model of ``dropping``."""
    task, (way, k) = task_of(settings, run), cut_of(run.setting)
    found = {WHOLE: _whole, "after": _whole, "again": _again, "frozen": _frozen}[way]
    return found(settings, run, task, k), made_of(settings, task)


def _whole(settings: Profile, run: Run, task: Task, _: int) -> list[tuple[Run, dict]]:
    """Everything that needs the tuned model and no further training."""
    model, tokenizer, values = _tuned(settings, run, task)
    compared = compare(encoders.load(run.model)[0], model, tokenizer, task)
    found = [(replace(run, experiment="dropping", setting=WHOLE), values)]
    found.append((replace(run, setting=WHOLE), values | compared))
    for setting in _settings(settings, run, "after"):
        cut = _without_top(model, cut_of(setting)[1])
        scores = finetune.scores(cut, tokenizer, task, recipe_of(settings))
        found.append((replace(run, setting=setting), judged(scores, task)))
    return found


def _again(settings: Profile, run: Run, task: Task, k: int) -> list[tuple[Run, dict]]:
    """Blocks dropped from the tuned model, and what is left tuned once more."""
    model, tokenizer, _ = _tuned(settings, run, task)
    cut, recipe = _without_top(model, k), recipe_of(settings)
    options = {"checkpoint": checkpoint(settings, run), "progress": True}
    account = finetune.train(cut, tokenizer, task, recipe=recipe, seed=run.seed, **options)
    values = judged(finetune.scores(cut, tokenizer, task, recipe), task) | account
    if run.setting == _settings(settings, run, "again")[-1]:
        _weights(settings, run).unlink()
    return [(run, values)]


def _frozen(settings: Profile, run: Run, task: Task, k: int) -> list[tuple[Run, dict]]:
    frozen = {"freeze": tuple(range(k)), "freeze_embeddings": True}
    return [(run, learn(settings, run, task, run.model, **frozen))]


def _settings(settings: Profile, run: Run, way: str) -> list[str]:
    return [setting for setting in settings.ways(run.model) if cut_of(setting)[0] == way]


def _without_top(model, k: int):
    return dropping.smaller(model, range(dropping.n_blocks(model) - k))


def _weights(settings: Profile, run: Run) -> Path:
    """File where the tuned model waits for the runs that start from it."""
    return checkpoint(settings, replace(run, setting="tuned"))


def _tuned(settings: Profile, run: Run, task: Task) -> tuple:
    """The model tuned whole, its tokenizer, and the values of its run; it is tuned only once."""
    whole, file = replace(run, setting=WHOLE), _weights(settings, run)
    recipe = recipe_of(settings)
    model, tokenizer = finetune.begin(run.model, task, recipe=recipe, seed=run.seed)
    if file.exists():
        model.load_state_dict(load_file(file))
        return model, tokenizer, {}
    options = {"checkpoint": checkpoint(settings, whole), "progress": True}
    account = finetune.train(model, tokenizer, task, recipe=recipe, seed=run.seed, **options)
    scores = finetune.scores(model, tokenizer, task, recipe)
    save_file(model.state_dict(), file)
    return model, tokenizer, judged(scores, task) | account | {"keep": None}


@torch.inference_mode()
def compare(base, tuned, tokenizer, task: Task) -> dict[str, list[float]]:
    r"""How near the sentence vectors of each layer are before and after fine-tuning.

    Returns
    -------
    dict
        ``cosine`` (L,), mean over sentences of :math:`\cos(x_{n,l}, y_{n,l})`, and ``cka`` (L,),
        :func:`lib.similarity.linear_cka` of the two; NaN where all sentences share one vector.
        Cost: a forward pass of each model over at most :data:`COMPARED` sentences.
    """
    encoded = finetune.encode(tuned, tokenizer, task.train[:COMPARED], 128)
    layers, width = activations.n_layers(base), base.config.hidden_size
    moments = [Moments(2 * width, device=base.device) for _ in range(layers)]
    total = torch.zeros(layers, dtype=torch.float64, device=base.device)
    passes = (activations.stream(model, tokenizer, encoded) for model in (base, tuned))
    for (before, _), (after, _) in zip(*passes, strict=True):
        total += torch.nn.functional.cosine_similarity(before, after, dim=-1).double().sum(dim=0)
        for layer, sums in enumerate(moments):
            sums.update(torch.cat([before[:, layer], after[:, layer]], dim=1))
    cka = [linear_cka(sums.scatter, [width, width])[0, 1] for sums in moments]
    return {"cosine": (total / len(encoded.owner)).tolist(), "cka": [float(c) for c in cka]}
