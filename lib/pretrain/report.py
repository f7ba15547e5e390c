"""Tables and the figure of the page on pretraining."""

from __future__ import annotations

import math
import textwrap

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from lib import figures
from lib.pretrain.run import Read
from lib.pretrain.ship import About
from lib.report import this_run

LEVELS = {"unigram": (":", "how often words occur"), "bigram": ("--", "and the word before")}


def sample(data: Read) -> str:
    """The first row of the text as its tokenizer gives it back."""
    return textwrap.fill(data.tokenizer.decode(data.train[0]), 80)


def amounts(data: Read) -> pd.DataFrame:
    """How much was read: rows, tokens, and pieces of the vocabulary that occur."""
    found = {"training": data.train, "held out": data.held}
    rows = {
        part: {
            "rows": f"{len(ids):,}",
            "tokens": f"{ids.size:,}",
            "pieces that occur": f"{len(set(ids.ravel().tolist())):,}",
        }
        for part, ids in found.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("part")


def learned(account: dict, untrained: dict, vocabulary: int) -> pd.DataFrame:
    """Loss and accuracy on held-out words: at the start, at the end, and by counting."""
    rows = {"any piece as likely": {"loss (nats)": math.log(vocabulary), "accuracy": math.nan}}
    rows |= {f"{name} counts": {"loss (nats)": v} for name, v in account["entropies"].items()}
    for name, found in {"untrained": untrained, "trained": account["log"][-1]}.items():
        rows[name] = {"loss (nats)": found["loss"], "accuracy": found["accuracy"]}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("what")
    shown = {"loss (nats)": "{:.2f}".format, "accuracy": "{:.1%}".format}
    return table.apply(lambda c: c.map(lambda v: "–" if math.isnan(v) else shown[c.name](v)))


def curve(account: dict) -> Figure:
    """Loss and accuracy on held-out words over the steps, beside what counting words gives."""
    log = pd.DataFrame(account["log"])
    size = (figures.WIDTH, 6)
    figure, (upper, lower) = plt.subplots(2, 1, figsize=size, sharex=True, layout="constrained")
    upper.plot(log["step"], log["loss"], color="C0", marker="o", label="miniature")
    for name, (style, words) in LEVELS.items():
        label = f"{name}: {words}"
        upper.axhline(account["entropies"][name], color="0.3", linestyle=style, label=label)
    lower.plot(log["step"], log["accuracy"], color="C0", marker="o")
    upper.set(ylabel="held-out loss (nats)")
    lower.set(ylabel="held-out accuracy", xlabel="step")
    lower.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    lower.set_ylim(bottom=0)
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=1)
    return figures.finish(figure)


def outcome(account: dict) -> str:
    """Whether the miniature knows more than how often words occur."""
    loss, counted = account["log"][-1]["loss"], account["entropies"]
    if loss >= counted["unigram"]:
        return "it has not yet learned more than how often words occur"
    if loss >= counted["bigram"]:
        return "it has learned more than how often words occur, and less than pairs of words tell"
    return "it has learned more than pairs of words tell"


def provenance(model, about: About) -> pd.DataFrame:
    """Text, device and versions."""
    return this_run({"text": about.source, "licence of the text": about.licence}, model.device)
