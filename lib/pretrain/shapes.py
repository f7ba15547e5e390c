"""The family of miniatures: shapes, and the weights that training starts from.

Twelve narrow blocks with the normalisation after each sum can stay long at the loss of guessing
words by their frequency. What takes them off it is in :func:`start`, in :func:`guess`, and in
:func:`lib.pretrain.run.stretch`. Nothing is copied between blocks, so redundancy is learned and not
planted.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

import numpy as np
import torch
import transformers
from torch import Tensor

from lib import model_table
from lib.errors import BadInput, one_of, within
from lib.model_table import Model

HEAD = 64  # neurons of an attention head
INNER = 4  # neurons between the two products of a block, for each of its width
POSITIONS = 512  # tokens that a finished model accepts at most


@dataclass(frozen=True)
class Miniature:
    """One architecture: its entry in the table of models, its tokenizer and what it learns to say.

    ``tokenizer`` is a key of :data:`lib.pretrain.vocabulary.KINDS`, ``objective`` one of
    :data:`lib.pretrain.objectives.SAY`. A distilled one learns from the ``parent`` of its entry,
    and shares its tokenizer.
    """

    model: Model
    tokenizer: str
    objective: str


MINIATURES = {
    name: Miniature(model_table.MINIATURES[name], tokenizer, objective)
    for name, tokenizer, objective in (
        ("bert-mini-12", "wordpiece", "masked"),
        ("roberta-mini-12", "bytes", "masked"),
        ("xlnet-mini-12", "unigram", "permuted"),
        ("distilbert-mini-6", "wordpiece", "distilled"),
    )
}


@dataclass(frozen=True)
class Build:
    """How a family's model that predicts words is built, as data.

    ``names`` are the config's keys of width, blocks, heads and inner width; ``dropout`` those of
    the shares of numbers that are dropped. One pass over much text needs none; fine-tuning does, so
    a finished model has its family's again.
    """

    kind: type
    names: tuple[str, str, str, str]
    dropout: tuple[str, ...]
    more: dict[str, int] = field(default_factory=dict)


BERT_NAMES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
BERT_DROPOUT = ("hidden_dropout_prob", "attention_probs_dropout_prob")
BUILDS = {
    "bert": Build(
        transformers.BertForMaskedLM,
        BERT_NAMES,
        BERT_DROPOUT,
        {"max_position_embeddings": POSITIONS},
    ),
    "roberta": Build(
        transformers.RobertaForMaskedLM,
        BERT_NAMES,
        BERT_DROPOUT,
        {"max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1},
    ),
    "xlnet": Build(
        transformers.XLNetLMHeadModel,
        ("d_model", "n_layer", "n_head", "d_inner"),
        ("dropout",),
    ),
    "distilbert": Build(
        transformers.DistilBertForMaskedLM,
        ("dim", "n_layers", "n_heads", "hidden_dim"),
        ("dropout", "attention_dropout"),
        {"max_position_embeddings": POSITIONS},
    ),
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
    check(name, width)
    model = MINIATURES[name].model
    build = BUILDS[model.family]
    sizes = (width, blocks or model.blocks, max(1, width // HEAD), INNER * width)
    config = build.kind.config_class(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        **dict(zip(build.names, sizes, strict=True)),
        **dict.fromkeys(build.dropout, 0.0),
        **build.more,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return start(build.kind(config))


def twin(model):
    """A model of the same shape, its weights drawn as its family does it, from one seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return type(model)(model.config).eval()


def check(name: str, width: int) -> None:
    """Refuse an unknown architecture, or a width that its heads do not divide."""
    one_of("architecture", name, MINIATURES)
    within("width", width, 16, 1024)
    if width % min(width, HEAD):
        raise BadInput(f"width {width} is not valid; above {HEAD} it is a multiple of it")


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


@torch.no_grad()
def guess(model, counts: np.ndarray) -> None:
    """Let a model that says words start from how often each occurs, (V,); in place."""
    counts = torch.from_numpy(counts + 1.0)
    model.get_output_embeddings().bias.copy_((counts / counts.sum()).log())


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
