# The book as a graph: library and notebooks -> (records ->) executed pages -> book.
#
#   snakemake --cores 2                                    tiny, as `make book` calls it
#   snakemake --cores 2 --config profile=small             another profile
#   snakemake --executor slurm --jobs 20 --config profile=paper --default-resources ...
#
#   snakemake all_records --cores 2 --config profile=small the records first; then the book
#
# At tiny a page computes its whole grid in one process. At the other profiles a page draws the
# records there are, and `all_records` fills every record file that lacks runs by a job of its own:
# the same notebook for one model and one task.

import sys
from pathlib import Path

PROFILE = config.get("profile", "tiny")
TREE = f"_build/{PROFILE}"
PAGES = sorted(path.stem for path in Path("notebooks").glob("*.ipynb"))
LIBRARY = sorted(map(str, Path("lib").rglob("*.py")))
BUILDER = ["lib/book.py", "lib/tables.py"]  # what no notebook's outcome depends on
DRAWING = ["lib/report.py", "lib/figures.py"]
SHOWN = [path for path in LIBRARY if path not in BUILDER]
NUMBERS = [path for path in SHOWN if path not in DRAWING]
SOURCES = [
    str(path)
    for path in sorted(Path("book").rglob("*"))
    if path.is_file() and not {"results", "__pycache__"} & set(path.parts)
]
PYTHON = sys.executable

# Some runs serve several pages: the first of them makes the records, the others find them.
SERVED = {
    "02_layer_similarity": "01_activations",
    "03_neuron_correlation": "01_activations",
    "05_neuron_rankings": "04_layer_probes",
    "06_efficient_transfer": "04_layer_probes",
    "09_layers_to_spare": "08_dropping",
}
# What a page waits for. The model tuned whole is made by 12 and read by 08.
AFTER = {page: [other] for page, other in SERVED.items()} | {
    "03_neuron_correlation": ["01_activations", "04_layer_probes"],
    "12_tuning": ["07_strategies"],
    "08_dropping": ["12_tuning"],
    "10_distilled": ["08_dropping"],
}

# Pages that draw other records than those of their own experiment at this profile.
DRAWN = {
    "a0_benchmark": ["bench/*.json"],
    "03_neuron_correlation": [
        f"{PROFILE}/neuron_correlation/*.jsonl",
        f"{PROFILE}/clustered_probes/*.jsonl",
    ],
    "09_layers_to_spare": [f"{PROFILE}/dropping/*.jsonl"],
    "10_distilled": [f"{PROFILE}/distilled/*.jsonl", f"{PROFILE}/dropping/*.jsonl"],
    "12_tuning": [f"{PROFILE}/tuning/*.jsonl", f"{PROFILE}/dropping/*.jsonl"],
}

# Parameter that names a page's text, and cores of one job, where they are not the usual ones. Small
# batches hardly gain from a second core; two jobs of one core each are faster.
TUNED = ("08_dropping", "10_distilled", "12_tuning")
TEXTS = dict.fromkeys(("07_strategies", "11_cost", *TUNED), "tuned_on")
TEXTS["04_layer_probes"] = "probed"
THREADS = dict.fromkeys(TUNED, 1)
ALONE = ("11_cost",)  # pages that take times: nothing may run beside them


def experiment(page):
    """Name of a page's experiment: 02_layer_similarity holds layer_similarity."""
    return page.split("_", 1)[1]


def computes(page):
    """Whether a page may compute; one that draws no grid of a profile has no such parameter."""
    return PROFILE == "tiny" or "compute: bool" not in Path(f"notebooks/{page}.ipynb").read_text()


def jobs():
    """Every record file of this profile's grid: name of its job, and (page, model, task, lacks runs).

    The name holds the digest of the settings, so that other settings are another job.
    """
    if PROFILE == "tiny":
        return {}
    from lib import grids, profiles
    from lib import old_records as records

    found = {}
    for page in PAGES:
        if experiment(page) not in grids.AFFECTS or page in SERVED:
            continue
        settings = profiles.get(PROFILE, experiment(page))
        for run in settings.runs():
            file = records.path(PROFILE, run).stem
            name = f"{page}/{file}--{settings.digest(run)}"
            lacking = found.get(name, (False,))[-1] or records.find(settings, run) is None
            found[name] = (page, run.model, run.task, lacking)
    return found


JOBS = jobs()


def page_needs(wildcards):
    """What must be there before a page runs."""
    page = wildcards.page
    before = [f"{TREE}/notebooks/{other}.ipynb" for other in AFTER.get(page, [])]
    patterns = DRAWN.get(page, [f"{PROFILE}/{experiment(page)}/*.jsonl"])
    drawn = (path for pattern in patterns for path in Path("book/results").glob(pattern))
    records = sorted(map(str, drawn)) if PROFILE != "tiny" or page in DRAWN else []
    fresh = [f"{TREE}/.fresh"] if PROFILE == "tiny" else []
    return [f"notebooks/{page}.ipynb", *SHOWN, *before, *records, *fresh]


def job_needs(wildcards):
    """The notebook, and the same model's and task's job of the page that its page waits for."""
    page, model, task, _ = JOBS[f"{wildcards.page}/{wildcards.job}"]
    before = [
        f"{TREE}/jobs/{name}.ipynb"
        for name, (other, *cell, lacking) in JOBS.items()
        if other in AFTER.get(page, []) and cell == [model, task] and lacking
    ]
    return [f"notebooks/{page}.ipynb", *before]


wildcard_constraints:
    page="[a-z0-9_]+",


localrules:
    fresh,
    book,
    all_records,


rule book:
    input:
        [f"{TREE}/notebooks/{page}.ipynb" for page in PAGES],
        SOURCES,
        LIBRARY,
        "_config.yml",
        "_toc.yml",
    output:
        f"{TREE}/_build/html/index.html",
    shell:
        "{PYTHON:q} -m lib.book build {PROFILE}"


rule all_records:
    input:
        [f"{TREE}/jobs/{name}.ipynb" for name, (*_, lacking) in JOBS.items() if lacking],


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
        f"{TREE}/notebooks/{{page}}.ipynb",
    threads: lambda wildcards: workflow.cores if wildcards.page in ALONE else 1
    resources:
        mem_mb=4000,
    params:
        only=lambda wildcards: "" if computes(wildcards.page) else "-p compute False",
    shell:
        "OMP_NUM_THREADS={threads} {PYTHON:q} -m lib.book execute notebooks/{wildcards.page}.ipynb {output}"
        " -p profile {PROFILE} {params.only}"


rule records:
    input:
        job_needs,
    output:
        f"{TREE}/jobs/{{page}}/{{job}}.ipynb",
    params:
        model=lambda wildcards: JOBS[f"{wildcards.page}/{wildcards.job}"][1],
        task=lambda wildcards: JOBS[f"{wildcards.page}/{wildcards.job}"][2],
        text=lambda wildcards: TEXTS.get(wildcards.page, "tasks"),
    threads: lambda wildcards: THREADS.get(wildcards.page, 4)
    resources:
        mem_mb=16000,
    shell:
        "OMP_NUM_THREADS={threads} {PYTHON:q} -m lib.book execute notebooks/{wildcards.page}.ipynb {output}"
        " -p profile {PROFILE} -p models '[{params.model}]' -p {params.text} '[{params.task}]'"
