"""How fast and how large, beside the peers: ``make bench``, or ``python -m tests.bench.run``.

Five parts: correlation and clusters at the size of a BERT-base; extraction of word vectors; layer
CKA and neuron correlation out of one pass; probes and the search for the fewest neurons;
fine-tuning and evaluation. Ways run in turn (A B A B ...) after a warm-up, so that a busy moment
hits all alike; each part also checks that the ways computed the same thing. The record,
``book/results/bench/<device>.json``, is what the benchmark page draws; here times are the content.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import torch

from lib import checkpoints, encoders, provenance, records
from lib.errors import BadInput, one_of
from tests.bench import clusters, peers, probing, tuning, vectors
from tests.bench.base import MODEL, Bench, rates, sizes

PARTS = {  # clusters first: a process started from a small one cannot inherit a large peak
    "clusters": clusters.clusters,
    "extraction": vectors.extraction,
    "cka": vectors.cka,
    "probing": probing.probing,
    "tuning": tuning.tuning,
}


def measure(sizes, *, device=None, with_peers: bool = True, only=tuple(PARTS)) -> dict:
    """Run parts; what each gives, and how it was made."""
    device, found = torch.device(device or encoders.default_device()), {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(sizes, device, with_peers, Path(folder))
        made = {"rates": rates(bench), "parts": found}
        for name in only:
            begin = time.perf_counter()
            part = PARTS[name](bench)
            about = _provenance(device, time.perf_counter() - begin)
            found[name] = part | {"sizes": vars(sizes), "provenance": about}
    return made


def _provenance(device: torch.device, seconds: float) -> dict:
    """What made a part."""
    return {
        "device": provenance.device_name(device),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "commit": provenance.commit(),
        "versions": provenance.versions() | peers.versions(),
        "model": MODEL,
        "weights": checkpoints.weights_digest(encoders.find(MODEL)),
        "seconds": seconds,
    }


def significant(value):
    """Plain JSON values, numbers with 6 significant digits, None for what is not finite.

    Examples
    --------
    >>> significant({"apart": 1.23456789e-7, "largest": float("inf")})
    {'apart': 1.23457e-07, 'largest': None}
    """
    return records.rounded(value, lambda number: float(f"{number:.6g}"))


def default_file(device, *, quick: bool) -> Path:
    """Where a record goes: beside the other results, or under ``_build`` for a quick try."""
    if quick:
        return records.ROOT / "_build" / "bench-quick.json"
    slug = re.sub(r"[^a-z0-9_]+", "-", provenance.device_name(device).lower()).strip("-")
    return records.results() / "bench" / f"{slug}.json"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.run", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--alone", action="store_true", help="measure ours without the peers")
    parser.add_argument("--only", nargs="+", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--device", help="default: the GPU where there is one")
    return parser


def _check(given: argparse.Namespace) -> None:
    """Refuse unknown parts and missing peers."""
    for name in given.only or ():
        one_of("part", name, PARTS)
    if not given.alone:
        peers.check_installed(given.only or PARTS)


def main(arguments: list[str] | None = None) -> int:
    """Measure, write the record, and say whether every check held.

    With ``--only`` the other parts of a record stay as they were, each with its own provenance.
    """
    given = _parser().parse_args(arguments)
    torch.set_num_threads(os.cpu_count())
    try:
        _check(given)
        options = {"device": given.device, "with_peers": not given.alone}
        record = measure(sizes(quick=given.quick), only=given.only or tuple(PARTS), **options)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    file = default_file(given.device or encoders.default_device(), quick=given.quick)
    record, before = significant(record), {}
    if given.only and file.exists():
        before = json.loads(file.read_text())["parts"]
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = record | {"parts": before | record["parts"]}
    records.write_whole(file, json.dumps(whole, indent=1) + "\n")
    checks = [entry for part in record["parts"].values() for entry in part["checks"]]
    failed = [entry for entry in checks if not entry["holds"]]
    for entry in failed:
        print(f"check failed: {entry['what']}: {entry['value']}", file=sys.stderr)
    print(f"record: {file}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
