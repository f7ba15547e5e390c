r"""Linear probes with an elastic net, many trained together over one table of rows.

Paper A asks for hundreds of probes on the same rows: every layer alone, every concatenation, every
candidate set of neurons. A probe here is a set of columns and a seed; all are trained in one pass
over the rows, and what they share is read once (:mod:`lib.segments`).

Memory: four numbers for each weight and one batch; the rows once more only where some columns are
picked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from lib.errors import BadInput, one_of
from lib.metrics import METRICS
from lib.segments import Parts, Protocol, Table, first_weights, forward, layout, train, unpacked

OUTPUTS = 1 << 24  # numbers of a chunk of outputs
PART = 512  # rows of a chunk whose squares are summed
CONSTANT = 1e-6  # of its mean: a column that varies less is not stretched


PROTOCOLS = {
    "official": Protocol(standardise=False, shuffle=False, squared=False, best=False),
    "corrected": Protocol(standardise=True, shuffle=True, squared=True, best=True),
}


@dataclass(frozen=True)
class Probes:
    """Trained probes, set by set and within a set seed by seed.

    Attributes
    ----------
    weights : Tensor of shape (P, C, D)
        In units of the rows as they were trained on (standardised or not); zero outside a probe's
        columns.
    bias : Tensor of shape (P, C)
    centre, scale : Tensor of shape (D,)
        What was taken from each column, and what it was divided by; 0 and 1 for raw rows.
    classes : tuple
        Labels in the order of the outputs; empty where labels are numbers.
    epoch : ndarray of shape (P,)
        Epoch whose weights were kept, from 1.
    """

    weights: Tensor
    bias: Tensor
    centre: Tensor
    scale: Tensor
    classes: tuple
    epoch: np.ndarray

    def outputs(self, rows: Tensor) -> Iterator[Tensor]:
        """Yield outputs (P, C, n) of some rows (N, D), chunk by chunk: one product."""
        weights = self.weights / self.scale
        bias = self.bias - weights @ self.centre
        flat = weights.flatten(0, 1).T
        for part in rows.split(max(1, OUTPUTS // flat.shape[1])):
            found = torch.addmm(bias.flatten(), part.to(flat), flat)
            yield found.view(len(part), *bias.shape).permute(1, 2, 0)

    def predict(self, rows: Tensor) -> Tensor:
        """Class numbers, or numbers where there are no classes, of shape (P, N)."""
        return torch.cat([_answers(found, bool(self.classes)) for found in self.outputs(rows)], 1)

    def score(self, rows: Tensor, labels: Sequence, *, metric: str | None = None) -> np.ndarray:
        """Score of every probe on some rows, shape (P,).

        Parameters
        ----------
        rows, labels
            As for :func:`fit_probes`. A label that is no class of the probes counts as an error.
        metric
            Key of :data:`lib.metrics.METRICS`; its first number is taken. Default accuracy, or the
            mean of Pearson's and Spearman's correlation for numbers.
        """
        return _scores(self.predict(rows), _numbered(labels, self.classes), metric)


def fit_probes(
    rows: Tensor,
    labels: Sequence,
    *,
    columns: Sequence[Sequence[int]] | None = None,
    protocol: str | Protocol = "corrected",
    seeds: Sequence[int] = (0,),
    classes: Sequence | None = None,
    dev: tuple[Tensor, Sequence] | None = None,
    metric: str | None = None,
) -> Probes:
    r"""Train one probe per set of columns and seed, all together :cite:p:`dalvi2020analyzing`.

    Each minimises, over batches of rows,

    .. math:: \text{loss} + \lambda_1 \sum |W| + \lambda_2 \lVert W \rVert_2^2

    with cross entropy, or squared error for numbers; the bias is not penalised. Under ``official``
    the last term is the norm itself. A probe does not depend on those trained beside it.

    Parameters
    ----------
    rows : Tensor of shape (N, D)
        On the device where the probes are trained.
    labels : sequence of length N
        Names or whole numbers of classes; floats are fitted as numbers.
    columns
        Sets of columns, each a list of column numbers; default one set of all.
    protocol
        Key of :data:`PROTOCOLS`, or one of your own.
    seeds
        Each draws other first weights.
    classes
        Labels in the order of the outputs; default those of ``labels``, sorted.
    dev
        Rows and labels on which the best epoch is chosen, by ``metric``, where the protocol does.

    Returns
    -------
    Probes
        P = sets x seeds, on the device of the rows.

    Raises
    ------
    BadInput
        For shapes that do not match, an empty set, a column that does not exist or is named twice,
        a label that is no class, or rows that are not finite.

    Notes
    -----
    Cost of an epoch: 4 N C numbers multiplied and added per column and probe that uses it.
    """
    if isinstance(protocol, str):
        one_of("protocol", protocol, PROTOCOLS)
        protocol = PROTOCOLS[protocol]
    sets = _checked(rows, labels, columns)
    classes = _classes(labels, classes)
    given = _numbered(labels, classes)
    if not np.isfinite(given).all():
        raise BadInput("labels hold NaN or infinity; none is valid")
    where = layout(rows.shape[1], sets, len(seeds), len(classes) or 1, rows.device)
    prepared = _picked(rows, where.columns).float()
    scaling = _scaling(prepared, protocol)
    judge = None
    if dev and protocol.best:
        held = (dev[0].to(prepared)[:, where.columns] - scaling[0]) / scaling[1]
        gold = _numbered(dev[1], classes)

        def judge(parts: Parts) -> np.ndarray:
            return _scores(_answers(forward(held, where, parts), bool(classes)), gold, metric)

    numbers = torch.from_numpy(given).to(rows.device)
    target = one_hot(numbers, len(classes)).T.float() if classes else numbers[None]
    flat, table = first_weights(where, sets, seeds), Table(prepared, target, *scaling)
    flat, epoch = train(table, where, flat.to(rows.device), protocol, judge=judge)
    whole = [rows.new_full((rows.shape[1],), fill, dtype=torch.float32) for fill in (0, 1)]
    whole[0][where.columns], whole[1][where.columns] = scaling
    return Probes(*unpacked(where, flat, rows.shape[1]), *whole, classes, epoch)


def _checked(rows: Tensor, labels: Sequence, columns: Sequence | None) -> list[np.ndarray]:
    """Sets of columns as arrays, once these and the rows fit together."""
    if rows.ndim != 2 or len(rows) != len(labels) or not len(rows):
        raise BadInput(
            f"rows of shape {tuple(rows.shape)} do not go with {len(labels)} labels; rows are "
            "(N, D), one label for each, and at least one"
        )
    width = rows.shape[1]
    sets = [np.array(c, dtype=int) for c in ([range(width)] if columns is None else columns)]
    for number, chosen in enumerate(sets):
        if not len(chosen) or len(np.unique(chosen)) < len(chosen):
            raise BadInput(f"set {number} of columns is empty or names one twice")
        if chosen.min() < 0 or chosen.max() >= width:
            raise BadInput(
                f"set {number} names a column that does not exist; valid: 0 to {width - 1}"
            )
    return sets


def _classes(labels: Sequence, classes: Sequence | None) -> tuple:
    """Classes in order; none where labels are floats. Refuses a label that is no class."""
    values = np.asarray(labels)
    if values.dtype.kind == "f":
        return ()
    there = set(values.tolist())
    classes = tuple(classes or sorted(there))
    unknown = sorted(map(str, there - set(classes)))
    if unknown:
        raise BadInput(f"labels {unknown} are not among the classes: {list(classes)}")
    return classes


def _numbered(labels: Sequence, classes: tuple) -> np.ndarray:
    """Labels as class numbers, -1 for what is no class; numbers as they are."""
    if not classes:
        return np.asarray(labels, dtype=np.float32)
    return pd.Index(classes).get_indexer(np.asarray(labels).tolist())


def _picked(rows: Tensor, columns: Tensor) -> Tensor:
    """Some columns in an order; the rows themselves where these are all of them."""
    if torch.equal(columns, torch.arange(rows.shape[1], device=columns.device)):
        return rows
    return rows.gather(1, columns.expand(len(rows), -1))  # on a CPU half the time of an index


def _scaling(rows: Tensor, protocol: Protocol) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (over N) of every column; 0 and 1 where rows stay raw."""
    centre = rows.mean(dim=0)
    if not centre.isfinite().all():
        raise BadInput("rows hold NaN or infinity; none is valid")
    if not protocol.standardise:
        return torch.zeros_like(centre), torch.ones_like(centre)
    square = torch.zeros_like(centre)
    for part in rows.split(PART):
        square += (part - centre).square_().sum(dim=0)
    scale = square.div_(len(rows)).sqrt_()
    scale[scale <= CONSTANT * centre.abs()] = 1
    return centre, scale


def _answers(outputs: Tensor, classes: bool) -> Tensor:
    """From (P, C, n) to (P, n): the class with the largest output, or the number itself."""
    return outputs.argmax(dim=1) if classes else outputs[:, 0]


def _scores(predicted: Tensor, gold: np.ndarray, metric: str | None) -> np.ndarray:
    metric = metric or ("accuracy" if gold.dtype.kind == "i" else "pearson_spearman")
    one_of("metric", metric, METRICS)
    return np.array(
        [next(iter(METRICS[metric](p, gold).values())) for p in predicted.cpu().numpy()]
    )
