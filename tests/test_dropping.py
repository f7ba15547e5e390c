"""Which blocks each strategy keeps, and that a smaller model is a whole model."""

import itertools

import numpy as np
import pytest
import torch
import transformers
from conftest import CORPUS
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GPT2Model,
)

from lib import (
    BadInput,
    activations,
    batches,
    criteria,
    dropping,
    encoders,
    from_scratch,
    strategies,
    structure,
)

TEXT = ["The old sailor watched a boat", "Why ?", "Nobody helped , unbelievably"]
TABLE = {  # of 12 blocks: the ones dropped for k = 2, 4, 6, as the papers describe the strategies
    "top": [{10, 11}, {8, 9, 10, 11}, {6, 7, 8, 9, 10, 11}],
    "bottom": [{0, 1}, {0, 1, 2, 3}, {0, 1, 2, 3, 4, 5}],
    "even": [{11, 9}, {11, 9, 7, 5}, {11, 9, 7, 5, 3, 1}],
    "odd": [{10, 8}, {10, 8, 6, 4}, {10, 8, 6, 4, 2, 0}],
    "symmetric": [{5, 6}, {4, 5, 6, 7}, {3, 4, 5, 6, 7, 8}],
}


@pytest.mark.parametrize("strategy", TABLE)
def test_strategies_of_twelve_blocks(strategy):
    for k, gone in zip((2, 4, 6), TABLE[strategy], strict=True):
        assert set(range(12)) - set(dropping.blocks_to_keep(strategy, 12, k)) == gone


@pytest.mark.parametrize("strategy", dropping.STRATEGIES)
@pytest.mark.parametrize("n", [1, 2, 5, 6, 12, 25])
def test_every_depth_and_k_drops_exactly_k_and_more_each_time(strategy, n):
    shape = (n + 1, n + 1) if strategy == "angular" else n
    similarity = np.random.default_rng(n).random(shape).tolist()
    kept = [
        dropping.blocks_to_keep(strategy, n, k, similarity=similarity)
        for k in range(dropping.most_dropped(strategy, n) + 1)
    ]
    for k, blocks in enumerate(kept):
        assert (
            blocks == sorted(set(blocks)) and len(blocks) == n - k and set(blocks) <= set(range(n))
        )
    if strategy not in ("symmetric", "angular"):  # their runs move
        assert all(set(b) < set(a) for a, b in itertools.pairwise(kept))


def test_contribution_drops_the_most_similar_and_of_equal_ones_the_higher():
    keep = dropping.blocks_to_keep("contribution", 5, 2, similarity=[0.9, 0.7, 0.9, 0.1, 0.9])
    assert keep == [0, 1, 3]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (("topp", 6, 1), "strategy 'topp' is not known; valid: top, bottom, even, odd"),
        (("top", 6, 6), "k 6 is not valid: strategy 'top' drops 0 to 5 of 6 blocks"),
        (("even", 6, 4), "k 4 is not valid: strategy 'even' drops 0 to 3 of 6 blocks"),
        (("top", 6, -1), "k -1 is not valid"),
        (("top", 6, 1.5), "k 1.5 is not valid"),
        (("contribution", 6, 1), "similarity is none; strategy 'contribution' needs one number"),
    ],
)
def test_wrong_choices_are_refused_in_one_sentence(call, sentence):
    with pytest.raises(BadInput, match=sentence):
        dropping.blocks_to_keep(*call)


@pytest.mark.parametrize(
    ("keep", "sentence"),
    [
        ([0, 1, 1], r"blocks \[1\] are named twice; each of 0 to 2"),
        ([0, 3], r"blocks \[3\] do not exist; this model has blocks 0 to 2"),
        ([-1], r"blocks \[-1\] do not exist"),
        ([], "no block would be left; keep at least one of 0 to 2"),
    ],
)
def test_wrong_blocks_are_refused_and_the_model_is_left_as_it_was(family_model, keep, sentence):
    model, _ = family_model
    before = sum(p.numel() for p in model.parameters())
    with pytest.raises(BadInput, match=sentence):
        dropping.drop_blocks(model, keep)
    assert sum(p.numel() for p in model.parameters()) == before
    assert dropping.n_blocks(model) == 3


def spoken():
    """A tokenizer of bytes."""
    return from_scratch.tokenizer("roberta-mini-12", CORPUS, 320)


def logits(model, tokenizer):
    encoded = tokenizer(TEXT, return_tensors="pt", padding=True)
    with torch.inference_mode():
        return model.eval()(**encoded)[0]


@pytest.mark.parametrize("head", [None, 3])
def test_a_smaller_model_reloads_exactly_in_plain_transformers(family_folders, tmp_path, head):
    for name, folder in family_folders.items():
        model, tokenizer = encoders.load(folder, head=head, device="cpu")
        dropping.drop_blocks(model, [0, 2])
        saved = dropping.save(model, tokenizer, tmp_path / name)
        kind = AutoModel if head is None else AutoModelForSequenceClassification
        again, read = kind.from_pretrained(saved), AutoTokenizer.from_pretrained(saved)
        assert dropping.n_blocks(again) == 2
        assert torch.equal(logits(again, read), logits(model, tokenizer))


def test_dropping_the_top_gives_the_lower_layers_of_the_whole_model(family_folders):
    for folder in family_folders.values():
        model, tokenizer = encoders.load(folder, device="cpu")
        sentences = [text.split() for text in TEXT]
        whole = activations.extract(model, tokenizer, sentences, level="word").rows
        dropping.drop_blocks(model, [0, 1])
        smaller = activations.extract(model, tokenizer, sentences, level="word").rows
        assert torch.equal(smaller, whole[:, :3])


def test_kept_blocks_are_the_ones_named(family_model):
    model, _ = family_model
    if structure.family(model).shared:
        pytest.skip("ALBERT has one block for all layers; there is none to choose")
    blocks = list(dropping.block_list(model))
    dropping.drop_blocks(model, (2, 0))
    assert list(dropping.block_list(model)) == [blocks[0], blocks[2]]


def test_a_folder_with_files_is_not_written_into(family_model, tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(BadInput, match="is not empty; name a new one"):
        dropping.save(*family_model, tmp_path)


def test_freezing_stops_gradients_of_those_blocks_alone(family_folders):
    for name, folder in family_folders.items():
        model, tokenizer = encoders.load(folder, head=2, device="cpu")
        blocks = [] if name == "albert" else [0]
        dropping.freeze(model, blocks, embeddings=True)
        model(**tokenizer(TEXT[0], return_tensors="pt")).logits.sum().backward()
        still = {n for n, p in model.named_parameters() if not p.requires_grad}
        assert still and all("layer.0." in n or "embedding" in n for n in still)
        assert any(".1." in n for n in still) is False
        assert all(p.grad is None for n, p in model.named_parameters() if n in still)


def test_a_decoders_embeddings_can_be_frozen():
    model = GPT2Model(GPT2Config(n_layer=2, n_embd=16, n_head=2, vocab_size=30))
    dropping.freeze(model, [0], embeddings=True)
    still = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    assert {"wte.weight", "wpe.weight"} <= still
    assert all(name.startswith(("wte", "wpe", "h.0.")) for name in still)


# ---- criteria: all in one pass, padding never counted -------------------------------------------


def reference(model, tokenizer, sentences):
    """Slow: hidden states (T, L, H) of each sentence alone, in double precision."""
    for words in sentences:
        encoded = batches.encode(model, tokenizer, [words], level="word")
        batch = batches.collate(encoded, np.array([0]), model, tokenizer)
        with torch.no_grad():
            hidden = model(**batch.inputs, output_hidden_states=True).hidden_states
        yield torch.stack(hidden, dim=2)[0].double(), batch.last


def picked(token, hidden, last):
    return {
        "rows": hidden[last],
        "last": hidden[-1:],
        "mean": hidden.mean(0, keepdim=True),
        "all": hidden,
    }[token]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("token", criteria.TOKENS)
def test_likeness_is_that_of_sentences_read_alone(family_model, token, side):
    model, tokenizer = family_model
    tokenizer.padding_side = side
    sentences = [text.split() for text in TEXT]
    rows = torch.cat([picked(token, *each) for each in reference(model, tokenizer, sentences)])
    unit = rows / rows.norm(dim=-1, keepdim=True)
    cosine = (unit[:, :, None] * unit[:, None]).sum(-1)
    centred = rows - rows.mean(0)
    product = torch.einsum("nlh,nmh->lm", centred, centred)
    length = product.diagonal().sqrt()
    length[length < 1e-5] = torch.nan  # the first token, before any block
    encoded = batches.encode(model, tokenizer, sentences, level="word")
    for size in (8, 4096):
        found = criteria.measure(model, tokenizer, encoded, (token,), batch_tokens=size)[token]
        torch.testing.assert_close(found.cosine, cosine.mean(0), atol=1e-6, rtol=0)
        wanted = product / torch.outer(length, length)
        torch.testing.assert_close(found.centred, wanted, atol=1e-5, rtol=0, equal_nan=True)
        wanted = (cosine.clamp(-1, 1).arccos() / torch.pi).mean(0)
        off = ~torch.eye(len(wanted), dtype=bool)  # acos of one is not exact
        torch.testing.assert_close(found.angle[off], wanted[off], atol=1e-4, rtol=0)


def test_all_criteria_come_from_one_pass(family_model, monkeypatch):
    model, tokenizer = family_model
    sentences = [text.split() for text in TEXT]
    encoded = batches.encode(model, tokenizer, sentences, level="word")
    passes, states = [], activations.states
    monkeypatch.setattr(activations, "states", lambda *a: passes.append(1) or states(*a))
    found = criteria.criteria(model, tokenizer, encoded, batch_tokens=4096)
    assert len(passes) == 1 and len(found) == 3
    alone = criteria.measure(model, tokenizer, encoded, ("all",), batch_tokens=8)["all"]
    assert np.allclose(1 - found["influence"], alone.cosine.diagonal(1))
    rows = torch.cat([hidden for hidden, _ in reference(model, tokenizer, sentences)])
    for block, value in found["cka"].items():
        pair = rows[:, block : block + 2] - rows[:, block : block + 2].mean(0)
        cross, own, other = (
            torch.linalg.norm(pair[:, a].T @ pair[:, b]) for a, b in ((0, 1), (0, 0), (1, 1))
        )
        assert value == pytest.approx(float(cross**2 / own / other), abs=1e-4)


def test_each_strategy_gets_what_it_goes_by(family_model):
    model, tokenizer = family_model
    encoded = batches.encode(model, tokenizer, [text.split() for text in TEXT], level="word")
    found = criteria.needed(model, tokenizer, encoded, dropping.STRATEGIES)
    assert set(found) == set(strategies.MEASURED)
    for name in dropping.STRATEGIES:
        assert len(dropping.blocks_to_keep(name, 3, 1, similarity=found.get(name))) == 2
    wanted = criteria.measure(model, tokenizer, encoded, ("all",))["all"].cosine.diagonal(1)
    assert found["influence"] == pytest.approx(wanted.tolist())
    assert criteria.needed(model, tokenizer, None, ["top", "even"]) == {}


def test_a_neuron_that_is_large_for_every_token_hides_what_blocks_do_unless_it_is_centred():
    rows = torch.randn(200, 2, 32, generator=torch.Generator().manual_seed(0))
    rows[:, :, 0] += 100
    found = criteria.Likeness(2)
    found.update(rows)
    assert found.cosine[0, 1] > 0.99 and abs(found.centred[0, 1]) < 0.1


def test_the_last_block_is_measured_before_a_final_normalisation():
    """Pre-norm: the vectors that plain transformers calls the last layer are already normalised."""
    config = transformers.GPT2Config(
        n_embd=24, n_layer=2, n_head=2, vocab_size=len(spoken()), n_positions=40
    )
    model, tokenizer = transformers.GPT2Model(config).eval(), spoken()
    with torch.no_grad():
        model.ln_f.weight.normal_()  # turns vectors about
        for name, weight in model.h[1].named_parameters():
            weight.mul_(0 if "c_proj" in name else 1)  # a block that changes nothing
    encoded = batches.encode(model, tokenizer, [text.split() for text in TEXT], level="word")
    found = dropping.block_similarity(model, tokenizer, encoded)
    assert found[0] < 0.999 and found[1] == pytest.approx(1)


# ---- strategies that came later, and the greedy search ------------------------------------------


def test_the_papers_strategies_are_six_and_later_ones_stand_apart():
    assert list(dropping.PAPER_STRATEGIES) == [*TABLE, "contribution"]
    assert set(strategies.LATER_STRATEGIES) == {"influence", "below_last", "angular"}
    assert not set(strategies.LATER_STRATEGIES) & set(dropping.PAPER_STRATEGIES)


def test_symmetric_keeps_one_more_at_the_bottom_where_its_ends_cannot_be_equal():
    assert dropping.blocks_to_keep("symmetric", 12, 3) == [0, 1, 2, 3, 4, 8, 9, 10, 11]
    assert dropping.blocks_to_keep("symmetric", 5, 2) == [0, 1, 4]
    assert dropping.blocks_to_keep("symmetric", 6, 1) == [0, 1, 2, 4, 5]


def test_below_last_is_the_top_without_the_very_last_block():
    assert dropping.blocks_to_keep("below_last", 12, 3) == [*range(8), 11]
    assert dropping.blocks_to_keep("below_last", 3, 2) == [2]


def test_angular_drops_the_run_that_turns_least():
    angles = np.full((6, 6), 0.5)
    angles[1, 3] = angles[3, 5] = 0.1  # runs of two blocks; of equal ones the higher goes
    angles[0, 1] = 0.2
    assert dropping.blocks_to_keep("angular", 5, 2, similarity=angles) == [0, 1, 2]
    assert dropping.blocks_to_keep("angular", 5, 1, similarity=angles) == [1, 2, 3, 4]
    with pytest.raises(BadInput, match="'angular' needs a distance of any two layers"):
        dropping.blocks_to_keep("angular", 5, 2, similarity=[0.1] * 5)


def test_greedy_drops_what_is_missed_least_each_time():
    value = {0: 5.0, 1: 1.0, 2: 1.0, 3: 4.0}
    together = {frozenset((0, 3)): 50.0}  # without block 2, block 1 is missed more

    def loss(keep):
        return together.get(frozenset(keep), 0) - sum(value[block] for block in keep)

    gone = dropping.greedy(loss, 4, 3)
    assert [block for block, _ in gone] == [2, 3, 1]
    assert [x for _, x in gone] == [-10.0, -6.0, -5.0]
    assert len(dropping.greedy(loss, 4, 9)) == 3  # one block stays


def test_a_sentence_transformers_folder_keeps_its_modules(tmp_path):
    model, tokenizer = encoders.load("all-minilm-l6-v2", device="cpu")
    source = encoders.find("all-minilm-l6-v2")
    dropping.drop_blocks(model, [0, 1, 2, 3])
    saved = dropping.save(model, tokenizer, tmp_path / "cut")
    for name in ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json"):
        assert (saved / name).read_bytes() == (source / name).read_bytes()
