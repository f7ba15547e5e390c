"""Which blocks each strategy keeps, and that a smaller model is a whole model."""

import itertools

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from lib import BadInput, activations, batches, dropping, encoders

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
    similarity = np.random.default_rng(n).random(n).tolist()
    kept = [
        dropping.blocks_to_keep(strategy, n, k, similarity=similarity)
        for k in range(dropping.most_dropped(strategy, n) + 1)
    ]
    for k, blocks in enumerate(kept):
        assert (
            blocks == sorted(set(blocks)) and len(blocks) == n - k and set(blocks) <= set(range(n))
        )
    if strategy != "symmetric":  # its run moves by one where the ends cannot be equal
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
    if encoders.family(model).shared:
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


def test_block_similarity_is_the_mean_cosine_whatever_the_batches(family_model):
    model, tokenizer = family_model
    sentences = [text.split() for text in TEXT]
    encoded = batches.encode(model, tokenizer, sentences, level="word")
    rows = activations.extract(model, tokenizer, sentences, level="word").rows.double()
    unit = rows / rows.norm(dim=-1, keepdim=True)
    expected = (unit[:, :-1] * unit[:, 1:]).sum(-1).mean(0)
    for size in (8, 4096):
        found = dropping.block_similarity(model, tokenizer, encoded, batch_tokens=size)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
