r"""What a miniature is trained to say: masked words, words in a drawn order, or a teacher's words.

Every draw comes from torch's global generator, so it follows from the seed. The vocabulary is
scored at the chosen places alone, :math:`K \approx 0.15\,BT` of them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lib.distil import agreement

SHARE = 0.15  # of the words that are to be said :cite:p:`devlin2019bert`
MASKED, SWAPPED = 0.8, 0.1  # of these: hidden, or replaced by any word; the others stay
AHEAD = 6  # one of so many words is said by a permuted model, as XLNet's pretraining has it
HEAT = 2.0  # temperature of the teacher :cite:p:`sanh2019distilbert`
WEIGHTS = {"teacher": 5.0, "masked": 2.0, "cosine": 1.0}  # of DistilBERT's three losses

Said = tuple[Tensor, Tensor, Tensor]  # logits (K, V), the words (K,), and which were out of sight


def hide(ids: Tensor, special: Tensor, mask: int, words: int) -> tuple[Tensor, Tensor]:
    """Choose words and hide most of them.

    Parameters
    ----------
    ids
        (B, T).
    special
        Ids that are never chosen.
    mask, words
        Id of the mask, and size of the vocabulary.

    Returns
    -------
    given : Tensor of shape (B, T)
        What the model reads.
    chosen : Tensor of bool, shape (B, T)
        Where it is asked.
    """
    chosen = (torch.rand(ids.shape, device=ids.device) < SHARE) & ~torch.isin(ids, special)
    dice, other = torch.rand_like(ids, dtype=torch.float), torch.randint_like(ids, words)
    given = ids.masked_fill(chosen & (dice < MASKED), mask)
    return torch.where(chosen & (dice >= 1 - SWAPPED), other, given), chosen


def _bert_head(model, vectors: Tensor) -> Tensor:
    return model.cls(vectors)


def _roberta_head(model, vectors: Tensor) -> Tensor:
    return model.lm_head(vectors)


def _distilbert_head(model, vectors: Tensor) -> Tensor:
    hidden = model.activation(model.vocab_transform(vectors))
    return model.vocab_projector(model.vocab_layer_norm(hidden))


HEADS = {"bert": _bert_head, "roberta": _roberta_head, "distilbert": _distilbert_head}


def _special(tokenizer, ids: Tensor) -> Tensor:
    """Ids that are never asked for, on the device of some ids."""
    return torch.tensor(tokenizer.all_special_ids, device=ids.device)


def _hidden(model, tokenizer, inputs: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """Inputs with words hidden, and where words were chosen (B, T)."""
    ids = inputs["input_ids"]
    given, chosen = hide(
        ids, _special(tokenizer, ids), tokenizer.mask_token_id, model.config.vocab_size
    )
    return inputs | {"input_ids": given}, chosen


def _logits(model, vectors: Tensor) -> Tensor:
    return HEADS[model.config.model_type](model, vectors)


def masked(model, tokenizer, inputs: dict[str, Tensor]) -> Said:
    """Words that were hidden, said from all the others."""
    given, chosen = _hidden(model, tokenizer, inputs)
    vectors = model.base_model(**given).last_hidden_state
    unseen = given["input_ids"][chosen] == tokenizer.mask_token_id
    return _logits(model, vectors[chosen]), inputs["input_ids"][chosen], unseen


def permuted(model, tokenizer, inputs: dict[str, Tensor]) -> Said:
    """The last words of a drawn order, each said from those before it: two-stream attention.

    Words that are not asked for see each other, as in XLNet's own pretraining
    :cite:p:`yang2019xlnet`.
    """
    ids = inputs["input_ids"]
    special = torch.isin(ids, _special(tokenizer, ids))
    rank = torch.rand(ids.shape, device=ids.device).masked_fill_(special, -1)
    some = max(1, ids.shape[1] // AHEAD)
    last = rank.topk(some, dim=1).indices  # (B, K), the last of the order first
    asked = torch.zeros_like(ids, dtype=torch.bool).scatter_(1, last, True)
    rank = rank.masked_fill(~asked, -1)
    hidden = asked[:, None, :] & (rank[:, None, :] >= rank[:, :, None])  # (B, who, of whom)
    target = functional.one_hot(last, ids.shape[1]).float()
    found = model(**inputs, perm_mask=hidden.float(), target_mapping=target)
    words = ids.gather(1, last).flatten()
    return found.logits.flatten(0, 1), words, torch.ones_like(words, dtype=torch.bool)


SAY = {"masked": masked, "permuted": permuted, "distilled": masked}


def loss(logits: Tensor, words: Tensor, *_) -> Tensor:
    """Mean cross-entropy, in nats."""
    return functional.cross_entropy(logits.float(), words)


def distilled(model, tokenizer, inputs: dict[str, Tensor], teacher) -> Tensor:
    r"""DistilBERT's three losses: the teacher's words, the hidden words, and its last vectors.

    .. math:: 5\, \tau^2\, \mathrm{KL}(t_\tau \| s_\tau) + 2\, \mathrm{CE}
       + \frac{1}{BT} \sum_{b, t} (1 - \cos(s_{bt}, t_{bt}))
    """
    given, chosen = _hidden(model, tokenizer, inputs)
    vectors = model.base_model(**given).last_hidden_state
    logits = _logits(model, vectors[chosen]).float()
    with torch.no_grad():
        wanted = teacher.base_model(**given).last_hidden_state
        theirs = _logits(teacher, wanted[chosen]).float()
    warm = [(each / HEAT).log_softmax(dim=-1) for each in (logits, theirs)]
    apart = functional.kl_div(*warm, log_target=True, reduction="batchmean")
    agreed = agreement(vectors, wanted, inputs["attention_mask"])
    parts = {
        "teacher": apart * HEAT**2,
        "masked": loss(logits, inputs["input_ids"][chosen]),
        "cosine": (1 - agreed).mean(),
    }
    return sum(weight * parts[name] for name, weight in WEIGHTS.items())
