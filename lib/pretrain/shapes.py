"""The family of miniatures: shapes, and the weights that training starts from.

Twelve narrow blocks with the normalisation after each sum stay for thousands of steps at the loss
of guessing words by their frequency. What takes them off it is in :func:`start`. Nothing is copied
between blocks, so redundancy is learned and not planted.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
import transformers
from torch import Tensor

from lib.errors import one_of, within

HEAD = 64  # neurons of an attention head
INNER = 4  # neurons between the two products of a block, for each of its width
POSITIONS = 512  # tokens that a finished model accepts at most


@dataclass(frozen=True)
class Miniature:
    """One architecture: its family, tokenizer, number of blocks, and what it is trained to say.

    ``objective`` is a key of :data:`lib.pretrain.objectives.SAY`; ``parent`` the miniature that
    a distilled one learns from and shares the tokenizer with.
    """

    title: str
    family: str
    tokenizer: str
    objective: str
    blocks: int = 12
    parent: str | None = None


MINIATURES = {
    "bert-mini-12": Miniature("BERT-mini", "bert", "wordpiece", "masked"),
    "roberta-mini-12": Miniature("RoBERTa-mini", "roberta", "bytes", "masked"),
    "xlnet-mini-12": Miniature("XLNet-mini", "xlnet", "unigram", "permuted"),
    "distilbert-mini-6": Miniature(
        "DistilBERT-mini", "distilbert", "wordpiece", "distilled", blocks=6, parent="bert-mini-12"
    ),
}


def _bert_like(kind, vocabulary: int, width: int, blocks: int, positions: int):
    return kind(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=blocks,
        num_attention_heads=max(1, width // HEAD),
        intermediate_size=INNER * width,
        max_position_embeddings=positions,
    )


def _bert(vocabulary: int, width: int, blocks: int):
    return _bert_like(transformers.BertConfig, vocabulary, width, blocks, POSITIONS)


def _roberta(vocabulary: int, width: int, blocks: int):
    config = _bert_like(transformers.RobertaConfig, vocabulary, width, blocks, POSITIONS + 2)
    config.type_vocab_size = 1
    return config


def _xlnet(vocabulary: int, width: int, blocks: int):
    return transformers.XLNetConfig(
        vocab_size=vocabulary,
        d_model=width,
        n_layer=blocks,
        n_head=max(1, width // HEAD),
        d_inner=INNER * width,
    )


def _distilbert(vocabulary: int, width: int, blocks: int):
    return transformers.DistilBertConfig(
        vocab_size=vocabulary,
        dim=width,
        n_layers=blocks,
        n_heads=max(1, width // HEAD),
        hidden_dim=INNER * width,
        max_position_embeddings=POSITIONS,
    )


CONFIGS = {"bert": _bert, "roberta": _roberta, "xlnet": _xlnet, "distilbert": _distilbert}

KIND = transformers.AutoModelForMaskedLM  # predicts words; an XLNet does so by another class
KINDS = {"xlnet": transformers.AutoModelForCausalLM}

# Names of the shares of numbers that are dropped. One pass over much text needs none; fine-tuning
# does, so a finished model has its family's again.
DROPOUT = {
    "bert": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    "roberta": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    "xlnet": ("dropout",),
    "distilbert": ("dropout", "attention_dropout"),
}
BLOCK = r"\.(layer|layers)\.\d+\."
SPREADS = (  # of the first weights of a block, by name; the first that fits
    (r"\.(query|key|q_lin|k_lin|q|k|r)(\.weight)?$", 0.09),
    (r"(output\.dense|out_lin|lin2|rel_attn\.o|layer_2)(\.weight)?$", 0.008),
    (r".", 0.04),
)
WAVE = 0.03  # amplitude of the position embeddings


def make(name: str, tokenizer, width: int, blocks: int | None = None, *, seed: int = 0):
    """A miniature that predicts words, its weights drawn by :func:`start`.

    Raises
    ------
    BadInput
        For an unknown architecture, or a width that heads of 64 do not divide.
    """
    one_of("architecture", name, MINIATURES)
    within("width", width, 16, 1024)
    shape = MINIATURES[name]
    config = CONFIGS[shape.family](len(tokenizer), width, blocks or shape.blocks)
    config.update(dict.fromkeys(DROPOUT[shape.family], 0.0))
    for role, token in {"pad": "pad", "bos": "cls", "eos": "sep"}.items():
        setattr(config, f"{role}_token_id", getattr(tokenizer, f"{token}_token_id"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return start(KINDS.get(shape.family, KIND).from_config(config))


@torch.no_grad()
def start(model):
    """Draw the weights of the blocks, and lay the positions out as waves; in place.

    Matrices of queries and keys are drawn wide enough for attention to differ from a mean from the
    first step on; what a block adds starts small. Embeddings keep the usual spread.
    """
    for name, weight in model.named_parameters():
        if re.search(BLOCK, name) and weight.ndim > 1 and "norm" not in name.lower():
            spread = next(value for pattern, value in SPREADS if re.search(pattern, name))
            weight.normal_(0, spread)
        elif name.endswith("position_embeddings.weight"):
            weight.copy_(waves(*weight.shape))
    return model


def waves(positions: int, width: int) -> Tensor:
    r"""Sinusoids :math:`0.03 \sin(p / 10000^{2i/H})` and cosines, shape (positions, H)."""
    place = torch.arange(positions)[:, None]
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    found = torch.empty(positions, width)
    found[:, 0::2], found[:, 1::2] = torch.sin(place * rate), torch.cos(place * rate)
    return WAVE * found


HALVES = (  # names of a BERT block's parts, and of the same parts in a DistilBERT block
    ("attention.self.query", "attention.q_lin"),
    ("attention.self.key", "attention.k_lin"),
    ("attention.self.value", "attention.v_lin"),
    ("attention.output.dense", "attention.out_lin"),
    ("attention.output.LayerNorm", "sa_layer_norm"),
    ("intermediate.dense", "ffn.lin1"),
    ("output.dense", "ffn.lin2"),
    ("output.LayerNorm", "output_layer_norm"),
)
AROUND = (  # the same outside the blocks
    ("bert.embeddings.word_embeddings", "distilbert.embeddings.word_embeddings"),
    ("bert.embeddings.position_embeddings", "distilbert.embeddings.position_embeddings"),
    ("bert.embeddings.LayerNorm", "distilbert.embeddings.LayerNorm"),
    ("cls.predictions.transform.dense", "vocab_transform"),
    ("cls.predictions.transform.LayerNorm", "vocab_layer_norm"),
    ("cls.predictions.decoder", "vocab_projector"),
)


@torch.no_grad()
def inherit(student, teacher, keep: list[int]) -> None:
    """Start a DistilBERT from some blocks of a BERT; its one sentence type goes into positions."""
    names = list(AROUND)
    for place, block in enumerate(keep):
        above, below = f"bert.encoder.layer.{block}", f"distilbert.transformer.layer.{place}"
        names += [(f"{above}.{old}", f"{below}.{new}") for old, new in HALVES]
    for old, new in names:
        student.get_submodule(new).load_state_dict(teacher.get_submodule(old).state_dict())
    types = teacher.bert.embeddings.token_type_embeddings.weight[0]
    student.distilbert.embeddings.position_embeddings.weight.add_(types)
