"""What a page may choose: profiles as data, every value checked, every refusal one sentence."""

import pytest

from lib import BadInput, settings

WRONG = [  # parameter, value, what the sentence says
    ("profile", "huge", "valid: tiny, small, paper"),
    ("models", ["nothing"], "no folder, no Hub id"),
    ("models", "[x, 1]", "models 'x' is not valid"),
    ("models", [], "models"),
    ("tasks", "[[pos]]", "valid string"),
    ("tasks", "[a, b", "not a list"),
    ("tasks", ["sst2", "sst2"], "names a value twice"),
    ("tasks", 7, "tasks 7 is not valid"),
    ("seeds", [1.0], "valid integer"),
    ("seeds", [True], "valid integer"),
    ("seeds", [-1], "greater than or equal to 0"),
    ("max_words", 3, "greater than or equal to 10"),
    ("max_words", "many", "valid integer"),
    ("learning_rate", 2, "less than or equal to 1"),
    ("thresholds", [1.5], "less than or equal to 1"),
    ("drop_shares", [1], "less than 1"),
    ("strategies", ["sideways"], "one of top, bottom"),
    ("weights", ["random"], "random-init baseline"),
    ("data", "nowhere", "embedded, root, hub"),
    ("order", "backwards", "'shuffled' or 'first'"),
    ("use_records", "yes", "valid boolean"),
]


@pytest.mark.parametrize(("name", "value", "said"), WRONG, ids=[f"{n}={v}" for n, v, _ in WRONG])
def test_a_wrong_value_is_refused_in_one_sentence(name, value, said):
    with pytest.raises(BadInput, match=said) as caught:
        settings.of("dropping", {name: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("profile", settings.PROFILES)
def test_every_profile_is_valid_for_every_experiment_it_names(profile):
    for experiment in settings.profiles()[profile]:
        if experiment not in ("purpose", "all"):
            assert settings.of(experiment, {"profile": profile}).experiment == experiment


def test_a_list_from_the_command_line_is_a_list():
    assert settings.of("dropping", {"seeds": "[1, 2]"}).seeds == (1, 2)


def test_a_number_written_without_a_point_is_the_same_setting():
    first, second = (
        settings.of("efficient_transfer", {"neuron_tolerance": t}, on=("neuron_tolerance",))
        for t in (1, 1.0)
    )
    assert first.digest == second.digest


def test_the_digest_knows_what_the_numbers_depend_on_and_nothing_else():
    def digest(**page):
        return settings.of("dropping", page, on=("epochs", "batch")).digest

    assert digest(epochs=5) != digest() != digest(data="hub")
    assert digest(seeds=[9], strategies=["top"], compute=False) == digest()


@pytest.mark.parametrize("passed", ["seed = 1", "seeds = [1]\nsead: int = 2"])
def test_a_misspelt_parameter_is_refused(passed):
    cells = ["", "profile: str = 'tiny'", f"# Parameters\n{passed}\n"]
    with pytest.raises(BadInput, match=r"parameter 'se[ea]d.*valid: .*seeds"):
        settings.of("dropping", {"In": cells})


def test_a_field_that_the_page_does_not_declare_may_be_passed():
    cells = ["", "profile: str = 'tiny'", "# Parameters\nepochs = 2\n"]
    assert settings.of("dropping", {"In": cells, "epochs": 2}).epochs == 2


def test_a_task_of_another_kind_is_refused_before_any_work():
    with pytest.raises(BadInput, match="task 'pos' is not known; valid: .*sst2"):
        settings.of("dropping", {"tasks": ["pos"]}, kinds=("sentence", "pair"))


def test_a_run_with_changed_settings_is_not_the_profile_itself():
    assert settings.of("dropping", {"profile": "small", "compute": False}).usual
    assert not settings.of("dropping", {"tasks": ["sst2"]}).usual


def test_models_that_would_be_shown_by_one_name_are_refused(tmp_path):
    for run in ("one", "two"):
        (tmp_path / run / "best").mkdir(parents=True)
    models = [str(tmp_path / run / "best") for run in ("one", "two")]
    assert settings.of("dropping", {"models": models[:1]}).models == tuple(models[:1])
    with pytest.raises(BadInput, match="two of them are shown as 'best'; name one of them"):
        settings.of("dropping", {"models": models})
