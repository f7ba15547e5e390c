"""From notebooks to a book: the last step of the flow, called by the Snakefile.

A page that computes is a notebook. :func:`execute` runs it by papermill into a mirror tree,
``_build/<profile>/``, where every page keeps its relative path; :func:`assemble` adds the prose;
:func:`build` makes the book of that tree, always from clean, with warnings as errors. Jupyter Book
itself executes nothing; what it writes of its own (tables, data, reference) is in ``book/_ext``.

Command line::

    python -m lib.book execute NOTEBOOK OUT [-p NAME VALUE]...
    python -m lib.book build PROFILE
"""

import argparse
import json
import logging
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from filelock import FileLock

from lib.errors import BadInput

ROOT = Path(__file__).resolve().parents[1]
GLUED = "application/papermill.record/text/plain"
NUMPY = re.compile(r"np\.\w+\((.+)\)")  # how NumPy writes its scalars; the page needs the number
WIDGET = "application/vnd.jupyter.widget-view+json"  # a progress bar: needs a script to show


def mirror(profile: str, root: Path = ROOT) -> Path:
    """Folder in which the book of a profile is put together: ``_build/<profile>``."""
    return root / "_build" / profile


# ---- executing one notebook -------------------------------------------------------------------


def execute(notebook, out, parameters: dict | None = None) -> dict:
    """Execute a notebook by papermill and put the result in place whole.

    The kernel is this interpreter. A page finds ``lib`` because it is installed, so no working
    directory matters.

    Parameters
    ----------
    notebook, out
        Paths of the source and of the executed copy.
    parameters
        Values for the notebook's parameters, by name.

    Returns
    -------
    dict
        ``seconds`` (wall) and ``peak_mb`` (largest resident memory of the kernel), which are also
        written into the copy's metadata.

    Raises
    ------
    BadInput
        If the file is missing, and for every ``BadInput`` that the notebook itself ended with: an
        unknown parameter, a wrong value.
    papermill.PapermillExecutionError
        For any other error; the notebook as far as it came is kept beside ``out``.
    """
    import papermill  # noqa: PLC0415

    notebook, out, parameters = Path(notebook), Path(out), parameters or {}
    if not notebook.is_file():
        raise BadInput(f"notebook {str(notebook)!r} does not exist")
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f".{out.stem}.unfinished.ipynb")
    if folder := os.environ.get("REDUNDANCY_RESULTS"):  # the kernel starts in another folder
        os.environ["REDUNDANCY_RESULTS"] = str(Path(folder).absolute())
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # else a user's own kernel may have the name
    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        done = papermill.execute_notebook(
            str(notebook),
            str(unfinished),
            parameters,
            kernel_name="python3",
            cwd=str(notebook.resolve().parent),
            progress_bar=False,
            extra_arguments=["--log-level=CRITICAL"],  # of the kernel, or it speaks of transports
        )
    except papermill.PapermillExecutionError as error:
        if error.ename != BadInput.__name__:
            raise
        unfinished.unlink(missing_ok=True)
        raise BadInput(error.evalue) from None
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    peak //= 2**20 if sys.platform == "darwin" else 2**10
    cost = {"seconds": round(done.metadata.papermill.duration, 1), "peak_mb": peak}
    _finish(unfinished, cost)
    unfinished.replace(out)
    return cost


def _finish(path: Path, cost: dict) -> None:
    """Make outputs fit for a page: no widgets, plain glued numbers; note what it cost."""
    content = json.loads(path.read_text(encoding="utf-8"))
    _head(content["cells"][0], path.name.lstrip(".").split("_")[0])
    for cell in content["cells"]:
        if "injected-parameters" in cell["metadata"].get("tags", ()):
            cell["metadata"]["tags"].append("remove-cell")  # the page says which build it is
        outputs = cell.get("outputs", [])
        outputs[:] = [output for output in outputs if WIDGET not in output.get("data", {})]
        for data in (output.get("data", {}) for output in outputs):
            if GLUED in data:
                data[GLUED] = NUMPY.sub(r"\1", "".join(data[GLUED]))
    content["metadata"].pop("widgets", None)
    content["metadata"]["cost"] = cost
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _head(cell: dict, number: str) -> None:
    """Number the title, and give question, answer and caveat a line each."""
    text = re.sub(r"\n+(?=\*\*(?:Answer|Caveat)\.\*\*)", "\n\n", "".join(cell["source"]))
    if re.fullmatch(r"(?!00)[a-z\d]\d", number):
        text = re.sub(r"^# ", f"# {number} ", text, count=1, flags=re.MULTILINE)
    cell["source"] = text


# ---- assembling and building ------------------------------------------------------------------


def pages(root: Path = ROOT) -> list[str]:
    """Every page named by ``_toc.yml``, in reading order, without its ending."""
    return list(_files(yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))))


def _files(entry):
    """Names of pages in a nested table of contents."""
    yield from (entry[name] for name in ("root", "file") if name in entry)
    for name in ("parts", "chapters", "sections"):
        for child in entry.get(name, []):
            yield from _files(child)


def assemble(profile: str, root: Path = ROOT) -> Path:
    """Put config and prose beside the executed notebooks.

    Raises
    ------
    BadInput
        If a notebook of the table of contents has not been executed yet.
    """
    tree = mirror(profile, root)
    notebooks = [page for page in pages(root) if page.startswith("notebooks/")]
    for page in notebooks:
        if not (tree / f"{page}.ipynb").is_file():
            raise BadInput(f"{page}.ipynb has not been executed at profile {profile!r} yet")
    left = (tree / "notebooks").glob(".*.ipynb")  # of runs that were stopped
    for old in (tree / "_build/html/index.html", tree / "_build", tree / "book", *left):
        shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    shutil.copytree(root / "book", tree / "book", ignore=shutil.ignore_patterns("results", "__*"))
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(root / name, tree / name)
    return tree


def build(profile: str, root: Path = ROOT) -> Path:
    """Build the book of a profile from its executed notebooks; warnings are errors.

    Returns
    -------
    Path
        The book's ``index.html``.

    Raises
    ------
    BadInput
        If a notebook is missing, or Jupyter Book found something to complain about.
    """
    mirror(profile, root).mkdir(parents=True, exist_ok=True)
    with FileLock(mirror(profile, root) / ".lock"):
        tree = assemble(profile, root)
        command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
        command += ["build", "-W", "-n", "--keep-going", "--quiet", str(tree)]
        done = subprocess.run(command, cwd=tree, check=False, capture_output=True, text=True)
        if done.returncode:
            sys.stderr.write(done.stdout + done.stderr)
            raise BadInput(f"the book of profile {profile!r} has the faults named above")
    return tree / "_build" / "html" / "index.html"


def main(arguments: list[str] | None = None) -> None:
    """Command line of this module; a ``BadInput`` ends it with one sentence and status 2."""
    parser = argparse.ArgumentParser(prog="python -m lib.book", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("execute", help="execute one notebook")
    one.add_argument("notebook")
    one.add_argument("out")
    one.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    commands.add_parser("build", help="build the book from executed pages").add_argument("profile")
    given = parser.parse_args(arguments)
    try:
        if given.command == "build":
            build(given.profile)
            return
        values = {name: yaml.safe_load(value) for name, value in given.p}
        cost = execute(given.notebook, given.out, values)
        print(f"{given.out}: {cost['seconds']:.0f} s, {cost['peak_mb']} MB")
    except BadInput as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
