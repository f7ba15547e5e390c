"""Tables of the book that are written from the library when it is built, never by hand.

Each function returns the Markdown of one fragment; pages include them from ``_generated/``. What a
reader sees in them is what the code knows: tasks, models, profiles, versions, records.
"""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from lib import encoders
from lib import old_records as store
from lib import profiles as settled
from lib.corpora import TASKS
from lib.grids import AFFECTS

PACKAGES = (
    "torch transformers tokenizers safetensors numpy scipy scikit-learn pandas matplotlib seaborn"
    " datasets papermill jupyter-book snakemake"
).split()


def table(rows: Iterable[dict]) -> str:
    """Markdown table of rows that share their keys; the keys are the header.

    Examples
    --------
    >>> print(table([{"model": "BERT", "blocks": 12}]))
    | model | blocks |
    |---|---|
    | BERT | 12 |
    """
    rows = list(rows)
    lines = [list(rows[0]), *([str(cell) for cell in row.values()] for row in rows)]
    texts = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([texts[0], "|---" * len(rows[0]) + "|", *texts[1:]])


def tasks() -> str:
    """What each task is and where it comes from."""
    return table(
        {
            "Task": f"`{name}` {info.title}",
            "Kind": info.kind,
            "Labels": _labels(info),
            "Metric": info.metric.replace("_", " ") or "none",
            "Sources": ", ".join(info.sources),
            "Remark": info.standing or "as in the papers",
        }
        for name, info in TASKS.items()
    )


def _labels(info) -> str:
    if info.kind == "text":
        return "none"
    if info.metric.startswith("pearson"):
        return "a number from 0 to 5"
    return ", ".join(info.labels) or "those of the training part"


def models() -> str:
    """Which encoders the table knows."""
    return table(encoders.describe())


def profiles() -> str:
    """Every field of the three profiles, side by side."""
    return table(settled.describe())


def status(profile: str, tree: Path, notebooks: list[str]) -> str:
    """Profile, device, commit and versions; then what each page cost."""
    now = datetime.datetime.now(datetime.UTC)
    facts = {
        "Profile": f"`{profile}`",
        "Built": f"{now:%Y-%m-%d %H:%M} UTC",
        "Commit": f"`{store.commit()}`",
        "Device": store.device_name(encoders.default_device()),
        "System": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
    }
    facts |= {name: metadata.version(name) for name in PACKAGES}
    return "\n\n".join(
        [
            table({"What": name, "This copy": value} for name, value in facts.items()),
            table(_cost(tree / f"{page}.ipynb", page) for page in notebooks),
        ]
    )


def _cost(executed: Path, page: str) -> dict:
    cost = json.loads(executed.read_text(encoding="utf-8"))["metadata"].get("cost", {})
    return {
        "Page": f"{{doc}}`/{page}`",
        "Seconds": f"{cost.get('seconds', float('nan')):.0f}",
        "Peak memory (MB)": f"{cost.get('peak_mb', float('nan')):,}",
    }


def records(profile: str) -> str:
    """How many runs of each experiment's grid have a record, and what made them."""
    rows = []
    for experiment in AFFECTS:
        settings, files = settled.get(profile, experiment), {}
        for run in settings.runs():
            files.setdefault((run.model, run.task), []).append(run)
        rows += [row for runs in files.values() for row in _record(settings, runs)]
    return table(rows) if rows else "This profile has no records yet."


def _record(settings, runs: list) -> list[dict]:
    """One row for the runs of one record file; none where it holds none of them."""
    made = [line for line in (store.made_by(settings, run) for run in runs) if line]
    if not made:
        return []
    return [
        {
            "Experiment": settings.experiment.replace("_", " "),
            "Model": runs[0].model,
            "Text": runs[0].task,
            "Runs": f"{len(made)} of {len(runs)}",
            "Device": ", ".join(sorted({line["device"] for line in made})),
            "Seconds": f"{sum(line['seconds'] for line in made):,.0f}",
            "Code": ", ".join(sorted({f"`{line['commit']}`" for line in made})),
            "Source": ", ".join(sorted({line["source"] for line in made})),
        }
    ]


def write(profile: str, tree: Path, notebooks: list[str]) -> None:
    """Write every fragment into the mirror tree of a profile."""
    folder = tree / "book" / "_generated"
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "tasks": tasks(),
        "models": models(),
        "profiles": profiles(),
        "records": records(profile),
        "status": status(profile, tree, notebooks),
    }
    for name, text in texts.items():
        (folder / f"{name}.md").write_text(text + "\n", encoding="utf-8")
