"""Task-specific redundancy: laws on planted rows, and the four functions on small models."""

import dataclasses
import itertools
import os
from collections import Counter

import numpy as np
import pytest
import torch

from lib import corpora, finetune, probing, settings, task_rows
from lib.errors import BadInput
from lib.probes import PROTOCOLS
from lib.probing import PARTS, READS, Rows, control_labels, layer_sets
from lib.selection import sizes

SMALL = {"max_words": 250, "max_examples": 16, "epochs": 1, "seeds": [0, 1]}
L, H, PLANTED = 4, 6, 2


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(tmp_path))
    task_rows._rows.cache_clear()
    return tmp_path


def asked(experiment="layer_probes", **changes):
    return settings.of(experiment, {}, on=READS, **{**SMALL, **changes})


def table_of(rows_of, words, labels):
    """Hand-made rows of a tagging task, all three parts of the same size."""
    items = {part: [(words[part], labels[part])] for part in PARTS}
    known = tuple(sorted({label for part in labels.values() for label in part}))
    task = corpora.Task("pos", "POS", "tagging", "accuracy", known, "planted", "0", {}, **items)
    floor = task_rows.word_majority(task.train, task.test)
    return Rows(task, rows_of, labels, words, L, None, floor, Counter())


def planted(seed=0, n=3000):
    """Rows of noise, but for one layer that holds the label."""
    draw = np.random.default_rng(seed)
    labels = {part: draw.integers(3, size=n) for part in PARTS}
    found = {part: draw.normal(size=(n, L * H)).astype("float32") for part in PARTS}
    for part, label in labels.items():
        found[part][np.arange(n), PLANTED * H + label] += 6
    named = {part: [f"t{label}" for label in those] for part, those in labels.items()}
    words = {part: [f"w{i}" for i in draw.integers(200, size=n)] for part in PARTS}
    return table_of({part: torch.from_numpy(x) for part, x in found.items()}, words, named)


def copied(seed=0):
    """The planted layer, and each of its neurons again in the layer above, hardly changed."""
    data = planted(seed)
    draw = torch.Generator().manual_seed(seed)
    for part in PARTS:
        own = data.rows[part][:, PLANTED * H : (PLANTED + 1) * H]
        noise = torch.randn(own.shape, generator=draw)
        data.rows[part][:, (PLANTED + 1) * H :] = own + 0.01 * noise
    return data


def test_a_label_in_one_layer_is_found_in_that_layer():
    found = probing.layers(planted(), asked(), 0)
    assert int(np.argmax(found["alone"]["dev"])) == PLANTED
    scores = found["together"]["test"]
    assert max(scores[:PLANTED]) < 0.5 and min(scores[PLANTED:]) > 0.9
    assert found["oracle"]["corrected"] == {p: s[-1] for p, s in found["together"].items()}
    assert set(found["oracle"]) == {"corrected", "official"}


@pytest.mark.parametrize("way", ["rankings", "penalised"])
def test_the_neurons_that_hold_the_label_come_first(way):
    data, chosen = planted(), asked()
    if way == "rankings":
        found, first = probing.rankings(data, chosen, 0), "top"
    else:
        found, first = probing.penalised(data, chosen, 1e-3, 0), "first"
    place = found["sizes"].index(2)
    assert found["by_layer"][place][PLANTED] == 2
    assert found[first]["test"][-1] > 0.9 and found["oracle"]["test"] > 0.9
    assert [sum(line) for line in found["by_layer"]] == found["sizes"]


def test_last_and_random_neurons_are_among_those_that_vary():
    """Constant neurons would be last of every ranking: a probe on them says nothing."""
    data = planted(n=600)
    for part in PARTS:
        data.rows[part][:, :H] = 3.0
    found = probing.penalised(data, asked(), 1e-3, 0)
    assert found["varying"] == (L - 1) * H
    assert found["sizes"] == sizes(L * H, (L - 1) * H, per_mille=probing.FEW)
    seen, fit = [], probing.fit
    for order in ("last", "random"):
        assert len(found[order]["test"]) == len(found["sizes"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probing, "fit", lambda *a: seen.append(a[3:]) or fit(*a))
        probing.penalised(data, asked(), 1e-3, 0)
    _, _, last, drawn = (given[0] if given else None for given in seen)
    for sets in (last, drawn):
        assert min(min(columns) for columns in sets) >= H


def test_draws_differ_by_seed_and_penalty_and_are_repeated():
    data, chosen = planted(n=600), asked()
    found = {
        (penalty, seed): tuple(probing.penalised(data, chosen, penalty, seed)["random"]["test"])
        for penalty in (1e-5, 1e-3)
        for seed in (0, 1)
    }
    assert len(set(found.values())) == 4
    again = probing.penalised(data, chosen, 1e-3, 1)
    assert tuple(again["random"]["test"]) == found[1e-3, 1]


def test_a_larger_penalty_makes_weights_smaller():
    data, given = planted(), dataclasses.replace(PROTOCOLS["corrected"], best=False)
    asked_for = [dataclasses.replace(given, l1=p, l2=p) for p in (1e-5, 1e-2, 0.1)]
    probes = [probing.fit(data, protocol, 0)[0] for protocol in asked_for]
    noise = [float(found.weights[..., : PLANTED * H].abs().sum()) for found in probes]
    assert noise[0] > 2 * noise[1] and noise[0] > 2 * noise[2]


def test_sets_of_layers_are_nested_and_end_with_all():
    alone, together = np.split(np.array(layer_sets(planted()), dtype=object), 2)
    assert [len(columns) for columns in alone] == [H] * L
    assert [list(columns) for columns in together] == [list(range(H * i)) for i in range(1, L + 1)]


def test_control_labels_are_a_function_of_the_word():
    data = planted()
    found = control_labels(data.words, data.labels["train"], seed=3)
    label = {}
    for part in PARTS:
        assert len(found[part]) == len(data.words[part])
        for word, drawn in zip(data.words[part], found[part], strict=True):
            assert label.setdefault(word, drawn) == drawn
    assert set(label.values()) == set(data.labels["train"])
    assert found == control_labels(data.words, data.labels["train"], seed=3)
    assert found != control_labels(data.words, data.labels["train"], seed=4)


def test_what_is_memorised_is_not_selective():
    """Rows and labels that depend on the word alone: the control task is just as easy."""
    draw = np.random.default_rng(0)
    vector, label = draw.normal(size=(12, L * H)).astype("float32"), draw.integers(3, size=12)
    number = {part: draw.integers(12, size=3000) for part in PARTS}
    words = {part: [f"w{i}" for i in those] for part, those in number.items()}
    labels = {part: [f"t{label[i]}" for i in those] for part, those in number.items()}
    data = table_of({p: torch.from_numpy(vector[i]) for p, i in number.items()}, words, labels)
    found = probing.layers(data, asked(), 0)
    assert found["floor"] == 1
    assert found["together"]["test"][-1] - found["control"]["together"]["test"][-1] < 0.02
    found = probing.layers(planted(), asked(), 0)
    selective = np.subtract(found["alone"]["test"], found["control"]["alone"]["test"])
    assert selective.argmax() == PLANTED and selective.max() > 0.4


def test_copies_are_one_cluster_and_cost_no_accuracy():
    data = copied()
    found = probing.clusters(data, asked(thresholds=[0.01, 0.05]), 0)
    assert found["clusters"] == [L * H - H] * 2 and found["neurons"] == L * H
    for way in ("closest", "drawn"):
        assert min(found[way]["test"]) > 0.8
    alone = torch.from_numpy(np.corrcoef(data.rows["train"].numpy().T))
    torch.testing.assert_close(probing.correlation(data), alone, atol=1e-5, rtol=0)


def test_transfer_stops_at_the_planted_layer_and_keeps_its_neurons():
    """Layers above go, and of what is left the neurons that hold the label come first."""
    found = probing.transfer(copied(), asked(layer_tolerances=[1, 3]), 0)
    assert found["selected"] == [PLANTED] * 2 and len(found["ways"]) == 2
    plain, clustered = found["ways"]
    for way in (plain, clustered):
        assert way["selected"] == (PLANTED + 1) * H >= way["clusters"] >= len(way["chosen"])
        assert set(way["chosen"][:3]) <= set(range(PLANTED * H, PLANTED * H + 3))
        assert way["score"]["test"] > 0.9
    assert plain["base"] == plain["layer_score"]


def test_a_wide_tolerance_keeps_the_first_layer_alone():
    found = probing.transfer(planted(), asked(layer_tolerances=[99]), 0)
    assert found["selected"] == [0]  # 99 per cent may be lost
    for way in found["ways"]:
        assert max(way["chosen"]) < H


def test_fewer_clusters_than_the_smallest_share_of_the_neurons_are_all_tried():
    data = planted(n=240)
    wide = {part: rows[:, :1].expand(-1, 600 * L).contiguous() for part, rows in data.rows.items()}
    data = dataclasses.replace(data, rows=wide)
    found = probing.transfer(data, asked(layer_tolerances=[1], cluster_threshold=0.9), 0)
    clustered = found["ways"][1]
    assert sizes(data.neurons, clustered["clusters"]) == []
    assert clustered["clusters"] == len(clustered["chosen"]) == 1


def test_words_are_cut_and_their_rows_match_their_labels(family_folders):
    data = probing.rows(str(family_folders["xlnet"]), "pos", asked())
    assert all(0 < len(data.rows[part]) <= 250 for part in PARTS)
    assert all(len(data.rows[p]) == len(data.labels[p]) == len(data.words[p]) for p in PARTS)
    assert data.own is None and data.by_word and data.neurons == 4 * 24
    with pytest.raises(BadInput, match="rows leave . sentences of pos; at least 2 needed"):
        probing.rows(str(family_folders["xlnet"]), "pos", asked(max_words=10))


@pytest.fixture
def tuned(monkeypatch):
    """Parts that models were fine-tuned on, a line each time."""
    seen, finish = [], finetune.finish
    monkeypatch.setattr(
        finetune, "finish", lambda s, *a, **k: seen.append(s.recipe.parts) or finish(s, *a, **k)
    )
    return seen


def test_sentences_are_read_by_a_model_tuned_once_on_the_parts_of_the_protocol(
    family_folders, tuned, results
):
    model = str(family_folders["xlnet"])
    for protocol in ("corrected", "official"):
        data = probing.rows(model, SENTENCES, asked(protocol=protocol))
    assert tuned == [("train",), ("train", "dev")]  # P4: dev is held out, or not
    assert data.rows["train"].shape == (16, 4 * 24) and not data.words["train"]
    probing.rows(model, SENTENCES, asked(), weights="random")
    assert len(tuned) == 2
    task_rows._rows.cache_clear()
    again = probing.rows(model, SENTENCES, asked(protocol="official"))
    assert len(tuned) == 2  # the file of tuned weights was read
    for part in PARTS:
        assert torch.equal(again.rows[part], data.rows[part])
    assert again.own == data.own
    probing.rows(model, SENTENCES, asked(learning_rate=1e-3))
    assert len(tuned) == 3  # another recipe is another file
    assert len(list((results / ".checkpoints").glob("*.safetensors"))) == 3


def test_tasks_of_the_same_text_have_tuned_weights_of_their_own(family_folders, results):
    for task in ("polarity", "domain", "valence"):
        probing.rows(str(family_folders["bert"]), task, asked())
    files = set((results / ".checkpoints").glob("tuned-*.safetensors"))
    assert len(files) == 3


def test_the_weights_that_were_used_longest_ago_are_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr(finetune, "KEPT", 2)
    for age, name in enumerate(("new", "older", "oldest")):
        file = tmp_path / f"tuned-{name}.safetensors"
        file.touch()
        os.utime(file, (1000 - age, 1000 - age))
    other = tmp_path / "going-tuned-x.safetensors"
    other.touch()
    finetune._forget(tmp_path)
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {"tuned-new.safetensors", "tuned-older.safetensors", other.name}


SENTENCES = "polarity"


def test_another_threshold_reads_nothing_again(family_folders, tuned):
    """What one page asks of the rows is no part of what the rows depend on."""
    model = str(family_folders["bert"])
    one = probing.rows(model, SENTENCES, asked())
    other = asked("clustered_probes", thresholds=[0.25], layer_tolerances=[7], seeds=[5])
    assert probing.rows(model, SENTENCES, other) is one and len(tuned) == 1
    assert probing.rows(model, "pos", asked()) is not one
    assert probing.rows(model, SENTENCES, asked(max_examples=12)) is not one


GLUE = {  # folder: header and row of a small file in the original format, in our own words
    "STS-B": ("sentence1\tsentence2\tscore\n", "The {a} sat by {b} .\tA {b} ran .\t{n}\n"),
    "MRPC": ("Quality\t#1 String\t#2 String\n", "{i}\tThe {a} sat .\tThe {b} sat by me .\n"),
    "CoLA": ("", "own\t{i}\t\tThe {a} near {b} ran .\n"),
}


def write_glue(root):
    """A data root with 150 rows for training and 60 for the test."""
    words = "boat dog harbour cat tree house river bird stone road".split()
    for (name, (header, row)), (part, n) in itertools.product(
        GLUE.items(), (("train", 150), ("dev", 60))
    ):
        rows = [
            row.format(a=words[i % 10], b=words[i // 10 % 10], i=i % 2, n=i % 6) for i in range(n)
        ]
        (root / name).mkdir(exist_ok=True)
        (root / name / f"{part}.tsv").write_text(header + "".join(rows))
    return str(root)


@pytest.mark.parametrize("task", ["pos", "stsb", "mrpc", "cola"])
def test_tags_numbers_pairs_and_other_scores_go_through(family_folders, task, tmp_path):
    source = {} if task == "pos" else {"data": write_glue(tmp_path)}
    data = probing.rows(str(family_folders["distilbert"]), task, asked(**source))
    chosen = asked(thresholds=[0.5], layer_tolerances=[1], **source)
    found = probing.layers(data, chosen, 0)
    scores = np.array([found["alone"]["test"], found["together"]["test"]])
    assert scores.shape == (2, 4) and np.abs(scores).max() <= 1
    assert found["alone"]["dev"][0] == found["together"]["dev"][0]
    assert (found["control"] is None) == (task != "pos") == (found["level"] != "word")
    assert (found["own"] is None) == (task == "pos")
    assert {"stsb": 0, "mrpc": 2, "cola": 2}.get(task, found["classes"]) == found["classes"]
    assert len(probing.clusters(data, chosen, 0)["closest"]["test"]) == 1
    assert len(probing.transfer(data, chosen, 0)["ways"]) == 2
    ranked = probing.rankings(data, chosen, 0)
    assert len(ranked["order"]) == data.neurons // 10
    assert ranked["oracle"] == pytest.approx(found["oracle"]["corrected"], abs=0.07)


def test_word_majority_sees_words_and_no_context():
    clear = [(["a", "b"], ["X", "Y"])]
    assert task_rows.word_majority(clear, clear) == 1
    assert task_rows.word_majority(clear, [(["A", "c"], ["X", "Z"])]) == 0.5


def test_settings_other_than_the_kind_of_task_are_refused():
    with pytest.raises(BadInput, match="task 'wikitext2' is not known; valid: pos"):
        settings.of("layer_probes", {}, on=READS, kinds=probing.KINDS, tasks=["wikitext2"])
