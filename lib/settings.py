"""What is run: the parameters of every page, checked once, with the defaults of three profiles."""

import ast
import hashlib
import itertools
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from lib import corpora, encoders
from lib.errors import BadInput, one_of
from lib.strategies import PAPER_STRATEGIES, STRATEGIES

PROFILES = ("tiny", "small", "paper")
SOURCES = ("embedded", "root", "hub")
INJECTED = "# Parameters"  # begins the cell that papermill writes
INNER = {"experiment", "on", "given", "passed"}  # fields that no page sets


def _model(name: str) -> str:
    if name not in encoders.MODELS and not Path(name).is_dir() and name.count("/") != 1:
        table = ", ".join(encoders.MODELS)
        raise ValueError(f"it is no folder, no Hub id (owner/name) and not in the table: {table}")
    return name


def _source(name: str) -> str:
    if name not in SOURCES and not Path(name).is_dir():
        raise ValueError(f"it is no folder and none of {', '.join(SOURCES)}")
    return name


def _once(values: tuple) -> tuple:
    if len(set(values)) < len(values):
        raise ValueError("it names a value twice; each may be named once")
    return values


def _apart(models: tuple) -> tuple:
    shown = [encoders.title(name) for name in models]
    if twice := sorted({name for name in shown if shown.count(name) > 1}):
        told = f"two of them are shown as {twice[0]!r}"
        raise ValueError(f"{told}; name one of them by a folder of another name")
    return models


def _trained(values: tuple) -> tuple:
    if "trained" not in values:
        raise ValueError("it lacks 'trained', which the random-init baseline is compared with")
    return values


def listed(value):
    """A list, also one that papermill's ``-p`` passed as text."""
    if isinstance(value, str) and value.strip().startswith("["):
        value = _read(value)
    return tuple(value) if isinstance(value, list) else value


def _read(text: str):
    """A list written as JSON, or as YAML, which takes 1e-05 for text."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError("it is not a list such as [a, b]") from None


def _some(kind):
    """Type of a list of at least one value, none of them twice."""
    checks = BeforeValidator(listed), Field(min_length=1), AfterValidator(_once)
    return Annotated[(tuple[kind, ...], *checks)]


Task = Annotated[str, AfterValidator(lambda name: _one_of(name, corpora.TASKS))]
Model = Annotated[str, AfterValidator(_model)]
Models = Annotated[_some(Model), AfterValidator(_apart)]
Strategy = Annotated[str, AfterValidator(lambda name: _one_of(name, STRATEGIES))]
Weights = Annotated[_some(Literal["trained", "random"]), AfterValidator(_trained)]
Rows = Annotated[int, Field(ge=10, le=100_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(ge=0, le=1)]
Part = Annotated[float, Field(gt=0, lt=1)]
Percent = Annotated[float, Field(ge=0, lt=100)]


def _one_of(name: str, valid) -> str:
    if name not in valid:
        raise ValueError(f"it should be one of {', '.join(map(str, valid))}")
    return name


class Settings(BaseModel):
    """Everything a page may choose; profiles and pages give the values, here they are checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)

    profile: Literal[PROFILES]
    experiment: str
    on: tuple[str, ...] = ()  # the settings that may change the experiment's numbers
    given: tuple[str, ...] = ()  # the settings that the reader changed
    passed: tuple[tuple[str, str], ...] = ()  # these, and parameters of the page alone, as JSON
    models: Models  # names of the table, Hub ids or folders
    tasks: _some(Task)
    data: Annotated[str, AfterValidator(_source)]  # embedded, root, hub, or a folder like the root
    max_words: Rows  # rows read word by word, of each part of a task
    max_examples: Rows = 10_000  # sentences or pairs, of each part of a task
    seeds: _some(Seed) = (0, 1, 2)
    weights: Weights = ("trained", "random")
    order: Literal["shuffled", "first"] = "shuffled"  # of sentences drawn; first: as the papers
    pooling: Literal["last", "first", "mean"] = "last"  # piece that a word's vector is read from
    thresholds: _some(Share) = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of 1 - |r|
    protocol: Literal["corrected", "official"] = "corrected"  # of probes and of the ranking
    penalties: _some(Part) = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3)  # of the probe that ranks neurons
    layer_tolerances: _some(Percent) = (1, 2, 3)  # of the oracle that the layer selector may lose
    neuron_tolerance: Percent = 1  # that the feature selector may lose
    cluster_threshold: Share = 0.3  # at which one neuron per cluster is kept
    strategies: _some(Strategy) = tuple(PAPER_STRATEGIES)
    drop_shares: _some(Part) = (1 / 6, 1 / 3, 1 / 2)  # of the blocks; the papers' 2, 4, 6 of 12
    top_depths: Annotated[int, Field(ge=1, le=1000)] | None = None  # depths tried from the top
    epochs: Annotated[int, Field(ge=1, le=100)] = 3  # this and the next two: the released recipe
    batch: Annotated[int, Field(ge=1, le=4096)] = 8
    learning_rate: Annotated[float, Field(ge=1e-8, le=1)] = 5e-5
    precision: Literal["best", "float32", "bfloat16"] = "best"  # of the products of fine-tuning
    student_text: Task = "wikitext2"  # text that a distilled student learns from
    student_epochs: Annotated[int, Field(ge=1, le=100)] = 3
    student_losses: _some(Literal["last", "hidden"]) = ("last",)  # of lib.distil.LOSSES, added up
    student_rate: Annotated[float, Field(ge=1e-8, le=1)] = 1e-3  # learning rate of the student
    timed_examples: Rows = 512  # sentences or pairs of one timed pass
    repeats: Annotated[int, Field(ge=1, le=1000)] = 5  # rounds in which every depth is timed once
    use_records: bool = True  # False computes again what is recorded
    compute: bool = True  # False computes nothing: what has no record is missing

    @property
    def digest(self) -> str:
        """Digest of the settings that the numbers depend on."""
        source = self.data if self.data in SOURCES else "root"
        known = {name: getattr(self, name) for name in self.on} | {"data": source}
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def usual(self) -> bool:
        """Whether the profile is run as it stands: the reader changed nothing."""
        return not set(self.given) - {"profile", "use_records", "compute"}


@cache
def profiles() -> dict[str, dict]:
    """The three profiles as ``lib/profiles.yml`` has them."""
    return yaml.safe_load(Path(__file__).with_name("profiles.yml").read_text())


def defaults(profile: str, experiment: str) -> dict:
    """Values of a profile for one experiment."""
    one_of("profile", profile, PROFILES)
    table = profiles()[profile]
    return table["all"] | table.get(experiment, {})


def of(
    experiment: str, page: dict, *, on: Sequence[str] = (), kinds: Sequence[str] = (),
    also: Sequence[str] = (), **changes,
) -> Settings:  # fmt: skip
    """Settings of an experiment, from the variables of the page that runs it.

    Parameters
    ----------
    experiment
        Names the records and the block of ``lib/profiles.yml``.
    page
        ``globals()`` of the page. Every variable named like a field of :class:`Settings`, and not
        None, replaces the profile's value.
    on
        The settings that may change the experiment's numbers: they are part of a record's key.
    kinds
        Kinds of tasks that the experiment can read; default all.
    also
        Parameters that the page takes besides those that it declares and the fields.
    changes
        Values that go before those of the page; None changes nothing.

    Raises
    ------
    BadInput
        For an unknown parameter or value, naming what is valid.

    Examples
    --------
    >>> of("dropping", {"seeds": [7]}).seeds
    (7,)
    >>> of("dropping", {"epochs": 0})
    Traceback (most recent call last):
    lib.errors.BadInput: epochs 0 is not valid: it should be greater than or equal to 1
    """
    check_names(page.get("In", ()), also)
    fields = set(Settings.model_fields) - INNER
    given = {name: page[name] for name in fields if page.get(name) is not None}
    given |= {name: value for name, value in changes.items() if value is not None}
    values = defaults(given.get("profile", "tiny"), experiment) | {"profile": "tiny"} | given
    passed = given | {name: page.get(name) for name in _passed(page.get("In", ()))}
    about = {"experiment": experiment, "on": tuple(on), "given": tuple(sorted(given))}
    about["passed"] = tuple((n, json.dumps(v, default=str)) for n, v in sorted(passed.items()))
    try:
        settings = Settings(**about, **values)
    except ValidationError as error:
        raise BadInput(sentence(error)) from None
    valid = [name for name, info in corpora.TASKS.items() if not kinds or info.kind in kinds]
    for task in settings.tasks:
        one_of("task", task, valid)
    return settings


def by_model(first: Settings, second: Settings) -> dict[str, Settings]:
    """Which part of a grid in two parts each model belongs to: the second has its profile's own.

    Examples
    --------
    >>> page = {"models": ["bert-base-cased", "bert-mini-12"]}
    >>> found = by_model(of("dropping", page), of("twelve_blocks", page))
    >>> {model: part.experiment for model, part in found.items()}
    {'bert-base-cased': 'dropping', 'bert-mini-12': 'twelve_blocks'}
    """
    listed = defaults(second.profile, second.experiment)["models"]
    found = {model: second if model in listed else first for model in first.models}
    return found | {model: second for model in second.models if model in listed}


def sentence(error: ValidationError) -> str:
    """The first fault in one sentence."""
    first = error.errors()[0]
    name, value = first["loc"][0], first["input"]
    told = first["msg"].removeprefix("Value error, ").replace("Input should", "it should", 1)
    return f"{name} {value!r} is not valid: {told[:1].lower()}{told[1:]}"


def check_names(cells: Sequence[str], also: Sequence[str] = ()) -> None:
    """Refuse a parameter that nobody knows, which papermill itself lets pass.

    ``cells`` are the sources of the cells run so far (``In``): papermill writes the parameters it
    was given into a cell of its own, right behind the one that declares the page's.
    """
    for declared, passed in itertools.pairwise(cells):
        if passed.startswith(INJECTED):
            valid = {*_assigned(declared), *Settings.model_fields, *also} - INNER
            for name in _assigned(passed):
                one_of("parameter", name, sorted(valid))


def _passed(cells: Sequence[str]) -> list[str]:
    """Names of the parameters that papermill was given."""
    return [name for cell in cells if cell.startswith(INJECTED) for name in _assigned(cell)]


def _assigned(source: str) -> list[str]:
    """Names that a cell assigns."""
    names = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)]
    return [name.id for name in names if isinstance(name.ctx, ast.Store)]
