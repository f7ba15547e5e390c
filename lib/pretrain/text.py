"""Open text for pretraining: paragraphs from files, held-out stretches, rows of packed tokens.

A text is a file or a folder of files ``.txt`` or ``.txt.xz``, one paragraph a line, or ``topics``,
Python's help pages. Memory: two bytes a token.
"""

from __future__ import annotations

import itertools
import lzma
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from lib import corpora
from lib.batches import Encoded
from lib.errors import BadInput

STRETCH = 100  # paragraphs that follow one another; every so many-th stretch is held out
EVERY = 50
CHUNK = 1000  # paragraphs cut into tokens at once
EMBEDDED = "topics"
SUFFIXES = (".txt", ".txt.xz")


def paragraphs(corpus: str | Path) -> Iterator[str]:
    """Paragraphs of a text that are not blank; of many files a stretch of each in turn.

    Raises
    ------
    BadInput
        If it is no file or folder of text.
    """
    if corpus == EMBEDDED:
        yield from (" ".join(words) for words, _ in corpora.load(EMBEDDED).train)
        return
    files = [_lines(file) for file in _files(Path(corpus))]
    while files:
        taken = [list(itertools.islice(lines, STRETCH)) for lines in files]
        yield from itertools.chain.from_iterable(taken)
        files = [lines for lines, stretch in zip(files, taken, strict=True) if stretch]


def _lines(file: Path) -> Iterator[str]:
    with (lzma.open if file.suffix == ".xz" else open)(file, "rt", encoding="utf-8") as lines:
        yield from (line.strip() for line in lines if line.strip())


def _files(place: Path) -> list[Path]:
    found = sorted(place.iterdir()) if place.is_dir() else [place]
    files = [file for file in found if file.is_file() and file.name.endswith(SUFFIXES)]
    if not files:
        raise BadInput(
            f"corpus {str(place)!r} is no file {' or '.join(SUFFIXES)} and no folder that holds "
            f"one; {EMBEDDED} stands for the text that comes with Python"
        )
    return files


def parts(found: Iterable[str]) -> Iterator[tuple[bool, str]]:
    """Every paragraph, and whether it is held out: whole stretches are, the first one included.

    Neighbours come from one book, so single paragraphs held out would be too easy.
    """
    return ((number // STRETCH % EVERY == 0, line) for number, line in enumerate(found))


def pack(tokenizer, found: Iterable[str], length: int, rows: int) -> np.ndarray:
    """Paragraphs as full rows of tokens, with no padding: (N, T), at most ``rows`` of them.

    Paragraphs follow one another, each ended by the separator, and are cut where a row ends; a row
    carries the special tokens of a single sentence. What does not fill a last row is left out.

    Raises
    ------
    BadInput
        If the text does not fill one row.
    """
    before, after, _ = frame(tokenizer)
    room = length - len(before) - len(after)
    ready, pending, count = [], np.empty(0, dtype=np.uint16), 0
    for chunk in _batched(found, CHUNK):
        ids = tokenizer(chunk, add_special_tokens=False, verbose=False)["input_ids"]
        end = [tokenizer.sep_token_id]
        fresh = np.fromiter(itertools.chain.from_iterable(i + end for i in ids), dtype=np.uint16)
        pending = np.concatenate([pending, fresh])
        full = min(len(pending) // room, rows - count)
        ready.append(pending[: full * room].reshape(full, room))
        pending, count = pending[full * room :], count + full
        if count == rows:
            break
    if not count:
        raise BadInput(f"the text does not fill one row of {length} tokens")
    body = np.concatenate(ready)
    sides = (np.tile(np.array(side, dtype=np.uint16), (count, 1)) for side in (before, after))
    return np.hstack([next(sides), body, next(sides)])


def frame(tokenizer) -> tuple[list[int], list[int], list[int]]:
    """Special tokens before and after a single sentence, and the types of a row's last tokens."""
    row = tokenizer("a", return_special_tokens_mask=True, return_token_type_ids=True)
    special = np.array(row["special_tokens_mask"], dtype=bool)
    first, last = np.flatnonzero(~special)[[0, -1]]
    return row["input_ids"][:first], row["input_ids"][last + 1 :], row["token_type_ids"][last + 1 :]


def _batched(found: Iterable[str], size: int) -> Iterator[list[str]]:
    found = iter(found)
    while chunk := list(itertools.islice(found, size)):
        yield chunk


def encoded(packed: np.ndarray, tokenizer) -> Encoded:
    """Packed rows as what a training reads: each is one sequence, and one row."""
    count, place = len(packed), np.zeros((len(packed), 1), dtype=int)
    types = np.zeros(packed.shape[1], dtype=int)
    last = frame(tokenizer)[2]
    types[len(types) - len(last) :] = last
    types = np.broadcast_to(types, packed.shape)
    return Encoded(packed, types, place, place, range(count), np.arange(count))
