"""The page that examines a model: what its tables say of planted runs, and a run on a small one."""

import numpy as np
import pandas as pd
import planted
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from lib import batches, book, criteria, dropping, encoders, from_scratch

PAGE = "14_examine"
CRITERIA = ("contribution", "centred", "influence", "angle", "cka")
COSTS = [0.5, 0.1, 0.05, 0.3]  # of each block alone, on the rows that judge
TEXT = [
    f"{who} {what} the {size} boat near the harbour on day {day}"
    for day, size in enumerate(("old", "small", "red", "last"))
    for who, what in (("Nobody", "watched"), ("The sailor", "sold"), ("A dog", "guarded"))
]


def run_of(model, **more):
    """One trained run of a model of four blocks whose whole loss is 3 nats."""
    keep = [[0, 1, 2, 3], *([b for b in range(4) if b != gone] for gone in range(4))]
    keep += [[0, 1, 3], [0, 1], [0]]
    decide = [0, *COSTS, 0.05, 0.08, 2.0]
    judge = [0, *COSTS, 0.05, 0.4, 0.01]
    row = {"model": model, "blocks": 4.0, "keep": keep}
    row["strategy"] = ["whole", *["alone"] * 4, "greedy", "greedy", "top"]
    row |= {"decide": list(np.add(3, decide)), "judge": list(np.add(3, judge))}
    return row | {name: COSTS for name in CRITERIA} | more


def tables(*runs, tolerance=0.1):
    found = {"trained": pd.DataFrame(runs), "first": runs[0]["model"], "tolerance": tolerance}
    return planted.run(PAGE, "table", CRITERIA=CRITERIA, dropping=dropping, **found)


def test_losses_stand_above_the_whole_model_of_their_own():
    found = tables(run_of("a"), run_of("b", judge=list(np.add(7, [0, *COSTS, 0, 0, 0]))))
    assert np.allclose(found["blocks"]["loss"].unstack(), [COSTS, COSTS])
    assert found["tried"].query("strategy == 'whole'")["judge"].tolist() == [0, 0]
    assert found["tried"].query("model == 'a'")["k"].tolist() == [0, 1, 1, 1, 1, 1, 2, 3]


def test_a_criterion_that_orders_the_blocks_as_the_loss_does_correlates_with_it_at_one():
    found = tables(run_of("a", cka=[-c for c in COSTS], influence=[9.0, 2.0, 3.0, 4.0]))
    rows = found["with_loss"].loc["a"]
    assert np.allclose(rows.loc[["Spearman", "Kendall"], "contribution"], 1)
    assert np.allclose(rows.loc[["Spearman", "Kendall"], "cka"], -1)
    assert rows.loc["Kendall", "influence"] == pytest.approx(4 / 6)


def test_the_deepest_cut_within_the_tolerance_is_recommended_by_the_rows_that_decide():
    assert tables(run_of("a"))["cut"]["keep"] == [0, 1]  # though it costs more on those that judge
    assert tables(run_of("a"), tolerance=0.06)["cut"]["k"] == 1
    found = tables(run_of("a"), tolerance=0.01)
    assert found["cut"] is None
    said = found["advice"](None, found["best"], 0.01, "A")
    assert said.startswith("Drop nothing from A") and "one block costs 0.05 nats" in said


def test_the_last_block_is_ranked_among_all_by_what_it_costs():
    found = tables(run_of("a", influence=[0.1, 0.3, 0.5, 0.7]))["sides"].loc["a"]
    assert found["rank of that"] == 2 and found["loss, last block gone"] == pytest.approx(0.3)
    assert found["influence, lower half"] == pytest.approx(0.2)
    assert found["upper half"] == pytest.approx(0.6)


def test_all_layers_of_a_batch_stand_for_the_same_tokens(family_model):
    """XLNet's blocks hand on the tokens of a batch in another order than the model does."""
    model, tokenizer = family_model
    encoded = batches.encode(model, tokenizer, TEXT, level="sentence")
    together, apart = (
        criteria.criteria(model, tokenizer, encoded, batch_tokens=size) for size in (4096, 1)
    )
    for name in ("contribution", "influence"):
        assert np.allclose(together[name], apart[name], atol=1e-5)


@pytest.mark.slow
def test_the_page_examines_a_decoder_on_a_text_file_and_saves_a_cut(tmp_path, monkeypatch):
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(tmp_path / "results"))
    tokenizer = from_scratch.tokenizer("gpt-mini-12", TEXT, 300)
    torch.manual_seed(0)
    sizes = {"n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 64}
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path / "m")
    tokenizer.save_pretrained(tmp_path / "m")
    (tmp_path / "text.txt").write_text("\n".join(TEXT), encoding="utf-8")
    given = {"model": str(tmp_path / "m"), "file": str(tmp_path / "text.txt"), "tolerance": 50.0}
    given |= {"beside": given["model"], "out": str(tmp_path / "small"), "max_examples": 10}
    book.execute(planted.NOTEBOOKS / f"{PAGE}.ipynb", tmp_path / "out.ipynb", given)
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "small")
    assert encoders.n_blocks(saved) == 2  # of three, a third is dropped
