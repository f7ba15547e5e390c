"""How results look on every page: theme, colours and markers, rounded numbers, verdict words."""

import html
import itertools
import json
import re
import shlex
from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML

from lib import corpora, encoders, records
from lib.comparison import ENOUGH, n_seeds
from lib.settings import Settings
from lib.strategies import STRATEGIES

PM = " ±\u00a0"  # a narrow table breaks the line before the sign
MISSING = "–"
SIZE = (6.4, 3.6)  # inches, of a figure with one panel
WIDEST = 7.0  # inches: a phone shows type of a wider figure too small
COLOURS = [sns.color_palette("colorblind")[i] for i in (0, 1, 2, 3, 4, 5, 9)]
COLOURS += sns.color_palette(["#882255", "#332288", "#999933", "#117733", "#7f3b08", "#44aa99"])
MARKERS = "osD^vPX*"
GREY = "0.55"  # published numbers
MARKED = re.compile(r"(?<=[>(])(passes|fails)(?=[)<])")  # a cell, or the end of one
WHOLE = re.compile(r"(?<=>)([A-Z]+-\w)(?=<)")  # a cell such as SST-2, not to break at its hyphen
WORDS = ("reproduced", "not reproduced", "too little data", "not testable here")

sns.set_theme(
    style="ticks",
    palette=COLOURS,
    rc={
        "figure.dpi": 140,
        "figure.figsize": SIZE,
        "axes.grid": True,
        "grid.alpha": 0.3,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlelocation": "left",
        "legend.frameon": False,
    },
)
pd.set_option("display.max_colwidth", None)


def _places(names: Iterable[str]) -> dict[str, int]:
    """Place of each name in the table it belongs to: strategies, models, tasks; else in order."""
    known = {name: place for place, name in enumerate(("whole", *STRATEGIES))}
    for table, title in ((encoders.MODELS, encoders.title), (corpora.TASKS, corpora.title)):
        for place, name in enumerate(table):
            known |= {name: place, title(name): place, f"{title(name)} (generated)": place}
    names = list(dict.fromkeys(names))
    taken = {known[name] for name in names if name in known}
    free = (place for place in itertools.count() if place not in taken)
    return {name: known[name] if name in known else next(free) for name in names}


def palette(names: Iterable[str]) -> dict[str, tuple]:
    """Colour of each strategy, model or task, by name or title: the same on every page."""
    return {name: COLOURS[place % len(COLOURS)] for name, place in _places(names).items()}


def markers(names: Iterable[str]) -> dict[str, str]:
    """Marker of each strategy, model or task: names that share a colour differ in it."""
    return {
        name: MARKERS[(place + 2 * (place // len(COLOURS))) % len(MARKERS)]
        for name, place in _places(names).items()
    }


def titled(frame: pd.DataFrame, data: str | None = None) -> pd.DataFrame:
    """Models and tasks by their titles; a generated task says so where ``data`` is embedded."""
    titles = {"model": encoders.title, "task": lambda name: corpora.title(name, data)}
    known = [column for column in titles if column in frame]
    return frame.assign(**{c: frame[c].map(titles[c], na_action="ignore") for c in known})


def pm(values: Sequence[float], digits: int = 1) -> str:
    """Mean and, of several, their standard deviation.

    Examples
    --------
    >>> pm([0.5, 1.5]).replace(PM, " +- "), pm([2.0]), pm([]), pm([-0.04]), pm([-0.05], 2)
    ('1.0 +- 0.7', '2.0', '–', '0.0', '-0.05')
    """
    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    if not len(values):
        return MISSING
    spread = f"{PM}{values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():z.{digits}f}{spread}"  # z: never -0.0


def table(frame: pd.DataFrame, caption: str = "", digits: int = 1) -> HTML:
    """A table as the book shows it: caption, headers with a scope, one mark for what is missing.

    Passed and failed tests and verdicts are marked, and come first, where a phone shows them. A
    single model is named in the caption. A table without rows says so in a sentence.
    """
    if frame.empty:
        return HTML(f"<p>No run for this table yet: {caption or 'no rows'}</p>")
    models = frame.index.unique("model") if "model" in frame.index.names[:-1] else ()
    if len(models) == 1:
        frame, caption = frame.droplevel("model"), f"{caption} Model: {models[0]}.".strip()
    judged = [name for name in frame if frame[name].isin(["passes", "fails"]).any()]
    shown = frame[judged + [name for name in frame if name not in judged]].rename_axis(columns=None)
    look = {"na_rep": MISSING, "border": 0, "index_names": False}
    head, body = shown.to_html(float_format=f"{{:.{digits}f}}".format, **look).split("<tbody>")
    for name in frame.index.names:  # in the row of the other headers
        head = head.replace("<th></th>", f"<th>{name or ' '}</th>", 1)
    head, body = (
        part.replace("<th ", f'<th scope="{scope}" ').replace("<th>", f'<th scope="{scope}">')
        for part, scope in ((head, "col"), (body, "row"))
    )
    for word in (*WORDS, "mixed"):
        body = body.replace(f"<td>{word}", f'<td class="verdict {word.replace(" ", "-")}">{word}')
    body = MARKED.sub(r'<span class="verdict \1">\1</span>', body)
    body = WHOLE.sub(r'<span class="whole">\1</span>', body)
    head = head.replace("<thead>", f"<caption>{caption}</caption><thead>" if caption else "<thead>")
    return HTML(f"{head}<tbody>{body}")


# ---- verdicts ---------------------------------------------------------------------------------


def verdict(
    holds: Iterable[bool], *, every: bool = False, tasks: int = ENOUGH, seeds: int = ENOUGH
) -> str:
    """Verdict on a claim that was tested cell by cell.

    Parameters
    ----------
    holds
        Whether the claim holds in each cell; none: *not testable here*.
    every
        The claim says *every*: one cell that fails is enough for *not reproduced*.
    tasks, seeds
        Behind each cell. A claim about averages needs three of each; with fewer no other word than
        *too little data* is used. Leave them for a claim that is about single cells.

    Examples
    --------
    >>> verdict([True, False]), verdict([True, False], every=True), verdict([True], seeds=1)
    ('mixed (1 of 2)', 'not reproduced', 'too little data')
    """
    holds = [bool(value) for value in holds]
    if not holds:
        return "not testable here"
    if min(tasks, seeds) < ENOUGH:
        return "too little data"
    if all(holds):
        return "reproduced"
    return "not reproduced" if every or not any(holds) else f"mixed ({sum(holds)} of {len(holds)})"


def judge(
    settings: Settings,
    claim: str,
    holds: Iterable[bool],
    measured: str,
    runs: pd.DataFrame,
    *,
    average: bool = True,
    every: bool = False,
    tasks: int | None = None,
    chance: float | None = None,
) -> dict:
    """Judge a claim and keep the verdict for the scoreboard; gives its row of the page's table.

    Parameters
    ----------
    holds
        As for :func:`verdict`.
    measured
        What was found, in a few words with numbers.
    runs
        The runs behind it: columns ``model``, ``task``, ``seed``. Averages over tasks count only
        tasks that the whole model learned, so pass those alone.
    average
        The claim is about averages: three tasks and three seeds are needed.
    tasks
        How many tasks each average has, where those are fewer than the tasks of ``runs``.
    chance
        In how many cells the claim is expected to hold by chance, where that is known.
    """
    holds = [bool(value) for value in holds]
    seeds = int(n_seeds(runs).min()) if len(runs) else 0
    tasks = runs["task"].nunique() if tasks is None else tasks
    enough = {"tasks": tasks, "seeds": seeds} if average else {}
    word = verdict(holds, every=every, **enough)
    judged = not word.startswith(("too", "not testable"))
    row = {
        "measured": measured,
        "cells": f"{sum(holds)} of {len(holds)}",
        "verdict": f"{word}, single run" if seeds == 1 and judged else word,
    }
    if chance is not None:
        row["chance"] = f"{chance:.1f}".removesuffix(".0")
        if judged and 0 < sum(holds) <= chance:
            row["verdict"] += ", no more than by chance"
    about = {f"{name}s": runs[name].unique().tolist() for name in ("model", "task")}
    text = " and ".join(_kinds_of_text(runs, settings.data))
    records.keep_verdict(settings, claim, **row, **about, seeds=seeds, text=text)
    return {"claim": claim} | row


def _kinds_of_text(runs: pd.DataFrame, data: str) -> list[str]:
    """Whether the text of runs is ``real``, ``generated``, or there is some of either."""
    words = {True: "generated", False: "real"}
    return sorted({words[corpora.generated(name, data)] for name in runs["task"]})


def provenance(runs: pd.DataFrame) -> HTML:
    """What made the records of a page: one row per model and task."""
    made = pd.json_normalize(runs.attrs["made"]).reindex(
        columns=["model", "task", "source", "device", "precision", "versions.torch", "commit"]
        + ["seconds"]
    )
    precision = made["precision"].map(", {}".format, na_action="ignore").fillna("")
    machine = made["device"] + precision + ", torch " + made["versions.torch"]
    made = titled(made.assign(machine=machine).fillna({"source": MISSING}))
    rows = made.groupby(["model", "task"], sort=False, dropna=False).agg(
        {"seconds": ["size", "sum"], "source": _joined, "machine": _joined, "commit": _joined}
    )
    rows.columns = ["runs", "minutes", "text from", "computed by", "commit"]
    rows["computed by"] += "; commit " + rows.pop("commit")
    return table(rows.assign(minutes=rows["minutes"] / 60), "What made these numbers.")


def devices(*runs: pd.DataFrame) -> str:
    """A sentence on the devices that compared models were trained on; empty where it was one."""
    made = (entry for frame in runs for entry in frame.attrs["made"])
    found = {f"{m['device']}, {m.get('precision') or 'precision not recorded'}" for m in made}
    if len(found) < 2:
        return ""
    return (
        f"The models were trained in several ways ({'; '.join(sorted(found))}); the same training "
        "differs between two of them by about as much as between two seeds."
    )


def _joined(values: pd.Series) -> str:
    return ", ".join(dict.fromkeys(map(str, values)))


def legend_above(plot: sns.FacetGrid, columns: int = 3) -> None:
    """Put a seaborn grid's legend above its panels, without headings, and fit all to a phone."""
    legend, (wide, high) = plot.legend, plot.figure.get_size_inches()
    pairs = zip(legend.legend_handles, legend.texts, strict=True)
    named = {t.get_text(): h for h, t in pairs if not hasattr(h, "get_marker") or h.get_marker()}
    legend.remove()
    plot.figure.set_size_inches(min(wide, WIDEST), high)
    plot.figure.tight_layout()
    where = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": columns}
    plot.figure.legend(list(named.values()), list(named), **where)


def seeds(runs: pd.DataFrame) -> str:
    """How many seeds the cells of some runs have, in words.

    Examples
    --------
    >>> seeds(pd.DataFrame({"model": "m", "task": ["a", "a", "b"], "seed": [0, 1, 0]}))
    '1 to 2 seeds'
    """
    if "seed" not in runs or (counts := n_seeds(runs)).max() == 1:
        return "single run"
    return f"{' to '.join(map(str, sorted({counts.min(), counts.max()})))} seeds"


def cells(index: pd.MultiIndex) -> str:
    """How many pairs of model and task there are, in words.

    Examples
    --------
    >>> index = pd.MultiIndex.from_tuples([("m", "a"), ("m", "b")], names=["model", "task"])
    >>> cells(index), cells(index[:1]), cells(index.append(index.set_levels(["n"], level="model")))
    ('2 tasks', '1 task', '4 pairs of model and task')
    """
    if len(index.unique("model")) > 1:
        return f"{len(index)} pairs of model and task"
    return f"{len(index)} task{'s' * (len(index) != 1)}"


def badge(settings: Settings, runs: pd.DataFrame) -> HTML:
    """Real or generated text, models, tasks and seeds of a page, for its top."""
    kinds = _kinds_of_text(runs, settings.data)
    counts = {name: runs[name].nunique() for name in ("model", "task")}
    models = ", ".join(encoders.title(name) for name in runs["model"].unique()[:2])
    told = [models if counts["model"] < 3 else f"{counts['model']} models"]
    told += [f"{counts['task']} task{'s' * (counts['task'] > 1)}", seeds(runs)]
    spans = [f'<span class="badge {kind}">{kind} text</span>' for kind in kinds]
    spans += [f'<span class="badge">{word}</span>' for word in told]
    return HTML(f'<p class="badges">{" ".join(spans)}</p>')


def rerun(settings: Settings, notebook: str) -> HTML:
    """The papermill line that runs a page again with what it was given; tiny is the default."""
    known = {"profile": settings.profile}
    known |= {name: json.loads(value) for name, value in settings.passed}
    known.pop("compute", None)  # what has no record is computed then
    if settings.profile == "tiny":
        del known["profile"]
    plain = str | bool | None  # papermill reads True and None, not JSON's words for them
    words = {n: str(v) if isinstance(v, plain) else json.dumps(v) for n, v in known.items()}
    line = "".join(f" -p {name} {shlex.quote(value)}" for name, value in words.items())
    return HTML(f"<pre>papermill notebooks/{notebook}.ipynb out.ipynb{html.escape(line)}</pre>")


def show(figure: plt.Figure | None = None) -> plt.Figure:
    """The figure for the end of a cell, so that it is shown once."""
    figure = figure or plt.gcf()
    plt.close(figure)
    return figure
