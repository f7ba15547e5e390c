"""The two libraries that :mod:`lib.bench` measures beside ours, each behind one small function.

NeuroX extracts vectors, clusters neurons, trains probes and ranks by them; pytorch-cka estimates
the CKA between layers. Their own code runs unchanged: replaced is only where a model is loaded
(once, not per call) and where they print. They are imported here alone, inside functions;
``make bench`` installs them. Of the parts used none needs ``np.int``, which numpy 2 no longer has
and NeuroX's loader of labels asks for.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lib.errors import BadInput

PEERS = {  # as requirements-bench.txt
    "neurox": "1.0.9",
    "pytorch-cka": "1.1.3",
    "h5py": "3.16.0",
    "imbalanced-learn": "0.14.2",
    "sklearn-compat": "0.1.6",
}


def versions() -> dict[str, str]:
    """Version of each peer that is installed."""
    found = {}
    for name in PEERS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def check_installed() -> None:
    """Refuse to measure without the peers, in one sentence."""
    found = versions()
    wrong = [f"{name} {version}" for name, version in PEERS.items() if found.get(name) != version]
    if wrong:
        raise BadInput(
            f"{', '.join(wrong)} not installed; run 'make bench', or give --alone to measure ours"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Send what a peer prints to nowhere; writing it to a screen would slow it down."""
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


# ---- NeuroX: vectors


def neurox_extractor(folder: Path, device, into: Path) -> Callable[..., Path]:
    """NeuroX's extraction with the model already loaded: ``(sentences, kind) -> file``.

    ``kind`` is ``hdf5`` or ``json``, the two formats that NeuroX writes.
    """
    extractor = importlib.import_module("neurox.data.extraction.transformers_extractor")
    with _quiet():
        loaded = extractor.get_model_and_tokenizer(str(folder), device=device)
    loaded[0].eval()

    def extract(sentences: Sequence[Sequence[str]], kind: str) -> Path:
        corpus, found = into / "corpus.txt", into / f"vectors.{kind}"
        corpus.write_text("".join(" ".join(words) + "\n" for words in sentences))
        own = extractor.get_model_and_tokenizer
        extractor.get_model_and_tokenizer = lambda *_, **__: loaded
        try:
            with _quiet():
                extractor.extract_representations(
                    str(folder), str(corpus), str(found), device=device, output_type=kind
                )
        finally:
            extractor.get_model_and_tokenizer = own
        return found

    return extract


def neurox_rows(file: Path) -> Tensor:
    """Rows (N, L, H) of an HDF5 file that NeuroX wrote, in the order of its sentences."""
    with importlib.import_module("h5py").File(file) as stored:
        numbers = sorted(int(key) for key in stored if key.isdigit())
        parts = [np.asarray(stored[str(n)]).transpose(1, 0, 2) for n in numbers]
    return torch.from_numpy(np.concatenate(parts))


# ---- NeuroX: clusters


def neurox_clusters(table: np.ndarray, threshold: float, picked: np.ndarray):
    """Cluster the columns of ``table`` (N, D) with NeuroX, watching the steps inside.

    Returns
    -------
    labels : ndarray of shape (D,)
    correlation : ndarray of shape (len(picked), D)
        The rows ``picked`` of the correlation matrix that NeuroX computed.
    seconds : dict
        ``correlation`` and ``linkage``: time spent in its calls of numpy and scipy.
    """
    clustering = importlib.import_module("neurox.interpretation.clustering")
    seconds, kept = {}, {}

    def watched(name: str, function: Callable) -> Callable:
        def call(*given, **options):
            begin = time.perf_counter()
            result = function(*given, **options)
            seconds[name] = time.perf_counter() - begin
            if name == "correlation":
                kept[name] = result[picked]
            return result

        return call

    own = np.corrcoef, clustering.linkage
    np.corrcoef = watched("correlation", own[0])
    clustering.linkage = watched("linkage", own[1])
    try:
        with _quiet():
            labels = clustering.create_correlation_clusters(table, clustering_threshold=threshold)
    finally:
        np.corrcoef, clustering.linkage = own
    return labels, kept["correlation"], seconds


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
