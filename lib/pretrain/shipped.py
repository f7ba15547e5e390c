"""The miniatures of this repository: what their logs say, and what they and their twins know."""

from __future__ import annotations

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib import encoders, figures, profiles
from lib import old_records as records
from lib.pretrain import given, measure, shapes, ship, text
from lib.pretrain.run import LENGTH
from lib.report import cells_of, indexed, mean_pm, task_title

NAMES = profiles.MINIATURES
PROBED = ("pos", "chunk")  # tasks on which the records of their probes are shown


def log(name: str) -> dict:
    """What was noted while a miniature was pretrained, see :func:`lib.pretrain.ship.save`."""
    return json.loads((encoders.find(name) / ship.LOG).read_text())


def learned() -> pd.DataFrame:
    """Size and training of every miniature, and its last loss beside what counting words gives."""
    rows = {}
    for name in NAMES:
        told, folder = log(name), encoders.find(name)
        last, counted = told["log"][-1], told["entropies"]
        rows[encoders.title(name)] = {
            "blocks": encoders.blocks(name),
            "MB": f"{encoders.stored_bytes(folder) / 1e6:.1f}",
            "steps": f"{told['steps']:,}",
            "loss (nats)": f"{last['loss']:.2f}",
            "accuracy": f"{last['accuracy']:.1%}",
            "unigram": f"{counted['unigram']:.2f}",
            "bigram": f"{counted['bigram']:.2f}",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("miniature")


def curves() -> Figure:
    """Loss on held-out words below the unigram entropy, over the steps of every miniature."""
    figure, axes = plt.subplots(figsize=(figures.WIDTH, 4), layout="constrained")
    for place, name in enumerate(NAMES):
        told = log(name)
        noted = pd.DataFrame(told["log"])
        gained = told["entropies"]["unigram"] - noted["loss"]
        style = {"marker": figures.MARKERS[place], "markersize": 4}
        axes.plot(noted["step"], gained, label=encoders.title(name), **style)
    axes.axhline(0, color="0.3", linestyle=":", label="unigram: how often words occur")
    axes.set(xlabel="step", ylabel="held-out loss below unigram (nats)")
    figure.legend(loc="outside lower center", ncols=2)
    return figures.finish(figure)


def elsewhere(rows: int = 256) -> pd.DataFrame:
    """Loss and accuracy on words hidden in Python's help, which none has read, and of a twin.

    The twin has random weights; the same words are asked of both.
    """
    found = {}
    for name in NAMES:
        speaker = given.speaker(name)
        shape, tokenizer = shapes.MINIATURES[name], ship.tokenizer_in(encoders.find(name))
        packed = text.pack(tokenizer, text.paragraphs(text.EMBEDDED), LENGTH, rows)
        encoded = text.encoded(packed, tokenizer)
        twin = shapes.twin(speaker)
        row = {}
        for what, model in (("trained", speaker), ("random twin", twin)):
            held = measure.held_out(model, tokenizer, encoded, shape.objective)
            row[f"{what}: loss"] = held["loss"]
            row[f"{what}: accuracy"] = held["accuracy"]
        found[encoders.title(name)] = row
    return pd.DataFrame.from_dict(found, orient="index").rename_axis("miniature")


def known() -> pd.DataFrame:
    """Probes on real text: the embedding layer, the best one, and the random twin's best."""
    chosen = {"models": NAMES, "probed": PROBED, "compute": False}
    table = list(records.read(profiles.get("small", "layer_probes", **chosen)))
    rows: dict[tuple, dict] = {}
    for (model, task, weights), values in cells_of(table):
        row = rows.setdefault((encoders.title(model), task_title(task)), {})
        if weights == "random":
            row["random twin"] = best_alone(values)["its score"]
            continue
        row["embeddings"] = percent([v["alone"]["test"][0] for v in values])
        row |= best_alone(values) | {"majority": f"{100 * values[0]['floor']:.1f}"}
    return indexed(rows, "miniature", "task").fillna("–")


def shown(number: float) -> str:
    """A loss in nats, or an accuracy as a share; both with the digits that count."""
    return f"{number:.3f}" if number < 1 else f"{number:.2f}"


def best_alone(values: list[dict]) -> dict[str, str]:
    """The layer that scores best alone on dev, seed by seed, and its score on test."""
    best = [int(np.argmax(v["alone"]["dev"])) for v in values]
    alone = [v["alone"]["test"][layer] for v, layer in zip(values, best, strict=True)]
    return {"best layer": ", ".join(map(str, sorted(set(best)))), "its score": percent(alone)}


def percent(scores: list[float]) -> str:
    """Scores from 0 to 1 as points: mean and standard deviation."""
    return mean_pm(100 * np.asarray(scores, dtype=float))
