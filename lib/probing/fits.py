"""Probes on the rows of a task, and their scores: trained and judged in one way for every page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lib.grids import Profile
from lib.probes import Probes, fit_probes
from lib.probing.rows import DRAWN, PARTS, Labelled

JUDGED = PARTS[1:]  # choices are made on dev, results are told on test
Scores = dict[str, np.ndarray]  # by the name of a part, of every set and seed: (sets, seeds)


def fit(
    settings: Profile,
    data: Labelled,
    sets: Sequence[Sequence[int]] | None = None,
    *,
    labels: dict[str, list] | None = None,
    protocol: str | None = None,
    seeds: Sequence[int] | None = None,
) -> tuple[Probes, Scores]:
    """Probes on sets of columns, all trained together, and their scores on dev and test.

    Parameters
    ----------
    settings
        Its ``protocol`` and ``seeds`` hold where none are given.
    data
        Rows of a task.
    sets
        Columns of each probe; default one set of all.
    labels
        By the name of a part; default those of the task.
    """
    labels, seeds = labels or data.labels, seeds or settings.seeds
    probes = fit_probes(
        data.rows["train"],
        labels["train"],
        columns=sets,
        protocol=protocol or settings.protocol,
        seeds=seeds,
        classes=data.task.labels or None,
        dev=(data.rows["dev"], labels["dev"]),
        metric=data.task.metric,
        order=DRAWN,
    )
    found = {p: probes.score(data.rows[p], labels[p], metric=data.task.metric) for p in JUDGED}
    return probes, {part: score.reshape(-1, len(seeds)) for part, score in found.items()}
