"""A file of the reader's own, labelled or plain, as a task of its own.

A labelled file has named columns of text and one of labels. Whatever is not as it should be is
refused with file and line; only blank lines are passed over, and counted. A record never spans
lines, so that a stray quotation mark cannot merge two of them (pandas would read them as one
without a word). Labels become the model's own class names, in the order of its class numbers.
"""

import csv
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np

from lib import metrics, pretraining, readers
from lib.corpora import Task, digest_of
from lib.errors import BadInput, one_of

LEAST = 50  # different texts of a file, whatever their case and marks: each part has ten
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
    valid = metrics.fitting(classes)
    one_of("metric of this model:", metric or valid[0], valid)
    items, *told = labelled(file, text, label, classes)
    kind = "pair" if items and isinstance(items[0][0], tuple) else "sentence"
    found = _own(file, seed, items, (kind, metric or valid[0], tuple(classes)), told)
    for part in ("train", "dev", "test"):
        if len({label for _, label in getattr(found, part)}) < 2:
            raise BadInput(
                f"{file}: all texts that seed {seed} puts into {part} have one label; take another "
                "seed, or a file with more of the rare label"
            )
    return found


def plain(file, seed: int = 0) -> Task:
    """A plain text, ``.txt`` with one paragraph a line, cut into train, dev and test: 60, 20, 20 %.

    The same paragraph is in one part only.
    """
    if not Path(file).is_file():
        raise BadInput(f"{file}: is no file; the model predicts words and needs a plain text, .txt")
    lines = list(pretraining.paragraphs(file))
    items = [(line, None) for line in dict.fromkeys(lines)]
    told = Counter({"repeated paragraphs": len(lines) - len(items)})
    return _own(file, seed, items, ("text", "perplexity", ()), (told, ""))


def _own(file, seed: int, items: list, about: tuple, read: tuple[Counter, str]) -> Task:
    """The task of a file's items, if there are enough; ``read`` as :func:`labelled` returns it."""
    told, how = read
    file, different = Path(file), len({readers.bare(words) for words, _ in items})
    if different < LEAST:
        raise BadInput(f"{file}: holds {different} different texts; at least {LEAST} are needed")
    parts = readers.split_apart(items, seed, (0.6, 0.8), told)
    source = ", ".join(filter(None, (f"file {file.name}", how)))
    return Task("own", file.stem, *about, source, digest_of([file]), dict(+told), *parts)


def labelled(file: str | Path, text, label: str, classes=()) -> tuple[list[tuple], Counter, str]:
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
    ending = file.suffix.lower()
    one_of(f"{file}: ending", ending, (".csv", ".tsv", ".jsonl"))
    if len(set(wanted)) < len(wanted):
        raise BadInput(f"columns of text and label are {', '.join(wanted)}; each is another one")
    given, how = readers.lines(file), ""
    full = [(place, line) for place, line in given if line.strip()]
    if ending == ".jsonl":
        rows = [(place, _values(place, line, wanted)) for place, line in full]
    else:
        rows, how = _separated(full, wanted, "\t" if ending == ".tsv" else ",")
    rows = [_checked(place, values, wanted) for place, values in rows]
    used = {raw for *_, raw in rows}
    if len(used) == 1:
        raise BadInput(f"{file}: every row has the label {rows[0][-1]!r}; two are needed at least")
    meant = _meaning(file, used, classes)
    items = [(words, _label(place, raw, meant, classes)) for place, words, raw in rows]
    return items, Counter({readers.BLANK: len(given) - len(full)}), how


def _separated(rows: list, wanted, usual: str) -> tuple[list, str]:
    """Wanted fields of each row, and the separator in words if it is not the ending's own."""
    if not rows:
        return [], ""
    headers = {m: next(csv.reader([rows[0][1]], delimiter=m)) for m in (usual, *DELIMITERS)}
    mark = next((m for m, header in headers.items() if set(wanted) <= set(header)), usual)
    fields = [(place, _fields(place, line, mark)) for place, line in rows]
    how = "" if mark == usual else f"columns separated by {DELIMITERS[mark]}"
    return readers.picked(fields, wanted, Counter()), how


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
    try:
        pairs = json.loads(line, object_pairs_hook=list)
    except json.JSONDecodeError as error:
        raise BadInput(f"{place}: is not JSON ({error.msg})") from error
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
        raise BadInput(f"{place}: is no JSON object with named values: {line!r:.80}")
    found = dict(pairs)
    if len(found) < len(pairs):
        raise BadInput(f"{place}: names a value twice: {line!r:.80}")
    for column in wanted:
        one_of(f"{place}: column", column, found)
    return [found[column] for column in wanted]


def _checked(place: str, values: list, wanted) -> tuple:
    """Place, text or pair, and raw label of a row; refuses what is missing."""
    *words, raw = values
    for column, value in zip(wanted, words, strict=False):
        if not isinstance(value, str) or not readers.visible(value):
            raise BadInput(f"{place}: {value!r} in column {column!r} is no text, or blank")
        if value != value.encode(errors="ignore").decode():
            raise BadInput(f"{place}: column {column!r} holds half of a character")
    if raw is None or not str(raw).strip():
        raise BadInput(f"{place}: the label in column {wanted[-1]!r} is missing")
    return place, (words[0] if len(words) == 1 else tuple(words)), str(raw).strip()


def _meaning(file: Path, used: set[str], classes) -> dict[str, str]:
    """Class of each label: by its name, or in all rows by its number, also written as a truth."""
    if used & set(classes) or not classes:
        return {name: name for name in classes}
    truths = {"false": 0.0, "true": 1.0} if len(classes) == 2 else {}
    values = {raw: truths.get(raw.lower(), readers.parsed(raw)) for raw in used}
    found = np.array(list(values.values()))
    if len(found) and ((found >= 1) & (found % 1 == 0)).all():
        raise BadInput(
            f"{file}: labels are numbers from {found.min():.0f} to {found.max():.0f} and none is "
            f"0: are the classes counted from 1? The model's are 0 to {len(classes) - 1}; write "
            f"their names instead: {', '.join(classes)}"
        )
    return {raw: classes[int(v)] for raw, v in values.items() if v in range(len(classes))}


def _label(place: str, raw: str, meant: dict[str, str], classes):
    """What a raw label means: a class, or a number where the model has no classes."""
    if not classes:
        return readers.number(place, raw, -math.inf, math.inf)
    if raw not in meant:
        raise BadInput(
            f"{place}: label {raw!r} is not one of the model's; valid: {', '.join(classes)}, "
            f"or in every row a class number, 0 to {len(classes) - 1}"
        )
    return meant[raw]
