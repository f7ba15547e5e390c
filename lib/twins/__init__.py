"""The embedded treebank: annotated English from a seed, so that the book runs without any data.

Last step of the embedded data: :mod:`.lexicon` -> :mod:`.phrases` -> :mod:`.clauses` ->
:mod:`.sampler` -> treebank, the only one of them that :mod:`lib.corpora` calls. A grammar writes a
sentence, and from its derivation every gold label is read: parts of speech, chunks, CCG
supertags and semantic tags (the schemes are described in :mod:`.phrases`). The same grammar
writes the sentence pairs of the GLUE-shaped tasks (:mod:`.pairs`).

The labels need context: :mod:`lib.baselines` measures how far one gets without. Five thousand
sentences take about half a second.
"""

import random
from dataclasses import dataclass, fields
from importlib import import_module

from lib.errors import BadInput, one_of
from lib.twins import clauses as cl
from lib.twins import fragments as fr
from lib.twins import lexicon
from lib.twins import phrases as ph
from lib.twins import sampler as sa
from lib.twins.clauses import Clause, Tense
from lib.twins.phrases import NP, Leaf, leaf

#: Longest sentence, in words and punctuation marks.
LONGEST = 26


@dataclass(frozen=True, slots=True)
class Sentence:
    """Words and their gold labels, five tuples of the same length."""

    words: tuple[str, ...]
    pos: tuple[str, ...]
    chunk: tuple[str, ...]
    ccg: tuple[str, ...]
    sem: tuple[str, ...]


#: The tagging tasks: layers of labels.
LAYERS = tuple(field.name for field in fields(Sentence))[1:]


def sentences(n: int, *, seed: int) -> list[Sentence]:
    """Write distinct sentences.

    Parameters
    ----------
    n
        How many.
    seed
        The same seed gives the same sentences, and a longer list begins with the shorter one.

    Examples
    --------
    >>> [one] = sentences(1, seed=0)
    >>> len(one.words) == len(one.ccg)
    True
    """
    r, found = random.Random(seed), {}
    while len(found) < n:
        leaves = draw(r)
        if len(leaves) <= LONGEST:
            sentence = Sentence(*zip(*leaves, strict=True))
            found.setdefault(sentence.words, sentence)
    return list(found.values())


def tagged(name: str, n: int, *, seed: int) -> list[tuple[list[str], list[str]]]:
    """Return sentences with one layer of labels: ``pos``, ``chunk``, ``ccg`` or ``sem``."""
    one_of("tagging task", name, LAYERS)
    return [(list(s.words), list(getattr(s, name))) for s in sentences(n, seed=seed)]


#: The sentence tasks: where their examples are drawn, and their labels (None: a score).
EXAMPLES = {
    "cola": ("judgements", ("unacceptable", "acceptable")),
    "sst2": ("judgements", ("negative", "positive")),
    "mrpc": ("pairs", ("not_equivalent", "equivalent")),
    "qqp": ("pairs", ("not_duplicate", "duplicate")),
    "stsb": ("pairs", (None,)),
    "qnli": ("pairs", ("entailment", "not_entailment")),
    "mnli": ("inference", ("entailment", "neutral", "contradiction")),
    "rte": ("inference", ("entailment", "not_entailment")),
    "wnli": ("inference", ("not_entailment", "entailment")),
}


def examples(name: str, n: int, *, seed: int) -> list[tuple]:
    """Write examples of a sentence task, with distinct inputs.

    Parameters
    ----------
    name
        A key of :data:`EXAMPLES`.
    n
        How many; each label is as likely as the others.
    seed
        The same seed gives the same examples.

    Returns
    -------
    list of (input, label)
        The input is a sentence, or a pair of sentences that differ; the label a name, or for
        ``stsb`` a score from 0 to 5.

    Examples
    --------
    >>> [((first, second), label)] = examples("mrpc", 1, seed=0)
    >>> label in ("equivalent", "not_equivalent")
    True
    """
    one_of("sentence task", name, EXAMPLES)
    module, labels = EXAMPLES[name]
    write = getattr(import_module(f"lib.twins.{module}"), name)
    r, found = random.Random(f"{name} {seed}"), {}
    while len(found) < n:
        given, label = _new(r, write, r.choice(labels), found)
        found[given] = label
    return list(found.items())


def _new(r, write, label, found):
    """Draw until there is an example that is not found yet, so that no label falls behind."""
    for _ in range(1000):
        given = write(r, label)
        given, value = given if label is None else (given, label)
        if given not in found and (isinstance(given, str) or given[0] != given[1]):
            return given, value
    raise BadInput(f"n = {len(found) + 1} is more than the embedded treebank has to say")


# --- Sentences -------------------------------------------------------------------------------

STOP = leaf(".", ".", "O", ".", "NIL")
ASK = leaf("?", ".", "O", ".", "QUE")
COMMA = leaf(",", ",", "O", ",", "NIL")


def draw(r: random.Random) -> tuple[Leaf, ...]:
    """Draw one sentence: its leaves, the first one capitalised."""
    first, *others = r.choice(_SENTENCES)(r)
    return (first._replace(word=first.word[0].upper() + first.word[1:]), *others)


def _declarative(r):
    return cl.statement(sa.draw_clause(r)) + STOP


def _yes_no(r):
    return cl.inversion(sa.draw_clause(r)) + ASK


def _wh_object(r):
    clause = sa.gapped(r, 0)
    word = leaf(clause.asks, "WP", "B-NP", "S[wq]/(S[q]/NP)", "QUE")
    return word + cl.inversion(clause, gap=True) + ASK


def _which(r):
    clause = sa.gapped(r, 0)
    kind = "person" if clause.asks == "who" else r.choice(("thing", "event"))
    head = r.choice(lexicon.NOUNS[kind])
    words = ph.common("", fr.modifiers(r, kind, head), head, r.random() < 0.4).object
    which = leaf(r.choice(("which", "what")), "WDT", "", "(S[wq]/(S[q]/NP))/N", "QUE")
    return ph.chunked("NP", which + words) + cl.inversion(clause, gap=True) + ASK


def _wh_subject(r):
    word = leaf("who", "WP", "B-NP", "S[wq]/(S[dcl]\\NP)", "QUE")
    return word + cl.predicate(sa.draw_clause(r, subject=sa.WHO)) + ASK


def _wh_adverb(r):
    word = leaf(r.choice(("where", "when", "why")), "WRB", "B-ADVP", "S[wq]/S[q]", "QUE")
    return word + cl.inversion(sa.draw_clause(r, 1)) + ASK


def _existential(r):
    kind, plural = r.choice(("person", "animal", "thing")), r.random() < 0.5
    head = r.choice(lexicon.NOUNS[kind])
    determiner = r.choice(("some", "no", "") if plural else ("a", "a", "no"))
    what = ph.common(determiner, fr.modifiers(r, kind, head), head, plural)
    there = NP(leaf("there", "EX", "B-NP", "NP[thr]", "NIL"), (), what.agreement)
    clause = Clause(there, cl.BE, ("NP",), tense=Tense(r.choice(("past", "present"))))
    [verb] = cl.group(clause)
    where = fr.where(r, ph.NOUN_MODIFIER)
    return (*there.subject, verb._replace(ccg="(S[dcl]\\NP[thr])/NP"), *what.object, *where, *STOP)


def _fronted(r):
    return fr.where(r, "S/S") + COMMA + cl.statement(sa.draw_clause(r, 1)) + STOP


_SUBORDINATORS = {
    "because": ("IN", "B-SBAR", "SUB"),
    "before": ("IN", "B-SBAR", "REL"),
    "after": ("IN", "B-SBAR", "REL"),
    "if": ("IN", "B-SBAR", "SUB"),
    "when": ("WRB", "B-ADVP", "REL"),
}


def _subordinate(r):
    word = r.choice(tuple(_SUBORDINATORS))
    pos, chunk, sem = _SUBORDINATORS[word]
    inner, outer = (cl.statement(sa.draw_clause(r, 2)) for _ in range(2))
    if r.random() < 0.5:
        return leaf(word, pos, chunk, "(S/S)/S[dcl]", sem) + inner + COMMA + outer + STOP
    return outer + leaf(word, pos, chunk, f"({ph.MODIFIER})/S[dcl]", sem) + inner + STOP


_LINKS = {"and": "COO", "but": "BUT", "or": "DIS"}


def _link(word):
    return leaf(word, "CC", "O", "conj", _LINKS[word])


def _two_clauses(r):
    first, second = (cl.statement(sa.draw_clause(r, 1)) for _ in range(2))
    return first + COMMA + _link(r.choice(tuple(_LINKS))) + second + STOP


def _two_predicates(r):
    subject = sa.noun_phrase(r, "person", 1, subject=True)
    first = sa.draw_clause(r, 2, subject=subject)
    second = sa.draw_clause(r, 2, subject=subject)._replace(short=False)
    return cl.statement(first) + _link(r.choice(("and", "but"))) + cl.predicate(second) + STOP


_SENTENCES = fr.weighted(
    *((14, _declarative), (3, _yes_no), (2, _wh_object), (1, _which), (1, _wh_subject)),
    *((1, _wh_adverb), (1, _existential), (1, _fronted), (3, _subordinate), (2, _two_clauses)),
    (2, _two_predicates),
)
