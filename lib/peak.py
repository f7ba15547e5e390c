"""Peak memory of one computation, in a process of its own.

The peak of a process is the peak of one computation alone only if nothing else ever ran in it. So
:func:`alone` runs a function in a fresh process that has imported the library and nothing more.
"""

from __future__ import annotations

import multiprocessing
import re
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

# On Linux fresh processes are forked from one that has done the imports and nothing else; elsewhere
# a fork of a process that holds system libraries can fail, and each does its imports anew.
START = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
if sys.platform == "linux":
    START.set_forkserver_preload(["lib.finetune", "transformers.models.bert.modeling_bert"])
MAXRSS = 1024 if sys.platform == "linux" else 1  # bytes in a unit of ru_maxrss


def held() -> int:
    """Most memory this process ever held, in bytes.

    Linux also counts in ``ru_maxrss`` what the parent held when it started this process; VmHWM is
    this process alone.
    """
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s*(\d+) kB", status.read_text())):
        return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS


def alone(call: Callable[..., dict], *given) -> dict:
    """What a function gives when it runs in a fresh process, and the memory it took there.

    Parameters
    ----------
    call
        A function of a module (not of a notebook), giving a dict. The fresh process uses as many
        threads as this one.
    given
        Its arguments; they and the dict are sent from process to process, so they are pickled.

    Returns
    -------
    dict
        What ``call`` gives; ``start_bytes``, held before it ran; ``peak_bytes``, the most ever held
        up to its end; on a GPU ``device_peak_bytes``, the most that torch held there.

    Raises
    ------
    Exception
        Whatever ``call`` raises; ``BrokenProcessPool`` if the process is killed, as for want of
        memory.
    """
    with ProcessPoolExecutor(1, mp_context=START) as pool:
        return pool.submit(_measured, torch.get_num_threads(), call, given).result()


def _measured(threads: int, call: Callable[..., dict], given: tuple) -> dict:
    torch.set_num_threads(threads)
    start = held()
    found = call(*given) | {"start_bytes": start}
    if torch.cuda.is_initialized():
        found["device_peak_bytes"] = torch.cuda.max_memory_allocated()
    return found | {"peak_bytes": held()}
