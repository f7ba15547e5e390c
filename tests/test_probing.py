"""Pages on task-specific redundancy: laws on planted rows, and runs on small models."""

import dataclasses

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch

from lib import corpora, experiments, finetune, general, profiles
from lib import old_records as records
from lib.grids import Run
from lib.probing import figures, report, rows, sets, steps, thresholds
from lib.probing.clusters import WAYS, clusters, correlation
from lib.probing.control import control_labels
from lib.probing.layers import layer_sets, layers
from lib.probing.rankings import orders, rankings
from lib.probing.rows import PARTS, Labelled
from lib.probing.transfer import transfer

matplotlib.use("Agg")
SMALL = {"probed_words": 250, "examples": 16, "epochs": 1, "seeds": [0, 1]}
L, H, PLANTED = 4, 6, 2


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(tmp_path))


@pytest.fixture
def short(monkeypatch):
    """Tasks of a few generated sentences, forgotten afterwards."""
    general.load_task.cache_clear()
    monkeypatch.setattr(
        corpora, "EMBEDDED_SIZES", dict.fromkeys(corpora.EMBEDDED_SIZES, (80, 40, 40))
    )
    yield
    general.load_task.cache_clear()


def asked(experiment="layer_probes", **overrides):
    return profiles.get("tiny", experiment, **{**SMALL, **overrides})


def table_of(rows_of, words, labels):
    """Hand-made rows of a tagging task, all three parts of the same size."""
    items = {part: [(words[part], labels[part])] for part in PARTS}
    known = tuple(sorted({label for part in labels.values() for label in part}))
    task = corpora.Task("pos", "POS", "tagging", "accuracy", known, "planted", "0", {}, **items)
    return Labelled(task, rows_of, labels, words, L, None, general.Counter())


def planted(seed=0, n=3000):
    """Rows of noise, but for one layer that holds the label."""
    draw = np.random.default_rng(seed)
    labels = {part: draw.integers(3, size=n) for part in PARTS}
    found = {part: draw.normal(size=(n, L * H)).astype("float32") for part in PARTS}
    for part, label in labels.items():
        found[part][np.arange(n), PLANTED * H + label] += 6
    named = {part: [f"t{label}" for label in those] for part, those in labels.items()}
    words = {part: [f"w{i}" for i in draw.integers(200, size=n)] for part in PARTS}
    return table_of({part: torch.from_numpy(x) for part, x in found.items()}, words, named)


def run(setting="trained", seed=0):
    return Run("layer_probes", "all-minilm-l6-v2", "pos", setting, seed)


def test_a_label_in_one_layer_is_found_in_that_layer():
    probes, values = layers(asked(seeds=[0]), planted())
    for found in values:
        assert int(np.argmax(found["alone"]["dev"])) == PLANTED
        scores = found["together"]["test"]
        assert max(scores[:PLANTED]) < 0.5 and min(scores[PLANTED:]) > 0.9
    needed = report.needed([(run(), found) for found in values])
    assert set(needed["layer"]) == {PLANTED} and set(needed["tolerance"]) == {1, 2, 3}
    ranked = rankings(asked(seeds=[0]), planted(), probes.weights[-1:])
    for found in ranked:
        first = found["sizes"].index(2)
        assert found["by_layer"][first][PLANTED] == 2
        assert found["top"]["test"][-1] > 0.9


def test_sets_of_layers_are_nested_and_end_with_all():
    alone, together = np.split(np.array(layer_sets(planted()), dtype=object), 2)
    assert [len(columns) for columns in alone] == [H] * L
    assert [list(columns) for columns in together] == [list(range(H * i)) for i in range(1, L + 1)]


def test_orders_hold_every_neuron_once_and_bottom_is_top_turned_round():
    weights = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    for protocol in ("official", "corrected"):
        found = orders(weights, protocol, seed=1)
        assert all(sorted(order) == list(range(40)) for order in found.values())
        np.testing.assert_array_equal(found["top"], found["bottom"][::-1])
    assert list(found["random"]) != list(orders(weights, protocol, seed=2)["random"])


def test_control_labels_are_a_function_of_the_word():
    data = planted()
    found = control_labels(data.words, data.labels["train"], seed=3)
    label = {}
    for part in PARTS:
        assert len(found[part]) == len(data.words[part])
        for word, drawn in zip(data.words[part], found[part], strict=True):
            assert label.setdefault(word, drawn) == drawn
    assert set(label.values()) == set(data.labels["train"])
    assert found == control_labels(data.words, data.labels["train"], seed=3)
    assert found != control_labels(data.words, data.labels["train"], seed=4)


def test_what_is_known_by_heart_is_not_selective():
    """Rows and labels that depend on the word alone: the control task is just as easy."""
    draw = np.random.default_rng(0)
    vector, label = draw.normal(size=(12, L * H)).astype("float32"), draw.integers(3, size=12)
    number = {part: draw.integers(12, size=3000) for part in PARTS}
    words = {part: [f"w{i}" for i in those] for part, those in number.items()}
    labels = {part: [f"t{label[i]}" for i in those] for part, those in number.items()}
    data = table_of({p: torch.from_numpy(vector[i]) for p, i in number.items()}, words, labels)
    _, values = layers(asked(), data)
    assert values[0]["floor"] == 1
    assert values[0]["together"]["test"][-1] - values[0]["control"]["together"]["test"][-1] < 0.02
    _, values = layers(asked(), planted())
    found = report.selectivity([(run(), values[0])])
    assert found["selectivity"].idxmax() == PLANTED and found["selectivity"].max() > 40


def copied(seed=0):
    """The planted layer, and each of its neurons again in the layer above, hardly changed."""
    data = planted(seed)
    draw = torch.Generator().manual_seed(seed)
    for part in PARTS:
        own = data.rows[part][:, PLANTED * H : (PLANTED + 1) * H]
        data.rows[part][:, (PLANTED + 1) * H :] = own + 0.01 * torch.randn(
            own.shape, generator=draw
        )
    return data


def test_copies_are_one_cluster_and_cost_no_accuracy():
    data = copied()
    related = correlation(data)
    (found,) = clusters(asked(seeds=[0], thresholds=[0.01, 0.05]), data, related)
    assert found["clusters"] == [L * H - H] * 2 and found["neurons"] == L * H
    for way in WAYS:
        assert min(found[way]["test"]) > 0.8
    alone = torch.from_numpy(np.corrcoef(data.rows["train"].numpy().T))
    torch.testing.assert_close(related, alone, atol=1e-5, rtol=0)


def test_transfer_stops_at_the_planted_layer_and_keeps_its_neurons():
    """Layers above go, and of what is left the neurons that hold the label come first."""
    data, settings = copied(), asked("efficient_transfer", seeds=[0], layer_tolerances=[1, 3])
    data.passes.update({1: [1.0], 2: [2.0], 3: [4.0]})
    probes, values = layers(settings, data)
    (found,) = transfer(settings, data, probes, values, correlation(data))
    assert found["selected"] == [PLANTED] * 2 and len(found["ways"]) == 2
    plain, clustered = found["ways"]
    for way in (plain, clustered):
        assert way["selected"] == (PLANTED + 1) * H >= way["clusters"] >= len(way["chosen"])
        assert set(way["chosen"][:3]) <= set(range(PLANTED * H, PLANTED * H + 3))
        assert way["score"]["test"] > 0.9
    assert plain["base"] == plain["layer_score"]
    oracle = {p: float(s[-1]) for p, s in values[0]["together"].items()}
    table = [(run(), found | {"oracle": oracle, "floor": values[0]["floor"]})]
    left = steps.narrowed(table)
    assert list(left["clusters"]) == [False, True] * 2 and set(left["pass"]) == {0.5}
    assert [n[0] for n in left["neurons"]] == [L * H] * 4
    assert list(left["left"]) == [len(way["chosen"]) / (L * H) for way in (plain, clustered)] * 2


def test_without_tolerance_nothing_but_the_best_is_enough():
    data, settings = planted(), asked("efficient_transfer", seeds=[0], layer_tolerances=[99])
    probes, values = layers(settings, data)
    (found,) = transfer(settings, data, probes, values, correlation(data))
    assert found["selected"] == [0]  # 99 per cent may be lost
    for way in found["ways"]:
        assert max(way["chosen"]) < H


@pytest.mark.parametrize(("kept", "left", "expected"), [
    (0.97, 0.10, "agrees"), (0.96, 0.05, "disagrees"), (0.99, 0.11, "disagrees"),
])  # fmt: skip
def test_what_is_left_is_held_against_the_claim(kept, left, expected):
    cell = {"model": "m", "task": "pos", "seed": 0, "clusters": True, "able": True}
    found = [cell | {"tolerance": 1, "kept": kept, "left": left}]
    found += [cell | {"tolerance": 3, "kept": 1.0, "left": 0.01}]
    judged = steps.claims(pd.DataFrame(found))
    assert list(judged["verdict"]) == [expected]
    found += [found[0] | {"task": "sst2", "kept": 0.5}, found[0] | {"task": "rte", "able": False}]
    partly = "partly agrees" if expected == "agrees" else "disagrees"
    assert list(steps.claims(pd.DataFrame(found))["verdict"]) == [partly]


def test_the_highest_threshold_that_is_enough_is_held_against_the_claim():
    values = {"thresholds": [0.1, 0.5, 0.9], "clusters": [90, 40, 10], "neurons": 100}
    scores = {part: [0.9, 0.88, 0.5] for part in ("dev", "test")}
    values |= {"closest": scores, "drawn": {p: [s - 0.1 for s in v] for p, v in scores.items()}}
    values |= {"oracle": {"dev": 0.9, "test": 0.9}, "floor": 0.3}
    found = thresholds.accuracy([(run(), values)])
    assert list(found["enough"]) == [True, True, False]
    np.testing.assert_allclose(found["apart"], 10)
    assert list(thresholds.highest(found)["threshold"]) == [0.5]
    assert list(thresholds.claims(found)["verdict"]) == ["disagrees"]
    enough = thresholds.accuracy([(run(), values | {"clusters": [90, 15, 10]})])
    assert list(thresholds.claims(enough)["verdict"]) == ["agrees"]
    hard = thresholds.accuracy([(run(), values | {"floor": 0.87})])
    assert list(thresholds.claims(hard)["verdict"]) == ["cannot be tested"]


def test_one_computation_serves_every_seed_and_all_pages(family_folders, short, monkeypatch):
    settings = asked(models=[str(family_folders["bert"])])
    table = experiments.fill(settings)
    assert [r for r, _ in table] == settings.runs()
    assert sum(records.made_by(settings, r)["seconds"] > 0 for r, _ in table) == 4
    for r, values in table:
        assert len(values["alone"]["dev"]) == len(values["together"]["test"]) == 4
        assert values["alone"]["dev"][0] == values["together"]["dev"][0]
        oracle = values["oracle"]["corrected"]["test"]
        assert oracle == pytest.approx(values["together"]["test"][-1], abs=0.02)
        assert (values["control"] is None) == (r.task == "sst2") == (values["level"] != "word")
        assert (values["own"] is None) == (r.task == "pos" or r.setting == "random")
    monkeypatch.setattr(rows, "labelled", None)
    ranked = experiments.fill(asked("neuron_rankings", models=settings.models))
    assert {r.setting for r, _ in ranked} == {"trained"} and len(ranked) == 4
    for _, values in ranked:
        assert [sum(line) for line in values["by_layer"]] == values["sizes"]
    for part in (ranked, ranked[:1]):
        found = sets.smallest(part)
        assert len(sets.smallest_table(found)) and list(sets.claims(found).index) == ["A2", "A3"]
        figures.size_curves(part).canvas.draw()
        figures.place_bars(found).canvas.draw()
        figures.overlap_maps(sets.overlaps(part), sets.chance()).canvas.draw()
    narrow = experiments.fill(asked("efficient_transfer", models=settings.models))
    tried = experiments.fill(asked("clustered_probes", models=settings.models))
    for r, values in narrow:
        assert set(values["seconds"]["passes"]) == {"1", "2", "3"}
        assert len(values["seconds"]["trainings"]) == 1 + len(values["ways"])
        assert all(sum(way["sizes"]) >= len(way["chosen"]) for way in values["ways"]), r
    for part in (slice(None), slice(1)):
        found = steps.narrowed(narrow[part])
        assert len(steps.steps_table(found)) == len(steps.savings_table(found))
        figures.narrowing(found, 1).canvas.draw()
        found = thresholds.accuracy(tried[part])
        assert len(thresholds.threshold_table(found))
        figures.threshold_curves(found).canvas.draw()
    for part in (table, table[:3]):
        figures.layer_curves(part).canvas.draw()
        figures.selectivity_curves(report.selectivity(part)).canvas.draw()
        assert len(report.needed_table(report.needed(part))) and len(report.protocols_table(part))
        assert len(report.floors_table(part)) and len(report.rows_table(part))


def test_words_are_cut_and_sentences_are_tuned_on(family_folders, short, monkeypatch):
    settings = asked(models=[str(family_folders["xlnet"])])
    data = rows.labelled(settings, settings.runs()[0])
    assert all(0 < len(data.rows[part]) <= 250 for part in PARTS)
    assert all(len(data.rows[p]) == len(data.labels[p]) == len(data.words[p]) for p in PARTS)
    seen, train = [], finetune.train
    monkeypatch.setattr(
        finetune, "train", lambda *a, **k: seen.append(k["recipe"].parts) or train(*a, **k)
    )
    sentence = dataclasses.replace(settings.runs()[0], task="sst2")
    for protocol in ("corrected", "official"):
        data = rows.labelled(dataclasses.replace(settings, protocol=protocol), sentence)
    assert seen == [("train",), ("train", "dev")]  # P4: dev is held out, or not
    assert data.rows["train"].shape == (16, 4 * 24) and not data.words["train"]
    rows.labelled(settings, dataclasses.replace(sentence, setting="random"))
    assert len(seen) == 2


def ranking(task="pos", seed=0, *, enough=10, floor=0.5, order=()):
    """Record of a ranking of 100 neurons in 4 layers, of which so many are enough."""
    grid = [1, 5, 10, 20, 50]
    scores = {p: [0.95 if size >= enough else 0.6 for size in grid] for p in ("dev", "test")}
    values = {"neurons": 100, "layers": 4, "sizes": grid, "top": scores, "order": list(order)}
    values |= {"by_layer": [[size, 0, 0, 0] for size in grid], "floor": floor}
    cell = Run("neuron_rankings", "all-minilm-l6-v2", task, "trained", seed)
    return cell, values | {"oracle": {"dev": 0.95, "test": 0.95}}


@pytest.mark.parametrize(("enough", "size", "a2", "a3"), [
    (5, 5, "agrees", "agrees"),
    (10, 10, "disagrees", "agrees"),
    (20, 20, "disagrees", "disagrees"),
    (99, 100, "disagrees", "disagrees"),
])  # fmt: skip
def test_the_smallest_set_is_held_against_the_claims(enough, size, a2, a3):
    found = sets.smallest([ranking(enough=enough)])
    assert list(found["size"]) == [size] and sum(found["by_layer"][0]) == size
    assert list(sets.claims(found)["verdict"]) == [a2, a3]
    both = sets.smallest([ranking(enough=5), ranking("sst2", enough=99)])
    assert set(sets.claims(both)["verdict"]) == {"partly agrees"}


@pytest.mark.parametrize("floor", [0.96, 0.92])
def test_a_task_whose_oracle_is_not_clearly_above_the_floor_proves_nothing(floor):
    found = sets.smallest([ranking(enough=5, floor=floor)])
    assert set(sets.claims(found)["verdict"]) == {"cannot be tested"}


def test_overlap_compares_other_seeds_and_by_chance_is_what_draws_give():
    table = [
        ranking(t, s, order=range(10 * s, 10 * s + 10)) for t in ("pos", "rte") for s in (0, 1)
    ]
    assert set(sets.overlaps(table)["jaccard"]) == {0.0} and len(sets.overlaps(table)) == 4
    same = [(cell, values | {"order": [1, 2, 3]}) for cell, values in table]
    assert set(sets.overlaps(same)["jaccard"]) == {1.0}
    draw = np.random.default_rng(0)
    pairs = [[draw.permutation(1000)[:100] for _ in range(2)] for _ in range(300)]
    mean = np.mean([sets.jaccard(*pair) for pair in pairs])
    assert mean == pytest.approx(sets.chance(), abs=0.003)


def test_numbers_pairs_and_other_scores_go_through(family_folders, short):
    given = {"models": [str(family_folders["distilbert"])], "weights": ["trained"], "seeds": [0]}
    table = experiments.fill(asked(**given, probed=["stsb", "mrpc", "cola"]))
    for cell, values in table:
        scores = np.array([values["alone"]["test"], values["together"]["test"]])
        assert scores.shape == (2, 4) and np.abs(scores).max() <= 1, cell
    assert [values["classes"] for _, values in table] == [0, 2, 2]
    figures.layer_curves(table).canvas.draw()
    figures.selectivity_curves(report.selectivity(table)).canvas.draw()
    assert len(report.rows_table(table)) == 3
    with pytest.raises(profiles.BadInput, match="task 'topics' is not known; valid: pos"):
        asked(probed=["topics"])
