"""Names that outside programs call: they stay where they are and take what they took."""

import importlib
import inspect

import pytest

NAMES = {
    "similarity.Moments": "width, device, dtype",
    "similarity.Moments.update": "rows",
    "similarity.Moments.merge": "other",
    "similarity.Moments.correlation": "",
    "similarity.linear_cka": "scatter, widths",
    "similarity.correlation_clusters": "correlation, thresholds",
    "similarity.cluster_windows": "labels, widths",
    "selection.rank_neurons": "weights, protocol, stride",
    "selection.select_layer": "scores, oracle, tolerance",
    "dropping.blocks_to_keep": "strategy, n_blocks, k, similarity",
    "dropping.drop_blocks": "model, keep",
    "encoders.load": "name_or_path, head, device, random_seed",
    "corpora.official_split": "n",
    "corpora.load": "name, root, seed",
    "activations.extract": "model, tokenizer, sentences, level, layers",
    "probes.fit_probes": "rows, labels, columns, protocol, seeds",
    "finetune.run": "model, task, keep, recipe, seed, device",
    "records.fill": "settings, grid, step",
    "records.long": "table, by",
    "settings.of": "experiment, page",
}


@pytest.mark.parametrize("name", NAMES)
def test_an_outside_program_finds_what_it_calls(name):
    module, *path = name.split(".")
    found = importlib.import_module(f"lib.{module}")
    for part in path:
        found = getattr(found, part)
    taken = [p for p in inspect.signature(found).parameters if p != "self"]
    wanted = NAMES[name].split(", ") if NAMES[name] else []
    assert [p for p in taken if p in wanted] == wanted


def test_moments_have_their_properties():
    moments = importlib.import_module("lib.similarity").Moments
    assert all(
        isinstance(getattr(moments, p), property) for p in ("count", "mean", "scatter", "constant")
    )
