"""Many small linear maps over one table of rows, as few products.

What :mod:`lib.probes` trains. Columns that the same probes use form a *segment*; the weights of a
segment are one matrix, and all matrices lie in one flat vector, so that an optimiser takes one step
for all. Sets of columns that are nested in one another, or disjoint, cost the sum of their sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Segment:
    """Columns used by the same probes: their place among all columns used, and those probes."""

    span: slice
    probes: Tensor
    size: tuple[int, int]  # (probes * C, columns), the shape of its weights
    run: slice | None  # the probes as a slice where they follow one another, so none is copied

    @property
    def place(self) -> slice | Tensor:
        """The probes, in the cheapest form to index by."""
        return self.probes if self.run is None else self.run


@dataclass(frozen=True)
class Layout:
    """Where the weights of all probes lie in one flat vector: segment by segment, then the bias.

    ``columns`` (D',) are those that some probe uses, in the order of the segments; ``owner`` names
    the probe of every number of the flat vector.
    """

    columns: Tensor
    segments: list[Segment]
    owner: Tensor
    probes: int
    outputs: int

    def to(self, device) -> Layout:
        """The same on another device."""
        segments = [replace(s, probes=s.probes.to(device)) for s in self.segments]
        columns, owner = self.columns.to(device), self.owner.to(device)
        return replace(self, columns=columns, segments=segments, owner=owner)

    @property
    def weights(self) -> int:
        """Numbers of the flat vector that are weights; the others are bias."""
        return len(self.owner) - self.probes * self.outputs

    def parts(self, flat: Tensor) -> tuple[list[Tensor], Tensor]:
        """Views of a flat vector: the weights of every segment, and the bias (P, C)."""
        lengths = [rows * width for rows, width in (s.size for s in self.segments)]
        *matrices, bias = flat.split([*lengths, self.probes * self.outputs])
        shaped = [m.view(s.size) for m, s in zip(matrices, self.segments, strict=True)]
        return shaped, bias.view(self.probes, self.outputs)


def layout(width: int, sets: Sequence[np.ndarray], seeds: int, outputs: int) -> Layout:
    """Group the columns by the sets that hold them; probe ``set * seeds + seed``."""
    member = np.zeros((len(sets), width), dtype=bool)
    for row, columns in enumerate(sets):
        member[row, columns] = True
    used = np.flatnonzero(member.any(axis=0))
    patterns, which = np.unique(member[:, used], axis=1, return_inverse=True)
    which = which.ravel()
    ends = np.cumsum(np.bincount(which))
    segments, owner = [], []
    for pattern, begin, end in zip(patterns.T, [0, *ends[:-1]], ends, strict=True):
        of = np.flatnonzero(pattern)[:, None] * seeds + np.arange(seeds)
        probes = torch.from_numpy(of.ravel())
        size = (len(probes) * outputs, end - begin)
        segments.append(Segment(slice(begin, end), probes, size, _as_slice(of.ravel())))
        owner.append(probes.repeat_interleave(outputs * (end - begin)))
    owner.append(torch.arange(len(sets) * seeds).repeat_interleave(outputs))
    columns = torch.from_numpy(used[np.argsort(which, kind="stable")])
    return Layout(columns, segments, torch.cat(owner), len(sets) * seeds, outputs)


def _as_slice(numbers: np.ndarray) -> slice | None:
    """Ascending numbers as a slice, None where one is left out."""
    first, after = int(numbers[0]), int(numbers[-1]) + 1
    return slice(first, after) if after - first == len(numbers) else None


def first_weights(where: Layout, sets: list[np.ndarray], seeds: Sequence[int]) -> Tensor:
    """Uniform within one over the root of a probe's columns, as torch draws a linear layer."""
    where, flat = where.to("cpu"), torch.empty(len(where.owner))
    place = np.empty(int(where.columns.max()) + 1, dtype=int)
    place[where.columns.numpy()] = np.arange(len(where.columns))
    parts, bias = where.parts(flat)
    for probe, (chosen, seed) in enumerate((c, s) for c in sets for s in seeds):
        draw, bound = torch.Generator().manual_seed(seed), len(chosen) ** -0.5
        drawn = torch.empty(where.outputs, len(where.columns))
        drawn[:, place[chosen]] = torch.empty(where.outputs, len(chosen)).uniform_(
            -bound, bound, generator=draw
        )
        bias[probe].uniform_(-bound, bound, generator=draw)
        for part, segment in zip(parts, where.segments, strict=True):
            if (row := (segment.probes == probe).nonzero()).numel():
                part.view(-1, where.outputs, part.shape[1])[int(row)] = drawn[:, segment.span]
    return flat


def forward(rows: Tensor, where: Layout, flat: Tensor) -> Tensor:
    """Outputs (n, P, C) of prepared rows."""
    parts, bias = where.parts(flat)
    out = bias.expand(len(rows), -1, -1).clone()
    for part, segment in zip(parts, where.segments, strict=True):
        found = rows[:, segment.span] @ part.T
        out[:, segment.place] += found.view(len(rows), -1, where.outputs)
    return out


def backward(rows: Tensor, where: Layout, above: Tensor, grad: Tensor) -> None:
    """Gradients of weights and bias from those of the outputs (n, P, C), into a flat vector."""
    parts, bias = where.parts(grad)
    torch.sum(above, dim=0, out=bias)
    for part, segment in zip(parts, where.segments, strict=True):
        torch.mm(above[:, segment.place].flatten(1).T, rows[:, segment.span], out=part)


def unpacked(where: Layout, flat: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Weights (P, C, D) by column number, zero where a probe has none, and the bias (P, C)."""
    weights = flat.new_zeros(where.probes, where.outputs, width)
    parts, bias = where.parts(flat)
    row = torch.arange(where.outputs, device=flat.device)[:, None]
    for part, segment in zip(parts, where.segments, strict=True):
        block = part.view(-1, where.outputs, part.shape[1])
        weights[segment.probes[:, None, None], row, where.columns[segment.span]] = block
    return weights, bias
