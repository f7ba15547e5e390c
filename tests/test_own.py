"""A reader's own model and file: the parts, what is refused, the search, and what is saved."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
)  # fmt: skip

from lib import (
    BadInput,
    corpora,
    dropping,
    encoders,
    from_scratch,
    given,
    labelled,
    own,
    pretraining,
    settings,
)
from lib.model_table import MINIATURES

NAMES = ("bad", "good", "dull")  # an order that is not alphabetical
ROWS = [
    {"text": f"{verb} {noun} number {i} was {name}", "other": f"a {noun}", "label": name}
    for i in range(7)
    for verb in ("the old", "a small")
    for noun, name in zip(("boat", "dog", "harbour"), NAMES, strict=True)
] + [
    {"text": f"nobody watched word {i}", "other": "why ?", "label": NAMES[i % 3]} for i in range(12)
]
FAST = {"epochs": 1, "batch": 8, "learning_rate": 1e-3}


def write(path, rows):
    """Write rows in the format that a file's ending names."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        if path.suffix == ".jsonl":
            stream.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            table = csv.DictWriter(
                stream, rows[0], delimiter={".csv": ",", ".tsv": "\t"}[path.suffix]
            )
            table.writeheader()
            table.writerows(rows)
    return path


def classifier(source, folder, names=NAMES, outputs=3):
    """A small model with a head whose classes have names, saved as a reader would have it."""
    model, tokenizer = encoders.load(source, head=outputs, device="cpu", random_seed=0)
    if outputs > 1:
        model.config.id2label = dict(enumerate(names))
        model.config.label2id = {name: number for number, name in enumerate(names)}
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.15, generator=torch.Generator().manual_seed(1))
    return dropping.save(model, tokenizer, folder)


@pytest.fixture(scope="module")
def model(family_folders, tmp_path_factory):
    """Folder of a classifier with three named classes."""
    return classifier(family_folders["bert"], tmp_path_factory.mktemp("own") / "model")


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "rows.csv", ROWS)


def ask(model, file, out, **options):
    asked = {"model": str(model), "file": str(file), "out": str(out)} | options
    page = FAST | {name: asked.pop(name) for name in (*FAST, "strategies") if name in asked}
    return given.accept(settings.of("your_model", page), out.parent / "example", **asked)


def run(request):
    """The page's own steps."""
    whole, tokenizer = given.load(request)

    def tune(keep):
        return own.score(request, own.tuned(request, whole, tokenizer, keep), tokenizer, "dev")

    screened = own.screen(request, whole, tokenizer)
    return own.descend(screened, request.tolerance, tune), whole, tokenizer


# ---- reading ----------------------------------------------------------------------------------


def read(path, classes=NAMES, text="text", **options):
    return labelled.task(path, classes, text=text, label="label", **options)


def test_all_formats_give_the_same_task_and_no_text_is_in_two_parts(tmp_path):
    rows = [*ROWS, *ROWS[:9]]  # some texts occur twice
    quoted = [row | {"other": 'he said "no,\tnever"'} for row in rows]
    files = [write(tmp_path / f"rows{ending}", quoted) for ending in (".csv", ".tsv", ".jsonl")]
    tasks = [read(path, text=["text", "other"]) for path in files]
    parts = [(task.train, task.dev, task.test) for task in tasks]
    assert parts[0] == parts[1] == parts[2]
    assert tasks[0].kind == "pair" and tasks[0].metric == "accuracy" and tasks[0].labels == NAMES
    assert sorted(sum(parts[0], [])) == sorted(
        ((row["text"], row["other"]), row["label"]) for row in quoted
    )
    texts = [{text for text, _ in part} for part in parts[0]]
    assert not (texts[0] & texts[1] or texts[0] & texts[2] or texts[1] & texts[2])
    assert len(texts[0]) > 2.5 * len(texts[1]) > 0 and texts[2]


def test_class_numbers_and_names_mean_the_same_and_nothing_is_renumbered(tmp_path):
    numbers = [row | {"label": NAMES.index(row["label"])} for row in ROWS]
    named, numbered = (
        read(write(tmp_path / f"{i}.jsonl", rows)) for i, rows in enumerate((ROWS, numbers))
    )
    assert named.train == numbered.train and named.labels == numbered.labels == NAMES
    few = [row for row in ROWS if row["label"] != "bad"] * 2
    few = [row | {"text": f"{row['text']} {i}"} for i, row in enumerate(few)]
    assert read(write(tmp_path / "c.csv", few)).labels == NAMES  # though one class has no row


def test_the_seed_decides_the_parts(file):
    parts = [read(file, seed=seed).dev for seed in (0, 0, 1)]
    assert parts[0] == parts[1] != parts[2]


def changed(path, number, **values):
    return write(path, [row | (values if i == number else {}) for i, row in enumerate(ROWS)])


def raw(path, text):
    path.write_text(text)
    return path


WRONG_FILES = {
    "ending": (lambda p: raw(p / "a.xlsx", ""), "ending '.xlsx' is not known; valid: .csv, .tsv"),
    "no file": (lambda p: p / "none.csv", "none.csv: cannot be read"),
    "empty": (lambda p: raw(p / "a.csv", ""), "holds 0 different texts; at least 50"),
    "too few": (lambda p: write(p / "a.tsv", ROWS[:20]), "holds 20 different texts; at least 50"),
    "column": (
        lambda p: write(p / "a.csv", [{"review": "x", "label": "bad"}]),
        "a.csv:1: the header's column 'text' is not known; valid: review, label",
    ),
    "blank": (lambda p: changed(p / "a.jsonl", 4, text=" "), "a.jsonl:5: ' ' in column 'text'"),
    "no text": (lambda p: changed(p / "a.jsonl", 4, text=7), "a.jsonl:5: 7 in column 'text'"),
    "unknown label": (
        lambda p: changed(p / "a.csv", 2, label="godo"),
        "a.csv:4: label 'godo' is not one of the model's; valid: bad, good, dull, or in every row",
    ),
    "mixed labels": (lambda p: changed(p / "a.csv", 2, label="1"), "a.csv:4: label '1' is not"),
    "no label": (lambda p: changed(p / "a.jsonl", 2, label=None), "a.jsonl:3: the label in column"),
    "one label": (
        lambda p: write(p / "a.csv", [row | {"label": "bad"} for row in ROWS]),
        "every row has the label 'bad'; two are needed at least",
    ),
    "near-duplicates": (
        lambda p: write(p / "a.csv", [r | {"text": "So " + "!" * i} for i, r in enumerate(ROWS)]),
        "holds 1 different texts; at least 50",
    ),
    "a rare label": (
        lambda p: write(
            p / "a.csv", [r | {"label": "good" if i else "bad"} for i, r in enumerate(ROWS)]
        ),
        "all texts that seed 0 puts into .* have one label; take another seed",
    ),
    "ragged": (lambda p: raw(p / "a.csv", "text,label\nx,1,2\n"), "a.csv:2: has 3 columns, the"),
    "quotes": (
        lambda p: raw(p / "a.csv", 'text,label\n"x"y,1\n'),
        "a.csv:2: a field begins with a quotation mark and",
    ),
    "twice": (lambda p: raw(p / "a.csv", "text,text\nx,1\n"), "columns .'text'. are named twice"),
    "not JSON": (lambda p: raw(p / "a.jsonl", '{"text": \n'), "a.jsonl:1: is not JSON"),
    "no object": (lambda p: raw(p / "a.jsonl", "[1, 2]\n"), "a.jsonl:1: is no JSON object"),
}


@pytest.mark.parametrize("what", WRONG_FILES)
def test_a_wrong_file_is_refused_in_one_sentence(what, tmp_path):
    make, sentence = WRONG_FILES[what]
    with pytest.raises(BadInput, match=sentence) as caught:
        read(make(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["five", "nan", "inf"])
def test_a_number_that_is_none_is_refused(value, tmp_path):
    path = changed(tmp_path / "a.csv", 0, label=value)
    with pytest.raises(BadInput, match=f"a.csv:2: label '{value}' is not a finite number"):
        read(path, ())


def test_metrics_fit_the_head(file):
    with pytest.raises(BadInput, match="metric of this model: 'f1'.*valid: accuracy, matthews"):
        read(file, metric="f1")


# ---- models and wishes ------------------------------------------------------------------------


def altered(source, folder, **config):
    """A copy of a model's folder with another config."""
    folder.mkdir()
    for entry in source.iterdir():
        (folder / entry.name).write_bytes(entry.read_bytes())
    stored = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps(stored))
    return folder


def lacking(source, folder, name):
    altered(source, folder)
    (folder / name).rename(folder / "pytorch_model.bin")
    return folder


WRONG_MODELS = {
    "pickle": (
        lambda m, p: lacking(m, p, "model.safetensors"),
        "holds no model.safetensors; other weights are not read",
    ),
    "config": (lambda m, p: lacking(m, p, "config.json"), "has no config.json that can be read"),
    "tokenizer": (lambda m, p: lacking(m, p, "tokenizer.json"), "has no tokenizer beside it"),
    "headless": (
        lambda m, p: altered(m, p, architectures=["BertModel"]),
        "is BertModel; one fine-tuned as ...ForSequenceClassification, or one that predicts",
    ),
    "kind": (lambda m, p: altered(m, p, model_type="berd"), "architecture 'berd' .* is not known"),
    "shared": (lambda m, p: altered(m, p, model_type="albert"), "shares one block among all"),
    "one block": (lambda m, p: altered(m, p, num_hidden_layers=1), "has one block, and one must"),
    "many labels": (
        lambda m, p: altered(m, p, problem_type="multi_label_classification"),
        "gives several labels to one text",
    ),
    "many numbers": (lambda m, p: altered(m, p, problem_type="regression"), "several numbers"),
    "same names": (
        lambda m, p: altered(m, p, id2label={"0": "a", "1": "a"}),
        "does not name its classes 0 to 1 each by another name",
    ),
    "nowhere": (lambda m, p: p / "none" / "at" / "all", "is no folder, no Hub id"),
}


@pytest.mark.parametrize("what", WRONG_MODELS)
def test_a_wrong_model_is_refused_in_one_sentence(what, model, file, tmp_path):
    make, sentence = WRONG_MODELS[what]
    with pytest.raises(BadInput, match=sentence) as caught:
        ask(make(model, tmp_path / "wrong"), file, tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_weights_that_do_not_fit_their_config_are_refused_before_anything_is_scored(
    model, file, tmp_path
):
    request = ask(altered(model, tmp_path / "wrong", model_type="roberta"), file, tmp_path / "out")
    with pytest.raises(BadInput, match="the weights in .*wrong"):
        given.load(request)


TEXT = "is not valid: it should be a valid string"
WRONG_WISHES = {
    "no out": ({"out": None}, "out is not given; give model, file and out, or none"),
    "no file": ({"file": None}, "file is not given; give model, file and out, or none"),
    "no model": ({"model": None}, "model is not given; give model, file and out, or none"),
    "number for model": ({"model": 1}, f"model 1 {TEXT}"),
    "number for file": ({"file": 123}, f"file 123 {TEXT}"),
    "number for out": ({"out": 1}, f"out 1 {TEXT}"),
    "number for label": ({"label": 0}, f"label 0 {TEXT}"),
    "number for text": ({"text": 0}, "text 0 is not valid: it should name one column, or two"),
    "no text": ({"text": None}, "text None is not valid: it should name one column, or two"),
    "numbers for text": ({"text": [1, 2]}, f"text 1 {TEXT}"),
    "cut list": ({"text": "[a, b"}, "text '.a, b' is not valid: it is not a list such as"),
    "three texts": ({"text": "[a, b, c]"}, "it should name one column, or two as"),
    "same column": (
        {"text": "label"},
        "columns of text and label are label, label; each",
    ),
    "metric": ({"metric": 3}, f"metric 3 {TEXT}"),
    "tolerance": ({"tolerance": -1}, "tolerance -1 is not valid: .*greater than or equal to 0"),
    "length": ({"max_length": 2}, "max_length 2 is not valid: .*greater than or equal to 4"),
    "seed": ({"seed": -1}, "seed -1 is not valid: it should be greater than or equal to 0"),
    "half a seed": ({"seed": 1.0}, "seed 1.0 is not valid: it should be a valid integer"),
    "strategy": ({"strategies": ["topp"]}, "'topp'.* is not valid: .*top, bottom"),
    "no strategy": ({"strategies": []}, "strategies .* is not valid"),
    "epochs": ({"epochs": 0}, "epochs 0 is not valid: it should be greater than or equal to 1"),
    "rate": ({"learning_rate": "fast"}, "learning_rate 'fast' is not valid: .*valid number"),
}


@pytest.mark.parametrize("what", WRONG_WISHES)
def test_a_wrong_wish_is_refused_in_one_sentence(what, model, file, tmp_path):
    wishes, sentence = WRONG_WISHES[what]
    asked = {"model": str(model), "file": str(file), "out": str(tmp_path / "out")} | wishes
    page = {name: asked.pop(name) for name in (*FAST, "strategies") if name in asked}
    with pytest.raises(BadInput, match=sentence) as caught:
        given.accept(settings.of("your_model", page), tmp_path / "example", **asked)
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.csv"]


def test_a_folder_with_files_is_not_written_into(model, file, tmp_path):
    with pytest.raises(BadInput, match="exists and is not an empty folder; name a new one"):
        ask(model, file, tmp_path)
    with pytest.raises(BadInput, match="exists and is not an empty folder"):
        ask(model, file, file)
    with pytest.raises(BadInput, match="cannot be written: .*rows.csv is no folder"):
        ask(model, file, file / "below")


def test_the_released_recipe_holds_where_the_reader_changed_nothing(model, file, tmp_path):
    wishes = {"model": str(model), "file": str(file), "out": str(tmp_path / "out")}
    request = given.accept(settings.of("your_model", {"epochs": 2}), tmp_path, **wishes)
    assert request.recipe == given.replace(given.RELEASED, epochs=2)


# ---- the search -------------------------------------------------------------------------------


def planted(*rows):
    """Screened cuts of four blocks: k, strategy, score; the whole model scores 90."""
    found = [(k, s, tuple(range(4 - k)), score) for k, s, score in [(0, "whole", 90.0), *rows]]
    return pd.DataFrame(found, columns=["k", "strategy", "keep", "score"])


def search(scores, tolerance):
    """Descend over planted scores after fine-tuning; gives the cuts tuned and the result."""
    asked = []

    def tune(keep):
        asked.append(4 - len(keep))
        return scores[4 - len(keep)]

    screened = planted((1, "top", 81.0), (1, "odd", 88.0), (2, "top", 89.0), (3, "top", 85.0))
    return own.descend(screened, tolerance, tune), asked


def test_the_search_takes_the_best_cut_of_each_depth_and_ends_beyond_the_tolerance():
    found, asked = search({0: 90.0, 1: 89.0, 2: 87.0, 3: 90.0}, tolerance=2.0)
    assert asked == [0, 1, 2]  # 3 would be within again, but it is not looked for
    assert list(found["strategy"]) == ["whole", "odd", "top"]
    assert list(found["within"]) == [True, True, False] and list(found["loss"]) == [0, 1, 3]
    assert own.smallest(found) == (0, 1, 2)
    found, asked = search({0: 90.0, 1: 88.0, 2: 91.0, 3: 88.0}, tolerance=2.0)
    assert asked == [0, 1, 2, 3] and own.smallest(found) == (0,)  # a loss of just the tolerance
    found, asked = search({0: 90.0, 1: 80.0}, tolerance=2.0)
    assert asked == [0, 1] and own.smallest(found) is None


def test_a_loss_counts_from_the_better_of_the_model_as_given_and_fine_tuned_alike():
    better, _ = search({0: 95.0, 1: 92.0}, tolerance=2.0)  # above the given model, and yet a loss
    assert list(better["loss"]) == [0, 3] and own.smallest(better) is None
    worse, _ = search({0: 70.0, 1: 89.0, 2: 80.0}, tolerance=2.0)
    assert list(worse["loss"]) == [20, 1, 10] and own.smallest(worse) == (0, 1, 2)


def test_each_set_of_blocks_is_scored_once_and_every_strategy_at_every_depth(
    model, file, tmp_path, monkeypatch
):
    request, scored = ask(model, file, tmp_path / "out"), []
    score = own.score

    def counted(request, cut, tokenizer, part):
        scored.append(dropping.n_blocks(cut))
        return score(request, cut, tokenizer, part)

    monkeypatch.setattr(own, "score", counted)
    whole, tokenizer = given.load(request)
    before = {name: weight.clone() for name, weight in whole.state_dict().items()}
    found = own.screen(request, whole, tokenizer)
    for strategy in dropping.PAPER_STRATEGIES:
        most = dropping.most_dropped(strategy, 3)
        assert list(found[found["strategy"] == strategy]["k"]) == list(range(1, most + 1))
    assert len(scored) == found["keep"].nunique() < len(found)
    assert dropping.n_blocks(whole) == 3
    assert all(torch.equal(before[name], w) for name, w in whole.state_dict().items())


# ---- what is saved ----------------------------------------------------------------------------

CASES = {  # family, columns of text, outputs
    "classes": ("bert", "text", 3),
    "pairs": ("roberta", "[text, other]", 3),
    "numbers": ("xlnet", "text", 1),
}


@pytest.mark.parametrize("case", CASES)
def test_the_smaller_model_is_saved_whole_and_loads_in_plain_transformers(
    case, family_folders, tmp_path
):
    family, text, outputs = CASES[case]
    source = classifier(family_folders[family], tmp_path / "model", outputs=outputs)
    numbers = [row | {"label": len(row["text"]) / 10} for row in ROWS]
    file = write(tmp_path / "rows.tsv", numbers if outputs == 1 else ROWS)
    more = {"tolerance": 100, "strategies": ["top"], "epochs": 30}  # until all learn
    request = ask(source, file, tmp_path / "out", text=text, **more)
    assert request.task.labels == (() if outputs == 1 else NAMES)
    found, whole, tokenizer = run(request)
    keep = own.smallest(found)
    tuned = own.tuned(request, whole, tokenizer, keep)
    assert own.finish(request, keep) == tmp_path / "out"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "out", "rows.tsv"]
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    reader = AutoTokenizer.from_pretrained(tmp_path / "out")
    texts = request.task.test[0][0]
    texts = (texts,) if isinstance(texts, str) else texts
    logits = again(**reader(*texts, return_tensors="pt")).logits
    assert torch.equal(logits, tuned(**tokenizer(*texts, return_tensors="pt")).logits)
    assert dropping.n_blocks(again) == len(keep) == 1
    if outputs > 1:
        assert again.config.id2label == dict(enumerate(NAMES))
        assert again.config.label2id["dull"] == 2


def test_where_nothing_is_within_the_tolerance_nothing_is_saved(model, file, tmp_path, monkeypatch):
    request = ask(model, file, tmp_path / "out", tolerance=0, strategies=["top"])
    monkeypatch.setattr(own, "score", lambda _, model, *__: dropping.n_blocks(model) / 10)
    found, *_ = run(request)
    assert len(found) == 2 and own.finish(request, own.smallest(found)) is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.csv"]


def test_a_stopped_search_goes_on_without_training_again(model, file, tmp_path, monkeypatch):
    request = ask(model, file, tmp_path / "out")
    whole, tokenizer = given.load(request)
    first = own.tuned(request, whole, tokenizer, (0, 1))

    def never(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(own.training, "finish", never)
    again = own.tuned(request, whole, tokenizer, (0, 1))
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    other = ask(model, file, tmp_path / "out", seed=1)
    assert own.place(other, (0, 1)) != own.place(request, (0, 1))
    with pytest.raises(AssertionError, match="trained again"):
        own.tuned(request, whole, tokenizer, (0, 2))


def test_a_killed_training_goes_on_to_the_same_weights(model, file, tmp_path, killed_after):
    requests = [ask(model, file, tmp_path / name) for name in ("straight", "stopped")]
    whole, tokenizer = given.load(requests[0])
    straight = own.tuned(requests[0], whole, tokenizer, (0, 2))
    with killed_after(2):
        own.tuned(requests[1], whole, tokenizer, (0, 2))
    assert {p.suffix for p in requests[1].work.iterdir()} == {".lock", ".safetensors"}
    resumed = own.tuned(requests[1], whole, tokenizer, (0, 2))
    for one, other in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


# ---- models that predict words ----------------------------------------------------------------

SENTENCES = [f"{row['text']} , said the {NAMES[i % 3]} ." for i, row in enumerate(ROWS)]


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    """Folder of a small random decoder, with a tokenizer of its own."""
    tokenizer = from_scratch.tokenizer("gpt-mini-12", SENTENCES, 300)
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = GPT2Config(n_layer=3, n_embd=16, n_head=2, vocab_size=len(tokenizer), **ends)
    torch.manual_seed(0)
    return dropping.save(GPT2LMHeadModel(config), tokenizer, tmp_path_factory.mktemp("gpt") / "m")


@pytest.fixture
def words(tmp_path):
    """A plain text, one paragraph a line, some of them twice."""
    (tmp_path / "text.txt").write_text("\n\n".join([*SENTENCES, *SENTENCES[:5]]))
    return tmp_path / "text.txt"


def test_a_decoder_is_made_smaller_on_a_plain_text(decoder, words, tmp_path):
    more = {"tolerance": 100, "strategies": ["top"], "max_length": 16, "epochs": 3}
    request = ask(decoder, words, tmp_path / "out", **more)
    parts = request.task.train, request.task.dev, request.task.test
    assert sorted(text for part in parts for text, _ in part) == sorted(set(SENTENCES))
    found, whole, tokenizer = run(request)
    assert found["score"].iloc[0] > own.score(request, whole, tokenizer, "dev")  # it learned
    keep = own.smallest(found)
    tuned = own.tuned(request, whole, tokenizer, keep)
    loss = pretraining.losses(tuned, tokenizer, own.rows(request, tuned, tokenizer, "test"))["loss"]
    assert own.score(request, tuned, tokenizer, "test") == pytest.approx(-100 * loss)
    assert own.told(request, -100 * loss) == f"perplexity {np.exp(loss):.2f}"
    assert own.auto_class(request, whole) == "AutoModelForCausalLM"
    again = AutoModelForCausalLM.from_pretrained(own.finish(request, keep))
    inputs = tokenizer(SENTENCES[0], return_tensors="pt")
    assert torch.equal(again(**inputs).logits, tuned(**inputs).logits)
    assert again.config.n_layer == len(keep) < 3


def test_a_text_that_is_none_or_too_short_is_refused(decoder, words, file, tmp_path):
    with pytest.raises(BadInput, match="is no file .txt"):
        ask(decoder, file, tmp_path / "out")
    for other in (tmp_path, "editorials"):  # a folder, a task: neither is a file of the reader's
        with pytest.raises(BadInput, match="is no file; the model predicts words"):
            ask(decoder, other, tmp_path / "out")
    words.write_text("\n".join(SENTENCES[:20]))
    with pytest.raises(
        BadInput, match="text.txt: holds 20 different texts; at least 50 are needed"
    ):
        ask(decoder, words, tmp_path / "out")


def test_rows_are_no_longer_than_the_model_reads_and_repeated_paragraphs_are_told(words, tmp_path):
    """The default of 128 tokens a row is more than this model has positions for."""
    tokenizer = from_scratch.tokenizer("gpt-mini-12", SENTENCES, 300)
    config = GPT2Config(n_layer=2, n_embd=16, n_head=2, vocab_size=len(tokenizer), n_positions=24)
    short = dropping.save(GPT2LMHeadModel(config), tokenizer, tmp_path / "short")
    request = ask(short, words, tmp_path / "out")
    assert request.task.skipped["repeated paragraphs"] == 5
    whole, tokenizer = given.load(request)
    assert own.rows(request, whole, tokenizer, "dev").shape[1] == 24
    assert np.isfinite(own.score(request, whole, tokenizer, "dev"))


@pytest.mark.parametrize("name", MINIATURES)
def test_the_class_that_is_told_reads_a_model_that_predicts_words(name, words, tmp_path):
    request = ask(name, words, tmp_path / "out")
    whole, tokenizer = given.load(request)
    dropping.save(whole, tokenizer, tmp_path / "saved")
    kind = getattr(transformers, own.auto_class(request, whole))
    kind.from_pretrained(tmp_path / "saved")


def test_the_example_is_real_sentences_that_its_model_has_not_seen(tmp_path):
    task = given.accept(settings.of("your_model", {}), tmp_path / "example").task
    seen = {text for text, _ in given._short()[: given.SEEN]}
    rows = [*task.train, *task.dev, *task.test]
    assert len(rows) == given.UNSEEN and not seen & {text for text, _ in rows}
    known = dict(corpora.load("polarity").train)
    assert all(known[text] == label for text, label in rows)
