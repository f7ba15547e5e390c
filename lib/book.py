"""From notebooks to a book: the last step of the flow, called by the Snakefile.

A page that computes is a notebook. :func:`execute` runs it by papermill into a mirror tree,
``_build/<profile>/``, where every page keeps its relative path; :func:`assemble` adds the prose and
the tables that are generated from the library; :func:`build` makes the book from that tree, always
from clean, with warnings as errors. Jupyter Book itself never executes anything.

Files are replaced whole: a killed run leaves no torn notebook, and ``index.html`` comes last.

Command line::

    python -m lib.book execute NOTEBOOK OUT [-p NAME VALUE]...
    python -m lib.book build PROFILE
    python -m lib.book figures PROFILE NAME...
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import logging
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from filelock import FileLock

from lib.errors import BadInput, one_of

ROOT = Path(__file__).resolve().parents[1]
GLUED = "application/papermill.record/text/plain"
NUMPY = re.compile(r"np\.\w+\((.+)\)")  # how NumPy writes its scalars; the page needs the number
WIDGET = "application/vnd.jupyter.widget-view+json"  # a progress bar: needs a script to show


def mirror(profile: str, root: Path = ROOT) -> Path:
    """Folder in which the book of a profile is put together: ``_build/<profile>``."""
    return root / "_build" / profile


# ---- executing one notebook -------------------------------------------------------------------


def execute(notebook, out, parameters: dict | None = None, *, cwd=None) -> dict:
    """Execute a notebook by papermill and put the result in place whole.

    The kernel is the running interpreter, whatever kernels are registered on this machine. The
    notebook finds ``lib`` because it is installed, so no working directory matters.

    Parameters
    ----------
    notebook, out
        Paths of the source and of the executed copy.
    parameters
        Values for the notebook's parameters cell, by name.
    cwd
        Working directory of the kernel; the notebook's folder unless given.

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
    try:
        with _own_kernel(), _quiet_papermill():
            done = papermill.execute_notebook(
                str(notebook),
                str(unfinished),
                parameters,
                kernel_name="python3",
                cwd=str(cwd or notebook.resolve().parent),
                progress_bar=False,
            )
    except papermill.PapermillExecutionError as error:
        if error.ename == BadInput.__name__:
            unfinished.unlink(missing_ok=True)
            raise BadInput(error.evalue) from None
        raise
    cost = {
        "seconds": round(done.metadata.papermill.duration, 1),
        "peak_mb": _peak_of_children() // 2**20,
    }
    _finish(unfinished, cost)
    unfinished.replace(out)
    return cost


def _finish(path: Path, cost: dict) -> None:
    """Make outputs fit for a page: no widgets, plain glued numbers, described images, the cost."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for cell in content["cells"]:
        if "outputs" in cell:
            cell["outputs"] = [o for o in cell["outputs"] if WIDGET not in o.get("data", {})]
        for data in (output.get("data", {}) for output in cell.get("outputs", [])):
            if GLUED in data:
                data[GLUED] = NUMPY.sub(r"\1", "".join(data[GLUED]))
        shown = cell["metadata"].get("mystnb", {})
        if "figure" in shown:  # for readers who hear the page; else it would be a file's name
            shown.setdefault("image", {}).setdefault("alt", shown["figure"]["caption"])
    content["metadata"].pop("widgets", None)
    content["metadata"]["cost"] = cost
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _peak_of_children() -> int:
    """Largest resident memory of any finished child process, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit


@contextlib.contextmanager
def _own_kernel():
    """Let ``python3`` mean this interpreter, also where another kernel has that name."""
    before = os.environ.get("JUPYTER_PATH")
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder, "kernels", "python3", "kernel.json")
        spec.parent.mkdir(parents=True)
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        argv += ["--log-level=CRITICAL"]  # or it complains of being shut down
        spec.write_text(
            json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"})
        )
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [folder, before]))
        try:
            yield
        finally:
            os.environ.pop("JUPYTER_PATH")
            if before is not None:
                os.environ["JUPYTER_PATH"] = before


@contextlib.contextmanager
def _quiet_papermill():
    """Keep papermill from printing what the reader of a build cannot use."""
    logger = logging.getLogger("papermill")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


# ---- assembling and building ------------------------------------------------------------------


def pages(root: Path = ROOT) -> list[str]:
    """Every page named by ``_toc.yml``, in reading order, without its ending."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    return list(_files(toc))


def _files(entry):
    """Names of pages in a nested table of contents."""
    for name in ("root", "file"):
        if name in entry:
            yield entry[name]
    for name in ("parts", "chapters", "sections"):
        for child in entry.get(name, []):
            yield from _files(child)


def assemble(profile: str, root: Path = ROOT) -> Path:
    """Put config, prose and generated tables beside the executed notebooks.

    Raises
    ------
    BadInput
        If a notebook of the table of contents has not been executed yet.
    """
    from lib import tables  # noqa: PLC0415  (needs torch; executing does not)

    tree = mirror(profile, root)
    notebooks = [page for page in pages(root) if page.startswith("notebooks/")]
    for page in notebooks:
        if not (tree / f"{page}.ipynb").is_file():
            raise BadInput(f"{page}.ipynb has not been executed at profile {profile!r} yet")
    for old in (tree / "_build/html/index.html", tree / "_build", tree / "book"):
        shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    shutil.copytree(root / "book", tree / "book", ignore=shutil.ignore_patterns("results", "__*"))
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(root / name, tree / name)
    tables.write(profile, tree, notebooks)
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


def keep_figures(profile: str, names: list[str], root: Path = ROOT) -> list[Path]:
    """Copy figures of executed notebooks, by the names pages give them, to where the readme is.

    Returns
    -------
    list of Path
        ``book/_static/readme/<name>.png``.

    Raises
    ------
    BadInput
        If no executed notebook of the profile has a figure of a name.
    """
    found = {}
    for path in sorted((mirror(profile, root) / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            name = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name")
            for output in cell.get("outputs", []):
                if name and "image/png" in output.get("data", {}):
                    found[name] = output["data"]["image/png"]
    folder = root / "book" / "_static" / "readme"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        one_of("figure", name, found)
        (folder / f"{name}.png").write_bytes(base64.b64decode(found[name]))
    return [folder / f"{name}.png" for name in names]


def main(arguments: list[str] | None = None) -> None:
    """Command line of this module; a ``BadInput`` ends it with one sentence and status 2."""
    parser = argparse.ArgumentParser(prog="python -m lib.book", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("execute", help="execute one notebook")
    one.add_argument("notebook")
    one.add_argument("out")
    one.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    whole = commands.add_parser("build", help="build the book from executed notebooks")
    whole.add_argument("profile")
    kept = commands.add_parser("figures", help="copy figures of executed notebooks for the readme")
    kept.add_argument("profile")
    kept.add_argument("names", nargs="+", metavar="name")
    given = parser.parse_args(arguments)
    try:
        if given.command == "build":
            build(given.profile)
        elif given.command == "figures":
            print(*keep_figures(given.profile, given.names), sep="\n")
        else:
            values = {name: yaml.safe_load(value) for name, value in given.p}
            cost = execute(given.notebook, given.out, values)
            print(f"{given.out}: {cost['seconds']:.0f} s, {cost['peak_mb']} MB")
    except BadInput as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
