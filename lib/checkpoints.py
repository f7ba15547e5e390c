"""Checkpoints: where a model's files are found, whether they are whole, and their digests.

Weights are read from safetensors only; code and pickles that come with a checkpoint are never run.
"""

import hashlib
import importlib.util
import json
import logging
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import transformers
from filelock import FileLock
from safetensors import safe_open
from transformers import AutoConfig, AutoModel, AutoTokenizer

from lib.errors import BadInput
from lib.model_table import CONFIG_FAULTS, FAULTS, MODELS, OF_BLOCKS

WEIGHTS = "model*.safetensors"
FILES = ["*.json", "*.txt", "*.model", WEIGHTS]
VOCABULARY = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")  # one of them is needed
SPECIAL = ("tokenizer_config.json", "added_tokens.json", "special_tokens_map.json")
DECIDES = ("config.json", *VOCABULARY, "merges.txt", *SPECIAL)  # beside the weights
SHIPPED = Path(__file__).parent / "miniatures"  # models of the table that have no Hub id
SIZES = ("vocab_size", "hidden_size", "num_hidden_layers")  # of every model of text
POINTER = b"version https://git-lfs"


def _cached(hub_id: str) -> Path | None:
    """The snapshot of a Hub id in the local cache, None where there is none with weights."""
    from huggingface_hub import snapshot_download  # noqa: PLC0415  (only where it is used)
    from huggingface_hub.errors import LocalEntryNotFoundError  # noqa: PLC0415

    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=FILES, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError):
        return None
    return folder if list(folder.glob(WEIGHTS)) else None


def _wheel(package: str | None) -> Path | None:
    """The model folder inside an installed package, found without importing the package."""
    spec = importlib.util.find_spec(package) if package else None
    return Path(spec.origin).parent / "model" if spec else None


def _download(hub_id: str) -> Path:
    """Files of a Hub id; which of the reasons it is that there are none."""
    from huggingface_hub import constants, snapshot_download  # noqa: PLC0415
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError  # noqa: PLC0415

    try:
        return Path(snapshot_download(hub_id, allow_patterns=FILES))
    except HFValidationError as error:
        raise BadInput(f"model {hub_id!r} is no valid Hub id (owner/name)") from error
    except RepositoryNotFoundError as error:
        raise BadInput(
            f"model {hub_id!r} does not exist on the Hub, or is private or gated and needs a "
            "login; check its spelling"
        ) from error
    except (OSError, ValueError, RuntimeError) as error:
        offline = constants.HF_HUB_OFFLINE
        reason = "HF_HUB_OFFLINE is set" if offline else "no connection, or an error there"
        raise BadInput(
            f"model {hub_id!r} is not in the Hub cache and the Hub did not answer ({reason}); "
            "give a folder that holds it, or try again"
        ) from error


def local(name_or_path: str | Path) -> Path | None:
    """Folder of a model's files on this machine, None where they would have to be downloaded."""
    name = str(name_or_path)
    known = MODELS.get(name)
    if known:
        return _cached(known.hub) or _wheel(known.wheel) if known.hub else SHIPPED / name
    if Path(name).is_dir():
        return Path(name)
    return _cached(name) if _is_hub_id(name) else None


def _is_hub_id(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~"))


def find(name_or_path: str | Path) -> Path:
    """Folder of a model's files: a folder as given, this repository's miniatures, or from outside.

    A model of the table is looked for in the Hub's cache, in the pinned wheel, and on the Hub.

    Parameters
    ----------
    name_or_path
        A name in :data:`MODELS`, a Hub id ``owner/name``, or a folder.

    Returns
    -------
    Path
        Holds ``config.json`` and whole ``model*.safetensors``.

    Raises
    ------
    BadInput
        If nothing is found, if the weights are not there as whole safetensors (pickles are
        refused), or if those of a model of the table have another digest than the table says.
    """
    name = str(name_or_path)
    known, folder = MODELS.get(name), local(name_or_path)
    if folder is None and not known and not _is_hub_id(name):
        raise BadInput(
            f"model {name!r} is no folder, no Hub id (owner/name) and not in the table; "
            f"the table has: {', '.join(MODELS)}"
        )
    folder = folder or _download(known.hub if known else name)
    _check_weights(folder)
    if known and known.sha256 and weights_digest(folder) != known.sha256:
        raise BadInput(
            f"weights of {name!r} in {folder} are not the published ones: digest differs"
        )
    return folder


def _check_weights(folder: Path) -> None:
    """Refuse a folder whose weights are not there, not whole, or not those of a whole model."""
    if (folder / "adapter_config.json").exists():
        raise BadInput(f"{folder} holds an adapter (LoRA), no whole model; merge it into its model")
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    shards = [whole]
    if not whole.exists() and index.exists():
        with refusal(f"{index} cannot be read"):
            parts = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        shards = [folder / part for part in sorted(set(parts))]
    for shard in shards:
        if not shard.exists():
            raise BadInput(f"{folder} holds no {shard.name}; other weights are not read")
    for file in (file for pattern in FILES for file in folder.glob(pattern)):
        with file.open("rb") as stream:
            if stream.read(len(POINTER)) == POINTER:
                raise BadInput(f"{file} is a pointer of Git LFS; fetch the file itself")
    for shard in shards:
        with refusal(f"{shard} is no whole safetensors file"), safe_open(shard, "pt"):
            pass


@contextmanager
def refusal(sentence: str):
    """Any error inside becomes :class:`BadInput`: the sentence, and the first line of the error."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:  # libraries raise whatever they like on files that are not theirs
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise BadInput(f"{sentence}: {reason or type(error).__name__}") from error


def digest(folder: str | Path) -> str:
    """SHA-256 over a model's weights, config and tokenizer, as hex; a changed file changes it."""
    files = {file for name in DECIDES for file in Path(folder).glob(name)}
    sums = {file.name: _sum_of(file) for file in files} | {"": weights_digest(folder)}
    return hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()


def weights_digest(folder: str | Path) -> str:
    """SHA-256 of a model's weights; one file's own, of shards that of theirs in order of name."""
    sums = [_sum_of(file) for file in sorted(Path(folder).glob(WEIGHTS))]
    return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()


def _sum_of(file: Path) -> str:
    about = file.stat()
    return _sum(file.resolve(), about.st_size, about.st_mtime_ns)


@cache
def _sum(file: Path, size: int, changed: int) -> str:
    """SHA-256 of a file; size and time of change tell a file that was replaced meanwhile."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def stored_bytes(folder: Path) -> int:
    """Bytes of a model's weights on disk: all its safetensors files."""
    return sum(file.stat().st_size for file in folder.glob(WEIGHTS))


def once(place: Path, make: Callable[[Path], None]) -> Path:
    """A file or folder that ``make`` writes, once: it appears whole, and other processes wait."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.with_suffix(".lock")):
        fresh = place.with_suffix(".part")
        shutil.rmtree(fresh, ignore_errors=True)  # of a process that was killed
        if not place.exists():
            make(fresh)
            fresh.rename(place)
    return place


@contextmanager
def quiet():
    """Silence transformers' reports and bars: a new head is meant, not a fault."""
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(logging.ERROR)
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
        transformers.logging.enable_progress_bar()


def read_config(folder: Path, **options) -> transformers.PretrainedConfig:
    """A model's config; one that asks for what would not be computed is refused.

    Raises
    ------
    BadInput
        If ``config.json`` is missing or cannot be read, for each of
        :data:`~lib.model_table.CONFIG_FAULTS`, and for models that read more than text, or none.
    """
    try:
        stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind = stored["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{folder} has no config.json that can be read") from error
    if kind not in transformers.CONFIG_MAPPING:
        raise BadInput(f"architecture {kind!r} of {folder} is not known to transformers")
    with refusal(f"config.json of {folder} cannot be used"):
        config = AutoConfig.from_pretrained(folder, local_files_only=True, **options)
        parts, reads = sorted(config.sub_configs.keys() - OF_BLOCKS), _reads_text(config)
    entries = config.to_dict() | stored
    for name, asks in CONFIG_FAULTS.items():
        if name in entries and asks(entries[name]):
            raise BadInput(f"{folder} {FAULTS[name]}")
    if parts or not reads:
        about = f" (it has {', '.join(parts)})" if parts else ""
        raise BadInput(f"{folder} holds no model of text alone, but {kind!r}{about}")
    return config


def _reads_text(config) -> bool:
    """Whether transformers has a model for a config that takes token ids to vectors by blocks."""
    made = AutoModel._model_mapping.get(type(config), None)
    made = made[0] if isinstance(made, tuple) else made
    takes = getattr(made, "main_input_name", None) == "input_ids"
    return takes and all(hasattr(config, name) for name in SIZES)


def read_tokenizer(folder: Path):
    """A model's tokenizer; a folder without its files is refused, not given an empty one."""
    found = [pattern for pattern in VOCABULARY if list(folder.glob(pattern))]
    if not found or found == ["vocab.json"] and not (folder / "merges.txt").exists():
        raise BadInput(f"{folder} has no tokenizer beside it; save the tokenizer into that folder")
    about = folder / "tokenizer_config.json"
    with quiet(), refusal(f"the tokenizer of {folder} cannot be read"):
        if about.exists() and "auto_map" in json.loads(about.read_text(encoding="utf-8")):
            raise BadInput(f"{folder} has a tokenizer with code of its own, which is never run")
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
