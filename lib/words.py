"""Words and their pieces: where in a sequence of tokens each word of a sentence lies.

Words are joined by blanks, and a piece belongs to every word that it has characters of.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np


def _overlaps(words: Sequence[str], offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last word that each piece has characters of, in the words joined by blanks.

    A piece between two words (first > last) has none; ``first`` is the word after it.
    """
    length = np.array([len(word) for word in words])
    end = np.cumsum(length + 1) - 1
    first = np.searchsorted(end, offsets[:, 0], side="right")
    return first, np.searchsorted(end - length, offsets[:, 1], side="left") - 1


def align(tokenizer, sentences: Sequence[Sequence[str]], limit: int | None = None):
    """Encode lists of words; yield ids, types, first and last piece of each word (-1: none)."""
    encoded = tokenizer(
        [" ".join(words) for words in sentences],
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        return_token_type_ids=True,
        truncation=limit is not None,
        max_length=limit,
        verbose=False,
    )
    for number, words in enumerate(sentences):
        inside = np.flatnonzero(np.array(encoded["special_tokens_mask"][number]) == 0)
        offsets = np.array(encoded["offset_mapping"][number]).reshape(-1, 2)[inside]
        places = _places(inside, *_overlaps(words, offsets), len(words))
        yield encoded["input_ids"][number], encoded["token_type_ids"][number], *places


def _places(inside: np.ndarray, begin: np.ndarray, end: np.ndarray, n: int) -> np.ndarray:
    """First and last piece of each of ``n`` words, -1 for a word without one.

    A piece of two words belongs to both, a blank alone (``\u2581``) to the word after it.
    """
    first, last = np.full((2, n), -1)
    pieces = list(zip(inside.tolist(), begin.tolist(), end.tolist(), strict=True))
    for piece, a, b in pieces:
        last[a : b + 1] = piece
    for piece, a, b in reversed(pieces):
        if a <= b:
            first[a : b + 1] = piece
        elif a < n and first[a] == piece + 1:
            first[a] = piece
    return np.stack([first, last])


def fit(tokenizer, words, entry, limit: int, notes: Counter):
    """Yield a sentence as it is, or, longer than the limit, run by run, each encoded alone."""
    if len(entry[0]) <= limit:
        yield entry, 0
        return
    notes["windows"] += 1
    begin = 0
    while begin < len(words):
        run = words[begin : begin + limit]
        part = next(align(tokenizer, [run]))
        while len(part[0]) > limit and len(run) > 1:
            room = limit - (len(part[0]) - 1 - part[3].max())  # without the special tokens behind
            run = run[: min(max((part[3] < room).sum(), 1), len(run) - 1)]
            part = next(align(tokenizer, [run]))
        if len(part[0]) > limit:
            part = next(align(tokenizer, [run], limit))
            notes["cut"] += 1
        yield part, begin
        begin += len(run)
