"""Profiles: what is asked for is checked before any work, and typos never pass."""

from dataclasses import replace

import pytest

from lib import BadInput, profiles
from lib.grids import AFFECTS, Run
from lib.model_table import MODELS
from lib.profiles import get


def test_every_profile_serves_every_experiment():
    for name in profiles.PROFILES:
        for experiment in AFFECTS:
            settings = get(name, experiment)
            assert len(set(settings.runs())) == len(settings.runs()) > 0


def test_every_field_of_every_profile_passes_its_own_check():
    for name, profile in profiles.PROFILES.items():
        values = {field: getattr(profile, field) for field in profiles.CHECKS}
        assert get(name, "activations", **values).runs() == get(name, "activations").runs()


def test_an_experiment_may_have_models_of_its_own_which_a_reader_overrides():
    own = (*profiles.TINY.models, *profiles.MINIATURES)
    assert get("tiny", "strategies").models == own
    assert get("tiny", "strategies", models=["bert-base-cased"]).models == ("bert-base-cased",)
    for (name, experiment), own in profiles.MODELS_OF.items():
        assert name in profiles.PROFILES and experiment in AFFECTS and set(own) <= set(MODELS)
        assert own != profiles.PROFILES[name].models


@pytest.mark.parametrize(
    "depths,wanted", [(None, [1, 2, 3, 4, 5]), (2, [2, 4]), (99, [1, 2, 3, 4, 5])]
)
def test_numbers_tried_from_the_top_are_evenly_apart(depths, wanted):
    settings = replace(get("tiny", "dropping", strategies=["top"]), depths=depths)
    assert settings.cuts("all-minilm-l6-v2") == ["whole", *(f"top {k}" for k in wanted)]


@pytest.mark.parametrize(
    "overrides,message",
    [
        ({"profile": "tinny"}, "profile 'tinny' is not known; valid: tiny, small, paper"),
        ({"models": ["bert-bsae"]}, "model 'bert-bsae'.*the table has: all-minilm-l6-v2"),
        ({"models": "all-minilm-l6-v2"}, "models 'all-minilm-l6-v2' is not valid; it takes a list"),
        ({"models": []}, "models \\[\\] is not valid"),
        ({"tasks": ["posh"]}, "task 'posh' is not known; valid: pos"),
        ({"tasks": ["pos", "pos"]}, "names a value twice"),
        (
            {"data": "internet"},
            "data 'internet' is not known; valid: embedded, root, hub, a folder",
        ),
        ({"words": 3}, "words 3 is out of range; valid: 10 to"),
        ({"words": "many"}, "words 'many' is out of range"),
        ({"sentences": True}, "sentences True is out of range"),
        ({"seeds": [-1]}, "seed -1 is out of range"),
        ({"seeds": [0.5]}, "seed 0.5 is out of range"),
        ({"seeds": 3}, "seeds 3 is not valid; it takes a list"),
        ({"weights": ["trained", "rnd"]}, "weights 'rnd' is not known; valid: trained, random"),
        ({"weights": ["random"]}, "lack 'trained'"),
        ({"pooling": "max"}, "pooling 'max' is not known; valid: last, first, mean"),
        ({"order": "best"}, "order 'best' is not known; valid: shuffled, first"),
        ({"thresholds": [0.3, 1.5]}, "threshold 1.5 is out of range; valid: 0 to 1"),
        ({"thresholds": ["0.3"]}, "threshold '0.3' is out of range"),
        ({"use_records": "no"}, "use_records 'no' is not known; valid: True, False"),
        ({"modles": ["x"]}, "parameter 'modles' is not known; valid: models, tasks"),
    ],
)
def test_a_wrong_parameter_is_named_with_the_valid_ones(overrides, message):
    profile = overrides.pop("profile", "tiny")
    with pytest.raises(BadInput, match=message):
        get(profile, "neuron_correlation", **overrides)


def test_a_list_may_come_as_text_as_from_papermills_command_line():
    assert get("tiny", "activations", seeds="[4, 5]", tasks="[pos]").seeds == (4, 5)


def test_digest_follows_what_affects_the_number_and_nothing_else():
    def digest(experiment, **overrides):
        return get("tiny", experiment, **overrides).digest(
            Run(experiment, "m", "pos", "trained", 0)
        )

    plain = digest("layer_similarity")
    assert digest("layer_similarity", seeds=[5], tasks=["sem"], use_records=False) == plain
    assert digest("layer_similarity", thresholds=[0.2]) == plain
    assert digest("layer_similarity", words=100) != plain
    assert digest("layer_similarity", pooling="mean") != plain
    assert digest("neuron_correlation", thresholds=[0.2]) != digest("neuron_correlation")


def test_weights_of_a_folder_are_part_of_the_digest(family_folders):
    settings = get("tiny", "activations")
    runs = [Run("activations", str(f), "pos", "trained", 0) for f in family_folders.values()]
    assert len({settings.digest(run) for run in runs}) == len(runs)


DECLARED = 'profile: str = "tiny"\nseeds: list = None'


@pytest.mark.parametrize(
    "cell", ["# Parameters\nprofil = 'small'\n", "# Parameters\nmodles = []\n"]
)
def test_parameters_a_notebook_does_not_have_are_refused(cell):
    with pytest.raises(BadInput, match="is not known; valid: profile, seeds"):
        profiles.check_names(["", DECLARED, cell, "profiles.check_names(In)"])


def test_known_parameters_and_plain_sessions_pass():
    profiles.check_names(["", DECLARED, "# Parameters\nseeds = [1]\n", "x = 1"])
    profiles.check_names(["", "x = 1", DECLARED, "y = 2", DECLARED])


def test_the_error_shows_as_one_sentence_in_a_notebook():
    assert BadInput("a is wrong")._render_traceback_() == ["BadInput: a is wrong"]
