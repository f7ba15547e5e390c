"""From sentences to padded batches of token ids, with every row's pieces located.

A *row* is what one vector will be read for: a word (``level="word"``) or a sentence
(``level="sentence"``). Tokens of a batch are padded to its longest sequence, batches are filled
with sequences of about equal length, and padding is never counted: neither in a row nor in a
position. Memory: the ids of all sentences, about 8 bytes a token.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lib.encoders import family, max_tokens
from lib.errors import BadInput, one_of

LEVELS = ("word", "sentence")


@dataclass
class Encoded:
    """Sentences as token ids: one entry per sequence, rows located inside it.

    ``ids`` and ``types`` hold one list per sequence; ``first`` and ``last`` one array per sequence
    with the position of the first and last piece of each of its rows; ``start`` the number, in the
    order given, of a sequence's first row; ``owner`` (N,) the sentence of each row. ``notes``
    counts what had to be done to fit: ``windows`` (sentences longer than the model's limit,
    continued in a further sequence), ``cut`` (sentences or single words that lost pieces),
    ``unknown`` (words without a piece, read as the unknown token).
    """

    ids: list[list[int]]
    types: list[list[int]]
    first: list[np.ndarray]
    last: list[np.ndarray]
    start: list[int]
    owner: np.ndarray
    notes: Counter = field(default_factory=Counter)


@dataclass
class Batch:
    """One padded batch: model inputs of shape (B, T) and where its rows are read.

    ``first`` and ``last`` (n,) index the flattened (B * T) tokens; ``where`` (n,) is the number of
    each row in the order of the sentences given.
    """

    inputs: dict[str, Tensor]
    first: Tensor
    last: Tensor
    where: Tensor


def check_sentences(sentences: Sequence, level: str) -> None:
    """Refuse, before any work, sentences that are not of the form the level asks for."""
    one_of("level", level, LEVELS)
    if not len(sentences):
        raise BadInput("no sentences were given; at least one is needed")
    for number, sentence in enumerate(sentences):
        parts = [sentence] if isinstance(sentence, str) else list(sentence)
        if level == "word" and isinstance(sentence, str):
            raise BadInput(f"sentence {number} is a string; level 'word' takes a list of words")
        if not parts or not all(isinstance(p, str) and p.strip() for p in parts):
            raise BadInput(f"sentence {number} is empty or holds a blank word: {sentence!r:.80}")
        if level == "sentence" and len(parts) > 2:
            raise BadInput(f"sentence {number} has {len(parts)} parts; a string or a pair is valid")


def _word_of_piece(words: Sequence[str], offsets: np.ndarray) -> np.ndarray:
    """Word of each piece, from where it ends in the words joined by blanks."""
    ends = np.cumsum([len(word) + 1 for word in words]) - 1
    return np.searchsorted(ends, offsets[:, 1] - 1, side="right")


def _align(tokenizer, sentences: Sequence[Sequence[str]], limit: int | None = None):
    """Encode lists of words; yield ids, types, first and last piece of each word (-1: none)."""
    if not sentences:
        return
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
        first, last = np.full((2, len(words)), -1)
        if len(inside):
            word = _word_of_piece(words, offsets)
            last[word] = inside
            first[word[::-1]] = inside[::-1]
        yield encoded["input_ids"][number], encoded["token_type_ids"][number], first, last


def _windows(first: np.ndarray, last: np.ndarray, room: int) -> list[slice]:
    """Cut words into runs of at most ``room`` pieces; a longer word stays alone."""
    pieces, runs, begin, used = last - first + 1, [], 0, 0
    for word, count in enumerate(pieces):
        if used and used + count > room:
            runs.append(slice(begin, word))
            begin, used = word, 0
        used += count
    return [*runs, slice(begin, len(pieces))]


def _encode_words(tokenizer, sentences, limit: int) -> Encoded:
    sentences, notes = [list(words) for words in sentences], Counter()
    aligned = list(_align(tokenizer, sentences))
    for number, (_, _, _, last) in enumerate(aligned):
        for word in np.flatnonzero(last < 0):
            sentences[number][word] = tokenizer.unk_token
            notes["unknown"] += 1
    again = [number for number, (_, _, _, last) in enumerate(aligned) if (last < 0).any()]
    for number, entry in zip(again, _align(tokenizer, [sentences[i] for i in again]), strict=True):
        aligned[number] = entry
    owner = np.repeat(np.arange(len(sentences)), [len(words) for words in sentences])
    encoded, row = Encoded([], [], [], [], [], owner, notes), 0
    for words, entry in zip(sentences, aligned, strict=True):
        for part, start in _fit(tokenizer, words, entry, limit, notes):
            columns = (encoded.ids, encoded.types, encoded.first, encoded.last)
            for column, value in zip(columns, part, strict=True):
                column.append(value)
            encoded.start.append(row + start)
        row += len(words)
    return encoded


def _fit(tokenizer, words, entry, limit: int, notes: Counter):
    """Yield a sentence as it is, or in windows where it is longer than the limit."""
    ids, _, first, last = entry
    if len(ids) <= limit:
        yield entry, 0
        return
    notes["windows"] += 1
    # Four spare: the first word of a sequence can fall into more pieces than inside a sentence.
    room = max(limit - tokenizer.num_special_tokens_to_add() - 4, 1)
    for run in _windows(first, last, room):
        window = next(_align(tokenizer, [words[run]], limit))
        notes["cut"] += int(last[run].max() - first[run].min() >= room)
        yield window, run.start


def _encode_sentences(tokenizer, sentences, limit: int, summary: str) -> Encoded:
    pairs = [(s, None) if isinstance(s, str) else (*s, None)[:2] for s in sentences]
    left, right = ([pair[side] for pair in pairs] for side in (0, 1))
    paired = any(text is not None for text in right)
    if paired and None in right:
        raise BadInput("single sentences and pairs are mixed; give one or the other")
    options = {"return_token_type_ids": True, "return_attention_mask": False, "verbose": False}
    encoded = tokenizer(
        left, right if paired else None, truncation="longest_first", max_length=limit, **options
    )
    ids = encoded["input_ids"]
    full = (i for i, sequence in enumerate(ids) if len(sequence) >= limit)
    cut = sum(len(tokenizer(*filter(None, pairs[i]), **options)["input_ids"]) > limit for i in full)
    spot = [np.array([0 if summary == "first" else len(sequence) - 1]) for sequence in ids]
    count = np.arange(len(ids))
    notes = Counter(cut=cut) if cut else Counter()
    return Encoded(ids, encoded["token_type_ids"], spot, spot, list(count), count, notes)


def encode(model, tokenizer, sentences, *, level: str, max_length: int | None = None) -> Encoded:
    """Tokenise sentences and locate their rows.

    Parameters
    ----------
    model
        Its config says the limit, and which token stands for a sentence.
    tokenizer
        A fast tokenizer (pieces are aligned with words by their place in the text).
    sentences
        Lists of words (``level="word"``), strings or pairs of strings (``level="sentence"``).
    level
        ``word`` or ``sentence``.
    max_length
        Tokens of a sequence at most, special ones counted; default the model's limit.

    Returns
    -------
    Encoded
        In the order given. No word is lost: a long sentence goes on in a further window, a word
        that the tokenizer drops is read as the unknown token, and ``notes`` counts both.
    """
    check_sentences(sentences, level)
    limit = min(max_length or max_tokens(model, tokenizer), max_tokens(model, tokenizer))
    if limit <= tokenizer.num_special_tokens_to_add(pair=True):
        raise BadInput(f"max_length {limit} leaves no room beside the special tokens")
    if level == "word":
        return _encode_words(tokenizer, sentences, limit)
    return _encode_sentences(tokenizer, sentences, limit, family(model).summary)


def bucket(lengths: Sequence[int], batch_tokens: int) -> list[np.ndarray]:
    """Group sequences of like length, longest first, into batches of B * T <= ``batch_tokens``.

    Examples
    --------
    >>> [group.tolist() for group in bucket([3, 9, 2, 3, 8], batch_tokens=18)]
    [[1, 4], [0, 3, 2]]
    """
    lengths = np.asarray(lengths)
    order, groups, begin = np.argsort(-lengths, kind="stable"), [], 0
    while begin < len(order):
        size = max(1, batch_tokens // int(lengths[order[begin]]))
        groups.append(order[begin : begin + size])
        begin += size
    return groups


def collate(encoded: Encoded, group: np.ndarray, model, tokenizer) -> Batch:
    """Pad one group of sequences on the tokenizer's side; positions count real tokens only."""
    lengths = np.array([len(encoded.ids[i]) for i in group])
    width = int(lengths.max())
    offset = width - lengths if tokenizer.padding_side == "left" else np.zeros_like(lengths)
    ids = np.full((len(group), width), tokenizer.pad_token_id)
    types = np.full((len(group), width), tokenizer.pad_token_type_id)
    for row, (i, begin, length) in enumerate(zip(group, offset, lengths, strict=True)):
        ids[row, begin : begin + length] = encoded.ids[i]
        types[row, begin : begin + length] = encoded.types[i]
    columns = np.arange(width)
    mask = (columns >= offset[:, None]) & (columns < (offset + lengths)[:, None])
    inputs = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
    if "token_type_ids" in tokenizer.model_input_names:
        inputs["token_type_ids"] = types
    first_position = family(model).first_position
    if first_position is not None:
        inputs["position_ids"] = first_position + np.clip(columns - offset[:, None], 0, None) * mask
    shift = np.arange(len(group)) * width + offset
    spots = [
        np.concatenate([at[i] + s for i, s in zip(group, shift, strict=True)])
        for at in (encoded.first, encoded.last)
    ]
    where = np.concatenate([encoded.start[i] + np.arange(len(encoded.first[i])) for i in group])
    tensors = {key: torch.from_numpy(value) for key, value in inputs.items()}
    return Batch(tensors, *(torch.from_numpy(a) for a in (*spots, where)))


def batches(encoded: Encoded, model, tokenizer, *, batch_tokens: int) -> Iterator[Batch]:
    """All batches of some encoded sentences, longest sequences first."""
    for group in bucket([len(ids) for ids in encoded.ids], batch_tokens):
        yield collate(encoded, group, model, tokenizer)


def each(compute: Callable[[Batch], Any], given: Iterable[Batch], device) -> Iterator:
    """What ``compute`` gives for every batch, in order; on a CPU every core has a batch of its own.

    Cores that share one batch wait for each other after every small product. As many batches as
    cores are held at once. ``compute`` runs in other threads, which know no inference mode.
    """
    cores = torch.get_num_threads() if torch.device(device).type == "cpu" else 1
    if cores == 1:
        yield from map(compute, given)
        return
    waiting: deque = deque()
    with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for batch in given:
            waiting.append(pool.submit(compute, batch))
            if len(waiting) > cores:
                yield waiting.popleft().result()
        yield from (work.result() for work in waiting)
    torch.set_num_threads(cores)  # what threads that begin later start from
