"""Dropping blocks: the smaller model that keeps some of them, and the proof that it is one.

:func:`drop_blocks` takes blocks out of a model of transformers, under any head, and sets the
config, so that the smaller model saves and reloads as any other. Which ones is a matter of
:mod:`lib.strategies` and :mod:`lib.criteria`. Blocks are numbered 0 to n - 1, 0 being the lowest.
"""

import copy
import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
import transformers
from torch import Tensor, nn

from lib.checkpoints import quiet, refusal
from lib.criteria import block_similarity, criteria  # noqa: F401  (pages ask for them here)
from lib.errors import BadInput
from lib.strategies import (  # noqa: F401
    PAPER_STRATEGIES,
    STRATEGIES,
    blocks_to_keep,
    depths,
    greedy,
    most_dropped,
    most_similar,
)
from lib.structure import block_list, family, n_blocks, without_cache

COUNTS = {"n_layer", "n_layers", "num_layers", "num_hidden_layers"}  # in modules
WINDOWS = {"sliding_window", "local_attention", "attention_chunk_size"}  # tokens, of a config
SHORT, TOKENS = 4, 16  # a window and a text on which a cut proves itself


def drop_blocks(model, keep: Sequence[int], *, check: bool = True):
    """Take all blocks but some out of a model, in place, and set its config accordingly.

    Embeddings, pooler and head stay as they are, as in the released code. The freed weights are
    gone from memory; ``save_pretrained`` writes a model that plain transformers reads at its new
    depth. The list of blocks, what its config holds for each block (``layer_types``), and what
    numbers itself are found by structure. ALBERT uses one block over and over: there only the
    number of blocks kept matters.

    Parameters
    ----------
    model
        Any of transformers whose blocks are one list, bare or under any head.
    keep
        Numbers of the blocks that stay, 0 being the lowest; they keep the model's order.
    check
        Have the cut prove itself on a few tokens: it must be the model that skips the other
        blocks, before and after it is written and read again. Costs three short forward passes.

    Returns
    -------
    The same model.

    Raises
    ------
    BadInput
        If a block is named twice or does not exist, if none is left, or if the cut does not prove
        itself; the model is then as it was.
    """
    keep = _checked(keep, n_blocks(model))
    if check and len(keep) < n_blocks(model):
        with refusal(f"a cut of {model.config.model_type} cannot be checked"):
            prove(model, keep)
    return _cut(model, keep)


def _cut(model, keep: list[int]):
    total, shared = n_blocks(model), family(model).shared
    if shared and getattr(model.config, "num_hidden_groups", 1) > 1:
        raise BadInput("blocks of several shared groups cannot be dropped; one group can")
    blocks = nn.ModuleList() if shared else block_list(model)
    numbered = _numbers(blocks)
    for block in sorted(set(range(len(blocks))) - set(keep), reverse=True):
        del blocks[block]
    for number, block in enumerate(blocks):
        for path, name in numbered:
            with suppress(AttributeError):  # not every block has every module
                setattr(block.get_submodule(path), name, number)
    for config in _configs(model, total):
        for name, value in list(vars(config).items()):
            if _by_block(name, value, total):
                setattr(config, name, [value[block] for block in keep])
        if spelt := family(config).spelt:
            setattr(config, spelt[0], [[getattr(config, spelt[1]), 1]])
        config.num_hidden_layers = len(keep)
    for module in model.modules():  # XLNet and DistilBERT count their blocks in a module too
        for count in COUNTS & vars(module).keys():
            setattr(module, count, len(keep))
    return model


def _by_block(name: str, value, total: int) -> bool:
    """Whether an entry of a config is a list with one value for each block."""
    listed = isinstance(value, (list, tuple)) and len(value) == total
    return listed and name != "architectures" and not name.endswith("token_id")


def _numbers(blocks: nn.ModuleList) -> set[tuple[str, str]]:
    """Module path and attribute of what holds each block's own number, such as ``layer_idx``."""
    right: dict[tuple[str, str], bool] = {}
    for number, block in enumerate(blocks):
        for path, module in block.named_modules():
            for name, value in vars(module).items():
                if type(value) is int:
                    right[path, name] = right.get((path, name), True) and value == number
    return {place for place, always in right.items() if always}


def _configs(model, total: int) -> list:
    """The configs in a model that count its blocks; often one that all modules share."""
    held = {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}
    return [c for c in held.values() if getattr(c, "num_hidden_layers", None) == total]


def smaller(model, keep: Sequence[int]):
    """A second model with some of the blocks; it shares the weights of the first.

    No memory beyond the first model's. Deep-copy it before one of the two is trained.
    """
    shared = {id(weight): weight for weight in (*model.parameters(), *model.buffers())}
    return _cut(copy.deepcopy(model, shared), _checked(keep, n_blocks(model)))


# ---- each cut proves itself --------------------------------------------------------------------


def prove(model, keep: Sequence[int]) -> None:
    """Refuse a cut that is not the model that skips the other blocks, also when read again.

    On a few tokens, with weights shared and windows of attention made so short that they matter.
    """
    whole, small = (smaller(model, kept).eval() for kept in (range(n_blocks(model)), keep))
    gone = sorted(set(range(n_blocks(model))) - set(keep))
    _agree(small, *_reread(small, None, small.state_dict()), f"blocks {gone} cannot be dropped")
    if not family(model).shared:
        blocks = block_list(whole)
        for block in gone:
            blocks[block].register_forward_hook(_hand_on, with_kwargs=True)
        for shortened in (whole, small):
            _shorten(shortened)
        if apart := _apart(whole, small):
            raise BadInput(
                f"blocks {gone} cannot be dropped: what is left differs by {apart:.2g} from the "
                f"model that skips them, for in {model.config.model_type} something depends on "
                "the place of a block"
            )


def _hand_on(block, args: tuple, kwargs: dict, output):
    """Forward hook: what entered a block leaves it."""
    entered = args[0] if args else kwargs["hidden_states"]
    return entered if isinstance(output, Tensor) else (entered, *output[1:])


def _reread(model, folder: Path | None, weights: dict | None = None):
    """A model as it is read back, from a folder or from its weights, and what did not fit."""
    config = type(model.config).from_dict(copy.deepcopy(model.config.to_dict()))
    with quiet(), torch.random.fork_rng(devices=[]):
        again, report = type(model).from_pretrained(
            folder,
            config=None if folder else config,
            state_dict=weights,
            dtype=model.dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    return again.eval().to(model.device), report


def _agree(model, again, report: dict, refused: str) -> None:
    """Refuse a model that, read again, is another."""
    unfit = [*report["missing_keys"], *report["unexpected_keys"]]
    unfit += [name for name, *_ in report["mismatched_keys"]]
    ours, theirs = _settings(model), _settings(again)
    unfit += [name for name, value in theirs.items() if ours.get(name) != value]
    if unfit:
        raise BadInput(f"{refused}: read again, the model would have another {min(unfit)}")
    for shortened in (model := smaller(model, range(n_blocks(model))).eval(), again):
        _shorten(shortened)
    if apart := _apart(model, again):
        raise BadInput(f"{refused}: read again, the model would differ by {apart:.2g}")


def _settings(model) -> dict[str, object]:
    """What the modules of a model hold besides weights: plain numbers and words, fixed tensors."""
    found: dict[str, object] = {}
    for path, module in model.named_modules():
        found[path] = type(module).__name__
        if not isinstance(module, (nn.Dropout, transformers.PreTrainedModel)):
            plain = {n: v for n, v in vars(module).items() if isinstance(v, (int, float, str))}
            found |= {f"{path}.{n}": v for n, v in plain.items() if n[0] != "_" and n != "training"}
        for name, buffer in module.named_buffers(recurse=False):
            found[f"{path}.{name}"] = buffer.float().cpu().numpy().tobytes()
    return found


def _shorten(model) -> None:
    """Make windows of attention shorter than the few tokens; of a model of its own."""
    for module in model.modules():
        for name in WINDOWS & vars(getattr(module, "config", object)).keys():
            if isinstance(getattr(module.config, name), int):
                setattr(module.config, name, SHORT)


@torch.inference_mode()
def _apart(one, other) -> float:
    """Largest difference of two models on a few tokens, 0 where it is rounding."""
    vocabulary = one.get_input_embeddings().weight.shape[0]
    ids = torch.randint(vocabulary, (1, TOKENS), generator=torch.Generator().manual_seed(0))
    options = without_cache(one)
    first, second = (model(input_ids=ids.to(one.device), **options)[0] for model in (one, other))
    apart = (first - second).abs().max().item()
    least = 16 * torch.finfo(first.dtype).eps * first.abs().max().item()
    return 0.0 if apart <= least else apart


def _checked(blocks: Sequence[int], total: int) -> list[int]:
    """Block numbers in ascending order, or a sentence that says which are wrong."""
    blocks = [int(block) if isinstance(block, np.integer) else block for block in blocks]
    wrong = [b for b in blocks if isinstance(b, bool) or not isinstance(b, int)]
    wrong = wrong or [b for b in blocks if not 0 <= b < total]
    if wrong:
        raise BadInput(f"blocks {wrong} do not exist; this model has blocks 0 to {total - 1}")
    twice = sorted({b for b in blocks if blocks.count(b) > 1})
    if twice:
        raise BadInput(
            f"blocks {twice} are named twice; each of 0 to {total - 1} may be named once"
        )
    if not blocks:
        raise BadInput(f"no block would be left; keep at least one of 0 to {total - 1}")
    return sorted(blocks)


def freeze(model, blocks: Sequence[int] = (), *, embeddings: bool = False):
    """Keep some blocks, and the embeddings if asked, from being trained; as in the released code.

    Numbers are those of the model as it is given: freeze before dropping, as the released code
    does, or name the blocks as they are numbered afterwards.

    Parameters
    ----------
    blocks
        Numbers of blocks, 0 being the lowest.
    embeddings
        Freeze all of the embeddings (XLNet has word embeddings only).
    """
    listed = _checked(blocks, n_blocks(model)) if blocks else []
    frozen = [block_list(model)[block] for block in listed]
    if embeddings:
        base = model.base_model
        every = [module for module in base.modules() if isinstance(module, torch.nn.Embedding)]
        frozen += [base.embeddings] if hasattr(base, "embeddings") else every
    for module in frozen:
        module.requires_grad_(False)
    return model


def save(model, tokenizer, folder: str | Path) -> Path:
    """Write a model and its tokenizer where plain transformers finds them; safetensors only.

    What was written is read again and compared; the files that tell sentence-transformers how to
    pool come with a bare model.

    Raises
    ------
    BadInput
        If the folder is not empty, or if the model read again would be another; then nothing stays.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise BadInput(f"folder {folder} is not empty; name a new one")
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    if model.base_model is model:
        _keep_modules(Path(model.name_or_path), folder)
    try:
        _agree(model, *_reread(model, folder), "the model cannot be saved")
    except BadInput:
        shutil.rmtree(folder)
        raise
    return folder


def _keep_modules(source: Path, folder: Path) -> None:
    """Copy what sentence-transformers keeps beside a model: its modules, and their folders."""
    listed = source / "modules.json"
    if not listed.is_file():
        return
    for file in (listed, *source.glob("*sentence*.json")):
        shutil.copy(file, folder)
    for module in json.loads(listed.read_text(encoding="utf-8")):
        if module["path"] and (source / module["path"]).is_dir():
            shutil.copytree(source / module["path"], folder / module["path"])
