"""Readers of the original file formats: tables of GLUE, columns of tagged words, plain text.

Every reader takes what it reads through a :class:`Reading`, which keeps the digest of it and counts
whatever is left out by rule. Anything else that is not as it should be raises
:class:`~lib.errors.BadInput` with file and line: nothing is dropped silently.

Memory: a task is a list of Python strings, some 100 MB for the largest set (MNLI).
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lib.errors import BadInput, one_of

__all__ = [
    "Reading",
    "columns",
    "conllu_extra",
    "keep_unit",
    "labelled",
    "paragraphs",
    "repeat_tag",
    "table",
    "zero_to_five",
]


class Reading:
    """The account of one reading: digest of all that was read, counts of what was left out.

    Attributes
    ----------
    left_out : Counter
        What a rule left out or altered, and how often.
    """

    def __init__(self):
        self._sha = hashlib.sha256()
        self.left_out: Counter[str] = Counter()

    @property
    def digest(self) -> str:
        """SHA-256 of everything read so far."""
        return self._sha.hexdigest()

    def note(self, content: object) -> None:
        """Take content that is no file into the digest, by its ``repr``."""
        self._sha.update(repr(content).encode())

    def lines(self, path: Path) -> list[tuple[str, str]]:
        """Lines of a UTF-8 file, each with its place ``file:number``; CRLF and a BOM are accepted.

        Only a line feed ends a line: some sentences hold other characters that
        ``str.splitlines`` takes for line ends.
        """
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
        self._sha.update(f"{path.name}\n{len(raw)}\n".encode() + raw)
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            number = raw[: error.start].count(b"\n") + 1
            raise BadInput(f"{path}:{number}: is not UTF-8 text") from error
        lines = text.removesuffix("\n").split("\n") if text else []
        return [(f"{path}:{i}", line.removesuffix("\r")) for i, line in enumerate(lines, 1)]


def table(
    path: Path,
    reading: Reading,
    *,
    texts: Sequence[str | int],
    label: str | int,
    names: Mapping[str, str | None],
    short_rows: bool = False,
) -> list[tuple]:
    """Sentences, or pairs, and labels of a tab-separated file of GLUE.

    Fields are split at tabs and nothing else: quotation marks are text. Left out and counted: rows
    without a label (``names`` maps theirs to None) and rows with an empty sentence.

    Parameters
    ----------
    path
    reading
    texts, label
        Columns by the name the header gives them; by position in a file without header.
    names
        Raw label to canonical label; empty for scores from 0 to 5.
    short_rows
        Leave out and count rows with fewer fields than the header, instead of refusing the file:
        the original QQP has such rows, and the papers' code passes over them.

    Returns
    -------
    list of (sentence or (sentence, sentence), label)
    """
    rows = [(place, line.split("\t")) for place, line in reading.lines(path)]
    if not rows:
        raise BadInput(f"{path}: is empty")
    width, where = len(rows[0][1]), _positions(rows[0], (*texts, label))
    rows = rows[1:] if isinstance(label, str) else rows
    items = []
    for place, row in rows:
        if short_rows and len(row) < width:
            reading.left_out["rows with missing columns"] += 1
            continue
        if len(row) != width:
            raise BadInput(f"{place}: has {len(row)} columns, the first line has {width}")
        *words, raw = (row[i] for i in where)
        items.append(labelled(words, _label(place, raw, names), reading))
    return [item for item in items if item]


def _positions(first: tuple[str, list[str]], wanted) -> list[int]:
    """Positions of the wanted columns, by the names in the first row or as they are given."""
    place, header = first
    known = header if isinstance(wanted[-1], str) else range(len(header))
    for column in wanted:
        one_of(f"{place}: column", column, known)
    return [known.index(column) for column in wanted]


def _label(place: str, raw: str, names: Mapping[str, str | None]) -> str | float | None:
    """Canonical label of a raw one; the number itself where there are no names."""
    if not names:
        return zero_to_five(place, raw)
    one_of(f"{place}: label", raw, names)
    return names[raw]


def zero_to_five(place: str, raw) -> float:
    """A similarity from 0 to 5."""
    try:
        score = float(raw)
    except (TypeError, ValueError):
        score = -1.0
    if not 0 <= score <= 5:
        raise BadInput(f"{place}: score {raw!r} is not a number from 0 to 5")
    return score


def labelled(texts, label, reading: Reading):
    """Text or texts with their label, or None, counted, if there is nothing to learn from."""
    if label is None:
        reading.left_out["rows without a label"] += 1
    elif not all(text.strip() for text in texts):
        reading.left_out["rows with an empty sentence"] += 1
    else:
        return (texts[0] if len(texts) == 1 else tuple(texts)), label
    return None


def columns(
    path: Path,
    reading: Reading,
    *,
    word: int,
    tag: int,
    width: int,
    separator: str | None = "\t",
    comments: tuple[str, ...] = (),
    skip: Callable[[list[str]], str | None] | None = None,
    units: Callable[[str, str, Reading], list[tuple[str, str]]] | None = None,
) -> list[tuple[list[str], list[str]]]:
    """Tagged sentences of a file with one word a line and a blank line after each sentence.

    Parameters
    ----------
    path
    reading
    word, tag
        Columns, counted from 0.
    width
        Fields every word line has.
    separator
        What stands between fields; None for any run of blanks.
    comments
        How a comment line starts; comments are left out and counted.
    skip
        Gives a line's fields the name under which it is left out and counted, or None to keep it.
    units
        Turns one word with its tag into the words it is read as.

    Returns
    -------
    list of (words, tags), as long as each other
    """
    sentences: list[list[tuple[str, str]]] = [[]]
    for place, line in reading.lines(path):
        if not line.strip():
            sentences.append([])
        elif line.startswith(comments or "\n"):
            reading.left_out["comment lines"] += 1
        else:
            fields = _fields(place, line, separator, width)
            if reason := skip and skip(fields):
                reading.left_out[reason] += 1
                continue
            pair = _word_and_tag(place, fields[word], fields[tag])
            sentences[-1] += units(*pair, reading) if units else [pair]
    return [tuple(map(list, zip(*pairs, strict=True))) for pairs in sentences if pairs]


def _fields(place: str, line: str, separator: str | None, width: int) -> list[str]:
    fields = line.split(separator)
    if len(fields) != width:
        raise BadInput(f"{place}: has {len(fields)} columns; {width} are needed")
    return fields


def _word_and_tag(place: str, word: str, tag: str) -> tuple[str, str]:
    if not word.strip() or tag.strip() in {"", "_"}:
        raise BadInput(f"{place}: word {word!r} with tag {tag!r}; neither may be missing")
    return word, tag


def conllu_extra(fields: list[str]) -> str | None:
    """Name the lines of CoNLL-U that are no words: ranges such as ``1-2``, empty nodes ``1.1``."""
    number = fields[0]
    return "multi-word ranges" if "-" in number else "empty nodes" if "." in number else None


def repeat_tag(word: str, tag: str, reading: Reading) -> list[tuple[str, str]]:
    """Split a multi-word unit (``New~York``) and give every part its tag, as paper A's reader."""
    parts = [part for part in word.split("~") if part] or [word]
    reading.left_out["words added by splitting units at ~"] += len(parts) - 1
    return [(part, tag) for part in parts]


def keep_unit(word: str, tag: str, reading: Reading) -> list[tuple[str, str]]:
    """Keep a multi-word unit as one word with blanks: its parts have no category of their own."""
    whole = " ".join(part for part in word.split("~") if part) or word
    reading.left_out["units kept as one word with blanks"] += " " in whole
    return [(whole, tag)]


def paragraphs(path: Path, reading: Reading) -> list[tuple[list[str], None]]:
    """Sentences of a tokenised text with one paragraph a line, as WikiText.

    Words stand between blanks. A sentence ends with the word ``.``, ``?`` or ``!`` and a closing
    quotation mark after it. Blank lines and headings (``= ... =``) are left out and counted; words
    that WikiText takes apart (``co @-@ pilot``, ``1 @,@ 000``) are joined again and counted. Its
    mark for rare words, ``<unk>``, stays a word.
    """
    items = []
    for _, line in reading.lines(path):
        text, joined = re.subn(r"(?<=\S) @([-,.])@ (?=\S)", r"\1", line)
        words = text.split()
        if not words or words[0] == words[-1] == "=":
            reading.left_out["headings" if words else "blank lines"] += 1
        else:
            reading.left_out["words joined at @-@, @,@ and @.@"] += joined
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
