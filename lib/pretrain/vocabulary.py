"""Tokenizers trained on a text: WordPiece, byte-level BPE, and pieces of a unigram model.

Each comes with the special tokens and the template of the family that it is named after, as
``transformers`` reads them back from ``tokenizer.json``. Two trainings on one text may number the
pieces differently, because the library that trains them hashes; so a tokenizer is kept with its
model, and a run that goes on reads it back. Cost: a pass over the text, seconds for a million
words.
"""

from __future__ import annotations

from collections.abc import Iterable

import tokenizers
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from lib.errors import one_of


def _pair(single: str, pair: str, backend: tokenizers.Tokenizer, *names: str):
    """A template in which sentences of a pair have types 0 and 1."""
    special = [(name, backend.token_to_id(name)) for name in names]
    return processors.TemplateProcessing(single=single, pair=pair, special_tokens=special)


def _wordpiece(text: Iterable[str], size: int):
    """Lower-cased words, cut into pieces; the template of BERT."""
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=special, show_progress=False
    )
    backend.train_from_iterator(text, trainer)
    backend.post_processor = _pair(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", backend, "[CLS]", "[SEP]"
    )
    names = dict(zip(("pad", "unk", "cls", "sep", "mask"), special, strict=True))
    return backend, names, {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}


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
    backend.post_processor = _pair(
        "$A:0 <sep>:0 <cls>:2", "$A:0 <sep>:0 $B:1 <sep>:1 <cls>:2", backend, "<sep>", "<cls>"
    )
    names = dict(zip(("unk", "pad", "sep", "cls", "mask"), special, strict=True))
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return backend, names, {"model_input_names": inputs, "padding_side": "left"}


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
