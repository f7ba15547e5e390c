"""Where models come from, and what is refused."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
import transformers
from conftest import SENTENCES, predict
from safetensors.torch import load_file, save_file

from lib import BadInput, activations, checkpoints, dropping, encoders


def test_published_weights_have_the_digest_of_the_table():
    folder = encoders.find("all-minilm-l6-v2")
    assert checkpoints.weights_digest(folder) == encoders.MODELS["all-minilm-l6-v2"].sha256


def test_other_weights_under_a_published_name_are_refused(monkeypatch, family_folders):
    monkeypatch.setattr(checkpoints, "_cached", lambda hub: family_folders["bert"])
    with pytest.raises(BadInput, match="digest differs"):
        encoders.find("all-minilm-l6-v2")


def test_pickles_are_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(BadInput, match="no model.safetensors"):
        encoders.load(tmp_path)


def test_unknown_name_lists_the_table():
    with pytest.raises(BadInput, match="all-minilm-l6-v2.*albert-base-v2"):
        encoders.load("bert-bsae")


def test_hub_id_without_the_hub_says_why(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BadInput, match="HF_HUB_OFFLINE is set"):
        encoders.find("nobody/nothing-of-this-name")


@pytest.mark.parametrize("outputs", [1, 3])
def test_head_has_the_outputs_asked_for(family_folders, outputs):
    for folder in family_folders.values():
        model, tokenizer = encoders.load(folder, head=outputs, device="cpu")
        encoded = tokenizer("Why ?", return_tensors="pt")
        assert model(**encoded).logits.shape == (1, outputs)


# ---- what does not fit is refused in one sentence, before any data is read ----------------------


def rewritten(source, folder, change):
    """A copy of a model's folder whose weights are what ``change`` makes of them by name."""
    shutil.copytree(source, folder)
    weights = change(load_file(source / "model.safetensors"))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def reconfigured(source, folder, **config):
    """A copy of a model's folder with another config."""
    shutil.copytree(source, folder)
    stored = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps(stored))
    return folder


def replaced(source, folder, name, content: bytes | None):
    """A copy of a model's folder with other bytes in one file, or without it."""
    shutil.copytree(source, folder)
    (folder / name).unlink(missing_ok=True)
    if content is not None:
        (folder / name).write_bytes(content)
    return folder


def prefixed(prefix):
    return lambda m, p: rewritten(m, p, lambda w: {prefix + name: t for name, t in w.items()})


def without(source, folder, part):
    return rewritten(source, folder, lambda w: {n: t for n, t in w.items() if part not in n})


def config(**entries):
    return lambda m, p: reconfigured(m, p, **entries)


def file(name, content=None):
    return lambda m, p: replaced(m, p, name, content)


def lacking(part):
    return lambda m, p: without(m, p, part)


def narrower(source, folder):
    """One head of an attention is really gone from the weights."""
    name = "encoder.layer.1.attention.self.query.weight"
    return rewritten(source, folder, lambda w: w | {name: w[name][:12].clone()})


def deeper(source, folder):
    """Weights of more blocks than the config says."""
    return reconfigured(source, folder, num_hidden_layers=2)


def renamed(source, folder):
    return rewritten(
        source, folder, lambda w: {n.replace("query", "question"): t for n, t in w.items()}
    )


def cut_short(source, folder):
    whole = (source / "model.safetensors").read_bytes()
    return replaced(source, folder, "model.safetensors", whole[: len(whole) // 2])


def lacking_a_shard(source, folder):
    shutil.copytree(source, folder)
    model = transformers.AutoModel.from_pretrained(source)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="10KB")
    sorted(folder.glob("model-*.safetensors"))[1].unlink()
    return folder


def optimizer_only(source, folder):
    shutil.copytree(source, folder)
    (folder / "model.safetensors").rename(folder / "optimizer.safetensors")
    return folder


def sliced(source, folder):
    """Merges of a byte tokenizer are gone, and with them every known word."""
    replaced(source, folder, "tokenizer.json", None)
    (folder / "vocab.json").write_text('{"a": 0}')
    return folder


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
UNFIT = {
    "prefix module.": (prefixed("module."), "the weights in .* lack '"),
    "prefix model.bert.": (prefixed("model.bert."), "the weights in .* lack '"),
    "prefix model.": (prefixed("model."), "the weights in .* lack '"),
    "a tensor absent": (
        lacking("layer.1.output.dense.bias"),
        r"lack '(bert\.)?encoder.layer.1.output.dense.bias'$",
    ),
    "half a pooler": (lacking("pooler.dense.bias"), "lack '(bert.)?pooler.dense.bias'"),
    "other names": (renamed, "lack '(bert.)?encoder.layer.0.attention.self.query"),
    "pruned heads": (narrower, "have another shape than the config says in '.*encoder.layer.1"),
    "more blocks than said": (deeper, "hold, and the config does not, 'encoder.layer.2"),
    "own code": (
        config(auto_map={"AutoModel": "other.Bert"}),
        "code of its own .auto_map., which is never run",
    ),
    "own tokenizer code": (
        file("tokenizer_config.json", b'{"auto_map": {}}'),
        "tokenizer with code of its own",
    ),
    "relative positions": (
        config(position_embedding_type="relative_key_query"),
        "relative position embeddings of a kind that transformers no longer computes",
    ),
    "quantised": (config(quantization_config={"load_in_8bit": True}), "has quantised weights"),
    "encoder-decoder": (config(is_encoder_decoder=True), "encoder with a decoder"),
    "LFS pointer": (
        file("model.safetensors", POINTER),
        "model.safetensors is a pointer of Git LFS",
    ),
    "LFS pointer for a tokenizer": (
        file("vocab.txt", POINTER),
        "vocab.txt is a pointer of Git LFS",
    ),
    "empty weights": (
        file("model.safetensors", b""),
        "model.safetensors is no whole safetensors file",
    ),
    "cut weights": (cut_short, "model.safetensors is no whole safetensors file"),
    "no weights": (
        file("model.safetensors"),
        "holds no model.safetensors; other weights are not read",
    ),
    "a shard missing": (lacking_a_shard, "holds no model-00002-of-.*.safetensors"),
    "an index of nothing": (
        lambda m, p: replaced(
            replaced(m, p.with_name("x"), "model.safetensors", None),
            p,
            "model.safetensors.index.json",
            b"{}",
        ),
        "index.json cannot be read",
    ),
    "optimizer only": (optimizer_only, "holds no model.safetensors"),
    "LoRA": (file("adapter_config.json", b"{}"), "holds an adapter .LoRA., no whole model"),
    "no config": (file("config.json"), "no config.json that can be read"),
    "bad config": (file("config.json", b"{"), "no config.json that can be read"),
    "a config of nothing": (file("config.json", b"[]"), "no config.json that can be read"),
    "foreign config": (
        config(model_type="sequoia"),
        "architecture 'sequoia' of .* is not known to transformers",
    ),
    "config of another": (config(model_type="gpt2"), "weights in .* lack"),
    "config that cannot be": (config(num_attention_heads=7), "cannot be (used|read): "),
    "config of a wrong type": (config(num_hidden_layers="three"), "cannot be (used|read): "),
    "no tokenizer": (file("tokenizer.json"), "has no tokenizer beside it"),
    "no merges": (sliced, "has no tokenizer beside it"),
    "bad tokenizer": (file("tokenizer.json", b"{}"), "the tokenizer of .* cannot be read"),
}


@pytest.mark.parametrize("head", [None, 2])
@pytest.mark.parametrize("what", UNFIT)
def test_a_folder_that_does_not_fit_is_refused_in_one_sentence(
    what, head, family_folders, tmp_path
):
    make, sentence = UNFIT[what]
    folder = make(family_folders["bert"], tmp_path / "model")
    with pytest.raises(BadInput, match=sentence) as caught:
        encoders.load(folder, head=head, device="cpu")
    assert "\n" not in str(caught.value) and "<class" not in str(caught.value)


@pytest.fixture
def classifier(family_folders, tmp_path):
    """A folder with a three-class head, as training would leave it."""
    model, tokenizer = encoders.load(family_folders["bert"], head=3, device="cpu")
    model.save_pretrained(tmp_path / "three")
    tokenizer.save_pretrained(tmp_path / "three")
    return tmp_path / "three"


def test_a_head_of_other_outputs_is_refused(classifier):
    with pytest.raises(BadInput, match=r"another shape than the config says in 'classifier.bias'"):
        encoders.load(classifier, head=2, device="cpu")


def test_a_classifier_without_its_head_is_refused_and_not_given_a_random_one(classifier, tmp_path):
    headless = without(classifier, tmp_path / "headless", "classifier")
    with pytest.raises(BadInput, match="lack 'classifier.bias' and 1 more"):
        encoders.load(headless, head=3, device="cpu")


def test_a_classifier_without_its_pooler_is_refused_too(classifier, tmp_path):
    without_it = without(classifier, tmp_path / "without", "pooler")
    with pytest.raises(BadInput, match="lack 'pooler.dense.bias' and 1 more"):
        encoders.load(without_it, head=3, device="cpu")


def test_a_head_for_another_task_is_replaced_by_a_new_one(family_folders, tmp_path):
    """A tagger's head bears the name of a classifier's; its shape does not stand in the way."""
    tagger = transformers.BertForTokenClassification.from_pretrained(
        family_folders["bert"], num_labels=7
    )
    tagger.save_pretrained(tmp_path / "tagger")
    shutil.copy(family_folders["bert"] / "tokenizer.json", tmp_path / "tagger")
    model, _ = encoders.load(tmp_path / "tagger", head=2, device="cpu")
    assert model.classifier.weight.shape == (2, 24)


def test_an_unknown_head_is_refused(family_folders):
    with pytest.raises(BadInput, match="head 'ml' is not known; valid: lm"):
        encoders.load(family_folders["bert"], head="ml", device="cpu")


def test_what_is_read_is_what_lies_there(classifier, family_folders, tmp_path):
    """Heads of another task are left aside; shards, and a model of words, are read exactly."""
    stored = load_file(classifier / "model.safetensors")
    bare, _ = encoders.load(classifier, device="cpu")
    for name, weight in bare.state_dict().items():
        assert torch.equal(weight, stored[f"bert.{name}"])
    bare.save_pretrained(tmp_path / "shards", max_shard_size="10KB")
    for file in family_folders["bert"].glob("tokenizer*"):
        shutil.copy(file, tmp_path / "shards")
    again, _ = encoders.load(tmp_path / "shards", device="cpu")
    for name, weight in bare.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])


def test_a_model_of_words_has_no_pooler_that_was_never_trained():
    bare, _ = encoders.load("bert-mini-12", device="cpu")
    assert bare.pooler is None
    tuned, _ = encoders.load("bert-mini-12", head=2, device="cpu")
    assert tuned.bert.pooler is not None


@pytest.mark.parametrize("name", ["bert-mini-12", "roberta-mini-12", "xlnet-mini-12"])
def test_the_head_that_predicts_words_is_the_one_it_was_made_with(name):
    model, tokenizer = encoders.load(name, head="lm", device="cpu")
    assert type(model).__name__ == model.config.architectures[0]
    ids = tokenizer("a small boat", return_tensors="pt")["input_ids"]
    assert model(ids).logits.shape == (1, ids.shape[1], model.config.vocab_size)


def test_a_model_without_such_a_head_says_so(family_folders):
    with pytest.raises(BadInput, match="no head that predicts words: it is BertModel"):
        encoders.load(family_folders["bert"], head="lm", device="cpu")


def test_albert_of_several_blocks_in_a_group_is_refused(family_folders, tmp_path):
    folder = reconfigured(family_folders["albert"], tmp_path / "two", inner_group_num=2)
    with pytest.raises(BadInput, match="several blocks in one layer group"):
        encoders.load(folder, device="cpu")


# ---- what the config decides is read from the config -------------------------------------------


@pytest.mark.parametrize("padding", [0, 1, 5])
def test_positions_are_counted_from_the_padding_of_the_config(family_folders, tmp_path, padding):
    folder = reconfigured(family_folders["roberta"], tmp_path / "model", pad_token_id=padding)
    model, tokenizer = encoders.load(folder, device="cpu")
    plain = transformers.AutoModel.from_pretrained(folder)
    texts = ["Why ?", "A small boat", "She", "nobody helped !"]
    got = activations.extract(model, tokenizer, texts, level="sentence").rows
    for text, rows in zip(texts, got, strict=True):
        hidden = plain(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
        wanted = torch.stack([layer[0, 0] for layer in hidden.hidden_states])
        torch.testing.assert_close(rows, wanted, atol=1e-5, rtol=0)
    assert encoders.max_tokens(model, tokenizer) == 40 - padding - 1


@pytest.mark.parametrize("kind", ["first", "last"])
def test_the_summary_of_the_config_is_padded_on_the_other_side(family_folders, tmp_path, kind):
    folder = reconfigured(family_folders["xlnet"], tmp_path / "model", summary_type=kind)
    model, tokenizer = encoders.load(folder, head=2, device="cpu")
    texts = [" ".join(words) for words in SENTENCES]
    together = predict(model, tokenizer, texts)
    alone = torch.cat([predict(model, tokenizer, [text]) for text in texts])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_a_summary_over_padding_is_refused(family_folders, tmp_path):
    folder = reconfigured(family_folders["xlnet"], tmp_path / "model", summary_type="mean")
    with pytest.raises(BadInput, match="summary_type 'mean'.*valid: first, last"):
        encoders.load(folder, head=2, device="cpu")
    model, tokenizer = encoders.load(folder, device="cpu")  # words need no summary
    assert len(activations.extract(model, tokenizer, SENTENCES, level="word").rows)


@pytest.mark.parametrize(
    "stored",
    [
        {"return_dict": False},
        {"output_attentions": True},
        {"output_hidden_states": True},
        {"chunk_size_feed_forward": 7},
        {"use_cache": True},
    ],
)
def test_what_a_config_asks_of_the_output_changes_nothing(family_folders, tmp_path, stored):
    for family in ("bert", "distilbert", "xlnet"):
        whole, tokenizer = encoders.load(family_folders[family], device="cpu")
        folder = reconfigured(family_folders[family], tmp_path / family, **stored)
        model, _ = encoders.load(folder, device="cpu")
        for level, text in (("word", SENTENCES), ("sentence", ["Why ?", "She gave her dog"])):
            wanted = activations.extract(whole, tokenizer, text, level=level).rows
            got = activations.extract(model, tokenizer, text, level=level).rows
            assert torch.equal(got, wanted)
        dropping.save(model, tokenizer, tmp_path / f"{family} saved")


# ---- digests, the Hub ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_folder_that_changes_has_another_digest(family_folders, tmp_path, name):
    folder = shutil.copytree(family_folders["bert"], tmp_path / "model")
    before = checkpoints.digest(folder)
    assert before == checkpoints.digest(family_folders["bert"])
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content + b" ")
    assert checkpoints.digest(folder) != before
    (folder / name).write_bytes(content)
    assert checkpoints.digest(folder) == before
    (folder / "special_tokens_map.json").write_text("{}")  # a file more is a change too
    assert checkpoints.digest(folder) != before
    (folder / "special_tokens_map.json").unlink()
    (folder / "training.json").write_text("{}")  # no file that decides a number
    assert checkpoints.digest(folder) == before


HUB = """
import http.server, os, sys, threading
class Hub(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
    do_HEAD = do_GET
    def log_message(self, *_): pass
hub = http.server.HTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=hub.serve_forever, daemon=True).start()
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{hub.server_port}"
from lib import BadInput, encoders
for name in ("nobody/nothing", "no--body/-x"):
    try: encoders.find(name)
    except BadInput as error: print(error)
hub.shutdown(); hub.server_close()
try: encoders.find("nobody/nothing")
except BadInput as error: print(error)
"""


def test_a_model_that_is_not_there_and_a_hub_that_is_not_are_told_apart(tmp_path):
    environment = os.environ | {"HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", HUB], env=environment, capture_output=True, text=True, check=True
    )
    gone, invalid, silent = done.stdout.splitlines()
    assert "'nobody/nothing' does not exist on the Hub" in gone
    assert "'no--body/-x' is no valid Hub id" in invalid
    assert "the Hub did not answer (no connection" in silent
    assert "Error" not in done.stdout and "class" not in done.stdout


def test_what_is_made_once_appears_whole_or_not_at_all(tmp_path):
    place, made = tmp_path / "made", []

    def killed(fresh):
        fresh.mkdir()
        (fresh / "half").touch()
        raise KeyboardInterrupt

    def makes(fresh):
        made.append(fresh)
        fresh.mkdir()
        (fresh / "whole").touch()

    with pytest.raises(KeyboardInterrupt):
        checkpoints.once(place, killed)
    assert not place.exists()
    for _ in range(2):
        assert checkpoints.once(place, makes) == place
    assert len(made) == 1 and [file.name for file in place.iterdir()] == ["whole"]
