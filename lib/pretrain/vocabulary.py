"""Tokenizers trained on a text: WordPiece, byte-level BPE, and pieces of a unigram model.

Each comes with the special tokens and the template of the family that it is named after, as
``transformers`` reads them back from ``tokenizer.json``. The library that trains them hashes, so it
numbers, and where counts tie also chooses, WordPiece's and unigram pieces differently each time;
here WordPiece is learned by joining marked letters, and unigram pieces are put in order (a score at
the edge of rounding may still differ). Cost: a pass over the text, seconds for a million words.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import tokenizers
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from lib.errors import one_of

MARK = "\u2581"  # stands before a word


def _pair(single: str, pair: str, backend: tokenizers.Tokenizer, *names: str):
    """A template in which sentences of a pair have types 0 and 1."""
    special = [(name, backend.token_to_id(name)) for name in names]
    return processors.TemplateProcessing(single=single, pair=pair, special_tokens=special)


def _wordpiece(text: Iterable[str], size: int):
    """Lower-cased words, cut into pieces; the template of BERT."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = dict.fromkeys([*special, *_joined(text, size)])
    vocabulary = {piece: number for number, piece in enumerate([*pieces][:size])}
    backend = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.post_processor = _pair(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", backend, "[CLS]", "[SEP]"
    )
    names = dict(zip(("pad", "unk", "cls", "sep", "mask"), special, strict=True))
    return backend, names, {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}


def _joined(text: Iterable[str], size: int) -> list[str]:
    """Pieces as WordPiece writes them: every letter both ways, then what was joined, in order."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.normalizer = normalizers.BertNormalizer()
    marks = [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Metaspace(MARK)]
    backend.pre_tokenizer = pre_tokenizers.Sequence(marks)
    backend.train_from_iterator(text, trainers.BpeTrainer(vocab_size=size, show_progress=False))
    learned = sorted(backend.get_vocab().items(), key=lambda item: item[1])
    pieces = [piece for piece, _ in learned if piece != MARK]
    letters = [piece for piece in pieces if len(piece) == 1]
    written = [p.removeprefix(MARK) if p.startswith(MARK) else f"##{p}" for p in pieces]
    return letters + written


def _bytes(text: Iterable[str], size: int):
    """Bytes, joined to pieces; nothing is unknown. The template of RoBERTa."""
    backend = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(text, trainer)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    names = dict(zip(("cls", "pad", "sep", "unk", "mask"), special, strict=True))
    return backend, names, {"model_input_names": ["input_ids", "attention_mask"]}


def _unigram(text: Iterable[str], size: int):
    """The likeliest pieces of a text with marked blanks; the summary comes last, as in XLNet."""
    backend = tokenizers.Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    special = ["<unk>", "<pad>", "<sep>", "<cls>", "<mask>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    backend.train_from_iterator(text, trainer)
    backend.model = models.Unigram(_in_order(backend, len(special)), unk_id=0)
    backend.post_processor = _pair(
        "$A:0 <sep>:0 <cls>:2", "$A:0 <sep>:0 $B:1 <sep>:1 <cls>:2", backend, "<sep>", "<cls>"
    )
    names = dict(zip(("unk", "pad", "sep", "cls", "mask"), special, strict=True))
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return backend, names, {"model_input_names": inputs, "padding_side": "left"}


def _in_order(backend: tokenizers.Tokenizer, first: int) -> list[tuple[str, float]]:
    """Pieces by spelling after the special ones, with the digits of their scores that stay."""
    found = json.loads(backend.to_str())["model"]["vocab"]
    pieces = sorted((piece, round(score, 2)) for piece, score in found[first:])
    return [*map(tuple, found[:first]), *pieces]


KINDS = {"wordpiece": _wordpiece, "bytes": _bytes, "unigram": _unigram}


def train(kind: str, text: Iterable[str], size: int) -> transformers.PreTrainedTokenizerFast:
    """A tokenizer of at most ``size`` pieces, special tokens counted.

    Parameters
    ----------
    kind
        Key of :data:`KINDS`.
    text
        Paragraphs; read once.
    size
        Of the vocabulary; ``bytes`` needs at least 256 and the special tokens.

    Raises
    ------
    BadInput
        For an unknown kind.
    """
    one_of("tokenizer", kind, KINDS)
    backend, names, options = KINDS[kind](text, size)
    special = {f"{role}_token": token for role, token in names.items()}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **special, **options)
