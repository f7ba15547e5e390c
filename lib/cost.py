"""What a model costs at every depth: parameters, operations, disk, time and memory.

Times are taken in one process, all depths in turn (A B C A B C ...) after an unmeasured round, so
that a busy moment hits all alike; the smaller models share the weights of the whole one. Peak
memory is that of a fresh process per depth, which reads a saved model.
"""

import inspect
import multiprocessing
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForSequenceClassification, PretrainedConfig

from lib import batches, corpora, dropping, encoders, finetune
from lib.errors import BadInput
from lib.structure import family
from lib.training import Recipe, plan

SEED = 0  # of the order of the batches; it changes no result that is kept
SHARED = "encoder.albert_layer_groups"  # where ALBERT keeps its one block
WORK = ("inference", "tuning")
Depths = Mapping[Hashable, Sequence[int]]  # name of a depth: the blocks it keeps
Seconds = dict[Hashable, list[float]]  # of every round, by name

# On Linux fresh processes are forked from one that has done the imports and nothing else; elsewhere
# a fork of a process that holds system libraries can fail, and each does its imports anew.
LINUX = sys.platform == "linux"
START = multiprocessing.get_context("forkserver" if LINUX else "spawn")
START.set_forkserver_preload(["lib.finetune", "transformers.models.bert.modeling_bert"])


def timed(call: Callable, device: torch.device) -> float:
    """Seconds of a call; work still running on the device is waited for."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda _: None
    wait(device)
    begin = time.perf_counter()
    call()
    wait(device)
    return time.perf_counter() - begin


def in_turn(ways: Mapping[Hashable, Callable[[], float]], repeats: int) -> Seconds:
    """Seconds of each way, run in turn, after each ran once unmeasured.

    Parameters
    ----------
    ways
        Name of a way: a function that runs it and gives the seconds that count.
    repeats
        Rounds that are measured.

    Examples
    --------
    >>> in_turn({"short": lambda: 1.0, "long": lambda: 2.0}, repeats=2)
    {'short': [1.0, 1.0], 'long': [2.0, 2.0]}
    """
    for way in ways.values():
        way()
    rounds = [{name: way() for name, way in ways.items()} for _ in range(repeats)]
    return {name: [seconds[name] for seconds in rounds] for name in ways}


def parameters(model) -> dict[str, int]:
    """Parameters of a model: all of them, its word embeddings', its blocks'.

    The first also counts position embeddings, normalisation, pooler and head.
    """
    shared = family(model).shared
    blocks = model.base_model.get_submodule(SHARED) if shared else dropping.block_list(model)
    return {
        "parameters": encoders.n_parameters(model),
        "word_parameters": encoders.n_parameters(model.get_input_embeddings()),
        "block_parameters": encoders.n_parameters(blocks),
    }


def counted(config: PretrainedConfig) -> dict[str, int]:
    """:func:`parameters` of a classifier of some shape, from its config; no weight is made."""
    with torch.device("meta"):
        return parameters(AutoModelForSequenceClassification.from_config(config))


def operations(model, shapes: Iterable[tuple[int, int]]) -> dict[str, int]:
    r"""Multiply-adds of a forward pass over padded batches, inside the blocks and outside.

    The products that torch runs are counted, of the whole model and of one block left. Lookups,
    normalisation and softmax are not. An update of fine-tuning takes three times as many:
    gradients are needed for the inputs of every product and for its weights.

    Parameters
    ----------
    model
        With a head.
    shapes
        (B, T) of every batch.
    """
    n, shapes = dropping.n_blocks(model), list(shapes)
    whole, one = (_products(dropping.smaller(model, keep), shapes) for keep in (range(n), [0]))
    block = (whole - one) // max(n - 1, 1)
    return {"blocks": n * block, "rest": whole - n * block}


def _products(model, shapes: Sequence[tuple[int, int]]) -> int:
    taken = inspect.signature(model.forward).parameters
    model.set_attn_implementation("eager")  # fused attention is not counted
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        for shape in shapes:
            ids = torch.ones(shape, dtype=torch.long, device=model.device)
            given = {"input_ids": ids, "token_type_ids": torch.zeros_like(ids)}
            model(**{name: value for name, value in given.items() if name in taken})
    return counter.get_total_flops() // 2


def predicted(known: Mapping[str, int], left: float) -> float:
    """Share of the whole model's operations when a share ``left`` of its blocks stays.

    Examples
    --------
    >>> predicted({"blocks": 90, "rest": 10}, 0.5)
    0.55
    """
    whole = known["blocks"] + known["rest"]
    return (known["blocks"] * left + known["rest"]) / whole


def shapes(model, tokenizer, task: corpora.Task, recipe: Recipe) -> dict[str, list[tuple]]:
    """(B, T) of the batches of one pass of ``inference`` and of ``tuning`` over a task."""
    encoded = finetune.encode(model, tokenizer, task.train, recipe.max_length)
    lengths = [len(ids) for ids in encoded.ids]
    size = batches.batch_size(model.device)
    groups = batches.bucket(lengths, size), plan(lengths, recipe, SEED)[1:]
    found = [[(len(group), max(lengths[i] for i in group)) for group in work] for work in groups]
    return dict(zip(WORK, found, strict=True))


def inference(model, tokenizer, encoded: batches.Encoded) -> float:
    """Seconds of a pass over sentences that are encoded already, in batches of like length."""
    return timed(lambda: finetune.logits(model, tokenizer, encoded), model.device)


def tuning(model, tokenizer, task: corpora.Task, recipe: Recipe) -> float:
    """Seconds of the updates of a recipe but the first, which also makes AdamW's moments.

    The weights are changed; reading the text is not counted.

    Raises
    ------
    BadInput
        If the task's training part makes one update only.
    """
    if len(task.train) <= recipe.batch:
        raise BadInput(
            f"{len(task.train)} sentences in batches of {recipe.batch} make one update; "
            "at least two are needed, as the first is not timed"
        )
    state = finetune.fine_tuning(model, tokenizer, task, recipe, SEED)
    with state.running():
        state.update()
        return timed(lambda: [state.update() for _ in state.plan[1:]], model.device)


def by_depth(
    model: str | Path, task: corpora.Task, keeps: Depths, recipe: Recipe, *, repeats: int
) -> dict[Hashable, dict]:
    """Everything that is measured of a model at some depths, name of the depth by name.

    Memory: one model, and one training at a time.

    Parameters
    ----------
    model
        As for :func:`lib.encoders.load`.
    task
        Its ``train`` part is read and trained on.
    keeps
        Name of a depth: the blocks it keeps.
    repeats
        Rounds that are measured.

    Returns
    -------
    dict of dict
        Of each depth :func:`size`, ``inference_seconds`` and ``tuning_seconds`` (one per round),
        the :func:`operations` of both on the *whole* model, ``sentences``, ``updates`` and padded
        ``tokens``.
    """
    whole, tokenizer = finetune.begin(model, task, seed=SEED)
    encoded, ways = finetune.encode(whole, tokenizer, task.train, recipe.max_length), {}
    cuts = {name: dropping.smaller(whole, keep) for name, keep in keeps.items()}
    for name, cut in cuts.items():
        ways["inference", name] = partial(inference, cut, tokenizer, encoded)
        ways["tuning", name] = partial(tuning, cut, tokenizer, task, recipe)
    seconds, read = in_turn(ways, repeats), shapes(whole, tokenizer, task, recipe)
    known = {f"{work}_operations": operations(whole, read[work]) for work in WORK}
    known |= {"sentences": len(task.train), "updates": len(read["tuning"])}
    known["tokens"] = {work: sum(b * t for b, t in read[work]) for work in WORK}
    return {
        name: size(cut, tokenizer, task, recipe)
        | known
        | {f"{work}_seconds": seconds[work, name] for work in WORK}
        for name, cut in cuts.items()
    }


def size(model, tokenizer, task: corpora.Task, recipe: Recipe) -> dict:
    """What a model holds: parameters, bytes on disk, peak memory.

    Returns
    -------
    dict
        ``blocks``, :func:`parameters`, ``disk_bytes`` (its safetensors files) and ``memory``, bytes
        of a fresh process: ``start`` (Python and its libraries), and the most held until it has
        read the saved model and made a pass of ``inference``, then of ``tuning``. On a GPU these
        count what torch holds there, and ``start`` is 0.
    """
    with tempfile.TemporaryDirectory() as folder:
        stored = encoders.stored_bytes(dropping.save(model, tokenizer, Path(folder)))
        found = alone(_memory, folder, task, recipe)
    about = {"disk_bytes": stored, "memory": {name: found[name] for name in ("start", *WORK)}}
    return {"blocks": dropping.n_blocks(model)} | parameters(model) | about


def _memory(folder: str, task: corpora.Task, recipe: Recipe) -> dict[str, int]:
    most = torch.cuda.max_memory_allocated if torch.cuda.is_available() else held
    found = {"start": most()}
    model, tokenizer = encoders.load(folder, head=tuple(task.labels))
    inference(model, tokenizer, finetune.encode(model, tokenizer, task.train, recipe.max_length))
    found["inference"] = most()
    tuning(model, tokenizer, task, recipe)
    return found | {"tuning": most()}


def held() -> int:
    """Most memory this process ever held, in bytes.

    Linux also counts in ``ru_maxrss`` what the parent held; VmHWM is this process alone.
    """
    if LINUX:
        status = Path("/proc/self/status").read_text()
        return 1024 * int(re.search(r"VmHWM:\s*(\d+) kB", status)[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def alone(call: Callable[..., dict], *given) -> dict:
    """What a function gives when it runs in a fresh process, and the memory it took there.

    ``call`` is a function of a module (not of a notebook), giving a dict; it and its arguments are
    pickled. What it raises is raised here, ``BrokenProcessPool`` if the process is killed.

    Returns
    -------
    dict
        What ``call`` gives; ``start_bytes``, held before; ``peak_bytes``, the most held up to its
        end, what lies on a GPU not counted.
    """
    with ProcessPoolExecutor(1, mp_context=START) as pool:
        return pool.submit(_measured, torch.get_num_threads(), call, given).result()


def _measured(threads: int, call: Callable[..., dict], given: tuple) -> dict:
    torch.set_num_threads(threads)
    start = held()
    return call(*given) | {"start_bytes": start, "peak_bytes": held()}
