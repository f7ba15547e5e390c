"""Readers of original text: tables of GLUE, GLUE on the Hub, columns of tagged words, plain text.

Every reader takes a file and a counter: what a rule leaves out or alters is counted there, and
anything else that is not as it should be is a :class:`~lib.errors.BadInput` with file and line. A
record never spans lines, so that a stray quotation mark cannot merge two of them. Memory: a task
is a list of Python strings, some 100 MB for the largest one (MNLI).
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np

from lib.errors import BadInput, one_of

BLANK = "blank lines"
HUB = "nyu-mll/glue"


def lines(path: str | Path) -> list[tuple[str, str]]:
    r"""Lines of a UTF-8 file, each with its place, ``file:number``.

    CRLF and a byte order mark are accepted. Only a line feed ends a line: some sentences hold
    other characters (``\x85``, U+2028) that ``str.splitlines`` takes for line ends.
    """
    try:
        raw = Path(path).read_bytes()
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


def parsed(raw) -> float:
    """What is written as a number; NaN for anything else."""
    try:
        return float(raw)
    except (TypeError, ValueError):
        return math.nan


def number(place: str, raw, low: float, high: float) -> float:
    """A number from ``low`` to ``high``."""
    value = parsed(raw)
    if not low <= value <= high or math.isinf(value):
        valid = "a finite number" if math.isinf(high) else f"a number from {low:g} to {high:g}"
        raise BadInput(f"{place}: label {raw!r} is not {valid}")
    return value


def picked(rows: list, wanted: Sequence, told: Counter, *, short_rows=False) -> list[tuple]:
    """Some fields of each row, with its place.

    Parameters
    ----------
    rows
        (place, fields); where ``wanted`` are names, the first row is the header.
    wanted
        Columns, by name or counted from 0.
    told
        Takes the count of rows that are left out.
    short_rows
        Leave out rows with fewer fields than the first one instead of refusing the file.
    """
    (place, header), named = rows[0], isinstance(wanted[0], str)
    if twice := sorted(name for name, n in Counter(header).items() if named and n > 1):
        raise BadInput(f"{place}: columns {twice} are named twice; each needs a name of its own")
    for column in wanted:
        what = "the header's column" if named else "column"
        one_of(f"{place}: {what}", column, header if named else range(len(header)))
    where, found = [header.index(c) if named else c for c in wanted], []
    for place, row in rows[named:]:
        if short_rows and len(row) < len(header):
            told["rows with missing columns"] += 1
        elif len(row) != len(header):
            raise BadInput(f"{place}: has {len(row)} columns, the first line has {len(header)}")
        else:
            found.append((place, [row[i] for i in where]))
    return found


def table(path, told: Counter, *, texts, label, names=None, short_rows=False) -> list[tuple]:
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
        Raw label to canonical label, or None for a row without label; none for scores 0 to 5.
    short_rows
        As in :func:`picked`: the original QQP has such rows, and the papers' code passes over them.

    Returns
    -------
    list of (sentence or (sentence, sentence), label)
    """
    rows = [(place, line.split("\t")) for place, line in lines(path)]
    rows = rows[:-1] if rows[1:] and rows[-1][1] == [""] else rows
    if not rows:
        raise BadInput(f"{path}: is empty")
    found = picked(rows, [*texts, label], told, short_rows=short_rows)
    return _labelled(found, names, told)


def _labelled(rows, names, told: Counter) -> list[tuple]:
    """Text or pair with its label, of the rows that have both."""
    found = []
    for place, (*texts, raw) in rows:
        if names:
            one_of(f"{place}: label", raw, names)
        label = names[raw] if names else number(place, raw, 0, 5)
        if label is None:
            told["rows without a label"] += 1
        elif not all(map(visible, texts)):
            told["rows with an empty sentence"] += 1
        else:
            found.append((texts[0] if len(texts) == 1 else tuple(texts), label))
    return found


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
        What becomes of a word and its tag, a key of :data:`UNITS`.

    Returns
    -------
    list of (words, tags), as long as each other
    """
    sentences = []
    for blank, group in groupby(lines(path), key=lambda row: not row[1].strip(" ")):
        pairs, count = [], 0
        for place, line in () if blank else group:
            fields = line.split(separator)
            if line.startswith(tuple(comments) or "\n"):
                told["comment lines"] += 1
                continue
            if len(fields) != width:
                raise BadInput(f"{place}: has {len(fields)} columns; {width} are needed")
            if numbered and (extra := re.search(r"[-.]", fields[0])):
                told["multi-word ranges" if extra[0] == "-" else "empty nodes"] += 1
                continue
            count += 1
            if numbered and fields[0] != str(count):
                raise BadInput(f"{place}: word {fields[0]} of its sentence; {count} was due here")
            pair = fields[word], fields[tag]
            if not visible(pair[0]) or pair[1].strip() in {"", "_"}:
                raise BadInput(f"{place}: word {pair[0]!r} with tag {pair[1]!r}; both are needed")
            pairs += UNITS[units](*pair, told) if units else [pair]
        if pairs:
            sentences.append(tuple(map(list, zip(*pairs, strict=True))))
    return sentences


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


UNITS = {"repeat tag": repeat_tag, "keep": keep_unit}


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


@lru_cache(maxsize=1)
def hub(name: str):
    """A task of GLUE from the Hub, or from its cache where ``HF_HUB_OFFLINE`` is set."""
    from datasets import load_dataset  # noqa: PLC0415  (slow to import)

    try:
        return load_dataset(HUB, name)
    except Exception as error:  # the ways to fail are many: network, cache, proxy
        none = isinstance(error, FileNotFoundError)
        why = "the Hub has no such data set" if none else "the Hub does not answer"
        raise BadInput(
            f"{HUB} ({name}) cannot be had, {why}; use data='root' or a folder of files instead"
        ) from error


def hub_parts(info, told: Counter) -> list[list[tuple]]:
    """Sentences, or pairs, and labels of a task's train and validation; -1 marks a missing label.

    Parameters
    ----------
    info
        The task's entry of the table: ``hub`` names its columns of text; ``labels`` are in the
        order of the Hub's class numbers, none for scores 0 to 5.
    told
        Takes the counts of what is left out.
    """
    data, found = hub(info.name), []
    names = dict(enumerate(info.labels)) | {-1: None} if info.labels else None
    for part in ("train", "validation_matched" if info.name == "mnli" else "validation"):
        place, columns = f"{HUB} {part}", (*info.hub, "label")
        for column in columns:
            one_of(f"{place}: column", column, data[part].column_names)
        known = tuple(getattr(data[part].features["label"], "names", None) or info.labels)
        if known != info.labels:
            raise BadInput(f"{place}: classes are {known}; expected {info.labels}")
        rows = zip(*(data[part][column] for column in columns), strict=True)
        numbered = ((f"{place} row {i}", row) for i, row in enumerate(rows))
        found.append(_labelled(numbered, names, told))
    return found


def split_apart(items: list, seed: int, shares: tuple, told: Counter) -> tuple[list, list, list]:
    """Cut items by a seed, in its order; texts of the same words come into the same part.

    Parameters
    ----------
    items
        (text or pair, label).
    seed
        Decides which text comes into which part, and the order.
    shares
        Where train ends, and dev, as shares of the different texts.
    told
        Counts the near-duplicates: texts that differ only in case and marks.
    """
    keys = [bare(text) for text, _ in items]
    groups = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    told["near-duplicates, kept in one part"] += len(keys) - len(groups)
    place = np.random.default_rng(seed).permutation(len(groups)) / max(1, len(groups))
    where, parts = np.array([place[groups[key]] for key in keys]), ([], [], [])
    for i in np.argsort(where, kind="stable"):
        parts[sum(where[i] >= share for share in shares)].append(items[i])
    return parts


def bare(text) -> str:
    """The words of a text or pair without case and marks: near-duplicates have the same."""
    whole = text if isinstance(text, str) else "\n".join(text)
    return " ".join(re.findall(r"\w+", whole.casefold())) or whole
