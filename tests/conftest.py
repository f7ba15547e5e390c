"""Small real models, one of each family, built from their configs with random weights."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before anything imports the Hub client

import pytest
import torch
import transformers

from lib import batches, finetune, from_scratch, training

SENTENCES = [
    "The old sailor watched a small boat near the harbour .".split(),
    "Unbelievably , nobody helped !".split(),
    "She gave her dog twenty-seven biscuits yesterday because it had behaved".split(),
    "Why ?".split(),
    "A".split(),
    "Neighbouring layers of a transformer say nearly the same thing about every word".split(),
]
CORPUS = [" ".join(words) for words in SENTENCES] * 3
SHAPE = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2}
INNER = {"intermediate_size": 48, "max_position_embeddings": 40}

CONFIGS = {
    "bert": (transformers.BertConfig, {**SHAPE, **INNER}),
    "roberta": (transformers.RobertaConfig, {**SHAPE, **INNER, "pad_token_id": 1}),
    "xlnet": (transformers.XLNetConfig, {"d_model": 24, "n_layer": 3, "n_head": 2, "d_inner": 48}),
    "distilbert": (
        transformers.DistilBertConfig,
        {"dim": 24, "n_layers": 3, "n_heads": 2, "hidden_dim": 48, "max_position_embeddings": 40},
    ),
    "electra": (transformers.ElectraConfig, {**SHAPE, **INNER, "embedding_size": 12}),
    "albert": (transformers.AlbertConfig, {**SHAPE, **INNER, "embedding_size": 12}),
}


# Tokenizer of each family, and its size: the letters of the sentences and some pieces.
TOKENIZERS = {"roberta": ("roberta-mini-12", 320), "xlnet": ("xlnet-mini-12", 120)}


def predict(model, tokenizer, texts, **options):
    """Logits of some sentences or pairs."""
    encoded = batches.encode(model, tokenizer, texts, level="sentence", max_length=128)
    return finetune.logits(model, tokenizer, encoded, **options)


def write(make, tokenizer, folder):
    """Write a small model, its weights of a size at which differences show, and its tokenizer."""
    torch.manual_seed(0)
    model = make()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.15)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def build(family: str, folder):
    """Write one small random model of a family, with a tokenizer trained on a few sentences."""
    kind, size = TOKENIZERS.get(family, ("bert-mini-12", 120))
    tokenizer = from_scratch.tokenizer(kind, CORPUS, size)
    make, shape = CONFIGS[family]
    config = make(vocab_size=len(tokenizer), **shape)
    return write(lambda: transformers.AutoModel.from_config(config), tokenizer, folder)


def pytest_itemcollected(item):
    """Where several processes test: a file stays in one, and so does all that needs the book."""
    group = "book" if "executed" in getattr(item, "fixturenames", ()) else item.path.stem
    item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def family_folders(tmp_path_factory):
    """Folder of the small random model of each family."""
    root = tmp_path_factory.mktemp("families")
    for family in CONFIGS:
        build(family, root / family)
    return {family: root / family for family in CONFIGS}


@pytest.fixture(params=CONFIGS)
def family_model(request, family_folders):
    """(model, tokenizer) of every family in turn, on the CPU."""
    from lib import encoders

    return encoders.load(family_folders[request.param], device="cpu")


@pytest.fixture(scope="session")
def minilm():
    """The published checkpoint that `tiny` uses, on the CPU."""
    from lib import encoders

    return encoders.load("all-minilm-l6-v2", device="cpu")


@pytest.fixture
def cores():
    """Sets how many cores torch uses; afterwards they are as many as before."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def killed_after(monkeypatch):
    """Kills the training inside after so many updates; from then on each is checkpointed."""

    @contextmanager
    def run(updates):
        update, done = training.Training.update, []

        def killed(state):
            if len(done) == updates:
                raise KeyboardInterrupt
            done.append(update(state))

        monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1)
        with monkeypatch.context() as patched:
            patched.setattr(training.Training, "update", killed)
            with pytest.raises(KeyboardInterrupt):
                yield

    return run


@pytest.fixture(scope="session")
def executed(tmp_path_factory):
    """A copy of the sources in which every notebook was executed at `tiny`, once.

    What `make book` has executed is copied with its times, so the graph runs only what is stale.
    """
    from lib import book

    root = tmp_path_factory.mktemp("book")
    for name in ("Snakefile", "_config.yml", "_toc.yml"):
        shutil.copy2(book.ROOT / name, root)
    for name in ("lib", "notebooks", "book"):
        shutil.copytree(
            book.ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.lock")
        )
    made = book.mirror("tiny")
    if made.is_dir():
        unneeded = shutil.ignore_patterns("book", "_build", "*.unfinished.ipynb", "*.lock")
        shutil.copytree(made, book.mirror("tiny", root), ignore=unneeded)
    pages = [f"_build/tiny/{page}.ipynb" for page in book.pages() if page.startswith("notebooks/")]
    words = "snakemake --cores 2 --nolock --quiet host progress rules --".split()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("REDUNDANCY_RESULTS", str(root / "book" / "results"))
        subprocess.run([sys.executable, "-m", *words, *pages], cwd=root, check=True)
        yield root
