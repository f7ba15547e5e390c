"""Readers of files: tables, columns of tagged words, plain text, and a reader's own labelled file.

Every reader takes a file and a counter: what a rule leaves out or alters is counted there, and
anything else that is not as it should be is a :class:`~lib.errors.BadInput` with file and line. A
record never spans lines, so that a stray quotation mark cannot merge two of them. Memory: a task
is a list of Python strings, some 100 MB for the largest one (MNLI).
"""

import csv
import json
import math
import re
from collections import Counter
from pathlib import Path

from lib.errors import BadInput, one_of

csv.field_size_limit(2**31 - 1)  # the module's own limit, 131,072 characters, cuts long texts off

BLANK = "blank lines"
DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}


def lines(path: str | Path, raw: bytes | None = None) -> list[tuple[str, str]]:
    r"""Lines of a UTF-8 file, each with its place, ``file:number``.

    CRLF and a byte order mark are accepted. Only a line feed ends a line: some sentences hold
    other characters (``\x85``, U+2028) that ``str.splitlines`` takes for line ends.

    Parameters
    ----------
    path
        Names the file in errors.
    raw
        Its bytes; read from ``path`` where they are not given.
    """
    try:
        raw = Path(path).read_bytes() if raw is None else raw
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        number = raw[: error.start].count(b"\n") + 1
        raise BadInput(f"{path}:{number}: is not UTF-8 text") from error
    found = text.removesuffix("\n").split("\n") if text else []
    return [(f"{path}:{i}", line.removesuffix("\r")) for i, line in enumerate(found, 1)]


def visible(text: str) -> bool:
    """Whether a text has a character to be seen; without one no tokenizer finds a word in it."""
    return any(character.isprintable() and not character.isspace() for character in text)


def number(place: str, raw, low: float, high: float) -> float:
    """A number from ``low`` to ``high``."""
    try:
        value = float(raw)
    except (TypeError, ValueError):
        value = math.nan
    if not low <= value <= high or math.isinf(value):
        valid = "a finite number" if math.isinf(high) else f"a number from {low:g} to {high:g}"
        raise BadInput(f"{place}: label {raw!r} is not {valid}")
    return value


def item(texts, label, told: Counter):
    """Text or pair with its label; None, counted, where there is nothing to learn from."""
    if label is None:
        told["rows without a label"] += 1
    elif not all(map(visible, texts)):
        told["rows with an empty sentence"] += 1
    else:
        return (texts[0] if len(texts) == 1 else tuple(texts)), label
    return None


# ---- the original files of the tasks -------------------------------------------------------------


def table(path, told: Counter, *, texts, label, names, short_rows=False) -> list[tuple]:
    """Sentences, or pairs, and labels of a tab-separated file of GLUE.

    Fields are split at tabs and nothing else: quotation marks are text. One blank line at the end
    is allowed. Left out and counted: rows without a label or with an empty sentence.

    Parameters
    ----------
    path
    told
        Takes the counts of what is left out.
    texts, label
        Columns by the name the header gives them; by position in a file without header.
    names
        Raw label to canonical label, or None for a row without label; empty for scores 0 to 5.
    short_rows
        Leave out and count rows with fewer fields than the header instead of refusing the file:
        the original QQP has such rows, and the papers' code passes over them.

    Returns
    -------
    list of (sentence or (sentence, sentence), label)
    """
    rows = [(place, line.split("\t")) for place, line in lines(path)]
    rows = rows[:-1] if rows[1:] and rows[-1][1] == [""] else rows
    if not rows:
        raise BadInput(f"{path}: is empty")
    (place, header), named = rows[0], isinstance(label, str)
    known = header if named else range(len(header))
    for column in (*texts, label):
        one_of(f"{place}: column", column, known)
    where, items = [known.index(column) for column in (*texts, label)], []
    for place, row in rows[named:]:
        if short_rows and len(row) < len(header):
            told["rows with missing columns"] += 1
            continue
        if len(row) != len(header):
            raise BadInput(f"{place}: has {len(row)} columns, the first line has {len(header)}")
        *words, raw = (row[i] for i in where)
        if names:
            one_of(f"{place}: label", raw, names)
        items.append(item(words, names[raw] if names else number(place, raw, 0, 5), told))
    return [found for found in items if found]


def columns(
    path, told, *, word, tag, width, separator="\t", comments=(), numbered=False, units=None
) -> list[tuple[list[str], list[str]]]:
    """Tagged sentences of a file with one word a line and a blank line after each sentence.

    Parameters
    ----------
    path
    told
        Takes the counts of comment lines and of what ``numbered`` and ``units`` do.
    word, tag
        Columns, counted from 0.
    width
        Fields that every word line has.
    separator
        What stands between fields; None for any run of blanks.
    comments
        How a comment line starts.
    numbered
        CoNLL-U: the first column counts the words of a sentence. Ranges (``1-2``) and empty nodes
        (``1.1``) are left out; a number out of turn shows a lost blank line or word.
    units
        Turns a word and its tag into the words it is read as.

    Returns
    -------
    list of (words, tags), as long as each other
    """
    sentences, count = [[]], 0
    for place, line in lines(path):
        if not line.strip(" "):
            sentences.append([])
            count = 0
            continue
        if line.startswith(comments or "\n"):
            told["comment lines"] += 1
            continue
        fields = line.split(separator)
        if len(fields) != width:
            raise BadInput(f"{place}: has {len(fields)} columns; {width} are needed")
        if numbered and (extra := _no_word(fields[0])):
            told[extra] += 1
            continue
        count += 1
        if numbered and fields[0] != str(count):
            raise BadInput(f"{place}: word {fields[0]} of its sentence; {count} was due here")
        pair = fields[word], fields[tag]
        if not visible(pair[0]) or pair[1].strip() in {"", "_"}:
            raise BadInput(f"{place}: word {pair[0]!r} with tag {pair[1]!r}; both are needed")
        sentences[-1] += units(*pair, told) if units else [pair]
    return [tuple(map(list, zip(*pairs, strict=True))) for pairs in sentences if pairs]


def _no_word(place: str) -> str:
    return "multi-word ranges" if "-" in place else "empty nodes" if "." in place else ""


def repeat_tag(word: str, tag: str, told: Counter) -> list[tuple[str, str]]:
    """Split a multi-word unit (``New~York``) and give every part its tag, as paper A's reader."""
    parts = [part for part in word.split("~") if part] or [word]
    told["words added by splitting units at ~"] += len(parts) - 1
    return [(part, tag) for part in parts]


def keep_unit(word: str, tag: str, told: Counter) -> list[tuple[str, str]]:
    """Keep a multi-word unit as one word with blanks: its parts have no category of their own."""
    whole = " ".join(part for part in word.split("~") if part) or word
    told["units kept as one word with blanks"] += " " in whole
    return [(whole, tag)]


def paragraphs(path, told: Counter) -> list[tuple[list[str], None]]:
    """Sentences of a tokenised text with one paragraph a line, as WikiText.

    Words stand between blanks. A sentence ends with the word ``.``, ``?`` or ``!`` and a closing
    quotation mark after it. Blank lines and headings (``= ... =``) are left out and counted; words
    that WikiText takes apart (``co @-@ pilot``, ``1 @,@ 000``) are joined again and counted. Its
    mark for rare words, ``<unk>``, stays a word.
    """
    items = []
    for _, line in lines(path):
        text, joined = re.subn(r"(?<=\S) @([-,.])@ (?=\S)", r"\1", line)
        words = text.split()
        if not words or words[0] == words[-1] == "=":
            told["headings" if words else BLANK] += 1
        else:
            told["words joined at @-@, @,@ and @.@"] += joined
            items += [(sentence, None) for sentence in _sentences(words)]
    return items


def _sentences(words: list[str]) -> list[list[str]]:
    """Cut a paragraph of words into its sentences."""
    sentences, quoted = [[]], False
    for word, following in zip(words, [*words[1:], ""], strict=True):
        sentences[-1].append(word)
        quoted ^= word == '"'
        ends = word in {".", "?", "!"} and not (quoted and following == '"')
        closes = word == '"' and not quoted and sentences[-1][-2:-1] in (["."], ["?"], ["!"])
        if (ends or closes) and following:
            sentences.append([])
    return sentences


# ---- a labelled file of the reader's own ---------------------------------------------------------


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
    given = lines(file)
    full = [(place, line) for place, line in given if line.strip()]
    json_lines = file.suffix.lower() == ".jsonl"
    rows, told = (_objects(full, wanted), "") if json_lines else _separated(file, full, wanted)
    rows = [_checked(place, dict(zip(wanted, row, strict=True)), label) for place, row in rows]
    known = _known(rows, classes)
    if len({raw for *_, raw in rows}) == 1:
        raise BadInput(f"{file}: every row has the label {rows[0][-1]!r}; two are needed at least")
    blank = {BLANK: len(given) - len(full)} if len(given) > len(full) else {}
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


def _objects(rows, wanted):
    """Wanted values of the object on each line."""
    return [(place, _values(place, line, wanted)) for place, line in rows]


def _values(place: str, line: str, wanted) -> list:
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
        if not isinstance(value, str) or not visible(value):
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
        return lambda place, raw: number(place, raw, -math.inf, math.inf)
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
