r"""What language models are asked in pretraining, and how well they answer on any text.

For any language model, a miniature or not:

- ``language_model(name, device=None) -> (model, tokenizer)``: with its head that predicts words;
- ``packed(tokenizer, paragraphs(corpus), length, rows) -> (N, T)``: full rows of tokens;
- ``losses(model, tokenizer, rows) -> {"loss", "accuracy", "asked"}``: by the model's own objective
  (masked, permuted or causal), no gradient, the same words on every call;
- ``heal(model, tokenizer, rows, steps=k)``: k updates with that objective, in place.

Memory: as :mod:`lib.training`, and two bytes a token of the text.
"""

import lzma
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lib import checkpoints, corpora, encoders
from lib.batches import Encoded, batch_size, batches
from lib.errors import BadInput, one_of
from lib.training import Recipe, Training, finish

LENGTH = 64  # tokens of a row
STRETCH = 100  # paragraphs that follow one another
SUFFIXES = (".txt", ".txt.xz")
SHARE, MASKED, SWAPPED = 0.15, 0.8, 0.1  # asked; of these hidden, replaced :cite:p:`devlin2019bert`
AHEAD = 6  # one of so many words is said by a permuted model, as in XLNet's pretraining
SCORES = 1 << 27  # logits at most at once where nothing is trained
RECIPE = Recipe(
    learning_rate=1e-3, epochs=1, batch=32, max_length=LENGTH, warmup=0.03, weight_decay=0.01
)
Said = tuple[Tensor, Tensor, Tensor]  # logits (K, V), the words (K,), which were out of sight


# ---- text: paragraphs, rows of tokens ----------------------------------------------------------


def paragraphs(corpus: str | Path) -> Iterator[str]:
    """Paragraphs of a text that are not blank; of many files a stretch of each in turn.

    Parameters
    ----------
    corpus
        A file ``.txt`` or ``.txt.xz``, one paragraph a line, a folder of such files, or a task of
        plain text by its name, such as ``editorials`` (:mod:`lib.archive`).

    Raises
    ------
    BadInput
        If it is none of these.
    """
    if corpus in corpora.TASKS:
        words = [name for name, task in corpora.TASKS.items() if task.kind in corpora.OF_WORDS]
        one_of("corpus", corpus, words)
        yield from (" ".join(words) for words, _ in corpora.load(corpus).train)
        return
    place = Path(corpus)
    found = sorted(place.iterdir()) if place.is_dir() else [place]
    files = [_lines(file) for file in found if file.is_file() and file.name.endswith(SUFFIXES)]
    if not files:
        raise BadInput(
            f"corpus {str(place)!r} is no file {' or '.join(SUFFIXES)}, no folder that holds one "
            "and no task of plain text, as editorials is"
        )
    while files:
        taken = [list(islice(lines, STRETCH)) for lines in files]
        yield from chain.from_iterable(taken)
        files = [lines for lines, stretch in zip(files, taken, strict=True) if stretch]


def _lines(file: Path) -> Iterator[str]:
    opened = lzma.open if file.suffix == ".xz" else open
    with (
        checkpoints.refusal(f"{file} cannot be read"),
        opened(file, "rt", encoding="utf-8-sig") as lines,
    ):
        yield from (line.strip() for line in lines if line.strip())


def packed(tokenizer, found: Iterable[str], length: int = LENGTH, rows: int = 1 << 20):
    """Paragraphs as full rows of tokens, with no padding: (N, T), at most ``rows`` of them.

    Paragraphs follow one another, each ended by the separator, and are cut where a row ends; a row
    carries the special tokens of a single sentence. What does not fill a last row is left out.

    Raises
    ------
    BadInput
        If the text does not fill one row.
    """
    before, after, _ = frame(tokenizer)
    room, kind = length - len(before) - len(after), np.min_scalar_type(len(tokenizer))
    found, kept, count = iter(found), [], 0
    while count < rows * room and (chunk := list(islice(found, 1000))):
        ids = tokenizer(chunk, add_special_tokens=False, verbose=False)["input_ids"]
        flat = chain.from_iterable([*each, ends(tokenizer)[1]] for each in ids)
        kept.append(np.fromiter(flat, dtype=kind))
        count += len(kept[-1])
    full = min(count // room, rows)
    if not full:
        raise BadInput(f"the text does not fill one row of {length} tokens")
    body = np.concatenate(kept)[: full * room].reshape(full, room)
    sides = (np.tile(np.array(side, dtype=body.dtype), (full, 1)) for side in (before, after))
    return np.hstack([next(sides), body, next(sides)])


def frame(tokenizer) -> tuple[list[int], list[int], list[int]]:
    """Special tokens before and after a single sentence, and the types of a row's last tokens."""
    row = tokenizer("a", return_special_tokens_mask=True, return_token_type_ids=True)
    first, last = np.flatnonzero(np.array(row["special_tokens_mask"]) == 0)[[0, -1]]
    return row["input_ids"][:first], row["input_ids"][last + 1 :], row["token_type_ids"][last + 1 :]


def ends(tokenizer) -> tuple[int, int]:
    """Ids that begin and end a text: of an encoder [CLS] and [SEP], of a decoder its marks."""
    outer = tokenizer.cls_token_id, tokenizer.sep_token_id
    return (tokenizer.bos_token_id, tokenizer.eos_token_id) if None in outer else outer


def encoded(rows: np.ndarray, tokenizer) -> Encoded:
    """Packed rows as what a training reads: each is one sequence, and one row."""
    place, last = np.zeros((len(rows), 1), dtype=int), frame(tokenizer)[2]
    types = np.broadcast_to([0] * (rows.shape[1] - len(last)) + last, rows.shape)
    return Encoded(rows, types, place, place, range(len(rows)), np.arange(len(rows)))


# ---- objectives --------------------------------------------------------------------------------


def _special(tokenizer, ids: Tensor) -> Tensor:
    """Where tokens are special, and therefore never asked for."""
    return torch.isin(ids, torch.tensor(tokenizer.all_special_ids, device=ids.device))


def drawn(model, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Draws for words (B, T): two numbers from 0 to 1 and another word, each of shape (B, T).

    From torch's global generator, on the device of the words.
    """
    first = torch.rand(ids.shape, device=ids.device)
    dice = torch.rand_like(ids, dtype=torch.float)
    return first, dice, torch.randint_like(ids, model.config.vocab_size)


def hide(model, tokenizer, inputs: dict[str, Tensor], draws=None) -> tuple[dict, Tensor]:
    """Choose words (B, T) that are not special and hide most: what is read, and which are asked.

    ``draws`` is as :func:`drawn` gives it, and drawn anew by default.
    """
    ids = inputs["input_ids"]
    first, dice, other = draws or drawn(model, ids)
    chosen = (first < SHARE) & ~_special(tokenizer, ids)
    given = ids.masked_fill(chosen & (dice < MASKED), tokenizer.mask_token_id)
    given = torch.where(chosen & (dice >= 1 - SWAPPED), other, given)
    return inputs | {"input_ids": given}, chosen


def scored(model, given: dict[str, Tensor], chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of the chosen places alone (K, V), which saves most of the head, and all vectors."""
    vectors = []

    def pick(_, __, found):
        vectors.append(found.last_hidden_state)
        return type(found)(last_hidden_state=vectors[0][chosen])

    hook = model.base_model.register_forward_hook(pick)
    try:
        return model(**given).logits, vectors[0]
    finally:
        hook.remove()


def masked(model, tokenizer, inputs: dict[str, Tensor], draws=None) -> Said:
    """Words that were hidden, predicted from all the others; ``draws`` as for :func:`hide`."""
    given, chosen = hide(model, tokenizer, inputs, draws)
    unseen = given["input_ids"][chosen] == tokenizer.mask_token_id
    return scored(model, given, chosen)[0], inputs["input_ids"][chosen], unseen


def permuted(model, tokenizer, inputs: dict[str, Tensor], draws=None) -> Said:
    """The last words of a drawn order, each predicted from those before it: two-stream attention.

    Words that are not asked for see each other, as in XLNet's own pretraining
    :cite:p:`yang2019xlnet`. The order follows the first of the ``draws``.
    """
    ids = inputs["input_ids"]
    first = torch.rand(ids.shape, device=ids.device) if draws is None else draws[0]
    rank = first.masked_fill(_special(tokenizer, ids), -1)
    last = rank.topk(max(1, ids.shape[1] // AHEAD), dim=1).indices  # (B, K), the last of it first
    asked = torch.zeros_like(ids, dtype=torch.bool).scatter_(1, last, True)
    rank = rank.masked_fill(~asked, -1)
    hidden = asked[:, None, :] & (rank[:, None, :] >= rank[:, :, None])  # (B, who, of whom)
    target = functional.one_hot(last, ids.shape[1]).float()
    logits = model(**inputs, perm_mask=hidden.float(), target_mapping=target).logits
    words = ids.gather(1, last).flatten()
    return logits.flatten(0, 1), words, torch.ones_like(words, dtype=torch.bool)


def causal(model, tokenizer, inputs: dict[str, Tensor], _=None) -> Said:
    """Every next token, predicted from those before it; special ones are learned, not counted."""
    words = inputs["input_ids"][:, 1:]
    logits = model(**inputs).logits[:, :-1]
    return logits.flatten(0, 1), words.flatten(), ~_special(tokenizer, words).flatten()


def objective(model):
    """What a model was made to predict: :func:`masked`, :func:`permuted` or :func:`causal`."""
    if model.config.model_type == "xlnet":
        return permuted
    return causal if encoders.causal(model.config) else masked


def mean_loss(model, tokenizer, inputs: dict[str, Tensor]) -> Tensor:
    """Mean cross-entropy of a model's own objective, in nats; 0 if no word happens to be asked."""
    logits, words, _ = objective(model)(model, tokenizer, inputs)
    if not len(words):  # of few short rows
        return 0.0 * logits.float().sum()
    return functional.cross_entropy(logits.float(), words)


# ---- a language model: reading, judging and training it ----------------------------------------


def language_model(name: str | Path, device=None):
    """A model with the head that predicts words, not in training, and its tokenizer.

    See :func:`lib.encoders.load`, also for what is refused.
    """
    model, tokenizer = encoders.load(name, head="lm", device=device)
    return for_short_rows(model), tokenizer


def for_short_rows(model):
    """A model as it computes short rows fastest: on a CPU, attention is written out."""
    if model.device.type == "cpu":
        model.set_attn_implementation("eager")
    return model


@torch.no_grad()
def losses(model, tokenizer, rows: np.ndarray) -> dict[str, float]:
    """Loss (nats) and accuracy of a model on packed rows (N, T), and how many words were asked.

    Only words out of sight count; the same ones are asked of every model with the same tokenizer,
    on every device and in batches of any size. Cost: one forward pass. The model's mode and torch's
    generator are left as they were.
    """
    training, device, found = model.training, model.device, []
    model.eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        draws = drawn(model, torch.from_numpy(rows.astype(np.int64)))
    most = min(batch_size(device), SCORES // model.get_input_embeddings().weight.shape[0])
    given = batches(encoded(rows, tokenizer), model, tokenizer, batch_tokens=most)
    for batch in given:
        own = tuple(table[batch.where.cpu()].to(device) for table in draws)
        logits, words, unseen = objective(model)(model, tokenizer, batch.inputs, own)
        logits, words = logits[unseen].float(), words[unseen]
        loss = functional.cross_entropy(logits, words, reduction="sum").item()
        found.append((loss, (logits.argmax(-1) == words).sum().item(), len(words)))
    model.train(training)
    loss, right, asked = map(sum, zip(*found, strict=True))
    return {"loss": loss / max(asked, 1), "accuracy": right / max(asked, 1), "asked": asked}


def training_on(rows, model, tokenizer, recipe: Recipe, said=None, **options) -> Training:
    """A training on packed rows (N, T), with as many passes as the recipe's updates need, if any.

    ``said``, by default a model's own objective, and ``options`` are as in
    :class:`lib.training.Training`.
    """
    said = said or (lambda inputs, _: mean_loss(model, tokenizer, inputs))
    if recipe.updates:
        recipe = replace(recipe, epochs=-(-recipe.updates // -(-len(rows) // recipe.batch)))
    return Training(model, tokenizer, encoded(rows, tokenizer), said, recipe=recipe, **options)


def heal(model, tokenizer, rows: np.ndarray, *, steps: int, seed: int = 0) -> dict:
    """Train a language model on packed rows for some updates, by its own objective; in place.

    Returns the account of :func:`lib.training.finish`.
    """
    usual = replace(RECIPE, updates=steps, learning_rate=5e-4)
    return finish(training_on(rows, model, tokenizer, usual, seed=seed))
