"""Models: how each is read, refused where it does not fit, and what its structure says.

A model is a name in :data:`~lib.model_table.MODELS`, a Hub id, or a folder; encoders and decoders
of transformers alike. What does not fit its config, or its tokenizer, is refused.
"""

from __future__ import annotations

import json
import logging
import warnings
from contextlib import contextmanager
from pathlib import Path

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)
from transformers.models.auto import modeling_auto

from lib.checkpoints import (  # what is asked of a model's files is asked here too
    FILES,
    SHIPPED,
    VOCABULARY,
    digest,
    find,
    local,
    refusal,
    stored_bytes,
    weights_digest,
)
from lib.errors import BadInput
from lib.model_table import CONFIG_FAULTS, FAMILIES, MODELS, Family

__all__ = [
    "FILES", "MODELS", "SHIPPED", "architecture", "block_list", "blocks", "blocks_at_half",
    "causal", "default_device", "describe", "digest", "family", "find", "load", "local",
    "max_tokens", "n_blocks", "n_parameters", "padded_position", "quiet", "read_config",
    "read_tokenizer", "refusal", "stored_bytes", "summary", "title", "weights_digest",
]  # fmt: skip

UNLIMITED = 1 << 20  # tokens; stands for "no limit" where positions are relative (XLNet)
PADDING = {"first": "right", "last": "left"}  # heads read that token by its place
PLAIN = {  # of a config: how outputs are returned, and in which pieces they are computed
    "return_dict": True,
    "output_attentions": False,
    "output_hidden_states": False,
    "chunk_size_feed_forward": 0,
}
MASKED = set(modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES.values())
CAUSAL = set(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())


def title(name: str) -> str:
    """Name of a model as figures show it: the table's title, else the last part of its id."""
    return MODELS[name].title if name in MODELS else Path(name).name


def blocks(name_or_path: str | Path) -> int:
    """Blocks of a model: from the table, else from its config."""
    if str(name_or_path) in MODELS:
        return MODELS[str(name_or_path)].blocks
    return read_config(find(name_or_path)).num_hidden_layers


def blocks_at_half(name_or_path: str | Path) -> int:
    """Blocks left of a model when half of them are gone; of an odd number one more stays."""
    n = blocks(name_or_path)
    return n - n // 2


def architecture(name_or_path: str | Path) -> str:
    """The ``model_type`` of a model: from the table, else from its config."""
    if str(name_or_path) in MODELS:
        return MODELS[str(name_or_path)].family
    return read_config(find(name_or_path)).model_type


def default_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def n_parameters(module: torch.nn.Module) -> int:
    """Parameters of a model, or of a part of one; what is shared counts once."""
    return sum(parameter.numel() for parameter in module.parameters())


def read_config(folder: Path, **options) -> transformers.PretrainedConfig:
    """A model's config; one that asks for what would not be computed is refused.

    Raises
    ------
    BadInput
        If ``config.json`` is missing or cannot be read, and for each of
        :data:`~lib.model_table.CONFIG_FAULTS`.
    """
    try:
        stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind = stored["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{folder} has no config.json that can be read") from error
    if kind not in transformers.CONFIG_MAPPING:
        raise BadInput(f"architecture {kind!r} of {folder} is not known to transformers")
    for fault, there in CONFIG_FAULTS.items():
        if there(stored):
            raise BadInput(f"{folder} {fault}")
    with refusal(f"config.json of {folder} cannot be used"):
        return AutoConfig.from_pretrained(folder, local_files_only=True, **options)


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


def family(model_or_config) -> Family:
    """Entry of :data:`FAMILIES` for a model or config; the default where structure says all."""
    config = getattr(model_or_config, "config", model_or_config)
    return FAMILIES.get(config.model_type, Family())


def n_blocks(model) -> int:
    """Blocks of a model, with or without a head."""
    return model.config.get_text_config().num_hidden_layers


def block_list(model) -> torch.nn.ModuleList:
    """The list that holds a model's blocks, found by its length.

    Raises
    ------
    BadInput
        If there is none (ALBERT uses one block over and over), or several (XLM).
    """
    total, found = n_blocks(model), {}
    for name, module in model.base_model.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if isinstance(module, torch.nn.ModuleList) and len(module) == total and not inside:
            found[name] = module
    if len(found) != 1 or family(model).shared:
        raise BadInput(f"{model.config.model_type} does not keep its {total} blocks in one list")
    return next(iter(found.values()))


def causal(config) -> bool:
    """Whether each token of a model sees only those before it."""
    kind = config.model_type
    decodes = kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    masks = kind in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return bool(
        getattr(config, "is_decoder", False) if masks else decodes and not family(config).both_ways
    )


def summary(config) -> str:
    """Which real token stands for a sentence: ``first``, or ``last`` (XLNet, decoders).

    Raises
    ------
    BadInput
        If it is none of the two, but a mean over tokens (XLNet's ``summary_type``).
    """
    if causal(config):
        return "last"
    kind = getattr(config, "summary_type", "first")
    if kind not in PADDING:
        raise BadInput(f"summary_type {kind!r} of the config is not read; valid: first, last")
    return kind


def padded_position(model) -> int | None:
    """Position of padding where a model has one (RoBERTa and others count from the next)."""
    for name, module in model.base_model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            return module.padding_idx
    return None


def max_tokens(model, tokenizer) -> int:
    """Longest sequence, special tokens counted, that a model and its tokenizer accept."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is None or positions < 0:
        positions = UNLIMITED
    padding = padded_position(model)
    begin = 0 if padding is None else padding + 1
    return min(tokenizer.model_max_length, positions - begin)


def load(name_or_path: str | Path, *, head: int | str | None = None, device=None, random_seed=None):
    """Read a pretrained model and its tokenizer; see :func:`find` for where.

    Parameters
    ----------
    name_or_path
        A name in :data:`MODELS`, a Hub id, or a folder.
    head
        None for the bare model, ``"lm"`` for the head that predicts words, masked or next ones, as
        the checkpoint was made; a number for the outputs of a sequence classification head (1 for
        regression). A checkpoint that was made without one gets a new one, drawn from torch's
        global generator: seed it for a repeatable one. No other weight may be missing.
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
        With a classification head it pads on the side that the head does not read. Where it has no
        padding token, one of its own stands in, with a warning; padding is never read.

    Raises
    ------
    BadInput
        As :func:`find`, :func:`read_config` and :func:`read_tokenizer`, or if the weights are not
        those that the config asks for.
    """
    folder = find(name_or_path)
    labels = {"num_labels": head} if isinstance(head, int) else {}
    config = read_config(folder, **labels)
    for name, value in PLAIN.items():
        setattr(config, name, value)
    kind, tokenizer = _class_for(config, head), read_tokenizer(folder)
    if isinstance(head, int):
        tokenizer.padding_side = PADDING[summary(config)]
    with quiet(), refusal(f"the model in {folder} cannot be read"):
        model = (
            _read(kind, config, folder, head)
            if random_seed is None
            else _random_twin(kind, config, random_seed)
        )
    _give_padding(tokenizer, model)
    return model.eval().to(device or default_device()), tokenizer


def _class_for(config, head):
    """The class of transformers that reads a model with a head."""
    made = (config.architectures or ["no head"])[0]
    kind, known = AutoModel, modeling_auto.MODEL_MAPPING_NAMES
    if isinstance(head, int):
        kind = AutoModelForSequenceClassification
        known = modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
    elif head is not None and (made in MASKED or made.endswith("ForPreTraining")):
        kind, known = AutoModelForMaskedLM, modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    elif head is not None and made in CAUSAL:
        kind, known = AutoModelForCausalLM, modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    elif head is not None:
        raise BadInput(f"the model has no head that predicts words: it is {made}")
    if config.model_type not in known:
        what = "sentence classifier" if isinstance(head, int) else "model"
        raise BadInput(f"transformers has no such {what} of architecture {config.model_type!r}")
    return kind


def _read(kind, config, folder: Path, head):
    """The weights of a folder, after transformers' report on what did not fit was heeded."""
    model, report = kind.from_pretrained(
        folder,
        config=config,
        local_files_only=True,
        use_safetensors=True,
        dtype="float32",
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are in the report
    )
    missing, prefix = set(report["missing_keys"]), f"{model.base_model_prefix}."
    body = {name for name, _ in model.base_model.named_parameters()}
    made = (config.architectures or [""])[0]
    if isinstance(head, int) and not made.endswith("ForSequenceClassification"):
        missing = {name for name in missing if name.removeprefix(prefix) in body}
    pooler = {name for name in body if name.startswith("pooler.")}
    if {name.removeprefix(prefix) for name in missing} == pooler:
        missing = set()  # checkpoints of language models have none
        if head is None:
            model.pooler = None
    parts = {name for name, _ in model.base_model.named_children()} - {"pooler"}
    strange = {
        name
        for name in report["unexpected_keys"]
        if name.removeprefix(prefix).split(".")[0] in parts
    }
    for what, names in (
        ("lack", missing),
        ("have another shape than the config says in", {n for n, *_ in report["mismatched_keys"]}),
        ("hold, and the config does not,", strange),
    ):
        if names:
            raise BadInput(f"the weights in {folder} {what} {_shown(names)}")
    return model


def _shown(names: set[str]) -> str:
    first, *more = sorted(names)
    return f"{first!r} and {len(more)} more" if more else repr(first)


def _give_padding(tokenizer, model) -> None:
    """Where a tokenizer has no padding token that the model knows, another stands in, said."""
    known = model.get_input_embeddings().weight.shape[0]
    number = tokenizer.pad_token_id
    if number is None or number >= known:
        spare = (tokenizer.eos_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id, 0)
        number = next(i for i in spare if i is not None and i < known)
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(number)
        warnings.warn(f"no padding token; {tokenizer.pad_token!r} stands in", stacklevel=3)
    if model.config.get_text_config().pad_token_id is None:
        model.config.get_text_config().pad_token_id = number


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
