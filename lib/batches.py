"""From sentences to padded batches of token ids, with every row's pieces located.

A *row* is what one vector will be read for: a word (``level="word"``) or a sentence
(``level="sentence"``). Tokens of a batch are padded to its longest sequence, batches are filled
with sequences of about equal length, and padding is never counted: neither in a row nor in a
position. Memory: the ids of all sentences, about 8 bytes a token.
"""

import inspect
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lib.checkpoints import refusal
from lib.errors import BadInput, one_of
from lib.structure import first_position, max_tokens, padded_position, summary, without_cache
from lib.words import align, fit

LEVELS = ("word", "sentence")
# Padded tokens at once. On a CPU small batches win: less padding, and layers that stay in the cache
# (sentences of the benchmark: 512 takes an eighth less time than 2048, 384 some 5 % less again).
BATCH_TOKENS = {"cpu": 384, "cuda": 32768}
SHORT, NEAR = 4, 1e-3  # tokens of a sequence that every model is tried on, and how near it must be
_CHECKED: WeakSet = WeakSet()  # models that were tried


@dataclass
class Encoded:
    """Sentences as token ids: one entry per sequence, rows located inside it.

    Per sequence: ``ids`` and ``types`` lists, ``first`` and ``last`` arrays with the position of
    the first and last piece of each row, ``start`` the number of its first row in the order given;
    ``owner`` (N,) is the sentence of each row. ``notes`` counts ``windows`` (sentences beyond the
    model's limit, continued in a further sequence), ``cut`` (sentences or words that lost pieces),
    ``unknown`` (words without a piece, read as the unknown token), ``shared`` (words that have a
    piece in common with the next).
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
    """One padded batch: model inputs (B, T), and where its n rows are read and belong.

    ``first`` and ``last`` index the flattened (B * T) tokens; ``where`` the sentences as given.
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
        if not isinstance(sentence, Iterable):
            raise BadInput(f"sentence {number} is {sentence!r:.80}; a string or a list is needed")
        parts = [sentence] if isinstance(sentence, str) else list(sentence)
        if level == "word" and isinstance(sentence, str):
            raise BadInput(f"sentence {number} is a string; level 'word' takes a list of words")
        if not parts or not all(isinstance(p, str) and p.strip() for p in parts):
            raise BadInput(f"sentence {number} is empty or holds a blank word: {sentence!r:.80}")
        if level == "sentence" and len(parts) > 2:
            raise BadInput(f"sentence {number} has {len(parts)} parts; a string or a pair is valid")


def _encode_words(tokenizer, sentences, limit: int) -> Encoded:
    if not tokenizer.is_fast:
        raise BadInput("this tokenizer does not tell where its pieces lie; words need a fast one")
    sentences, notes = [[word.strip() for word in words] for words in sentences], Counter()
    aligned = list(align(tokenizer, sentences))
    for number, (*_, last) in enumerate(aligned):
        for word in np.flatnonzero(last < 0):
            if tokenizer.unk_token is None:
                lost = sentences[number][word]
                raise BadInput(f"the tokenizer has no piece for {lost!r}, and no unknown token")
            sentences[number][word] = tokenizer.unk_token
            notes["unknown"] += 1
        if (last < 0).any():
            aligned[number] = next(align(tokenizer, [sentences[number]]))
    owner = np.repeat(np.arange(len(sentences)), [len(words) for words in sentences])
    parts, row = [], 0
    for words, entry in zip(sentences, aligned, strict=True):
        for part, start in fit(tokenizer, words, entry, limit, notes):
            if (part[3] < 0).any():
                raise BadInput(f"a word of {' '.join(words)!r:.80} has no piece of its own")
            parts.append((*part, row + start))
            notes["shared"] += int((part[2][1:] <= part[3][:-1]).sum())
        row += len(words)
    return Encoded(*map(list, zip(*parts, strict=True)), owner, +notes)


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
    ids, special = encoded["input_ids"], tokenizer.num_special_tokens_to_add(pair=paired)
    if bare := [number for number, sequence in enumerate(ids) if len(sequence) <= special]:
        raise BadInput(f"the tokenizer has no piece for sentence {bare[0]}: {sentences[bare[0]]!r}")
    full = (i for i, sequence in enumerate(ids) if len(sequence) >= limit)
    cut = sum(len(tokenizer(*filter(None, pairs[i]), **options)["input_ids"]) > limit for i in full)
    spot = [np.array([0 if summary == "first" else len(sequence) - 1]) for sequence in ids]
    count = np.arange(len(ids))
    types = encoded.get("token_type_ids") or [[0] * len(sequence) for sequence in ids]
    return Encoded(ids, types, spot, spot, list(count), count, +Counter(cut=cut))


def _check_ids(encoded: Encoded, model, tokenizer) -> None:
    """Refuse tokens, or types of tokens, for which a model has no embedding."""
    known = model.get_input_embeddings().weight.shape[0]
    most = max(max(ids) for ids in encoded.ids)
    if most >= known:
        raise BadInput(
            f"the tokenizer gives {tokenizer.convert_ids_to_tokens(most)!r} the number {most}, and "
            f"the model has {known} embeddings; it lacks resize_token_embeddings, or is another's"
        )
    kinds = getattr(model.config, "type_vocab_size", 0)
    used = max(max(types) for types in encoded.types) + 1
    if kinds and used > kinds and "token_type_ids" in tokenizer.model_input_names:
        raise BadInput(
            f"the tokenizer tells {used} types of tokens apart and the model {kinds}; give single "
            "sentences, or remove token_type_ids from its model_input_names"
        )


def encode(model, tokenizer, sentences, *, level: str, max_length: int | None = None) -> Encoded:
    """Tokenise sentences and locate their rows.

    Parameters
    ----------
    model, tokenizer
        From :func:`lib.encoders.load`. Words need a fast tokenizer, which tells where pieces lie.
    sentences
        Lists of words (``level="word"``), strings or pairs of strings (``level="sentence"``).
    max_length
        Tokens of a sequence at most, special ones counted; default the model's limit.

    Returns
    -------
    Encoded
        In the order given. No word is lost: a long sentence goes on in a further window, a word
        that the tokenizer drops is read as the unknown token, and ``notes`` counts both.

    Raises
    ------
    BadInput
        For sentences of another form, and tokens or their types without an embedding.
    """
    check_sentences(sentences, level)
    check_reading(model, tokenizer)
    limit = min(max_length or max_tokens(model, tokenizer), max_tokens(model, tokenizer))
    if limit <= tokenizer.num_special_tokens_to_add(pair=True):
        raise BadInput(f"max_length {limit} leaves no room beside the special tokens")
    if level == "word":
        encoded = _encode_words(tokenizer, sentences, limit)
    else:
        encoded = _encode_sentences(tokenizer, sentences, limit, summary(model.config))
    _check_ids(encoded, model, tokenizer)
    return encoded


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
    mask = np.arange(lengths.max()) < lengths[:, None]
    mask = mask[:, ::-1] if tokenizer.padding_side == "left" else mask
    ids = np.full(mask.shape, tokenizer.pad_token_id or 0)
    types = np.full(mask.shape, tokenizer.pad_token_type_id)
    ids[mask] = np.concatenate([encoded.ids[i] for i in group])
    types[mask] = np.concatenate([encoded.types[i] for i in group])
    inputs = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
    taken = inspect.signature(type(model.base_model).forward).parameters
    if "token_type_ids" in tokenizer.model_input_names and "token_type_ids" in taken:
        inputs["token_type_ids"] = types
    if "position_ids" in taken:
        inputs["position_ids"] = _positions(model, ids, mask)
    shift = np.arange(len(group)) * mask.shape[1] + mask.argmax(axis=1)
    spots = [
        np.concatenate([at[i] + s for i, s in zip(group, shift, strict=True)])
        for at in (encoded.first, encoded.last)
    ]
    where = np.concatenate([encoded.start[i] + np.arange(len(encoded.first[i])) for i in group])
    tensors = {key: torch.from_numpy(value) for key, value in inputs.items()}
    return Batch(tensors, *(torch.from_numpy(a) for a in (*spots, where)))


def _positions(model, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Positions (B, T) as the model counts them in a sequence without padding."""
    padding = padded_position(model)
    if padding is None:
        return (np.cumsum(mask, axis=1) - 1) * mask + first_position(model)
    real = mask & (ids != padding)  # RoBERTa and others: padding's own number is never counted
    return np.cumsum(real, axis=1) * real + padding


@torch.inference_mode()
def check_reading(model, tokenizer) -> None:
    """Refuse a model that reads a sequence beside a longer one in another way than alone.

    Convolutions, Fourier transforms and landmarks reach over padding. Costs three short passes, of
    each model once.
    """
    if model in _CHECKED:
        return
    known = model.get_input_embeddings().weight.shape[0]
    words = [i for i in range(min(known, 99)) if i not in tokenizer.all_special_ids][: 2 * SHORT]
    ids, spot = [words[:SHORT], words], [np.arange(SHORT), np.arange(len(words))]
    types = [[0] * len(each) for each in ids]
    encoded = Encoded(ids, types, spot, spot, [0, SHORT], np.arange(SHORT + len(words)))
    base, training, kind = model.base_model, model.training, model.config.model_type
    plain = without_cache(model)
    with refusal(f"a model of architecture {kind!r} cannot be run on text alone"):
        model.eval()
        batch = collate(encoded, np.arange(2), model, tokenizer)
        given = {name: value.to(model.device) for name, value in batch.inputs.items()}
        beside = base(**given, **plain)[0][0][given["attention_mask"][0].bool()]
        alone = base(torch.tensor([words[:SHORT]], device=model.device), **plain)[0][0]
        model.train(training)
    if not alone.isfinite().all():
        raise BadInput(f"the weights of {model.name_or_path} give vectors that are not finite")
    apart = (alone - beside).abs().max().item()
    if not apart <= NEAR * alone.abs().max().item():
        raise BadInput(f"in {kind} the vectors of a sentence depend on the padding beside it")
    _CHECKED.add(model)


def to_device(batch: Batch, device) -> Batch:
    """Copy a batch to a device."""
    inputs = {key: value.to(device, non_blocking=True) for key, value in batch.inputs.items()}
    return Batch(inputs, batch.first.to(device), batch.last.to(device), batch.where)


def batch_size(device: torch.device) -> int:
    """Padded tokens of a batch, where nothing else is asked for."""
    return BATCH_TOKENS.get(device.type, BATCH_TOKENS["cpu"])


def batches(
    encoded: Encoded, model, tokenizer, *, batch_tokens: int | None = None, progress: bool = False
) -> Iterator[Batch]:
    """All batches of some encoded sentences on the model's device, longest sequences first.

    Parameters
    ----------
    batch_tokens
        Padded tokens of a batch at most; default :func:`batch_size`.
    progress
        Show a bar that counts batches.
    """
    size = batch_tokens or batch_size(model.device)
    groups = bucket([len(ids) for ids in encoded.ids], size)
    for group in tqdm(groups, unit="batch", disable=not progress, leave=False):
        yield to_device(collate(encoded, group, model, tokenizer), model.device)


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
