"""General redundancy: what one run computes, from a model and a text to the values of its records.

A single pass over the text is enough: the moments of all neurons hold the scale of every layer, the
CKA between layers and the correlation between neurons. So one run serves three pages, and whichever
is run first does it.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from lib import activations, batches, corpora, encoders
from lib.errors import BadInput
from lib.grids import Profile, Run
from lib.similarity import Moments, cluster_windows, correlation_clusters, linear_cka

# Sentences of our own, on which the neurons of one cluster are shown side by side.
EXAMPLES = (
    "The committee never said why two old bridges near the station were closed .".split(),
    "When it rained , Maria gave her brother a coat and he ran home .".split(),
)
EXAMPLE_THRESHOLD = 0.3  # the released code's own choice where it takes just one
EXAMPLE_NEURONS = 5
COUNTED_BATCH = 2048  # padded tokens of a batch when padding is counted, whatever device computes
CHECKED = 16  # sentences on which batches are compared with one at a time

Found = tuple[list[tuple[Run, dict]], dict]  # runs served with their values, and what made them


def sample(settings: Profile, run: Run) -> tuple[list, corpora.Task]:
    """Training sentences of a run, drawn by its seed, up to the profile's number of rows.

    Whole sentences are taken while they fit. A task with words gives one row per word, another one
    row per sentence.
    """
    task = load_task(run.task, settings.root(), run.seed)
    most = settings.words if level(task) == "word" else settings.sentences
    return [sentence for sentence, _ in drawn(settings, task, run.seed, most)], task


def drawn(settings: Profile, task: corpora.Task, seed: int, most: int) -> list:
    """Training items of a task in the profile's order, up to a number of rows."""
    items = task.train
    if settings.order == "shuffled":
        order = np.random.default_rng(seed).permutation(len(items))
        items = [items[i] for i in order]
    return fitting(task, items, most)


def fitting(task: corpora.Task, items: list, most: int) -> list:
    """The first items of a task, as many as fit into a number of rows."""
    sizes = [len(sentence) if level(task) == "word" else 1 for sentence, _ in items]
    count = int((np.cumsum(sizes) <= most).sum())
    if count < 2:
        raise BadInput(f"{most} rows leave {count} sentences of {task.name}; at least 2 needed")
    return items[:count]


@lru_cache(maxsize=4)  # trained and random weights read the same sample
def load_task(name: str, root, seed: int) -> corpora.Task:
    """A task, kept for the next run that reads it."""
    return corpora.load(name, root=root, seed=seed)


def level(task: corpora.Task) -> str:
    """``word`` where a task's sentences are lists of words, else ``sentence``."""
    return "word" if task.kind in ("tagging", "text") else "sentence"


def load_model(run: Run):
    """The run's model and tokenizer: the published weights, or its random twin."""
    return encoders.load(run.model, random_seed=run.seed if run.setting == "random" else None)


def moments_of(model, tokenizer, encoded: batches.Encoded, **options) -> Moments:
    """One pass: moments of all neurons (D columns), kept where the model runs."""
    width = activations.n_layers(model) * model.config.hidden_size
    moments = Moments(width, device=model.device)
    for rows, _ in activations.stream(model, tokenizer, encoded, **options):
        moments.update(rows.flatten(1))
    return moments


@torch.inference_mode()
def general(settings: Profile, run: Run) -> Found:
    """Values of the three pages on general redundancy, from one pass over one text.

    Returns
    -------
    list of (Run, values)
        ``activations``: counts of the text and scale of each layer; ``layer_similarity``: CKA;
        ``neuron_correlation``: clusters at each threshold.
    dict
        What made them, for :func:`lib.old_records.provenance`.
    """
    sentences, task = sample(settings, run)
    model, tokenizer = load_model(run)
    encoded = batches.encode(model, tokenizer, sentences, level=level(task))
    begin = time.perf_counter()
    moments = moments_of(model, tokenizer, encoded, pooling=settings.pooling, progress=True)
    seconds = time.perf_counter() - begin
    widths = [model.config.hidden_size] * activations.n_layers(model)
    correlation = moments.correlation()
    labels = correlation_clusters(correlation, {*settings.thresholds, EXAMPLE_THRESHOLD})
    counts = {
        "neurons": moments.width,
        "rows": moments.count,
        "sentences": len(sentences),
        "level": level(task),
    }
    clusters = {threshold: labels[threshold] for threshold in settings.thresholds}
    example = None
    if level(task) == "word":
        pooling = {"level": "word", "pooling": settings.pooling}
        shown = activations.extract(model, tokenizer, EXAMPLES, **pooling).rows.flatten(1)
        example = _example(shown, moments, correlation, labels[EXAMPLE_THRESHOLD], widths)
    values = {
        "activations": counts
        | _text_counts(encoded)
        | _scales(moments, len(widths))
        | {"skipped": task.skipped, "notes": encoded.notes}
        | {"batch_difference": _batch_difference(model, tokenizer, sentences[:CHECKED], task)},
        "layer_similarity": counts | {"cka": linear_cka(moments.scatter, widths)},
        "neuron_correlation": counts
        | _clusters(clusters, widths, moments.constant)
        | {"example": example},
    }
    made = {
        "data": task.digest,
        "source": task.source,
        "device": model.device,
        "pass_seconds": seconds,
    }
    return [(replace(run, experiment=name), value) for name, value in values.items()], made


def _batch_difference(model, tokenizer, sentences: list, task: corpora.Task) -> float:
    """Largest difference of any number between batches and one sentence at a time."""
    together = activations.extract(model, tokenizer, sentences, level=level(task)).rows
    alone = [activations.extract(model, tokenizer, [s], level=level(task)).rows for s in sentences]
    return (together - torch.cat(alone)).abs().max()


def _text_counts(encoded: batches.Encoded) -> dict:
    """Tokens, how words fall into pieces, and how much of a padded batch is padding."""
    lengths = np.array([len(ids) for ids in encoded.ids])
    pieces = Counter(
        int(n) for f, e in zip(encoded.first, encoded.last, strict=True) for n in e - f + 1
    )
    groups = batches.bucket(lengths, COUNTED_BATCH)
    size = int(np.median([len(group) for group in groups]))
    in_order = [lengths[i : i + size] for i in range(0, len(lengths), size)]
    return {
        "tokens": int(lengths.sum()),
        "longest": int(lengths.max()),
        "pieces": dict(sorted(pieces.items())),
        "padded_by_length": _padded(lengths[group] for group in groups),
        "padded_in_order": _padded(in_order),
        "batch_size": size,
    }


def _padded(groups) -> int:
    """Tokens computed once every batch is padded to its longest sequence."""
    return int(sum(len(group) * group.max() for group in groups))


def _scales(moments: Moments, n_layers: int) -> dict:
    """Root mean square of each layer's neurons, and the part its largest neuron has in it."""
    power = (moments.variance + moments.mean.square()).reshape(n_layers, -1)
    return {
        "rms": power.mean(dim=1).sqrt(),
        "largest_share": power.max(dim=1).values / power.sum(dim=1),
        "constant": moments.constant.reshape(n_layers, -1).sum(dim=1),
    }


def _clusters(labels: dict[float, np.ndarray], widths: list[int], constant: Tensor) -> dict:
    """Clusters left, sizes and windows at each threshold; constant neurons apart (P1)."""
    varies = ~constant.cpu().numpy()
    values = {"constant": int((~varies).sum()), "layers": len(widths)}
    values |= {"clusters": {}, "clusters_varying": {}, "sizes": {}, "windows": {}}
    for threshold, label in labels.items():
        size = np.unique(label, return_counts=True)[1]
        window = cluster_windows(label, widths)
        values["clusters"][threshold] = len(size)
        values["clusters_varying"][threshold] = len(np.unique(label[varies]))
        values["sizes"][threshold] = _histogram(size)
        values["windows"][threshold] = _histogram(window)
        values.setdefault("windows_of_several", {})[threshold] = _histogram(window[size > 1])
    return values


def _histogram(values: np.ndarray) -> dict[int, int]:
    return {int(v): int(n) for v, n in zip(*np.unique(values, return_counts=True), strict=True)}


def _example(rows: Tensor, moments: Moments, correlation: Tensor, labels, widths) -> dict:
    """Neurons of the cluster that spans most layers, on sentences of our own, standardised.

    One neuron per layer where there are enough layers, those closest to the rest of the cluster;
    signs are turned so that all correlate positively with the first.
    """
    width = widths[0]
    window = cluster_windows(labels, widths)
    names, size = np.unique(labels, return_counts=True)
    chosen = names[np.lexsort((size, window))[-1]]
    members = np.flatnonzero(labels == chosen)
    close = correlation[members][:, members].abs().mean(dim=1).cpu().numpy()
    best = {d // width: d for d in members[np.argsort(close)]}
    shown = [int(best[layer]) for layer in sorted(best)]
    keep = np.unique(np.linspace(0, len(shown) - 1, EXAMPLE_NEURONS).round().astype(int))
    shown = [shown[i] for i in keep]
    scale = moments.variance.sqrt()[shown].cpu()
    sign = correlation[shown[0], shown].sign().cpu()
    return {
        "cluster_size": len(members),
        "window": int(window[names == chosen][0]),
        "neurons": [[d // width, d % width] for d in shown],
        "sign": sign,
        "words": EXAMPLES,
        "values": ((rows[:, shown] - moments.mean[shown].cpu()) / scale * sign).T,
    }
