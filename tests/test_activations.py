"""Vectors of words and sentences: batches, padding and order never change them."""

import shutil

import pytest
import torch
import transformers
from conftest import SENTENCES
from tokenizers import AddedToken, processors

from lib import BadInput, activations, batches, encoders

TEXTS = [" ".join(words) for words in SENTENCES]
PAIRS = list(zip(TEXTS, reversed(TEXTS), strict=True))


def alone(model, tokenizer, sentences, level, **options):
    """Slow reference: one sentence at a time, so no padding anywhere."""
    extract = activations.extract
    return torch.cat(
        [extract(model, tokenizer, [s], level=level, **options).rows for s in sentences]
    )


@pytest.mark.parametrize("padding_side", ["left", "right"])
@pytest.mark.parametrize("level,sentences", [("word", SENTENCES), ("sentence", PAIRS)])
@pytest.mark.parametrize("batch_tokens", [1, 60, 4096])
def test_batches_and_padding_change_nothing(
    family_model, level, sentences, padding_side, batch_tokens
):
    model, tokenizer = family_model
    tokenizer.padding_side = padding_side
    got = activations.extract(model, tokenizer, sentences, level=level, batch_tokens=batch_tokens)
    torch.testing.assert_close(
        got.rows, alone(model, tokenizer, sentences, level), atol=1e-5, rtol=0
    )


def test_published_model_in_batches_equals_one_by_one(minilm):
    for level, sentences in (("word", SENTENCES), ("sentence", TEXTS)):
        got = activations.extract(*minilm, sentences, level=level)
        torch.testing.assert_close(got.rows, alone(*minilm, sentences, level), atol=1e-5, rtol=0)


def test_rows_are_the_hidden_states_of_the_bare_model(minilm):
    """Three lines of plain transformers give the same vectors."""
    model, tokenizer = minilm
    got = activations.extract(model, tokenizer, [["Unbelievably", "good"]], level="word")
    encoded = tokenizer("Unbelievably good", return_tensors="pt")
    hidden = model(**encoded, output_hidden_states=True).hidden_states
    last = [max(i for i, w in enumerate(encoded.word_ids()) if w == word) for word in (0, 1)]
    expected = torch.stack([layer[0, last] for layer in hidden], dim=1)
    torch.testing.assert_close(got.rows, expected, atol=1e-5, rtol=0)


def test_sentence_vector_is_first_token_but_last_for_xlnet(family_model):
    model, tokenizer = family_model
    encoded = tokenizer(TEXTS[0], return_tensors="pt")
    hidden = model(**encoded, output_hidden_states=True).hidden_states
    spot = -1 if model.config.model_type == "xlnet" else 0
    got = activations.extract(model, tokenizer, TEXTS[:1], level="sentence").rows[0]
    torch.testing.assert_close(got, torch.stack([h[0, spot] for h in hidden]), atol=1e-5, rtol=0)


def test_pooling_reads_the_pieces_it_says(family_model):
    model, tokenizer = family_model
    encoded = batches.encode(model, tokenizer, SENTENCES, level="word")
    pooled = {
        how: activations.extract(model, tokenizer, SENTENCES, level="word", pooling=how).rows
        for how in activations.POOLING
    }
    row = 0
    for ids, types, first, last in zip(
        encoded.ids, encoded.types, encoded.first, encoded.last, strict=True
    ):
        extra = {"token_type_ids": torch.tensor([types])}
        if "token_type_ids" not in tokenizer.model_input_names:
            extra = {}
        hidden = model(torch.tensor([ids]), output_hidden_states=True, **extra).hidden_states
        hidden = torch.stack(hidden, dim=2)[0]
        for begin, end in zip(first, last, strict=True):
            want = {"first": hidden[begin], "last": hidden[end]}
            want["mean"] = hidden[begin : end + 1].mean(dim=0)
            for how, rows in pooled.items():
                torch.testing.assert_close(rows[row], want[how], atol=1e-5, rtol=0)
            row += 1


def test_every_word_has_a_row_and_an_owner(family_model):
    got = activations.extract(*family_model, SENTENCES, level="word")
    assert got.owner.tolist() == [i for i, words in enumerate(SENTENCES) for _ in words]
    assert got.rows.shape == (len(got.owner), 4, 24)


def test_long_sentences_go_on_in_windows(family_model):
    model, tokenizer = family_model
    long = sum(SENTENCES, []) * 2
    got = activations.extract(model, tokenizer, [long, *SENTENCES], level="word", max_length=30)
    assert got.notes["windows"] >= 1
    assert got.notes["cut"] == 0
    assert len(got.rows) == len(long) + sum(map(len, SENTENCES))
    short = activations.extract(model, tokenizer, SENTENCES[1:2], level="word").rows
    at = len(long) + len(SENTENCES[0])
    torch.testing.assert_close(got.rows[at : at + len(SENTENCES[1])], short, atol=1e-5, rtol=0)


def test_windows_are_the_runs_of_words_read_alone(minilm):
    model, tokenizer = minilm
    words = [f"w{i}" for i in range(40)]
    encoded = batches.encode(model, tokenizer, [words], level="word", max_length=30)
    cuts = [*encoded.start, len(words)]
    parts = [words[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]
    got = activations.extract(model, tokenizer, [words], level="word", max_length=30).rows
    torch.testing.assert_close(got, alone(model, tokenizer, parts, "word"), atol=1e-5, rtol=0)


def test_a_word_longer_than_the_limit_is_cut_and_counted(minilm):
    words = ["see", "9." * 200, "there"]
    got = activations.extract(*minilm, [words], level="word", max_length=20)
    assert got.rows.shape[0] == 3
    assert got.notes["cut"] == 1


def test_long_sentence_vectors_are_cut_and_counted(minilm):
    got = activations.extract(*minilm, [TEXTS[0] * 9, TEXTS[1]], level="sentence", max_length=16)
    assert got.notes["cut"] == 1


def test_words_without_a_piece_become_unknown_and_are_counted(minilm):
    words = ["a", "\u200b", "b"]
    got = activations.extract(*minilm, [words], level="word")
    unknown = activations.extract(*minilm, [["a", "[UNK]", "b"]], level="word")
    assert got.notes["unknown"] == 1
    torch.testing.assert_close(got.rows, unknown.rows, atol=1e-5, rtol=0)


def test_special_tokens_in_the_text_do_not_move_the_summary(minilm):
    model, tokenizer = minilm
    text = "he wrote [CLS] here"
    got = activations.extract(model, tokenizer, [text], level="sentence").rows[0, -1]
    hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state
    torch.testing.assert_close(got, hidden[0, 0], atol=1e-5, rtol=0)


def test_chosen_layers_come_in_the_order_asked_for(minilm):
    every = activations.extract(*minilm, SENTENCES, level="word").rows
    some = activations.extract(*minilm, SENTENCES, level="word", layers=[6, 0]).rows
    assert torch.equal(some, every[:, [6, 0]])


@pytest.mark.parametrize(
    "sentences,options,message",
    [
        (SENTENCES, {"level": "wrod"}, "level 'wrod'.*word, sentence"),
        (SENTENCES, {"level": "word", "pooling": "max"}, "pooling 'max'.*last, first, mean"),
        ([None], {"level": "word"}, "sentence 0 is None; a string or a list is needed"),
        ([["a", None]], {"level": "word"}, "sentence 0 is empty or holds a blank word"),
        (SENTENCES, {"level": "word", "layers": [7]}, "layers \\[7\\].*0 to 6"),
        (TEXTS, {"level": "word"}, "sentence 0 is a string"),
        ([["a", " "]], {"level": "word"}, "sentence 0 is empty or holds a blank word"),
        ([[]], {"level": "word"}, "sentence 0 is empty"),
        ([], {"level": "word"}, "no sentences"),
        ([("a", "b", "c")], {"level": "sentence"}, "3 parts"),
        (["a", ("a", "b")], {"level": "sentence"}, "mixed"),
        (SENTENCES, {"level": "word", "max_length": 3}, "max_length 3"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(minilm, sentences, options, message):
    with pytest.raises(BadInput, match=message):
        activations.extract(*minilm, sentences, **options)


def test_training_mode_is_refused(family_folders):
    model, tokenizer = encoders.load(family_folders["bert"], device="cpu")
    with pytest.raises(BadInput, match="training mode"):
        activations.extract(model.train(), tokenizer, SENTENCES, level="word")


# ---- the tokenizer is checked against the model; no word is read from another's place -----------


@pytest.fixture
def bert(family_folders):
    """(model, tokenizer) of the small BERT, with what a test changes in them its own."""
    return encoders.load(family_folders["bert"], device="cpu")


def test_a_slow_tokenizer_reads_sentences_but_not_words(bert, tmp_path):
    model, _ = bert
    (tmp_path / "vocab.json").write_text('{"a": 0, "<unk>": 1, "b</w>": 2}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b</w>\n")
    slow = transformers.CTRLTokenizer(tmp_path / "vocab.json", tmp_path / "merges.txt")
    slow.pad_token = "<unk>"
    assert not slow.is_fast
    with pytest.raises(BadInput, match="words need a fast one"):
        activations.extract(model, slow, [["a", "b"]], level="word")
    assert activations.extract(model, slow, ["a b"], level="sentence").rows.shape == (1, 4, 24)


def rewrapped(tokenizer, **special):
    """The same pieces as another tokenizer, with only the special tokens that are named."""
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, **special
    )


def test_without_a_padding_token_another_stands_in_and_changes_nothing(family_folders, tmp_path):
    _, tokenizer = encoders.load(family_folders["bert"], device="cpu")
    shutil.copytree(family_folders["bert"], tmp_path / "model")
    for file in (tmp_path / "model").glob("tokenizer*"):
        file.unlink()
    names = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    rewrapped(tokenizer, **names).save_pretrained(tmp_path / "model")
    with pytest.warns(UserWarning, match="no padding token; '.UNK.' stands in"):
        model, without = encoders.load(tmp_path / "model", device="cpu")
    for padded in (without, rewrapped(tokenizer, **names)):  # also where nobody chose one
        got = activations.extract(model, padded, SENTENCES, level="word", batch_tokens=4096)
        wanted = alone(model, tokenizer, SENTENCES, "word")
        torch.testing.assert_close(got.rows, wanted, atol=1e-5, rtol=0)


def test_a_word_that_vanishes_without_an_unknown_token_is_refused(bert):
    model, tokenizer = bert
    bare = rewrapped(tokenizer, pad_token="[PAD]")
    with pytest.raises(BadInput, match="no piece for .*, and no unknown token"):
        activations.extract(model, bare, [["a", "\u200b"]], level="word")


def test_a_sentence_without_a_token_is_refused(bert):
    model, tokenizer = bert
    plain = rewrapped(tokenizer, pad_token="[PAD]")
    plain.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A", pair="$A $B"
    )
    for known in (tokenizer, plain):  # with special tokens and without
        with pytest.raises(BadInput, match="no piece for sentence 1"):
            activations.extract(model, known, ["a", "\u200b"], level="sentence")


def test_a_sentence_has_no_pieces_to_pool(bert):
    with pytest.raises(BadInput, match="pooling is of the pieces of a word"):
        activations.extract(*bert, TEXTS, level="sentence", pooling="mean")


def test_tokens_beyond_the_embeddings_are_refused_by_name(bert):
    model, tokenizer = bert
    tokenizer.add_tokens(["sailor"])
    for level, text in (("word", SENTENCES), ("sentence", TEXTS)):
        with pytest.raises(BadInput, match="gives 'sailor' the number 120, and the model has 120"):
            activations.extract(model, tokenizer, text, level=level)
    model.resize_token_embeddings(121)
    assert len(activations.extract(model, tokenizer, SENTENCES, level="word").rows)


def test_types_that_the_model_does_not_know_are_refused(family_folders, tmp_path):
    shutil.copytree(family_folders["bert"], tmp_path / "model")
    config = transformers.AutoConfig.from_pretrained(tmp_path / "model", type_vocab_size=1)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "model")
    model, tokenizer = encoders.load(tmp_path / "model", device="cpu")
    with pytest.raises(BadInput, match="tells 2 types of tokens apart and the model 1"):
        activations.extract(model, tokenizer, PAIRS, level="sentence")
    assert len(activations.extract(model, tokenizer, TEXTS, level="sentence").rows) == len(TEXTS)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    assert len(activations.extract(model, tokenizer, PAIRS, level="sentence").rows) == len(PAIRS)


def test_types_that_the_model_does_not_take_are_left_out(family_folders):
    model, tokenizer = encoders.load(family_folders["distilbert"], device="cpu")
    wanted = activations.extract(model, tokenizer, TEXTS, level="sentence").rows
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    assert torch.equal(activations.extract(model, tokenizer, TEXTS, level="sentence").rows, wanted)


def test_blanks_around_words_are_no_part_of_them(family_model):
    model, tokenizer = family_model
    blank = [[f" {word}  " for word in words] for words in SENTENCES]
    got = activations.extract(model, tokenizer, blank, level="word")
    wanted = activations.extract(model, tokenizer, SENTENCES, level="word")
    assert got.notes == wanted.notes
    torch.testing.assert_close(got.rows, wanted.rows, atol=1e-5, rtol=0)


def spots(model, tokenizer, words, **options):
    """Pieces of each word as text, window after window."""
    encoded = batches.encode(model, tokenizer, [words], level="word", **options)
    found = []
    for ids, first, last in zip(encoded.ids, encoded.first, encoded.last, strict=True):
        pieces = tokenizer.convert_ids_to_tokens(ids)
        found += [pieces[a : b + 1] for a, b in zip(first, last, strict=True)]
    return found, encoded.notes


def test_a_token_of_two_words_belongs_to_both(bert):
    model, tokenizer = bert
    tokenizer.add_tokens(["small boat"])
    model.resize_token_embeddings(len(tokenizer))
    found, notes = spots(model, tokenizer, ["old", "small", "boat", "old"])
    assert found[1] == found[2] == ["small boat"] and found[0] == found[3] != ["small boat"]
    assert notes == {"shared": 1}


def test_a_piece_that_ends_with_the_blank_belongs_to_the_word_before_it(bert):
    model, tokenizer = bert
    tokenizer.add_tokens([AddedToken("old ", normalized=False), AddedToken("boat", rstrip=True)])
    model.resize_token_embeddings(len(tokenizer))
    found, notes = spots(model, tokenizer, ["old", "A", "boat", "A"])
    assert [pieces[0] for pieces in found] == ["old ", found[1][0], "boat", found[1][0]]
    assert found[1] == found[3] and not notes


@pytest.mark.parametrize("limit", [8, 12, 19, 30])
def test_windows_lose_no_word_and_read_none_from_a_wrong_place(family_model, limit):
    """Words of many pieces at every place, so that windows begin with some of them."""
    model, tokenizer = family_model
    words = [w for n in range(9) for w in ["a", "Neighbouring" * (1 + n % 2), "?", "b" * n + "."]]
    found, notes = spots(model, tokenizer, words, max_length=limit)
    assert len(found) == len(words) and notes["windows"] == 1
    for word, pieces in zip(words, found, strict=True):
        whole = len(tokenizer(word, add_special_tokens=False)["input_ids"])
        said = tokenizer.convert_tokens_to_string(pieces).replace("##", "").replace(" ", "")
        if tokenizer.unk_token not in pieces:
            assert said and word.lower().startswith(said.lower())
            assert len(said) == len(word) or whole > limit - 4
    got = activations.extract(model, tokenizer, [words], level="word", max_length=limit).rows
    assert len(got) == len(words) and torch.isfinite(got).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_agrees_with_cpu(family_folders):
    for folder in family_folders.values():
        cpu, tokenizer = encoders.load(folder, device="cpu")
        gpu, _ = encoders.load(folder, device="cuda")
        for level, sentences in (("word", SENTENCES), ("sentence", PAIRS)):
            want = activations.extract(cpu, tokenizer, sentences, level=level).rows
            got = activations.extract(gpu, tokenizer, sentences, level=level).rows
            torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("padding_side", ["left", "right"])
def test_a_batch_is_padded_as_the_tokenizer_pads(family_model, padding_side):
    """Heads find the last real token by the side."""
    model, tokenizer = family_model
    tokenizer.padding_side = padding_side
    texts = ["the old dog saw a small boat near harbour", "a small boat", "dog"]
    encoded = batches.encode(model, tokenizer, texts, level="sentence")
    (batch,) = batches.batches(encoded, model, tokenizer, batch_tokens=1000)
    wanted = tokenizer(texts, padding=True, return_tensors="pt")
    for name in ("input_ids", "attention_mask"):
        torch.testing.assert_close(batch.inputs[name], wanted[name])
