"""Distillation: laws of the losses, and students that are made once and found again."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from lib import BadInput, distil, dropping, encoders
from lib.training import Recipe

NOUNS = "boat dog harbour sailor letter bridge coat station".split()
TEXT = [f"the old {a} saw a {b} near the {c}".split() for a in NOUNS for b in NOUNS for c in "ab"]
TEXT = TEXT[:48]
QUICK = Recipe(learning_rate=3e-3, epochs=3, batch=8, warmup=0.1)


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(tmp_path))
    return tmp_path


def test_agreement_is_the_mean_cosine_of_real_tokens():
    draw = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 3, 5, 4, generator=draw)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 1, 1, 1]])
    found = distil.agreement(one, other, mask)
    for row in range(3):
        pairs = [(one[row, t], other[row, t]) for t in range(5) if mask[row, t]]
        slow = np.mean([float(a @ b / a.norm() / b.norm()) for a, b in pairs])
        assert found[row].item() == pytest.approx(slow, abs=1e-6)


@pytest.mark.parametrize("family", ["bert", "xlnet", "distilbert"])
@pytest.mark.parametrize("losses", [("last",), ("last", "hidden")])
def test_a_student_comes_nearer_to_its_teacher_which_stays_as_it_was(
    family_folders, family, losses
):
    teacher, tokenizer = encoders.load(family_folders[family], device="cpu")
    before = copy.deepcopy(teacher.state_dict())
    chosen = {"recipe": QUICK, "losses": losses}
    students = [distil.distil(teacher, tokenizer, TEXT, [0, 2], **chosen) for _ in range(2)]
    (student, account), (again, _) = students
    assert dropping.n_blocks(student) == 2
    assert account["epoch_losses"][-1] < account["epoch_losses"][0]
    begun = dropping.smaller(teacher, [0, 2])
    agreement = [distil.mean_agreement(m, teacher, tokenizer, TEXT) for m in (begun, student)]
    assert agreement[0] < agreement[1] < 1
    for name, weight in teacher.state_dict().items():
        assert torch.equal(weight, before[name])
    for left, right in zip(student.parameters(), again.parameters(), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("name", list(distil.LOSSES))
def test_a_student_of_all_blocks_has_nothing_to_learn(family_folders, name):
    teacher, tokenizer = encoders.load(family_folders["bert"], head=3, device="cpu")
    inputs = tokenizer(["the old dog", "a boat"], padding=True, return_tensors="pt")
    with torch.no_grad():
        found = teacher(**inputs, output_hidden_states=True)
        mask = inputs["attention_mask"]
        apart = distil.LOSSES[name](found, found, mask, [0, 1, 2])
        assert apart.shape == (2,) and apart.abs().max() < 1e-5
        changed = copy.deepcopy(teacher)
        for weight in changed.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)
        other = changed(**inputs, output_hidden_states=True)
        assert (distil.LOSSES[name](other, found, mask, [0, 1, 2]) > 1e-3).all()


def test_hidden_layers_are_those_that_take_the_place_of_kept_blocks():
    """Of blocks 0 to 5 are kept 1, 2 and 4: they stand for what enters 2, 4, and for the end."""
    draw = torch.Generator().manual_seed(0)
    states = torch.randn(7, 2, 3, 4, generator=draw).unbind()
    wanted = type("Out", (), {"hidden_states": states})
    given = type("Out", (), {"hidden_states": [states[0], states[2], states[4], states[6]]})
    mask = torch.ones(2, 3)
    assert distil.LOSSES["hidden"](given, wanted, mask, [1, 2, 4]).abs().max() < 1e-6


def test_heads_that_predict_words_are_compared_token_by_token(family_folders):
    draw = torch.Generator().manual_seed(0)
    given, wanted = (
        type("Out", (), {"logits": torch.randn(2, 4, 7, generator=draw)}) for _ in range(2)
    )
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    found = distil.LOSSES["head"](given, wanted, mask, [])
    for row in range(2):
        pairs = [
            (wanted.logits[row, t] / 2, given.logits[row, t] / 2) for t in range(4) if mask[row, t]
        ]
        slow = [(p.softmax(0) * (p.log_softmax(0) - q.log_softmax(0))).sum() for p, q in pairs]
        assert found[row].item() == pytest.approx(4 * float(np.mean(slow)), rel=1e-5)


def test_a_head_is_learned_from_a_head(family_folders):
    teacher, tokenizer = encoders.load(family_folders["bert"], head=3, device="cpu")
    _, account = distil.distil(
        teacher, tokenizer, TEXT, [0, 2], recipe=QUICK, losses=["hidden", "head"]
    )
    assert account["epoch_losses"][-1] < account["epoch_losses"][0]
    bare, tokenizer = encoders.load(family_folders["bert"], device="cpu")
    with pytest.raises(BadInput, match="'head' needs a model with a head"):
        distil.distil(bare, tokenizer, TEXT, [0, 2], losses=["head"])
    with pytest.raises(BadInput, match="loss 'words' is not known; valid: last, hidden, head"):
        distil.distil(bare, tokenizer, TEXT, [0, 2], losses=["words"])
    one, tokenizer = encoders.load(family_folders["bert"], head=1, device="cpu")
    with pytest.raises(BadInput, match="'head' compares classes; this model's head gives one"):
        distil.distil(one, tokenizer, TEXT, [0, 2], losses=["head"])
    with pytest.raises(BadInput, match="a student's blocks all learn"):
        distil.distil(bare, tokenizer, TEXT, [0, 2], recipe=dataclasses.replace(QUICK, freeze=(0,)))


def test_a_student_is_made_once_and_found_by_all_that_decides_it(family_folders, monkeypatch):
    made, make = [], distil.distil
    monkeypatch.setattr(distil, "distil", lambda *a, **k: made.append(k) or make(*a, **k))
    chosen = {"keep": [0, 2], "recipe": QUICK, "seed": 1}
    folder, about = distil.student(family_folders["bert"], TEXT, TEXT[:8], **chosen)
    assert distil.student(family_folders["bert"], TEXT, TEXT[:8], **chosen) == (folder, about)
    assert len(made) == 1 and encoders.blocks(folder) == 2 and about["keep"] == [0, 2]
    assert about["agreement"]["before"] < about["agreement"]["after"] < 1
    assert not list(folder.parent.glob("*.safetensors"))
    longer = dataclasses.replace(QUICK, epochs=4)
    for change in ({"keep": [0, 1]}, {"recipe": longer}, {"seed": 2}, {"losses": ["hidden"]}):
        other, _ = distil.student(family_folders["bert"], TEXT, TEXT[:8], **chosen | change)
        assert other != folder
    assert distil.student(family_folders["bert"], TEXT[1:], TEXT[:8], **chosen)[0] != folder
