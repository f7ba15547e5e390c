"""What pages include and link to, written when a build begins: never by hand, never stale.

Tables of what the library knows and of what this copy is (``_generated/*.txt``), one page for each
module of ``lib``, and the records of every experiment as csv. The book lies in
``<root>/_build/<profile>``, the records in ``<root>/book/results/<profile>``.
"""

import ast
import datetime
import json
import platform
from importlib import metadata
from pathlib import Path

import pandas as pd

import lib
from lib import archive, corpora, encoders, provenance, records, settings
from lib.checkpoints import SHIPPED

PACKAGES = "torch transformers datasets numpy scipy scikit-learn pandas seaborn papermill".split()


def table(rows) -> str:
    """Markdown table of rows that share their keys; the keys are the header."""
    frame = pd.DataFrame(rows).fillna("–")
    frame = frame.map(lambda cell: str(cell).replace("|", "\\|").replace("\n", " "))
    return frame.to_markdown(index=False, disable_numparse=True)


def lines(file: Path) -> list[dict]:
    """A file of records, a dict a line."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def copy(profile: str) -> str:
    """Profile, time, commit, device and versions of this build."""
    now = datetime.datetime.now(datetime.UTC)
    facts = {
        "Profile": f"`{profile}`",
        "Built": f"{now:%Y-%m-%d %H:%M} UTC",
        "Commit": f"`{provenance.commit()}`",
        "Device": provenance.device_name(encoders.default_device()),
        "System": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    } | {name: metadata.version(name) for name in PACKAGES}
    return table({"What": name, "This copy": value} for name, value in facts.items())


def costs(tree: Path) -> str:
    """Seconds and memory of executing each page."""
    rows = []
    for page in sorted((tree / "notebooks").glob("*.ipynb")):
        about = json.loads(page.read_text(encoding="utf-8"))["metadata"]
        cost = about.get("cost", {"seconds": 0, "peak_mb": 0})
        numbers = {"Seconds": f"{cost['seconds']:.0f}", "Memory (MB)": f"{cost['peak_mb']:,}"}
        rows.append({"Page": f"{{doc}}`/notebooks/{page.stem}`"} | numbers)
    return table(rows)


def at_hand(results: Path) -> str:
    """How many runs of each experiment have a record, and what made them."""
    files = sorted(results.glob("*/*.provenance.jsonl"))
    made = [{"Experiment": f.parent.name} | line for f in files for line in lines(f)]
    if not made:
        return "This profile has no records yet."
    runs = pd.DataFrame(made).reindex(
        columns=["Experiment", "model", "task", "seconds", "device", "source"]
    )
    runs["made"] = runs["source"].fillna("–") + "; " + runs["device"]
    groups = runs.fillna("–").groupby(["Experiment", "model", "task"], sort=False)
    told = {"made": lambda values: ", ".join(sorted(set(values)))}
    rows = groups.agg({"seconds": ["size", "sum"]} | told).reset_index()
    rows.columns = ["Experiment", "Model", "Task", "Runs", "Hours", "Text from; device"]
    return table(rows.assign(Hours=(rows["Hours"] / 3600).map("{:.2f}".format)))


def tasks() -> str:
    """Every task of the library: kind, metric, what it stands for, licence."""
    return table(
        {
            "Task": f"`{name}` {task.title}",
            "Kind": task.kind,
            "Metric": task.metric.replace("_", " ") or "none",
            "Remark": task.standing or "as in the papers",
            "Licence": task.licence,
        }
        for name, task in corpora.TASKS.items()
    )


def rated() -> str:
    """Tasks of rated sentences: sizes, labels, near-duplicates, and the agreement of people."""
    try:
        found = [corpora.load(name) for name in ("polarity", "domain", "valence")]
    except lib.BadInput as error:
        return f"{error}."
    agreed = archive.human_ceiling([text for text, _ in found[-1].test])
    people = ", ".join(f"{name} {agreed[name]:.3f}" for name in ("pearson", "spearman"))
    return table(_rated(task, "" if task.labels else people) for task in found)


def _rated(task, people: str) -> dict[str, str]:
    labels = pd.Series([label for part in (task.train, task.dev, task.test) for _, label in part])
    kinds = labels.value_counts().reindex(task.labels) if task.labels else {}
    spread = f"mean {labels.mean():.2f}, standard deviation {labels.std():.2f}" if people else ""
    duplicates = task.skipped.get("near-duplicates, kept in one part", 0)
    return {
        "Task": f"`{task.name}`",
        "Train / dev / test": " / ".join(f"{len(p):,}" for p in (task.train, task.dev, task.test)),
        "Labels": spread or ", ".join(f"{name} {n:,}" for name, n in kinds.items()),
        "Near-duplicates": f"{duplicates:,}",
        "Human ceiling": people or "–",
    }


def profiles() -> str:
    """Every setting by profile, and what experiments have apart."""
    fields, tables = settings.Settings.model_fields, settings.profiles()
    usual = {name: f.default for name, f in fields.items() if name not in settings.INNER}
    values = {
        profile: usual | {"profile": profile} | table["all"] for profile, table in tables.items()
    }
    rows = [
        {"Field": f"`{name}`"} | {profile: plain(known[name]) for profile, known in values.items()}
        for name in usual
    ]
    own = [(e, name) for known in tables.values() for e in known.keys() - {"all", "purpose"}
           for name in known[e]]  # fmt: skip
    for experiment, name in sorted(set(own)):
        of = {p: settings.defaults(p, experiment).get(name) for p in tables}
        field = f"`{name}` of *{experiment.replace('_', ' ')}*"
        rows.append({"Field": field} | {profile: plain(value) for profile, value in of.items()})
    return table(rows)


def plain(value) -> str:
    """A value of a setting in words."""
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    look = {int: ",", float: ".3g"}.get(type(value), "")
    return f"{value:{look}}" if look else str(value)


def modules(folder: Path) -> str:
    """Write a page for each module of lib; gives the table of them with their purposes."""
    rows = []
    if not folder.with_suffix(".md").is_file():
        return ""  # a book without the reference
    folder.mkdir(exist_ok=True)
    for path in sorted(Path(lib.__file__).parent.glob("[a-z]*.py")):
        name, text = f"lib.{path.stem}", ast.get_docstring(ast.parse(path.read_text("utf-8")))
        page = f"# {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n"
        (folder / f"{name}.md").write_text(page, encoding="utf-8")
        rows.append({"Module": f"{{doc}}`library/{name}`", "Purpose": text.split("\n\n")[0]})
    return table(rows)


def models() -> str:
    """Every model of the table."""
    return table(
        [
            {
                "Model": f"`{name}` {model.title}",
                "Weights": f"`{model.hub}`" if model.hub else "in this repository",
                "Architecture": f"{model.family}, {model.blocks} blocks",
                "Trained on": model.note,
                "Licence": model.licence,
            }
            for name, model in encoders.MODELS.items()
        ]
    )


def frames(results: Path):
    """Name and table of all that pages draw: records, verdicts, benchmark, pretraining curves."""
    for experiment in sorted({path.parent for path in results.glob("*/*.jsonl")}):
        files = [f for f in sorted(experiment.glob("*.jsonl")) if ".provenance" not in f.suffixes]
        rows = [line | line.pop("values", {}) for file in files for line in lines(file)]
        yield experiment.name, pd.DataFrame(rows)
    yield "scoreboard", records.verdicts(results.name)
    made = [json.loads(file.read_text()) for file in results.parent.glob("bench/*.json")]
    parts = [part["times"] for record in made for part in record["parts"].values()]
    yield "benchmark", pd.DataFrame([row for times in parts for row in times])
    logs = {
        file.parent.name: json.loads(file.read_text()) for file in SHIPPED.glob("*/training.json")
    }
    rows = [{"model": name} | entry for name, told in logs.items() for entry in told["log"]]
    yield "pretraining", pd.DataFrame(rows)


def data(results: Path, folder: Path) -> None:
    """Write what pages draw as csv, a file for each experiment: a row a run, lists as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, found in frames(results):
        runs = found.map(lambda cell: json.dumps(cell) if isinstance(cell, list | dict) else cell)
        runs.to_csv(folder / f"{name}.csv", index=False)


def write(app) -> None:
    """Write all of it into the tree that is built."""
    tree = Path(app.srcdir)
    results = tree.parents[1] / "book" / "results" / tree.name
    texts = {
        "copy": copy(tree.name),
        "costs": costs(tree),
        "models": models(),
        "modules": modules(tree / "book/library"),
        "profiles": profiles(),
        "records": at_hand(results),
        "rated": rated(),
        "tasks": tasks(),
    }
    data(results, tree / "book/_static/data")
    (tree / "book/_generated").mkdir(exist_ok=True)
    for name, text in texts.items():
        (tree / f"book/_generated/{name}.txt").write_text(text + "\n", encoding="utf-8")


def setup(app):
    """Write before Sphinx looks for its sources."""
    app.connect("builder-inited", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
