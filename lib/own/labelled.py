"""A labelled file of the reader's own, as a task: named columns of text, and one of labels.

Whatever is not as it should be is refused with file and line; only blank lines are passed over, and
counted. Labels become the model's own class names, in the order of its class numbers.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lib.corpora import Task
from lib.errors import BadInput, one_of
from lib.files import Reading
from lib.metrics import METRICS

LEAST = 50  # different texts of a file, so that each part has ten
SHARES = (0.6, 0.8)  # where train ends, and dev
NUMBERS = ("pearson_spearman",)  # metrics of a head with one output
TWO_CLASSES = ("f1", "accuracy_and_f1")  # they look for the second of two classes

Row = tuple[str, dict]


def metrics_of(classes: Sequence[str]) -> list[str]:
    """Metrics that fit a head with these classes, the usual one first; no class means a number."""
    if not classes:
        return list(NUMBERS)
    many = len(classes) > 2
    return [name for name in METRICS if name not in NUMBERS + TWO_CLASSES * many]


def task(
    file: str | Path,
    classes: Sequence[str],
    *,
    text: Sequence[str],
    label: str,
    metric: str | None = None,
    seed: int = 0,
) -> Task:
    """Read a labelled file and cut it into train, dev and test: three, one and one fifth.

    Rows with the same text come into the same part. Memory: the file, as Python strings.

    Parameters
    ----------
    file
        ``.csv`` or ``.tsv`` with a header and the usual quotation marks, or ``.jsonl`` with an
        object on each line; UTF-8.
    classes
        Names of the model's classes in the order of their numbers; none if it gives a number.
    text
        Name of the column of text, or names of two for pairs.
    label
        Name of the column of labels: in all rows names of classes, in all rows their numbers, or
        for a model without classes finite numbers.
    metric
        One of :func:`metrics_of`; default the first of them.
    seed
        Decides which text comes into which part.

    Returns
    -------
    Task

    Raises
    ------
    BadInput
        For another ending, a file that cannot be read, a column or label that does not exist, a
        blank text, a label that is missing, not finite or the same in all rows, and fewer than
        :data:`LEAST` texts.
    """
    file, valid = Path(file), metrics_of(classes)
    one_of("metric of this model:", metric or valid[0], valid)
    one_of(f"{file}: ending", file.suffix, READERS)
    reading = Reading()
    rows = [_row(place, row, text, label) for place, row in READERS[file.suffix](file, reading)]
    known = _numbers(rows) if not classes else _classes(rows, classes)
    if rows and len({raw for *_, raw in rows}) == 1:
        raise BadInput(f"{file}: every row has the label {rows[0][-1]!r}; two are needed at least")
    train, dev, test = _parts(file, [(text, known[raw]) for _, text, raw in rows], seed)
    kind = "sentence" if len(text) == 1 else "pair"
    return Task(
        "own", file.stem, kind, metric or valid[0], tuple(classes), f"file {file.name}",
        reading.digest, dict(+reading.left_out), train, dev, test,
    )  # fmt: skip


def _table(path: Path, reading: Reading, delimiter: str) -> list[Row]:
    """Rows of a file with a header, each with its place and its fields by column."""
    table = csv.reader(
        (line + "\n" for _, line in reading.lines(path)), delimiter=delimiter, strict=True
    )
    try:
        rows = [(f"{path}:{table.line_num}", row) for row in table]
    except csv.Error as error:
        raise BadInput(f"{path}:{table.line_num}: is malformed ({error})") from error
    reading.left_out["blank lines"] += sum(not row for _, row in rows)
    (place, header), *rows = [(place, row) for place, row in rows if row] or [(str(path), [])]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise BadInput(f"{place}: columns {twice} are named twice; each needs a name of its own")
    for place, row in rows:
        if len(row) != len(header):
            raise BadInput(f"{place}: has {len(row)} columns, the header has {len(header)}")
    return [(place, dict(zip(header, row, strict=True))) for place, row in rows]


def _json_lines(path: Path, reading: Reading) -> list[Row]:
    """Objects of a file with one on each line, each with its place."""
    lines = reading.lines(path)
    reading.left_out["blank lines"] += sum(not line.strip() for _, line in lines)
    return [(place, _json_object(place, line)) for place, line in lines if line.strip()]


def _json_object(place: str, line: str) -> dict:
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        raise BadInput(f"{place}: is not JSON ({error.msg})") from error
    if not isinstance(found, dict):
        raise BadInput(f"{place}: is no JSON object with named values: {line!r:.80}")
    return found


READERS = {
    ".csv": partial(_table, delimiter=","),
    ".tsv": partial(_table, delimiter="\t"),
    ".jsonl": _json_lines,
}


def _row(place: str, row: dict, text: Sequence[str], label: str) -> tuple:
    """Place, text or pair, and raw label of a row; refuses what is missing."""
    for column in (*text, label):
        one_of(f"{place}: column", column, row)
    for column in text:
        if not isinstance(row[column], str) or not row[column].strip():
            raise BadInput(f"{place}: {row[column]!r} in column {column!r} is no text, or blank")
    if row[label] is None or not str(row[label]).strip():
        raise BadInput(f"{place}: the label in column {label!r} is missing")
    words = tuple(row[column] for column in text)
    return place, (words[0] if len(words) == 1 else words), str(row[label])


def _classes(rows: Sequence[tuple], classes: Sequence[str]) -> dict[str, str]:
    """Class of each raw label: its name in all rows, or its number in all rows."""
    used = {raw for *_, raw in rows}
    names = {name: name for name in classes}
    known = names if used & set(names) else {str(i): name for i, name in enumerate(classes)}
    for place, _, raw in rows:
        if raw not in known:
            raise BadInput(
                f"{place}: label {raw!r} is not one of the model's; valid: {', '.join(classes)}, "
                f"or in every row a class number, 0 to {len(classes) - 1}"
            )
    return known


def _numbers(rows: Sequence[tuple]) -> dict[str, float]:
    """Value of each raw label of a model that gives a number."""
    return {raw: _number(place, raw) for place, _, raw in rows}


def _number(place: str, raw: str) -> float:
    try:
        value = float(raw)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadInput(f"{place}: label {raw!r} is not a finite number, which this model predicts")
    return value


def _parts(file: Path, items: Sequence[tuple], seed: int) -> tuple[list, list, list]:
    """Train, dev and test; the same text is in one part only."""
    texts = {text: number for number, text in enumerate(dict.fromkeys(text for text, _ in items))}
    if len(texts) < LEAST:
        raise BadInput(f"{file}: holds {len(texts)} different texts; at least {LEAST} are needed")
    place = np.random.default_rng(seed).permutation(len(texts)) / len(texts)
    parts: tuple[list, list, list] = ([], [], [])
    for item in items:
        parts[sum(place[texts[item[0]]] >= share for share in SHARES)].append(item)
    return parts
