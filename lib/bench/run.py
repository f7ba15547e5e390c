"""How fast and how large, beside the peers: ``make bench``, or ``python -m lib.bench.run``.

Five parts: extraction of word vectors; correlation and clusters at the size of a BERT-base; layer
CKA and neuron correlation out of one pass; probes and the search for the fewest neurons;
fine-tuning and evaluation. Ways run in turn (A B A B ...) after a warm-up, so that a busy moment
hits all alike; each part also checks that the ways computed the same thing. The record,
``book/results/bench/<device>.json``, is what the benchmark page draws; here times are the content.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import torch

from lib import encoders
from lib import old_records as records
from lib.bench import clusters, peers, probing, tuning, vectors
from lib.bench.base import MODEL, QUICK, Bench, Sizes, rates
from lib.errors import BadInput

PARTS = {
    "clusters": clusters.clusters,
    "extraction": vectors.extraction,
    "cka": vectors.cka,
    "probing": probing.probing,
    "tuning": tuning.tuning,
}


def measure(sizes: Sizes, *, device=None, with_peers: bool = True) -> dict:
    """Run every part and give the whole record.

    The clusters come first: a process started from a small one cannot inherit a large peak.
    """
    device = torch.device(device or encoders.default_device())
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(sizes, device, with_peers, Path(folder))
        found, checks = {"rates": rates(bench)}, []
        for name, part in PARTS.items():
            found[name], passed = part(bench)
            checks += passed
    made = records.provenance(
        device=device,
        weights=encoders.digest(encoders.find(MODEL)),
        data=found["extraction"].pop("data"),
        source=found["extraction"].pop("source"),
        seconds=time.perf_counter() - begin,
    )
    made["versions"] |= peers.versions()
    made |= {"threads": torch.get_num_threads(), "cores": os.cpu_count(), "model": MODEL}
    return found | {"sizes": asdict(sizes), "checks": checks, "provenance": made}


def significant(value):
    """Plain JSON values, numbers with 6 significant digits, None for what is not finite.

    Examples
    --------
    >>> significant({"apart": 1.23456789e-7, "largest": float("inf")})
    {'apart': 1.23457e-07, 'largest': None}
    """
    if isinstance(value, dict):
        return {str(key): significant(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [significant(entry) for entry in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def default_file(device, *, quick: bool) -> Path:
    """Where a record goes: beside the other results, or under ``_build`` for a quick try."""
    if quick:
        return records.ROOT / "_build" / "bench-quick.json"
    slug = re.sub(r"[^a-z0-9_]+", "-", records.device_name(device).lower()).strip("-")
    return records.results() / "bench" / f"{slug}.json"


def main(arguments: list[str] | None = None) -> int:
    """Measure, write the record, and say whether every check held."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.bench.run", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--alone", action="store_true", help="measure ours without the peers")
    parser.add_argument("--device", help="default: the GPU where there is one")
    parser.add_argument("--threads", type=int, help="of torch; default: one per core")
    parser.add_argument("--out", type=Path, help="file of the record")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads or os.cpu_count())
    try:
        if not given.alone:
            peers.check_installed()
        sizes = QUICK if given.quick else Sizes()
        record = measure(sizes, device=given.device, with_peers=not given.alone)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    file = given.out or default_file(given.device or encoders.default_device(), quick=given.quick)
    file.parent.mkdir(parents=True, exist_ok=True)
    records.write_whole(file, json.dumps(significant(record), indent=1) + "\n")
    failed = [entry for entry in record["checks"] if not entry["holds"]]
    for entry in failed:
        print(f"check failed: {entry['what']}: {entry['value']:.3g}", file=sys.stderr)
    print(f"record: {file}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
