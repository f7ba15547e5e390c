"""The grid of an experiment: what has no record yet is computed and recorded, then all is read.

:data:`MAKERS` says which function computes a run of which experiment. It returns every run that one
computation serves, so that nothing is computed twice.
"""

from __future__ import annotations

import time
from dataclasses import replace

from tqdm import tqdm

from lib import encoders, general
from lib import old_records as records
from lib.dropped import costs, distilled, runs, tuned
from lib.errors import BadInput
from lib.grids import Profile, Run

MAKERS = {
    "activations": general.general,
    "layer_similarity": general.general,
    "neuron_correlation": general.general,
    "strategies": runs.similarity,
    "dropping": runs.dropped,
    "distilled": distilled.distilled,
    "tuning": tuned.tuning,
    "cost": costs.costs,
}
NEEDS = {"dropping": "strategies"}  # whose records an experiment reads


def fill(settings: Profile) -> list[tuple[Run, dict]]:
    """Compute the runs of a grid that have no record yet, record them, and read them all.

    Parameters
    ----------
    settings
        From :func:`lib.profiles.get`.

    Returns
    -------
    list of (Run, values)
        In the grid's order. What was finished stays recorded if this is stopped.

    Raises
    ------
    BadInput
        If nothing may be computed and no run has a record.
    """
    if settings.compute:
        _compute_missing(settings)
    table = list(records.read(settings))
    if not table:
        raise BadInput(
            f"no run of {settings.experiment!r} has a record under these settings, and compute is "
            "False; compute them ('make records' does), or choose settings that are recorded"
        )
    return table


def _compute_missing(settings: Profile) -> None:
    if settings.experiment in NEEDS:
        _compute_missing(replace(settings, experiment=NEEDS[settings.experiment]))
    missing = [
        run
        for run in settings.runs()
        if not settings.use_records or records.find(settings, run) is None
    ]
    done: set[Run] = set()
    for run in tqdm(missing, unit="run", disable=not missing, leave=False):
        if run not in done:  # one computation can serve several runs
            done |= compute(settings, run)


def compute(settings: Profile, run: Run) -> set[Run]:
    """Compute one run, record every run that the computation serves, and name them."""
    started = time.perf_counter()
    found, made = MAKERS[run.experiment](settings, run)
    seconds = time.perf_counter() - started
    weights = (
        "random" if run.setting == "random" else encoders.weights_digest(encoders.find(run.model))
    )
    provenance = records.provenance(**made, weights=weights, seconds=seconds)
    for served, values in found:  # seconds count once, for the run that was asked for
        same = (served.setting, served.seed) == (run.setting, run.seed)
        counted = provenance if same else provenance | {"seconds": 0.0}
        records.add(settings, served, values, counted)
    return {served for served, _ in found}
