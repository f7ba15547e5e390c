"""Tables and figures: drawn from any records, of one model or many, with or without spread."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from lib import BadInput, experiments, figures, profiles, report
from lib.grids import Run

matplotlib.use("Agg")
GENERAL = ("activations", "layer_similarity", "neuron_correlation")
SMALL = {"words": 300, "sentences": 60}


@pytest.fixture(scope="module")
def tables(family_folders, tmp_path_factory):
    """Records of two families, two texts and two seeds, for each page on general redundancy."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("REDUNDANCY_RESULTS", str(tmp_path_factory.mktemp("results")))
        models = [str(family_folders[family]) for family in ("bert", "xlnet")]
        given = {"models": models, "tasks": ["topics", "sst2"], "seeds": [0, 1], **SMALL}
        settings = {name: profiles.get("tiny", name, **given) for name in GENERAL}
        yield {name: (setting, experiments.fill(setting)) for name, setting in settings.items()}


DRAWN = {
    figures.scale_curves: "activations",
    figures.heat_maps: "layer_similarity",
    figures.neighbour_curves: "layer_similarity",
    figures.cluster_curves: "neuron_correlation",
    figures.size_bars: "neuron_correlation",
    lambda table: figures.window_bars(table, 0.3): "neuron_correlation",
}


@pytest.mark.parametrize("draw", DRAWN)
@pytest.mark.parametrize("part", [slice(None), slice(0, 1)], ids=["grid", "one run"])
def test_every_figure_has_names_on_its_axes_and_something_in_them(tables, draw, part):
    figure = draw(tables[DRAWN[draw]][1][part])
    drawn = [axes for axes in figure.axes if axes.has_data()]
    assert drawn
    assert any(axes.get_ylabel() for axes in drawn)
    assert any(axes.get_xlabel() for axes in drawn)
    figure.canvas.draw()


def test_example_lines_stand_over_their_words(tables):
    example = report.example(tables["neuron_correlation"][1])
    figure = figures.example_lines(example)
    for axes, words in zip(figure.axes, example["words"], strict=True):
        assert [label.get_text() for label in axes.get_xticklabels()] == list(words)
        assert len(axes.lines) == len(example["neurons"])


def test_tables_have_a_row_per_text(tables):
    settings, table = tables["activations"]
    assert len(report.text_table(settings, table)) == len(report.padding_table(table)) == 2
    assert report.provenance_table(settings, table)["runs"].sum() == len(table) == 16
    assert report.coverage(settings, table[:3]) == "3 of 16 runs of the grid are in."


def test_shares_are_one_minus_clusters_over_neurons(tables):
    (_, values), *_ = table = tables["neuron_correlation"][1]
    shares = report.shares(table[:1]).set_index("threshold")["redundant"]
    assert shares[0.3] == pytest.approx(1 - values["clusters"]["0.3"] / values["neurons"])
    varying = report.redundant_share(values, without_constant=True)
    assert varying[0.3] >= shares[0.3] - 1e-12


def test_distances_of_a_planted_matrix():
    run = Run("layer_similarity", "m", "pos", "trained", 0)
    cka = np.array([[1, 0.8, 0.2], [0.8, 1, 0.6], [0.2, 0.6, 1]])
    row = report.by_distance([(run, cka)]).iloc[0]
    assert row.to_dict() == pytest.approx(
        {"neighbours": 0.7, "all others": 0.2, "first and last": 0.2}
        | {"highest third": 0.6, "below it": 0.8}
    )
    assert report.by_distance([]).empty
    assert report.verdict(report.by_distance([])["below it"] > 0) == "cannot be tested"


def test_spread_is_over_seeds():
    mean, spread = report.mean_and_spread([{"x": [1, None]}, {"x": [3, 2]}], "x")
    assert mean[0] == 2 and spread[0] == pytest.approx(2**0.5)
    assert np.isnan(mean[1])
    assert report.mean_and_spread([{"x": [1]}], "x")[1] == [0]


@pytest.mark.parametrize(
    "checks,word",
    [
        ([True, True], "agrees"),
        ([True, False], "partly agrees"),
        ([False], "disagrees"),
        ([], "cannot be tested"),
    ],
)
def test_verdicts(checks, word):
    assert report.verdict(pd.Series(checks, dtype=bool)) == word


def test_no_text_of_words_is_a_sentence():
    with pytest.raises(BadInput, match="no text of words"):
        report.example([])
