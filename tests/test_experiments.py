"""What a run computes: every family, the same numbers as the slow way, samples drawn by seed."""

import numpy as np
import pytest
import torch

from lib import (
    BadInput,
    activations,
    experiments,
    finetune,
    general,
    profiles,
)
from lib import (
    old_records as records,
)
from lib.dropped import runs
from lib.grids import Run
from lib.similarity import correlation_clusters, linear_cka

SMALL = {"seeds": [0], "words": 300, "sentences": 60}


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("REDUNDANCY_RESULTS", str(tmp_path))


def values_of(experiment, **overrides):
    settings = profiles.get("tiny", experiment, **{**SMALL, **overrides})
    return experiments.fill(settings)


@pytest.mark.parametrize("task", ["pos", "topics", "sst2", "mnli"])
def test_every_family_runs_on_every_kind_of_text(family_folders, task):
    folders = [str(folder) for folder in family_folders.values()]
    table = values_of("neuron_correlation", models=folders, tasks=[task])
    assert len(table) == 2 * len(folders)
    for _, values in table:
        left = list(values["clusters"].values())
        assert left == sorted(left, reverse=True)
        assert values["neurons"] == 4 * 24
        for sizes in values["sizes"].values():
            assert sum(int(size) * count for size, count in sizes.items()) == values["neurons"]


def test_records_equal_the_slow_way(family_folders):
    """Keep all rows, use numpy's correlation, one linkage per threshold."""
    settings = profiles.get(
        "tiny", "neuron_correlation", models=[str(family_folders["xlnet"])], tasks=["pos"], **SMALL
    )
    run = settings.runs()[0]
    sentences, _ = general.sample(settings, run)
    rows = activations.extract(*general.load_model(run), sentences, level="word").rows
    rows = rows.flatten(1).double().numpy()
    served, _ = general.general(settings, run)
    found = {other.experiment: values for other, values in served}
    centred = torch.from_numpy(rows - rows.mean(0))
    want = linear_cka(centred.T @ centred, [24] * 4)
    torch.testing.assert_close(found["layer_similarity"]["cka"], want, atol=1e-5, rtol=0)
    correlation = torch.from_numpy(np.corrcoef(rows.T))
    for threshold, labels in correlation_clusters(correlation, [0.3, 0.7]).items():
        assert found["neuron_correlation"]["clusters"][threshold] == labels.max()


def test_the_first_layer_of_sentence_vectors_is_constant_and_said_so(family_folders):
    """P1: the special token's embedding is one vector for all sentences."""
    models = [str(family_folders["bert"])]
    (_, values), *_ = values_of("neuron_correlation", models=models, tasks=["sst2"])
    assert values["constant"] == 24
    assert values["clusters"]["0.9"] - values["clusters_varying"]["0.9"] == 24


def test_seeds_draw_samples_and_first_takes_the_file_order():
    def sentences(**overrides):
        settings = profiles.get("tiny", "activations", tasks=["topics"], **{**SMALL, **overrides})
        return general.sample(settings, settings.runs()[0])[0]

    assert sentences(seeds=[1]) == sentences(seeds=[1])
    assert sentences(seeds=[1]) != sentences(seeds=[2])
    first = sentences(order="first")
    task = general.corpora.load("topics")
    assert first == [words for words, _ in task.train[: len(first)]]
    assert sum(map(len, first)) <= 300 < sum(map(len, first)) + len(task.train[len(first)][0])


def test_random_twins_differ_by_seed_and_leave_the_generator_alone(family_folders):
    run = Run("activations", str(family_folders["bert"]), "pos", "random", 1)
    state = torch.random.get_rng_state()
    one, again = (general.load_model(run)[0].state_dict() for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    key = "encoder.layer.0.output.dense.weight"
    assert torch.equal(one[key], again[key])
    other = general.load_model(profiles.replace(run, seed=2))[0].state_dict()
    assert not torch.equal(one[key], other[key])


CUT = {"tuned_on": ["mrpc"], "examples": 16, "epochs": 1, "restarts": [0]}


def test_settings_that_keep_the_same_blocks_are_trained_once(family_folders, monkeypatch):
    seen, train = [], finetune.run
    monkeypatch.setattr(finetune, "run", lambda *a, **k: seen.append(k["keep"]) or train(*a, **k))
    settings = profiles.get("tiny", "dropping", models=[str(family_folders["bert"])], **CUT)
    table = {run.setting: values for run, values in experiments.fill(settings)}
    assert list(table) == [run.setting for run in settings.runs()]
    assert table["whole"]["keep"] == [0, 1, 2] and table["top 1"]["keep"] == [0, 1]
    assert table["odd 1"] == table["top 1"] and table["even 1"]["keep"] == [0, 2]
    assert len(seen) == len({tuple(v["keep"]) for v in table.values()}) < len(table)
    assert all(v["score"] == v["accuracy_and_f1"] for v in table.values())
    told = [records.made_by(settings, run)["seconds"] for run in settings.runs()]
    assert sum(seconds > 0 for seconds in told) == len(seen)


def test_contribution_follows_the_recorded_similarity(family_folders):
    settings = profiles.get("tiny", "dropping", models=[str(family_folders["xlnet"])], **CUT)
    table = {run.setting: values for run, values in experiments.fill(settings)}
    measured = dict(records.read(profiles.replace(settings, experiment="strategies")))
    trained = next(v for run, v in measured.items() if run.setting == "trained")
    most = int(np.argmax(trained["similarity"]))
    assert table["contribution 1"]["keep"] == [block for block in range(3) if block != most]


def test_the_best_constant_answer_is_scored_as_a_model_is():
    settings = profiles.get("tiny", "dropping", tuned_on=["sst2", "stsb"], examples=200)
    for run in {run.task: run for run in settings.runs()}.values():
        task = runs.task_of(settings, run)
        assert len(task.train) == len(task.test) == 200
        assert runs.constant(task) == 0 if run.task == "stsb" else 0.5 <= runs.constant(task) < 0.7


def test_too_few_rows_is_a_sentence():
    with pytest.raises(BadInput, match="at least 2 needed"):
        values_of("activations", tasks=["topics"], words=10)


def test_a_missing_data_root_is_a_sentence(monkeypatch):
    monkeypatch.setattr(general.tasks, "data_root", lambda: None)
    with pytest.raises(BadInput, match="REDUNDANCY_DATA"):
        values_of("activations", data="root")
