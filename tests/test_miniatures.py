"""The miniatures in the repository: small, unchanged, credited, above what needs no learning."""

import json
import shutil

import pytest
from safetensors import safe_open

from lib import BadInput, checkpoints, encoders, pretraining
from lib.model_table import MINIATURES

NAMES = [name for name in MINIATURES if name in encoders.MODELS]
each_one = pytest.mark.parametrize("name", NAMES)
MB = 1e6


def bytes_of(name):
    return sum(file.stat().st_size for file in encoders.find(name).iterdir())


def test_what_lies_there_is_what_the_table_has():
    assert {folder.name for folder in checkpoints.SHIPPED.iterdir()} == set(NAMES)


def test_the_family_is_small():
    sizes = [bytes_of(name) for name in NAMES]
    assert max(sizes) <= 8 * MB and sum(sizes) <= 48 * MB


@each_one
def test_weights_are_those_of_the_table_in_half_precision(name):
    folder = encoders.find(name)
    assert checkpoints.weights_digest(folder) == encoders.MODELS[name].sha256
    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert {weights.get_slice(key).get_dtype() for key in weights.keys()} == {"F16"}  # noqa: SIM118
    model, _ = encoders.load(name, device="cpu")
    assert encoders.blocks(folder) == encoders.MODELS[name].blocks
    assert model.config.model_type == encoders.MODELS[name].family


@each_one
def test_changed_weights_are_refused(name, tmp_path, monkeypatch):
    folder = shutil.copytree(encoders.find(name), tmp_path / name)
    weights = folder / "model.safetensors"
    found = bytearray(weights.read_bytes())
    found[-1] ^= 1
    weights.write_bytes(found)
    monkeypatch.setattr(checkpoints, "SHIPPED", tmp_path)
    with pytest.raises(BadInput, match=f"'{name}'.*digest differs"):
        encoders.find(name)


@each_one
def test_the_card_says_where_it_is_from(name):
    folder = encoders.find(name)
    card, log = (
        (folder / "README.md").read_text(),
        json.loads((folder / "training.json").read_text()),
    )
    for words in ("OpenStax", "CC BY 4.0", "public domain", f"{log['steps']:,} steps", "no model"):
        assert words in card
    assert f"loss {log['log'][-1]['loss']:.2f} nats" in card
    assert log["architecture"] == name and "/" not in log["corpus"]


@each_one
def test_held_out_words_are_predicted_better_than_by_counting(name):
    log = json.loads((encoders.find(name) / "training.json").read_text())
    assert log["log"][-1]["step"] == log["steps"]
    assert log["log"][-1]["loss"] < log["entropies"]["unigram"] - 0.5


@each_one
def test_words_of_a_text_that_none_has_read_are_predicted_better_than_by_a_random_twin(name):
    losses = []
    for seed in (None, 0):
        model, tokenizer = encoders.load(name, head="lm", device="cpu", random_seed=seed)
        rows = pretraining.packed(tokenizer, pretraining.paragraphs("editorials"), rows=16)
        losses.append(pretraining.losses(model, tokenizer, rows))
    trained, twin = losses
    assert trained["loss"] < twin["loss"] - 1
    assert trained["accuracy"] > twin["accuracy"] + 0.05
