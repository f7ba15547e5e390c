"""Where models come from, and what is refused."""

import pytest
import torch

from lib import BadInput, encoders


def test_published_weights_have_the_digest_of_the_table():
    folder = encoders.find("all-minilm-l6-v2")
    assert encoders.digest(folder) == encoders.MODELS["all-minilm-l6-v2"].sha256


def test_other_weights_under_a_published_name_are_refused(monkeypatch, family_folders):
    monkeypatch.setattr(encoders, "_cached", lambda hub: family_folders["bert"])
    with pytest.raises(BadInput, match="digest differs"):
        encoders.find("all-minilm-l6-v2")


def test_pickles_are_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(BadInput, match="no \\*.safetensors"):
        encoders.load(tmp_path)


def test_unknown_name_lists_the_table():
    with pytest.raises(BadInput, match="all-minilm-l6-v2.*albert-base-v2"):
        encoders.load("bert-bsae")


def test_hub_id_without_the_hub_says_why(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BadInput, match="HF_HUB_OFFLINE is set"):
        encoders.find("nobody/nothing-of-this-name")


def test_unknown_architecture_lists_the_families(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match="architecture 'gpt2'.*bert, roberta, xlnet"):
        encoders.load(tmp_path)


def test_table_families_exist():
    assert {model.family for model in encoders.MODELS.values()} <= set(encoders.FAMILIES)


@pytest.mark.parametrize("outputs", [1, 3])
def test_head_has_the_outputs_asked_for(family_folders, outputs):
    for folder in family_folders.values():
        model, tokenizer = encoders.load(folder, head=outputs, device="cpu")
        encoded = tokenizer("Why ?", return_tensors="pt")
        assert model(**encoded).logits.shape == (1, outputs)


def test_family_entries_reach_the_blocks(family_model):
    model, _ = family_model
    family = encoders.family(model)
    assert getattr(model.config, family.count) == 3
    if family.blocks is not None:
        assert len(model.get_submodule(family.blocks)) == 3
