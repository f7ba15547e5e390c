"""Any transformer whose blocks are one list: read, cut, run with a cache, saved and read again."""

import copy
import json
import shutil

import pytest
import torch
import transformers
from conftest import CORPUS, SENTENCES, predict, write
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED

from lib import BadInput, activations, dropping, encoders, from_scratch, structure

BLOCKS = 4
CUTS = [(1, 2, 3), (0, 2, 3), (0,)]
SHAPE = {  # by the names that every config understands, where it has such an entry
    "hidden_size": 32,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "head_dim": 8,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
MIXED = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
WINDOW = {"use_sliding_window": True, "sliding_window": 4, "layer_types": MIXED}
GLOBAL = {"local_attention": 8, "layer_types": MIXED, "cls_token_id": 0, "sep_token_id": 2}
ENCODERS = {
    "bert": {},
    "roberta": {},
    "xlm-roberta": {},
    "camembert": {},
    "distilbert": {},
    "mpnet": {},
    "electra": {"embedding_size": 16},
    "deberta": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "modernbert": GLOBAL,
    "albert": {"embedding_size": 16},
    "rembert": {},
    "megatron-bert": {},
    "longformer": {"attention_window": [4, 8, 4, 8]},
    "ibert": {},  # its embeddings are of a class of their own; positions begin behind padding's
    "mra": {},  # positions begin at 2
}
DECODERS = {
    "gpt2": {},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "window_size": 4},
    "gpt_neox": {},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "bloom": {},
    "llama": {},
    "mistral": {"sliding_window": 4},
    "qwen2": WINDOW,
    "qwen3": WINDOW,
    "gemma2": WINDOW,
    "gemma3_text": WINDOW,
    "phi3": {},
    "olmo2": {},
    "cohere2": WINDOW,
    "smollm3": {"no_rope_layers": [1, 0, 1, 1]},
    "gpt_oss": WINDOW | {"num_local_experts": 4, "num_experts_per_tok": 2},
}
OTHERS = {"xlnet": {"max_position_embeddings": None}, "mamba": {}}  # another cache, if any
ARCHITECTURES = ENCODERS | DECODERS | OTHERS
REFUSED = {  # what cannot go, and why
    "modernbert": lambda keep: 0 not in keep,  # the first block has one normalisation less
}


def built(name, folder, **more):
    """A small random model of an architecture, in a folder with a tokenizer of bytes."""
    kind = transformers.CONFIG_MAPPING[name]
    wanted = {**SHAPE, **ARCHITECTURES.get(name, {}), **more}
    names, empty = getattr(kind, "attribute_map", {}), kind()
    shape = {
        names.get(key, key): value
        for key, value in wanted.items()
        if value is not None and (key not in SHAPE or hasattr(empty, key))
    }
    tokenizer = from_scratch.tokenizer("roberta-mini-12", CORPUS, 320)
    config = kind(**shape, vocab_size=len(tokenizer))
    maker = AutoModelForMaskedLM if name in MASKED else AutoModelForCausalLM
    return write(lambda: maker.from_config(config), tokenizer, folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folder of the small model of each architecture, made when it is asked for."""
    root, made = tmp_path_factory.mktemp("architectures"), {}
    return lambda name: made.get(name) or made.setdefault(name, built(name, root / name))


def refused(name, keep):
    return name in REFUSED and REFUSED[name](keep)


def said(model, ids, **options):
    with torch.inference_mode():
        return model(ids, **options)


def skipping(model, keep):
    """A model whose other blocks hand on what they get: the slow reference of a cut."""
    model = copy.deepcopy(model)
    for number, block in enumerate(dropping.block_list(model)):
        if number not in keep:
            block.forward = handing_on(block.forward)
    return model


def handing_on(forward):
    def given(*args, **kwargs):
        entered = args[0] if args else kwargs["hidden_states"]
        left = forward(*args, **kwargs)
        return entered if isinstance(left, torch.Tensor) else (entered, *left[1:])

    return given


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_cut_is_the_model_that_skips_the_other_blocks(folders, name):
    whole, _ = encoders.load(folders(name), head="lm", device="cpu")
    ids = torch.randint(5, 300, (2, 20), generator=torch.Generator().manual_seed(1))
    for keep in CUTS:
        model = copy.deepcopy(whole)
        if refused(name, keep):
            with pytest.raises(BadInput, match=r"blocks \[.*\] cannot be dropped: "):
                dropping.drop_blocks(model, keep)
            assert torch.equal(said(model, ids)[0], said(whole, ids)[0])
            continue
        dropping.drop_blocks(model, keep)
        assert dropping.n_blocks(model) == len(keep)
        if not structure.family(whole).shared:
            wanted = said(skipping(whole, keep), ids)[0]
            torch.testing.assert_close(said(model, ids)[0], wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_cut_saved_and_read_again_is_the_same(folders, name, tmp_path):
    whole, tokenizer = encoders.load(folders(name), head="lm", device="cpu")
    ids = torch.randint(5, 300, (2, 20), generator=torch.Generator().manual_seed(1))
    model = dropping.drop_blocks(whole, (0, 2))
    folder = dropping.save(model, tokenizer, tmp_path / "cut")
    again, _ = encoders.load(folder, head="lm", device="cpu")
    assert encoders.blocks(folder) == 2
    assert torch.equal(said(again, ids)[0], said(model, ids)[0])


@pytest.mark.parametrize("name", DECODERS)
def test_a_cut_says_the_same_with_a_cache(folders, name):
    whole, _ = encoders.load(folders(name), head="lm", device="cpu")
    ids = torch.randint(5, 300, (2, 20), generator=torch.Generator().manual_seed(1))
    for keep in ((3,), (0, 2)):
        model = dropping.drop_blocks(copy.deepcopy(whole), keep)
        begun = said(model, ids[:, :12], use_cache=True)
        assert {len(keep)} == {len(begun.past_key_values)}
        rest = said(model, ids[:, 12:], past_key_values=begun.past_key_values)
        torch.testing.assert_close(rest[0], said(model, ids)[0][:, 12:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_vectors_are_those_of_plain_transformers_whatever_the_batches(folders, name):
    model, tokenizer = encoders.load(folders(name), device="cpu")
    plain = transformers.AutoModel.from_pretrained(folders(name))
    tokenizer.padding_side = "left"
    words = [words for words in SENTENCES if len(words) < 10]
    got = activations.extract(
        model, tokenizer, words, level="word", batch_tokens=999, max_length=60
    )
    assert not got.notes
    for number, sentence in enumerate(words):
        encoded = tokenizer(" ".join(sentence), return_tensors="pt")
        encoded = {key: encoded[key] for key in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            hidden = plain(**encoded, output_hidden_states=True).hidden_states
        rows = got.rows[got.owner == number][-1]
        last = torch.stack([layer[0] for layer in hidden], dim=1)
        distance = (last - rows).abs().amax(dim=(1, 2))
        assert (
            distance[-2:].min() < 1e-4
        )  # the last word ends before a special token, or at the end


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen3", "gemma2", "opt", "bloom"])
def test_sentences_and_their_classes_do_not_depend_on_the_batch(folders, name):
    """A decoder's last real token stands for a sentence, and its head reads that token."""
    model, tokenizer = encoders.load(folders(name), head=3, device="cpu")
    texts = [" ".join(words) for words in SENTENCES if len(words) < 10]
    rows = activations.extract(model, tokenizer, texts, level="sentence").rows
    classes = predict(model, tokenizer, texts)
    for number, text in enumerate(texts):
        alone = activations.extract(model, tokenizer, [text], level="sentence").rows[0]
        torch.testing.assert_close(rows[number], alone, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(classes[number], model.score(alone[-1]), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(
            classes[number], predict(model, tokenizer, [text])[0], atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize(
    "name", ["bert", "roberta", "distilbert", "mpnet", "deberta-v2", "modernbert", "xlnet", "gpt2",
             "llama", "gpt_neox"]
)  # fmt: skip
def test_a_head_saved_for_other_labels_is_drawn_anew(folders, name, tmp_path):
    model, tokenizer = encoders.load(folders(name), head=("bad", "good"), device="cpu")
    dropping.save(model, tokenizer, tmp_path / "tuned")
    same, _ = encoders.load(tmp_path / "tuned", head=("bad", "good"), device="cpu")
    with pytest.warns(UserWarning, match=r"is for \('bad', 'good'\); a new one is drawn"):
        other, _ = encoders.load(tmp_path / "tuned", head=("no", "yes"), device="cpu")
    assert other.config.id2label == {0: "no", 1: "yes"}
    body = {f"{model.base_model_prefix}.{n}" for n, _ in model.base_model.named_parameters()}
    stored, drawn = model.state_dict(), {}
    for part, weight in other.state_dict().items():
        assert torch.equal(same.state_dict()[part], stored[part])
        if part in body:
            assert torch.equal(weight, stored[part])
        elif weight.ndim > 1:
            drawn[part] = torch.equal(weight, stored[part])
    assert drawn and not any(drawn.values())


@pytest.mark.parametrize("name", ["convbert", "fnet", "nystromformer"])
def test_a_model_whose_vectors_depend_on_padding_is_refused(name, tmp_path):
    model, tokenizer = encoders.load(built(name, tmp_path / name), device="cpu")
    for level, texts in (("word", SENTENCES), ("sentence", ["Why ?", "She"])):
        with pytest.raises(BadInput, match=f"in {name} the vectors .* depend on the padding"):
            activations.extract(model, tokenizer, texts, level=level)


def test_a_model_that_needs_more_than_text_is_refused_before_it_reads(tmp_path):
    model, tokenizer = encoders.load(built("xmod", tmp_path / "xmod"), device="cpu")
    with pytest.raises(BadInput, match="'xmod' cannot be run on text alone: Input language"):
        activations.extract(model, tokenizer, SENTENCES, level="word")


def test_a_long_sentence_does_not_turn_those_beside_it(tmp_path):
    """Positions whose angles depend on the longest of a batch are read where they do not."""
    scale = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    scale |= {"rope_theta": 10000.0}
    own = {"rope_parameters": scale, "original_max_position_embeddings": 16}
    folder = built("phi3", tmp_path / "phi3", **own)
    model, tokenizer = encoders.load(folder, device="cpu")
    assert encoders.max_tokens(model, tokenizer) == 16
    texts = [["boat"] * 3, ["boat", "harbour"] * 12]
    beside = activations.extract(model, tokenizer, texts, level="word", batch_tokens=999)
    alone = activations.extract(model, tokenizer, texts[:1], level="word")
    torch.testing.assert_close(beside.rows[:3], alone.rows, atol=1e-4, rtol=1e-4)
    assert beside.notes["windows"] == 1


def test_weights_that_give_no_numbers_are_refused(folders, tmp_path):
    model = transformers.AutoModel.from_pretrained(folders("bert"))
    model.encoder.layer[1].output.dense.bias.data[3] = torch.nan
    model.save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(folders("bert")).save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="give vectors that are not finite"):
        activations.extract(*encoders.load(tmp_path, device="cpu"), SENTENCES, level="word")


NO_TEXT = {
    "clip": r"no model of text alone, but 'clip' \(it has text_config, vision_config\)",
    "gemma3": "no model of text alone, but 'gemma3'",
    "siglip": "no model of text alone, but 'siglip'",
    "vit": "no model of text alone, but 'vit'",
    "wav2vec2": "no model of text alone, but 'wav2vec2'",
    "qwen2_5_vl": "no model of text alone, but 'qwen2_5_vl'",
    "bart": "an encoder with a decoder; a model of one stack of blocks is needed",
    "t5": "an encoder with a decoder",
    "whisper": "an encoder with a decoder",
}


@pytest.mark.parametrize("name", NO_TEXT)
def test_a_model_of_more_than_text_is_refused_by_its_config(name, tmp_path):
    transformers.CONFIG_MAPPING[name]().save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    stored.pop("is_encoder_decoder", None)  # what the class says holds where the file is silent
    (tmp_path / "config.json").write_text(json.dumps(stored))
    with pytest.raises(BadInput, match=NO_TEXT[name]) as caught:
        encoders.read_config(tmp_path)
    assert "\n" not in str(caught.value)


def test_who_sees_whom_is_read_from_the_config():
    def sees_all(name, **config):
        return not encoders.causal(transformers.CONFIG_MAPPING[name](**config))

    assert sees_all("bert") and not sees_all("bert", is_decoder=True)
    assert sees_all("bert-generation") and not sees_all("bert-generation", is_decoder=True)
    assert sees_all("gemma3_text", use_bidirectional_attention=True)
    assert not sees_all("gemma3_text") and not sees_all("gpt_neox") and sees_all("xlnet")


def test_a_head_of_words_that_cannot_be_meant_is_refused(folders, tmp_path):
    """A discriminator predicts no words; without is_decoder BERT sees the next one."""
    electra = transformers.AutoConfig.from_pretrained(folders("electra"))
    transformers.ElectraForPreTraining(electra).save_pretrained(tmp_path / "electra")
    bert = transformers.AutoConfig.from_pretrained(folders("bert"))
    transformers.BertLMHeadModel(bert).save_pretrained(tmp_path / "bert")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders("gpt2"))
    tokenizer.mask_token = None
    shutil.copytree(folders("roberta"), tmp_path / "maskless")
    for name in ("electra", "bert", "maskless"):
        tokenizer.save_pretrained(tmp_path / name)
    for name, sentence in (
        ("electra", "no head that predicts words: it is ElectraForPreTraining"),
        ("bert", "BertLMHeadModel predicts next words, and by its config each token sees them"),
        ("maskless", "has no token that hides words"),
    ):
        with pytest.raises(BadInput, match=sentence):
            encoders.load(tmp_path / name, head="lm", device="cpu")
    model, _ = encoders.load(tmp_path / "electra", device="cpu")
    assert encoders.saved_head(model.config) is None


def test_a_classifier_that_transformers_does_not_have_is_refused(folders):
    with pytest.raises(BadInput, match="no sentence classifier of architecture 'cohere2'"):
        encoders.load(folders("cohere2"), head=3, device="cpu")


def test_what_depends_on_the_place_of_a_block_is_refused_with_the_reason(folders, tmp_path):
    folder = built("deberta-v2", tmp_path / "conv", conv_kernel_size=3, conv_act="gelu")
    model, _ = encoders.load(folder, head="lm", device="cpu")
    with pytest.raises(BadInput, match="from the model that skips them, for in deberta-v2 some"):
        dropping.drop_blocks(model, [1, 2, 3])
    dropping.drop_blocks(model, [0, 2])
    folder = built("gpt2", tmp_path / "scaled", scale_attn_by_inverse_layer_idx=True)
    model, _ = encoders.load(folder, head="lm", device="cpu")
    with pytest.raises(BadInput, match="read again, the model would have another .*attn.scaling"):
        dropping.drop_blocks(model, [0, 2, 3])
    dropping.drop_blocks(model, [0, 1])  # the top may go


def test_saving_refuses_what_would_be_read_as_another(folders, tmp_path):
    """A cut that did not prove itself is found at saving, and nothing stays."""
    model, tokenizer = encoders.load(folders("modernbert"), head="lm", device="cpu")
    dropping.drop_blocks(model, [1, 2, 3], check=False)
    with pytest.raises(BadInput, match="cannot be saved: read again, the model would have another"):
        dropping.save(model, tokenizer, tmp_path / "cut")
    assert not (tmp_path / "cut").exists()


def test_blocks_in_several_lists_are_refused():
    config = transformers.XLMConfig(emb_dim=16, n_layers=3, n_heads=2, vocab_size=50)
    model = transformers.XLMModel(config)
    with pytest.raises(BadInput, match="xlm does not keep its 3 blocks in one list"):
        dropping.drop_blocks(model, [0, 1])
