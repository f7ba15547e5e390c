"""Criteria: how much each block changes what passes through it, all in one pass over a text.

Layer 0 is what enters the first block, layer b + 1 what leaves block b. Padding never counts.
"""

import pandas as pd
import torch
from torch import Tensor, nn

from lib import activations, batches
from lib.batches import Batch
from lib.errors import one_of
from lib.similarity import Moments, linear_cka
from lib.structure import block_list, family, n_blocks

CHUNK = 2048  # rows whose double-precision copies are held at once


def _real(batch: Batch) -> Tensor:
    return batch.inputs["attention_mask"].bool()


def _last(hidden: Tensor, batch: Batch) -> Tensor:
    each = torch.arange(len(hidden), device=hidden.device)
    return hidden[each, -1 - _real(batch).flip(1).int().argmax(1)]


def _mean(hidden: Tensor, batch: Batch) -> Tensor:
    real = _real(batch)[:, :, None]
    return (hidden * real).sum(1) / real.sum(1)


TOKENS = {  # which vectors (n, H) of hidden states (B, T, H) are compared
    "rows": lambda hidden, batch: hidden.flatten(0, 1)[batch.last],  # words; of a sentence [CLS]
    "last": _last,
    "mean": _mean,
    "all": lambda hidden, batch: hidden[_real(batch)],
}


class Likeness:
    r"""Sums over rows x from which the likeness of any two layers l, m is read, each (L, L).

    .. math::
        \text{cosine} = \frac{1}{N} \sum_x \cos(x_l, x_m), \qquad
        \text{angle} = \frac{1}{N} \sum_x \frac{\arccos \cos(x_l, x_m)}{\pi}, \qquad
        \text{centred} = \frac{\sum_x (x_l - \mu_l) \cdot (x_m - \mu_m)}
        {\sqrt{\sum_x |x_l - \mu_l|^2 \sum_x |x_m - \mu_m|^2}}

    Few neurons that are large for every token make any cosine near 1; centred, they do not count.
    """

    def __init__(self, layers: int):
        self.count, self._sum = 0, None
        self._cosine, self._angle, self._product = torch.zeros(3, layers, layers).double()

    def update(self, rows: Tensor) -> None:
        """Add rows, shape (n, L, H)."""
        for part in map(Tensor.double, rows.split(CHUNK)):
            unit = nn.functional.normalize(part, dim=-1)
            cosine = (unit @ unit.mT).clamp(-1, 1)
            self._cosine += cosine.sum(0).cpu()
            self._angle += (cosine.arccos() / torch.pi).sum(0).cpu()
            self._product += (part @ part.mT).sum(0).cpu()
            total = part.sum(0).cpu()
            self._sum = total if self._sum is None else self._sum + total
            self.count += len(part)

    @property
    def cosine(self) -> Tensor:
        """Mean cosine."""
        return self._cosine / self.count

    @property
    def angle(self) -> Tensor:
        """Mean angular distance, 0 to 1."""
        return self._angle / self.count

    @property
    def centred(self) -> Tensor:
        """Cosine without the means, by length; NaN for a layer that never varies ([CLS])."""
        product = self._product - self._sum @ self._sum.T / self.count
        square = product.diagonal()
        constant = square <= 1e-10 * self._product.diagonal()
        length = square.masked_fill(constant, torch.nan).sqrt()
        return product / torch.outer(length, length)


def _layers(model, batch: Batch) -> list[Tensor]:
    """What enters each block, and what leaves the last before a final normalisation."""
    left: list[Tensor] = []

    def keep(_, __, output):
        left[:] = [output if isinstance(output, Tensor) else output[0]]

    if family(model).shared:
        return list(activations.states(model, batch))
    hook = block_list(model)[-1].register_forward_hook(keep)
    try:
        hidden = activations.states(model, batch)
    finally:
        hook.remove()
    turned = torch.equal(left[0].transpose(0, 1), hidden[-1])  # XLNet's blocks: (T, B, H)
    return [*hidden[:-1], hidden[-1] if turned else left[0]]


@torch.inference_mode()
def measure(
    model, tokenizer, encoded: batches.Encoded, tokens=("rows",), *, cka=False, **options
) -> dict:
    """Likeness of all layers over some text, in one pass, for one or several kinds of tokens.

    Parameters
    ----------
    model, tokenizer, encoded
        From :func:`lib.encoders.load` and :func:`lib.batches.encode`.
    tokens
        Keys of :data:`TOKENS`: ``rows`` (words, or of a sentence the token that stands for it),
        ``last``, ``mean`` (of a sequence), ``all``.
    cka
        Also measure the linear CKA of each block's input and output over all tokens.
    options
        ``batch_tokens`` and ``progress``, as for :func:`lib.batches.batches`.

    Returns
    -------
    dict
        By kind of tokens a :class:`Likeness`; under ``cka`` numbers (n_blocks,).

    Notes
    -----
    Memory: one batch; for CKA n_blocks * (2 H)^2 double numbers.
    """
    for kind in tokens:
        one_of("token", kind, TOKENS)
    total, width = n_blocks(model), model.config.hidden_size
    found: dict = {kind: Likeness(total + 1) for kind in tokens}
    moments = [Moments(2 * width, device=model.device) for _ in range(total if cka else 0)]
    for batch in batches.batches(encoded, model, tokenizer, **options):
        hidden = _layers(model, batch)
        for kind in tokens:
            found[kind].update(torch.stack([TOKENS[kind](h, batch) for h in hidden], dim=1))
        for block, moment in enumerate(moments):
            pair = [TOKENS["all"](h, batch) for h in hidden[block : block + 2]]
            moment.update(torch.cat(pair, dim=1))
    if cka:
        each = [linear_cka(moment.scatter, [width, width])[0, 1] for moment in moments]
        found["cka"] = torch.stack(each).cpu()
    return found


def block_similarity(model, tokenizer, encoded: batches.Encoded, **options) -> Tensor:
    """Mean cosine between what enters each block and what leaves it; near 1, it changes little.

    Parameters
    ----------
    model, tokenizer, encoded, options
        As for :func:`measure`. On sentences this is the contribution of
        :cite:t:`sajjad2022effect` ([CLS]); over all tokens, ``all`` of :func:`measure`, it is one
        less the block influence of :cite:t:`shortgpt`.

    Returns
    -------
    Tensor of shape (n_blocks,)
    """
    return measure(model, tokenizer, encoded, **options)["rows"].cosine.diagonal(1)


NEEDS = {  # of the strategies that measure: by which tokens, and what of their likeness
    "contribution": ("rows", lambda found: found.cosine.diagonal(1)),
    "influence": ("all", lambda found: found.cosine.diagonal(1)),
    "angular": ("last", lambda found: found.angle),  # over any run of blocks
}


def needed(model, tokenizer, encoded: batches.Encoded, strategies, **options) -> dict[str, list]:
    """What :func:`lib.strategies.blocks_to_keep` needs, by strategy, from one pass; often none."""
    asked = {name: NEEDS[name] for name in strategies if name in NEEDS}
    kinds = {kind for kind, _ in asked.values()}
    found = measure(model, tokenizer, encoded, kinds, **options) if asked else {}
    return {name: read(found[kind]).tolist() for name, (kind, read) in asked.items()}


def criteria(model, tokenizer, encoded: batches.Encoded, **options) -> pd.DataFrame:
    """Every criterion of every block, from the same inputs and one pass.

    Returns
    -------
    DataFrame
        A row per block. ``contribution`` (cosine of the rows) and ``centred``, ``influence`` (one
        less the cosine of all tokens), ``angle`` (angular distance of the last token), ``cka`` (all
        tokens). A block is the more redundant the higher ``contribution``, ``centred`` and ``cka``,
        the lower ``influence`` and ``angle``. ``attrs["angles"]`` holds the angular distance of any
        two layers (last token), which the strategy *angular* needs.
    """
    found = measure(model, tokenizer, encoded, ("rows", "all", "last"), cka=True, **options)
    columns = {
        "contribution": found["rows"].cosine.diagonal(1),
        "centred": found["rows"].centred.diagonal(1),
        "influence": 1 - found["all"].cosine.diagonal(1),
        "angle": found["last"].angle.diagonal(1),
        "cka": found["cka"],
    }
    table = pd.DataFrame({name: value.double().numpy() for name, value in columns.items()})
    table.attrs["angles"] = found["last"].angle.tolist()
    return table
