"""What each layer is worth to a task: probes on one layer, and on the layers up to it."""

from __future__ import annotations

from lib import baselines, general
from lib.dropped.runs import constant
from lib.grids import Profile
from lib.probes import PROTOCOLS, Probes
from lib.probing.control import control_labels
from lib.probing.fits import Scores, fit
from lib.probing.rows import DRAWN, PARTS, Labelled


def layer_sets(data: Labelled) -> list[range]:
    """Columns of every layer alone, then of the layers 0 to i; the last set is the oracle's."""
    width = data.neurons // data.layers
    ends = range(width, data.neurons + 1, width)
    return [*(range(end - width, end) for end in ends), *(range(end) for end in ends)]


def layers(settings: Profile, data: Labelled) -> tuple[Probes, list[dict]]:
    """Probes on :func:`layer_sets`, and the values of the layer page, seed by seed.

    Returns
    -------
    Probes
        The last ``len(seeds)`` are the oracles.
    list of dict
        ``alone`` and ``together``: scores of length L on ``dev`` and ``test``; ``control``: the
        same on random labels of the words, None for sentences; ``oracle``: scores on all layers
        by protocol; ``floor``: what needs no model; counts.
    """
    probes, found = fit(settings, data, layer_sets(data))
    guessed = _control(settings, data)
    others = [name for name in PROTOCOLS if name != settings.protocol]
    oracles = {name: fit(settings, data, protocol=name)[1] for name in others}
    oracles[settings.protocol] = {part: score[-1:] for part, score in found.items()}
    counts = _counts(data)
    values = [
        counts
        | _of_seed(found, place)
        | {"control": guessed and _of_seed(guessed, place)}
        | {"oracle": {k: {p: s[0, place] for p, s in v.items()} for k, v in oracles.items()}}
        for place in range(len(settings.seeds))
    ]
    return probes, values


def _control(settings: Profile, data: Labelled) -> Scores | None:
    """Scores of the same probes on labels that can only be memorised; None without words."""
    if general.level(data.task) != "word":
        return None
    drawn = control_labels(data.words, data.labels["train"], DRAWN)
    return fit(settings, data, layer_sets(data), labels=drawn)[1]


def _counts(data: Labelled) -> dict:
    """What all seeds share: sizes, what was left out, and scores that need no probe."""
    task, by_word = data.task, general.level(data.task) == "word"
    return {
        "level": general.level(task),
        "layers": data.layers,
        "neurons": data.neurons,
        "classes": len(task.labels),
        "missing": sorted(set(task.labels) - set(data.labels["train"])),
        "rows": {part: len(data.rows[part]) for part in PARTS},
        "floor": baselines.word_majority(task.train, task.test) if by_word else constant(task),
        "own": data.own,
        "skipped": task.skipped,
        "notes": data.notes,
    }


def _of_seed(found: Scores, place: int) -> dict[str, dict]:
    """Scores of one seed: each layer ``alone``, and the layers up to it ``together``."""
    half = len(found["dev"]) // 2
    kinds = {"alone": slice(0, half), "together": slice(half, None)}
    return {
        kind: {part: score[rows, place] for part, score in found.items()}
        for kind, rows in kinds.items()
    }
