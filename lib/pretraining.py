r"""Pretraining of the miniatures on any text, each with the objective of its family.

:class:`Plan` says what is pretrained and is checked when it is made; :func:`read` gives its text,
:func:`train` the model, :func:`save` a folder that every page takes. All draws follow from the
seed. For any language model, a miniature or not:

- ``language_model(name, device=None) -> (model, tokenizer)``: with its head that predicts words;
- ``packed(tokenizer, paragraphs(corpus), length, rows) -> (N, T)``: full rows of tokens;
- ``losses(model, tokenizer, rows) -> {"loss", "accuracy", "asked"}``: by the model's own objective
  (masked, permuted or causal), no gradient, the same words on every call;
- ``heal(model, tokenizer, rows, steps=k)``: k updates with that objective, in place.

Memory: as :mod:`lib.training`, and two bytes a token of the text.
"""

from __future__ import annotations

import json
import lzma
import math
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np
import tokenizers
import torch
import transformers
from scipy.sparse import csr_array
from tokenizers import decoders, implementations, models, pre_tokenizers, processors, trainers
from torch import Tensor
from torch.nn import functional

from lib import corpora, dropping, encoders, model_table, records
from lib.activations import batch_size, to_device
from lib.batches import Batch, Encoded, batches
from lib.errors import BadInput, one_of, within
from lib.training import Recipe, Training, finish, products

EMBEDDED = "editorials"  # stands for the sentences that set-up fetches
SENTENCES = "newspaper editorials (Hutto and Gilbert 2014); MIT licence"
LENGTH = 64  # tokens of a row
HELD = 512 * LENGTH  # tokens held out, on which progress is measured
TOLD = 100_000  # paragraphs at most that a tokenizer is trained on
STRETCH, EVERY = 100, 50  # paragraphs that follow one another; every 50th stretch is held out
HEAD = 64  # neurons of an attention head
SUFFIXES = (".txt", ".txt.xz")
WEIGHTS, LOG, CARD = "model.safetensors", "training.json", "README.md"


# ---- text: paragraphs, a held-out part, rows of tokens -----------------------------------------


def paragraphs(corpus: str | Path) -> Iterator[str]:
    """Paragraphs of a text that are not blank; of many files a stretch of each in turn.

    Parameters
    ----------
    corpus
        A file ``.txt`` or ``.txt.xz``, one paragraph a line, a folder of such files, or
        ``editorials``, real sentences that set-up fetches (:mod:`lib.archive`).

    Raises
    ------
    BadInput
        If it is none of these.
    """
    if corpus == EMBEDDED:
        yield from (" ".join(words) for words, _ in corpora.load(EMBEDDED).train)
        return
    place = Path(corpus)
    found = sorted(place.iterdir()) if place.is_dir() else [place]
    files = [_lines(file) for file in found if file.is_file() and file.name.endswith(SUFFIXES)]
    if not files:
        raise BadInput(
            f"corpus {str(place)!r} is no file {' or '.join(SUFFIXES)} and no folder that holds "
            f"one; {EMBEDDED} stands for the sentences that set-up fetches"
        )
    while files:
        taken = [list(islice(lines, STRETCH)) for lines in files]
        yield from chain.from_iterable(taken)
        files = [lines for lines, stretch in zip(files, taken, strict=True) if stretch]


def _lines(file: Path) -> Iterator[str]:
    with (lzma.open if file.suffix == ".xz" else open)(file, "rt", encoding="utf-8") as lines:
        yield from (line.strip() for line in lines if line.strip())


def part(corpus: str | Path, *, held: bool) -> Iterator[str]:
    """Paragraphs for training, or those held out: whole stretches, the first one included.

    Neighbours come from one book, so single paragraphs held out would be too easy.
    """
    for number, line in enumerate(paragraphs(corpus)):
        if (number // STRETCH % EVERY == 0) == held:
            yield line


def packed(tokenizer, found: Iterable[str], length: int = LENGTH, rows: int = 1 << 20):
    """Paragraphs as full rows of tokens, with no padding: (N, T), at most ``rows`` of them.

    Paragraphs follow one another, each ended by the separator, and are cut where a row ends; a row
    carries the special tokens of a single sentence. What does not fill a last row is left out.

    Raises
    ------
    BadInput
        If the text does not fill one row.
    """
    before, after, _ = frame(tokenizer)
    room, kind = length - len(before) - len(after), np.min_scalar_type(len(tokenizer))
    found, kept, count = iter(found), [], 0
    while count < rows * room and (chunk := list(islice(found, 1000))):
        ids = tokenizer(chunk, add_special_tokens=False, verbose=False)["input_ids"]
        flat = chain.from_iterable([*each, ends(tokenizer)[1]] for each in ids)
        kept.append(np.fromiter(flat, dtype=kind))
        count += len(kept[-1])
    full = min(count // room, rows)
    if not full:
        raise BadInput(f"the text does not fill one row of {length} tokens")
    body = np.concatenate(kept)[: full * room].reshape(full, room)
    sides = (np.tile(np.array(side, dtype=body.dtype), (full, 1)) for side in (before, after))
    return np.hstack([next(sides), body, next(sides)])


def frame(tokenizer) -> tuple[list[int], list[int], list[int]]:
    """Special tokens before and after a single sentence, and the types of a row's last tokens."""
    row = tokenizer("a", return_special_tokens_mask=True, return_token_type_ids=True)
    first, last = np.flatnonzero(np.array(row["special_tokens_mask"]) == 0)[[0, -1]]
    return row["input_ids"][:first], row["input_ids"][last + 1 :], row["token_type_ids"][last + 1 :]


def ends(tokenizer) -> tuple[int, int]:
    """Ids that begin and end a text: of an encoder [CLS] and [SEP], of a decoder its marks."""
    outer = tokenizer.cls_token_id, tokenizer.sep_token_id
    return (tokenizer.bos_token_id, tokenizer.eos_token_id) if None in outer else outer


def encoded(rows: np.ndarray, tokenizer) -> Encoded:
    """Packed rows as what a training reads: each is one sequence, and one row."""
    place, types = np.zeros((len(rows), 1), dtype=int), np.zeros(rows.shape[1], dtype=int)
    last = frame(tokenizer)[2]
    types[len(types) - len(last) :] = last
    types = np.broadcast_to(types, rows.shape)
    return Encoded(rows, types, place, place, range(len(rows)), np.arange(len(rows)))


# ---- tokenizers: the same text gives the same pieces -------------------------------------------

SPECIAL = {  # tokens of each kind in the order of their ids, by their roles
    "wordpiece": {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
    "bytes": {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"},
    "unigram": {"unk": "<unk>", "pad": "<pad>", "sep": "<sep>", "cls": "<cls>", "mask": "<mask>"},
    "gpt": dict.fromkeys(("bos", "eos", "unk"), "<|endoftext|>") | {"pad": "<pad>"},
}


def _wordpiece(text: Iterable[str], size: int, special: list[str]):
    """Lower-cased words in pieces.

    The library's own trainer hashes, so it numbers and chooses differently each time; here marked
    letters are joined, and the pieces then written as WordPiece has them.
    """
    mark, usual = "\u2581", implementations.BertWordPieceTokenizer()
    joined = tokenizers.Tokenizer(models.BPE())
    marks = [usual.pre_tokenizer, pre_tokenizers.Metaspace(mark)]
    joined.normalizer, joined.pre_tokenizer = usual.normalizer, pre_tokenizers.Sequence(marks)
    joined.train_from_iterator(text, trainers.BpeTrainer(vocab_size=size, show_progress=False))
    learned = joined.get_vocab()
    pieces = sorted(learned.keys() - {mark}, key=learned.get)
    letters = [piece for piece in pieces if len(piece) == 1]
    written = [p.removeprefix(mark) if p.startswith(mark) else f"##{p}" for p in pieces]
    kept = list(dict.fromkeys([*special, *letters, *written]))[:size]
    return implementations.BertWordPieceTokenizer({p: number for number, p in enumerate(kept)})


def _bytes(text: Iterable[str], size: int, special: list[str]):
    """Bytes joined to pieces, nothing is unknown; RoBERTa's template."""
    found = implementations.ByteLevelBPETokenizer()
    found.train_from_iterator(text, size, 0, show_progress=False, special_tokens=special)
    found.post_processor = processors.RobertaProcessing((special[2], 2), (special[0], 0))
    return found


def _gpt(text: Iterable[str], size: int, special: list[str]):
    """The same, after the mark that ends the paragraph before."""
    found, end = _bytes(text, size, [*special, special[0]]), special[0]
    found.post_processor = processors.TemplateProcessing(
        single=f"{end} $A", pair=f"{end} $A {end}:1 $B:1", special_tokens=[(end, 0)]
    )
    return found


def _unigram(text: Iterable[str], size: int, special: list[str]):
    """The likeliest pieces of a text with marked blanks, in order; XLNet's template."""
    found = tokenizers.Tokenizer(models.Unigram())
    found.pre_tokenizer, found.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    named = {"special_tokens": special, "unk_token": special[0], "show_progress": False}
    found.train_from_iterator(text, trainers.UnigramTrainer(vocab_size=size, **named))
    learned = json.loads(found.to_str())["model"]["vocab"]
    pieces = sorted((piece, round(score, 2)) for piece, score in learned[len(special) :])
    found.model = models.Unigram([*map(tuple, learned[: len(special)]), *pieces], unk_id=0)
    found.post_processor = processors.TemplateProcessing(
        single="$A:0 <sep>:0 <cls>:2",
        pair="$A:0 <sep>:0 $B:1 <sep>:1 <cls>:2",
        special_tokens=[("<sep>", 2), ("<cls>", 3)],
    )
    return found


TOKENIZERS = {"wordpiece": _wordpiece, "bytes": _bytes, "unigram": _unigram, "gpt": _gpt}


def tokenizer(kind: str, text: Iterable[str], size: int) -> transformers.PreTrainedTokenizerFast:
    """A tokenizer of a kind of :data:`TOKENIZERS`, with at most ``size`` pieces.

    Special tokens count; of bytes there are at least 256. Cost: a pass over the text, seconds for
    a million words.
    """
    one_of("tokenizer", kind, TOKENIZERS)
    found = TOKENIZERS[kind](text, size, list(dict.fromkeys(SPECIAL[kind].values())))
    types = ["token_type_ids"] if kind in ("wordpiece", "unigram") else []
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=getattr(found, "_tokenizer", found),
        model_input_names=["input_ids", *types, "attention_mask"],
        padding_side="left" if kind == "unigram" else "right",
        **{f"{role}_token": token for role, token in SPECIAL[kind].items()},
    )


# ---- objectives: logits (K, V), the words (K,), and which of them were out of sight -------------

SHARE, MASKED, SWAPPED = 0.15, 0.8, 0.1  # asked; of these hidden, replaced :cite:p:`devlin2019bert`
SCORES = 1 << 27  # logits at most at once where nothing is trained
AHEAD = 6  # one of so many words is said by a permuted model, as in XLNet's pretraining
HEAT = 2.0  # temperature of the teacher :cite:p:`sanh2019distilbert`
LOSSES = (5.0, 2.0, 1.0)  # weights of the teacher's words, the hidden words, the last vectors
Said = tuple[Tensor, Tensor, Tensor]


def _special(tokenizer, ids: Tensor) -> Tensor:
    """Where tokens are special, and therefore never asked for."""
    return torch.isin(ids, torch.tensor(tokenizer.all_special_ids, device=ids.device))


def hide(ids: Tensor, special: Tensor, mask: int, words: int) -> tuple[Tensor, Tensor]:
    """Choose words (B, T) that are not special and hide most: what is read, and which are asked.

    ``mask`` and ``words`` are the id of the mask and the size of the vocabulary. Draws come from
    torch's global generator.
    """
    chosen = (torch.rand(ids.shape, device=ids.device) < SHARE) & ~special
    dice, other = torch.rand_like(ids, dtype=torch.float), torch.randint_like(ids, words)
    given = ids.masked_fill(chosen & (dice < MASKED), mask)
    return torch.where(chosen & (dice >= 1 - SWAPPED), other, given), chosen


def _hidden(model, tokenizer, inputs: dict) -> tuple[dict, Tensor]:
    ids, sizes = inputs["input_ids"], (tokenizer.mask_token_id, model.config.vocab_size)
    given, chosen = hide(ids, _special(tokenizer, ids), *sizes)
    return inputs | {"input_ids": given}, chosen


def _scored(model, given: dict[str, Tensor], chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of the chosen places alone (K, V), which saves most of the head, and all vectors."""
    vectors = []

    def pick(_, __, found):
        vectors.append(found.last_hidden_state)
        return type(found)(last_hidden_state=vectors[0][chosen])

    hook = model.base_model.register_forward_hook(pick)
    try:
        return model(**given).logits, vectors[0]
    finally:
        hook.remove()


def masked(model, tokenizer, inputs: dict[str, Tensor]) -> Said:
    """Words that were hidden, predicted from all the others."""
    given, chosen = _hidden(model, tokenizer, inputs)
    unseen = given["input_ids"][chosen] == tokenizer.mask_token_id
    return _scored(model, given, chosen)[0], inputs["input_ids"][chosen], unseen


def permuted(model, tokenizer, inputs: dict[str, Tensor]) -> Said:
    """The last words of a drawn order, each predicted from those before it: two-stream attention.

    Words that are not asked for see each other, as in XLNet's own pretraining
    :cite:p:`yang2019xlnet`.
    """
    ids = inputs["input_ids"]
    rank = torch.rand(ids.shape, device=ids.device).masked_fill_(_special(tokenizer, ids), -1)
    last = rank.topk(max(1, ids.shape[1] // AHEAD), dim=1).indices  # (B, K), the last of it first
    asked = torch.zeros_like(ids, dtype=torch.bool).scatter_(1, last, True)
    rank = rank.masked_fill(~asked, -1)
    hidden = asked[:, None, :] & (rank[:, None, :] >= rank[:, :, None])  # (B, who, of whom)
    target = functional.one_hot(last, ids.shape[1]).float()
    logits = model(**inputs, perm_mask=hidden.float(), target_mapping=target).logits
    words = ids.gather(1, last).flatten()
    return logits.flatten(0, 1), words, torch.ones_like(words, dtype=torch.bool)


def causal(model, tokenizer, inputs: dict[str, Tensor]) -> Said:
    """Every next token, predicted from those before it; special ones are learned, not counted."""
    words = inputs["input_ids"][:, 1:]
    logits = model(**inputs).logits[:, :-1]
    return logits.flatten(0, 1), words.flatten(), ~_special(tokenizer, words).flatten()


def objective(model):
    """What a model was made to predict: :func:`masked`, :func:`permuted` or :func:`causal`."""
    if model.config.model_type == "xlnet":
        return permuted
    return causal if encoders.causal(model.config) else masked


def mean_loss(model, tokenizer, inputs: dict[str, Tensor]) -> Tensor:
    """Mean cross-entropy of a model's own objective, in nats."""
    logits, words, _ = objective(model)(model, tokenizer, inputs)
    return functional.cross_entropy(logits.float(), words)


def distilled(model, tokenizer, inputs: dict[str, Tensor], teacher) -> Tensor:
    r"""DistilBERT's three losses: the teacher's words, the hidden words, and its last vectors.

    .. math:: 5\, \tau^2\, \mathrm{KL}(t_\tau \| s_\tau) + 2\, \mathrm{CE}
       + \frac{1}{BT} \sum_{b, t} (1 - \cos(s_{bt}, t_{bt}))
    """
    given, chosen = _hidden(model, tokenizer, inputs)
    logits, vectors = _scored(model, given, chosen)
    with torch.no_grad():
        theirs, wanted = _scored(teacher, given, chosen)
    warm = [(each.float() / HEAT).log_softmax(dim=-1) for each in (logits, theirs)]
    apart = functional.kl_div(*warm, log_target=True, reduction="batchmean") * HEAT**2
    cosine = functional.cosine_similarity(vectors.float(), wanted.float(), dim=-1)
    said = functional.cross_entropy(logits.float(), inputs["input_ids"][chosen])
    parts = zip(LOSSES, (apart, said, (1 - cosine.mean(dim=1)).mean()), strict=True)
    return sum(weight * value for weight, value in parts)


# ---- how much was learned -----------------------------------------------------------------------


@torch.no_grad()
def losses(model, tokenizer, rows: np.ndarray) -> dict[str, float]:
    """Loss (nats) and accuracy of a model on packed rows (N, T), and how many words were asked.

    Only words out of sight count; the same ones are asked of every model with the same tokenizer.
    Cost: one forward pass. The model's mode and torch's generator are left as they were.
    """
    training, device, found = model.training, model.device, []
    model.eval()
    most = min(batch_size(device), SCORES // model.get_input_embeddings().num_embeddings)
    given = batches(encoded(rows, tokenizer), model, tokenizer, batch_tokens=most)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        for batch in given:
            inputs = to_device(batch, device).inputs
            logits, words, unseen = objective(model)(model, tokenizer, inputs)
            logits, words = logits[unseen].float(), words[unseen]
            loss = functional.cross_entropy(logits, words, reduction="sum").item()
            found.append((loss, (logits.argmax(-1) == words).sum().item(), len(words)))
    model.train(training)
    loss, right, asked = map(sum, zip(*found, strict=True))
    return {"loss": loss / max(asked, 1), "accuracy": right / max(asked, 1), "asked": asked}


def entropies(train: np.ndarray, held: np.ndarray, special: list[int]) -> dict[str, float]:
    r"""Baselines: cross-entropy of held-out words under counts of the training rows, in nats.

    .. math:: p(w) = \frac{n_w + 1}{n + V}, \qquad
       p(w \mid v) = \tfrac12 \frac{n_{vw}}{n_v} + \tfrac12 p(w)

    Parameters
    ----------
    train, held
        Packed rows (N, T). Every word of ``held`` that is not special is counted.
    special
        Ids of special tokens.

    Returns
    -------
    dict
        ``unigram`` and ``bigram``. Cost: a sort of the training pairs.
    """
    size = int(max(train.max(), held.max())) + 1
    words = np.bincount(train[~np.isin(train, special)], minlength=size)
    ones, pairs = np.ones(train[:, 1:].size), (train[:, :-1].ravel(), train[:, 1:].ravel())
    followed = csr_array((ones, pairs), shape=(size, size))
    asked = ~np.isin(held[:, 1:], special)
    before, after = held[:, :-1][asked].astype(int), held[:, 1:][asked].astype(int)
    single = ((words + 1) / (words.sum() + size))[after]
    pair = followed[before, after] / np.maximum(followed.sum(axis=1)[before], 1)
    found = {"unigram": single, "bigram": 0.5 * pair + 0.5 * single}
    return {name: float(-np.log(share).mean()) for name, share in found.items()}


# ---- the family: shapes, and the weights that training starts from ------------------------------

RECIPE = Recipe(
    learning_rate=1e-3, epochs=1, batch=32, max_length=LENGTH, warmup=0.03, weight_decay=0.01
)


@dataclass(frozen=True)
class Miniature:
    """One architecture: class with the head that predicts words, tokenizer, config, recipe."""

    kind: type
    tokenizer: str  # a key of TOKENIZERS
    sizes: str = "hidden_size intermediate_size num_attention_heads"  # as the config names them
    config: dict[str, int] = field(default_factory=dict)
    recipe: Recipe = RECIPE


MINIATURES = {
    "bert-mini-12": Miniature(transformers.BertForMaskedLM, "wordpiece"),
    "roberta-mini-12": Miniature(
        transformers.RobertaForMaskedLM,
        "bytes",
        config={"max_position_embeddings": 514, "type_vocab_size": 1},
    ),
    "xlnet-mini-12": Miniature(transformers.XLNetLMHeadModel, "unigram", "d_model d_inner n_head"),
    "distilbert-mini-6": Miniature(
        transformers.DistilBertForMaskedLM, "wordpiece", "dim hidden_dim n_heads"
    ),
    "gpt-mini-12": Miniature(
        transformers.GPT2LMHeadModel,
        "gpt",
        "n_embd n_inner n_head",
        {"n_positions": 512},
        replace(RECIPE, learning_rate=2e-3, batch=8, max_length=128),  # every word is asked
    ),
}
BLOCK = r"\.(layer|layers|h)\.\d+\."
SPREADS = (  # of the first weights of a block, by name; the first that fits
    (r"\.(query|key|q_lin|k_lin|q|k|r)(\.weight)?$", 0.09),
    (r"(output\.dense|out_lin|lin2|rel_attn\.o|layer_2|c_proj)(\.weight)?$", 0.008),
    (r".", 0.04),
)


def make(name: str, tokenizer, width: int, blocks: int, *, seed: int = 0):
    """A miniature that predicts words, its weights drawn by :func:`start`.

    One pass over much text needs no dropout; a finished model has its family's again.
    """
    shape, (begin, end) = MINIATURES[name], ends(tokenizer)
    sizes = zip(shape.sizes.split(), (width, 4 * width, max(1, width // HEAD)), strict=True)
    config = shape.kind.config_class(
        num_hidden_layers=blocks,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=begin,
        eos_token_id=end,
        **shape.config | dict(sizes),
    )
    config.update(dict.fromkeys(dropout(config), 0.0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return start(shape.kind(config))


def dropout(config) -> dict[str, float]:
    """Shares of numbers that a family drops in training, by their keys in its config."""
    usual = type(config)().to_dict()
    return {name: v for name, v in usual.items() if "drop" in name and isinstance(v, float)}


@torch.no_grad()
def start(model):
    """Draw the weights of the blocks, and lay the positions out as waves; in place.

    Twelve narrow blocks with the normalisation after each sum can stay long at the loss of guessing
    words by their frequency. Matrices of queries and keys are drawn wide enough for attention to
    differ from a mean from the first step on; what a block adds starts small. Nothing is copied
    between blocks, so redundancy is learned and not planted.
    """
    for name, weight in model.named_parameters():
        if re.search(BLOCK, name) and weight.ndim > 1 and "norm" not in name.lower():
            spread = next(value for pattern, value in SPREADS if re.search(pattern, name))
            weight.normal_(0, spread)
        elif name.endswith(("position_embeddings.weight", "wpe.weight")):
            weight.copy_(waves(*weight.shape))
    return model


def waves(positions: int, width: int) -> Tensor:
    r"""Sinusoids :math:`0.03 \sin(p / 10000^{2i/H})` and cosines, shape (positions, H)."""
    place = torch.arange(positions)[:, None]
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    found = torch.empty(positions, width)
    found[:, 0::2], found[:, 1::2] = torch.sin(place * rate), torch.cos(place * rate)
    return 0.03 * found


@torch.no_grad()
def guess(model, data: Read):
    """Let a model whose head has a bias start from how often each word occurs; in place."""
    counts = torch.from_numpy(np.bincount(data.train.ravel(), minlength=len(data.tokenizer)) + 1.0)
    counts[data.tokenizer.all_special_ids] = 1.0
    if model.get_output_embeddings().bias is not None:
        model.get_output_embeddings().bias.copy_((counts / counts.sum()).log())
    return model


RENAMED = {  # parts of a BERT, and the same parts in a DistilBERT; in this order
    "encoder.layer": "transformer.layer",
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
    "cls.predictions.transform.dense": "vocab_transform",
    "cls.predictions.transform.LayerNorm": "vocab_layer_norm",
    "cls.predictions.decoder": "vocab_projector",
    "bert.": "distilbert.",
}


@torch.no_grad()
def inherit(student, teacher, keep: list[int]):
    """Start a DistilBERT from some blocks of a BERT; its one sentence type goes into positions."""
    weights = dropping.smaller(teacher, keep).state_dict()
    for old, new in RENAMED.items():
        weights = {name.replace(old, new): value for name, value in weights.items()}
    student.load_state_dict(weights, strict=False)
    types = teacher.bert.embeddings.token_type_embeddings.weight[0]
    student.distilbert.embeddings.position_embeddings.weight.add_(types)
    return student


# ---- one pretraining ----------------------------------------------------------------------------

STRETCHES = ((4, 0.05), (8, 0.10), (16, 0.15), (32, 0.20))  # tokens, up to this share of the steps


@dataclass(frozen=True)
class Plan:
    """What is pretrained, checked when it is made.

    Parameters
    ----------
    architecture, width, blocks
        Key of :data:`MINIATURES`; the blocks default to the family's. A student has its teacher's
        width and the blocks that *even* keeps of it.
    corpus, source
        As for :func:`paragraphs`; ``source`` says in words what the text is and its licence, for
        the card. A model is saved with it only.
    vocabulary
        Pieces of the tokenizer at most.
    steps, seed
        Updates, and what decides weights, order and the words asked.
    precision
        Of the products, as in :class:`lib.training.Recipe`; ``bfloat16`` also pays on a processor
        that multiplies it.
    teacher
        For DistilBERT a BERT that predicts words, by name or folder; default the released one.
    out
        Folder for the model, where a killed run goes on; None keeps nothing.

    Raises
    ------
    BadInput
        In one sentence, for the first thing that cannot be used.
    """

    architecture: str = "bert-mini-12"
    corpus: str = EMBEDDED
    source: str | None = None
    width: int = 128
    blocks: int = 12
    vocabulary: int = 8000
    steps: int = 9400
    seed: int = 0
    precision: str = "best"
    teacher: str | None = None
    out: str | None = None

    def __post_init__(self):
        """Refuse what cannot be trained or saved."""
        one_of("architecture", self.architecture, MINIATURES)
        within("width", self.width, 16, 1024)
        within("blocks", self.blocks, 1, 48)
        within("vocabulary", self.vocabulary, 300, 2**16 - 1)
        within("steps", self.steps, 1, 10_000_000)
        within("seed", self.seed, 0, 2**32 - 1)
        if self.width % min(self.width, HEAD):
            raise BadInput(f"width {self.width} is not valid; above {HEAD} it is a multiple of it")
        replace(RECIPE, precision=self.precision)
        next(paragraphs(self.corpus), None)
        if self.teacher and not model_table.MINIATURES[self.architecture].parent:
            raise BadInput(f"{self.architecture} takes no teacher")
        if self.parent and encoders.architecture(self.parent) != "bert":
            raise BadInput(f"teacher {self.teacher!r} is no BERT")
        if self.out and not self.told:
            raise BadInput("source is not given; the card names the text and its licence")
        if self.out and (Path(self.out) / WEIGHTS).exists():
            raise BadInput(f"out {self.out!r} holds a finished model; name a new folder")

    @property
    def parent(self) -> str | None:
        """Whom a student learns from: the teacher, else the released miniature."""
        return self.teacher or model_table.MINIATURES[self.architecture].parent

    @property
    def told(self) -> str | None:
        """What the text is, in words."""
        return self.source or (SENTENCES if self.corpus == EMBEDDED else None)

    @property
    def recipe(self) -> Recipe:
        """The architecture's recipe, ended at the last step."""
        usual = MINIATURES[self.architecture].recipe
        return replace(usual, updates=self.steps, precision=self.precision)


@dataclass(frozen=True)
class Read:
    """A text as one tokenizer reads it: rows (N, T) for training, rows held out, baselines."""

    tokenizer: transformers.PreTrainedTokenizerFast
    train: np.ndarray
    held: np.ndarray
    entropies: dict[str, float]


def read(plan: Plan) -> Read:
    """Rows for training and rows held out, by the tokenizer of the run.

    A student has its teacher's tokenizer; a run with ``out`` keeps its own there.
    """
    length, learner = plan.recipe.max_length, _tokenizer(plan)
    rows = plan.steps * plan.recipe.batch
    train = packed(learner, part(plan.corpus, held=False), length, rows)
    held = packed(learner, part(plan.corpus, held=True), length, HELD // length)
    return Read(learner, train, held, entropies(train, held, learner.all_special_ids))


def _tokenizer(plan: Plan):
    folder = encoders.find(plan.parent) if plan.parent else Path(plan.out or "")
    if (folder / "tokenizer.json").exists() and (plan.parent or plan.out):
        found = encoders.read_tokenizer(folder)
    else:
        text = islice(part(plan.corpus, held=False), TOLD)
        found = tokenizer(MINIATURES[plan.architecture].tokenizer, text, plan.vocabulary)
    if plan.out:
        found.save_pretrained(plan.out)
    if plan.parent:
        found.model_input_names = ["input_ids", "attention_mask"]  # a student's have no types
    return found


def train(plan: Plan, data: Read, *, every: int = 500, device=None, progress: bool = False):
    """Pretrain a miniature; with ``out`` a killed run goes on to the same weights.

    Parameters
    ----------
    data
        From :func:`read`; where it has fewer rows than the steps need, rows come again.
    every
        Updates from one measurement on the held-out rows to the next.
    device, progress
        Default the GPU where there is one; whether a bar counts the updates.

    Returns
    -------
    model
        In evaluation mode, with its head that predicts words.
    dict
        The account of :func:`lib.training.finish`, ``entropies``, ``log`` (``step``, ``loss`` in
        nats, ``accuracy`` and ``asked`` on the held-out rows), ``device`` and ``products``.
    """
    device = torch.device(device or encoders.default_device())
    teacher = language_model(plan.parent, device)[0] if plan.parent else None
    model = _placed(_begun(plan, data, teacher), device)
    learned = partial(distilled, teacher=teacher) if teacher else mean_loss
    grows = teacher is None and objective(model) is not causal

    def said(inputs: dict[str, Tensor], _: Batch) -> Tensor:
        width = stretch(state.done, plan.steps) if grows else plan.recipe.max_length
        short = {name: value.reshape(-1, width) for name, value in inputs.items()}
        return learned(model, data.tokenizer, short)

    def watch(done: int) -> dict | None:
        if done % every == 0 or done == plan.steps:
            return {"step": done} | losses(model, data.tokenizer, data.held)
        return None

    told = [plan.architecture, STRETCHES]
    state = _state(model, data.tokenizer, data.train, said, plan.recipe, seed=plan.seed, told=told)
    checkpoint = Path(plan.out) / "run.safetensors" if plan.out else None
    account = finish(state, checkpoint, progress, watch)
    made = {"device": device.type, "products": products(device, plan.precision)}
    return model, account | made | {"entropies": data.entropies}


def _state(model, tokenizer, rows, said, recipe: Recipe, **options) -> Training:
    """A training with as many passes over the rows as its updates need."""
    epochs = -(-recipe.updates // -(-len(rows) // recipe.batch))
    recipe = replace(recipe, epochs=epochs)
    return Training(model, tokenizer, encoded(rows, tokenizer), said, recipe=recipe, **options)


def _begun(plan: Plan, data: Read, teacher):
    """The model before its first update: it guesses by frequency, or has blocks of a teacher."""
    options = {"width": plan.width, "blocks": plan.blocks, "seed": plan.seed}
    if not teacher:
        model = make(plan.architecture, data.tokenizer, **options)
        return guess(model, data)
    n = dropping.n_blocks(teacher)
    keep = dropping.blocks_to_keep("even", n, n // 2)
    options |= {"width": teacher.config.hidden_size, "blocks": len(keep)}
    return inherit(make(plan.architecture, data.tokenizer, **options), teacher, keep)


def stretch(done: int, steps: int) -> int:
    """Tokens that see one another at an update: few at first, in the end all of a row.

    Among a few tokens attention that is still blind reaches the neighbours, from which there is
    most to learn; among many it drowns them, and a deep stack stays long at guessing by frequency.
    """
    return next((width for width, until in STRETCHES if done < until * steps), LENGTH)


def _placed(model, device):
    """The model on its device; on a CPU written-out attention is the faster one for short rows."""
    if torch.device(device).type == "cpu":
        model.set_attn_implementation("eager")
    return model.to(device)


def heal(model, tokenizer, rows: np.ndarray, *, steps: int, learning_rate=5e-4, seed: int = 0):
    """Train a language model on packed rows for some updates, by its own objective; in place.

    Returns the account of :func:`lib.training.finish`.
    """

    def said(inputs: dict[str, Tensor], _: Batch) -> Tensor:
        return mean_loss(model, tokenizer, inputs)

    usual = replace(RECIPE, updates=steps, learning_rate=learning_rate)
    return finish(_state(model, tokenizer, rows, said, usual, seed=seed))


# ---- a finished miniature -----------------------------------------------------------------------


def language_model(name: str | Path, device=None):
    """A model with the head that predicts words, not in training, and its tokenizer.

    See :func:`lib.encoders.load`, also for what is refused.
    """
    model, learner = encoders.load(name, head="lm", device=device)
    return _placed(model, model.device), learner


LOGGED = "architecture corpus source width steps seed device products entropies log".split()


def save(plan: Plan, data: Read, model, account: dict) -> Path:
    """Write a finished miniature: half precision, tokenizer, log, card; its dropout is back."""
    folder = Path(plan.out)
    model.config.update(dropout(model.config))
    model.half().save_pretrained(folder)
    data.tokenizer.save_pretrained(folder)
    model.float()
    told = vars(plan) | account | {"corpus": Path(plan.corpus).name, "source": plan.told}
    told = {name: told[name] for name in LOGGED} | {"width": model.config.hidden_size}
    records.write_whole(folder / LOG, json.dumps(told, indent=1) + "\n")
    records.write_whole(folder / CARD, card(plan, data, model, account))
    return folder


def card(plan: Plan, data: Read, model, account: dict) -> str:
    """What the miniature is, what it learned from, how well, and what it is not."""
    found = vars(model_table.MINIATURES[plan.architecture]) | vars(plan) | asdict(plan.recipe)
    found |= (
        account
        | account["log"][-1]
        | account["entropies"]
        | {
            "blocks": dropping.n_blocks(model),
            "width": model.config.hidden_size,
            "parameters": encoders.n_parameters(model),
            "pieces": len(data.tokenizer),
            "told": plan.told,
        }
    )
    text = Path(__file__).with_name("card.md").read_text(encoding="utf-8").format(**found)
    return "\n\n".join(textwrap.fill(para, 100) for para in text.split("\n\n")) + "\n"
