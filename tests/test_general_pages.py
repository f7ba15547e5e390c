"""Pages 01 to 03: their steps equal the slow way, their claims are right on planted runs."""

import itertools

import numpy as np
import pandas as pd
import planted
import pytest
import torch

from lib import activations, batches, corpora, encoders, settings
from lib.similarity import correlation_clusters, linear_cka

OPTIONS = ("models", "tasks", "max_words", "max_examples", "seeds", "weights", "pooling")
PAGES = {
    "activations": "01_activations",
    "layer_similarity": "02_layer_similarity",
    "neuron_correlation": "03_neuron_correlation",
}


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(tmp_path))


def stepped(experiment, models, task, **given):
    """The namespace of a page after its grid was computed for small models on one task."""
    few = {"seeds": [0], "max_words": 300, "max_examples": 40, "probed": None, **given}
    folders = [str(folder) for folder in models]
    return planted.run(
        PAGES[experiment], "step", profile="tiny", models=folders, tasks=[task], **few
    )


def computed(space):
    return [dict(zip(("model", "task", "weights", "seed"), c, strict=True)) for c in space["grid"]]


# ---- steps


@pytest.mark.parametrize("task", ["pos", "tweets", "polarity"])
@pytest.mark.parametrize("experiment", PAGES)
def test_every_family_is_read_on_every_kind_of_text(experiment, task, family_folders):
    space = stepped(experiment, family_folders.values(), task, weights=["trained"])
    for cell in computed(space):
        found = space["step"](**cell)
        assert found["neurons"] == 4 * 24
        if experiment == "neuron_correlation":
            left = list(found["clusters"].values())
            assert left == sorted(left, reverse=True)
            for sizes in found["sizes"].values():
                assert sum(size * count for size, count in sizes.items()) == 96


@pytest.mark.parametrize("weights", ["trained", "random"])
def test_steps_equal_the_slow_way(weights, family_folders):
    """Keep all rows, use numpy's correlation, one linkage per threshold."""
    model = family_folders["xlnet"]
    text = corpora.load("pos", root="embedded", seed=1)
    sentences = corpora.sample(text, 300, seed=1)
    net = encoders.load(model, random_seed=1 if weights == "random" else None)
    rows = activations.extract(*net, sentences, level="word").rows.flatten(1).double().numpy()
    cell = {"model": str(model), "task": "pos", "weights": weights, "seed": 1}
    found = {name: stepped(name, [model], "pos", seeds=[1])["step"](**cell) for name in PAGES}

    centred = torch.from_numpy(rows - rows.mean(0))
    want = linear_cka(centred.T @ centred, [24] * 4)
    torch.testing.assert_close(found["layer_similarity"]["cka"], want, atol=1e-5, rtol=0)

    correlation = torch.from_numpy(np.corrcoef(rows.T))
    for threshold, labels in correlation_clusters(correlation, [0.3, 0.7]).items():
        assert found["neuron_correlation"]["clusters"][threshold] == labels.max()

    power = (rows**2).mean(0).reshape(4, 24)
    scale = found["activations"]
    np.testing.assert_allclose(scale["rms"], np.sqrt(power.mean(1)), rtol=1e-5)
    np.testing.assert_allclose(scale["largest_share"], power.max(1) / power.sum(1), rtol=1e-5)
    assert scale["largest"].tolist() == power.argmax(1).tolist()
    assert scale["rows"] == len(rows) == sum(map(len, sentences))
    assert scale["batch_difference"] < 1e-4


def test_the_first_layer_of_sentence_vectors_is_constant_and_said_so(family_folders):
    """P1: the special token's embedding is one vector for all sentences."""
    space = stepped("neuron_correlation", [family_folders["bert"]], "polarity")
    found = space["step"](**computed(space)[0])
    assert found["constant"] == 24
    assert found["clusters"][0.9] - found["clusters_varying"][0.9] == 24
    cka = stepped("layer_similarity", [family_folders["bert"]], "polarity")
    likeness = cka["step"](**computed(cka)[0])["cka"]
    assert likeness[0].isnan().all() and not likeness[1:, 1:].isnan().any()


def test_padding_is_what_a_batch_is_filled_up_with():
    space = planted.run("01_activations", "step", profile="tiny", **dict.fromkeys(OPTIONS))
    padding = space["padding"]
    lengths = [3, 9, 2, 3, 8]
    columns = [[] for _ in range(4)]
    encoded = batches.Encoded([[0] * n for n in lengths], *columns, np.arange(5))
    found = padding(encoded, batch_tokens=18)
    assert found["tokens"] == sum(lengths) and found["longest"] == 9
    assert found["padded_by_length"] == 2 * 9 + 3 * 3
    assert found["batch_size"] == 2
    assert found["padded_in_order"] == 2 * 9 + 2 * 3 + 8


# ---- claims


def near_diagonal(adjacent, far, depth=7, top=None):
    """A matrix (L, L): one value next to the diagonal, one further off, one in the upper third."""
    place = np.arange(depth)
    apart = np.abs(np.subtract.outer(place, place))
    cka = np.where(apart == 0, 1.0, np.where(apart == 1, adjacent, far))
    if top is not None:
        upper = np.maximum.outer(place, place) >= depth - depth // 3
        cka = np.where(upper & (apart > 0), top, cka)
    return cka.tolist()


def similar(*rows):
    """Planted runs of page 02: (model, weights, matrix), on two texts."""
    runs = pd.DataFrame(
        {"model": m, "task": t, "weights": w, "seed": 0, "cka": cka}
        for (m, w, cka), t in itertools.product(rows, ("pos", "tweets"))
    )
    chosen = settings.of("layer_similarity", {"models": [rows[0][0]], "tasks": ["pos", "tweets"]})
    return planted.run(
        PAGES["layer_similarity"], "claim", runs=runs, chosen=chosen, encoders=encoders
    )


@pytest.mark.parametrize(
    ("trained", "untrained", "passes"),
    [
        ((0.9, 0.5), (0.99, 0.98), True),
        ((0.9, 0.88), (0.99, 0.95), False),  # similar neighbours, as without any training
        ((0.5, 0.6), (0.99, 0.98), False),  # neighbours are the least alike
    ],
)
def test_neighbours_are_judged_against_the_random_init_baseline(trained, untrained, passes):
    found = similar(
        ("bert-mini-12", "trained", near_diagonal(*trained)),
        ("bert-mini-12", "random", near_diagonal(*untrained)),
    )
    assert found["neighbours"].tolist() == [passes, passes]
    assert found["near"]["trained"] == pytest.approx(trained[0])
    assert found["far"]["random"] == pytest.approx(untrained[1])


def test_without_a_baseline_neighbours_are_not_judged():
    found = similar(("bert-mini-12", "trained", near_diagonal(0.9, 0.5)))
    assert found["neighbours"].empty


@pytest.mark.parametrize(("xlnet", "passes"), [(0.3, True), (0.6, False), (0.8, False)])
def test_xlnet_s_top_is_judged_against_bert_s(xlnet, passes):
    found = similar(
        ("bert-mini-12", "trained", near_diagonal(0.9, 0.8, 13, top=0.6)),
        ("xlnet-mini-12", "trained", near_diagonal(0.9, 0.8, 13, top=xlnet)),
    )
    assert found["tops"].tolist() == [passes, passes]


def test_models_of_unequal_depth_are_not_compared():
    found = similar(
        ("all-minilm-l6-v2", "trained", near_diagonal(0.9, 0.8, 7, top=0.6)),
        ("xlnet-mini-12", "trained", near_diagonal(0.9, 0.8, 13, top=0.3)),
    )
    assert found["tops"].empty


GRID = [0.1, 0.5, 0.9]
LEFT = [90, 40, 10]  # clusters of 100 neurons at each threshold


def probed(task, closest, oracle=0.9, floor=0.5, seed=0):
    """A planted run of probes, with the score of the closest neurons at each threshold."""
    scores = {"dev": closest, "test": closest}
    return {
        "model": "bert-mini-12", "task": task, "seed": seed, "thresholds": GRID, "clusters": LEFT,
        "closest": scores, "drawn": {part: [s - 0.01 for s in v] for part, v in scores.items()},
        "oracle": {"dev": oracle, "test": oracle}, "floor": floor, "neurons": 100,
    }  # fmt: skip


def clustered(*probes):
    shares = dict(zip(map(str, GRID), LEFT, strict=True))
    windows = {str(t): {"1": 2, "3": 4} for t in GRID} | {"0.3": {"1": 2, "3": 4}}
    runs = pd.DataFrame(
        {"model": "bert-mini-12", "task": task, "weights": weights, "seed": 0, "level": "word"}
        | {"neurons": 100, "layers": 5, "constant": 20, "windows_of_several": windows}
        | {"clusters": shares, "clusters_varying": {t: n / 2 for t, n in shares.items()}}
        for task, weights in itertools.product(("pos", "tweets"), ("trained", "random"))
    )
    page = {"models": ["bert-mini-12"], "thresholds": GRID, "seeds": [0]}
    chosen = settings.of("neuron_correlation", page)
    return planted.run(
        PAGES["neuron_correlation"], "claim", runs=runs, probes=pd.DataFrame(probes),
        chosen=chosen, on_tasks=settings.of("clustered_probes", {}),
    )  # fmt: skip


def test_a_threshold_counts_only_if_every_lower_one_passes():
    found = clustered(probed("pos", [0.9, 0.8, 0.9]))  # fails in the middle
    assert found["best"].loc[("bert-mini-12", "pos", 0), "threshold"] == 0.1
    assert found["redundant"].tolist() == pytest.approx([10])
    assert found["a1"].tolist() == [False]


def test_a_task_that_can_spare_nothing_counts_as_zero():
    found = clustered(probed("pos", [0.5, 0.9, 0.9]))
    assert found["redundant"].tolist() == [0]


def test_a1_counts_learned_tasks_of_the_paper_and_needs_three_of_three_seeds():
    good, poor = [0.9, 0.9, 0.9], [0.9, 0.9, 0.6]
    rows = [
        probed(task, scores, floor=floor, seed=seed)
        for seed in (0, 1, 2)
        for task, scores, floor in (
            ("pos", good, 0.5), ("mrpc", good, 0.5), ("stsb", poor, 0.0),
            ("rte", good, 0.88),  # not learned: at most 5 points above the floor
            ("cola", good, 0.0),  # no task of the paper
        )
    ]  # fmt: skip
    found = clustered(*rows)
    assert found["a1"].droplevel("model").to_dict() == {"pos": True, "mrpc": True, "stsb": False}
    assert found["judged"]["verdict"] == "mixed (2 of 3)"
    few = clustered(*(row for row in rows if row["seed"] < 2))
    assert few["judged"]["verdict"] == "too little data"


def test_the_baseline_of_the_same_text_stands_beside_a_task():
    found = clustered(probed("pos", [0.9, 0.9, 0.9]), probed("mrpc", [0.9, 0.9, 0.9]))
    beside = found["found"].set_index("task")["random-init"]
    assert beside["pos"] == pytest.approx(90) and np.isnan(beside["mrpc"])


def test_shares_windows_and_choices_are_told_as_planted():
    found = clustered(probed("pos", [0.9, 0.9, 0.9]))
    counted = found["counted"].set_index("threshold").loc[0.5]
    assert counted["redundant"].iloc[0] == pytest.approx(60)
    assert found["spans"].groupby("task").sum().to_dict() == {"pos": 6, "tweets": 6}
    assert found["several"].tolist() == pytest.approx([100 * 4 / 6])
    assert found["at"]["closest minus drawn"].tolist() == pytest.approx([1, 1, 1])


def test_the_neuron_that_dominates_is_found():
    runs = pd.DataFrame(
        {"model": ["m", "m"], "task": "pos", "level": "word", "weights": ["trained", "random"]}
        | {"seed": 0, "rms": [[1, 2]] * 2, "largest_share": [[0.1, 0.7], [0.9, 0.2]]}
    )
    found = planted.run(PAGES["activations"], "claim", runs=runs)
    assert found["dominant"]["largest_share"] == 0.7
    assert found["dominant"]["layer"] == 1
