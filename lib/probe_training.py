"""How probes are trained: the protocols, and one descent for all weights at once.

What :func:`lib.probes.fit_probes` runs. All weights of all probes are one flat vector
(:mod:`lib.segments`), so a step of Adam is one call, whatever the number of probes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.optim.adam import adam

from lib.segments import Layout, Parts, add_scaled, backward, forward, norms

Weights = tuple[Tensor, Parts]  # all of them as one vector, and as the views of Layout.parts
SMALLEST = torch.finfo(torch.float32).tiny


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


PROTOCOLS = {
    "official": Protocol(standardise=False, shuffle=False, squared=False, best=False),
    "corrected": Protocol(standardise=True, shuffle=True, squared=True, best=True),
}


def _penalty(where: Layout, weights: Weights, grads: Weights, protocol: Protocol) -> None:
    """Add the gradient of the elastic net; at weights of zero that of the plain norm is 0."""
    flat, into = weights[0], grads[0]
    into.add_(flat.sign(), alpha=protocol.l1)
    if protocol.squared:
        into.add_(flat, alpha=2 * protocol.l2)
    else:
        length = norms(where, weights[1]).clamp_min_(SMALLEST)
        add_scaled(where, weights[1], length.reciprocal_().mul_(protocol.l2), grads[1])


def _batches(rows: Tensor, target: Tensor, protocol: Protocol, order: int, epoch: int):
    """Batches of an epoch: consecutive rows, or rows in a drawn order."""
    if not protocol.shuffle:
        return zip(rows.split(protocol.batch), target.split(protocol.batch, dim=1), strict=True)
    drawn = np.random.default_rng([order, epoch]).permutation(len(rows))
    where = torch.from_numpy(drawn).to(rows.device).split(protocol.batch)
    return ((rows.index_select(0, part), target[:, part]) for part in where)


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
    data: tuple[Tensor, Tensor],
    where: Layout,
    flat: Tensor,
    protocol: Protocol,
    *,
    judge: Callable[[Tensor], np.ndarray] | None = None,
    order: int = 0,
) -> tuple[Tensor, np.ndarray]:
    """Adam over all weights at once.

    Parameters
    ----------
    data
        Rows (N, D') in the order of the segments, and what is wanted: (C, N).
    flat
        First weights and bias; trained in place.
    judge
        Gives the score of every probe (P,); the epoch that scores best is kept, else the last.
    order
        Draws the batches.

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
    best, kept = np.full(where.probes, -np.inf), flat
    epochs = np.full(where.probes, protocol.epochs)
    for epoch in range(protocol.epochs):
        for batch, wanted in _batches(*data, protocol, order, epoch):
            above = _above(forward(batch, where, parts), wanted)
            backward(batch, where, above, grads)
            if where.free is not None:
                slopes.mul_(where.free)
            _penalty(where, (weights, parts), (slopes, grads), protocol)
            step()
        if judge:
            scores = judge(flat)
            better = scores > best
            best[better], epochs[better] = scores[better], epoch + 1
            kept = torch.where(torch.from_numpy(better).to(flat.device)[where.owner], flat, kept)
    return kept, epochs
