"""Small faults that a test must notice: ``python tests/mutations.py [MODULE ...]`` makes each.

Every line changes one place of a kernel in a copy of the project and runs the tests that state its
law. A change that no test notices is a law that is missing. Minutes for all of them.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHANGES = [  # module, what stands there, what is put there, tests that must notice
    ("strategies", "begin = (n - k + 1) // 2", "begin = (n - k) // 2", "dropping"),
    ("strategies", "2 * (n // 2) - 1, -1, -2", "2 * (n // 2) - 2, -1, -2", "dropping"),
    ("strategies", "range(n - k, n)", "range(n - k - 1, n - 1)", "dropping"),
    ("dropping", "setattr(block.get_submodule(path), name, number)", "pass", "architectures"),
    ("dropping", "[value[block] for block in keep]", "value[: len(keep)]", "architectures"),
    ("dropping", "config.num_hidden_layers = len(keep)", "pass", "dropping"),
    ("training", 'weight.ndim > 1 and "bias" not in name', "True", "finetune"),
    ("training", "(self.seed << 20) + self.done", "self.seed << 20", "finetune"),
    ("training", "(updates - update) / max(updates - warm, 1)", "1", "finetune"),
    ("training", "default_rng([seed, epoch])", "default_rng(seed)", "finetune"),
    ("probes", "square.div_(len(rows))", "square.div_(len(rows) - 1)", "probes"),
    ("probes", "(part - centre).square_()", "part.square()", "probes"),
    ("selection", "(np.arange(len(exact)), exact, entry)", "(-np.arange(len(exact)), exact, entry)",
     "selection"),
    ("selection", "> oracle * (1 - tolerance / 100)", ">= oracle * (1 - tolerance / 100)",
     "selection"),
    ("similarity", "(1e-6 * self.mean).square()", "0 * self.mean", "similarity"),
    ("similarity", "alpha=-1 / self.count", "alpha=-1 / (self.count + 1)", "similarity"),
    ("similarity", 'method="average"', 'method="single"', "similarity"),
    ("similarity", "spans.min() + 1", "spans.min()", "similarity"),
    ("similarity", ".nan_to_num(0)", "", "similarity"),
    ("batches", 'if tokenizer.padding_side == "left"', "if False", "activations"),
]  # fmt: skip


def noticed(module: str, before: str, after: str, tests: str) -> bool:
    """Whether the tests fail once the change is made in a copy of the project."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("lib", "tests", "pyproject.toml", "notebooks"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, Path(folder) / name)
        file = Path(folder) / "lib" / f"{module}.py"
        text = file.read_text()
        if text.count(before) != 1:
            sys.exit(f"lib/{module}.py holds {before!r} {text.count(before)} times, not once")
        file.write_text(text.replace(before, after))
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-qx",
            "-m",
            "not slow",
            f"tests/test_{tests}.py",
        ]
        environment = os.environ | {"PYTHONPATH": folder}
        done = subprocess.run(
            command, cwd=folder, env=environment, check=False, capture_output=True
        )
        return done.returncode == 1


if __name__ == "__main__":
    for change in CHANGES:
        if sys.argv[1:] and change[0] not in sys.argv[1:]:
            continue
        print("noticed" if noticed(*change) else "NOT NOTICED", *change[:3], sep="\t", flush=True)
