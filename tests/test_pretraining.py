"""Pretraining: what is read, what is asked, where training starts, and that it learns."""

import importlib.util
import itertools
import lzma
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers

from lib import activations, encoders, from_scratch, pretraining
from lib.errors import BadInput
from lib.from_scratch import Plan, make, tokenizer
from lib.model_table import MINIATURES
from lib.pretraining import losses, packed

WORDS = "the old sailor saw a small boat near his quiet harbour and never told anybody".split()
FRAMED = {
    "bert-mini-12": "[CLS] a [SEP]",
    "roberta-mini-12": "<s>a</s>",
    "xlnet-mini-12": "a<sep><cls>",
    "gpt-mini-12": "<|endoftext|>a",
}
each_kind = pytest.mark.parametrize("kind", FRAMED)
each_one = pytest.mark.parametrize("name", MINIATURES)
spec = importlib.util.spec_from_file_location(
    "a1_distilled", Path(__file__).parents[1] / "notebooks/a1_distilled.py"
)
student_of = importlib.util.module_from_spec(spec)
spec.loader.exec_module(student_of)


def planted(count, seed=0):
    """Paragraphs, each of the words of one of two subjects in any order."""
    draw = np.random.default_rng(seed)
    subjects = [WORDS[:7], WORDS[7:]]
    return [" ".join(draw.choice(subjects[i], size=90)) for i in draw.integers(2, size=count)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "planted.txt"
    file.write_text("\n".join(planted(600)), encoding="utf-8")
    return str(file)


@pytest.fixture(scope="module")
def teacher(corpus, tmp_path_factory):
    """Folder of a BERT whose blocks change what they read, so that it shows when one is gone."""
    folder = tmp_path_factory.mktemp("teacher")
    learner = tokenizer("bert-mini-12", planted(200), 320)
    model = make("bert-mini-12", learner, 32, 4)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.15)
    model.save_pretrained(folder)
    learner.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def plans(corpus):
    """A small run of each architecture on the planted text."""
    usual = {"corpus": corpus, "width": 32, "blocks": 2, "vocabulary": 320, "steps": 6}
    return {name: Plan(name, **usual) for name in MINIATURES}


@pytest.fixture(scope="module")
def data(plans):
    """The planted text as each architecture reads it: tokenizer, rows, and rows held out."""
    names = "tokenizer", "train", "held"
    return {
        name: SimpleNamespace(**dict(zip(names, from_scratch.read(plan), strict=True)))
        for name, plan in plans.items()
    }


def trained(plan, every=60):
    """A model pretrained by a plan, and the account."""
    learner, rows, held = from_scratch.read(plan)
    model = make(plan.architecture, learner, plan.width, plan.blocks)
    from_scratch.guess(model, learner, rows)
    return model, from_scratch.train(plan, model, learner, rows, held, every=every)


# ---- text and tokenizers


@each_kind
def test_a_tokenizer_gives_its_text_back_and_reloads(kind, tmp_path):
    found = tokenizer(kind, planted(50), 320)
    found.save_pretrained(tmp_path)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    sentence = " ".join(WORDS)
    ids = found(sentence)["input_ids"]
    assert found.decode(ids, skip_special_tokens=True).strip() == sentence
    assert again(sentence, "a boat") == found(sentence, "a boat")
    assert found.decode(found("a")["input_ids"]) == FRAMED[kind]
    assert len(found) <= 320 and len(ids) < len(sentence)


def test_a_tokenizer_follows_from_its_text():
    """In two processes, as hashes differ between them."""
    code = """
from lib import from_scratch
text = "the old sailor saw a small boat near his quiet harbour".split()
for kind in ("bert-mini-12", "roberta-mini-12", "xlnet-mini-12", "gpt-mini-12"):
    print(sorted(from_scratch.tokenizer(kind, text, 320).get_vocab().items()))"""
    found = [subprocess.check_output([sys.executable, "-c", code]) for _ in range(2)]
    assert found[0] == found[1]


@each_kind
def test_packed_rows_hold_the_text_and_nothing_else(kind):
    learner, found = tokenizer(kind, planted(50), 320), planted(1100)
    rows = packed(learner, found, 16)
    before, after, types = pretraining.frame(learner)
    end = [pretraining.ends(learner)[1]]
    plain = sum((learner(p, add_special_tokens=False)["input_ids"] + end for p in found), [])
    body = rows[:, len(before) : 16 - len(after)]
    assert body.ravel().tolist() == plain[: body.size]
    assert len(plain) - body.size < body.shape[1]
    assert (rows[:, : len(before)] == before).all() and (rows[:, 16 - len(after) :] == after).all()
    assert (packed(learner, found, 16, 3) == rows[:3]).all()
    sentence = learner(planted(1)[0], return_token_type_ids=True)
    read = pretraining.encoded(np.array([sentence["input_ids"]]), learner)
    assert read.types[0].tolist() == sentence["token_type_ids"]


def test_held_out_paragraphs_are_whole_stretches(tmp_path):
    again = pretraining.STRETCH * from_scratch.EVERY
    (tmp_path / "a.txt").write_text("\n".join(map(str, range(2 * again))), encoding="utf-8")
    held, rest = ([int(p) for p in from_scratch.part(tmp_path, held=h)] for h in (True, False))
    assert held == [*range(100), *range(again, again + 100)]
    assert sorted(held + rest) == list(range(2 * again))


def test_a_stretch_of_each_file_of_a_folder_is_read_in_turn(tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining, "STRETCH", 2)
    for name, count in {"a": 5, "c": 3}.items():
        lines = "\n \n".join(f"{name}{i}" for i in range(count))
        (tmp_path / f"{name}.txt").write_text(lines, encoding="utf-8")
    with lzma.open(tmp_path / "b.txt.xz", "wt", encoding="utf-8") as file:
        file.write("b0\nb1\n")
    (tmp_path / "c.md").write_text("no text of ours")
    told = ["a0", "a1", "b0", "b1", "c0", "c1", "a2", "a3", "c2", "a4"]
    assert list(pretraining.paragraphs(tmp_path)) == told


@each_one
def test_the_words_asked_for_do_not_depend_on_the_batches(name, data, monkeypatch):
    read = data[name]
    model = make(name, read.tokenizer, 32, 2).eval()
    found = []
    for tokens in (64, 200, 10_000):
        monkeypatch.setattr(pretraining, "batch_size", lambda _, tokens=tokens: tokens)
        found.append(losses(model, read.tokenizer, read.held))
    assert len({one["asked"] for one in found}) == 1
    assert found[0]["loss"] == pytest.approx(found[1]["loss"], abs=1e-5)
    assert found[0]["loss"] == pytest.approx(found[2]["loss"], abs=1e-5)


def test_a_batch_in_which_no_word_is_asked_changes_nothing(data):
    read = data["bert-mini-12"]
    model = make("bert-mini-12", read.tokenizer, 32, 2).eval()
    ids = torch.full((1, 4), read.tokenizer.cls_token_id)  # special tokens are never asked for
    loss = pretraining.mean_loss(model, read.tokenizer, {"input_ids": ids})
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_what_is_no_plain_text_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(BadInput, match="corpus 'polarity' is not known; valid: .*editorials"):
        next(pretraining.paragraphs("polarity"))
    wrong = {"latin.txt": "caf\u00e9".encode("latin-1"), "damaged.txt.xz": b"no archive"}
    for name, content in wrong.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput, match=f"{name} cannot be read"):
            list(pretraining.paragraphs(tmp_path / name))
    (tmp_path / "marked.txt").write_text("\ufeffone\ntwo")
    assert list(pretraining.paragraphs(tmp_path / "marked.txt")) == ["one", "two"]


# ---- objectives and measures


def test_words_are_hidden_in_the_published_shares():
    torch.manual_seed(0)
    ids = torch.randint(5, 1000, (200, 500))
    ids[:, 0] = 2
    model = SimpleNamespace(config=SimpleNamespace(vocab_size=1000))
    learner = SimpleNamespace(all_special_ids=[0, 1, 2, 3, 4], mask_token_id=4)
    given, chosen = pretraining.hide(model, learner, {"input_ids": ids})
    given, n = given["input_ids"], chosen.sum().item()
    assert not chosen[:, 0].any() and torch.equal(given[~chosen], ids[~chosen])
    assert n / ids[:, 1:].numel() == pytest.approx(0.15, abs=0.005)
    assert (given[chosen] == 4).sum().item() / n == pytest.approx(0.8, abs=0.02)
    assert (given[chosen] == ids[chosen]).sum().item() / n == pytest.approx(0.1, abs=0.02)


def said(model, learner, ids):
    """Logits of the model's objective (K, V), the same draws each time, and the words."""
    torch.manual_seed(1)
    with torch.no_grad():
        return pretraining.objective(model)(model, learner, {"input_ids": ids})[:2]


def test_a_permuted_model_sees_no_word_that_it_has_to_say(data):
    """Asked words change one by one: what is said there, and before in the order, stays."""
    learner, rows = data["xlnet-mini-12"].tokenizer, data["xlnet-mini-12"].train
    model = make("xlnet-mini-12", learner, 32, 2).eval()
    ids = torch.from_numpy(rows[:1].astype(np.int64))
    torch.manual_seed(1)
    rank = torch.rand(ids.shape)
    rank[torch.isin(ids, torch.tensor(learner.all_special_ids))] = -1
    last = rank.topk(ids.shape[1] // pretraining.AHEAD, dim=1).indices[0]  # the last comes first
    plain = said(model, learner, ids)[0]
    for place, at in enumerate(last.tolist()):
        other = ids.clone()
        other[0, at] = 7 if ids[0, at] != 7 else 8
        moved = (said(model, learner, other)[0] - plain).abs().amax(dim=1) > 1e-7
        assert not moved[place:].any()
        assert moved[:place].all() or not place


def test_a_causal_model_is_asked_for_the_next_word_and_sees_none_after_it(data):
    learner, rows = data["gpt-mini-12"].tokenizer, data["gpt-mini-12"].train
    model = make("gpt-mini-12", learner, 32, 2).eval()
    ids = torch.from_numpy(rows[:1].astype(np.int64))
    plain, words = said(model, learner, ids)
    assert torch.equal(words, ids[0, 1:])
    other = ids.clone()
    other[0, 50] = 7 if ids[0, 50] != 7 else 8
    moved = (said(model, learner, other)[0] - plain).abs().amax(dim=1) > 1e-7
    assert not moved[:50].any() and moved[50:].all()


@pytest.mark.parametrize("name", ["bert-mini-12", "roberta-mini-12", "distilbert-mini-6"])
def test_only_the_places_asked_are_scored_and_alike(name, data):
    """Against the logits of the whole row."""
    model = make(name, data[name].tokenizer, 32, 2).eval()
    ids = torch.from_numpy(data[name].train[:2].astype(np.int64))
    chosen = torch.rand(ids.shape) < 0.3
    with torch.no_grad():
        whole = model(input_ids=ids).logits
        logits, vectors = pretraining.scored(model, {"input_ids": ids}, chosen)
    torch.testing.assert_close(logits, whole[chosen], atol=1e-5, rtol=0)
    assert vectors.shape == (*ids.shape, 32) and not model.base_model._forward_hooks


@each_one
def test_what_is_measured_changes_nothing_and_repeats(name, data):
    read = data[name]
    model, state = make(name, read.tokenizer, 32, 2).train(), torch.get_rng_state()
    one, two = (losses(model, read.tokenizer, read.held) for _ in range(2))
    assert one == two and model.training and torch.equal(state, torch.get_rng_state())
    assert one["loss"] == pytest.approx(math.log(len(read.tokenizer)), abs=0.5)
    asked = ~np.isin(read.held[:, 1:], read.tokenizer.all_special_ids)
    assert one["asked"] <= asked.sum() and (name[:3] == "gpt") == (one["asked"] == asked.sum())


def test_baselines_are_those_of_a_slow_count():
    draw = np.random.default_rng(0)
    train, held = (draw.integers(0, 9, (40, 12)).astype(np.uint16) for _ in range(2))
    found, special = from_scratch.entropies(train, held, [0]), {0}
    words = [w for row in train.tolist() for w in row if w not in special]
    pairs = [p for row in train.tolist() for p in itertools.pairwise(row)]

    def single(w):
        return (words.count(w) + 1) / (len(words) + 9)

    def double(v, w):
        after = [p for p in pairs if p[0] == v]
        return 0.5 * after.count((v, w)) / max(len(after), 1) + 0.5 * single(w)

    asked = [p for row in held.tolist() for p in itertools.pairwise(row) if p[1] not in special]
    shares = [single(w) for _, w in asked], [double(v, w) for v, w in asked]
    wanted = [-np.mean(np.log(share)) for share in shares]
    assert [found["unigram"], found["bigram"]] == pytest.approx(wanted)


# ---- where training starts


@each_one
def test_a_start_copies_no_block_and_draws_from_the_seed(name, data):
    learner, state = data[name].tokenizer, torch.get_rng_state()
    one, same, other = (make(name, learner, 32, 3, seed=s) for s in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    pairs = zip(one.named_parameters(), same.parameters(), other.parameters(), strict=True)
    for (key, a), b, c in pairs:
        assert torch.equal(a, b)
        if from_scratch.re.search(from_scratch.BLOCK, key) and a.ndim > 1 and a.std() > 0:
            assert not torch.equal(a, c), key
    blocks = [
        torch.cat([p.flatten() for k, p in one.named_parameters() if f".{i}." in k and p.ndim > 1])
        for i in range(3)
    ]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(blocks, 2))


def test_a_start_has_the_recipes_spreads(data):
    model = make("bert-mini-12", data["bert-mini-12"].tokenizer, 128, 1)
    layer = model.bert.encoder.layer[0]
    wanted = {
        layer.attention.self.query: 0.09,
        layer.attention.self.value: 0.04,
        layer.attention.output.dense: 0.008,
        layer.intermediate.dense: 0.04,
    }
    for part, spread in wanted.items():
        assert part.weight.std().item() == pytest.approx(spread, rel=0.05)
    positions = model.bert.embeddings.position_embeddings.weight
    assert positions[1, :2].tolist() == pytest.approx([0.03 * math.sin(1), 0.03 * math.cos(1)])


@pytest.mark.parametrize("name", [name for name in MINIATURES if name != "gpt-mini-12"])
def test_a_start_guesses_by_how_often_words_occur(name, data):
    """A decoder's head has no bias to put that into."""
    read = data[name]
    model = from_scratch.guess(make(name, read.tokenizer, 32, 2), read.tokenizer, read.train)
    counted = from_scratch.entropies(read.train, read.held, read.tokenizer.all_special_ids)
    found = losses(model, read.tokenizer, read.held)
    assert found["loss"] == pytest.approx(counted["unigram"], abs=0.1)


@each_one
def test_a_new_model_has_the_shape_of_its_family_and_no_dropout(name, data):
    config = make(name, data[name].tokenizer, 128, 3).config
    released = encoders.read_config(encoders.find(name))
    sizes = {"_name_or_path", "transformers_version", "dtype"} | set(from_scratch.dropout(config))
    new, old = (
        {k: v for k, v in c.to_dict().items() if k not in sizes} for c in (config, released)
    )
    apart = {name for name in new if new[name] != old[name]}
    assert apart == {
        config.attribute_map.get("num_hidden_layers", "num_hidden_layers"),
        "vocab_size",
    }
    assert not any(from_scratch.dropout(config).values())


def test_stretches_grow_to_whole_rows():
    widths = [from_scratch.stretch(done, 200) for done in range(200)]
    assert widths == sorted(widths) and set(widths) == {4, 8, 16, 32, 64}
    assert widths.count(64) == 160 and all(pretraining.LENGTH % width == 0 for width in widths)


def test_a_student_of_all_blocks_is_its_teacher(data, teacher):
    model, learner = pretraining.language_model(teacher, "cpu")
    student = make("distilbert-mini-6", learner, 32, 4).eval()
    student_of.inherit(student, model, [0, 1, 2, 3])
    ids = torch.from_numpy(data["bert-mini-12"].train[:4].astype(np.int64)) % len(learner)
    with torch.no_grad():
        torch.testing.assert_close(student(ids).logits, model(ids).logits, atol=1e-5, rtol=0)


# ---- training


@each_one
def test_training_learns_what_is_planted(name, plans):
    """Better than counting words: the words around tell the subject."""
    plan = replace(plans[name], width=64, steps=120)
    learner, rows, held = from_scratch.read(plan)
    log = trained(plan)[1]["log"]
    counted = from_scratch.entropies(rows, held, learner.all_special_ids)
    assert [entry["step"] for entry in log] == [60, 120]
    assert log[-1]["loss"] < counted["unigram"] - 0.1 and log[-1]["loss"] < log[0]["loss"]


def test_a_student_nears_its_teacher(plans, teacher):
    plan, model = (
        replace(plans["distilbert-mini-6"], steps=40),
        pretraining.language_model(teacher)[0],
    )
    student, learner, _ = student_of.distil(plan, teacher)
    fresh = make(plan.architecture, learner, 32, 2).to(model.device)
    student_of.inherit(fresh, model, [0, 2])
    held = from_scratch.rows(plan, learner)[1]
    ids = torch.from_numpy(held[:8].astype(np.int64)).to(model.device)

    @torch.no_grad()
    def agreement(found):
        vectors = [m.eval().base_model(ids).last_hidden_state for m in (found, model)]
        return torch.nn.functional.cosine_similarity(*vectors, dim=-1).mean()

    assert agreement(student) > agreement(fresh) + 0.05


def test_healing_takes_a_model_further_by_its_own_objective(plans, data):
    read = data["gpt-mini-12"]
    model = make("gpt-mini-12", read.tokenizer, 64, 2)
    before = losses(model, read.tokenizer, read.held)["loss"]
    account = pretraining.heal(model, read.tokenizer, read.train, steps=30)
    after = losses(model, read.tokenizer, read.held)["loss"]
    assert account["updates"] == 30 and after < before - 0.3


@each_one
def test_a_stopped_pretraining_goes_on_to_the_same_weights(name, plans, tmp_path, killed_after):
    plan = replace(plans[name], out=str(tmp_path / "run"))
    whole, told = trained(replace(plan, out=None), every=2)
    with killed_after(3):
        trained(plan, every=2)
    assert (tmp_path / "run" / "run.safetensors").exists()
    again, account = trained(plan, every=2)
    assert account == told
    for (key, a), b in zip(whole.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b), key


def test_a_run_that_goes_on_reads_its_tokenizer_back(plans, tmp_path, monkeypatch):
    plan = replace(plans["xlnet-mini-12"], out=str(tmp_path))
    first = from_scratch.read(plan)
    monkeypatch.setattr(from_scratch, "tokenizer", None)  # no second one can be trained
    second = from_scratch.read(plan)
    assert all((a == b).all() for a, b in zip(first[1:], second[1:], strict=True))
    with pytest.raises(BadInput, match="holds a run of another plan; name a new folder"):
        from_scratch.read(replace(plan, vocabulary=plan.vocabulary + 1))


def test_a_text_of_which_all_is_held_out_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "short.txt").write_text("\n".join(f"line {i}" for i in range(100)))
    with pytest.raises(BadInput, match="has no more than 100 paragraphs"):
        Plan(corpus=str(tmp_path / "short.txt"), out=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_of_a_text_that_has_changed_is_refused(tmp_path):
    text, out = tmp_path / "text.txt", str(tmp_path / "out")
    lines = [f"the {noun} of line {i} was old" for i in range(300) for noun in ("boat", "dog")]
    text.write_text("\n".join(lines))
    plan = Plan("xlnet-mini-12", str(text), width=16, blocks=2, vocabulary=300, steps=1, out=out)
    from_scratch.read(plan)
    text.write_text("\n".join(lines[::-1]))
    with pytest.raises(BadInput, match="holds a run of another plan"):
        from_scratch.read(plan)


@each_one
def test_a_finished_miniature_is_a_model_as_any_other(name, plans, tmp_path):
    plan = replace(plans[name], out=str(tmp_path))
    model, account = trained(plan)
    learner, _, held = from_scratch.read(plan)
    from_scratch.save(plan, model, learner)
    again, learner = pretraining.language_model(tmp_path, "cpu")
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a.half().float().cpu(), b)
    found = losses(again, learner, held)["loss"]
    assert found == pytest.approx(account["log"][-1]["loss"], abs=0.01)
    assert any(m.p > 0 for m in again.modules() if isinstance(m, torch.nn.Dropout))
    bare, learner = encoders.load(tmp_path, device="cpu")
    rows = activations.extract(bare, learner, [" ".join(WORDS)], level="sentence").rows
    assert rows.shape[1] == 3 and rows.isfinite().all()  # two blocks
    assert not list(tmp_path.glob("run*"))
    with pytest.raises(BadInput, match="holds a finished model; name a new folder"):
        replace(plan)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"architecture": "gpt"}, "architecture 'gpt' is not known; valid: bert-mini-12"),
        ({"width": 100}, "width 100 is not valid; above 64 it is a multiple of it"),
        ({"blocks": 0}, "blocks 0 is out of range"),
        ({"steps": 0}, "steps 0 is out of range"),
        ({"vocabulary": 100}, "vocabulary 100 is out of range"),
        ({"corpus": "nowhere"}, r"corpus 'nowhere' is no file \.txt or \.txt\.xz, no folder"),
    ],
)
def test_a_choice_that_cannot_be_used_is_refused_before_work(choice, message, plans):
    with pytest.raises(BadInput, match=message):
        replace(plans["bert-mini-12"], **choice)


def test_a_text_too_short_for_one_row_is_refused():
    with pytest.raises(BadInput, match="does not fill one row of 64 tokens"):
        packed(tokenizer("bert-mini-12", WORDS, 120), ["the boat"])


def test_a_model_without_a_head_that_predicts_words_is_refused(teacher, tmp_path):
    for part in encoders.load(teacher, device="cpu"):
        part.save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="has no head that predicts words"):
        pretraining.language_model(tmp_path)
