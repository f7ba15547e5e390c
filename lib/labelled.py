"""A labelled file of the reader's own, as a task: named columns of text, and one of labels.

Whatever is not as it should be is refused with file and line; only blank lines are passed over, and
counted. A record never spans lines, so that a stray quotation mark cannot merge two of them. Labels
become the model's own class names, in the order of its class numbers.
"""

import csv
import json
import math
from collections import Counter
from pathlib import Path

from lib import metrics, readers
from lib.corpora import Task, digest_of
from lib.errors import BadInput, one_of

LEAST = 50  # different texts of a file, so that each part has ten
DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
csv.field_size_limit(2**31 - 1)  # the module's own limit, 131,072 characters, cuts long texts off


def task(file, classes, *, text, label: str, metric: str | None = None, seed: int = 0) -> Task:
    """Read a reader's own labelled file and cut it into train, dev and test: 60, 20 and 20 %.

    Parameters
    ----------
    file, classes, text, label
        As for :func:`labelled`.
    metric
        One that fits the classes (:func:`lib.metrics.fitting`); default the first of them.
    seed
        Decides which text comes into which part.
    """
    file, valid, told = Path(file), metrics.fitting(classes), Counter()
    one_of("metric of this model:", metric or valid[0], valid)
    items, skipped, how = labelled(file, text, label, classes)
    different = len({words for words, _ in items})
    if different < LEAST:
        raise BadInput(f"{file}: holds {different} different texts; at least {LEAST} are needed")
    parts = readers.split_apart(items, seed, (0.6, 0.8), told)
    kind = "sentence" if isinstance(items[0][0], str) else "pair"
    source = ", ".join(filter(None, (f"file {file.name}", how)))
    return Task(
        "own", file.stem, kind, metric or valid[0], tuple(classes), source, digest_of([file]),
        skipped, *parts,
    )  # fmt: skip


def labelled(file: str | Path, text, label: str, classes=()) -> tuple[list[tuple], dict, str]:
    """Texts and labels of a labelled file, named columns of text and one of labels.

    Parameters
    ----------
    file
        ``.csv`` or ``.tsv`` with a header, or ``.jsonl`` with an object on each line; UTF-8. Where
        the columns are separated by another character than the ending says, it is guessed from the
        header. A field in quotation marks ends on the line where it begins.
    text
        Name of the column of text, or names of two for pairs.
    label
        Name of the column of labels: in all rows names of classes, or in all rows their numbers
        (0, 0.0 or, of two classes, false), or for a model without classes finite numbers.
    classes
        Names of the model's classes in the order of their numbers; none if it gives a number.

    Returns
    -------
    items, skipped, told
        (text or pair, label) of every row; counts of blank lines; how the columns are separated.

    Raises
    ------
    BadInput
        For anything that is not as above, in one sentence with file and line.
    """
    file, wanted = Path(file), (*([text] if isinstance(text, str) else text), label)
    one_of(f"{file}: ending", file.suffix.lower(), (".csv", ".tsv", ".jsonl"))
    if len(set(wanted)) < len(wanted):
        raise BadInput(f"columns of text and label are {', '.join(wanted)}; each is another one")
    given = readers.lines(file)
    full = [(place, line) for place, line in given if line.strip()]
    if file.suffix.lower() == ".jsonl":
        rows, told = [(place, _values(place, line, wanted)) for place, line in full], ""
    else:
        rows, told = _separated(file, full, wanted)
    rows = [_checked(place, dict(zip(wanted, row, strict=True)), label) for place, row in rows]
    known = _known(rows, classes)
    if len({raw for *_, raw in rows}) == 1:
        raise BadInput(f"{file}: every row has the label {rows[0][-1]!r}; two are needed at least")
    blank = {readers.BLANK: len(given) - len(full)} if len(given) > len(full) else {}
    return [(words, known(place, raw)) for place, words, raw in rows], blank, told


def _separated(file, rows, wanted):
    """Wanted fields of each row, and the separator in words if it is not the ending's own."""
    if not rows:
        return [], ""
    usual = "\t" if file.suffix.lower() == ".tsv" else ","
    (place, first), *others = rows
    headers = {mark: next(csv.reader([first], delimiter=mark)) for mark in (usual, *DELIMITERS)}
    mark = next((m for m, header in headers.items() if set(wanted) <= set(header)), usual)
    header = headers[mark]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise BadInput(f"{place}: columns {twice} are named twice; each needs a name of its own")
    for column in wanted:
        one_of(f"{place}: the header's column", column, header)
    found = [(place, _fields(place, line, mark)) for place, line in others]
    for place, row in found:
        if len(row) != len(header):
            raise BadInput(f"{place}: has {len(row)} columns, the header has {len(header)}")
    where = [header.index(column) for column in wanted]
    told = "" if mark == usual else f"columns separated by {DELIMITERS[mark]}"
    return [(place, [row[i] for i in where]) for place, row in found], told


def _fields(place: str, line: str, mark: str) -> list[str]:
    """Fields of one line; a quotation mark that is open at its end is refused here."""
    try:
        return next(csv.reader([line], delimiter=mark, strict=True))
    except csv.Error as error:
        raise BadInput(
            f"{place}: a field begins with a quotation mark and does not end with one on this "
            'line; write " inside a quoted field as "", and a text of several lines as .jsonl'
        ) from error


def _values(place: str, line: str, wanted) -> list:
    """Wanted values of the object on one line."""

    def unique(pairs):
        if len(dict(pairs)) < len(pairs):
            raise BadInput(f"{place}: names a value twice: {line!r:.80}")
        return dict(pairs)

    try:
        found = json.loads(line, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise BadInput(f"{place}: is not JSON ({error.msg})") from error
    if not isinstance(found, dict):
        raise BadInput(f"{place}: is no JSON object with named values: {line!r:.80}")
    for column in wanted:
        one_of(f"{place}: column", column, found)
    return [found[column] for column in wanted]


def _checked(place: str, row: dict, label: str) -> tuple:
    """Place, text or pair, and raw label of a row; refuses what is missing."""
    words = [value for column, value in row.items() if column != label]
    for column, value in row.items():
        if column == label:
            continue
        if not isinstance(value, str) or not readers.visible(value):
            raise BadInput(f"{place}: {value!r} in column {column!r} is no text, or blank")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadInput(f"{place}: column {column!r} holds half of a character") from error
    if row[label] is None or not str(row[label]).strip():
        raise BadInput(f"{place}: the label in column {label!r} is missing")
    return place, (words[0] if len(words) == 1 else tuple(words)), str(row[label]).strip()


def _known(rows, classes):
    """Say what a raw label means: a number, or a class by name in all rows or number in all."""
    if not classes:
        return lambda place, raw: readers.number(place, raw, -math.inf, math.inf)
    names = {name: name for name in classes}
    used = {raw for *_, raw in rows}
    meaning = names if used & set(names) else _numbered(rows, used, classes)

    def known(place, raw):
        if raw not in meaning:
            raise BadInput(
                f"{place}: label {raw!r} is not one of the model's; valid: {', '.join(classes)}, "
                f"or in every row a class number, 0 to {len(classes) - 1}"
            )
        return meaning[raw]

    return known


def _numbered(rows, used, classes) -> dict[str, str]:
    """Class of each label that is a number; asks where they seem to be counted from 1."""
    truths = {"false": 0, "true": 1} if len(classes) == 2 else {}
    found = {raw: truths.get(raw.lower(), _whole(raw)) for raw in used}
    values = {value for value in found.values() if value is not None}
    if values and len(values) == len(set(found.values())) and min(values) >= 1:
        raise BadInput(
            f"{rows[0][0].rpartition(':')[0]}: labels are numbers from {min(values)} to "
            f"{max(values)} and none is 0: are the classes counted from 1? The model's are 0 to "
            f"{len(classes) - 1}; write their names instead: {', '.join(classes)}"
        )
    return {raw: classes[v] for raw, v in found.items() if v is not None and 0 <= v < len(classes)}


def _whole(raw: str) -> int | None:
    try:
        return int(float(raw)) if float(raw).is_integer() else None
    except (ValueError, OverflowError):
        return None
