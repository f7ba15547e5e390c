"""What fine-tuning changes: how alike each layer is before and after it, on the same sentences."""

import torch
from torch import Tensor
from torch.nn import functional

from lib import activations, batches, corpora, criteria
from lib.finetune import encode
from lib.similarity import Moments, linear_cka

VECTORS = {"head": "rows", "mean": "mean"}  # of a sentence, see vectors, by lib.criteria.TOKENS
COMPARED = 2000  # sentences of the training part at most, on which layers are compared


def compare(base, tuned, tokenizer, task: corpora.Task) -> dict[str, list[float]]:
    """How alike the sentence vectors of each layer are before and after fine-tuning.

    Returns
    -------
    dict
        :func:`alike` of the vectors that a head reads, and under names that end in ``_mean`` of
        means over all tokens; on at most :data:`COMPARED` sentences, which are kept in memory.
        Cost: a pass of each model.
    """
    encoded = encode(tuned, tokenizer, task.train[:COMPARED], 128)
    before, after = (vectors(model, tokenizer, encoded) for model in (base, tuned))
    suffixes = {"head": "", "mean": "_mean"}
    pairs = {suffix: alike(before[token], after[token]) for token, suffix in suffixes.items()}
    return {name + suffix: line for suffix, pair in pairs.items() for name, line in pair.items()}


@torch.inference_mode()
def vectors(model, tokenizer, encoded: batches.Encoded) -> dict[str, Tensor]:
    """Vectors of sentences in every layer, each (N, L, H) in the order given, from one pass.

    ``head`` is that of the token that a head reads (the first, XLNet's last), and ``mean`` the mean
    over all tokens, special ones counted and padding not.
    """
    shape = len(encoded.owner), activations.n_layers(model), model.config.hidden_size
    found = {token: torch.empty(shape, device=model.device) for token in VECTORS}
    for batch in batches.batches(encoded, model, tokenizer):
        states = activations.states(model, batch)
        for token, rows in found.items():
            each = [criteria.TOKENS[VECTORS[token]](layer, batch) for layer in states]
            rows[batch.where] = torch.stack(each, dim=1).float()
    return found


def alike(before: Tensor, after: Tensor) -> dict[str, list[float]]:
    r"""How alike two tables of vectors (N, L, H) are, layer by layer.

    Returns
    -------
    dict
        Lists (L,): ``cosine``, the mean of :math:`\cos(x_{n,l}, y_{n,l})` over rows; ``centred``,
        the same once each table's mean is taken off, and ``cka``, their linear CKA: both NaN where
        all rows are the same.
    """
    width, both = before.shape[2], torch.cat([before, after], dim=2).unbind(dim=1)
    scatters = [Moments(2 * width, device=pair.device).update(pair).scatter for pair in both]
    cka = [float(linear_cka(scatter, [width, width])[0, 1]) for scatter in scatters]
    centred = [rows - rows.mean(dim=0) for rows in (before, after)]
    found = {
        name: functional.cosine_similarity(*pair, dim=-1).double().mean(dim=0)
        for name, pair in (("cosine", (before, after)), ("centred", centred))
    }
    found["centred"][torch.tensor(cka).isnan().to(before.device)] = float("nan")
    return {name: line.tolist() for name, line in found.items()} | {"cka": cka}
