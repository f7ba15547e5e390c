"""Tables, claims and figures of the pages on dropping blocks, from planted records."""

import matplotlib
import numpy as np
import pytest

from lib import BadInput, experiments, profiles
from lib.dropped import claims, figures, report
from lib.grids import WHOLE

matplotlib.use("Agg")
COST = {"top": 1, "odd": 2, "even": 2, "symmetric": 2, "contribution": 2, "bottom": 4}


def settings(**overrides):
    given = {"tuned_on": ["rte", "mrpc"], "restarts": [0, 1], **overrides}
    return profiles.get("small", "dropping", **given)


def planted(grid, cost=COST, *, constant=0.5, whole=0.9, robust=1.0):
    """A record per run: every block dropped costs as many points as the strategy says."""
    table = []
    for run in grid.runs():
        strategy, k = (run.setting + " 0").split()[:2] if run.setting != WHOLE else ("top", 0)
        points = cost[strategy] * int(k) * (robust if run.task in claims.ROBUST else 1.0)
        score = whole + 0.001 * run.seed - points / 100
        table.append((run, {"score": score, "constant": constant}))
    return table


def test_losses_are_points_lost_against_the_whole_model_of_the_same_seed():
    found = report.losses(planted(settings()))
    for _, row in found.iterrows():
        expected = 0 if row["strategy"] == WHOLE else COST[row["strategy"]] * row["k"]
        assert row["loss"] == pytest.approx(expected, abs=1e-9)
    assert set(found["seed"]) == {0, 1}


def test_a_run_without_its_whole_model_is_left_out():
    grid = settings()
    table = [entry for entry in planted(grid) if entry[0].setting != WHOLE or entry[0].seed == 0]
    assert set(report.losses(table)["seed"]) == {0}


def test_averages_use_only_seeds_and_tasks_whose_cuts_are_all_in():
    grid = settings()
    table = [e for e in planted(grid) if (e[0].task, e[0].seed) != ("rte", 1)]
    table = [e for e in table if (e[0].task, e[0].setting) != ("mrpc", "bottom 3")]
    left = report.complete(report.losses(table), grid.cuts)
    assert set(zip(left["task"], left["seed"], strict=True)) == {("rte", 0)}
    mean = report.by_strategy(left)
    assert mean.loc[("all-minilm-l6-v2", "bottom"), 3] == pytest.approx(12)
    told = report.grid_table(grid, report.losses(table))
    assert list(told["runs in"]) == ["21 of 42", "40 of 42"]
    assert "–" in report.by_task(grid, report.losses([]))["RTE"].to_list()


def test_planted_order_of_strategies_is_found():
    found = report.losses(planted(settings()))
    judged = claims.of_grid(found)
    assert judged.loc["B3", "verdict"] == judged.loc["B6", "verdict"] == "agrees"
    turned = {**COST, "top": 4, "bottom": 1}
    judged = claims.of_grid(report.losses(planted(settings(), turned)))
    assert judged.loc["B3", "verdict"] == judged.loc["B6", "verdict"] == "disagrees"


@pytest.mark.parametrize(("robust", "verdict"), [(0.5, "agrees"), (2.0, "disagrees")])
def test_paraphrase_beside_the_other_tasks(robust, verdict):
    found = report.losses(planted(settings(), robust=robust))
    assert claims.of_grid(found).loc["B4", "verdict"] == verdict
    alone = report.losses(planted(settings(tuned_on=["rte"])))
    assert claims.of_grid(alone).loc["B4", "verdict"] == "cannot be tested"


@pytest.mark.parametrize(("points", "b1", "b7", "b8"), [
    (0.5, "agrees", "agrees", "agrees"),
    (1.05, "disagrees", "agrees", "disagrees"),
    (3, "disagrees", "disagrees", "disagrees"),
])  # fmt: skip
def test_claimed_shares_and_losses_are_thresholds(points, b1, b7, b8):
    found = report.losses(planted(settings(), dict.fromkeys(COST, points)))
    assert claims.of_grid(found).loc["B1", "verdict"] == b1
    assert list(claims.of_depth(found)["verdict"]) == ["cannot be tested", b7, b8]


@pytest.mark.parametrize(("points", "verdict"), [(1.0, "disagrees"), (2.0, "agrees")])
def test_a_bert_is_held_against_an_xlnet(points, verdict):
    found = []
    for model, lost in (("bert-base-cased", 1.0), ("xlnet-base-cased", points)):
        found += planted(settings(models=[model]), dict.fromkeys(COST, lost))
    assert claims.of_depth(report.losses(found)).loc["B5", "verdict"] == verdict
    found += planted(settings(), dict.fromkeys(COST, 9.0))  # a BERT of half the depth
    assert claims.of_depth(report.losses(found)).loc["B5", "verdict"] == verdict


def test_a_task_that_was_not_learned_proves_nothing():
    found = report.losses(planted(settings(), constant=0.88))
    assert set(claims.of_grid(found)["verdict"]) == {"cannot be tested"}
    assert set(claims.of_grid(found.iloc[:0])["verdict"]) == {"cannot be tested"}
    assert report.able(found).empty
    spare = report.can_go(report.able(found), (1, 2))
    assert report.spared(spare) == (
        "No model of this page learned its task, so none has blocks to spare."
    )


def test_a_task_counts_for_the_models_that_learned_it():
    first, second = "bert-base-cased", "xlnet-base-cased"
    table = planted(settings(models=[first])) + planted(settings(models=[second]), constant=0.88)
    found = report.losses(table)
    assert set(report.able(found)["model"]) == {first}
    assert report.learned(found)[first].all() and not report.learned(found)[second].any()
    assert report.able(found, found.iloc[::-1]).equals(found[found["model"] == first].iloc[::-1])


def test_blocks_to_spare_end_before_the_first_loss_that_is_too_large():
    grid = settings(tuned_on=["rte"], restarts=[0])
    lost = {0: 0, 1: 0.5, 2: 2.5, 3: 0.9, 4: 9, 5: 9}
    table = [
        (run, {"score": 0.9 - lost[k] / 100, "constant": 0.5})
        for run in grid.runs()
        for k in [0 if run.setting == WHOLE else int(run.setting.split()[1])]
        if run.setting.split()[0] in (WHOLE, "top")
    ]
    spare = report.can_go(report.losses(table), (0.1, 1, 3))
    assert spare.iloc[0].to_list() == [0, 1, 3]
    assert report.spared(spare) == (
        "On RTE, so many blocks of all-MiniLM-L6-v2 can go: 0 for 0.1 points, 1 for 1 point, "
        "3 for 3 points."
    )


def test_the_picture_shows_what_the_strategies_keep():
    kept = report.kept_table(6, (1, 2, 3), [0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    assert kept.loc[("contribution", 2)].to_list() == [False, False, True, True, True, True]
    assert len(kept) == 18
    figure = figures.kept_blocks(kept)
    assert len(figure.axes[0].patches) == 18 * 6
    filled = sum(patch.get_fill() for patch in figure.axes[0].patches)
    assert filled == int(kept.to_numpy().sum())


@pytest.mark.parametrize("part", [slice(None), slice(0, 5), slice(0, 0)], ids=str)
def test_every_figure_draws_whatever_part_of_the_grid_is_in(part):
    grid = settings()
    found = report.losses(planted(grid)[part])
    drawn = [
        figures.strategy_curves(report.by_strategy(report.complete(found, grid.cuts))),
        figures.top_curves(found),
        figures.loss_map(found, grid.models[0]),
    ]
    for figure in drawn:
        figure.canvas.draw()
        assert figure.axes


def test_similarity_is_drawn_and_ordered(family_folders, tmp_path, monkeypatch):
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(tmp_path))
    folders = [str(family_folders[name]) for name in ("bert", "xlnet")]
    given = {"models": folders, "tuned_on": ["sst2", "mrpc"], "examples": 20}
    table = experiments.fill(profiles.get("tiny", "strategies", **given))
    found, order = report.similarity_table(table), report.ladder(table)
    assert found.shape == (8, 3) and order.shape == (4, 3)
    for name, blocks in order.iterrows():
        similar = found.loc[(*name, "trained")].to_numpy()
        assert list(blocks) == list(np.argsort(-similar, kind="stable"))
    figures.similarity_curves(found).canvas.draw()


def test_without_computing_missing_records_are_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(tmp_path))
    with pytest.raises(BadInput, match=r"no run of 'dropping' has a record.*make records"):
        experiments.fill(settings(compute=False))
    assert list(tmp_path.iterdir()) == []
