"""One streaming pass over activations: CKA between layers, clusters of correlated neurons.

Both are read from the scatter matrix of one table of words or sentences by neurons, layer after
layer, which is never kept. Memory: D x D doubles (BERT-base: 9,984 columns, 0.8 GB).
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd
import torch
from scipy.cluster import hierarchy
from torch import Tensor

from lib import activations, batches
from lib.errors import BadInput

CHUNK = 2048  # rows multiplied at once: enough to hide the D x D additions behind the products
STRIP = 768  # columns of one product: only blocks on and right of the diagonal are computed


def _plain(function: Callable) -> Callable:
    """Make what is computed inside usable everywhere: fed in inference mode and read outside it."""
    return torch.inference_mode(False)(torch.no_grad()(function))


class Moments:
    r"""Count, mean and scatter of a stream of rows, whatever the batches.

    Rows wait until :data:`CHUNK` of them are there, so a result does not depend on how the stream
    was cut into batches, not even in the last bit. Each chunk is centred by the mean :math:`s` of
    the first one; with :math:`S = \sum (x-s)(x-s)^\top` and :math:`t = \sum (x-s)`,

    .. math:: \text{mean} = s + t / N, \qquad \text{scatter} = S - t t^\top / N.

    Parameters
    ----------
    width
        Number of columns, D.
    device, dtype
        Where and how precisely the sums are kept. Double by default: sums grow with N. Products
        run in the precision of the rows (float16 rows in float32).

    Notes
    -----
    Cost: about N * D^2 multiply-adds; memory D^2 + CHUNK * D. May be fed and read inside and
    outside of ``torch.inference_mode``. Merging is due to :cite:t:`chan1983algorithms`.
    """

    @_plain
    def __init__(self, width: int, *, device="cpu", dtype: torch.dtype = torch.float64):
        if width < 1:
            raise BadInput(f"width {width} is not valid; at least 1 column is needed")
        self.width, self.device, self.dtype = width, torch.device(device), dtype
        self._seen = self._waiting = 0
        self._chunk, self._shift = torch.empty(0, device=device), None
        self._sum = torch.zeros(width, device=device, dtype=dtype)
        self._square = torch.zeros(width, width, device=device, dtype=dtype)

    @_plain
    def update(self, rows: Tensor) -> "Moments":
        """Add a batch of rows, shape (n, D), on any device and of any floating precision."""
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise BadInput(f"rows have shape {tuple(rows.shape)}; (n, {self.width}) is needed")
        dtype = torch.promote_types(rows.dtype, torch.float32)
        if len(self._chunk) == 0 or dtype != self._chunk.dtype:
            self._flush()  # rows wait, and are multiplied, in their own precision
            self._chunk = torch.empty(CHUNK, self.width, device=self.device, dtype=dtype)
        while len(rows):
            taken = min(CHUNK - self._waiting, len(rows))
            self._chunk[self._waiting : self._waiting + taken] = rows[:taken]
            self._waiting += taken
            rows = rows[taken:]
            if self._waiting == CHUNK:
                self._flush()
        return self

    def _flush(self) -> None:
        """Add the rows that wait: the upper strips of their product, and their sum."""
        if self._waiting == 0:
            return
        rows = self._chunk[: self._waiting]
        if self._shift is None:
            self._shift = rows.mean(dim=0, dtype=self.dtype).to(rows)
        centred = rows.sub_(self._shift)
        total = centred.sum(dim=0, dtype=self.dtype)
        if not total.isfinite().all():
            raise BadInput(f"rows up to number {self.count} hold NaN or infinity; none is valid")
        for begin in range(0, self.width, STRIP):
            product = centred[:, begin : begin + STRIP].T @ centred[:, begin:]
            self._square[begin : begin + STRIP, begin:] += product
        self._sum += total
        self._seen, self._waiting = self.count, 0

    def _settled(self) -> Tensor:
        """Flush what waits and give the provisional mean, refusing an empty stream."""
        self._flush()
        if self._shift is None:
            raise BadInput("no rows were seen yet, so there are no moments")
        return self._shift.to(self.dtype)

    @_plain
    def merge(self, other: "Moments") -> "Moments":
        """Add another stream's rows, as if they had been seen here; ``other`` stays as it is."""
        if other.width != self.width:
            raise BadInput(f"moments of {other.width} columns cannot join {self.width} columns")
        if other.count == 0:
            return self
        theirs, n = other._settled().to(self._sum), other.count
        if self.count == 0:
            self._shift = theirs
        apart, moved = theirs - self._settled(), other._sum.to(self._sum)
        cross = torch.outer(moved, apart)
        self._square += other._square.to(self._square) + cross + cross.T
        self._square += n * torch.outer(apart, apart)
        self._sum += moved + n * apart
        self._seen += n
        return self

    @property
    def count(self) -> int:
        """Rows seen so far, N."""
        return self._seen + self._waiting

    @property
    @_plain
    def mean(self) -> Tensor:
        """Mean of each column, shape (D,)."""
        return self._settled() + self._sum / self.count

    @property
    @_plain
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
    @_plain
    def variance(self) -> Tensor:
        """Variance of each column, shape (D,): the diagonal of scatter / N, without the rest."""
        self._settled()
        square = self._square.diagonal() - self._sum.square() / self.count
        return square.clamp(min=0) / self.count

    @property
    @_plain
    def constant(self) -> Tensor:
        """Columns that never vary, shape (D,): standard deviation below 1e-6 of the mean."""
        return self.variance <= (1e-6 * self.mean).square()

    @_plain
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


def widths(model) -> list[int]:
    """Neurons in each layer of a model: H for each of its L layers."""
    return [model.config.hidden_size] * activations.n_layers(model)


def moments(model, tokenizer, sentences: Sequence, *, level: str, pooling: str = "last") -> Moments:
    """Moments of all neurons of a model over some sentences, in one pass.

    Parameters are those of :func:`lib.activations.extract`. Column ``l * H + h`` is neuron h of
    layer l. Cost: one forward pass and N * D^2 multiply-adds, where the model runs.
    """
    encoded = batches.encode(model, tokenizer, sentences, level=level)
    seen = Moments(sum(widths(model)), device=model.device)
    for rows, _ in activations.stream(model, tokenizer, encoded, pooling=pooling, progress=True):
        seen.update(rows.flatten(1))
    return seen


def _check_square(matrix: Tensor, what: str) -> None:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise BadInput(f"{what} has shape {tuple(matrix.shape)}; a square matrix is needed")


def _check_widths(widths: Sequence[int], columns: int) -> None:
    if sum(widths) != columns:
        raise BadInput(f"widths sum to {sum(widths)}, but there are {columns} columns")


def linear_cka(scatter: Tensor, widths: Sequence[int]) -> Tensor:
    r"""Linear CKA between every two layers, from the scatter of all their neurons.

    With :math:`S_{ij}` the block of ``scatter`` that crosses layer i with layer j,

    .. math:: \mathrm{CKA}_{ij} = \|S_{ij}\|_F^2 \,/\, (\|S_{ii}\|_F \, \|S_{jj}\|_F),

    the feature form of :cite:t:`kornblith2019similarity`: cost D^2, whatever the number of rows.
    Gives shape (L, L), symmetric, in [0, 1]; NaN for a layer that never varies.

    Parameters
    ----------
    scatter : Tensor of shape (D, D)
        :attr:`Moments.scatter`. Its scale cancels.
    widths
        Neurons in each layer, in column order; they sum to D.

    Examples
    --------
    >>> x = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 5.0]])
    >>> seen = Moments(4).update(torch.cat([x, 3 * x.flip(1)], dim=1))
    >>> linear_cka(seen.scatter, [2, 2]).round(decimals=6).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    scatter = torch.as_tensor(scatter)
    _check_square(scatter, "scatter")
    _check_widths(widths, len(scatter))
    strips = [strip.split(list(widths), dim=1) for strip in scatter.split(list(widths))]
    norm = torch.stack([torch.stack([torch.linalg.matrix_norm(b) for b in s]) for s in strips])
    own = norm.diagonal()
    return norm.square() / (own[:, None] * own)


def correlation_clusters(
    correlation: Tensor, thresholds: Iterable[float]
) -> dict[float, np.ndarray]:
    """Clusters of correlated neurons at every threshold, from one linkage.

    Average linkage on the distance ``1 - |r|``; a threshold joins what merges at that distance or
    below, so a higher one leaves fewer clusters :cite:p:`dalvi2020analyzing`. Gives, by threshold,
    the cluster of each neuron, shape (D,), numbered 1..K. Cost: D^2 time and memory.

    Parameters
    ----------
    correlation : Tensor of shape (D, D)
        :meth:`Moments.correlation`. NaN counts as 0, as in the released code (P1).
    thresholds
        Distances, each from 0 to 1.

    Examples
    --------
    >>> r = torch.tensor([[1.0, -0.9, 0.1], [-0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])
    >>> {t: labels.tolist() for t, labels in correlation_clusters(r, [0.05, 0.5]).items()}
    {0.05: [1, 2, 3], 0.5: [1, 1, 2]}
    """
    matrix, thresholds = torch.as_tensor(correlation), list(thresholds)
    _check_square(matrix, "correlation")
    wrong = [t for t in thresholds if not 0 <= t <= 1]
    if wrong:
        raise BadInput(f"thresholds {wrong} are out of range; valid: from 0 to 1")
    if len(matrix) == 1:
        return {t: np.ones(1, dtype=np.int32) for t in thresholds}
    tree = hierarchy.linkage(_condensed(matrix), method="average")
    return {t: hierarchy.fcluster(tree, t, criterion="distance") for t in thresholds}


def _condensed(matrix: Tensor) -> np.ndarray:
    """Distances 1 - |r| above the diagonal, row after row, as scipy wants them."""
    rows = (row[place:].double() for place, row in enumerate(matrix, 1))
    return torch.cat([1 - row.abs().nan_to_num(0).clamp(max=1) for row in rows]).cpu().numpy()


def cluster_windows(labels: Sequence[int], widths: Sequence[int]) -> np.ndarray:
    """Layers that each cluster spans: highest - lowest + 1, as in the papers' code.

    Takes a cluster for each neuron, shape (D,), and the neurons in each layer; gives shape (K,),
    in the order of the sorted cluster numbers. A cluster of one neuron has window 1.
    """
    _check_widths(widths, len(labels))
    layer = np.repeat(np.arange(len(widths)), widths)
    spans = pd.Series(layer).groupby(np.asarray(labels))
    return (spans.max() - spans.min() + 1).to_numpy()


def clusters(moments: Moments, widths: Sequence[int], thresholds: Iterable[float]) -> dict:
    """Count the clusters of correlated neurons at every threshold, their sizes and windows.

    Takes the moments of D neurons, the neurons in each layer, and distances ``1 - |r|``.

    Returns
    -------
    dict
        ``rows`` N, ``neurons`` D, ``layers`` L; ``constant``, neurons that never vary, each a
        cluster of its own at every threshold below 1 (P1). By threshold: ``clusters``, how many are
        left; ``clusters_varying``, without constant neurons; ``sizes``, ``windows`` and
        ``windows_of_several`` (of clusters of two or more), each as {value: how many clusters}.

    Examples
    --------
    >>> x = torch.tensor([[0.0], [1.0], [3.0]])
    >>> found = clusters(Moments(3).update(torch.cat([x, x**0, -x], dim=1)), [2, 1], [0.1])
    >>> found["constant"], found["clusters"], found["sizes"], found["windows_of_several"]
    (1, {0.1: 2}, {0.1: {1: 1, 2: 1}}, {0.1: {2: 1}})
    """
    varies = ~moments.constant.cpu().numpy()
    found = {"rows": moments.count, "neurons": moments.width, "layers": len(widths)}
    found |= {"constant": int((~varies).sum()), "clusters": {}, "clusters_varying": {}}
    found |= {"sizes": {}, "windows": {}, "windows_of_several": {}}
    for threshold, labels in correlation_clusters(moments.correlation(), thresholds).items():
        size = np.unique(labels, return_counts=True)[1]
        window = cluster_windows(labels, widths)
        found["clusters"][threshold] = len(size)
        found["clusters_varying"][threshold] = len(np.unique(labels[varies]))
        counted = {"sizes": size, "windows": window, "windows_of_several": window[size > 1]}
        for name, values in counted.items():
            value, count = np.unique(values, return_counts=True)
            found[name][threshold] = dict(zip(value.tolist(), count.tolist(), strict=True))
    return found
