"""Structure: what a model and its config say of blocks, positions, heads, and who sees whom.

Found by the structure that transformers gives all its models; :data:`lib.model_table.FAMILIES` says
what it hides.
"""

import torch
from transformers.models.auto import modeling_auto as auto

from lib.errors import BadInput
from lib.model_table import FAMILIES, Family

UNLIMITED = 1 << 20  # tokens; stands for "no limit" where positions are relative (XLNet)
TURNING = ("dynamic", "longrope")  # rotary positions that depend on the longest of a batch
PADDING = {"first": "right", "last": "left"}  # heads read that token by its place
CLASSIFIER = "ForSequenceClassification"
MASKED = set(auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES.values())
CAUSAL = set(auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())


def family(model_or_config) -> Family:
    """What :data:`~lib.model_table.FAMILIES` has for a model or config; else the default."""
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
    """The head a checkpoint was saved with, as :func:`lib.encoders.load` takes it, or None."""
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
    """Position of the first token where padding has none: what the model has stored, else 0."""
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
