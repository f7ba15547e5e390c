"""The loop that trains: the papers' recipe as data, its updates at a fraction of the cost.

A batch is padded to its longest sentence (the released loop: to 128 tokens). Draws follow from seed
and update, so a stopped training goes on to the same weights. Memory: 16 bytes a parameter.
"""

import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from lib import batches, encoders
from lib.errors import BadInput, Diverged, one_of, within

CHECKPOINT_SECONDS = 120
POOL = 64  # batches whose sentences are sorted by length together, then shuffled again
PARTS = (("train",), ("train", "dev"))  # the second as in the papers: nothing is held out
PRECISIONS = ("best", "float32", "bfloat16")


@dataclass(frozen=True)
class Recipe:
    """How a model is fine-tuned; the defaults are the released code's."""

    learning_rate: float = 5e-5
    epochs: int = 3
    batch: int = 8  # sentences or pairs of one update, whatever the device
    max_length: int = 128  # tokens; longer ones are cut and counted
    clip: float = 1.0  # norm of the gradient at most
    warmup: float = 0.0  # share of the updates in which the rate rises
    weight_decay: float = 0.0  # not on biases and normalisation
    epsilon: float = 1e-8
    parts: tuple[str, ...] = PARTS[0]
    freeze: tuple[int, ...] = ()  # blocks kept as they are, numbered before dropping
    freeze_embeddings: bool = False
    updates: int | None = None  # at most; the rate falls to 0 there
    precision: str = "best"  # bfloat16 products on a GPU that has them, else float32

    def __post_init__(self):
        """Refuse what cannot be trained with."""
        one_of("precision", self.precision, PRECISIONS)
        one_of("parts", self.parts, PARTS)
        within("learning_rate", self.learning_rate, 1e-12, 1e38, (int, float))
        for name, low in {"epochs": 1, "batch": 1, "max_length": 4}.items():
            within(name, getattr(self, name), low, 1 << 20)

    def rate(self, update: int, updates: int) -> float:
        """Learning rate of one update: linear from 0 through the warmup, then linear to 0."""
        warm = round(self.warmup * updates)
        rising, falling = update / max(warm, 1), (updates - update) / max(updates - warm, 1)
        return self.learning_rate * (rising if update < warm else falling)


RELEASED = Recipe()


def plan(lengths: Sequence[int], recipe: Recipe, seed: int) -> list[np.ndarray]:
    """Sentences of every update: each epoch all of them once, batches of like length in any order.

    An epoch's order is drawn, sorted by length within runs of :data:`POOL` batches, and cut.
    """
    lengths, updates = np.asarray(lengths), []
    for epoch in range(recipe.epochs):
        draw = np.random.default_rng([seed, epoch])
        order, size = draw.permutation(len(lengths)), POOL * recipe.batch
        groups = []
        for start in range(0, len(order), size):
            pool = order[start : start + size]
            pool = pool[np.argsort(lengths[pool], kind="stable")]
            groups += np.split(pool, range(recipe.batch, len(pool), recipe.batch))
        updates += [groups[i] for i in draw.permutation(len(groups))]
    return updates[: recipe.updates]


class Words:
    """While a model trains, its embeddings hold the words of the text alone.

    The others get no gradient, and AdamW would spend its time on their zeros; they are not decayed.
    A model that predicts words keeps all, and so does a decoder, whose head finds the last token
    by its number. ``number`` (vocabulary,) is the row of each token.
    """

    def __init__(self, model, ids: Sequence[Sequence[int]], padding: int):
        self.model, self.whole = model, model.get_input_embeddings()
        weight, frozen = self.whole.weight.detach(), not self.whole.weight.requires_grad
        if model.get_output_embeddings() is not None or encoders.causal(model.config):
            self.few, self.number = self.whole, torch.arange(len(weight))
            return
        self.used = torch.tensor(sorted({padding}.union(*ids)))
        self.number = torch.zeros(len(weight), dtype=torch.long)
        self.number[self.used] = torch.arange(len(self.used))
        padded = None if self.whole.padding_idx is None else int(self.number[padding])
        few = weight[self.used.to(weight.device)].clone()
        self.few = torch.nn.Embedding.from_pretrained(few, freeze=frozen, padding_idx=padded)
        model.set_input_embeddings(self.few)

    def put_back(self) -> None:
        """Give the model its whole vocabulary again, with what the occurring words learned."""
        if self.few is not self.whole:
            self.whole.weight.data[self.used.to(self.whole.weight.device)] = self.few.weight.data
            self.model.set_input_embeddings(self.whole)


@contextmanager
def repeatable(device: torch.device):
    """Let results inside depend on the seeds set inside alone; leave torch as it was.

    On a GPU the gradients of attention are summed in one order only where torch is strict. cuDNN's
    attention is not used: it plans anew for every length of a batch.
    """
    strict, checks = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic
    filled, planned = checks.fill_uninitialized_memory, torch.backends.cuda.cudnn_sdp_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.use_deterministic_algorithms(True, warn_only=device.type != "cuda")
        torch.backends.cuda.enable_cudnn_sdp(False)
        checks.fill_uninitialized_memory = False  # costs some per cent and changes no number
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict)
            torch.backends.cuda.enable_cudnn_sdp(planned)
            checks.fill_uninitialized_memory = filled


class Training:
    """State of one training: what an update changes, and what a checkpoint holds.

    ``objective(inputs, batch)`` gives the mean loss over the sequences of a batch from the inputs
    of the model that learns; ``told`` is what else decides the result.
    """

    def __init__(
        self, model, tokenizer, encoded: batches.Encoded, objective: Callable, *,
        recipe: Recipe, seed: int, told: Sequence = (),
    ):  # fmt: skip
        self.model, self.tokenizer, self.recipe, self.seed = model, tokenizer, recipe, seed
        self.encoded, self.objective, self.told = encoded, objective, list(told)
        self.lengths = np.array([len(ids) for ids in encoded.ids])
        self.words = Words(model, encoded.ids, tokenizer.pad_token_id)
        self.plan = plan(self.lengths, recipe, seed)
        self.optimizer = _optimizer(model, recipe)
        self.losses = np.zeros(len(self.plan))
        self.log: list[dict] = []  # what was watched, see finish
        self.done = 0
        self.precision = products(model.device, recipe.precision)
        self.pieces = 1  # a batch that does not fit the device is computed in this many

    def update(self) -> None:
        """One step of the recipe."""
        group = self.plan[self.done]
        torch.manual_seed((self.seed << 20) + self.done)  # dropout of this step, resumed or not
        self.losses[self.done] = found = self.gradients(group)
        if not np.isfinite(found):
            place = f"update {self.done} of {len(self.plan)}"
            rate = f"(learning rate {self.recipe.learning_rate}); lower the rate or add warmup"
            raise Diverged(f"the loss is {found} at {place} {rate}")
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
                pieces = np.array_split(group, min(self.pieces, len(group)))
                return sum(self._piece(piece, len(group)) for piece in pieces)
            except torch.OutOfMemoryError:
                self.optimizer.zero_grad()
                self.pieces *= 2
                lacks = "does not fit the device's memory;"
                if self.pieces > len(group):
                    one = f"one sentence of {self.recipe.max_length} tokens {lacks}"
                    raise BadInput(f"{one} lower max_length, or drop more blocks") from None
                told = f"it is computed in {self.pieces} pieces"
                warnings.warn(f"a batch of {len(group)} {lacks} {told}", stacklevel=2)

    def _piece(self, piece: np.ndarray, size: int) -> float:
        """Add the gradients of one piece of a batch of ``size``; its part of the batch's loss."""
        device = self.model.device
        batch = batches.collate(self.encoded, piece, self.model, self.tokenizer)
        known = self.words.number[batch.inputs["input_ids"]].to(device)
        batch = batches.to_device(batch, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            value = self.objective(batch.inputs | {"input_ids": known}, batch)
        value = value * (len(piece) / size)
        value.backward()
        return value.item()

    def save(self, file: Path) -> None:
        """Write weights, moments and the place in the plan; whole, or not at all."""
        tensors = {f"model.{name}": value for name, value in weights(self.model).items()}
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
        tensors["losses"] = torch.from_numpy(self.losses)
        about = {name: getattr(self, name) for name in ("done", "pieces", "log")}
        write_tensors(tensors, file, {"run": self.identity, "about": json.dumps(about)})

    def restore(self, file: Path) -> None:
        """Go on from a checkpoint of the same run; refuse one of another."""
        with safe_open(file, "pt") as stored:
            if stored.metadata()["run"] != self.identity:
                raise BadInput(f"checkpoint {file} belongs to another run; remove it")
            vars(self).update(json.loads(stored.metadata()["about"]))
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        self.losses = tensors.pop("losses").numpy()
        for name, tensor in weights(self.model).items():
            tensor.copy_(tensors.pop(f"model.{name}"))
        state = self.optimizer.state_dict()
        for name, value in tensors.items():
            _, number, key = name.split(".")
            state["state"].setdefault(int(number), {})[key] = value
        self.optimizer.load_state_dict(state)

    def account(self) -> dict:
        """Counts of what was trained on, the loss of each epoch, and what had to be done."""
        pieces = {"pieces of a batch that did not fit": self.pieces} if self.pieces > 1 else {}
        each = -(-len(self.lengths) // self.recipe.batch)  # updates of an epoch
        losses = np.split(self.losses, range(each, len(self.losses), each))
        return {
            "updates": len(self.plan),
            "examples": len(self.lengths),
            "tokens": int(sum(self.lengths[group].sum() for group in self.plan)),
            "precision": self.precision,
            "padded_tokens": int(sum(len(g) * self.lengths[g].max() for g in self.plan)),
            "epoch_losses": [float(part.mean()) for part in losses],
            "notes": dict(self.encoded.notes) | pieces,
        }

    @cached_property
    def identity(self) -> str:
        """Digest of what decides the result: recipe, seed, text, shape trained, and more told."""
        shape = [tuple(weight.shape) for weight in self.model.parameters()]
        known = [asdict(self.recipe), self.precision, self.seed, self.told, shape]
        digest = hashlib.sha256(json.dumps(known).encode())
        for ids in self.encoded.ids:
            digest.update(np.int64(len(ids)).tobytes() + np.asarray(ids, np.int64).tobytes())
        return digest.hexdigest()

    @contextmanager
    def running(self):
        """In training mode inside; outside in evaluation mode, with the whole vocabulary."""
        self.model.train()
        try:
            with repeatable(self.model.device):
                yield
        finally:
            self.words.put_back()
            self.model.eval()


def weights(model) -> dict[str, Tensor]:
    """Weights and buffers of a model by name; what is shared comes once."""
    named = dict(model.named_parameters()) | dict(model.named_buffers())
    return {name: tensor.detach() for name, tensor in named.items()}


def write_tensors(tensors: dict[str, Tensor], file: Path, about: dict[str, str]) -> None:
    """Write a safetensors file beside the old one, then put it in its place."""
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    save_file({name: value.contiguous() for name, value in tensors.items()}, fresh, about)
    os.replace(fresh, file)


def _optimizer(model, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW, all weights in one fused step; biases and normalisation are never decayed."""
    groups: dict[float, list] = {recipe.weight_decay: [], 0.0: []}
    for name, weight in model.named_parameters():
        plain = weight.ndim > 1 and "bias" not in name  # XLNet has biases of two dimensions
        groups[recipe.weight_decay if plain else 0.0] += [weight] if weight.requires_grad else []
    given = [{"params": weights, "weight_decay": decay} for decay, weights in groups.items()]
    return torch.optim.AdamW(given, lr=recipe.learning_rate, eps=recipe.epsilon, fused=True)


def products(device: torch.device, precision: str) -> str:
    """Precision in which matrices are multiplied; weights and sums are float32 in any case."""
    if precision != "best":
        return precision
    able = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if able else "float32"


def finish(
    state: Training, checkpoint=None, progress: bool = False, watch: Callable | None = None
) -> dict:
    """Make all updates of a training that are left, and give its account.

    The file ``checkpoint`` is written every two minutes, gone on from if it is there, and removed
    at the end. ``watch`` is given the number of updates made, and what it says goes into ``log``.

    Raises
    ------
    Diverged, BadInput
        If the loss is not a number, a checkpoint is another run's, or a sentence does not fit.
    """
    written, file = time.monotonic(), checkpoint and Path(checkpoint)
    with state.running():
        if file and file.exists():
            state.restore(file)
        left = range(state.done, len(state.plan))
        for _ in tqdm(left, unit="update", disable=not progress, leave=False):
            state.update()
            state.log += filter(None, [watch and watch(state.done)])
            if file and time.monotonic() - written > CHECKPOINT_SECONDS:
                state.save(file)
                written = time.monotonic()
    if file:
        file.unlink(missing_ok=True)
    return state.account() | ({"log": state.log} if watch else {})
