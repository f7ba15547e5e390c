"""Probes: equal to a plain loop, to themselves alone, to the optimum of scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

from lib import BadInput, activations, corpora, segments
from lib.probes import PROTOCOLS, fit_probes


def planted(n=500, width=30, classes=3, seed=0):
    """Rows whose classes follow from the first six columns alone."""
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, width, generator=draw) * torch.logspace(-1, 1, width)
    plan = torch.randn(6, classes, generator=draw)
    return rows, ((rows[:, :6] / rows[:, :6].std(0)) @ plan).argmax(dim=1).tolist()


SETS = [list(range(30)), list(range(10)), [5, 3, 1], list(range(20, 30)), [29, 0], [7]]


@pytest.mark.parametrize("spare", [0, 20, 1 << 14])
def test_segments_hold_every_column_of_every_set_once(spare, monkeypatch):
    monkeypatch.setattr(segments, "SPARE", spare)
    where = segments.layout(40, [np.array(s) for s in SETS], seeds=2, outputs=3)
    assert sorted(where.columns.tolist()) == list(range(30))
    free = torch.ones(where.weights) if where.free is None else where.free
    assert free.sum() == 3 * 2 * sum(map(len, SETS))
    ones = torch.cat([free, torch.zeros(where.probes * 3)])
    held, _ = segments.unpacked(where, ones, 40)
    for probe, weights in enumerate(held):
        for line in weights:
            assert line.nonzero().ravel().tolist() == sorted(SETS[probe // 2])
    if spare == 0:
        assert where.free is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_probe_is_the_same_alone_and_beside_others(protocol):
    rows, labels = planted()
    dev = planted(seed=1)
    options = {"protocol": protocol, "dev": dev}
    together = fit_probes(rows, labels, columns=SETS, seeds=[3, 7], **options)
    assert together.weights.shape == (2 * len(SETS), 3, 30)
    for number, columns in enumerate(SETS):
        alone = fit_probes(rows, labels, columns=[columns], seeds=[7], **options)
        torch.testing.assert_close(
            alone.weights[0], together.weights[2 * number + 1], atol=1e-5, rtol=0
        )
        assert alone.epoch[0] == together.epoch[2 * number + 1]
        outside = sorted(set(range(30)) - set(columns))
        assert not together.weights[2 * number, :, outside].any()


def plain(rows, labels, columns, seed, protocol):
    """The released loop: one layer, autograd, consecutive batches, the penalties as written."""
    draw, bound = torch.Generator().manual_seed(seed), len(columns) ** -0.5
    numbers = isinstance(labels[0], float)
    layer, rows = nn.Linear(len(columns), 1 if numbers else 3), rows[:, columns]
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=draw)
        layer.bias.uniform_(-bound, bound, generator=draw)
    optimizer, target = torch.optim.Adam(layer.parameters(), lr=1e-3), torch.tensor(labels)
    for _ in range(protocol.epochs):
        for part, wanted in zip(rows.split(128), target.split(128), strict=True):
            out = layer(part)
            loss = (
                nn.MSELoss()(out[:, 0], wanted) if numbers else nn.CrossEntropyLoss()(out, wanted)
            )
            weight = layer.weight
            second = weight.square().sum() if protocol.squared else weight.norm()
            optimizer.zero_grad()
            (loss + protocol.l1 * weight.abs().sum() + protocol.l2 * second).backward()
            optimizer.step()
    return layer


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("numbers", [False, True])
def test_the_official_protocol_is_the_plain_loop(squared, numbers):
    rows, labels = planted()
    labels = [float(label) for label in labels] if numbers else labels
    protocol = replace(PROTOCOLS["official"], squared=squared, l1=1e-3, l2=1e-2)
    found = fit_probes(rows, labels, columns=SETS, protocol=protocol, seeds=[5])
    for number, columns in enumerate(SETS):
        layer = plain(rows, labels, columns, 5, protocol)
        torch.testing.assert_close(
            found.weights[number][:, columns], layer.weight.data, atol=2e-5, rtol=1e-4
        )
        torch.testing.assert_close(found.bias[number], layer.bias.data, atol=2e-5, rtol=1e-4)
        own = layer(rows[:, columns]).detach()
        answers = own[:, 0] if numbers else own.argmax(dim=1)
        torch.testing.assert_close(found.predict(rows)[number], answers, atol=1e-3, rtol=1e-3)


@pytest.fixture(scope="module")
def words(minilm):
    """Vectors of three layers for real words, and their tags."""
    items = corpora.load("pos").train[:120]
    sentences, tags = [words for words, _ in items], [t for _, given in items for t in given]
    kept = [tag if tags.count(tag) > 40 else "other" for tag in tags]
    found = activations.extract(*minilm, sentences, level="word")
    return found.rows[:, [0, 3, 6]].flatten(1), kept


def test_it_reaches_scikit_learns_optimum_on_real_activations(words):
    rows, tags = words
    few, weight = rows[:, 384:448], 1e-2
    protocol = replace(PROTOCOLS["corrected"], epochs=200, l1=weight, l2=weight / 2, best=False)
    found = fit_probes(few, tags, protocol=protocol)
    scaled = ((few - found.centre) / found.scale).double().numpy()
    best = LogisticRegression(
        solver="saga", l1_ratio=0.5, C=1 / (2 * weight * len(tags)), max_iter=3000, tol=1e-5
    ).fit(scaled, tags)
    gold = np.array([found.classes.index(tag) for tag in tags])

    def objective(weights, bias):
        out = torch.from_numpy(scaled @ weights.T + bias)
        loss = nn.functional.cross_entropy(out, torch.from_numpy(gold)).item()
        return loss + weight * np.abs(weights).sum() + weight / 2 * np.square(weights).sum()

    reached = objective(found.weights[0].double().numpy(), found.bias[0].double().numpy())
    assert reached <= objective(best.coef_, best.intercept_) * 1.02


def test_scores_do_not_depend_on_the_scale_of_columns_once_standardised(words):
    rows, tags = words
    scale = torch.logspace(-3, 3, rows.shape[1])
    one, other = (
        fit_probes(table, tags, columns=[range(384)]) for table in (rows, rows * scale + 5)
    )
    assert one.score(rows, tags)[0] == pytest.approx(
        other.score(rows * scale + 5, tags)[0], abs=5e-3
    )
    assert one.score(rows, tags)[0] > 0.5


def test_the_best_epoch_on_dev_is_kept():
    rows, labels = planted(n=60)
    rng = np.random.default_rng(0)
    dev = (planted(n=200, seed=3)[0], rng.integers(0, 3, 200).tolist())  # noise: early is as good
    every = [
        fit_probes(rows, labels, protocol=replace(PROTOCOLS["corrected"], epochs=e)).score(*dev)[0]
        for e in range(1, 11)
    ]
    found = fit_probes(rows, labels, dev=dev)
    assert found.score(*dev)[0] == max(every) and found.epoch[0] == np.argmax(every) + 1


@pytest.mark.parametrize("n", [7, 1200])
def test_columns_are_scaled_by_all_rows(n):
    """The spread is over N, as scikit-learn's scaler has it, not N - 1; picked columns too."""
    rows, labels = planted(n=n)
    before = rows.clone()
    for columns in (None, [[9, 2], [4]]):
        found = fit_probes(rows, labels, columns=columns, classes=[0, 1, 2])
        used = list(range(30)) if columns is None else [2, 4, 9]
        known = StandardScaler().fit(rows.double().numpy())
        np.testing.assert_allclose(found.scale[used], known.scale_[used], rtol=1e-5)
        np.testing.assert_allclose(found.centre[used], known.mean_[used], rtol=1e-4, atol=1e-6)
    assert torch.equal(rows, before)


def test_standardised_rows_give_the_weights_that_standardising_gives():
    rows, labels = planted()
    scaled = (rows - rows.mean(0)) / rows.std(0, correction=0)
    inside = fit_probes(rows, labels, columns=SETS)
    protocol = replace(PROTOCOLS["corrected"], standardise=False)
    outside = fit_probes(scaled, labels, columns=SETS, protocol=protocol)
    torch.testing.assert_close(inside.weights, outside.weights, atol=1e-5, rtol=0)


def test_constant_columns_and_unseen_classes_do_no_harm():
    rows, labels = planted()
    rows[:, 4] = 7.0
    found = fit_probes(rows, labels, classes=[0, 1, 2, 3])
    assert found.weights.isfinite().all() and found.score(rows, labels)[0] > 0.3
    assert found.score(rows[:2], ["new", "new"])[0] == 0
    zero = fit_probes(torch.zeros(20, 3), [0, 1] * 10, protocol="official")
    assert zero.weights.isfinite().all()


def test_numbers_are_scored_by_correlation():
    rows, _ = planted()
    labels = (rows[:, 0] / rows[:, 0].std()).tolist()
    found = fit_probes(rows, labels, columns=[range(6), range(10, 16)], protocol=LONG)
    first, second = found.score(rows, labels)
    assert found.classes == () and first > 0.95 and second < 0.5


LONG = replace(PROTOCOLS["corrected"], epochs=40, learning_rate=0.02)
WRONG = {
    "labels": ({"labels": [0]}, "rows of shape .* do not go with 1 labels"),
    "column": ({"columns": [[0, 99]]}, "set 0 names a column that does not exist; valid: 0 to 29"),
    "twice": ({"columns": [[1], [2, 2]]}, "set 1 of columns is empty or names one twice"),
    "class": ({"classes": [0, 1]}, r"labels \['2'\] are not among the classes: \[0, 1\]"),
    "protocol": ({"protocol": "ours"}, "protocol 'ours' is not known; valid: official, corrected"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_input_is_refused_in_one_sentence(what):
    rows, labels = planted()
    given, sentence = WRONG[what]
    with pytest.raises(BadInput, match=sentence):
        fit_probes(rows, **({"labels": labels} | given))


def test_rows_that_are_not_finite_are_refused():
    rows, labels = planted()
    rows[3, 4] = torch.nan
    with pytest.raises(BadInput, match="rows hold NaN or infinity"):
        fit_probes(rows, labels)


def test_numbers_that_are_not_finite_are_refused():
    rows, labels = planted()
    numbers = np.arange(len(labels), dtype=float)
    numbers[3] = np.nan
    with pytest.raises(BadInput, match="labels hold NaN or infinity"):
        fit_probes(rows, numbers)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_trains_as_the_cpu_does():
    rows, labels = planted()
    here, there = (fit_probes(rows.to(d), labels, columns=SETS) for d in ("cpu", "cuda"))
    torch.testing.assert_close(there.weights.cpu(), here.weights, atol=1e-3, rtol=1e-3)
