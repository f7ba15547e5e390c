"""Pages that examine models: what their tables say of planted runs, and runs on small models."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import planted
import pytest
import torch
import transformers

from lib import batches, book, criteria, from_scratch, structure

PAGE, BESIDE = "14_examine", "15_encoders_decoders"
CRITERIA = ("contribution", "centred", "influence", "angle", "cka")
COSTS = [0.5, 0.1, 0.05, 0.3]  # of each block alone, on the rows that judge
TEXT = [
    f"{who} {what} the {size} boat near the harbour on day {day}"
    for day, size in enumerate(("old", "small", "red", "last"))
    for who, what in (("Nobody", "watched"), ("The sailor", "sold"), ("A dog", "guarded"))
]


def run_of(model="a", **more):
    """One trained run of a model of four blocks whose whole loss is 3 nats."""
    keep = [[0, 1, 2, 3], *([b for b in range(4) if b != gone] for gone in range(4))]
    keep += [[0, 1, 3], [0, 1], [0]]
    decide = [0, *COSTS, 0.05, 0.08, 2.0]
    judge = [0, *COSTS, 0.05, 0.4, 0.01]
    row = {"model": model, "blocks": 4.0, "keep": keep}
    row["strategy"] = ["whole", *["alone"] * 4, "greedy", "greedy", "top"]
    row |= {"decide": list(np.add(3, decide)), "judge": list(np.add(3, judge))}
    return row | {name: COSTS for name in CRITERIA} | more


def examined(run, *, worded=True, tolerance=0.1):
    """The tables of the page on one model."""
    found = {"run": run, "worded": worded, "tolerance": tolerance, "CRITERIA": CRITERIA, "np": np}
    chosen = SimpleNamespace(drop_shares=(0.5, 0.25))
    space = planted.run(PAGE, "table", chosen=chosen, **found)
    return space | {"cut": next(iter(space["wanted"].to_dict("records")), None)}


def compared(*runs):
    """The tables of the page on several."""
    return planted.run(BESIDE, "table", trained=pd.DataFrame(runs))


def test_losses_stand_above_the_whole_model_of_their_own():
    runs = run_of("a"), run_of("b", judge=list(np.add(7, [0, *COSTS, 0, 0, 0])))
    found = compared(*runs)
    assert np.allclose(found["blocks"]["loss"].unstack(), [COSTS, COSTS])
    assert found["tried"].query("strategy == 'whole'")["judge"].tolist() == [0, 0]
    assert found["tried"].query("model == 'a'")["k"].tolist() == [0, 1, 1, 1, 1, 1, 2, 3]
    for run in runs:
        assert np.allclose(examined(run)["blocks"]["loss"], COSTS)
        assert examined(run)["tried"]["judge"][0] == 0


def test_a_criterion_that_orders_the_blocks_as_the_loss_does_correlates_with_it_at_one():
    run = run_of(cka=[-c for c in COSTS], influence=[9.0, 2.0, 3.0, 4.0])
    for found in (examined(run)["ranks"]["loss"], compared(run)["with_loss"].loc["a"]):
        assert found["contribution"] == pytest.approx(1) and found["cka"] == pytest.approx(-1)
        assert found["influence"] == pytest.approx(0.8)


def test_the_deepest_cut_within_the_tolerance_is_recommended_by_the_rows_that_decide():
    found = examined(run_of())
    assert found["cut"]["keep"] == [0, 1]  # though it costs more on those that judge
    said = found["advice"](found["cut"], found["best"], 0.1, "A")
    assert said.startswith("Of A, 2 of 4 blocks go") and "0.40 nats, more than allowed" in said
    assert examined(run_of(), tolerance=0.06)["cut"]["k"] == 1
    found = examined(run_of(), tolerance=0.01)
    assert found["cut"] is None
    said = found["advice"](None, found["best"], 0.01, "A")
    assert said.startswith("Drop nothing from A") and "one block costs 0.05 nats" in said


def test_without_a_loss_the_blocks_of_the_lowest_mean_rank_go_fewest_first():
    run = run_of(cka=[4.0, 1.0, 3.0, 2.0])  # the others: block 2, then 1
    found = examined({n: v for n, v in run.items() if n not in ("decide", "judge")}, worded=False)
    assert found["wanted"]["keep"].tolist() == [(0, 1, 3), (0, 3)]
    assert found["best"].index.tolist() == [0, 1, 2] and "loss" not in found["ranks"]
    said = found["advice"](found["cut"], found["best"], 0.1, "A")
    assert "keep 0 1 3 (mean rank); it has no head of words" in said


def test_the_last_block_is_ranked_among_all_by_what_it_costs():
    found = compared(run_of("a", influence=[0.1, 0.3, 0.5, 0.7]))
    one = found["sides"].loc["a"]
    assert one["its rank"] == 2 and one["last block gone"] == pytest.approx(0.3)
    assert one["lower half changes"] == pytest.approx(0.2)
    assert one["upper half changes"] == pytest.approx(0.6)
    for told in ("in a the last block ranks 2 of 4", "the lower half", "top costs least"):
        assert told in found["answer"]


def test_all_layers_of_a_batch_stand_for_the_same_tokens(family_model):
    """XLNet's blocks hand on the tokens of a batch in another order than the model does."""
    model, tokenizer = family_model
    encoded = batches.encode(model, tokenizer, TEXT, level="sentence")
    together, apart = (
        criteria.criteria(model, tokenizer, encoded, batch_tokens=size) for size in (4096, 1)
    )
    for name in ("contribution", "influence"):
        assert np.allclose(together[name], apart[name], atol=1e-5)


SIZES = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
SIZES |= {"num_hidden_layers": 3, "max_position_embeddings": 64, "vocab_size": 300}
NAMED_NOWHERE = {  # architectures of which no part of the library knows, and how each is saved
    "StableLmForCausalLM": (transformers.StableLmConfig, {"num_key_value_heads": 1}, "gpt-mini-12"),
    "RoFormerForSequenceClassification": (
        transformers.RoFormerConfig,
        {"num_labels": 3},
        "roberta-mini-12",
    ),
    "RoFormerModel": (transformers.RoFormerConfig, {}, "roberta-mini-12"),
}


def small_model(name, folder):
    """A small random model, saved with a tokenizer of its size."""
    config, more, tokens = NAMED_NOWHERE[name]
    tokenizer = from_scratch.tokenizer(tokens, TEXT, SIZES["vocab_size"])
    torch.manual_seed(0)
    model = getattr(transformers, name)(config(**SIZES | more | {"vocab_size": len(tokenizer)}))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED_NOWHERE)
def test_the_page_examines_any_model_on_a_text_file_and_saves_a_cut(name, tmp_path, monkeypatch):
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(tmp_path / "results"))
    (tmp_path / "text.txt").write_text("\n".join(TEXT), encoding="utf-8")
    given = {"model": small_model(name, tmp_path / "m"), "file": str(tmp_path / "text.txt")}
    given |= {"out": str(tmp_path / "small"), "tolerance": 50.0, "max_examples": 10}
    book.execute(planted.NOTEBOOKS / f"{PAGE}.ipynb", tmp_path / "out.ipynb", given)
    saved = getattr(transformers, name).from_pretrained(tmp_path / "small")
    assert structure.n_blocks(saved) == 2  # of three, a third is dropped
    said = (tmp_path / "out.ipynb").read_text(encoding="utf-8")
    assert ("m was saved without a head of words" in said) == (name != "StableLmForCausalLM")
    assert "2 of 2 runs are finished" in said  # trained, and its random twin


@pytest.mark.slow
def test_a_decoder_named_nowhere_is_made_smaller(tmp_path, monkeypatch):
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(tmp_path / "results"))
    days = [f"{line} and {number}" for number in range(6) for line in TEXT]
    (tmp_path / "text.txt").write_text("\n".join(days), encoding="utf-8")
    given = {"model": small_model("StableLmForCausalLM", tmp_path / "m"), "tolerance": 90.0}
    given |= {"file": str(tmp_path / "text.txt"), "out": str(tmp_path / "small"), "epochs": 1}
    given |= {"max_length": 32, "strategies": ["top", "angular"]}
    book.execute(planted.NOTEBOOKS / "13_your_model.ipynb", tmp_path / "out.ipynb", given)
    saved = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "small")
    assert structure.n_blocks(saved) < 3
