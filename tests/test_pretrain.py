"""Pretraining: what is read, what is asked, where training starts, and that it learns."""

import copy
import itertools
import lzma
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers

from lib import activations, encoders
from lib.errors import BadInput
from lib.pretrain import given, measure, objectives, run, shapes, ship, text, vocabulary

WORDS = "the old sailor saw a small boat near his quiet harbour and never told anybody".split()
SPECIAL = {"wordpiece": "[CLS] a [SEP]", "bytes": "<s>a</s>", "unigram": "a<sep><cls>"}
each_kind = pytest.mark.parametrize("kind", vocabulary.KINDS)
each_one = pytest.mark.parametrize("name", shapes.MINIATURES)
ALONE = [name for name, shape in shapes.MINIATURES.items() if not shape.model.parent]


def planted(count, seed=0):
    """Paragraphs, each of the words of one of two subjects in any order."""
    draw = np.random.default_rng(seed)
    subjects = [WORDS[:7], WORDS[7:]]
    return [" ".join(draw.choice(subjects[i], size=90)) for i in draw.integers(2, size=count)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "planted.txt"
    file.write_text("\n".join(planted(600)), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def read(corpus):
    """The planted text as each architecture reads it."""
    found = {}
    for name, shape in shapes.MINIATURES.items():
        tokenizer = run.tokenizer_of(name, corpus, 320)
        if shape.model.parent:
            tokenizer = run.childs(copy.deepcopy(found[shape.model.parent].tokenizer))
        found[name] = run.read(corpus, tokenizer, 400)
    return found


@pytest.fixture(scope="module")
def teacher(read):
    """A BERT whose blocks change what they read, so that it shows when one is gone."""
    model = shapes.make("bert-mini-12", read["bert-mini-12"].tokenizer, 32, 4).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.15)
    return model


def small(name, read, teacher, steps, width=32, **options):
    """A miniature of two blocks, trained for some steps on the planted text."""
    shape = shapes.MINIATURES[name]
    options |= {"teacher": teacher} if shape.model.parent else {"blocks": 2}
    return run.train(name, read[name], width=width, steps=steps, device="cpu", **options)


@each_kind
def test_a_tokenizer_gives_its_text_back_and_reloads(kind, tmp_path):
    tokenizer = vocabulary.train(kind, planted(50), 320)
    tokenizer.save_pretrained(tmp_path)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    sentence = " ".join(WORDS)
    ids = tokenizer(sentence)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == sentence
    assert again(sentence, "a boat") == tokenizer(sentence, "a boat")
    assert tokenizer.decode(tokenizer("a")["input_ids"]) == SPECIAL[kind]
    assert len(tokenizer) <= 320 and len(tokenizer(sentence)["input_ids"]) < len(sentence)


@each_kind
def test_a_tokenizer_follows_from_its_text(kind):
    """In processes of their own, as hashes differ between them."""
    code = f"""
from lib.pretrain import vocabulary
text = "the old sailor saw a small boat near his quiet harbour".split()
print(sorted(vocabulary.train({kind!r}, text, 320).get_vocab().items()))"""
    found = {subprocess.check_output([sys.executable, "-c", code]) for _ in range(3)}
    assert len(found) == 1


@each_kind
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_packed_rows_hold_the_text_and_nothing_else(kind, chunk, monkeypatch):
    monkeypatch.setattr(text, "CHUNK", chunk)
    tokenizer, found = vocabulary.train(kind, planted(50), 320), planted(40)
    packed = text.pack(tokenizer, found, 16, 10_000)
    before, after, _ = text.frame(tokenizer)
    body = packed[:, len(before) : 16 - len(after)]
    end = [tokenizer.sep_token_id]
    plain = sum((tokenizer(p, add_special_tokens=False)["input_ids"] + end for p in found), [])
    assert body.ravel().tolist() == plain[: body.size]
    assert len(plain) - body.size < body.shape[1]
    assert (packed[:, : len(before)] == before).all() and (
        packed[:, 16 - len(after) :] == after
    ).all()
    assert (text.pack(tokenizer, found, 16, 3) == packed[:3]).all()


@each_kind
def test_a_packed_row_is_read_as_a_sentence_is(kind):
    tokenizer = vocabulary.train(kind, planted(50), 320)
    row = tokenizer(planted(1)[0], return_token_type_ids=True)
    found = text.encoded(np.array([row["input_ids"]]), tokenizer)
    assert found.types[0].tolist() == row["token_type_ids"]


def test_held_out_paragraphs_are_whole_stretches():
    found = list(text.parts(map(str, range(2 * text.STRETCH * text.EVERY))))
    held = [int(line) for is_held, line in found if is_held]
    again = text.STRETCH * text.EVERY
    assert held == [*range(text.STRETCH), *range(again, again + text.STRETCH)]


@pytest.mark.parametrize("name", ["nowhere", "folder"])
def test_a_corpus_without_text_is_refused(name, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadInput, match=r"is no file \.txt or \.txt\.xz and no folder"):
        list(text.paragraphs(tmp_path / name))


def test_a_text_too_short_for_one_row_is_refused():
    with pytest.raises(BadInput, match="does not fill one row of 64 tokens"):
        text.pack(vocabulary.train("wordpiece", WORDS, 120), ["the boat"], 64, 10)


def test_a_stretch_of_each_file_of_a_folder_is_read_in_turn(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "STRETCH", 2)
    for name in "abc":
        lines = [f"{name}{i}" for i in range({"a": 5, "b": 2, "c": 3}[name])]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines), encoding="utf-8")
    told = ["a0", "a1", "b0", "b1", "c0", "c1", "a2", "a3", "c2", "a4"]
    assert list(text.paragraphs(tmp_path)) == told


def test_compressed_files_of_a_folder_are_read_in_order_of_name(tmp_path):
    (tmp_path / "b.txt").write_text("third\n\n", encoding="utf-8")
    with lzma.open(tmp_path / "a.txt.xz", "wt", encoding="utf-8") as file:
        file.write("first\n \nsecond\n")
    (tmp_path / "c.md").write_text("no text of ours")
    assert list(text.paragraphs(tmp_path)) == ["first", "second", "third"]


def test_words_are_hidden_in_the_published_shares():
    torch.manual_seed(0)
    ids = torch.randint(5, 1000, (200, 500))
    ids[:, 0] = 2
    given, chosen = objectives.hide(ids, torch.arange(5), 4, 1000)
    n = chosen.sum().item()
    assert not chosen[:, 0].any() and torch.equal(given[~chosen], ids[~chosen])
    assert n / ids[:, 1:].numel() == pytest.approx(0.15, abs=0.005)
    assert (given[chosen] == 4).sum().item() / n == pytest.approx(0.8, abs=0.02)
    assert (given[chosen] == ids[chosen]).sum().item() / n == pytest.approx(0.1, abs=0.02)


def test_a_permuted_model_sees_no_word_that_it_has_to_say(read):
    """Asked words change one by one: what is said there, and before in the order, stays."""
    data = read["xlnet-mini-12"]
    model = shapes.make("xlnet-mini-12", data.tokenizer, 32, 2).eval()
    ids = torch.from_numpy(data.train[:1].astype(np.int64))

    def said(ids):
        torch.manual_seed(1)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        with torch.no_grad():
            return objectives.permuted(model, data.tokenizer, inputs)[0]

    torch.manual_seed(1)
    rank = torch.rand(ids.shape)
    rank[torch.isin(ids, torch.tensor(data.tokenizer.all_special_ids))] = -1
    last = rank.topk(ids.shape[1] // objectives.AHEAD, dim=1).indices[0]  # the last comes first
    plain = said(ids)
    for place, at in enumerate(last.tolist()):
        other = ids.clone()
        other[0, at] = 7 if ids[0, at] != 7 else 8
        moved = (said(other) - plain).abs().amax(dim=1) > 1e-7
        assert not moved[place:].any()
        assert moved[:place].all() or not place


@each_one
def test_a_start_copies_no_block_and_draws_from_the_seed(name, read):
    tokenizer = read[name].tokenizer
    state = torch.get_rng_state()
    one, same, other = (shapes.make(name, tokenizer, 32, 3, seed=s) for s in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    pairs = zip(one.named_parameters(), same.parameters(), other.parameters(), strict=True)
    for (key, a), b, c in pairs:
        assert torch.equal(a, b)
        if shapes.re.search(shapes.BLOCK, key) and a.std() > 0 and "norm" not in key.lower():
            assert not torch.equal(a, c), key
    blocks = [
        torch.cat([p.flatten() for k, p in one.named_parameters() if f".{i}." in k and p.ndim > 1])
        for i in range(3)
    ]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(blocks, 2))


def test_a_start_has_the_recipes_spreads(read):
    model = shapes.make("bert-mini-12", read["bert-mini-12"].tokenizer, 128, 1)
    layer = model.bert.encoder.layer[0]
    wanted = {
        layer.attention.self.query: 0.09,
        layer.attention.self.key: 0.09,
        layer.attention.self.value: 0.04,
        layer.attention.output.dense: 0.008,
        layer.intermediate.dense: 0.04,
        layer.output.dense: 0.008,
    }
    for part, spread in wanted.items():
        assert part.weight.std().item() == pytest.approx(spread, rel=0.05)
    positions = model.bert.embeddings.position_embeddings.weight
    assert positions[1, :2].tolist() == pytest.approx([0.03 * math.sin(1), 0.03 * math.cos(1)])


@pytest.mark.parametrize("name", ALONE)
def test_a_start_guesses_by_how_often_words_occur(name, read):
    data = read[name]
    model = shapes.make(name, data.tokenizer, 32, 2)
    shapes.guess(model, data.counts())
    rows = text.encoded(data.held, data.tokenizer)
    found = measure.held_out(model, data.tokenizer, rows, shapes.MINIATURES[name].objective)
    assert found["loss"] == pytest.approx(data.entropies["unigram"], abs=0.1)


def test_stretches_grow_to_whole_rows():
    widths = [run.stretch(done, 200) for done in range(200)]
    assert widths == sorted(widths) and set(widths) == {4, 8, 16, 32, 64}
    assert widths.count(64) == 160 and all(run.LENGTH % width == 0 for width in widths)


def test_a_student_of_all_blocks_is_its_teacher(read, teacher):
    data = read["distilbert-mini-6"]
    student = shapes.make("distilbert-mini-6", data.tokenizer, 32, 4).eval()
    shapes.inherit(student, teacher, [0, 1, 2, 3])
    ids = torch.from_numpy(data.train[:4].astype(np.int64))
    with torch.no_grad():
        torch.testing.assert_close(student(ids).logits, teacher(ids).logits, atol=1e-5, rtol=0)


def test_entropies_are_those_of_a_slow_count():
    draw = np.random.default_rng(0)
    train, held = (draw.integers(0, 9, (40, 12)).astype(np.uint16) for _ in range(2))
    found, special = measure.entropies(train, held, [0]), {0}
    words = [w for row in train.tolist() for w in row if w not in special]
    pairs = [p for row in train.tolist() for p in itertools.pairwise(row)]

    def single(w):
        return (words.count(w) + 1) / (len(words) + 9)

    def double(v, w):
        after = [p for p in pairs if p[0] == v]
        return 0.5 * after.count((v, w)) / max(len(after), 1) + 0.5 * single(w)

    asked = [p for row in held.tolist() for p in itertools.pairwise(row) if p[1] not in special]
    wanted = [-np.mean([math.log(f) for f in fs]) for fs in (
        [single(w) for _, w in asked], [double(v, w) for v, w in asked]
    )]  # fmt: skip
    assert [found["unigram"], found["bigram"]] == pytest.approx(wanted)


@each_one
def test_what_is_measured_changes_nothing_and_repeats(name, read, teacher):
    shape = shapes.MINIATURES[name]
    data = read[name]
    model = shapes.make(name, data.tokenizer, 32, 2).train()
    rows, state = text.encoded(data.held, data.tokenizer), torch.get_rng_state()
    one, two = (measure.held_out(model, data.tokenizer, rows, shape.objective) for _ in range(2))
    assert one == two and model.training and torch.equal(state, torch.get_rng_state())
    assert one["loss"] == pytest.approx(math.log(len(data.tokenizer)), abs=0.5)


@pytest.mark.parametrize("name", ALONE)
def test_training_learns_what_is_planted(name, read):
    """Better than counting words: the words around tell the subject."""
    _, account = small(name, read, None, 120, width=64, every=60)
    log, counted = account["log"], account["entropies"]
    assert [entry["step"] for entry in log] == [60, 120]
    assert log[-1]["loss"] < counted["unigram"] - 0.1 and log[-1]["loss"] < log[0]["loss"]


def test_a_student_nears_its_teacher(read, teacher):
    data = read["distilbert-mini-6"]
    student, _ = small("distilbert-mini-6", read, teacher, 40)
    ids = torch.from_numpy(data.held[:8].astype(np.int64))
    fresh = shapes.make("distilbert-mini-6", data.tokenizer, 32, 2)
    shapes.inherit(fresh, teacher, [0, 2])

    @torch.no_grad()
    def agreement(model):
        vectors = [m.eval().base_model(ids).last_hidden_state for m in (model, teacher)]
        return torch.nn.functional.cosine_similarity(*vectors, dim=-1).mean()

    assert agreement(student) > agreement(fresh) + 0.05


@each_one
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_stopped_pretraining_goes_on_to_the_same_weights(
    name, precision, *, read, teacher, tmp_path, killed_after
):
    options = {"every": 2, "precision": precision}
    file = tmp_path / "run.safetensors"
    whole, told = small(name, read, teacher, 6, **options)
    with killed_after(3):
        small(name, read, teacher, 6, checkpoint=file, **options)
    again, account = small(name, read, teacher, 6, checkpoint=file, **options)
    assert account == told and not file.exists()
    for (key, a), b in zip(whole.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b), key


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"architecture": "gpt"}, "architecture 'gpt' is not known; valid: bert-mini-12"),
        ({"width": 100}, "width 100 is not valid; above 64 it is a multiple of it"),
        ({"steps": 0}, "steps"),
        ({"vocabulary": 100}, "vocabulary"),
        ({"precision": "half"}, "precision 'half' is not known; valid: best, float32, bfloat16"),
    ],
)
def test_what_cannot_be_trained_is_refused(choice, message):
    usual = {"architecture": "bert-mini-12", "width": 64, "steps": 1, "vocabulary": 500, "seed": 0}
    usual |= {"precision": "best"}
    with pytest.raises(BadInput, match=message):
        run.accept(**usual | choice)


def test_a_student_needs_a_teacher_and_others_take_none(read, teacher):
    with pytest.raises(BadInput, match="distilbert-mini-6 needs a teacher"):
        run.train("distilbert-mini-6", read["distilbert-mini-6"], steps=1)
    with pytest.raises(BadInput, match="bert-mini-12 takes no teacher"):
        run.train("bert-mini-12", read["bert-mini-12"], steps=1, teacher=teacher)


def ask(corpus, **choice):
    """A reader's choices for a small run, as the page takes them."""
    usual = {"corpus": str(corpus), "source": "planted words", "licence": "none", "width": 32}
    usual |= {"blocks": 2, "vocabulary": 320, "steps": 4, "every": 2, "seed": 0}
    usual |= {"precision": "best", "teacher": None, "out": None} | choice
    return given.accept(usual.pop("architecture", "bert-mini-12"), **usual)


def pretrained(corpus, out, **choice):
    """A small run from the choices to the folder."""
    about, teacher = ask(corpus, out=str(out), **choice), choice.get("teacher")
    data = given.read(about, 320, teacher, str(out))
    options = {"blocks": 2, "every": 2, "teacher": teacher, "device": "cpu", "out": str(out)}
    options |= {"precision": "best"}
    model, account = given.train(about, data, **options)
    return model, ship.save(model, data.tokenizer, out, about, account), data


@each_one
def test_a_finished_miniature_is_a_model_as_any_other(name, corpus, tmp_path):
    teacher = None
    if shapes.MINIATURES[name].model.parent:
        teacher = str(pretrained(corpus, tmp_path / "teacher")[1])
    spoken, folder, data = pretrained(corpus, tmp_path / "out", architecture=name, teacher=teacher)
    model, tokenizer = encoders.load(folder, device="cpu")
    texts = [" ".join(WORDS), "the boat"]
    found = activations.extract(model, tokenizer, texts, level="sentence")
    wanted = activations.extract(spoken, data.tokenizer, texts, level="sentence")
    torch.testing.assert_close(found.rows, wanted.rows, atol=0.01, rtol=0)
    again = given.speaker(folder)
    for a, b in zip(spoken.parameters(), again.parameters(), strict=True):
        assert torch.equal(a.half().float(), b)
    head, _ = encoders.load(folder, head=2, device="cpu")
    assert any(m.p > 0 for m in head.modules() if isinstance(m, torch.nn.Dropout))
    assert {file.name for file in folder.iterdir()} >= {ship.WEIGHTS, ship.LOG, ship.CARD}
    assert ship.CHECKPOINT not in {file.name for file in folder.iterdir()}
    card = (folder / ship.CARD).read_text()
    assert str(tmp_path) not in card + (folder / ship.LOG).read_text()
    assert "planted words" in card and f"{encoders.n_parameters(spoken):,}" in card
    with pytest.raises(BadInput, match="holds a finished model; name a new folder"):
        ask(corpus, out=str(folder))


def test_a_run_that_goes_on_reads_its_tokenizer_back(corpus, tmp_path, monkeypatch):
    about = ask(corpus, out=str(tmp_path))
    first = given.read(about, 320, None, str(tmp_path))

    def again(*_):
        raise AssertionError("the tokenizer was trained a second time")

    monkeypatch.setattr(vocabulary, "train", again)
    second = given.read(about, 320, None, str(tmp_path))
    assert (first.train == second.train).all() and (first.held == second.held).all()


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"corpus": "nowhere"}, "corpus 'nowhere' is no file"),
        ({"out": "somewhere", "licence": None}, "source and licence are not given"),
        ({"architecture": "distilbert-mini-6"}, "learns from bert-mini-12; name its folder"),
        ({"teacher": "anything"}, "bert-mini-12 takes no teacher"),
        ({"blocks": 0}, "blocks"),
        ({"every": 0}, "every"),
    ],
)
def test_a_choice_that_cannot_be_used_is_refused_before_work(choice, message, corpus):
    with pytest.raises(BadInput, match=message):
        ask(choice.pop("corpus", corpus), **choice)
