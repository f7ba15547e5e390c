"""The libraries that are measured beside ours, each behind one small function.

transformers' Trainer fine-tunes; NeuroX extracts vectors, clusters neurons, trains probes and ranks
by them; pytorch-cka estimates the CKA between layers. Their own code runs unchanged: replaced is
only where NeuroX loads a model (once, not per call), and what they print is discarded. They are
imported here alone, inside functions; ``make bench`` installs them. Of the parts used none needs
``np.int``, which numpy 2 no longer has and NeuroX's loader of labels asks for.
"""

import importlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from importlib import metadata
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lib import training
from lib.errors import BadInput

REQUIREMENTS = Path(__file__).parents[2] / "requirements-bench.txt"
SAMPLING = {  # our name of a way to draw batches: Trainer's
    "Trainer": "random",
    "Trainer, by length": "group_by_length",
    "in order": "sequential",
}


def pins() -> dict[str, str]:
    """Version of each peer that ``make bench`` installs."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def versions() -> dict[str, str]:
    """Version of each peer that is installed."""
    found = {}
    for name in pins():
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def check_installed(parts: Iterable[str]) -> None:
    """Refuse to measure parts without their peers, in one sentence; tuning needs only Trainer's."""
    found, needed = versions(), pins()
    if set(parts) == {"tuning"}:
        needed = {"accelerate": needed["accelerate"]}
    wrong = [f"{name} {version}" for name, version in needed.items() if found.get(name) != version]
    if wrong:
        raise BadInput(
            f"{', '.join(wrong)} not installed; run 'make bench', or give --alone to measure ours"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Discard what a peer prints; writing it to a screen would slow it down."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


# ---- Trainer


def trainer(model, tokenizer, examples: list[dict], recipe, *, into: Path, way: str = "Trainer"):
    """A Trainer with dynamic padding and the recipe's own values, ready to train.

    Parameters
    ----------
    model, tokenizer
        Trained in place.
    examples
        Token ids and label of each example, without padding.
    recipe
        Rate, batch, epochs, epsilon, clip and precision; no weight decay, linear to 0.
    into
        A folder; nothing is saved there.
    way
        A key of :data:`SAMPLING`.
    """
    arguments = transformers.TrainingArguments(
        output_dir=str(into),
        per_device_train_batch_size=recipe.batch,
        per_device_eval_batch_size=recipe.batch,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.updates or -1,
        learning_rate=recipe.learning_rate,
        adam_epsilon=recipe.epsilon,
        max_grad_norm=recipe.clip,
        train_sampling_strategy=SAMPLING[way],
        bf16=training.products(model.device, recipe.precision) == "bfloat16",
        use_cpu=model.device.type == "cpu",
        dataloader_pin_memory=model.device.type != "cpu",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    return transformers.Trainer(
        model, arguments, train_dataset=examples, processing_class=tokenizer
    )


class _Clock(transformers.TrainerCallback):
    """When the first update of a Trainer ended, and when the last."""

    def __init__(self, device: torch.device):
        self.device, self.times = device, []

    def on_step_end(self, args, state, control, **kwargs) -> None:
        """Note the time, after the work still running on the device."""
        if state.global_step in (1, state.max_steps):
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            self.times.append(time.perf_counter())


def trainer_seconds(ready) -> float:
    """Seconds of all updates of a Trainer but the first."""
    clock = _Clock(ready.model.device)
    ready.add_callback(clock)
    with _quiet():
        ready.train()
    return clock.times[-1] - clock.times[0]


# ---- NeuroX: vectors


def neurox_extractor(folder: Path, device, into: Path) -> Callable[..., Path]:
    """NeuroX's extraction with the model already loaded: ``sentences -> HDF5 file``."""
    extractor = importlib.import_module("neurox.data.extraction.transformers_extractor")
    with _quiet():
        loaded = extractor.get_model_and_tokenizer(str(folder), device=device)
    loaded[0].eval()

    def extract(sentences: Sequence[Sequence[str]]) -> Path:
        corpus, found = into / "corpus.txt", into / "vectors.hdf5"
        corpus.write_text("".join(" ".join(words) + "\n" for words in sentences))
        files = map(str, (folder, corpus, found))
        with _quiet(), patch.object(extractor, "get_model_and_tokenizer", lambda *_, **__: loaded):
            extractor.extract_representations(*files, device=device, output_type="hdf5")
        return found

    return extract


def neurox_rows(file: Path) -> Tensor:
    """Rows (N, L, H) of an HDF5 file that NeuroX wrote, in the order of its sentences."""
    with importlib.import_module("h5py").File(file) as stored:
        numbers = sorted(int(key) for key in stored if key.isdigit())
        parts = [np.asarray(stored[str(n)]).transpose(1, 0, 2) for n in numbers]
    return torch.from_numpy(np.concatenate(parts))


# ---- NeuroX: clusters


def neurox_clusters(table: np.ndarray, threshold: float, picked: np.ndarray) -> dict:
    """Cluster the columns of ``table`` (N, D) with NeuroX.

    Returns
    -------
    dict
        ``labels`` (D,), and ``correlation``, the rows ``picked`` (P, D) of the correlation matrix
        that NeuroX computed.
    """
    clustering = importlib.import_module("neurox.interpretation.clustering")
    own, kept = np.corrcoef, {}

    def watched(*given, **options):
        found = own(*given, **options)
        kept.update(correlation=found[picked])
        return found

    with _quiet(), patch.object(np, "corrcoef", watched):
        labels = clustering.create_correlation_clusters(table, clustering_threshold=threshold)
    return kept | {"labels": labels}


# ---- NeuroX: probes


def neurox_probe(rows: Tensor, labels: Sequence[int], seed: int = 0) -> nn.Module:
    """A probe trained by NeuroX under the released protocol."""
    probes = importlib.import_module("neurox.interpretation.linear_probe")
    recipe = {"lambda_l1": 1e-5, "lambda_l2": 1e-5, "num_epochs": 10, "batch_size": 128}
    with _quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        table = rows.cpu().numpy()
        return probes.train_logistic_regression_probe(table, np.asarray(labels), **recipe)


def neurox_accuracy(probe: nn.Module, rows: Tensor, labels: Sequence[int]) -> float:
    """Accuracy of a probe by NeuroX, in points."""
    probes = importlib.import_module("neurox.interpretation.linear_probe")
    with _quiet():
        found = probes.evaluate_probe(probe, rows.cpu().numpy(), np.asarray(labels))
    return 100 * float(found["__OVERALL__"])


def neurox_order(weights: Tensor, stride: int = 1000) -> tuple[np.ndarray, list[int]]:
    """NeuroX's ranking of neurons by weights (C, D), and how many are in after every step."""
    probes = importlib.import_module("neurox.interpretation.linear_probe")
    probe = nn.Linear(weights.shape[1], weights.shape[0])
    probe.weight = nn.Parameter(weights.detach().cpu())
    names = {str(number): number for number in range(len(weights))}
    with _quiet():
        order, cutoffs = probes.get_neuron_ordering(probe, names, search_stride=stride)
    return np.array(order), cutoffs


# ---- pytorch-cka


class LayersOf(nn.Module):
    """Shows rows (n, L, H) to pytorch-cka, which reads the outputs of a model's modules.

    Left to itself it would flatten whole padded sentences into rows and give the model no attention
    mask. Here every layer is a module that passes on its (n, H) rows, so both see the same words.

    Parameters
    ----------
    n_layers
        L.
    rows_of
        From what the loader gave (a tensor of n entries) to rows (n, L, H).
    """

    def __init__(self, n_layers: int, rows_of: Callable[[Tensor], Tensor]):
        super().__init__()
        self.layers = nn.ModuleList(nn.Identity() for _ in range(n_layers))
        self.rows_of = rows_of

    def forward(self, given: Tensor) -> None:
        """Pass each layer's rows through its module."""
        rows = self.rows_of(given)
        for place, layer in enumerate(self.layers):
            layer(rows[:, place])


def minibatch_cka(n_layers: int, parts: Sequence[Tensor], rows_of, device) -> Tensor:
    """The (L, L) estimate of pytorch-cka, one minibatch for each of ``parts``."""
    cka = importlib.import_module("cka")
    model = LayersOf(n_layers, rows_of)
    names = [f"layers.{place}" for place in range(n_layers)]
    loader = DataLoader(parts, batch_size=None)
    with _quiet():
        found = cka.compute_cka(model, model, loader, layers=names, device=device, progress=False)
    return found[0].cpu()
