"""How long a forward pass takes with fewer blocks, and training a probe with fewer neurons.

All ways in turn after an unmeasured round (:func:`lib.cost.in_turn`), so that a busy moment hits
all alike; only the shares are meant to be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from lib import activations, batches, dropping
from lib.cost import in_turn, timed
from lib.probes import fit_probes

ROUNDS = 3
READ = 32  # sentences of a timed pass
ROWS = 10_000  # rows at most on which a timed probe is trained


def passes(
    model, tokenizer, sentences: Sequence, *, pooling: str = "last", **options
) -> dict[int, list[float]]:
    """Seconds of a pass over the first few sentences, by the number of blocks kept, from 1."""
    encoded, ways = batches.encode(model, tokenizer, sentences[:READ], **options), {}
    for blocks in range(1, dropping.n_blocks(model) + 1):
        cut = dropping.smaller(model, range(blocks))
        ways[blocks] = lambda cut=cut: timed(
            lambda: _read(cut, tokenizer, encoded, pooling), cut.device
        )
    return in_turn(ways, ROUNDS)


def _read(model, tokenizer, encoded: batches.Encoded, pooling: str) -> None:
    """Rows of the last layer, which are let go."""
    last = activations.n_layers(model) - 1
    for _ in activations.stream(model, tokenizer, encoded, layers=[last], pooling=pooling):
        pass


def trainings(
    rows: Tensor, labels: Sequence, sets: Mapping[str, Sequence[int]], **options
) -> dict[str, list[float]]:
    """Seconds in which a probe is trained on each set of columns, on the first rows."""
    rows, labels = rows[:ROWS], labels[:ROWS]

    def train(columns: Sequence[int]) -> float:
        return timed(lambda: fit_probes(rows, labels, columns=[columns], **options), rows.device)

    return in_turn({name: lambda c=c: train(c) for name, c in sets.items()}, ROUNDS)
