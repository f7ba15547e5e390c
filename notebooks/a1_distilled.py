"""How DistilBERT-mini was made: a DistilBERT that starts from every second block of its teacher.

``python notebooks/a1_distilled.py TEXT OUT STEPS``: text as on page a1, a folder for the model.
"""

import sys
from functools import partial

import torch
from torch.nn import functional

from lib import dropping, encoders, from_scratch, pretraining

NAME = "distilbert-mini-6"
HEAT = 2.0  # temperature of the teacher, as in DistilBERT
WEIGHTS = (5.0, 2.0, 1.0)  # of the teacher's words, the hidden words, the last vectors


@torch.no_grad()
def inherit(student, teacher, keep):
    """Start a DistilBERT from some blocks of a BERT; its one sentence type goes into positions.

    The parts of both come in the same order, but for the bias of the head.
    """
    cut, sides = dropping.smaller(teacher, keep), []
    head = cut.cls.predictions
    for base, parts in (
        (student.distilbert, (student.vocab_transform, student.vocab_layer_norm)),
        (cut.bert, (head.transform,)),
    ):
        own = [weight for name, weight in base.named_parameters() if "token_type" not in name]
        sides.append([*own, *(weight for part in parts for weight in part.parameters())])
    pairs = [*zip(*sides, strict=True), (student.vocab_projector.bias, head.bias)]
    for new, old in pairs:
        new.copy_(old)
    types = cut.bert.embeddings.token_type_embeddings.weight[0]
    student.distilbert.embeddings.position_embeddings.weight.add_(types)
    return student


def loss(model, tokenizer, inputs, *, teacher):
    """DistilBERT's three losses: the teacher's words, the hidden words, and its last vectors."""
    given, chosen = pretraining.hide(model, tokenizer, inputs)
    logits, vectors = pretraining.scored(model, given, chosen)
    with torch.no_grad():
        theirs, wanted = pretraining.scored(teacher, given, chosen)
    warm = [(each.float() / HEAT).log_softmax(dim=-1) for each in (logits, theirs)]
    apart = functional.kl_div(*warm, log_target=True, reduction="batchmean") * HEAT**2
    cosine = functional.cosine_similarity(vectors.float(), wanted.float(), dim=-1)
    said = functional.cross_entropy(logits.float(), inputs["input_ids"][chosen])
    parts = zip(WEIGHTS, (apart, said, 1 - cosine.mean()), strict=True)
    return sum(weight * value for weight, value in parts)


def distil(plan, teacher):
    """Train a student; gives it with its teacher's tokenizer and the account of the training."""
    model, tokenizer = pretraining.language_model(teacher)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]  # a DistilBERT has no types
    rows, held = from_scratch.rows(plan, tokenizer)
    n = dropping.n_blocks(model)
    keep = dropping.blocks_to_keep("even", n, n // 2)
    student = from_scratch.make(NAME, tokenizer, model.config.hidden_size, len(keep))
    inherit(student, model.cpu(), keep)
    learned = partial(loss, teacher=model.to(encoders.default_device()))
    account = from_scratch.train(plan, student, tokenizer, rows, held, every=500, loss=learned)
    return student, tokenizer, account


if __name__ == "__main__":
    corpus, out, steps = sys.argv[1:]
    plan = from_scratch.Plan(NAME, corpus, out=out, steps=int(steps))
    student, tokenizer, account = distil(plan, encoders.MODELS[NAME].parent)
    from_scratch.save(plan, student, tokenizer)
    print(account["log"][-1])
