"""Selection: the released ranking by its slow definition, rules of choice, planted answers."""

import numpy as np
import pytest
import torch

from lib import BadInput
from lib.selection import rank_neurons, representatives, select_layer, sizes, smallest_set

ORACLE = [  # the released functions on toy weights, 100 steps: order and step of entry
    ([[4, 1, 5], [1, 1, 10]], [2, 0, 1], [0, 51, 84]),
    ([[5, 1, 1], [1, 10, 1]], [0, 1, 2], [0, 0, 72]),
    ([[5, 4, 1], [10, 1, 1]], [0, 1, 2], [0, 51, 84]),
    ([[0, 0, 0, 1], [0, 0, 1, 0]], [2, 3, 0, 1], [0, 0, np.inf, np.inf]),
]


@pytest.mark.parametrize(("weights", "order", "entry"), ORACLE)
def test_toy_weights_rank_as_in_the_released_code(weights, order, entry):
    found = rank_neurons(torch.tensor(weights).float(), protocol="official", stride=100)
    assert found[0].tolist() == order and found[1].tolist() == entry


def slow(weights, stride):
    """Step at which each neuron enters, as the released loop finds it."""
    entered = {}
    for step in range(stride + 1):
        for row in np.abs(weights):
            order = np.argsort(-row, kind="stable")
            reached = np.flatnonzero(np.cumsum(row[order]) >= step / stride * row.sum())
            top = order[: reached[0] + 1] if len(reached) else order
            for neuron in top:
                entered.setdefault(int(neuron), step)
    return entered


@pytest.mark.parametrize("classes", [1, 2, 7])
def test_chunks_are_those_of_the_slow_definition(classes):
    weights = torch.randn(classes, 300, generator=torch.Generator().manual_seed(classes)).double()
    order, entry = rank_neurons(weights, protocol="official", stride=200)
    known = slow(weights.numpy(), 200)
    assert {int(d): int(k) for d, k in zip(order, entry, strict=True)} == known
    exact, share = rank_neurons(weights)
    assert sorted(exact) == list(range(300)) and (np.diff(share) >= 0).all()
    assert (np.diff(entry) >= 0).all()


def test_ranking_ignores_sign_and_the_scale_of_a_class():
    weights = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    changed = weights * torch.tensor([[1.0], [-7.0], [0.01]])
    assert rank_neurons(weights)[0].tolist() == rank_neurons(changed)[0].tolist()


def test_ties_are_broken_by_number_and_nothing_is_lost():
    order, _ = rank_neurons(torch.tensor([[1.0, 3, 1, 3, 0]]))
    assert order.tolist() == [1, 3, 0, 2, 4]
    with pytest.raises(BadInput, match="not \\(C, D\\), or not finite"):
        rank_neurons(torch.tensor([1.0, torch.nan]))


def test_a_layer_must_be_strictly_above_what_is_left():
    assert select_layer([0.1, 0.5, 0.5], oracle=0.5, tolerance=0) == 2  # none: the last
    assert select_layer([0.1, 0.495, 0.496], oracle=0.5, tolerance=1) == 2
    assert select_layer([0.9, 0.1], oracle=0.5, tolerance=3) == 0


def test_the_grid_is_the_released_one_without_empty_sets():
    grid = sizes(9984, 9984)
    assert len(grid) == 27 and grid[:5] == [9, 19, 29, 39, 49] and grid[-1] == 8985
    assert 0 not in sizes(200, 200) and sizes(9984, 8) == []


def test_the_smallest_sufficient_set_is_the_first_that_is_enough():
    grid = sizes(2688, 2688)
    scores = [0.9 if size >= 137 else 0.5 for size in grid]
    assert smallest_set(grid, scores, 0.9, 1) == min(size for size in grid if size >= 137)
    assert smallest_set([10, 20], [0.5, 0.89], 0.9, 1) is None
    assert smallest_set([10, 20], [0.5, 0.9 * 0.99], 0.9, 1) is None  # it must be above


def test_arrays_rank_as_tensors_do():
    weights = torch.randn(3, 40, generator=torch.Generator().manual_seed(1))
    for given in (weights.numpy(), weights.double().numpy(), weights.tolist()):
        for protocol in ("exact", "official"):
            found, known = (
                rank_neurons(given, protocol=protocol),
                rank_neurons(weights, protocol=protocol),
            )
            np.testing.assert_array_equal(found[0], known[0])
    whole = rank_neurons(np.array([[1, 3, 2]]))
    assert whole[0].tolist() == [1, 2, 0]
    with pytest.raises(BadInput, match="not \\(C, D\\), or not finite"):
        rank_neurons(np.ones(4))


def test_one_neuron_stands_for_each_cluster():
    labels = np.array([2, 1, 2, 3, 2, 1])
    for seed in range(5):
        chosen = representatives(labels, seed=seed)
        assert sorted(labels[chosen]) == [1, 2, 3] and (np.diff(chosen) > 0).all()
    assert len({tuple(representatives(labels, seed=s)) for s in range(20)}) > 1
    correlation = torch.eye(6)
    for left, right, r in ((0, 2, 0.9), (2, 4, -0.8), (0, 4, 0.1), (1, 5, 0.5)):
        correlation[left, right] = correlation[right, left] = r
    assert representatives(labels, correlation).tolist() == [1, 2, 3]
