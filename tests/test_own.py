"""A reader's own model and file: labels keep their numbers, wrong input is refused, the search."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
import torch

from lib import BadInput, dropping, encoders
from lib.own import given, labelled, report, smaller

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
def own(family_folders, tmp_path_factory):
    """Folder of a classifier with three named classes."""
    return classifier(family_folders["bert"], tmp_path_factory.mktemp("own") / "model")


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "rows.csv", ROWS)


def ask(model, file, out, **options):
    return given.accept(model=str(model), file=str(file), out=str(out), **FAST | options)


def run(request):
    """The page's own steps."""
    whole, tokenizer = given.load(request)
    dev = smaller.score(request, whole, tokenizer, "dev")
    screened = smaller.screen(request, whole, tokenizer, dev)

    def tune(keep):
        return smaller.score(
            request, smaller.tuned(request, whole, tokenizer, keep), tokenizer, "dev"
        )

    return screened, smaller.descend(screened, dev, request.tolerance, tune), tokenizer


# ---- reading ----------------------------------------------------------------------------------


def test_all_formats_give_the_same_task_and_no_text_is_in_two_parts(tmp_path):
    rows = [*ROWS, *ROWS[:9]]  # some texts occur twice
    quoted = [row | {"other": 'he said "no,\tnever"'} for row in rows]
    read = [
        labelled.task(
            write(tmp_path / f"rows{ending}", quoted), NAMES, text=["text", "other"], label="label"
        )
        for ending in labelled.READERS
    ]
    for task in read:
        assert (task.train, task.dev, task.test) == (read[0].train, read[0].dev, read[0].test)
        assert task.kind == "pair" and task.metric == "accuracy" and task.labels == NAMES
    parts = read[0].train, read[0].dev, read[0].test
    assert sorted(sum(parts, [])) == sorted(((r["text"], r["other"]), r["label"]) for r in quoted)
    texts = [{text for text, _ in part} for part in parts]
    assert not (texts[0] & texts[1] or texts[0] & texts[2] or texts[1] & texts[2])
    assert len(texts[0]) > 2.5 * len(texts[1]) > 0 and texts[2]


def test_class_numbers_and_names_mean_the_same_and_nothing_is_renumbered(tmp_path):
    numbers = [row | {"label": NAMES.index(row["label"])} for row in ROWS]
    columns = {"text": ["text"], "label": "label"}
    named = labelled.task(write(tmp_path / "a.jsonl", ROWS), NAMES, **columns)
    numbered = labelled.task(write(tmp_path / "b.jsonl", numbers), NAMES, **columns)
    assert named.train == numbered.train and named.labels == numbered.labels == NAMES
    few = [row for row in ROWS if row["label"] != "bad"] * 2
    few = [row | {"text": f"{row['text']} {i}"} for i, row in enumerate(few)]
    task = labelled.task(write(tmp_path / "c.csv", few), NAMES, **columns)
    assert task.labels == NAMES  # though one class has no row, which is said
    assert "Class 'bad' has no row in train." in report.remarks(task)


def test_the_seed_decides_the_parts(file):
    parts = [
        labelled.task(file, NAMES, text=["text"], label="label", seed=s).dev for s in (0, 0, 1)
    ]
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
        labelled.task(make(tmp_path), NAMES, text=["text"], label="label")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["five", "nan", "inf"])
def test_a_number_that_is_none_is_refused(value, tmp_path):
    path = changed(tmp_path / "a.csv", 0, label=value)
    with pytest.raises(BadInput, match=f"a.csv:2: label '{value}' is not a finite number"):
        labelled.task(path, (), text=["text"], label="label")


def test_metrics_fit_the_head(file):
    assert labelled.metrics_of(()) == ["pearson_spearman"]
    assert labelled.metrics_of("ab") == ["accuracy", "f1", "accuracy_and_f1", "matthews"]
    with pytest.raises(BadInput, match="metric of this model: 'f1'.*valid: accuracy, matthews"):
        labelled.task(file, NAMES, text=["text"], label="label", metric="f1")


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
    "pickle": (lambda m, p: lacking(m, p, "model.safetensors"), "holds no .*.safetensors, and"),
    "config": (lambda m, p: lacking(m, p, "config.json"), "has no config.json that can be read"),
    "tokenizer": (lambda m, p: lacking(m, p, "tokenizer.json"), "has no tokenizer beside it"),
    "headless": (
        lambda m, p: altered(m, p, architectures=["BertModel"]),
        "is BertModel; one fine-tuned as ...ForSequenceClassification is needed",
    ),
    "kind": (lambda m, p: altered(m, p, model_type="gpt2"), "architecture 'gpt2' is not known"),
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
def test_a_wrong_model_is_refused_in_one_sentence(what, own, file, tmp_path):
    make, sentence = WRONG_MODELS[what]
    with pytest.raises(BadInput, match=sentence) as caught:
        ask(make(own, tmp_path / "wrong"), file, tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


WRONG_WISHES = {
    "no out": ({"out": None}, "out is not given; name a new folder"),
    "no file": ({"file": None}, "model is given and file is not; give both, or none"),
    "no model": ({"model": None}, "file is given and model is not; give both, or none"),
    "tolerance": ({"tolerance": -1}, "tolerance -1 is out of range; valid: 0 to 100"),
    "strategy": ({"strategies": ["topp"]}, "strategy 'topp' is not known; valid: top, bottom"),
    "epochs": ({"epochs": 0}, "epochs 0 is out of range; valid: 1 to 100"),
    "rate": ({"learning_rate": "fast"}, "learning_rate 'fast' is out of range"),
    "length": ({"max_length": 2}, "max_length 2 is out of range; valid: 4 to"),
    "seed": ({"seed": -1}, "seed -1 is out of range"),
    "no strategy": ({"strategies": []}, "it takes a list of at least one value"),
    "same column": ({"text": "label"}, "column 'label' is named for text and label"),
    "three texts": ({"text": "[a, b, c]"}, "it takes one column, or a list of two"),
}


@pytest.mark.parametrize("what", WRONG_WISHES)
def test_a_wrong_wish_is_refused_in_one_sentence(what, own, file, tmp_path):
    wishes, sentence = WRONG_WISHES[what]
    asked = {"model": str(own), "file": str(file), "out": str(tmp_path / "out")} | wishes
    with pytest.raises(BadInput, match=sentence):
        given.accept(**asked)
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.csv"]


def test_a_folder_with_files_is_not_written_into(own, file, tmp_path):
    with pytest.raises(BadInput, match="exists and is not an empty folder; name a new one"):
        ask(own, file, tmp_path)
    with pytest.raises(BadInput, match="exists and is not an empty folder"):
        ask(own, file, file)
    with pytest.raises(BadInput, match="cannot be written: .*rows.csv is no folder"):
        ask(own, file, file / "below")


# ---- the search -------------------------------------------------------------------------------


def planted(*rows):
    return pd.DataFrame(
        [
            {"k": k, "strategy": s, "keep": tuple(range(4 - k)), "score": 0.9, "loss": loss}
            for k, s, loss in rows
        ]
    )


def search(scores, tolerance):
    """Descend over planted scores after fine-tuning; gives the cuts tuned and the result."""
    asked = []

    def tune(keep):
        asked.append(4 - len(keep))
        return scores[4 - len(keep)]

    screened = planted((1, "top", 9.0), (1, "odd", 2.0), (2, "top", 1.0), (3, "top", 5.0))
    return smaller.descend(screened, 0.9, tolerance, tune), asked


def test_the_search_takes_the_best_cut_of_each_depth_and_ends_beyond_the_tolerance():
    found, asked = search({1: 0.89, 2: 0.87, 3: 0.9}, tolerance=2.0)
    assert asked == [1, 2]  # 3 would be within again, but it is not looked for
    assert list(found["strategy"]) == ["odd", "top"] and list(found["within"]) == [True, False]
    assert smaller.smallest(found) == (0, 1, 2)
    found, asked = search({1: 0.88, 2: 0.91, 3: 0.88}, tolerance=2.0)
    assert asked == [1, 2, 3] and smaller.smallest(found) == (0,)  # a loss of just the tolerance
    found, asked = search({1: 0.8}, tolerance=2.0)
    assert asked == [1] and smaller.smallest(found) is None


def test_each_set_of_blocks_is_scored_once_and_every_strategy_at_every_depth(
    own, file, tmp_path, monkeypatch
):
    request, scored = ask(own, file, tmp_path / "out"), []
    score = smaller.score

    def counted(request, model, tokenizer, part):
        scored.append(dropping.n_blocks(model))
        return score(request, model, tokenizer, part)

    monkeypatch.setattr(smaller, "score", counted)
    whole, tokenizer = given.load(request)
    before = {name: weight.clone() for name, weight in whole.state_dict().items()}
    found = smaller.screen(request, whole, tokenizer, 0.5)
    for strategy in dropping.STRATEGIES:
        most = dropping.most_dropped(strategy, 3)
        assert list(found[found["strategy"] == strategy]["k"]) == list(range(1, most + 1))
    assert len(scored) == found["keep"].nunique() < len(found)
    assert dropping.n_blocks(whole) == 3
    assert all(torch.equal(before[name], w) for name, w in whole.state_dict().items())


def test_a_model_without_blocks_is_that_of_drop_blocks_and_shares_its_weights(own):
    whole, tokenizer = encoders.load(own, head=3, device="cpu")
    shared = dropping.smaller(whole, (0, 2))
    dropped = dropping.drop_blocks(encoders.load(own, head=3, device="cpu")[0], (0, 2))
    inputs = tokenizer("nobody watched the boat", return_tensors="pt")
    assert torch.equal(shared(**inputs).logits, dropped(**inputs).logits)
    addresses = {weight.data_ptr() for weight in whole.parameters()}
    assert {weight.data_ptr() for weight in shared.parameters()} < addresses


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
    model = classifier(family_folders[family], tmp_path / "model", outputs=outputs)
    numbers = [row | {"label": len(row["text"]) / 10} for row in ROWS]
    file = write(tmp_path / "rows.tsv", numbers if outputs == 1 else ROWS)
    more = {"tolerance": 100, "strategies": ["top"], "epochs": 30}  # until all learn
    request = ask(model, file, tmp_path / "out", text=text, **more)
    assert request.task.labels == (() if outputs == 1 else NAMES)
    _, found, tokenizer = run(request)
    assert report.lengths(request, *given.load(request)).endswith("cut: 0 of 54.")
    keep = smaller.smallest(found)
    tuned = smaller.tuned(request, *given.load(request), keep)
    assert smaller.finish(request, keep) == tmp_path / "out"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "out", "rows.tsv"]
    code = report.lines(request.out)
    assert len(code.splitlines()) == 3
    loaded = {}
    exec(code, loaded)
    texts = request.task.test[0][0]
    texts = (texts,) if isinstance(texts, str) else texts
    again = loaded["model"](**loaded["tokenizer"](*texts, return_tensors="pt"))
    assert torch.equal(again.logits, tuned(**tokenizer(*texts, return_tensors="pt")).logits)
    assert dropping.n_blocks(loaded["model"]) == len(keep) == 1
    if outputs > 1:
        assert loaded["model"].config.id2label == dict(enumerate(NAMES))
        assert loaded["model"].config.label2id["dull"] == 2


def test_where_nothing_is_within_the_tolerance_nothing_is_saved(own, file, tmp_path, monkeypatch):
    request = ask(own, file, tmp_path / "out", tolerance=0, strategies=["top"])
    monkeypatch.setattr(smaller, "score", lambda _, model, *__: dropping.n_blocks(model) / 10)
    _, found, _ = run(request)
    assert len(found) == 1 and smaller.finish(request, smaller.smallest(found)) is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.csv"]
    assert report.lines(None).startswith("Nothing was saved.")
    assert "no smaller model stays within 0 points" in report.outcome(request, [{}])


def test_a_stopped_search_goes_on_without_training_again(own, file, tmp_path, monkeypatch):
    request = ask(own, file, tmp_path / "out")
    whole, tokenizer = given.load(request)
    first = smaller.tuned(request, whole, tokenizer, (0, 1))

    def never(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(smaller.finetune, "train", never)
    again = smaller.tuned(request, whole, tokenizer, (0, 1))
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    other = ask(own, file, tmp_path / "out", seed=1)
    assert smaller.place(other, (0, 1)) != smaller.place(request, (0, 1))
    with pytest.raises(AssertionError, match="trained again"):
        smaller.tuned(request, whole, tokenizer, (0, 2))


def test_tables_hold_what_was_measured():
    screened = planted((1, "top", 9.0), (1, "odd", 2.0), (2, "top", 1.0))
    found, _ = search({1: 0.89, 2: 0.87}, tolerance=2.0)
    shown = report.table(screened, found)
    assert list(shown.loc["top"]) == ["9.0", "1.0"] and list(shown.loc["odd"]) == ["2.0", "–"]
    assert list(shown.loc["best, fine-tuned"]) == ["1.0", "3.0"]
    assert list(report.steps(found)["within"]) == ["yes", "no"]
    assert np.isclose(found["loss"], [1.0, 3.0]).all()
