"""Models: how each is read, refused where it does not fit, and what its structure says.

A model is a name in :data:`~lib.model_table.MODELS`, a Hub id, or a folder; encoders and decoders
of transformers alike. What does not fit its config, or its tokenizer, is refused.
"""

import warnings
from pathlib import Path

import torch
import transformers

from lib.checkpoints import find, local, quiet, read_config, read_tokenizer, refusal, stored_bytes  # noqa: F401  (pages ask for it here)
from lib.errors import BadInput, one_of
from lib.model_table import MODELS
from lib.structure import CLASSIFIER, PADDING, causal, max_tokens, predicts, saved_head, summary  # noqa: F401

PLAIN = {  # of a config: how outputs are returned, and in which pieces they are computed
    "return_dict": True,
    "output_attentions": False,
    "output_hidden_states": False,
    "chunk_size_feed_forward": 0,
}
CLASSES = {  # of transformers
    "model": transformers.AutoModel,
    "sentence classifier": transformers.AutoModelForSequenceClassification,
    "masked language model": transformers.AutoModelForMaskedLM,
    "causal language model": transformers.AutoModelForCausalLM,
}


def title(name: str) -> str:
    """Name of a model as figures show it: the table's title, else the last part of its id."""
    return MODELS[name].title if name in MODELS else Path(name).name


def blocks(name_or_path: str | Path) -> int:
    """Blocks of a model: from the table, else from its config."""
    known = MODELS.get(str(name_or_path))
    return known.blocks if known else read_config(find(name_or_path)).num_hidden_layers


def blocks_at_half(name_or_path: str | Path) -> int:
    """Blocks left of a model when half of them are gone; of an odd number one more stays."""
    n = blocks(name_or_path)
    return n - n // 2


def architecture(name_or_path: str | Path) -> str:
    """The ``model_type`` of a model: from the table, else from its config."""
    known = MODELS.get(str(name_or_path))
    return known.family if known else read_config(find(name_or_path)).model_type


def default_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def n_parameters(module: torch.nn.Module) -> int:
    """Parameters of a model, or of a part of one; what is shared counts once."""
    return sum(parameter.numel() for parameter in module.parameters())


def load(name_or_path: str | Path, *, head=None, device=None, random_seed=None):
    """Read a pretrained model and its tokenizer; see :func:`lib.checkpoints.find` for where.

    Parameters
    ----------
    name_or_path
        A name in :data:`~lib.model_table.MODELS`, a Hub id, or a folder.
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
        As :func:`lib.checkpoints.find`, :func:`~lib.checkpoints.read_config` and
        :func:`~lib.checkpoints.read_tokenizer`, or if the weights are not those that the config
        asks for.
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
    config.update(PLAIN)
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
