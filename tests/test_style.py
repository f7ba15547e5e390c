"""Verdict words, tables, colours: laws of what every page shows the same way."""

import html
import itertools
import re
import shlex

import numpy as np
import pandas as pd
import papermill.cli
import pytest

from lib import settings, style

OF_THE_PAPERS = list(style.corpora.TASKS)[: list(style.corpora.TASKS).index("rte") + 1]


def test_a_verdict_follows_the_claim_s_own_quantifier():
    assert style.verdict([]) == "not testable here"
    assert style.verdict([True] * 3) == "reproduced"
    assert style.verdict([False] * 3) == "not reproduced"
    assert style.verdict([True, False, True]) == "mixed (2 of 3)"
    assert style.verdict([True, False, True], every=True) == "not reproduced"


@pytest.mark.parametrize(("tasks", "seeds"), [*itertools.product((1, 2, 3), repeat=2)])
def test_averages_need_three_tasks_and_three_seeds(tasks, seeds):
    told = style.verdict([True], tasks=tasks, seeds=seeds)
    assert (told == "reproduced") == (tasks == seeds == 3)
    assert told in ("reproduced", "too little data")


@pytest.mark.parametrize("page", [
    {"penalties": [1e-5, 3e-4], "use_records": False}, {"models": None, "epochs": 2, "seeds": [0]},
])  # fmt: skip
def test_the_line_that_runs_a_page_again_is_taken_by_papermill(page):
    cells = ["pass", "# Parameters\n" + "\n".join(f"{name} = 0" for name in page)]
    first = settings.of("ranking_penalties", page | {"In": cells})
    words = shlex.split(html.unescape(style.rerun(first, "05").data.removesuffix("</pre>")))[3:]
    told = {}
    for flag, name, value in zip(words[::3], words[1::3], words[2::3], strict=True):
        assert flag == "-p"
        told[name] = papermill.cli._resolve_type(value)
    again = settings.of("ranking_penalties", told)
    assert [getattr(again, name) for name in page] == [getattr(first, name) for name in page]


def test_models_that_are_not_in_the_table_look_different_from_those_beside_them():
    for names in (["mine", "all-MiniLM-L6-v2"], ["all-MiniLM-L6-v2", "mine", "BERT-base", "other"]):
        looks = list(zip(style.palette(names).values(), style.markers(names).values(), strict=True))
        assert len(set(looks)) == len(names)


def test_the_line_that_runs_a_page_again_holds_what_was_chosen():
    told = style.rerun(settings.of("dropping", {}), "08_dropping").data
    assert told == "<pre>papermill notebooks/08_dropping.ipynb out.ipynb</pre>"
    page = {"profile": "small", "models": ["bert-mini-12"], "epochs": 2, "compute": False}
    told = style.rerun(settings.of("dropping", page), "08_dropping").data
    for words in ("-p profile small", "-p epochs 2", "-p models &#x27;[&quot;bert-mini-12&quot;]"):
        assert words in told
    assert "compute" not in told
    cells = ["tuned = [1]", "# Parameters\ntuned = ['top']\n"]  # of a page alone
    told = style.rerun(settings.of("words", {"In": cells, "tuned": ["top"]}), "a2").data
    assert "-p tuned &#x27;[&quot;top&quot;]&#x27;" in told


def test_a_strategy_keeps_its_look_whoever_stands_next_to_it():
    few, many = style.palette(["top", "odd"]), style.palette(["bottom", "odd", "even", "top"])
    assert few["top"] == many["top"] and few["odd"] == many["odd"] != few["top"]
    assert style.palette(["pos"])["pos"] == style.palette(["POS tagging"])["POS tagging"]


@pytest.mark.parametrize(
    "names", [[*style.STRATEGIES, "whole"], style.encoders.MODELS, OF_THE_PAPERS]
)
def test_what_stands_in_one_figure_has_colours_of_its_own(names):
    assert len(set(style.palette(names).values())) == len(names)


def test_names_that_share_a_colour_differ_in_their_marker():
    colours, marks = style.palette(style.corpora.TASKS), style.markers(style.corpora.TASKS)
    looks = {(colours[name], marks[name]) for name in style.corpora.TASKS}
    assert len(looks) == len(style.corpora.TASKS)


def test_a_table_has_a_caption_scopes_and_one_mark_for_what_is_missing():
    frame = pd.DataFrame({"x": [1.25, np.nan], "verdict": ["reproduced", "mixed (1 of 2)"]})
    html = style.table(frame, "What it shows.").data
    assert "<caption>What it shows.</caption>" in html
    assert html.count("<th ") == html.count("scope=")
    assert "<th>" not in html and "NaN" not in html and style.MISSING in html
    assert 'class="verdict reproduced"' in html and 'class="verdict mixed"' in html


def test_a_table_has_one_row_of_headers_and_marks_what_passes():
    index = pd.MultiIndex.from_tuples([("m", "x"), ("n", "y")], names=["model", "task"])
    frame = pd.DataFrame({"A1": ["passes", "12.0 (fails)"], "which": "passes on one"}, index)
    head, body = style.table(frame).data.split("<tbody>")
    assert head.count("<tr") == 1
    assert re.findall(r"<th [^>]*>([^<]*)<", head) == ["model", "task", "A1", "which"]
    assert body.count('class="verdict passes"') == body.count('class="verdict fails"') == 1


def test_a_single_model_is_named_once_and_a_test_comes_first():
    index = pd.MultiIndex.from_tuples([("m", "x"), ("m", "y")], names=["model", "task"])
    frame = pd.DataFrame({"score": [1.0, 2.0], "A1": ["passes", "fails"]}, index)
    html = style.table(frame, "Scores.").data
    assert re.findall(r"<th [^>]*>([^<]*)<", html)[:3] == ["task", "A1", "score"]
    assert "<caption>Scores. Model: m.</caption>" in html


def test_a_table_without_rows_is_a_sentence():
    html = style.table(pd.DataFrame(columns=["loss"]), "Loss by block.").data
    assert "<table" not in html and "Loss by block." in html


def test_a_legend_stands_above_the_panels_and_has_no_headings():
    rows = pd.DataFrame(itertools.product("ab", ("trained", "random"), (1, 2)))
    rows.columns = ["task", "weights", "layer"]
    plot = style.sns.relplot(
        rows, x="layer", y="layer", hue="task", style="weights", kind="line", markers=True
    )
    style.legend_above(plot)
    [legend] = plot.figure.legends
    assert [text.get_text() for text in legend.texts] == ["a", "b", "trained", "random"]
    style.plt.close(plot.figure)


def test_a_judged_claim_counts_its_cells_tasks_and_seeds(tmp_path, monkeypatch):
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(tmp_path))
    chosen = settings.of("dropping", {})
    runs = pd.DataFrame(itertools.product(["m"], ["sst2", "rte", "qqp"], [0, 1, 2]))
    runs.columns = ["model", "task", "seed"]
    row = style.judge(chosen, "B3", [True, False], "so much", runs)
    assert row["cells"] == "1 of 2" and row["verdict"] == "mixed (1 of 2)"
    [kept] = style.records.verdicts("tiny").to_dict("records")
    assert kept["seeds"] == 3 and kept["tasks"] == ["sst2", "rte", "qqp"] and kept["text"] == "real"
    few = style.judge(chosen, "B3", [True], "so much", runs[runs["seed"] == 0])
    assert few["verdict"] == "too little data"
    one = style.judge(chosen, "B8", [False], "", runs[runs["seed"] == 0], average=False)
    assert one["verdict"] == "not reproduced, single run"
    sides = style.judge(chosen, "B4", [True], "", runs, tasks=1)  # an average over one task is none
    assert sides["verdict"] == "too little data"


def test_what_holds_no_more_often_than_by_chance_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(tmp_path))
    runs = pd.DataFrame(itertools.product(["m"], ["sst2", "rte", "qqp"], [0, 1, 2]))
    runs.columns = ["model", "task", "seed"]

    def judged(holds, chance):
        return style.judge(settings.of("dropping", {}), "A2", holds, "", runs, chance=chance)

    assert judged([True, False], 1)["verdict"] == "mixed (1 of 2), no more than by chance"
    assert judged([True, False], 0.5)["verdict"] == "mixed (1 of 2)"
    assert judged([False, False], 1)["verdict"] == "not reproduced"
    assert (judged([True], 0.25)["chance"], judged([True], 3)["chance"]) == ("0.2", "3")


def test_a_cell_that_is_one_word_is_not_broken_at_its_hyphen():
    shown = style.table(pd.DataFrame({"task": ["SST-2", "all-MiniLM-L6-v2"]})).data
    assert shown.count('<span class="whole">') == 1 and '<span class="whole">SST-2</span>' in shown
