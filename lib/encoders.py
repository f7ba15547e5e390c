"""Models: how each is read, refused where it does not fit, and what its structure says.

A model is a name in :data:`~lib.model_table.MODELS`, a Hub id, or a folder; encoders and decoders
of transformers alike. What does not fit its config, or its tokenizer, is refused.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
)
from transformers.models.auto import modeling_auto as auto

from lib.checkpoints import (  # what is asked of a model's files is asked here too
    FILES,
    SHIPPED,
    digest,
    find,
    local,
    quiet,
    read_config,
    read_tokenizer,
    refusal,
    stored_bytes,
    weights_digest,
)
from lib.errors import BadInput, one_of
from lib.model_table import FAMILIES, MODELS, Family

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
CLASSES = {  # of transformers, and the architectures that they know
    "model": (AutoModel, auto.MODEL_MAPPING_NAMES),
    "sentence classifier": (
        AutoModelForSequenceClassification,
        auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    ),
    "masked language model": (AutoModelForMaskedLM, auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES),
    "causal language model": (AutoModelForCausalLM, auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES),
}
MASKED = set(auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES.values())
CAUSAL = set(auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())


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
    decodes = kind in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    masks = kind in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
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
        Draw all weights anew from this seed: the random-init baseline, of the same shape. None
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
    if isinstance(head, int) and causal(config):  # the head looks for the last token before padding
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return model.eval().to(device or default_device()), tokenizer


def _class_for(config, head):
    """The class of transformers that reads a model with a head."""
    made = (config.architectures or ["no head"])[0]
    what = "model" if head is None else "sentence classifier"
    if isinstance(head, str):
        one_of("head", head, ("lm",))
        masked = made in MASKED or made.endswith("ForPreTraining")
        if not masked and made not in CAUSAL:
            raise BadInput(f"the model has no head that predicts words: it is {made}")
        what = "masked language model" if masked else "causal language model"
    kind, known = CLASSES[what]
    if config.model_type not in known:
        raise BadInput(f"transformers has no {what} of architecture {config.model_type!r}")
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
    prefix, made = f"{model.base_model_prefix}.", (config.architectures or [""])[0]
    body = {name for name, _ in model.base_model.named_parameters()}
    missing = {name.removeprefix(prefix) for name in report["missing_keys"]}
    other = {name.removeprefix(prefix) for name, *_ in report["mismatched_keys"]}
    if isinstance(head, int) and not made.endswith("ForSequenceClassification"):
        missing, other = missing & body, other & body  # the head is new
    pooler = {name for name in body if name.startswith("pooler.")}
    if missing == pooler and not made.endswith("ForSequenceClassification"):
        missing = set()  # checkpoints of language models have none
        if head is None and pooler:
            model.pooler = None
    parts = {name for name, _ in model.base_model.named_children()} - {"pooler"}
    extra = {name.removeprefix(prefix) for name in report["unexpected_keys"]}
    extra = {name for name in extra if name.split(".")[0] in parts}
    for what, names in (
        ("lack", missing),
        ("have another shape than the config says in", other),
        ("hold, and the config does not,", extra),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise BadInput(f"the weights in {folder} {what} {min(names)!r}{more}")
    return model


def _give_padding(tokenizer, model) -> None:
    """Where a tokenizer has no padding token that the model knows, another stands in, said."""
    known = model.get_input_embeddings().weight.shape[0]
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= known:
        spare = (tokenizer.eos_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id, 0)
        number = next(i for i in spare if i is not None and i < known)
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(number)
        warnings.warn(f"no padding token; {tokenizer.pad_token!r} stands in", stacklevel=3)


def _random_twin(kind, config, seed: int):
    """A model of the same shape with fresh weights; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind.from_config(config, dtype=torch.float32)


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
