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
    "causal", "default_device", "describe", "digest", "family", "find",
    "first_position", "load", "local",
    "max_tokens", "n_blocks", "n_parameters", "padded_position", "quiet", "read_config",
    "read_tokenizer", "refusal", "stored_bytes", "summary", "title", "weights_digest",
]  # fmt: skip

UNLIMITED = 1 << 20  # tokens; stands for "no limit" where positions are relative (XLNet)
TURNING = ("dynamic", "longrope")  # rotary positions that depend on the longest of a batch
PADDING = {"first": "right", "last": "left"}  # heads read that token by its place
PLAIN = {  # of a config: how outputs are returned, and in which pieces they are computed
    "return_dict": True,
    "output_attentions": False,
    "output_hidden_states": False,
    "chunk_size_feed_forward": 0,
}
CLASSES = {  # of transformers
    "model": AutoModel,
    "sentence classifier": AutoModelForSequenceClassification,
    "masked language model": AutoModelForMaskedLM,
    "causal language model": AutoModelForCausalLM,
}
CLASSIFIER = "ForSequenceClassification"
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
    if kind in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES or family(config).both_ways:
        return bool(getattr(config, "is_decoder", False))
    sees_all = getattr(config, "use_bidirectional_attention", False) in (True, "all")
    return kind in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not sees_all


def without_cache(model) -> dict[str, bool]:
    """What a forward pass is given so that nothing is kept of it; encoders keep nothing."""
    return {"use_cache": False} if causal(model.config) else {}


def predicts(config) -> str | None:
    """The head of words that a checkpoint was saved with: ``masked``, ``causal``, or None."""
    made = (config.architectures or [""])[0]
    if made in MASKED or made.endswith("ForPreTraining") and not family(config).discriminates:
        return "masked"
    return "causal" if made in CAUSAL else None


def saved_head(config) -> str | tuple | None:
    """The head that a checkpoint was saved with, as :func:`load` takes it; None for all others."""
    if predicts(config):
        return "lm"
    if (config.architectures or [""])[0].endswith(CLASSIFIER):
        return tuple(config.id2label.get(number) for number in range(config.num_labels))
    return None


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
        if name.endswith("position_embeddings") and hasattr(module, "padding_idx"):
            return module.padding_idx
    return None


def first_position(model) -> int:
    """Position of the first token: after padding's, or what the model has stored as its own."""
    if (padding := padded_position(model)) is not None:
        return padding + 1
    stored = (b for n, b in model.base_model.named_buffers() if n.endswith("position_ids"))
    return next((int(buffer.min()) for buffer in stored), 0)


def max_tokens(model, tokenizer) -> int:
    """Longest sequence, special tokens counted, that a model and its tokenizer accept."""
    config = model.config.get_text_config()
    positions = getattr(config, "max_position_embeddings", None)
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") in TURNING:  # beyond, a longer sequence would turn those beside it
        positions = rope.get("original_max_position_embeddings") or positions
    if positions is None or positions < 0:
        positions = UNLIMITED
    padding = padded_position(model)
    begin = 0 if padding is None else padding + 1
    return min(tokenizer.model_max_length, positions - begin)


def load(name_or_path: str | Path, *, head=None, device=None, random_seed=None):
    """Read a pretrained model and its tokenizer; see :func:`find` for where.

    Parameters
    ----------
    name_or_path
        A name in :data:`MODELS`, a Hub id, or a folder.
    head
        None for the bare model, ``"lm"`` for the head that predicts words, masked or next ones, as
        the checkpoint was made. For a sequence classification head the names of its classes, ()
        for a number: a head that was saved for others, or none, is drawn anew from torch's global
        generator; seed it for a repeatable one. A number of outputs takes any saved head that has
        as many. No other weight may be missing.
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
    config, tokenizer = read_config(folder), read_tokenizer(folder)
    kind, classifies = _class_for(config, head), isinstance(head, (int, tuple))
    left = classifies and _set_outputs(config, head, folder)
    new = left or classifies and not isinstance(saved_head(config), tuple)
    if classifies:
        tokenizer.padding_side = PADDING[summary(config)]
    elif head == "lm" and predicts(config) == "masked" and tokenizer.mask_token_id is None:
        raise BadInput(f"the tokenizer of {folder} has no token that hides words")
    for name, value in PLAIN.items():
        setattr(config, name, value)
    with quiet(), refusal(f"the model in {folder} cannot be read"):
        if random_seed is None:
            model = _read(kind, config, folder, new=new)
            if left:
                _draw_head(model, kind, config)
        else:
            model = _random_twin(kind, config, random_seed)
    _give_padding(tokenizer, model)
    if classifies and causal(config):  # the head looks for the last token before padding
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return model.eval().to(device or default_device()), tokenizer


def _set_outputs(config, head: int | tuple, folder: Path) -> bool:
    """Give a config the outputs of a classification head; whether one saved for others lies there.

    Names, not numbers, tell whether a saved head is the one asked for.
    """
    saved, names = saved_head(config), head if isinstance(head, tuple) else None
    config.num_labels = head if names is None else len(names) or 1
    if names:
        config.id2label = dict(enumerate(names))
        config.label2id = {name: number for number, name in enumerate(names)}
    left = isinstance(saved, tuple) and names not in (None, saved)
    if left:
        warnings.warn(f"the head of {folder} is for {saved}; a new one is drawn", stacklevel=3)
    return left


def _class_for(config, head):
    """The class of transformers that reads a model with a head."""
    what = "model" if head is None else "sentence classifier"
    if isinstance(head, str):
        one_of("head", head, ("lm",))
        made = (config.architectures or ["no head"])[0]
        if not predicts(config):
            raise BadInput(f"the model has no head that predicts words: it is {made}")
        if (predicts(config) == "causal") > causal(config) and config.model_type != "xlnet":
            raise BadInput(f"{made} predicts next words, and by its config each token sees them")
        what = f"{predicts(config)} language model"
    if type(config) not in CLASSES[what]._model_mapping:
        raise BadInput(f"transformers has no {what} of architecture {config.model_type!r}")
    return CLASSES[what]


def _read(kind, config, folder: Path, *, new: bool):
    """The weights of a folder, after transformers' report on what did not fit was heeded.

    ``new``: a head that is missing or of another shape is drawn.
    """
    model, report = kind.from_pretrained(
        folder,
        config=config,
        local_files_only=True,
        use_safetensors=True,
        dtype="float32",
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are in the report
    )
    prefix = f"{model.base_model_prefix}."
    body = {name for name, _ in model.base_model.named_parameters()}
    missing = {name.removeprefix(prefix) for name in report["missing_keys"]}
    other = {name.removeprefix(prefix) for name, *_ in report["mismatched_keys"]}
    if new:
        missing, other = missing & body, other & body
    pooler, made = {n for n in body if n.startswith("pooler.")}, (config.architectures or [""])[0]
    if missing == pooler and not made.endswith(CLASSIFIER):
        missing = set()  # checkpoints of language models have none
        if model is model.base_model and pooler:
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


def _draw_head(model, kind, config) -> None:
    """Another head in place of the one that was read; needs the memory of a second model."""
    fresh = kind.from_config(config, dtype=torch.float32)
    body = {f"{model.base_model_prefix}.{name}" for name in model.base_model.state_dict()}
    head = {name: value for name, value in fresh.state_dict().items() if name not in body}
    model.load_state_dict(head, strict=False)


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
