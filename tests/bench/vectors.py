"""Word vectors, and the layer CKA and neuron correlation out of the pass that makes them.

Each part measures ours beside a bare forward pass and a peer, and checks that both computed the
same thing.
"""

from functools import cache

import torch
from torch import Tensor

from lib import activations, batches, corpora, encoders
from lib.similarity import Moments, linear_cka
from tests.bench import peers
from tests.bench.base import MODEL, TEXT, Bench, check, difference, rows


@cache
def _loaded(device: torch.device):
    """The model and its tokenizer, read once."""
    return encoders.load(MODEL, device=device)


class Text:
    """The model, some sentences, and their batches on the device, ready for a bare forward pass."""

    def __init__(self, bench: Bench, sentences: int):
        task = corpora.load(TEXT)
        self.sentences = [words for words, _ in task.train][:sentences]
        self.about = {"source": task.source, "data": task.digest}
        self.model, self.tokenizer = _loaded(bench.device)
        self.encoded = batches.encode(self.model, self.tokenizer, self.sentences, level="word")
        self.batches = list(batches.batches(self.encoded, self.model, self.tokenizer))
        self.n_layers = activations.n_layers(self.model)
        self.width = self.model.config.hidden_size
        self.words, self.neurons = len(self.encoded.owner), self.n_layers * self.width

    @torch.inference_mode()
    def forward(self) -> None:
        """Nothing but the encoder over batches made beforehand: the floor."""
        for batch in self.batches:
            self.model.base_model(**batch.inputs)

    def stream(self):
        """Rows (n, L, H) of every batch."""
        return activations.stream(self.model, self.tokenizer, self.encoded)

    def moments(self) -> Moments:
        """Moments of all rows, streamed."""
        moments = Moments(self.neurons, device=self.model.device)
        for found, _ in self.stream():
            moments.update(found.flatten(1))
        return moments

    def counts(self) -> dict:
        """Sizes of the text, and the operations of a forward pass over its padded batches."""
        config, shapes = self.model.config, [b.inputs["input_ids"].shape for b in self.batches]
        a_token = 2 * (4 * self.width**2 + 2 * self.width * config.intermediate_size)
        ops = sum(b * t * (a_token + 4 * t * self.width) for b, t in shapes)
        return self.about | {
            "words": self.words,
            "neurons": self.neurons,
            "forward_ops": int(ops * config.num_hidden_layers),
        }


def extraction(bench: Bench) -> dict:
    """Word vectors of all layers, kept, streamed, and by NeuroX into its faster format."""
    bench.say("extraction")
    text = Text(bench, bench.sizes.sentences)

    def extract():
        return activations.extract(text.model, text.tokenizer, text.sentences, level="word")

    ways = {"forward": text.forward, "ours": extract, "ours, streamed": lambda: text.moments().mean}
    checks = []
    if bench.with_peers:
        peer = peers.neurox_extractor(encoders.find(MODEL), bench.device, bench.into)
        ways["NeuroX, HDF5"] = lambda: peer(text.sentences)
        apart = difference(extract().rows, peers.neurox_rows(peer(text.sentences)))
        checks.append(check("word vectors: from NeuroX's", apart, 1e-4))
    seconds = bench.interleaved(ways, bench.sizes.repeats)
    times = rows("word vectors", seconds, count=text.words)
    return text.counts() | {"times": times, "checks": checks}


def gram_cka(found: Tensor) -> Tensor:
    """CKA by its definition, from N x N Gram matrices of the rows (n, L, H), in double."""
    centred = (found.double() - found.double().mean(dim=0)).unbind(1)
    grams = torch.stack([(layer @ layer.T).flatten() for layer in centred])
    products = grams @ grams.T
    return products / products.diagonal().outer(products.diagonal()).sqrt()


def unbiased_cka(found: Tensor) -> Tensor:
    """CKA of rows (n, L, H) from the estimate of HSIC without bias, which pytorch-cka averages.

    With the diagonals of the Gram matrices K and M set to 0 and e a vector of n ones, HSIC is
    ``tr(K M) + (e'K e)(e'M e) / ((n-1)(n-2)) - 2 e'K M e / (n-2)``, up to a factor that cancels.
    """
    n, layers = len(found), found.double().unbind(1)
    grams = torch.stack([(layer @ layer.T).fill_diagonal_(0) for layer in layers])
    sums, flat = grams.sum(dim=1), grams.flatten(1)
    totals = sums.sum(dim=1)
    hsic = flat @ flat.T + totals.outer(totals) / ((n - 1) * (n - 2))
    hsic -= 2 / (n - 2) * sums @ sums.T
    return hsic / hsic.diagonal().outer(hsic.diagonal()).sqrt()


def cka(bench: Bench) -> dict:
    """Layer CKA and neuron correlation out of one pass, beside the pass and pytorch-cka."""
    bench.say("layer CKA")
    text = Text(bench, bench.sizes.cka_sentences)
    kept = [found for found, _ in text.stream()]
    moments, widths = text.moments(), [text.width] * text.n_layers

    def summed():
        fresh = Moments(moments.width, device=bench.device)
        for found in kept:
            fresh.update(found.flatten(1))
        return fresh.mean  # flushes the rows that wait

    def whole():
        found = text.moments()
        return linear_cka(found.scatter, widths), found.correlation()

    def estimate():
        stream, parts = text.stream(), [torch.empty(len(part)) for part in kept]
        return peers.minibatch_cka(len(widths), parts, lambda _: next(stream)[0], bench.device)

    ways = {
        "forward": text.forward,
        "moments": summed,
        "layer CKA": lambda: linear_cka(moments.scatter, widths),
        "correlation": moments.correlation,
        "ours": whole,
    } | ({"pytorch-cka": estimate} if bench.with_peers else {})
    times = rows("layer CKA", bench.interleaved(ways, bench.sizes.cka_repeats))
    exact, held = linear_cka(moments.scatter, widths).cpu(), torch.cat(kept)
    held = held[torch.randperm(len(held), generator=torch.Generator().manual_seed(0))]
    errors = {}
    if bench.with_peers:
        drawn = list(held.chunk(len(kept)))
        found = peers.minibatch_cka(text.n_layers, drawn, lambda part: part, bench.device)
        errors = {"our batches, by length": estimate(), "random batches": found}
    return text.counts() | {
        "times": times,
        "checks": _cka_checks(bench, held[: bench.sizes.cka_checked], widths),
        "errors": {name: _error(found, exact) for name, found in errors.items()},
    }


def _error(estimate: Tensor, exact: Tensor) -> dict[str, float]:
    """How far an estimate is off, over pairs of different layers."""
    apart = (estimate.double() - exact).abs()[~torch.eye(len(exact), dtype=torch.bool)]
    return {"mean": float(apart.mean()), "largest": float(apart.max())}


def _cka_checks(bench: Bench, found: Tensor, widths: list[int]) -> list[dict]:
    """Ours against the definition, and pytorch-cka against its own, on rows it sees at once.

    The two definitions differ: ours has a bias of order H / N towards similarity.
    """
    moments = Moments(sum(widths), device=bench.device).update(found.flatten(1))
    what = f"layer CKA, {len(found):,} rows: from"
    apart = difference(linear_cka(moments.scatter, widths), gram_cka(found))
    checks = [check(f"{what} the definition", apart, 1e-5)]
    if bench.with_peers:
        # In double: its Gram matrices are not centred, which in single costs it three digits.
        one = peers.minibatch_cka(len(widths), [found.double()], lambda part: part, bench.device)
        what, apart = what.replace("layer CKA", "pytorch-cka"), difference(unbiased_cka(found), one)
        checks.append(check(f"{what} its definition", apart, 1e-5))
    return checks
