"""Every task from every source it claims, errors with file and line, splits and metrics."""

import dataclasses
import hashlib
import math

import numpy as np
import pytest

from lib import corpora, files, sources
from lib.errors import BadInput
from lib.task_table import TaskInfo

ROOT = corpora.data_root()
needs_data = [
    pytest.mark.data,
    pytest.mark.skipif(ROOT is None, reason="no data root: set REDUNDANCY_DATA to its folder"),
]
EMBEDDED = [name for name, info in corpora.TASKS.items() if "embedded" in info.sources]
IN_FOLDER = [name for name, info in corpora.TASKS.items() if "folder" in info.sources]
ON_HUB = [name for name, info in corpora.TASKS.items() if "hub" in info.sources]


def check_contract(task: corpora.Task):
    """What every consumer relies on, whatever the source."""
    info = corpora.TASKS[task.name]
    assert (task.title, task.kind, task.metric) == (info.title, info.kind, info.metric)
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
        elif task.kind == "text":
            assert label is None
        elif task.name == "stsb":
            assert isinstance(label, float) and 0 <= label <= 5
        else:
            assert label in task.labels


# --- the table ------------------------------------------------------------------------------------


def test_table_names_what_the_library_has():
    for name, info in corpora.TASKS.items():
        assert name == info.name and name.isalnum() and name.islower()
        assert info.sources, f"{name} can be loaded from nowhere"
        assert info.metric in corpora.METRICS or (info.kind == "text" and not info.metric)
        assert info.kind in {"tagging", "sentence", "pair", "text"}
        assert bool(info.parts) == ("folder" in info.sources) == bool(info.read)


def test_unknown_names_and_sources_are_refused_with_what_is_valid():
    with pytest.raises(BadInput, match=r"task 'poss' is not known; valid: pos, chunk"):
        corpora.load("poss")
    with pytest.raises(BadInput, match=r"'wikitext2' has no embedded source; it has a folder"):
        corpora.load("wikitext2")
    with pytest.raises(BadInput, match=r"'pos' has no hub source; it has root=None .embedded. or"):
        corpora.load("pos", root="hub")
    with pytest.raises(BadInput, match=r"'topics' has no folder source"):
        corpora.load("topics", root="somewhere")
    with pytest.raises(BadInput, match=r"'somewhere' has no folder glue/RTE or RTE"):
        corpora.load("rte", root="somewhere")


def test_data_root_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("REDUNDANCY_DATA", str(tmp_path))
    assert corpora.data_root() == tmp_path
    monkeypatch.setenv("REDUNDANCY_DATA", str(tmp_path / "none"))
    with pytest.raises(BadInput, match="REDUNDANCY_DATA names"):
        corpora.data_root()


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
        assert sizes == corpora.EMBEDDED_SIZES[task.kind]
    if task.labels and task.kind != "tagging":
        assert {label for _, label in task.train} == set(task.labels)


def test_seed_selects_the_embedded_sample():
    first, again, other = (corpora.load("pos", seed=seed) for seed in (0, 0, 1))
    assert first.digest == again.digest != other.digest
    assert first.train == again.train != other.train


def test_help_pages_read_as_english():
    task = corpora.load("topics")
    assert len(task.train) > 1000 and len(task.dev) > 100 and len(task.test) > 100
    assert set(task.skipped) == {"code, tables and headings", "repeated sentences"}
    words = [word for text, _ in task.train for word in text]
    assert not {"::=", ">>>"} & set(words)
    assert sum(word.isalpha() for word in words) > 0.7 * len(words)


def test_help_page_rule():
    page = (
        'The "x" statement\n*****************\n\n   x_stmt ::= "x" y\n\n   >>> x\n   1\n\n'
        "* It *binds* the names of its\n  block (see 3.7). Then it ends well here.\n\n"
        "object.x(self, other)\n\n   It ends well, as said. Then it ends well here.\n"
    )
    reading = files.Reading()
    found = [" ".join(words) for words, _ in sources._page(page, set(), reading)]
    assert found == [
        "It binds the names of its block ( see 3.7 ) .",
        "Then it ends well here .",
        "It ends well , as said .",
    ]
    assert reading.left_out == {"code, tables and headings": 4, "repeated sentences": 1}


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
        ("rte", "RTE/train.tsv", "index\ta\tb\tlabel\n", r"tsv:1: column 'sentence1' is not kn"),
        ("rte", "RTE/train.tsv", HEADER + rows(3) + "3\tx\n", r"tsv:5: has 2 columns, .* has 4"),
        ("rte", "RTE/train.tsv", HEADER + "0\ta\tb\tmaybe\n", r"tsv:2: label 'maybe' .*not_ent"),
        ("rte", "RTE/train.tsv", HEADER.encode() + b"\n\xff\n", r"tsv:3: is not UTF-8"),
        ("rte", "RTE/train.tsv", HEADER, r"has too few items"),
        ("cola", "CoLA/train.tsv", "gj\t1\n", r"tsv:1: column 3 is not known; valid: 0, 1"),
        ("cola", "CoLA/train.tsv", "gj\t7\t\tHi.\n", r"tsv:1: label '7' is not known"),
        ("stsb", "STS-B/train.tsv", HEADER.replace("label", "score") + rows(1), r"tsv:2: score"),
        ("pos", "ud_ewt/en_ewt-ud-train.conllu", "1\tHi\n", r"conllu:1: has 2 columns; 10"),
        ("pos", "ud_ewt/en_ewt-ud-train.conllu", UD_LINE.replace("UH", "_"), r":1: word 'Hi' w"),
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
    assert corpora.TASKS["rte"].read(path, files.Reading()) == [
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
        reading = files.Reading()
        path = write(tmp_path, {f"{name}.tsv": text}) / f"{name}.tsv"
        assert len(corpora.TASKS[name].read(path, reading)) == 1
        counted |= reading.left_out
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
    reading = files.Reading()
    path = write(tmp_path, {"x.conllu": ud}) / "x.conllu"
    assert corpora.TASKS["pos"].read(path, reading) == [(["Do", "n't"], ["VBP", "RB"])]
    assert reading.left_out == {"comment lines": 1, "multi-word ranges": 1, "empty nodes": 1}


def test_words_that_look_like_comments_are_words(tmp_path):
    path = write(tmp_path, {"a.txt": "# # I-NP\n1 CD I-NP"}) / "a.txt"
    assert corpora.TASKS["chunk"].read(path, files.Reading()) == [(["#", "1"], ["I-NP", "I-NP"])]
    path = write(tmp_path, {"b.conll": "### made\n# raw sent = #\n#\t#\t#\tNIL\tn\tO\t[]\n"})
    found = corpora.TASKS["sem"].read(path / "b.conll", files.Reading())
    assert found == [(["#"], ["NIL"])]


def test_multi_word_units_of_the_meaning_bank(tmp_path):
    path = write(tmp_path, {"a.conll": "New~York\tx\tx\tGPE\tn\tO\t[]\n~\tx\tx\tNIL\t.\tO\t[]\n"})
    sem, ccg = files.Reading(), files.Reading()
    assert corpora.TASKS["sem"].read(path / "a.conll", sem) == [
        (["New", "York", "~"], ["GPE", "GPE", "NIL"])
    ]
    assert corpora.TASKS["ccg"].read(path / "a.conll", ccg) == [(["New York", "~"], ["n", "."])]
    assert sum(sem.left_out.values()) == sum(ccg.left_out.values()) == 1


def test_paragraphs_are_cut_into_sentences(tmp_path):
    text = (
        " = A heading = \n \n"
        ' He is co @-@ pilot of 1 @,@ 000 . " Is it ? " he said . " Go . Now ! " Yes \n'
    )
    reading = files.Reading()
    path = write(tmp_path, {"a.txt": text}) / "a.txt"
    found = [" ".join(words) for words, _ in files.paragraphs(path, reading)]
    assert found == [
        "He is co-pilot of 1,000 .",
        '" Is it ? "',
        "he said .",
        '" Go .',
        'Now ! "',
        "Yes",
    ]
    counts = {"headings": 1, "blank lines": 1, "words joined at @-@, @,@ and @.@": 2}
    assert reading.left_out == counts


def test_tags_that_train_lacks_are_kept_and_counted(tmp_path):
    text = "a DT B-NP\n\n" * 9
    write(tmp_path / "conll2000", {"train.txt": text + "b NN I-NP\n", "test.txt": "c VB B-VP\n"})
    task = corpora.load("chunk", root=tmp_path)
    assert task.labels == ("B-NP",) and task.test == [(["c"], ["B-VP"])]
    assert task.dev == [(["b"], ["I-NP"])], "dev is the last tenth of train"
    assert task.skipped == {"dev and test words whose tag train lacks (kept)": 2}
    assert "2 dev and test words" in str(task) and "9 / 1 / 1" in str(task)


def test_digest_is_of_the_bytes_read(tmp_path):
    path = write(tmp_path, {"a.txt": "a b\n"}) / "a.txt"
    one, two, three = files.Reading(), files.Reading(), files.Reading()
    one.lines(path), two.lines(path)
    write(tmp_path, {"a.txt": "a c\n"})
    three.lines(path)
    assert one.digest == two.digest != three.digest
    assert one.digest == hashlib.sha256(b"a.txt\n4\na b\n").hexdigest()


# --- the Hub --------------------------------------------------------------------------------------


def hub_data(info: TaskInfo, n=20, **columns):
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


def test_hub_rows_without_label_are_counted_and_other_faults_refused():
    info, parts = corpora.TASKS["rte"], ("train",)
    want = {"texts": info.hub, "names": info.labels, "parts": parts}
    reading = files.Reading()
    (found,) = sources.hub_rows(hub_data(info, label=[-1] + [0] * 19), reading, **want)
    assert len(found) == 19 and reading.left_out == {"rows without a label": 1}
    with pytest.raises(BadInput, match=r"classes are \['entailment', 'not_entailment'\]; expected"):
        sources.hub_rows(hub_data(info), reading, **want | {"names": info.labels[::-1]})
    with pytest.raises(BadInput, match=r"train: column 'text' is not known; valid: sentence1"):
        sources.hub_rows(hub_data(info), reading, **want | {"texts": ("text",)})
    with pytest.raises(BadInput, match=r"split 'test' is not known; valid: train, validation"):
        sources.hub_rows(hub_data(info), reading, **want | {"parts": ("test",)})


def test_hub_failure_is_one_sentence_that_names_the_other_sources(monkeypatch):
    datasets = pytest.importorskip("datasets")

    def offline(*args):
        raise ConnectionError("many lines\nof detail")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(BadInput) as caught:
        corpora.load("rte", root="hub")
    told = str(caught.value)
    assert "nyu-mll/glue (rte)" in told and "ConnectionError" in told and "\n" not in told
    assert "root=None" in told and "folder" in told


# --- metrics --------------------------------------------------------------------------------------


def test_metrics_by_hand():
    wanted, found = [1, 1, 1, 0, 0], [1, 1, 0, 1, 0]  # 2 hits, 1 miss, 1 false alarm, 1 rejection
    score = {name: metric(found, wanted) for name, metric in corpora.METRICS.items()}
    assert score["accuracy"] == {"accuracy": 0.6}
    assert score["f1"] == pytest.approx({"f1": 2 / 3})
    assert next(iter(score["accuracy_and_f1"].items())) == (
        "accuracy_and_f1",
        pytest.approx((0.6 + 2 / 3) / 2),
    )
    assert set(score["accuracy_and_f1"]) == {"accuracy_and_f1", "accuracy", "f1"}
    assert score["matthews"] == pytest.approx({"matthews": 1 / 6})  # (2*1 - 1*1) / (3*3*2*2)^0.5
    found = corpora.METRICS["pearson_spearman"]([1.0, 2.0, 4.0], [1.0, 3.0, 2.0])
    x, y = np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0])
    pearson = (x - x.mean()) @ (y - y.mean()) / math.sqrt(x.var() * y.var()) / 3
    assert found == pytest.approx(
        {"corr": (pearson + 0.5) / 2, "pearson": pearson, "spearman": 0.5}
    )


def test_metrics_give_plain_numbers_primary_first():
    for name, metric in corpora.METRICS.items():
        found = metric([0, 1, 1], [0, 1, 0])
        assert next(iter(found)) == {"pearson_spearman": "corr"}.get(name, name)
        assert all(type(value) is float for value in found.values())


def test_predictions_that_say_nothing_score_zero():
    zero = {"corr": 0.0, "pearson": 0.0, "spearman": 0.0}
    assert corpora.METRICS["pearson_spearman"]([2.0] * 3, [1.0, 2.0, 3.0]) == zero
    assert corpora.METRICS["pearson_spearman"]([1.0, math.nan, 2.0], [1.0, 2.0, 3.0]) == zero
    assert corpora.METRICS["matthews"]([1, 1, 1], [0, 1, 1]) == {"matthews": 0.0}
    assert corpora.METRICS["f1"]([0, 0], [0, 0]) == {"f1": 0.0}


def test_regression_column_is_accepted():
    column = np.array([[1.0], [2.0], [3.5]])
    assert corpora.METRICS["pearson_spearman"](column, [0, 1, 2])["spearman"] == pytest.approx(1)


@pytest.mark.parametrize("metric", corpora.METRICS)
def test_lengths_must_match(metric):
    for predictions, labels in (([1, 0], [1]), ([], [])):
        with pytest.raises(BadInput, match="do not match"):
            corpora.METRICS[metric](predictions, labels)


def test_names_and_numbers_do_not_mix():
    with pytest.raises(BadInput, match="names on one side"):
        corpora.METRICS["accuracy"]([0, 1], ["a", "b"])
    with pytest.raises(BadInput, match="needs positive= one of a, b"):
        corpora.METRICS["f1"](["a", "b"], ["a", "b"])


def test_score_knows_the_positive_class():
    task = dataclasses.replace(
        corpora.load("topics"), metric="accuracy_and_f1", labels=("not_equivalent", "equivalent")
    )
    wanted = ["equivalent", "equivalent", "not_equivalent"]
    found = corpora.score(task, ["equivalent", "not_equivalent", "not_equivalent"], wanted)
    assert found["f1"] == pytest.approx(2 / 3)
    with pytest.raises(BadInput, match="metric"):
        corpora.score(corpora.load("topics"), [1], [1])


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
        reading = files.Reading()
        corpora.TASKS[name].read(ROOT / "pmb" / "train.conll", reading)
        added = reading.left_out["words added by splitting units at ~"]
    assert len(task.labels) == tags
    assert sum(len(text) for text, _ in task.train) - added == words


@pytest.mark.parametrize(
    "part", [pytest.param(part, marks=needs_data) for part in ("valid", "test")]
)
def test_real_wikitext_loses_only_headings(part):
    path, reading = ROOT / "wikitext2" / f"{part}.txt", files.Reading()
    items = files.paragraphs(path, reading)
    kept = sum(len(words) for words, _ in items)
    joined = 2 * reading.left_out["words joined at @-@, @,@ and @.@"]
    lines = path.read_text("utf-8").split("\n")
    headings = sum(len(line.split()) for line in lines if line[:3] == line[-3:] == " = ")
    assert kept + joined + headings == sum(len(line.split()) for line in lines)
