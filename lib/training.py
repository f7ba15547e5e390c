"""The loop that trains: the papers' recipe, its updates computed at a fraction of the cost.

What is learned is an objective: :mod:`lib.finetune` has labels, :mod:`lib.distil` a teacher.
A batch holds sentences of like length and is padded to the longest of them, where the released
loop pads all to 128 tokens. Every random draw follows from the seed and the number of the update,
so a training that was stopped goes on from its checkpoint to the same weights.

Memory: weights, gradients and AdamW's two moments, 16 bytes a parameter, and the activations of one
batch.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from lib import activations, batches
from lib.errors import BadInput, Diverged
from lib.recipes import Recipe, plan
from lib.words import Words

CHECKPOINT_SECONDS = 120
Objective = Callable[[dict[str, Tensor], batches.Batch], Tensor]


@contextmanager
def repeatable(device: torch.device):
    """Let draws inside depend on the seeds set inside alone; leave torch as it was.

    New tensors are not filled first, as torch would in this mode to find faults: it costs some per
    cent of an update and changes no number.
    """
    strict, checks = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic
    filled = checks.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.use_deterministic_algorithms(True, warn_only=True)
        checks.fill_uninitialized_memory = False
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict)
            checks.fill_uninitialized_memory = filled


class Training:
    """State of one training: what an update changes, and what a checkpoint holds.

    ``objective(inputs, batch)`` is the mean loss over the sequences of a batch, ``inputs`` being
    what the model that learns is given; ``told`` is what else decides the result.
    """

    def __init__(
        self,
        model,
        tokenizer,
        encoded: batches.Encoded,
        objective: Objective,
        *,
        recipe: Recipe,
        seed: int,
        told: Sequence = (),
    ):
        self.model, self.tokenizer, self.recipe, self.seed = model, tokenizer, recipe, seed
        self.encoded, self.objective, self.told = encoded, objective, list(told)
        self.words = Words(model, encoded.ids, tokenizer.pad_token_id)
        self.plan = plan([len(ids) for ids in encoded.ids], recipe, seed)
        self.optimizer = _optimizer(model, recipe)
        self.losses = np.zeros(len(self.plan))
        self.log: list[dict] = []  # what was watched, see finish
        self.done = 0
        self.pieces = 1  # a batch that does not fit the device is computed in this many

    def update(self) -> None:
        """One step of the recipe."""
        group = self.plan[self.done]
        torch.manual_seed((self.seed << 20) + self.done)  # dropout of this step, resumed or not
        self.losses[self.done] = self.gradients(group)
        if not np.isfinite(self.losses[self.done]):
            raise Diverged(
                f"the loss is {self.losses[self.done]} at update {self.done} of {len(self.plan)} "
                f"(learning rate {self.recipe.learning_rate}); lower the rate or add warmup"
            )
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        for weights in self.optimizer.param_groups:
            weights["lr"] = self.recipe.rate(self.done, len(self.plan))
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.done += 1

    def gradients(self, group: np.ndarray) -> float:
        """Gradients of a batch, in ever smaller pieces while it does not fit the device."""
        while True:
            try:
                return sum(
                    self._piece(p, len(group))
                    for p in np.array_split(group, min(self.pieces, len(group)))
                )
            except torch.OutOfMemoryError:
                self.optimizer.zero_grad()
                self.pieces *= 2
                if self.pieces > len(group):
                    raise BadInput(
                        f"one sentence of {self.recipe.max_length} tokens does not fit the "
                        "device's memory; lower max_length, drop more blocks or use the CPU"
                    ) from None
                warnings.warn(
                    f"a batch of {len(group)} does not fit the device's memory; it is computed in "
                    f"{self.pieces} pieces whose gradients are added up",
                    stacklevel=2,
                )

    def _piece(self, piece: np.ndarray, size: int) -> float:
        """Add the gradients of one piece of a batch of ``size``; its part of the batch's loss."""
        device = self.model.device
        batch = batches.collate(self.encoded, piece, self.model, self.tokenizer)
        known = self.words.number[batch.inputs["input_ids"]].to(device)
        batch = activations.to_device(batch, device)
        short = products(device, self.recipe.precision) == "bfloat16"
        with torch.autocast(device.type, torch.bfloat16, enabled=short):
            value = self.objective(batch.inputs | {"input_ids": known}, batch)
        value = value * (len(piece) / size)
        value.backward()
        return value.item()

    def save(self, file: Path) -> None:
        """Write weights, moments and the place in the plan; whole, or not at all."""
        tensors = {f"model.{name}": value for name, value in _tensors(self.model).items()}
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
        tensors["losses"] = torch.from_numpy(self.losses)
        about = {"done": str(self.done), "pieces": str(self.pieces), "run": self.identity}
        about["log"] = json.dumps(self.log)
        fresh = file.with_name(f".{file.name}.{os.getpid()}")
        save_file({name: value.contiguous() for name, value in tensors.items()}, fresh, about)
        os.replace(fresh, file)

    def restore(self, file: Path) -> None:
        """Go on from a checkpoint of the same run; refuse one of another."""
        with safe_open(file, "pt") as stored:
            about = stored.metadata()
            if about["run"] != self.identity:
                raise BadInput(
                    f"checkpoint {file} belongs to another run; remove it or name another"
                )
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        self.done, self.pieces = int(about["done"]), int(about["pieces"])
        self.log = json.loads(about["log"])
        self.losses = tensors["losses"].numpy()
        stored, model = _below("model.", tensors), _tensors(self.model)
        for name in model:
            model[name].copy_(stored[name])
        state = self.optimizer.state_dict()
        for name, value in _below("optimizer.", tensors).items():
            number, key = name.split(".")
            state["state"].setdefault(int(number), {})[key] = value
        self.optimizer.load_state_dict(state)

    def account(self) -> dict:
        """Counts of what was trained on, the loss of each epoch, and what had to be done."""
        lengths = np.array([len(ids) for ids in self.encoded.ids])
        notes = dict(self.encoded.notes)
        notes |= {"pieces of a batch that did not fit": self.pieces} if self.pieces > 1 else {}
        return {
            "updates": len(self.plan),
            "examples": len(lengths),
            "tokens": int(sum(lengths[group].sum() for group in self.plan)),
            "padded_tokens": int(sum(len(group) * lengths[group].max() for group in self.plan)),
            "loss": [part.mean() for part in np.array_split(self.losses, self.recipe.epochs)],
            "notes": notes,
        }

    @cached_property
    def identity(self) -> str:
        """Digest of what decides the result: recipe, seed, text, shape trained, and more told."""
        shape = [tuple(p.shape) for p in self.model.parameters()]
        digest = hashlib.sha256(
            json.dumps([asdict(self.recipe), self.seed, self.told, shape]).encode()
        )
        for ids in self.encoded.ids:
            digest.update(np.int64(len(ids)).tobytes() + np.asarray(ids, np.int64).tobytes())
        return digest.hexdigest()


def _tensors(model) -> dict[str, Tensor]:
    """Weights and buffers of a model; what is shared comes once."""
    named = itertools.chain(model.named_parameters(), model.named_buffers())
    return {name: tensor.detach() for name, tensor in named}


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): value for n, value in tensors.items() if n.startswith(prefix)}


def _optimizer(model, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW, all weights in one fused step; biases and normalisation are never decayed."""
    learned = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learned if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, eps=recipe.epsilon, fused=True)


def products(device: torch.device, precision: str) -> str:
    """Precision in which matrices are multiplied; weights and sums are float32 in any case."""
    if precision != "best":
        return precision
    able = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if able else "float32"


def finish(
    state: Training,
    checkpoint: str | Path | None = None,
    progress: bool = False,
    watch: Callable[[int], dict | None] | None = None,
) -> dict:
    """Make all updates of a training that are left, and give its account.

    Parameters
    ----------
    checkpoint
        File that is written every two minutes, gone on from if it is there, and removed at the end.
    progress
        Show a bar that counts updates.
    watch
        Given the number of updates made, what to note of the model then; None for nothing.

    Returns
    -------
    dict
        Counts (``updates``, ``examples``, ``tokens``, ``padded_tokens``), mean ``loss`` of each
        epoch, and ``notes``: sentences cut, pieces of a batch that did not fit. With ``watch`` also
        ``log``, what it noted.

    Raises
    ------
    Diverged
        If the loss is not a number.
    BadInput
        If a checkpoint is another run's, or one sentence exceeds the memory.
    """
    model, written, checkpoint = state.model, time.monotonic(), checkpoint and Path(checkpoint)
    model.train()
    try:
        if checkpoint and checkpoint.exists():
            state.restore(checkpoint)
        with repeatable(model.device), _bar(state, progress) as bar:
            while state.done < len(state.plan):
                state.update()
                bar.update()
                _note(state, watch)
                if checkpoint and time.monotonic() - written > CHECKPOINT_SECONDS:
                    state.save(checkpoint)
                    written = time.monotonic()
    finally:
        state.words.put_back()
        model.eval()
    if checkpoint:
        checkpoint.unlink(missing_ok=True)
    return state.account() | ({"log": state.log} if watch else {})


def _note(state: Training, watch: Callable[[int], dict | None] | None) -> None:
    """Keep what is to be noted of the model now."""
    if watch and (seen := watch(state.done)):
        state.log.append(seen)


def _bar(state: Training, progress: bool) -> tqdm:
    done, total = state.done, len(state.plan)
    return tqdm(total=total, initial=done, unit="update", disable=not progress, leave=False)
