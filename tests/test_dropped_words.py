"""Words as the task: what a cut model says, at once and after tuning."""

import copy
import math

import numpy as np
import pandas as pd
import pytest

from lib import BadInput, dropping, encoders
from lib.dropped import claims, report, words
from lib.grids import WHOLE
from lib.pretrain import given, measure, ship, shipped, text

ONE = shipped.NAMES[0]
USUAL = {"strategies": ["top", "contribution"], "drops": [0.25, 0.5], "tuned": ["top"]}
UNTESTED = ["cannot be tested"]  # B5, without an XLNet
USUAL |= {"held": 8, "steps": 2, "seed": 0}


def found_of(**changes):
    return words.losses(words.accept([ONE], **USUAL | changes), "cpu")


@pytest.fixture(scope="module")
def found():
    return found_of()


def test_a_cut_says_what_the_same_model_says_with_its_blocks_taken_out(found):
    model, tokenizer = given.speaker(ONE), ship.tokenizer_in(encoders.find(ONE))
    dropping.drop_blocks(model, range(6))
    rows = text.encoded(words.read(tokenizer, 8).held, tokenizer)
    loss = measure.held_out(model, tokenizer, rows, "masked")["loss"]
    top = found[(found["strategy"] == "top") & (found["left"] == 6)]
    assert top["said"].item() == pytest.approx(loss, abs=1e-5)


def test_losses_are_above_the_whole_model_and_tuning_is_of_the_largest_share(found):
    assert list(found["strategy"]) == [WHOLE, "top", "top", "contribution", "contribution"]
    assert list(found["k"]) == [0, 3, 6, 3, 6]
    assert (found["loss"] == found["said"] - found["said"][0]).all()
    assert found["tuned"].notna().tolist() == [True, False, True, False, False]
    assert (found["tuned"].dropna() < found["said"][found["tuned"].notna()]).all()


def test_tuning_one_cut_changes_no_other_and_repeats(found):
    pd.testing.assert_series_equal(found["said"], found_of(tuned=[])["said"])
    pd.testing.assert_series_equal(found["tuned"], found_of()["tuned"])


def test_training_rows_and_held_rows_are_of_the_same_text_and_apart():
    data = words.read(ship.tokenizer_in(encoders.find(ONE)), 16)
    assert len(data.held) == 16 and len(data.train) > 300
    packed = {row.tobytes() for row in data.held}
    assert not packed & {row.tobytes() for row in data.train}


def planted(child, parents):
    """Losses in which every strategy has its own, and a child beside what it learned from."""
    rows = [
        (parent, strategy, k, 12 - k, 5.0 + cost * k, 4.0 + cost if k in (0, 6) else np.nan)
        for parent in parents
        for strategy, k, cost in ((WHOLE, 0, 0.0), ("top", 6, 0.1), ("bottom", 6, 0.5))
    ]
    rows += [(child, WHOLE, 0, 6, 5.0, 4.25)]
    frame = pd.DataFrame(rows, columns=words.COLUMNS[:-1])
    return frame.assign(loss=frame["said"] - 5.0)


def test_a_distilled_model_stands_beside_its_parent():
    found = planted("distilbert-base-cased", ["bert-base-cased"])
    beside = words.side_by_side(found)
    assert set(beside.index.get_level_values("model")) == {"BERT-base"}
    assert ("BERT-base", "DistilBERT, whole", 6) in beside.index
    assert "at 4.25 nats" in words.told(found) and "at 4.10" in words.told(found)
    alone = planted("distilbert-base-cased", ["roberta-base"])
    assert "DistilBERT" in words.side_by_side(alone).index.get_level_values("model")
    assert words.told(alone).startswith("No distilled model")


def test_numbers_of_blocks_ascend_whatever_the_depth_of_the_first_model():
    found = pd.DataFrame(
        {
            "model": ["deep", "deep", "flat", "flat"],
            "strategy": "top",
            "k": [2, 6, 1, 2],
            "loss": 0.1,
        }
    )
    assert list(report.by_strategy(found)) == [1, 2, 6]


def test_claims_are_judged_by_the_losses():
    found = planted("distilbert-base-cased", ["bert-base-cased"])
    assert list(claims.of_words(found)["verdict"]) == ["agrees", *UNTESTED, "agrees"]
    swapped = copy.deepcopy(found).replace({"strategy": {"top": "bottom", "bottom": "top"}})
    assert list(claims.of_words(swapped)["verdict"]) == ["disagrees", *UNTESTED, "disagrees"]
    for other, verdict in ((found, "disagrees"), (swapped, "agrees")):
        bert = found[found["model"] == "bert-base-cased"]
        xlnet = other[other["model"] == "bert-base-cased"].assign(model="xlnet-base-cased")
        assert claims.of_words(pd.concat([bert, xlnet])).loc["B5", "verdict"] == verdict
    several = planted("distilbert-base-cased", ["bert-base-cased", "roberta-base"])
    assert claims.of_words(several).loc["B3", "measured"] == (
        "loses most at BERT-base, k = 6: bottom; RoBERTa-base, k = 6: bottom"
    )
    assert math.isclose(report.by_strategy(found).loc[("bert-base-cased", "bottom"), 6], 3.0)


@pytest.mark.parametrize(
    ("names", "change", "message"),
    [
        (None, {"tuned": ["even"]}, "strategy to be tuned 'even' is not known; valid: top, contr"),
        (None, {"held": 4}, "held 4 is out of range; valid: 8 to 512"),
        (None, {"steps": 0}, "steps 0 is out of range"),
        (None, {"drops": [1.5]}, "share of blocks 1.5 is out of range"),
        (["nowhere"], {}, "model 'nowhere' is no folder"),
        (["albert-base-v2"], {}, "architecture of albert-base-v2 'albert' is not known; valid: be"),
    ],
)
def test_what_cannot_be_asked_is_refused(names, change, message):
    with pytest.raises(BadInput, match=message):
        words.accept(names, **USUAL | change)


def test_a_model_without_a_head_for_words_is_refused():
    with pytest.raises(BadInput, match="'all-minilm-l6-v2' has no head that predicts words"):
        given.speaker("all-minilm-l6-v2")
