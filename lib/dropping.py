"""Which blocks to keep, and the smaller model that keeps them.

Paper B removes whole encoder blocks before fine-tuning. A strategy is an entry of
:data:`STRATEGIES`: from the number of blocks and how many shall go it names the blocks that go.
:func:`drop_blocks` takes them out of a model, under any head, and sets the config, so that the
smaller model saves and reloads as any other. Blocks are numbered 0 to n - 1 from the embeddings up.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lib import activations, batches
from lib.encoders import family, quiet, refusal
from lib.errors import BadInput, one_of

Similarity = Sequence[float] | None


def _top(n: int, k: int, _: Similarity) -> range:
    return range(n - k, n)


def _bottom(n: int, k: int, _: Similarity) -> range:
    return range(k)


def _even(n: int, k: int, _: Similarity) -> range:
    return range(2 * (n // 2) - 1, -1, -2)[:k]  # counted from 1, the highest even block first


def _odd(n: int, k: int, _: Similarity) -> range:
    return range(2 * ((n - 1) // 2), -1, -2)[:k]


def _symmetric(n: int, k: int, _: Similarity) -> range:
    begin = (n - k + 1) // 2  # where the ends cannot be equal, one block more stays at the bottom
    return range(begin, begin + k)


def _contribution(n: int, k: int, similarity: Similarity) -> list[int]:
    return most_similar(similarity)[:k]


STRATEGIES: dict[str, Callable[[int, int, Similarity], Sequence[int]]] = {
    "top": _top,
    "bottom": _bottom,
    "even": _even,
    "odd": _odd,
    "symmetric": _symmetric,
    "contribution": _contribution,
}
COUNTS = {"n_layer", "n_layers", "num_layers", "num_hidden_layers"}  # in modules
WINDOWS = {"sliding_window", "local_attention", "attention_chunk_size"}  # tokens, of a config
SHORT, TOKENS = 4, 16  # a window and a text on which a cut proves itself
ALTERNATE = ("even", "odd")  # these can drop half of the blocks at most


def most_similar(similarity: Sequence[float]) -> list[int]:
    """Blocks in the order in which they contribute least; of equal ones the higher comes first."""
    similarity = np.asarray(similarity)
    return [int(block) for block in np.lexsort((-np.arange(len(similarity)), -similarity))]


def most_dropped(strategy: str, n_blocks: int) -> int:
    """How many of ``n_blocks`` blocks a strategy can drop: one always stays."""
    one_of("strategy", strategy, STRATEGIES)
    return n_blocks // 2 if strategy in ALTERNATE else n_blocks - 1


def blocks_to_keep(
    strategy: str, n_blocks: int, k: int, *, similarity: Sequence[float] | None = None
) -> list[int]:
    """Blocks that stay when a strategy drops ``k`` of them :cite:p:`sajjad2022effect`.

    Parameters
    ----------
    strategy
        ``top`` and ``bottom`` drop a run at one end, ``symmetric`` one in the middle. ``even`` and
        ``odd`` drop every second block from the top down, counting blocks from 1.
        ``contribution`` drops the blocks whose output is most similar to their input.
    n_blocks
        Encoder blocks of the model.
    k
        How many go: 0 to ``n_blocks - 1``, for ``even`` and ``odd`` half of the blocks at most.
    similarity : sequence of length n_blocks
        Of each block's input with its output, from :func:`block_similarity`; ``contribution``
        needs it, the others ignore it.

    Returns
    -------
    list of int
        Ascending, numbered from 0.

    Raises
    ------
    BadInput
        For an unknown strategy, a ``k`` out of range, or a missing, wrongly long or undefined
        similarity.

    Examples
    --------
    >>> blocks_to_keep("even", 12, 4)
    [0, 1, 2, 3, 4, 6, 8, 10]
    >>> blocks_to_keep("symmetric", 12, 4)
    [0, 1, 2, 3, 8, 9, 10, 11]
    >>> blocks_to_keep("contribution", 4, 1, similarity=[0.5, 0.9, 0.99, 0.8])
    [0, 1, 3]
    """
    most = most_dropped(strategy, n_blocks)
    if isinstance(k, bool) or not isinstance(k, int) or not 0 <= k <= most:
        raise BadInput(
            f"k {k!r} is not valid: strategy {strategy!r} drops 0 to {most} of {n_blocks} blocks"
        )
    if strategy == "contribution":
        _check_similarity(similarity, n_blocks)
    gone = set(STRATEGIES[strategy](n_blocks, k, similarity))
    return [block for block in range(n_blocks) if block not in gone]


def _check_similarity(similarity: Sequence[float] | None, n_blocks: int) -> None:
    if similarity is None or len(similarity) != n_blocks or np.isnan(similarity).any():
        what = "none" if similarity is None else f"{list(similarity)}"
        raise BadInput(
            f"similarity is {what}; strategy 'contribution' needs one number for each of the "
            f"{n_blocks} blocks"
        )


def n_blocks(model) -> int:
    """Blocks of a model, with or without a head."""
    return model.config.get_text_config().num_hidden_layers


def block_list(model) -> nn.ModuleList:
    """The list that holds a model's blocks, found by its length.

    Raises
    ------
    BadInput
        If there is none (ALBERT uses one block over and over), or several (XLM).
    """
    total, found = n_blocks(model), {}
    for name, module in model.base_model.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if isinstance(module, nn.ModuleList) and len(module) == total and not inside:
            found[name] = module
    if len(found) != 1 or family(model).shared:
        raise BadInput(f"{model.config.model_type} does not keep its {total} blocks in one list")
    return next(iter(found.values()))


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
        apart = _apart(whole, small)
        if apart:
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
        if not isinstance(module, (nn.Dropout, PreTrainedModel)):
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
    first, second = (model(input_ids=ids.to(one.device))[0] for model in (one, other))
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
    frozen: list[nn.Module] = []
    if blocks:
        listed = block_list(model)
        frozen += [listed[block] for block in _checked(blocks, len(listed))]
    if embeddings:
        base = model.base_model
        frozen.append(getattr(base, "embeddings", None) or base.word_embedding)
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
    training = model.training
    try:
        _agree(model.eval(), *_reread(model, folder), "the model cannot be saved")
    except BadInput:
        shutil.rmtree(folder)
        raise
    finally:
        model.train(training)
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


@torch.inference_mode()
def block_similarity(model, tokenizer, encoded: batches.Encoded, **options) -> Tensor:
    r"""Mean cosine between what enters each block and what leaves it.

    .. math:: s_b = \frac{1}{N} \sum_{n} \cos(x_{n, b}, x_{n, b + 1})

    over the rows of some text, words or sentences. A block near 1 hands on what it got.

    Parameters
    ----------
    model, tokenizer, encoded, options
        As for :func:`lib.activations.stream`.

    Returns
    -------
    Tensor of shape (n_blocks,)
        In double precision. One forward pass; memory of one batch.
    """
    total = torch.zeros(n_blocks(model), dtype=torch.float64)
    for rows, _ in activations.stream(model, tokenizer, encoded, **options):
        cosine = nn.functional.cosine_similarity(rows[:, :-1], rows[:, 1:], dim=-1)
        total += cosine.sum(dim=0, dtype=torch.float64).cpu()
    return total / len(encoded.owner)
