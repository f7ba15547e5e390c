"""One streaming pass over activations, from which every similarity of the book is read.

Both papers compare columns of the same table: rows are words or sentences, columns are neurons,
layer after layer. Its scatter matrix is enough for the correlation between two neurons *and* for
the CKA between two layers, so the table itself is never kept.

Memory: D x D doubles (all-MiniLM-L6-v2: 2,688 columns, 58 MB; BERT-base: 9,984 columns, 0.8 GB),
whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from scipy.cluster import hierarchy
from torch import Tensor

from lib.errors import BadInput

CHUNK = 2048  # rows multiplied at once: enough to hide the D x D additions behind the products
STRIP = 768  # columns of one product: only blocks on and right of the diagonal are computed


class Moments:
    r"""Count, mean and scatter of a stream of rows, whatever the batches.

    Rows are collected into chunks of fixed size, so a result does not depend on how the stream was
    cut into batches, not even in the last bit. Each chunk is centred by a provisional mean
    :math:`s`, that of the first chunk; with :math:`S = \sum (x-s)(x-s)^\top` and
    :math:`t = \sum (x-s)`,

    .. math:: \text{mean} = s + t / N, \qquad \text{scatter} = S - t t^\top / N.

    Products run in the precision of the rows (float16 rows in float32), sums over chunks in
    ``dtype``. A column that never varies comes out exactly 0.

    Parameters
    ----------
    width
        Number of columns, D.
    device, dtype
        Where and how precisely the sums are kept. Double by default: sums grow with N.

    Notes
    -----
    Cost: about N * D^2 multiply-adds, half of a full product; memory D^2 + CHUNK * D. Combining
    two of them is the parallel algorithm of :cite:t:`chan1983algorithms`.
    """

    def __init__(self, width: int, *, device="cpu", dtype: torch.dtype = torch.float64):
        if width < 1:
            raise BadInput(f"width {width} is not valid; at least 1 column is needed")
        self.width, self.device, self.dtype = width, torch.device(device), dtype
        self._seen = self._waiting = 0
        self._shift = self._chunk = None
        self._sum = torch.zeros(width, device=device, dtype=dtype)
        self._square = torch.zeros(width, width, device=device, dtype=dtype)

    @torch.no_grad()
    def update(self, rows: Tensor) -> Moments:
        """Add a batch of rows, shape (n, D), on any device and of any floating precision."""
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise BadInput(f"rows have shape {tuple(rows.shape)}; (n, {self.width}) is needed")
        self._prepare(torch.promote_types(rows.dtype, torch.float32))
        while len(rows):
            taken = min(CHUNK - self._waiting, len(rows))
            self._chunk[self._waiting : self._waiting + taken] = rows[:taken]
            self._waiting += taken
            rows = rows[taken:]
            if self._waiting == CHUNK:
                self._flush()
        return self

    def _prepare(self, dtype: torch.dtype) -> None:
        """Make room for waiting rows, in the widest precision met so far."""
        if self._chunk is not None:
            dtype = torch.promote_types(dtype, self._chunk.dtype)
        if self._chunk is None or dtype != self._chunk.dtype:
            if self._chunk is not None:
                self._flush()
            self._chunk = torch.empty(CHUNK, self.width, device=self.device, dtype=dtype)

    @torch.no_grad()
    def _flush(self) -> None:
        """Add the rows that wait: the upper strips of their product, and their sum."""
        rows, self._seen = self._chunk[: self._waiting], self._seen + self._waiting
        if self._waiting == 0:
            return
        if self._shift is None:
            self._shift = rows.mean(dim=0, dtype=self.dtype).to(rows)
        centred = rows.sub_(self._shift)
        total = centred.sum(dim=0, dtype=self.dtype)
        if not total.isfinite().all():
            raise BadInput(f"rows up to number {self._seen} hold NaN or infinity; none is valid")
        for begin in range(0, self.width, STRIP):
            product = centred[:, begin : begin + STRIP].T @ centred[:, begin:]
            self._square[begin : begin + STRIP, begin:] += product
        self._sum += total
        self._waiting = 0

    def _settled(self) -> Tensor:
        """Flush what waits and give the provisional mean, refusing an empty stream."""
        if self._chunk is not None:
            self._flush()
        if self._shift is None:
            raise BadInput("no rows were seen yet, so there are no moments")
        return self._shift.to(self.dtype)

    def merge(self, other: Moments) -> Moments:
        """Add another stream's rows, as if they had been seen here; ``other`` stays as it is."""
        if other.width != self.width:
            raise BadInput(f"moments of {other.width} columns cannot join {self.width} columns")
        if other.count == 0:
            return self
        theirs = other._settled().to(self._sum)
        if self.count == 0:
            self._shift = theirs.to(other._shift.dtype)
            self._prepare(other._chunk.dtype)
        apart, n = theirs - self._settled(), other.count
        moved = other._sum.to(self._sum)
        self._square += other._square.to(self._square)
        cross = torch.outer(moved, apart)
        self._square += cross + cross.T + n * torch.outer(apart, apart)
        self._sum += moved + n * apart
        self._seen += n
        return self

    @property
    def count(self) -> int:
        """Rows seen so far, N."""
        return self._seen + self._waiting

    @property
    def mean(self) -> Tensor:
        """Mean of each column, shape (D,)."""
        return self._settled() + self._sum / self.count

    @property
    def scatter(self) -> Tensor:
        """Sum over rows of the outer product of (row - mean) with itself, shape (D, D)."""
        self._settled()
        scatter = torch.addr(self._square, self._sum, self._sum, alpha=-1 / self.count)
        for begin in range(0, self.width, STRIP):  # mirrored strip by strip: no second D x D copy
            end = begin + STRIP
            scatter[end:, begin:end] = scatter[begin:end, end:].T
            corner = scatter[begin:end, begin:end]
            corner.copy_(corner.triu() + corner.triu(1).T)
        return scatter

    @property
    def variance(self) -> Tensor:
        """Variance of each column, shape (D,): the diagonal of scatter / N, without the rest."""
        self._settled()
        square = self._square.diagonal() - self._sum.square() / self.count
        return square.clamp(min=0) / self.count

    @property
    def constant(self) -> Tensor:
        """Columns that never vary, shape (D,): standard deviation below 1e-6 of the mean."""
        return self.variance <= (1e-6 * self.mean).square()

    def correlation(self) -> Tensor:
        """Pearson correlation between any two columns, shape (D, D), in [-1, 1].

        A column that never varies has no correlation; as in the released code it gets 0 with every
        other column and 1 with itself (P1), and :attr:`constant` names it.
        """
        scatter = self.scatter
        scale = scatter.diagonal().clamp(min=0).rsqrt()
        scale[self.constant] = 0
        correlation = scatter.mul_(scale).mul_(scale[:, None]).clamp_(-1, 1)
        correlation.fill_diagonal_(1)
        return correlation


def _check_square(matrix: Tensor, what: str, widths: Sequence[int] | None = None) -> None:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise BadInput(f"{what} has shape {tuple(matrix.shape)}; a square matrix is needed")
    if widths is not None and sum(widths) != len(matrix):
        raise BadInput(f"widths sum to {sum(widths)}, but {what} has {len(matrix)} columns")


def linear_cka(scatter: Tensor, widths: Sequence[int]) -> Tensor:
    r"""Linear CKA between every two layers, from the scatter of all their neurons.

    With :math:`S_{ij}` the block of ``scatter`` that crosses layer i with layer j,

    .. math:: \mathrm{CKA}_{ij} = \|S_{ij}\|_F^2 \,/\, (\|S_{ii}\|_F \, \|S_{jj}\|_F),

    the feature form of :cite:t:`kornblith2019similarity`: cost D^2, whatever the number of rows.
    The minibatch estimate of :cite:t:`nguyen2021wide` is not needed, because the sums are exact.

    Parameters
    ----------
    scatter : Tensor of shape (D, D)
        Centred second moment, :attr:`Moments.scatter`. Its scale cancels.
    widths
        Neurons in each layer, in column order; they sum to D.

    Returns
    -------
    Tensor of shape (L, L)
        Symmetric, values in [0, 1], ones on the diagonal. A layer that never varies has no
        defined similarity and gives NaN.

    Examples
    --------
    >>> x = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 5.0]])
    >>> seen = Moments(4).update(torch.cat([x, 3 * x.flip(1)], dim=1))
    >>> linear_cka(seen.scatter, [2, 2]).round(decimals=6)
    tensor([[1., 1.],
            [1., 1.]], dtype=torch.float64)
    """
    scatter = torch.as_tensor(scatter)
    _check_square(scatter, "scatter", widths)
    strips = [strip.split(list(widths), dim=1) for strip in scatter.split(list(widths))]
    norm = torch.stack([torch.stack([torch.linalg.matrix_norm(b) for b in s]) for s in strips])
    own = norm.diagonal()
    return norm.square() / (own[:, None] * own)


def correlation_clusters(
    correlation: Tensor, thresholds: Iterable[float]
) -> dict[float, np.ndarray]:
    """Clusters of correlated neurons at every threshold, from one linkage.

    Average linkage on the distance ``1 - |r|``; a threshold joins what merges at that distance or
    below, so a higher one leaves fewer clusters :cite:p:`dalvi2020analyzing`.

    Parameters
    ----------
    correlation : Tensor of shape (D, D)
        :meth:`Moments.correlation`. NaN counts as 0, as in the released code (P1).
    thresholds
        Distances, each from 0 to 1.

    Returns
    -------
    dict of threshold to ndarray of shape (D,)
        Cluster of each neuron, numbered 1..K.

    Raises
    ------
    BadInput
        If the matrix is not square or a threshold is out of range.

    Notes
    -----
    Cost: D^2 time, D^2 / 2 doubles twice (scipy copies its input), no more per threshold.

    Examples
    --------
    >>> r = torch.tensor([[1.0, -0.9, 0.1], [-0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])
    >>> {t: labels.tolist() for t, labels in correlation_clusters(r, [0.05, 0.5]).items()}
    {0.05: [1, 2, 3], 0.5: [1, 1, 2]}
    """
    matrix = torch.as_tensor(correlation)
    _check_square(matrix, "correlation")
    thresholds = list(thresholds)
    wrong = [t for t in thresholds if not 0 <= t <= 1]
    if wrong:
        raise BadInput(f"thresholds {wrong} are out of range; valid: from 0 to 1")
    if len(matrix) == 1:
        return {t: np.ones(1, dtype=np.int32) for t in thresholds}
    tree = hierarchy.linkage(_condensed(matrix), method="average")
    return {t: hierarchy.fcluster(tree, t, criterion="distance") for t in thresholds}


def _condensed(matrix: Tensor) -> np.ndarray:
    """Distances 1 - |r| above the diagonal, row after row, as scipy wants them.

    Row by row and in place: a row stays in the cache, and no second D x D matrix is made.
    """
    width, place = len(matrix), 0
    distance = np.empty(width * (width - 1) // 2)
    for begin in range(0, width, STRIP):
        for row, line in enumerate(matrix[begin : begin + STRIP].cpu().numpy(), begin + 1):
            part = distance[place : place + width - row]
            np.abs(line[row:], out=part)
            np.fmax(part, 0, out=part)  # NaN counts as no correlation
            np.minimum(part, 1, out=part)
            np.subtract(1, part, out=part)
            place += len(part)
    return distance


def cluster_windows(labels: Sequence[int], widths: Sequence[int]) -> np.ndarray:
    """Layers that each cluster spans: highest - lowest + 1, as in the papers' code.

    Parameters
    ----------
    labels : array of shape (D,)
        Cluster of each neuron, from :func:`correlation_clusters`.
    widths
        Neurons in each layer, in column order; they sum to D.

    Returns
    -------
    ndarray of shape (K,)
        In the order of the sorted cluster numbers; a cluster of one neuron has window 1.

    Examples
    --------
    >>> cluster_windows([1, 1, 2, 3, 3, 2], [2, 2, 2]).tolist()
    [1, 2, 2]
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or sum(widths) != len(labels):
        raise BadInput(f"widths sum to {sum(widths)}, but labels have shape {labels.shape}")
    layer = np.repeat(np.arange(len(widths)), widths)
    _, cluster = np.unique(labels, return_inverse=True)
    low, high = np.full((2, cluster.max() + 1), len(widths))
    np.minimum.at(low, cluster, layer)
    high[:] = -1
    np.maximum.at(high, cluster, layer)
    return high - low + 1
