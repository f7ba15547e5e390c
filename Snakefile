# The book as a graph: library and notebooks -> (records ->) executed pages -> book.
#
#   snakemake --cores 2                                    tiny, as `make book` calls it
#   snakemake --cores 2 --config profile=small             another profile
#   snakemake all_records --cores 2 --config profile=small the records first; then the book
#   snakemake all_records --executor slurm --jobs 20 --config profile=paper --default-resources ...
#
# At tiny a page computes its whole grid in one process. At the other profiles a page draws the
# records there are, and `all_records` runs the same page for one model and one task at a time; a
# job whose records are there ends in seconds. The graph knows pages, models and tasks, not grids:
# a page names its experiments (`settings.of("name", ...)`), lib/profiles.yml their models and tasks.

import re
import sys
from itertools import chain, product
from pathlib import Path

import yaml

PYTHON = sys.executable
PROFILE = config.get("profile", "tiny")
TREE = f"_build/{PROFILE}"
SHIPPED = yaml.safe_load(Path("lib/profiles.yml").read_text())[PROFILE]
TEXTS = {path.stem: path.read_text() for path in sorted(Path("notebooks").glob("*.ipynb"))}
LAST = "00_scoreboard"
NAMED = {page: set(re.findall(r'settings\.of\(\\"(\w+)', text)) for page, text in TEXTS.items()}
NAMED[LAST] = set()  # it reads what the other pages found
OWNER = {page.split("_", 1)[1]: page for page in TEXTS}  # of others the first page that names it
OWNER = {name: page for page in reversed(TEXTS) for name in NAMED[page]} | OWNER
LIBRARY = [str(path) for path in sorted(Path("lib").rglob("*")) if path.suffix in (".py", ".yml")]
SHOWN = [path for path in LIBRARY if path != "lib/book.py"]  # no page depends on the builder
NUMBERS = [path for path in SHOWN if path != "lib/style.py"]
SOURCES = [
    str(path)
    for path in sorted(Path("book").rglob("*"))
    if path.is_file() and not {"results", "__pycache__"} & set(path.parts)
]
TASKS = {"clustered_probes": "probed"}  # parameter for an experiment's tasks, if not `tasks`
SAME = sorted(page for page in NAMED if not NAMED[page] and page != LAST)  # in every book
ALONE = ("11_cost",)  # takes times: nothing may run beside it
REST = ("08_dropping",)  # has cells of a model that no job of one task makes
SINGLE = ("08_dropping", "10_distilled", "12_tuning")  # small batches gain nothing from more cores


def own(page):
    """Experiments that a page makes the records of: its name's, and those of no other page."""
    return {name for name in NAMED[page] if OWNER.get(name, page) == page}


def before(page):
    """Pages that make records which a page reads."""
    others = {OWNER[name] for name in NAMED[page] - own(page)}
    return sorted(other for other in others if not own(page) & NAMED[other])


def records(page):
    """Files of records that a page draws; at tiny it makes them."""
    found = set(Path("book/results/bench").glob("*.json")) if page == "a0_benchmark" else set()
    if page == LAST:
        found |= {path for path in Path("book/results").glob("*/*/*.json*") if "tiny" not in path.parts}
    for name in NAMED[page] if PROFILE != "tiny" else ():
        found |= set(Path("book/results", PROFILE, name).glob("*.jsonl"))
    return sorted(map(str, found))


def page_needs(wildcards):
    """What must be there before a page runs."""
    page = wildcards.page
    others = set(TEXTS) - {LAST} if page == LAST else before(page)
    pages = [f"{TREE}/notebooks/{other}.ipynb" for other in sorted(others)]
    fresh = [f"{TREE}/.fresh"] if PROFILE == "tiny" and NAMED[page] else []
    return [f"notebooks/{page}.ipynb", *SHOWN, *pages, *records(page), *fresh]


def jobs():
    """Name of each job of the records: its page, model, task, and the texts that it is given.

    A job without a task comes last and makes what those of one task have left.
    """
    found = {}
    for page in TEXTS:
        tables = {name: SHIPPED["all"] | SHIPPED.get(name, {}) for name in sorted(own(page))}
        apart = {TASKS[name]: tables.pop(name)["tasks"] for name in TASKS if name in tables}
        for model in dict.fromkeys(chain(*(table["models"] for table in tables.values()))):
            mine = [table["tasks"] for table in tables.values() if model in table["models"]]
            lists = {"tasks": list(chain(*mine))} | apart
            for task in dict.fromkeys(chain(*lists.values())):
                given = {name: task if task in tasks else tasks[0] for name, tasks in lists.items()}
                found[f"{page}/{model.replace('/', '__')}--{task}"] = (page, model, task, given)
            if page in REST:
                found[f"{page}/{model.replace('/', '__')}--rest"] = (page, model, None, {})
    return found


JOBS = jobs()


def job_needs(wildcards):
    """The notebook, and the jobs that make records which this one reads or would make again."""
    page, model, task, given = JOBS[f"{wildcards.page}/{wildcards.job}"]
    cells = {(other, model, task) for other in before(page)}
    cells |= {(page, model, name) for name in given.values() if name != task}
    if task is None:
        cells = {tuple(cell) for *cell, _ in JOBS.values() if cell[:2] == [page, model] and cell[2]}
    earlier = [name for name, (*cell, _) in JOBS.items() if tuple(cell) in cells]
    return [f"notebooks/{page}.ipynb", *(f"{TREE}/jobs/{name}.ipynb" for name in earlier)]


def parameters(wildcards):
    """One model and one task, as papermill takes them."""
    _, model, _, given = JOBS[f"{wildcards.page}/{wildcards.job}"]
    return " ".join(f"-p {name} '[{value}]'" for name, value in {"models": model, **given}.items())


def only(page):
    """At other profiles than tiny a page that keeps records computes none."""
    return "" if PROFILE == "tiny" or not NAMED[page] else "-p compute False"


wildcard_constraints:
    page="[a-z0-9_]+",
    profile="[a-z]+",


localrules:
    fresh,
    book,
    all_records,


rule book:
    input:
        [f"{TREE}/notebooks/{page}.ipynb" for page in TEXTS],
        SOURCES,
        LIBRARY,
        "_config.yml",
        "_toc.yml",
    output:
        f"{TREE}/_build/html/index.html",
    shell:
        "{PYTHON:q} -m lib.book build {PROFILE}"


# The jobs' notebooks go when all are done: the next call looks at the records again.
rule all_records:
    input:
        [f"{TREE}/jobs/{name}.ipynb" for name in JOBS],


# Records of tiny were made by the library as it was: after a change of it they are made anew.
rule fresh:
    input:
        NUMBERS,
    output:
        touch(f"{TREE}/.fresh"),
    shell:
        "rm -rf book/results/{PROFILE}"


rule page:
    input:
        page_needs,
    output:
        "_build/{profile}/notebooks/{page}.ipynb",
    threads: lambda wildcards: workflow.cores if wildcards.page in ALONE and not only(wildcards.page) else 1
    resources:
        mem_mb=4000,
    params:
        only=lambda wildcards: only(wildcards.page),
    shell:
        "OMP_NUM_THREADS={threads} {PYTHON:q} -m lib.book execute notebooks/{wildcards.page}.ipynb {output}"
        " -p profile {wildcards.profile} {params.only}"


# A page without an experiment is the same in every book: what was executed for tiny is taken.
if PROFILE != "tiny":

    ruleorder: same > page

    rule same:
        input:
            "_build/tiny/notebooks/{page}.ipynb",
        output:
            f"{TREE}/notebooks/{{page}}.ipynb",
        wildcard_constraints:
            page="|".join(SAME),
        shell:
            "cp {input} {output}"


rule records:
    input:
        job_needs,
    output:
        temp(f"{TREE}/jobs/{{page}}/{{job}}.ipynb"),
    params:
        cell=parameters,
    threads: lambda wildcards: 1 if wildcards.page in SINGLE else 4
    resources:
        mem_mb=16000,
    shell:
        "OMP_NUM_THREADS={threads} {PYTHON:q} -m lib.book execute notebooks/{wildcards.page}.ipynb {output}"
        " -p profile {PROFILE} {params.cell}"
