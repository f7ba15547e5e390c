"""Every task from every source it claims, errors with file and line, splits and metrics."""

import dataclasses
import hashlib
import io
import json
import math
import sys
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lib import archive, corpora, metrics, readers
from lib import labelled as own
from lib.errors import BadInput

ROOT = corpora.data_root()
needs_data = [
    pytest.mark.data,
    pytest.mark.skipif(ROOT is None, reason="no data root: set REDUNDANCY_DATA to its folder"),
]
RECORDS = Path(__file__).resolve().parents[1] / "book" / "results" / "small"
GENERATED = [name for name, info in corpora.TASKS.items() if info.own == "embedded"]
EMBEDDED = [name for name, info in corpora.TASKS.items() if "embedded" in info.sources]
IN_FOLDER = [name for name, info in corpora.TASKS.items() if "folder" in info.sources]
ON_HUB = [name for name, info in corpora.TASKS.items() if "hub" in info.sources]


def check_contract(task: corpora.Task):
    """What every consumer relies on, whatever the source."""
    info = corpora.TASKS[task.name]
    assert task.title.removesuffix(" (generated)") == info.title
    assert (task.kind, task.metric) == (info.kind, info.metric)
    assert len(task.digest) == 64 and all(count > 0 for count in task.skipped.values())
    for text, label in task.train + task.dev + task.test:
        if task.kind in {"tagging", "text"}:
            assert text and all(word.strip() for word in text)
        else:
            parts = text if task.kind == "pair" else (text,)
            assert len(parts) == (2 if task.kind == "pair" else 1)
            assert all(isinstance(part, str) and part.strip() for part in parts)
        if task.kind == "tagging":
            assert len(label) == len(text) and all(label)
        elif not task.metric:
            assert label is None
        elif not task.labels:
            low, high = {"stsb": (0, 5), "valence": (-4, 4)}[task.name]
            assert isinstance(label, float) and low <= label <= high
        else:
            assert label in task.labels


# --- the table ------------------------------------------------------------------------------------


def test_table_names_what_the_library_has():
    for name, info in corpora.TASKS.items():
        assert name == info.name and name.isidentifier() and name.islower()
        assert info.sources, f"{name} can be loaded from nowhere"
        assert info.metric in metrics.METRICS or (not info.metric and not info.labels)
        assert info.kind in {"tagging", "sentence", "pair", "text", "sentences"}
        assert bool(info.metric) == (info.kind in {"tagging", "sentence", "pair"})
        assert bool(info.parts) == ("folder" in info.sources)


def test_a_caller_may_change_its_lists():
    first = corpora.load("polarity")
    first.train.reverse()
    del first.train[10:]
    assert len(corpora.load("polarity").train) > 10


def test_unknown_names_and_sources_are_refused_with_what_is_valid():
    with pytest.raises(BadInput, match=r"task 'poss' is not known; valid: pos, chunk"):
        corpora.load("poss")
    with pytest.raises(
        BadInput, match=r"'wikitext2' .* data='embedded' .* data='root' or a folder"
    ):
        corpora.load("wikitext2")
    with pytest.raises(BadInput, match=r"'sst2' .* data='embedded' .generated.; .* data='hub'"):
        corpora.load("sst2")
    assert corpora.digest("sst2") is corpora.digest("pos", root="hub") is None
    with pytest.raises(BadInput, match=r"task 'poss' is not known"):
        corpora.digest("poss")
    with pytest.raises(BadInput, match=r"'pos' .* data='hub'; it has data='embedded' \(generated"):
        corpora.load("pos", root="hub")
    with pytest.raises(BadInput, match=r"'somewhere' has no folder glue/RTE or RTE"):
        corpora.load("rte", root="somewhere")


def test_data_root_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("REDUNDANCY_DATA", str(tmp_path))
    assert corpora.data_root() == tmp_path
    monkeypatch.setenv("REDUNDANCY_DATA", str(tmp_path / "none"))
    with pytest.raises(BadInput, match="REDUNDANCY_DATA names"):
        corpora.data_root()


def test_the_data_root_has_a_word(monkeypatch, tmp_path):
    monkeypatch.setenv("REDUNDANCY_DATA", str(tmp_path))
    texts = {"train.tsv": HEADER + rows(20), "dev.tsv": HEADER + rows(3, "d {i}\te\tentailment")}
    write(tmp_path / "RTE", texts)
    named, given = (corpora.load("rte", root=root) for root in ("root", tmp_path))
    assert named == given
    monkeypatch.setattr(corpora, "data_root", lambda: None)
    with pytest.raises(BadInput, match="there is no data root: set REDUNDANCY_DATA"):
        corpora.load("rte", root="root")
    assert corpora.digest("rte", root="root") is None


def test_a_title_says_whether_the_text_is_generated():
    assert corpora.load("pos").title == "POS tagging (generated)"
    assert corpora.title("pos", "embedded") == "POS tagging (generated)"
    assert corpora.title("pos") == corpora.title("pos", "root") == "POS tagging"
    assert corpora.title("polarity", "embedded") == "Polarity"
    assert corpora.title("own") == "own"


# --- splits ---------------------------------------------------------------------------------------


def test_official_split_is_the_released_one():
    train, dev = corpora.official_split(10)
    assert train.tolist() == [4, 7, 1, 3, 8, 9, 5, 6, 0] and dev.tolist() == [2]
    train, dev = corpora.official_split(2490)
    assert (len(train), len(dev)) == (2241, 249)
    assert train[:5].tolist() == [1908, 1805, 670, 127, 2372]
    assert dev[:3].tolist() == [2391, 1356, 1467]
    assert sorted([*train, *dev]) == list(range(2490))


def test_official_split_leaves_the_global_generator_alone():
    np.random.seed(3)
    expected = np.random.rand(4)
    np.random.seed(3)
    corpora.official_split(100)
    assert np.array_equal(np.random.rand(4), expected)


# --- embedded -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_task_keeps_the_contract(name):
    task = corpora.load(name)
    check_contract(task)
    inputs = [repr(text) for text, _ in task.train + task.dev + task.test]
    assert len(set(inputs)) == len(inputs), "a sentence stands in two places"
    if task.kind != "text":
        sizes = tuple(map(len, (task.train, task.dev, task.test)))
        assert sizes == corpora.EMBEDDED_SIZES
    if task.labels and task.kind != "tagging":
        assert {label for _, label in task.train} == set(task.labels)


def test_seed_selects_the_embedded_sample():
    first, again, other = (corpora.load("pos", seed=seed) for seed in (0, 0, 1))
    assert first.digest == again.digest != other.digest
    assert first.train == again.train != other.train


# --- files ----------------------------------------------------------------------------------------


def write(folder, texts):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def rows(n, row="a {i}\tb\tentailment"):
    return "".join(f"{i}\t{row.format(i=i)}\n" for i in range(n))


PARTS = {name: info.parts for name, info in corpora.TASKS.items()}
HEADER = "index\tsentence1\tsentence2\tlabel\n"
UD_LINE = "1\tHi\thi\tINTJ\tUH\t_\t0\troot\t_\t_\n"


@pytest.mark.parametrize(
    ("name", "broken", "text", "message"),
    [
        ("rte", "RTE/train.tsv", None, r"train\.tsv: cannot be read \(No such file"),
        ("rte", "RTE/train.tsv", "", r"train\.tsv: is empty"),
        (
            "rte",
            "RTE/train.tsv",
            "index\ta\tb\tlabel\n",
            r"tsv:1: the header's column 'sentence1' is",
        ),
        ("rte", "RTE/train.tsv", HEADER + rows(3) + "3\tx\n", r"tsv:5: has 2 columns, .* has 4"),
        ("rte", "RTE/train.tsv", HEADER + "0\ta\tb\tmaybe\n", r"tsv:2: label 'maybe' .*not_ent"),
        ("rte", "RTE/train.tsv", HEADER.encode() + b"\n\xff\n", r"tsv:3: is not UTF-8"),
        ("rte", "RTE/train.tsv", HEADER, r"has too few items"),
        ("cola", "CoLA/train.tsv", "gj\t1\n", r"tsv:1: column 3 is not known; valid: 0, 1"),
        ("cola", "CoLA/train.tsv", "gj\t7\t\tHi.\n", r"tsv:1: label '7' is not known"),
        ("rte", "RTE/train.tsv", HEADER + rows(1) + "\n\n", r"tsv:3: has 1 columns"),
        (
            "stsb",
            "STS-B/train.tsv",
            HEADER.replace("label", "score") + rows(1),
            r"tsv:2: label 'entail.* from 0 to 5",
        ),
        ("pos", "ud_ewt/en_ewt-ud-train.conllu", "1\tHi\n", r"conllu:1: has 2 columns; 10"),
        ("pos", "ud_ewt/en_ewt-ud-train.conllu", UD_LINE.replace("UH", "_"), r":1: word 'Hi' w"),
        ("pos", "ud_ewt/en_ewt-ud-train.conllu", UD_LINE + UD_LINE, r":2: word 1 .*; 2 was due"),
        ("pos", "ud_ewt/en_ewt-ud-train.conllu", UD_LINE + "\t" * 9 + "\n", r":2: word .*; 2 was"),
        ("chunk", "conll2000/train.txt", "\u200b DT B-NP\n", r"train\.txt:1: word .* both are"),
        ("chunk", "conll2000/train.txt", "a DT B-NP\n\nb NN\n", r"train\.txt:3: has 2 col.*; 3"),
        ("sem", "pmb/train.conll", "# raw\nA\tA\ta\tDIS\n", r"train\.conll:2: has 4 columns; 7"),
        ("wikitext2", "wikitext2/valid.txt", " \n = X = \n", r"has too few items"),
    ],
)
def test_malformed_files_are_refused_by_file_and_line(tmp_path, name, broken, text, message):
    folder, part = broken.split("/")
    others = {"dev.tsv": HEADER + rows(2)} if name == "rte" else dict.fromkeys(PARTS[name], "")
    write(tmp_path / folder, others | ({part: text} if text is not None else {}))
    with pytest.raises(BadInput, match=message):
        corpora.load(name, root=tmp_path)


def test_table_splits_at_tabs_and_line_feeds_only(tmp_path):
    odd = 'he said "no\u2028 and \x85 left'
    text = "\ufeff" + HEADER + f'0\t"{odd}\tb"\tentailment\r\n' + "1\ta \tb\tnot_entailment"
    path = write(tmp_path, {"train.tsv": text}) / "train.tsv"
    assert corpora.TASKS["rte"].read(path, Counter()) == [
        (('"' + odd, 'b"'), "entailment"),
        (("a ", "b"), "not_entailment"),
    ]


def test_what_tables_leave_out_is_counted(tmp_path):
    mnli = (
        "gold_label\textra\tsentence1\tsentence2\n-\tx\ta\tb\nneutral\tx\ta\t \nneutral\tx\ta\tb\n"
    )
    qqp = "id\tquestion1\tquestion2\tis_duplicate\n0\tShort?\n1\tA?\tB?\t1\n"
    counted = {}
    for name, text in {"mnli": mnli, "qqp": qqp}.items():
        told = Counter()
        path = write(tmp_path, {f"{name}.tsv": text}) / f"{name}.tsv"
        assert len(corpora.TASKS[name].read(path, told)) == 1
        counted |= +told
    assert counted == {
        "rows without a label": 1,
        "rows with an empty sentence": 1,
        "rows with missing columns": 1,
    }


def test_glue_folder_may_stand_in_the_root_or_in_glue(tmp_path):
    texts = {"train.tsv": HEADER + rows(20), "dev.tsv": HEADER + rows(3, "d {i}\te\tentailment")}
    write(tmp_path / "one" / "RTE", texts)
    write(tmp_path / "two" / "glue" / "RTE", texts)
    one, two = (corpora.load("rte", root=tmp_path / name) for name in ("one", "two"))
    assert one.train == two.train and one.digest == two.digest
    train, dev = corpora.official_split(20)
    assert [text for text, _ in one.train] == [(f"a {i}", "b") for i in train]
    assert [text for text, _ in one.dev] == [(f"a {i}", "b") for i in dev]
    assert [text for text, _ in one.test] == [(f"d {i}", "e") for i in range(3)]
    check_contract(one)


def test_columns_count_what_is_no_word(tmp_path):
    ud = (
        "# text = Don't\n1-2\tDon't" + "\t_" * 8 + "\n"
        "1\tDo\tdo\tAUX\tVBP" + "\t_" * 5 + "\n2\tn't\tnot\tPART\tRB" + "\t_" * 5 + "\n"
        "2.1\tgo\tgo\tVERB\tVB" + "\t_" * 5 + "\n\n\n"
    )
    told = Counter()
    path = write(tmp_path, {"x.conllu": ud}) / "x.conllu"
    assert corpora.TASKS["pos"].read(path, told) == [(["Do", "n't"], ["VBP", "RB"])]
    two = write(tmp_path, {"y.conllu": f"{UD_LINE}\n{UD_LINE}"}) / "y.conllu"
    assert corpora.TASKS["pos"].read(two, Counter()) == [(["Hi"], ["UH"])] * 2
    assert told == {"comment lines": 1, "multi-word ranges": 1, "empty nodes": 1}


def test_words_that_look_like_comments_are_words(tmp_path):
    path = write(tmp_path, {"a.txt": "# # I-NP\n1 CD I-NP"}) / "a.txt"
    assert corpora.TASKS["chunk"].read(path, Counter()) == [(["#", "1"], ["I-NP", "I-NP"])]
    path = write(tmp_path, {"b.conll": "### made\n# raw sent = #\n#\t#\t#\tNIL\tn\tO\t[]\n"})
    found = corpora.TASKS["sem"].read(path / "b.conll", Counter())
    assert found == [(["#"], ["NIL"])]


def test_multi_word_units_of_the_meaning_bank(tmp_path):
    path = write(tmp_path, {"a.conll": "New~York\tx\tx\tGPE\tn\tO\t[]\n~\tx\tx\tNIL\t.\tO\t[]\n"})
    sem, ccg = Counter(), Counter()
    assert corpora.TASKS["sem"].read(path / "a.conll", sem) == [
        (["New", "York", "~"], ["GPE", "GPE", "NIL"])
    ]
    assert corpora.TASKS["ccg"].read(path / "a.conll", ccg) == [(["New York", "~"], ["n", "."])]
    assert sum(sem.values()) == sum(ccg.values()) == 1


def test_paragraphs_are_cut_into_sentences(tmp_path):
    text = (
        " = A heading = \n \n"
        ' He is co @-@ pilot of 1 @,@ 000 . " Is it ? " he said . " Go . Now ! " Yes \n'
    )
    told = Counter()
    path = write(tmp_path, {"a.txt": text}) / "a.txt"
    found = [" ".join(words) for words, _ in readers.paragraphs(path, told)]
    assert found == [
        "He is co-pilot of 1,000 .",
        '" Is it ? "',
        "he said .",
        '" Go .',
        'Now ! "',
        "Yes",
    ]
    counts = {"headings": 1, "blank lines": 1, "words joined at @-@, @,@ and @.@": 2}
    assert told == counts


def test_tags_that_train_lacks_are_kept_and_counted(tmp_path):
    text = "a DT B-NP\n\n" * 9
    write(tmp_path / "conll2000", {"train.txt": text + "b NN I-NP\n", "test.txt": "c VB B-VP\n"})
    task = corpora.load("chunk", root=tmp_path)
    assert task.labels == ("B-NP",) and task.test == [(["c"], ["B-VP"])]
    assert task.dev == [(["b"], ["I-NP"])], "dev is the last tenth of train"
    assert task.skipped == {"dev and test words whose tag train lacks (kept)": 2}
    assert "2 dev and test words" in str(task) and "9 / 1 / 1" in str(task)


def test_digest_is_of_the_bytes_of_the_files_and_needs_no_parsing(tmp_path, monkeypatch):
    texts = {"valid.txt": "A b .\nC d .\n", "test.txt": "E .\nF .\n"}
    write(tmp_path / "wikitext2", texts)
    task = corpora.load("wikitext2", root=tmp_path)
    expected = hashlib.sha256(b"valid.txt\n12\nA b .\nC d .\ntest.txt\n8\nE .\nF .\n").hexdigest()
    assert task.digest == expected == corpora.digest("wikitext2", root=tmp_path)
    write(tmp_path / "wikitext2", {"test.txt": "E .\nG .\n\n"})
    changed = corpora.digest("wikitext2", root=tmp_path)
    again = corpora.load("wikitext2", root=tmp_path)
    assert changed == again.digest != expected
    monkeypatch.setattr(corpora, "_parts", None)  # nothing can be read again
    assert corpora.load("wikitext2", root=tmp_path) == again
    write(tmp_path / "wikitext2", {"test.txt": b"\xff"})
    assert len(corpora.digest("wikitext2", root=tmp_path)) == 64, "it was parsed"
    (tmp_path / "wikitext2" / "test.txt").unlink()
    assert corpora.digest("wikitext2", root=tmp_path) is None
    assert corpora.digest("wikitext2", root=tmp_path / "none") is None


@pytest.mark.parametrize("name", GENERATED)
def test_digest_of_generated_text_depends_on_the_seed(name):
    found = [corpora.digest(name, seed=seed) for seed in (0, 0, 1)]
    assert found[0] == found[1] == corpora.load(name).digest != found[2]


def recorded():
    """Provenance of the committed records: task, and digest of the text it was made from."""
    lines = {}
    for file in RECORDS.rglob("*.provenance.jsonl"):
        for line in map(json.loads, file.read_text().splitlines()):
            if "task" in line and line["source"].startswith(("data root", "this environment")):
                lines.setdefault(line["task"], set()).add(line["text"])
    return lines


@pytest.mark.data
@pytest.mark.skipif(ROOT is None, reason="no data root: set REDUNDANCY_DATA to its folder")
def test_committed_records_are_found_again_by_the_digest_of_their_text():
    found = recorded()
    assert len(found) >= 9
    for name, digests in found.items():
        assert digests == {corpora.digest(name, root="root")[:12]}, name


# --- a labelled file of the reader's own ----------------------------------------------------------

STARS = ("awful", "poor", "fair", "good", "superb")


def own_file(path, rows, mark=","):
    path.write_text("".join(f"{mark.join(row)}\n" for row in [("text", "label"), *rows]))
    return path


def labelled(path, classes=STARS):
    return own.labelled(path, "text", "label", classes)


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_a_stray_quotation_mark_is_refused_where_it_begins(tmp_path, ending):
    """The records between two such marks would be merged into one text."""
    mark = "\t" if ending == ".tsv" else ","
    rows = [(f"row {i}", "good") for i in range(60)]
    rows[10], rows[14] = ('"It began here', "poor"), ('and ended"', "good")
    wrong = own_file(tmp_path / f"a{ending}", rows, mark)
    with pytest.raises(BadInput, match=rf"a{ending}:12: a field begins with a quotation mark"):
        labelled(wrong)
    rows[14] = ("never closed", "good")
    with pytest.raises(BadInput, match=rf"a{ending}:12: .* does not end with one on this line"):
        labelled(own_file(wrong, rows, mark))
    rows[10] = ('5" wide, "as said"', "poor") if mark == "\t" else ('"5"" wide, ""said"""', "poor")
    items, *_ = labelled(own_file(wrong, rows, mark))
    assert len(items) == 60 and items[10][0].startswith('5" wide, "')


def test_a_text_of_any_length_is_read(tmp_path):
    long = "word " * 40_000  # 200,000 characters; the csv module's own limit is 131,072
    items, *_ = labelled(own_file(tmp_path / "a.csv", [(long, "good"), ("b", "poor")]))
    assert items[0] == (long, "good")


@pytest.mark.parametrize(("mark", "told"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_another_delimiter_is_guessed_and_named(tmp_path, mark, told):
    path = own_file(tmp_path / "a.csv", [(f"row, {i}", STARS[i % 5]) for i in range(60)], mark)
    items, _, how = labelled(path)
    assert how == f"columns separated by {told}" and items[7] == ("row, 7", "fair")
    task = own.task(path, STARS, text="text", label="label")
    assert task.source == f"file a.csv, columns separated by {told}"


def test_the_header_is_named_where_a_column_is_missing_and_the_ending_may_be_large(tmp_path):
    path = own_file(tmp_path / "a.CSV", [("x", "good"), ("y", "poor")])
    assert [label for _, label in labelled(path)[0]] == ["good", "poor"]
    with pytest.raises(BadInput, match=r"a.CSV:1: the header's column 'review' .*: text, label"):
        own.labelled(path, "review", "label", STARS)


@pytest.mark.parametrize(
    ("raw", "classes", "meant"),
    [
        (["0.0", "1.0"], ("no", "yes"), ["no", "yes"]),
        (["false", "true"], ("no", "yes"), ["no", "yes"]),
        (["False", "True"], ("no", "yes"), ["no", "yes"]),
        (["0", "4"], STARS, ["awful", "superb"]),
        (["2", "1"], ("1", "2"), ["2", "1"]),  # names come before numbers
        (["-1.5", "2e3"], (), [-1.5, 2000.0]),
    ],
)
def test_labels_are_names_or_numbers(tmp_path, raw, classes, meant):
    path = own_file(tmp_path / "a.csv", [(f"row {i}", label) for i, label in enumerate(raw)])
    assert [label for _, label in labelled(path, classes)[0]] == meant


@pytest.mark.parametrize("most", [4, 5])
def test_classes_counted_from_one_are_a_question_and_no_shift(tmp_path, most):
    path = own_file(tmp_path / "a.csv", [(f"row {i}", str(1 + i % most)) for i in range(60)])
    with pytest.raises(BadInput, match=rf"numbers from 1 to {most} and none is 0: are the classes"):
        labelled(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a \\ud83d", "label": "good"}', "a.jsonl:2: column 'text' holds half of a char"),
        ('{"text": "a", "text": "b", "label": "good"}', "a.jsonl:2: names a value twice"),
        (
            '{"text": "\\u200b", "label": "good"}',
            r"a.jsonl:2: '.u200b' in column 'text' is no text",
        ),
        ('{"label": "good"}', "a.jsonl:2: column 'text' is not known; valid: label"),
        ('{"text": "a",', "a.jsonl:2: is not JSON"),
    ],
)
def test_json_lines_are_refused_by_their_line(tmp_path, line, message):
    path = write(tmp_path, {"a.jsonl": '{"text": "x\u2028", "label": "poor"}\n' + line}) / "a.jsonl"
    with pytest.raises(BadInput, match=message):
        labelled(path)


def test_one_column_is_not_text_and_label(tmp_path):
    path = own_file(tmp_path / "a.csv", [("x", "good"), ("y", "poor")])
    with pytest.raises(BadInput, match="columns of text and label are text, text; each is another"):
        own.labelled(path, "text", "text", STARS)


def test_a_glue_file_may_end_with_one_blank_line(tmp_path):
    path = write(tmp_path, {"train.tsv": HEADER + rows(3) + "\n"}) / "train.tsv"
    assert len(corpora.TASKS["rte"].read(path, Counter())) == 3


# --- the Hub --------------------------------------------------------------------------------------


def hub_data(info: corpora.TaskInfo, n=20, **columns):
    """A DatasetDict as the Hub would give it, made in memory."""
    datasets = pytest.importorskip("datasets")
    label = datasets.ClassLabel(names=list(info.labels)) if info.labels else datasets.Value("float")
    features = {name: datasets.Value("string") for name in info.hub} | {"label": label}

    def part(name):
        labels = [i % (len(info.labels) or 6) for i in range(n)]
        texts = {column: [f"{name} {column} {i}" for i in range(n)] for column in info.hub}
        content = texts | {"label": labels} | columns
        return datasets.Dataset.from_dict(content, features=datasets.Features(features))

    validation = "validation_matched" if info.name == "mnli" else "validation"
    return datasets.DatasetDict({name: part(name) for name in ("train", validation)})


@pytest.mark.parametrize("name", ON_HUB)
def test_hub_rows_are_mapped_without_network(name, monkeypatch):
    datasets = pytest.importorskip("datasets")
    info, asked = corpora.TASKS[name], []
    data = hub_data(info)
    monkeypatch.setattr(datasets, "load_dataset", lambda *args: asked.append(args) or data)
    task = corpora.load(name, root="hub")
    check_contract(task)
    assert asked == [("nyu-mll/glue", name)]
    assert (len(task.train), len(task.dev), len(task.test)) == (18, 2, 20)
    first = corpora.official_split(20)[0][0]
    texts = tuple(f"train {column} {first}" for column in info.hub)
    assert task.train[0][0] == (texts if len(texts) == 2 else texts[0])
    if info.labels:
        assert [label for _, label in task.test[:2]] == list(info.labels[:2])


def test_hub_rows_without_label_are_counted_and_other_faults_refused(monkeypatch):
    info, told = corpora.TASKS["rte"], Counter()

    def found(info, **columns):
        data = hub_data(corpora.TASKS["rte"], **columns)
        monkeypatch.setattr(readers, "hub", lambda _: data)
        return readers.hub_parts(info, told)

    parts = found(info, label=[-1] + [0] * 19)
    assert list(map(len, parts)) == [19, 19] and told == {"rows without a label": 2}
    other = dataclasses.replace(info, labels=info.labels[::-1])
    with pytest.raises(BadInput, match=r"classes are .'entailment', 'not_entailment'.; expected"):
        found(other)
    other = dataclasses.replace(info, hub=("text",))
    with pytest.raises(BadInput, match=r"train: column 'text' is not known; valid: sentence1"):
        found(other)


@pytest.mark.parametrize(
    ("error", "why"),
    [(ConnectionError, "does not answer"), (FileNotFoundError, "has no such data set")],
)
def test_hub_failure_is_one_sentence_that_names_the_other_sources(monkeypatch, error, why):
    datasets = pytest.importorskip("datasets")

    def fails(*args):
        raise error("many lines\nof detail")

    readers.hub.cache_clear()
    monkeypatch.setattr(datasets, "load_dataset", fails)
    with pytest.raises(
        BadInput, match=rf"nyu-mll/glue \(rte\) .* the Hub {why}; .* folder"
    ) as caught:
        corpora.load("rte", root="hub")
    assert "\n" not in str(caught.value) and "Error" not in str(caught.value)
    assert corpora.digest("rte", root="hub") is None


# --- the archive ----------------------------------------------------------------------------------

FAR = [4, 3, 2, 3]  # ratings of a sentence that is clearly positive


def snippets(kind, n=30, ratings=None):
    """Lines of the two files of one kind, in the archive's format, in our own words."""
    truth, raw = [], []
    for i in range(n):
        given = ratings or [[-r for r in FAR], FAR, [0, 0, 1, 0]][i % 3]
        stated = sum(given) / len(given)
        truth.append(f"{i}\t{stated}\tSentence {i} of a {kind} &amp; ''more''.")
        raw.append(f"{i}\t{stated}\t0.5\t{given}")
    return {"GroundTruth": truth, "anonDataRatings": raw[::-1]}


def packed(files):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return raw.getvalue()


def install(monkeypatch, folder, **changed):
    """An archive of our own words in an environment of its own; kinds may be changed."""
    files = {}
    for kind, stem in archive.KINDS.items():
        for part, text in (changed.get(kind) or snippets(kind)).items():
            content = "\r\n".join(text).encode()
            files[f"hutto_ICWSM_2014/{stem}_{part}.txt"] = content
    raw = packed({archive.INNER: packed(files)})
    monkeypatch.setattr(sys, "prefix", str(folder))
    monkeypatch.setattr(archive, "SHA256", hashlib.sha256(raw).hexdigest())
    archive.place().parent.mkdir(parents=True, exist_ok=True)
    archive.place().write_bytes(raw)
    return raw


RATED = [name for name, info in corpora.TASKS.items() if info.own == "archive"]


@pytest.mark.parametrize("name", RATED)
@pytest.mark.parametrize("root", [None, "root", "hub", "somewhere"])
def test_tasks_of_the_archive_are_there_at_every_source(monkeypatch, tmp_path, name, root):
    install(monkeypatch, tmp_path)
    task = corpora.load(name, root=root)
    check_contract(task)
    assert task.source == "archive of vaderSentiment 3.3.2" and task.title == corpora.title(name)
    assert task.digest == corpora.digest(name, root=root) != corpora.digest(name, seed=1)


def test_ratings_become_classes_numbers_and_kinds(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path)
    read = {name: corpora.load(name) for name in ("polarity", "domain", "valence")}
    found = {n: dict(t.train + t.dev + t.test) for n, t in read.items()}
    assert [len(part) for part in (read["domain"].train, read["domain"].dev)] == [96, 12]
    sentence = 'Sentence {} of a movie & "more".'.format
    assert [found["polarity"].get(sentence(i)) for i in range(3)] == ["negative", "positive", None]
    assert [found["valence"][sentence(i)] for i in range(3)] == [-3.0, 3.0, 0.25]
    assert found["domain"][sentence(0)] == "movie"
    assert len(found["polarity"]) == 20 and len(found["domain"]) == len(found["valence"]) == 120
    assert read["polarity"].skipped == {
        "line ends of Windows": 29,
        "sentences rated between -0.5 and 0.5": 10,
        "sentences with HTML entities resolved": 30,
        "sentences with doubled quotation marks resolved": 30,
    }


def test_the_archive_is_split_by_seed_and_no_sentence_is_in_two_parts(monkeypatch, tmp_path):
    kind = snippets("tweet")
    odd = "Sentence 4 of a tweet &amp; ''more''"
    for text in (f"{odd}.", f"{odd.upper().replace('&AMP;', '&amp;')} !"):  # repeated, nearly
        kind["GroundTruth"].append(f"{len(kind['GroundTruth'])}\t3.0\t{text}")
    kind["anonDataRatings"] += [f"{i}\t3.0\t0.5\t{FAR}" for i in (30, 31)]
    install(monkeypatch, tmp_path, tweet=kind)
    tasks = [corpora.load("tweet_sentences", seed=seed) for seed in (0, 0, *range(1, 9))]
    assert tasks[0] == tasks[1] and tasks[0].test != tasks[2].test
    for task in tasks:
        parts = [
            [text.casefold().strip("!. ") for text, _ in p]
            for p in (task.train, task.dev, task.test)
        ]
        assert sorted(map(len, parts)) == sorted([24, 3, 3]) or sum(map(len, parts)) == 31
        assert len(set(sum(parts, []))) == 30 == sum(len(set(part)) for part in parts)
        assert task.skipped["repeated sentences"] == 1
        assert task.skipped["near-duplicates, kept in one part"] == 1


def test_a_missing_or_damaged_archive_is_one_sentence_with_the_command(monkeypatch, tmp_path):
    raw = install(monkeypatch, tmp_path)
    corpora.load("polarity")
    archive.place().write_bytes(raw[:-9])
    with pytest.raises(BadInput, match="is damaged or another version; delete it.*-m lib.archive"):
        corpora.load("polarity")
    archive.place().unlink()
    with pytest.raises(BadInput, match="not in this Python environment; .*: python -m lib.archive"):
        corpora.load("polarity")
    assert corpora.digest("polarity") is None


def test_stated_means_that_are_not_those_of_the_ratings_are_counted(monkeypatch, tmp_path):
    movie = snippets("movie")
    movie["GroundTruth"][1] = movie["GroundTruth"][1].replace("3.0", "1.5")
    install(monkeypatch, tmp_path, movie=movie)
    task = corpora.load("valence")
    assert task.skipped["stated means that are not those of the ratings"] == 1
    assert 1.5 not in {label for _, label in task.train + task.dev + task.test}


def test_fetch_asks_pip_for_the_archive_with_its_hash_and_says_why_it_fails(monkeypatch, tmp_path):
    raw = install(monkeypatch, tmp_path)
    asked = []

    def pip(command, **_):
        asked.append((command, Path(command[command.index("-r") + 1]).read_text()))
        if len(asked) == 1:
            archive.place().write_bytes(raw)
        return archive.subprocess.CompletedProcess(
            command, len(asked) - 1, "", "a\nERROR: no way\nb"
        )

    monkeypatch.setattr(archive.subprocess, "run", pip)
    assert archive.fetch() == archive.place() and not asked, "it is there"
    archive.place().write_bytes(b"damaged")
    assert archive.fetch().read_bytes() == raw
    (command, wanted) = asked[0]
    assert (
        command[:4] == [sys.executable, "-m", "pip", "download"] and "--require-hashes" in command
    )
    assert wanted == f"vaderSentiment==3.3.2 --hash=sha256:{archive.SHA256}\n"
    archive.place().unlink()
    with pytest.raises(BadInput, match="cannot be had .pip says: no way.; .*-m lib.archive"):
        archive.fetch()
    assert [p.name for p in archive.place().parent.iterdir()] == []


def test_the_human_ceiling_is_what_one_rater_says_of_the_others(monkeypatch, tmp_path):
    agreed = {k: snippets(k) for k in archive.KINDS}
    for files in agreed.values():  # everyone gives the same rating
        files["anonDataRatings"] = [f"{i}\t0\t0\t{[i % 9 - 4] * 5}" for i in range(30)]
    install(monkeypatch, tmp_path, **agreed)
    sentences = [text for text, _ in corpora.load("valence").test]
    assert archive.human_ceiling(sentences)["corr"] == pytest.approx(1)
    noise = np.random.default_rng(0)
    for files in agreed.values():
        drawn = noise.integers(-4, 5, (30, 20)).tolist()
        files["anonDataRatings"] = [f"{i}\t0\t0\t{row}" for i, row in enumerate(drawn)]
    install(monkeypatch, tmp_path, **agreed)
    sentences = [text for text, _ in corpora.load("valence").train]
    assert abs(archive.human_ceiling(sentences)["pearson"]) < 0.15


def test_the_page_of_tasks_counts_what_the_archive_holds(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(Path(corpora.__file__).parents[1] / "book" / "_ext")
    generated = pytest.importorskip("generated")
    install(monkeypatch, tmp_path)
    header, _, *rows = [line.split("|")[1:-1] for line in generated.rated().splitlines()]
    told = {row[0].strip(" `"): [cell.strip() for cell in row[1:]] for row in rows}
    assert told["polarity"] == ["16 / 2 / 2", "negative 10, positive 10", "0", "–"]
    assert told["domain"][1] == "movie 30, editorial 30, product 30, tweet 30"
    assert told["valence"][3].startswith("pearson 0.9") and header[4].strip() == "Human ceiling"
    archive.place().unlink()
    assert "python -m lib.archive" in generated.rated()


needs_archive = pytest.mark.skipif(
    not archive.place().is_file(), reason="no archive: python -m lib.archive fetches it"
)


@needs_archive
def test_the_real_archive_has_the_sentences_it_should():
    polarity, domain = corpora.load("polarity"), corpora.load("domain")
    check_contract(polarity), check_contract(domain)
    labels = Counter(label for _, label in polarity.train + polarity.dev + polarity.test)
    assert sum(labels.values()) == 10_070 and 0.49 < labels["positive"] / 10_070 < 0.50
    kinds = Counter(kind for _, kind in domain.train + domain.dev + domain.test)
    assert kinds == {"movie": 10603, "editorial": 5119, "product": 3697, "tweet": 4200}
    assert domain.skipped["stated means that are not those of the ratings"] == 199


# --- samples --------------------------------------------------------------------------------------


def test_a_sample_holds_whole_sentences_up_to_a_number_of_rows():
    task = corpora.load("pos")
    words = corpora.sample(task, 500, seed=3)
    assert words == corpora.sample(task, 500, seed=3) != corpora.sample(task, 500, seed=4)
    assert 470 < sum(map(len, words)) <= 500
    first = corpora.sample(task, 500, order="first")
    assert first == [text for text, _ in task.train[: len(first)]]
    assert corpora.sample(task, 900, seed=3)[: len(words)] == words
    assert corpora.sample(task, sum(map(len, words)), seed=3) == words, "they fit exactly"
    with pytest.raises(BadInput, match="3 rows leave 0 sentences of pos; at least 2 needed"):
        corpora.sample(task, 3)


def test_first_cuts_each_part(tmp_path):
    task = corpora.load("pos")
    few = task.first(7)
    assert (few.train, few.dev, few.test) == (task.train[:7], task.dev[:7], task.test[:7])
    assert few.digest == task.digest and few.labels == task.labels


def test_f1_looks_for_the_second_label():
    task = dataclasses.replace(
        corpora.load("pos"), labels=("no", "yes"), metric="accuracy_and_f1", kind="pair"
    )
    found = corpora.score(task, ["yes", "no", "no", "no"], ["yes", "yes", "no", "no"])
    assert found["f1"] == pytest.approx(2 / 3) and next(iter(found)) == "accuracy_and_f1"


def test_a_constant_answer_is_the_commonest_class():
    task = dataclasses.replace(
        corpora.load("pos"), kind="sentence", labels=("a", "b"),
        test=[("x", "a"), ("y", "b"), ("z", "b")],
    )  # fmt: skip
    assert corpora.constant(task) == pytest.approx(2 / 3)
    number = dataclasses.replace(
        task, labels=(), metric="pearson_spearman", test=[("x", 1.0), ("y", 2.0)]
    )
    assert corpora.constant(number) == 0


# --- metrics --------------------------------------------------------------------------------------


def test_metrics_by_hand():
    wanted, found = [1, 1, 1, 0, 0], [1, 1, 0, 1, 0]  # 2 hits, 1 miss, 1 false alarm, 1 rejection
    score = {name: metric(found, wanted) for name, metric in metrics.METRICS.items()}
    assert score["accuracy"] == {"accuracy": 0.6}
    assert score["f1"] == pytest.approx({"f1": 2 / 3})
    assert next(iter(score["accuracy_and_f1"].items())) == (
        "accuracy_and_f1",
        pytest.approx((0.6 + 2 / 3) / 2),
    )
    assert set(score["accuracy_and_f1"]) == {"accuracy_and_f1", "accuracy", "f1"}
    assert score["matthews"] == pytest.approx({"matthews": 1 / 6})  # (2*1 - 1*1) / (3*3*2*2)^0.5
    found = metrics.METRICS["pearson_spearman"]([1.0, 2.0, 4.0], [1.0, 3.0, 2.0])
    x, y = np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0])
    pearson = (x - x.mean()) @ (y - y.mean()) / math.sqrt(x.var() * y.var()) / 3
    assert found == pytest.approx(
        {"corr": (pearson + 0.5) / 2, "pearson": pearson, "spearman": 0.5}
    )


def test_metrics_give_plain_numbers_primary_first():
    for name, metric in metrics.METRICS.items():
        found = metric([0, 1, 1], [0, 1, 0])
        assert next(iter(found)) == {"pearson_spearman": "corr"}.get(name, name)
        assert all(type(value) is float for value in found.values())


def test_predictions_that_say_nothing_score_zero():
    zero = {"corr": 0.0, "pearson": 0.0, "spearman": 0.0}
    assert metrics.METRICS["pearson_spearman"]([2.0] * 3, [1.0, 2.0, 3.0]) == zero
    assert metrics.METRICS["pearson_spearman"]([1.0, math.nan, 2.0], [1.0, 2.0, 3.0]) == zero
    assert metrics.METRICS["matthews"]([1, 1, 1], [0, 1, 1]) == {"matthews": 0.0}
    assert metrics.METRICS["f1"]([0, 0], [0, 0]) == {"f1": 0.0}


def test_regression_column_is_accepted():
    column = np.array([[1.0], [2.0], [3.5]])
    assert metrics.METRICS["pearson_spearman"](column, [0, 1, 2])["spearman"] == pytest.approx(1)


@pytest.mark.parametrize("metric", metrics.METRICS)
def test_lengths_must_match(metric):
    for predictions, labels in (([1, 0], [1]), ([], [])):
        with pytest.raises(BadInput, match="do not match"):
            metrics.METRICS[metric](predictions, labels)


def test_names_and_numbers_do_not_mix():
    with pytest.raises(BadInput, match="names on one side"):
        metrics.METRICS["accuracy"]([0, 1], ["a", "b"])
    with pytest.raises(BadInput, match="needs positive= one of a, b"):
        metrics.METRICS["f1"](["a", "b"], ["a", "b"])


def test_score_knows_the_positive_class():
    task = dataclasses.replace(
        corpora.load("pos"), metric="accuracy_and_f1", labels=("not_equivalent", "equivalent")
    )
    wanted = ["equivalent", "equivalent", "not_equivalent"]
    found = corpora.score(task, ["equivalent", "not_equivalent", "not_equivalent"], wanted)
    assert found["f1"] == pytest.approx(2 / 3)
    with pytest.raises(BadInput, match="metric"):
        corpora.score(corpora.load("movies"), [1], [1])


# --- real data ------------------------------------------------------------------------------------

# Rows of the first and the last file, as the data root's own account has them.
REAL_ROWS = {
    "pos": (12544, 2001, 2077),
    "chunk": (8936, 2012),
    "ccg": (7745, 1174, 1053),
    "sem": (7745, 1174, 1053),
    "sst2": (67349, 872),
    "cola": (8551, 1043),
    "mrpc": (3667, 409),
    "stsb": (5749, 1500),
    "rte": (2490, 277),
    "wnli": (635, 71),
    "qnli": (9999, 5463),
    "mnli": (8999, 1000),
    "qqp": (9372, 10000),
    "wikitext2": None,  # counted in words, below
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs_data) for name in IN_FOLDER])
def test_real_files_have_the_rows_they_should(name):
    task = corpora.load(name, root=ROOT)
    check_contract(task)
    sizes = tuple(map(len, (task.train, task.dev, task.test)))
    expected = REAL_ROWS[name]
    if expected and len(expected) == 2:  # dev is cut from train
        sizes = (sizes[0] + sizes[1], sizes[2])
        assert len(task.train) == int(0.9 * expected[0])
    assert expected in (None, sizes)


@pytest.mark.parametrize(
    ("name", "tags", "words"),
    [
        pytest.param("pos", 49, 207228 - 2614 - 37, marks=needs_data),  # less ranges, empty nodes
        pytest.param("ccg", 294, 50408, marks=needs_data),
        pytest.param("sem", 69, 50408, marks=needs_data),
    ],
)
def test_real_tags_and_words(name, tags, words):
    task = corpora.load(name, root=ROOT)
    added = 0
    if name == "sem":
        told = Counter()
        corpora.TASKS[name].read(ROOT / "pmb" / "train.conll", told)
        added = told["words added by splitting units at ~"]
    assert len(task.labels) == tags
    assert sum(len(text) for text, _ in task.train) - added == words


@pytest.mark.parametrize(
    "part", [pytest.param(part, marks=needs_data) for part in ("valid", "test")]
)
def test_real_wikitext_loses_only_headings(part):
    path, told = ROOT / "wikitext2" / f"{part}.txt", Counter()
    items = readers.paragraphs(path, told)
    kept = sum(len(words) for words, _ in items)
    joined = 2 * told["words joined at @-@, @,@ and @.@"]
    lines = path.read_text("utf-8").split("\n")
    headings = sum(len(line.split()) for line in lines if line[:3] == line[-3:] == " = ")
    assert kept + joined + headings == sum(len(line.split()) for line in lines)
