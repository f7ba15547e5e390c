"""The tables and tests of claims of pages 04 to 06, on planted frames."""

import itertools
from functools import partial

import numpy as np
import pandas as pd
import planted
import pytest

from lib import corpora, probing, records, selection, settings

SIZES = [1, 5, 8, 10, 20]
NEURONS = 100
PENALTIES = (1e-5, 1e-3)


def asked(experiment, **changes):
    return settings.of(experiment, {}, on=probing.READS, **{"seeds": [0, 1, 2], **changes})


def both(scores):
    return {"dev": list(scores), "test": list(scores)}


def ran(page, *tags, **frames):
    names = {"np": np, "pd": pd, "itertools": itertools, "selection": selection}
    names |= {"corpora": corpora, "probing": probing}
    return planted.run(page, *tags, **names, **frames)


# ---- page 04 ------------------------------------------------------------------------------------


def layer_run(
    task="pos", weights="trained", seed=0, *, scores=(0.5, 0.895, 0.9, 0.9), floor=0.5, tested=100
):
    alone = both([0.5, 0.89, 0.8, 0.7])
    low = {"alone": both([0.6] * 4), "together": both([0.6] * 4)}
    return {
        "model": "all-minilm-l6-v2", "task": task, "weights": weights, "seed": seed,
        "alone": alone, "together": both(scores), "control": low if task == "pos" else None,
        "oracle": {"official": {"test": 0.88}, "corrected": {"test": scores[-1]}},
        "floor": floor, "own": None, "layers": 4, "level": "word" if task == "pos" else "sentence",
        "rows": {"train": 100, "dev": 100, "test": tested}, "classes": 3, "missing": [],
    }  # fmt: skip


def page_04(*runs):
    return ran("04_layer_probes", "table", runs=pd.DataFrame(runs), chosen=asked("layer_probes"))


def test_the_lowest_sufficient_layer_is_told_for_each_tolerance():
    found = page_04(layer_run(), layer_run(weights="random", scores=(0.4,) * 4))
    needed = found["needed"].set_index("tolerance")
    assert needed["layer"].to_dict() == {"1 %": 1, "2 %": 1, "3 %": 1}
    assert needed["lost"].tolist() == pytest.approx([0.5] * 3)
    assert needed["spared"].tolist() == pytest.approx([2 / 3] * 3)
    strict = page_04(layer_run(scores=(0.5, 0.89, 0.892, 0.9)))["needed"]
    assert strict["layer"].tolist() == [2, 1, 1]


def test_a_task_that_is_hardly_above_the_floor_is_not_learned():
    found = page_04(layer_run(), layer_run("mrpc", floor=0.86), layer_run("sst2", floor=0.84))
    assert found["learned"].droplevel("model").to_dict() == {
        "pos": True,
        "mrpc": False,
        "sst2": True,
    }


def test_every_task_has_the_sampling_error_of_its_own_test_part():
    """The tasks stand in the order of the page, here not the alphabet's."""
    runs = [
        layer_run(task, weights, tested=tested)
        for task, tested in (("pos", 900), ("mrpc", 100), ("sst2", 3600))
        for weights in ("trained", "random")
    ]
    found = page_04(*runs)["yardsticks"]["sampling error"].droplevel("model")
    assert found.to_dict() == pytest.approx({"pos": 1, "mrpc": 3, "sst2": 0.5})


def test_selectivity_is_accuracy_less_control_on_tagging_tasks_alone():
    found = page_04(layer_run(), layer_run("sst2"))["selective"]
    assert set(found["task"]) == {"pos"}
    assert found["selectivity"].tolist() == pytest.approx([-10, 29, 20, 10])


# ---- page 05 ------------------------------------------------------------------------------------


def ranking(task, seed, penalty, *, first, random=(0.3, 0.4, 0.5, 0.6, 0.7), floor=0.1, whole=0.9):
    return {
        "model": "all-minilm-l6-v2", "task": task, "penalty": penalty, "seed": seed,
        "neurons": NEURONS, "sizes": SIZES, "first": both(first), "random": both(random),
        "last": both([0.1] * 5), "oracle": {"dev": whole, "test": whole}, "floor": floor,
        "tested": 100,
    }  # fmt: skip


def page_05(first, tasks=("pos", "chunk", "sem"), seeds=(0, 1, 2), **changes):
    weak = [0.3, 0.4, 0.5, 0.6, 0.7]
    filled = pd.DataFrame(
        ranking(task, seed, penalty, first=first if penalty == 1e-3 else weak, **changes)
        for task in tasks
        for seed in seeds
        for penalty in PENALTIES
    )
    return page_05_of(filled)


def page_05_of(filled):
    chosen = asked("ranking_penalties", penalties=list(PENALTIES))
    old = filled[filled["penalty"] == min(PENALTIES)].drop(columns="penalty")
    old = old.rename(columns={"first": "top", "last": "bottom"})
    tools = {"product": itertools.product, "starmap": itertools.starmap}
    return ran("05_neuron_rankings", "claim", chosen=chosen, old=old, filled=filled, **tools)


@pytest.mark.parametrize(("first", "word", "removed"), [
    ([0.5, 0.8, 0.9, 0.9, 0.9], "reproduced", 92),  # 8 of 100 are enough
    ([0.5, 0.9, 0.9, 0.9, 0.9], "reproduced", 95),
    ([0.5, 0.8, 0.89, 0.9, 0.9], "not reproduced", 90),  # 0.89 is more than 1 % below 0.9
    ([0.5, 0.6, 0.7, 0.8, 0.8], "not reproduced", 0),  # none is enough
])  # fmt: skip
def test_a2_goes_by_the_smallest_sufficient_set(first, word, removed):
    found = page_05(first)
    assert found["judged"]["verdict"] == word
    chosen = found["removed"].loc["penalty chosen"]
    assert chosen["first"].tolist() == pytest.approx([removed] * 3)
    assert not found["a2"]["random"].any() and not found["a2"].loc["released"].any(axis=None)
    best = found["best"].loc["penalty chosen"]
    assert best.tolist() == [1e-3] * 3  # the penalty whose first neurons are best on dev


def test_a2_says_too_little_with_fewer_tasks_or_seeds_and_nothing_without_learning():
    good = [0.5, 0.9, 0.9, 0.9, 0.9]
    assert page_05(good, tasks=("pos", "chunk"))["judged"]["verdict"] == "too little data"
    assert page_05(good, seeds=(0, 1))["judged"]["verdict"] == "too little data"
    assert page_05(good, floor=0.86)["judged"]["verdict"] == "not testable here"


def test_random_neurons_that_pass_too_are_told_as_chance():
    good = [0.5, 0.9, 0.9, 0.9, 0.9]
    assert page_05(good, random=good)["judged"]["chance"] == "3"
    assert page_05(good)["judged"]["chance"] == "0"


def test_the_first_tenth_is_held_against_its_bound():
    for tenth, holds in ((0.88, True), (0.873, True), (0.8729, False)):
        found = page_05([0.4, 0.5, 0.6, tenth, 0.9])["a3"]["first"]
        assert set(found.loc["penalty chosen"]) == {holds} and not found.loc["released"].any()


def test_a_penalty_whose_seeds_are_not_finished_is_not_compared():
    good, weak = [0.5, 0.9, 0.9, 0.9, 0.9], [0.3, 0.4, 0.5, 0.6, 0.7]
    runs = [
        ranking(task, seed, penalty, first=good if penalty == 1e-3 else weak)
        for task, seed, penalty in itertools.product(("pos", "chunk", "sem"), (0, 1, 2), PENALTIES)
        if (task, seed, penalty) != ("sem", 2, 1e-3)
    ]
    found = page_05_of(pd.DataFrame(runs))
    assert found["best"].loc["penalty chosen"].tolist() == [1e-3, 1e-3, 1e-5]
    assert found["judged"]["verdict"] == "mixed (2 of 3)"


def test_a_task_with_fewer_seeds_is_not_counted():
    good = [0.5, 0.9, 0.9, 0.9, 0.9]
    runs = [
        ranking(task, seed, penalty, first=good)
        for task, seed, penalty in itertools.product(("pos", "chunk", "sem"), (0, 1, 2), PENALTIES)
        if (task, seed) != ("sem", 2)
    ]
    found = page_05_of(pd.DataFrame(runs))
    assert found["judged"]["verdict"] == "too little data"  # two tasks are left
    assert set(found["usable"]["task"]) == {"pos", "chunk"}
    assert set(found["runs"]["task"]) == {"pos", "chunk", "sem"}


# ---- page 06 ------------------------------------------------------------------------------------


def way(layer, left, score):
    at = {"dev": score, "test": score}
    chosen = list(range(left))
    about = {"layer": layer, "selected": 60, "clusters": 40, "chosen": chosen}
    return about | {"layer_score": at, "base": at, "score": at}


def transfer_run(task, seed, *, left=10, score=0.88, floor=0.1):
    return {
        "model": "all-minilm-l6-v2", "task": task, "seed": seed, "neurons": 100, "layers": 7,
        "floor": floor, "oracle": {"dev": 0.9, "test": 0.9}, "tolerances": [2, 10],
        "selected": [4, 2], "tested": 100,
        "ways": [way(2, 5, 0.5), way(2, 3, 0.5), way(4, 30, 0.9), way(4, left, score)],
    }  # fmt: skip


def page_06(*runs, random=()):
    """The claims of page 06; ``random`` is what a random tenth keeps, task by task."""
    planted = {"runs": pd.DataFrame(runs), "random": pd.Series(random, dtype=float)}
    chosen = asked("efficient_transfer", layer_tolerances=[2, 10])
    return ran("06_efficient_transfer", "claim", "table", chosen=chosen, partial=partial, **planted)


CELLS = list(itertools.product(("pos", "chunk", "sem"), (0, 1, 2)))


@pytest.mark.parametrize(("left", "score", "word"), [
    (10, 0.88, "reproduced"), (10, 0.872, "not reproduced"), (11, 0.9, "not reproduced"),
])  # fmt: skip
def test_a3_goes_by_all_three_steps_at_the_narrowest_tolerance(left, score, word):
    found = page_06(*(transfer_run(*cell, left=left, score=score) for cell in CELLS))
    assert found["judged"]["verdict"] == word
    assert found["mean"]["left"].tolist() == [left] * 3
    assert len(found["paths"]) == len(CELLS) * 4
    assert set(found["three"]["read"]) == {100 * 4 / 6}


def test_a_task_that_fails_and_tasks_that_do_not_count():
    runs = [transfer_run(*cell) for cell in CELLS]
    runs += [transfer_run("mrpc", seed, left=50) for seed in (0, 1, 2)]
    assert page_06(*runs)["judged"]["verdict"] == "mixed (3 of 4)"
    runs += [transfer_run("rte", seed, left=50, floor=0.86) for seed in (0, 1, 2)]
    runs += [transfer_run("cola", seed, left=50) for seed in (0, 1, 2)]
    assert page_06(*runs)["judged"]["verdict"] == "mixed (3 of 4)"


def test_random_neurons_that_keep_enough_are_the_chance_of_a3():
    runs = [transfer_run(*cell) for cell in CELLS]
    assert page_06(*runs, random=[97, 98, 96.99, 50])["judged"]["chance"] == "2"
    assert "chance" not in page_06(*runs)["judged"]


def test_the_layout_has_a_row_per_stage_and_a_column_per_task():
    both = page_06(*(transfer_run(*cell) for cell in CELLS))["both"]
    stages = list(both.index.get_level_values("stage").unique())
    assert stages == ["oracle", "layer selector", "clustering", "feature selection"]
    assert both.shape == (8, 3)
    last = both.xs(("feature selection", "neurons"), level=("stage", "measure"))
    assert last.iloc[0].tolist()[0].startswith("10")


# ---- page 16 ------------------------------------------------------------------------------------


DEPTHS = {"bert-mini-12": 13, "distilbert-mini-6": 7}  # layers, with the embeddings; ten wide here


def clustered(model, clusters, dev):
    return {
        "model": model, "task": "pos", "seed": 0, "neurons": 10 * DEPTHS[model], "floor": 0.5,
        "thresholds": [0.1, 0.2, 0.3], "clusters": clusters, "closest": both(dev),
        "oracle": {"dev": 0.9, "test": 0.9},
    }  # fmt: skip


def page_16(*clusters, first=(0.5, 0.9, 0.9, 0.9, 0.9), score=0.88, **layer):
    models = [run["model"] for run in clusters]
    layers = [layer_run(**layer) | {"model": model} for model in models]
    ranked = [ranking("pos", 0, 1e-5, first=first) | {"top": both(first)} for _ in models]
    ranked = [run | {"model": model} for run, model in zip(ranked, models, strict=True)]
    narrowed = [transfer_run("pos", 0, score=score) | {"model": model} for model in models]
    frames = {"layers": layers, "clusters": clusters, "rankings": ranked, "transfers": narrowed}
    frames = {name: pd.DataFrame(list(rows)) for name, rows in frames.items()}
    chosen = asked("twelve_layers", models=list(DEPTHS))
    return ran("16_twelve_layers", "table", "claim", chosen=chosen, **frames)


def deep(clusters=(50, 10, 5), dev=(0.9, 0.9, 0.5)):
    return clustered("bert-mini-12", list(clusters), list(dev))


def flat(clusters=(30, 10, 5), dev=(0.9, 0.88, 0.5)):
    return clustered("distilbert-mini-6", list(clusters), list(dev))


def test_what_is_left_is_counted_in_layers():
    cell = page_16(deep(), flat())["cell"].droplevel("task")
    assert cell["left"].tolist() == pytest.approx([1, 1])
    assert cell["redundant"].tolist() == pytest.approx([100 * 12 / 13, 100 * 6 / 7])
    assert cell["clusters keep"].tolist() == pytest.approx([100, 100 * 0.88 / 0.9])


def test_neurons_of_a_special_token_never_vary_and_are_no_layers_worth():
    run = deep([50, 15, 5]) | {"task": "sst2"}
    found = page_16(run, task="sst2")["clusters"]
    assert found["left"].tolist() == pytest.approx([0.5])
    assert found["redundant"].tolist() == pytest.approx([100 * (1 - 15 / 130)])


def test_a_threshold_counts_only_if_every_lower_one_is_good_enough():
    found = page_16(deep(dev=[0.9, 0.5, 0.9]), flat(dev=[0.5, 0.9, 0.9]))["clusters"]
    assert found["fewest"].tolist() == [50, 70]
    assert found["redundant"].tolist() == pytest.approx([100 * 8 / 13, 0])
    turned = deep([5, 50, 10], [0.5, 0.9, 0.9]) | {"thresholds": [0.3, 0.1, 0.2]}
    assert page_16(turned)["clusters"]["fewest"].tolist() == [10]


def test_claims_are_counted_by_model():
    found = page_16(deep(), flat([30, 12, 5]))["by_model"]
    minis = dict(zip(DEPTHS, ("1 of 1", "0 of 1"), strict=True))
    assert found["A1"].to_dict() == minis
    assert set(found["A2"]) == set(found["A3"]) == {"1 of 1"}
    assert found["A3, one layer"].tolist() == ["1 of 1", "\N{EN DASH}"]  # a seventh is too much
    assert set(found["A2, random"]) == set(found["A3, random"]) == {"0 of 1"}
    strict = page_16(deep(), first=[0.5, 0.6, 0.7, 0.8, 0.8], score=0.87)["by_model"]
    assert set(strict["A2"]) == set(strict["A3"]) == {"0 of 1"}


def many(run, tasks, seeds):
    return [run | {"task": t, "seed": seed} for t, seed in itertools.product(tasks, seeds)]


@pytest.mark.parametrize(("tasks", "seeds", "words"), [
    (("pos", "chunk", "sem"), (0, 1, 2), {"A1": "reproduced", "A2": "reproduced"}),
    (("pos", "chunk"), (0, 1, 2), {"A1": "too little data", "A2": "too little data"}),
    (("pos", "chunk", "sem"), (0, 1), {"A1": "too little data", "A2": "too little data"}),
])  # fmt: skip
def test_models_of_twelve_blocks_give_a_verdict_where_they_are_enough(tasks, seeds, words):
    layers = many(layer_run() | {"model": "bert-mini-12"}, tasks, seeds)
    first = [0.5, 0.9, 0.9, 0.9, 0.9]
    ranked = ranking("pos", 0, 1e-5, first=first) | {"top": both(first), "model": "bert-mini-12"}
    narrowed = transfer_run("pos", 0) | {"model": "bert-mini-12"}
    frames = {"layers": layers, "clusters": many(deep(), tasks, seeds)}
    frames |= {"rankings": many(ranked, tasks, seeds), "transfers": many(narrowed, tasks, seeds)}
    frames = {name: pd.DataFrame(rows) for name, rows in frames.items()}
    found = ran("16_twelve_layers", "table", "claim", chosen=asked("twelve_layers"), **frames)
    judged = found["judged"].set_index(found["judged"]["claim"].str.removesuffix("-twelve"))
    assert judged["verdict"][list(words)].to_dict() == words
    assert judged["chance"]["A2"] == "0"


def row(claim, verdict, cells):
    return {"claim": claim, "verdict": verdict, "cells": cells, "measured": f"{cells} found"}


def test_the_scoreboard_prefers_models_of_twelve_layers_where_they_are_enough(monkeypatch):
    rows = [row("A1", "mixed (4 of 7)", "4 of 7"), row("A1-twelve", "reproduced", "9 of 9")]
    rows += [row("A2", "mixed (1 of 4)", "1 of 4"), row("A2-twelve", "too little data", "0 of 2")]
    rows += [row("B1", "not reproduced", "0 of 1")]
    monkeypatch.setattr(records, "verdicts", lambda *asked: pd.DataFrame(rows))
    found = planted.run("00_scoreboard", "verdicts")["verdicts"]("small")
    assert list(found) == ["A1", "A2", "B1"]
    assert found["A1"]["verdict"] == "reproduced" and found["A2"]["verdict"] == "mixed (1 of 4)"
    aside = "Not counted: holds in {} cells of other models"
    assert found["A1"]["measured"] == f"9 of 9 found. {aside.format('4 of 7')}"
    assert found["A2"]["measured"] == f"1 of 4 found. {aside.format('0 of 2')}"


def test_random_neurons_are_as_many_as_the_steps_left():
    found = page_16(deep())["cell"]
    assert found["steps left"].tolist() == [10]
    assert found["as many keep"].tolist() == pytest.approx([100 * 0.6 / 0.9])  # ten of them
    assert found[["LS", "CC", "FS"]].sum(axis=1).tolist() == pytest.approx([100 - 100 * 0.88 / 0.9])


def test_cells_that_are_not_learned_or_not_finished_do_not_count():
    assert page_16(deep(), floor=0.86)["counted"].empty
    assert page_16(deep(), task="cola")["counted"].empty
    assert len(page_16(deep(), flat())["counted"]) == 2


@pytest.mark.parametrize(("left", "word"), [(10, "passes"), (12, "fails")])
def test_depth_explains_redundancy_where_a_student_leaves_as_many_neurons(left, word):
    found = page_16(deep(), flat([30, left, 5]))["pairs"]
    assert found["as many left"].tolist() == [word]
    assert page_16(flat())["pairs"].empty
