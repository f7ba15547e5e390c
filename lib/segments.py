"""Many small linear maps over one table of rows, trained together in as few products.

What :mod:`lib.probes` runs. Columns that the same probes use form a *segment*; the weights of a
segment are one matrix, and all matrices lie in one flat vector, so that Adam takes one step for
all. Sets of columns that are nested in one another, or disjoint, cost the sum of their sizes
and little more: small segments are joined, as a product of a few columns costs as much as one of
many.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim.adam import adam

Parts = tuple[list[Tensor], Tensor]  # views of a flat vector: see Layout.parts
Lines = list[tuple[Tensor, slice]]  # views of it by probe: see Layout.lines
SMALLEST = torch.finfo(torch.float32).tiny
ORDER = 0  # draws the batches, the same for all probes
SPARE = 1 << 14  # weights that may stay 0 so that columns of unlike sets share a product


@dataclass(frozen=True)
class Protocol:
    """How probes are trained, as data; numbers are the released code's."""

    standardise: bool  # columns to mean 0 and variance 1 over the training rows (P6)
    shuffle: bool  # draw the batches anew in every epoch (P5)
    squared: bool  # second penalty: the squared norm of the weights, or the norm itself (P7)
    best: bool  # keep the epoch that scores best on dev, where dev is given, or the last one
    epochs: int = 10
    batch: int = 128
    learning_rate: float = 1e-3
    l1: float = 1e-5
    l2: float = 1e-5


class Segment(NamedTuple):
    """Columns read by probes that follow one another: their place among all columns used."""

    span: slice
    probes: slice
    outputs: slice  # of these probes, among all probes' outputs
    size: tuple[int, int]  # (outputs, columns), the shape of its weights


@dataclass(frozen=True)
class Layout:
    """Where the weights of all probes lie in one flat vector: segment by segment, then the bias.

    ``columns`` (D',) are those that some probe uses, in the order of the segments; ``free`` is 0
    where a weight must stay 0 because its probe has no such column, None where there is no such
    weight.
    """

    columns: Tensor
    segments: list[Segment]
    free: Tensor | None
    probes: int
    outputs: int

    @property
    def weights(self) -> int:
        """Numbers of the flat vector that are weights; bias follows, one for each output."""
        return sum(rows * width for *_, (rows, width) in self.segments)

    def parts(self, flat: Tensor) -> Parts:
        """Views of a flat vector: the weights of every segment, and the bias (P, C)."""
        lengths = [rows * width for *_, (rows, width) in self.segments]
        *matrices, bias = flat.split([*lengths, self.probes * self.outputs])
        shaped = [m.view(s.size) for m, s in zip(matrices, self.segments, strict=True)]
        return shaped, bias.view(self.probes, self.outputs)

    def lines(self, parts: Parts) -> Lines:
        """The same with a line for each probe, and which probes these are; the bias comes last."""
        spans = [s.probes for s in self.segments]
        shaped = [m.view(s.stop - s.start, -1) for m, s in zip(parts[0], spans, strict=True)]
        return list(zip([*shaped, parts[1]], [*spans, slice(self.probes)], strict=True))


def layout(
    width: int, sets: Sequence[np.ndarray], seeds: int, outputs: int, device="cpu"
) -> Layout:
    """Group the columns by the sets that hold them; probe ``set * seeds + seed``."""
    member = np.zeros((len(sets), width), dtype=bool)
    for row, columns in enumerate(sets):
        member[row, columns] = True
    used = np.flatnonzero(member.any(axis=0))
    groups = _groups(member[:, used], seeds * outputs)
    segments, free, begin = [], [], 0
    for group in groups:
        held, span = member[:, used[group]], slice(begin, begin + len(group))
        for run in _runs(np.flatnonzero(held.any(axis=1))):
            probes = slice(run.start * seeds, run.stop * seeds)
            places = slice(probes.start * outputs, probes.stop * outputs)
            segments.append(Segment(span, probes, places, (places.stop - places.start, len(group))))
            free.append(np.repeat(held[run], seeds * outputs, axis=0).ravel())
        begin = span.stop
    free = torch.from_numpy(np.concatenate(free)).to(device)
    columns = torch.from_numpy(used[np.concatenate(groups)]).to(device)
    free = None if free.all() else free.float()
    return Layout(columns, segments, free, len(sets) * seeds, outputs)


def _groups(member: np.ndarray, copies: int) -> list[np.ndarray]:
    """Columns that share products, the group of the first column first.

    Columns of the same sets lie together; neighbours in the order of the patterns are joined as
    long as the weights that this leaves at 0 are few.
    """
    bits = np.packbits(member, axis=0)
    _, first, which = np.unique(bits, axis=1, return_index=True, return_inverse=True)
    patterns = member[:, first]
    counts = np.bincount(which.ravel())
    joined = [[0]]
    for place in range(1, len(counts)):
        group = [*joined[-1], place]
        every = patterns[:, group].any(axis=1).sum()
        spare = ((every - patterns[:, group].sum(axis=0)) * counts[group]).sum() * copies
        if spare <= SPARE:
            joined[-1] = group
        else:
            joined.append([place])
    groups = [np.flatnonzero(np.isin(which.ravel(), group)) for group in joined]
    return sorted(groups, key=lambda columns: columns[0])


def _runs(numbers: np.ndarray) -> list[slice]:
    """Ascending numbers as slices, each of numbers that follow one another.

    Examples
    --------
    >>> _runs(np.array([0, 1, 2, 5]))
    [slice(0, 3, None), slice(5, 6, None)]
    """
    parts = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    return [slice(int(part[0]), int(part[-1]) + 1) for part in parts]


def first_weights(where: Layout, sets: list[np.ndarray], seeds: Sequence[int]) -> Tensor:
    """Uniform within one over the root of a probe's columns, as torch draws a linear layer."""
    flat, columns = torch.empty(where.weights + where.probes * where.outputs), where.columns.cpu()
    drawn = torch.zeros(where.probes, where.outputs, int(columns.max()) + 1)
    parts, bias = where.parts(flat)
    for probe, (chosen, seed) in enumerate(itertools.product(sets, seeds)):
        draw, bound = torch.Generator().manual_seed(seed), len(chosen) ** -0.5
        own = torch.empty(where.outputs, len(chosen)).uniform_(-bound, bound, generator=draw)
        drawn[probe, :, chosen] = own
        bias[probe].uniform_(-bound, bound, generator=draw)
    for part, segment in zip(parts, where.segments, strict=True):
        part.copy_(drawn[segment.probes, :, columns[segment.span]].view(segment.size))
    return flat


def forward(rows: Tensor, where: Layout, parts: Parts) -> Tensor:
    """Outputs (P, C, n) of prepared rows; ``parts`` are the views of the weights."""
    matrices, bias = parts
    out = bias.view(-1, 1).expand(-1, len(rows)).clone()
    for matrix, segment in zip(matrices, where.segments, strict=True):
        out[segment.outputs].addmm_(matrix, rows[:, segment.span].T)
    return out.view(*bias.shape, len(rows))


def backward(rows: Tensor, where: Layout, above: Tensor, parts: Parts) -> None:
    """Gradients of weights and bias from those of the outputs (P, C, n), into their views."""
    matrices, bias = parts
    torch.sum(above, dim=2, out=bias)
    flat = above.flatten(0, 1)
    for matrix, segment in zip(matrices, where.segments, strict=True):
        torch.mm(flat[segment.outputs], rows[:, segment.span], out=matrix)


def unpacked(where: Layout, flat: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Weights (P, C, D) by column number, zero where a probe has none, and the bias (P, C)."""
    weights = flat.new_zeros(where.probes, where.outputs, width)
    parts, bias = where.parts(flat)
    for part, segment in zip(parts, where.segments, strict=True):
        block = part.view(-1, where.outputs, part.shape[1])
        weights[segment.probes][:, :, where.columns[segment.span]] = block
    return weights, bias


@dataclass(frozen=True)
class Table:
    """What is trained on: rows (N, D') in the order of the segments, and what is wanted (C, N).

    ``centre`` and ``scale`` (D',) are taken from a batch when it is read, so that the rows
    themselves are never copied.
    """

    rows: Tensor
    target: Tensor
    centre: Tensor
    scale: Tensor

    def batches(self, protocol: Protocol, epoch: int) -> Iterator:
        """Batches of an epoch, prepared: consecutive rows, or rows in an order of its own.

        A batch is overwritten by the next one: it stays in the processor's cache.
        """
        count, size = len(self.rows), protocol.batch
        if not (protocol.shuffle or protocol.standardise):
            yield from zip(self.rows.split(size), self.target.split(size, dim=1), strict=True)
            return
        drawn = np.arange(count)
        if protocol.shuffle:
            drawn = np.random.default_rng([ORDER, epoch]).permutation(count)
        room = self.rows.new_empty(min(size, count), self.rows.shape[1])
        for part in torch.from_numpy(drawn).to(self.rows.device).split(size):
            batch = torch.index_select(self.rows, 0, part, out=room[: len(part)])
            if protocol.standardise:
                batch.sub_(self.centre).div_(self.scale)
            yield batch, self.target[:, part]


def _penalty(flat: Tensor, lines: Lines, into: Tensor, slopes: Lines, protocol: Protocol) -> None:
    """Add the gradient of the elastic net; at weights of zero that of the plain norm is 0."""
    into.add_(flat.sign(), alpha=protocol.l1)
    if protocol.squared:
        into.add_(flat, alpha=2 * protocol.l2)
        return
    square = flat.new_zeros(lines[-1][1].stop)
    for line, probes in lines[:-1]:
        square[probes] += torch.linalg.vector_norm(line, dim=1).square_()
    scale = protocol.l2 / square.sqrt_().clamp_min_(SMALLEST)
    for (line, probes), (slope, _) in zip(lines[:-1], slopes, strict=False):
        slope.addcmul_(line, scale[probes, None])


def _above(out: Tensor, wanted: Tensor) -> Tensor:
    """Gradient of the mean loss over a batch, from outputs (P, C, n) and targets (C, n)."""
    count = out.shape[2]
    if out.shape[1] == 1:
        return out.sub_(wanted).mul_(2 / count)
    return out.softmax(dim=1).sub_(wanted).mul_(1 / count)


def _adam(flat: Tensor, rate: float) -> Callable[[], None]:
    """Adam's step over one vector: torch's own, without what its optimiser class does around it."""
    sums, squares = torch.zeros_like(flat), torch.zeros_like(flat)
    count = torch.zeros((), device=flat.device)
    state = [flat], [flat.grad], [sums], [squares], [], [count]
    options = {"lr": rate, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.0, "eps": 1e-8}
    return partial(adam, *state, fused=True, amsgrad=False, maximize=False, **options)


@torch.no_grad()
def train(
    table: Table,
    where: Layout,
    flat: Tensor,
    protocol: Protocol,
    *,
    judge: Callable[[Parts], np.ndarray] | None,
) -> tuple[Tensor, np.ndarray]:
    """Adam over all weights at once.

    Parameters
    ----------
    flat
        First weights and bias; trained in place.
    judge
        Gives the score of every probe (P,) from the views of its weights; the epoch that scores
        best is kept, else the last.

    Returns
    -------
    flat : Tensor
        The weights kept.
    epoch : ndarray of shape (P,)
        Of each probe, from 1.
    """
    flat.grad = torch.zeros_like(flat)
    step = _adam(flat, protocol.learning_rate)
    parts, grads = where.parts(flat), where.parts(flat.grad)
    weights, slopes = flat[: where.weights], flat.grad[: where.weights]
    lines, steep = where.lines(parts), where.lines(grads)
    best, kept = np.full(where.probes, -np.inf), flat.clone() if judge else flat
    epochs = np.full(where.probes, protocol.epochs)
    for epoch in range(protocol.epochs):
        for batch, wanted in table.batches(protocol, epoch):
            above = _above(forward(batch, where, parts), wanted)
            backward(batch, where, above, grads)
            if where.free is not None:
                slopes.mul_(where.free)
            _penalty(weights, lines, slopes, steep, protocol)
            step()
        if judge:
            scores = judge(parts)
            better = scores > best
            best[better], epochs[better] = scores[better], epoch + 1
            for (line, probes), (old, _) in zip(lines, where.lines(where.parts(kept)), strict=True):
                old[better[probes]] = line[better[probes]]
    return kept, epochs
