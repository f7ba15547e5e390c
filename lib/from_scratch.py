r"""A miniature from scratch: tokenizer, first weights, and a pretraining that can be stopped.

:class:`Plan` says what is pretrained and is checked when it is made; :func:`read` gives its text,
:func:`make` a model, which :func:`train` trains, :func:`save` a folder that every page takes. Kind
of tokenizer, architecture and objective are those of the released miniature of that name; pieces
and weights are new. All draws follow from seed 0.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import transformers
from scipy.sparse import csr_array
from tokenizers import models, pre_tokenizers
from torch import Tensor

from lib import encoders, pretraining
from lib.errors import BadInput, one_of, within
from lib.model_table import MINIATURES
from lib.pretraining import LENGTH, RECIPE, STRETCH
from lib.training import Recipe, finish

HELD = 512 * LENGTH  # tokens held out, on which progress is measured
EVERY = 50  # every 50th stretch of paragraphs is held out
TOLD = 100_000  # paragraphs at most that a tokenizer is trained on
HEAD = 64  # neurons of an attention head
INNER = ("intermediate_size", "d_inner", "hidden_dim", "n_inner")  # as the families name it
BLOCK = r"\.(layer|layers|h)\.\d+\."
SPREADS = {  # of the first weights of a block, by name; the first that fits
    r"\.(query|key|q_lin|k_lin|q|k|r)(\.weight)?$": 0.09,
    r"(output\.dense|out_lin|lin2|rel_attn\.o|layer_2|c_proj)(\.weight)?$": 0.008,
    r".": 0.04,
}
STRETCHES = ((4, 0.05), (8, 0.10), (16, 0.15), (32, 0.20))  # tokens, up to this share of the steps
MARK = "\u2581"  # begins a word
MADE = "plan.json"  # beside a tokenizer: what it was made for


@dataclass(frozen=True)
class Plan:
    """What is pretrained, checked when it is made.

    Parameters
    ----------
    architecture, width, blocks
        Name of a miniature, and its size.
    corpus
        As for :func:`lib.pretraining.paragraphs`.
    vocabulary
        Pieces of the tokenizer at most.
    steps
        Updates.
    out
        Folder for the model, where a killed run goes on; None keeps nothing.

    Raises
    ------
    BadInput
        In one sentence, for the first thing that cannot be used.
    """

    architecture: str = "bert-mini-12"
    corpus: str = "editorials"
    width: int = 128
    blocks: int = 12
    vocabulary: int = 8000
    steps: int = 9400
    out: str | None = None

    def __post_init__(self):
        """Refuse what cannot be trained or saved."""
        one_of("architecture", self.architecture, MINIATURES)
        within("width", self.width, 16, 1024)
        within("blocks", self.blocks, 1, 48)
        within("vocabulary", self.vocabulary, 300, 2**16 - 1)
        within("steps", self.steps, 1, 10_000_000)
        if self.width % min(self.width, HEAD):
            raise BadInput(f"width {self.width} is not valid; above {HEAD} it is a multiple of it")
        if next(part(self.corpus, held=False), None) is None:
            raise BadInput(
                f"corpus {str(self.corpus)!r} has no more than {STRETCH} paragraphs, and the first "
                "are held out; give a text of more lines"
            )
        if self.out and (Path(self.out) / "model.safetensors").exists():
            raise BadInput(f"out {self.out!r} holds a finished model; name a new folder")

    @property
    def recipe(self) -> Recipe:
        """The miniatures' recipe, ended at the last step; a decoder is asked for every word."""
        decoder = MINIATURES[self.architecture].family == "gpt2"
        usual = replace(RECIPE, learning_rate=2e-3, batch=8, max_length=128) if decoder else RECIPE
        return replace(usual, updates=self.steps)


# ---- text --------------------------------------------------------------------------------------


def part(corpus: str | Path, *, held: bool) -> Iterable[str]:
    """Paragraphs for training, or those held out: whole stretches, the first one included.

    Neighbours come from one book, so single paragraphs held out would be too easy.
    """
    for number, line in enumerate(pretraining.paragraphs(corpus)):
        if (number // STRETCH % EVERY == 0) == held:
            yield line


def tokenizer(like: str, text: Iterable[str], size: int) -> transformers.PreTrainedTokenizerFast:
    """A tokenizer of a miniature's kind with at most ``size`` pieces; a text always gives the same.

    WordPiece's own trainer hashes, so it numbers and chooses differently each time: marked letters
    are joined in its place, and the pieces then written as WordPiece has them. Special tokens
    count; of bytes there are at least 256. Cost: a pass over the text, seconds for a million words.
    """
    one_of("architecture", like, MINIATURES)
    usual = encoders.read_tokenizer(encoders.find(like))
    inner, kind = usual.backend_tokenizer, type(usual.backend_tokenizer.model)
    split = inner.pre_tokenizer
    if kind is models.WordPiece:
        inner.model, marked = models.BPE(), pre_tokenizers.Metaspace(MARK)
        inner.pre_tokenizer = pre_tokenizers.Sequence([split, marked])
    found = usual.train_new_from_iterator(text, size, show_progress=False)
    inner, special = found.backend_tokenizer, found.all_special_tokens
    learned = json.loads(inner.to_str())["model"]["vocab"]
    if kind is models.WordPiece:
        pieces = sorted(learned.keys() - {MARK, *special}, key=learned.get)
        letters = [piece for piece in pieces if len(piece) == 1]
        written = [p[1:] if p.startswith(MARK) else f"##{p}" for p in pieces]
        kept = dict.fromkeys([*sorted(special, key=learned.get), *letters, *written])
        vocabulary = dict(zip(kept, range(size), strict=False))
        inner.model, inner.pre_tokenizer = kind(vocabulary, unk_token=found.unk_token), split
    elif kind is models.Unigram:
        pieces = sorted((piece, round(score, 2)) for piece, score in learned[len(special) :])
        inner.model = kind([*map(tuple, learned[: len(special)]), *pieces], unk_id=0)
    return found


def read(plan: Plan) -> tuple[transformers.PreTrainedTokenizerFast, np.ndarray, np.ndarray]:
    """Tokenizer of a run, and its :func:`rows`; with ``out`` it is kept there, and found again.

    Raises
    ------
    BadInput
        If ``out`` holds the tokenizer of another architecture, text or vocabulary.
    """
    kept = Path(plan.out) if plan.out else None
    asked = _asked(plan) if kept else {}
    if kept and (kept / "tokenizer.json").exists():
        if not (kept / MADE).exists() or json.loads((kept / MADE).read_text()) != asked:
            raise BadInput(f"out {plan.out!r} holds a run of another plan; name a new folder")
        learner = encoders.read_tokenizer(kept)
    else:
        learner = tokenizer(plan.architecture, _text(plan), plan.vocabulary)
        if kept:
            kept.mkdir(parents=True, exist_ok=True)
            (kept / MADE).write_text(json.dumps(asked))
            learner.save_pretrained(kept)
    return learner, *rows(plan, learner)


def _text(plan: Plan) -> Iterable[str]:
    """Paragraphs that the tokenizer of a run is trained on."""
    return islice(part(plan.corpus, held=False), TOLD)


def _asked(plan: Plan) -> dict:
    """What decides the tokenizer of a run, its text by a digest."""
    text = hashlib.sha256()
    for paragraph in _text(plan):
        text.update(paragraph.encode() + b"\n")
    return {
        "architecture": plan.architecture,
        "vocabulary": plan.vocabulary,
        "text": text.hexdigest(),
    }


def rows(plan: Plan, learner) -> list[np.ndarray]:
    """Rows of tokens (N, T) for training, and rows held out."""
    length = plan.recipe.max_length
    most = ((False, plan.steps * plan.recipe.batch), (True, HELD // length))
    parts = [(part(plan.corpus, held=held), length, count) for held, count in most]
    return [pretraining.packed(learner, *about) for about in parts]


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


# ---- where training starts ---------------------------------------------------------------------


def make(like: str, learner, width: int, blocks: int, *, seed: int = 0):
    """A model of a miniature's kind that predicts words, its weights drawn by :func:`start`.

    One pass over much text needs no dropout; a saved model has its family's again.
    """
    heads = max(1, width // HEAD)
    sizes = {"hidden_size": width, "num_hidden_layers": blocks, "num_attention_heads": heads}
    sizes |= {"vocab_size": len(learner), "d_head": width // heads}
    sizes |= dict.fromkeys(INNER, 4 * width)
    config = encoders.read_config(encoders.find(like), **sizes)
    config.update(dict.fromkeys(dropout(config), 0.0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return start(getattr(transformers, config.architectures[0])(config))


def dropout(config) -> dict[str, float]:
    """Shares of numbers that are dropped in training, by their keys in a config."""
    return {k: v for k, v in config.to_dict().items() if "drop" in k and isinstance(v, float)}


@torch.no_grad()
def start(model):
    r"""Draw the weights of the blocks, and lay the positions out as waves; in place.

    Twelve narrow blocks with the normalisation after each sum can stay long at the loss of guessing
    words by their frequency. Matrices of queries and keys are drawn wide enough for attention to
    differ from a mean from the first step on; what a block adds starts small. Nothing is copied
    between blocks, so redundancy is learned and not planted. Positions start as
    :math:`0.03 \sin(p / 10000^{2i/H})` and cosines.
    """
    for name, weight in model.named_parameters():
        if re.search(BLOCK, name) and weight.ndim > 1 and "norm" not in name.lower():
            spread = next(value for pattern, value in SPREADS.items() if re.search(pattern, name))
            weight.normal_(0, spread)
        elif name.endswith(("position_embeddings.weight", "wpe.weight")):
            place = torch.arange(len(weight))[:, None]
            place = place / 10000 ** (torch.arange(0, weight.shape[1], 2) / weight.shape[1])
            weight[:, 0::2], weight[:, 1::2] = 0.03 * place.sin(), 0.03 * place.cos()
    return model


@torch.no_grad()
def guess(model, learner, rows: np.ndarray):
    """Let a model whose head has a bias start from how often each word occurs; in place."""
    counts = torch.from_numpy(np.bincount(rows.ravel(), minlength=len(learner)) + 1.0)
    counts[learner.all_special_ids] = 1.0
    if model.get_output_embeddings().bias is not None:
        model.get_output_embeddings().bias.copy_((counts / counts.sum()).log())
    return model


# ---- training ----------------------------------------------------------------------------------


def stretch(done: int, steps: int) -> int:
    """Tokens that see one another at an update: few at first, in the end all of a row.

    Among a few tokens attention that is still blind reaches the neighbours, from which there is
    most to learn; among many it drowns them, and a deep stack stays long at guessing by frequency.
    """
    return next((width for width, until in STRETCHES if done < until * steps), LENGTH)


def train(
    plan: Plan, model, learner, rows: np.ndarray, held: np.ndarray, *, every: int,
    loss: Callable = pretraining.mean_loss,
) -> dict:  # fmt: skip
    """Pretrain a model in place; with ``out`` a killed run goes on to the same weights.

    Parameters
    ----------
    model
        From :func:`make`; it is put on the GPU where there is one.
    learner, rows, held
        From :func:`read`; where there are fewer rows than the steps need, they come again.
    every
        Updates from one measurement on the held-out rows to the next.
    loss
        ``loss(model, tokenizer, inputs)``: what is learned. Only a model that sees both sides of a
        word, and has no teacher, begins with short stretches.

    Returns
    -------
    dict
        The account of :func:`lib.training.finish`, with ``log``: ``step``, ``loss`` in nats,
        ``accuracy`` and ``asked`` on the held-out rows.
    """
    pretraining.for_short_rows(model.to(encoders.default_device()))
    both_ways = pretraining.objective(model) is not pretraining.causal
    grows = both_ways and loss is pretraining.mean_loss

    def said(inputs: dict[str, Tensor], _) -> Tensor:
        width = stretch(state.done, plan.steps) if grows else plan.recipe.max_length
        return loss(model, learner, {k: value.reshape(-1, width) for k, value in inputs.items()})

    def watch(done: int) -> dict | None:
        if done % every == 0 or done == plan.steps:
            return {"step": done} | pretraining.losses(model, learner, held)
        return None

    told = [plan.architecture, STRETCHES]
    state = pretraining.training_on(rows, model, learner, plan.recipe, said, seed=0, told=told)
    return finish(state, Path(plan.out) / "run.safetensors" if plan.out else None, watch=watch)


def save(plan: Plan, model, learner) -> None:
    """Write a finished miniature: half precision, its tokenizer, its family's dropout."""
    model.config.update(dropout(encoders.read_config(encoders.find(plan.architecture))))
    model.half().save_pretrained(plan.out)
    learner.save_pretrained(plan.out)
    model.float()
