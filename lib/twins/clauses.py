"""Clauses of the embedded treebank: verbs agree, auxiliaries line up, questions turn them round.

Third step of the embedded data: :mod:`.phrases` -> clauses -> :mod:`.sampler` (random
sentences, tagged) and :mod:`.pairs` (chosen ones, for the sentence tasks). A :class:`Clause`
says what happens; the functions here write it as a statement, a question, a passive or a relative
clause, with the labels of :mod:`.phrases`.
"""

from functools import cache
from typing import NamedTuple

from lib.twins import lexicon
from lib.twins.lexicon import Verb, verb
from lib.twins.phrases import (
    MODIFIER,
    NOUN_MODIFIER,
    NP,
    PREMODIFIER,
    Leaf,
    category,
    chunked,
    leaf,
    place,
)


class Tense(NamedTuple):
    """A finite form (``present``, ``past`` or a modal) and its aspects."""

    finite: str = "past"
    perfect: bool = False
    progressive: bool = False


class Clause(NamedTuple):
    """A verb with everything around it.

    ``args`` are the categories that the verb takes, ``pieces`` the phrases that fill them (a
    preposition is a piece of its own), ``gap`` the piece that a question or a relative clause can
    take away, and ``asks`` the word that asks for it.
    """

    subject: NP
    verb: Verb
    args: tuple[str, ...] = ()
    pieces: tuple[tuple[Leaf, ...], ...] = ()
    tense: Tense = Tense()
    negation: str = ""  # "", "not" or "n't"
    adverb: str = ""  # stands before the verb
    adjuncts: tuple[tuple[Leaf, ...], ...] = ()
    passive: bool = False
    gap: int | None = None
    asks: str = "what"
    short: bool = False  # "'s" for "is" and "has"


_BE = {
    "first": {"present": "am", "past": "was"},
    "third": {"present": "is", "past": "was"},
    "plural": {"present": "are", "past": "were"},
}
_BE_FORMS = {"b": "be", "pt": "been", "ng": "being"}
ADJECTIVAL = ("S[adj]\\NP",)  # what "be" takes where it only carries the tense
BE, HAVE, DO = verb("be"), verb("have"), verb("do")
#: Form of the verb that a feature asks for, its Penn tag, and its semantic tag.
FORMS = {
    "b": ("base", "VB", "EXS"),
    "pt": ("participle", "VBN", "EXT"),
    "ng": ("ing", "VBG", "EXG"),
    "pss": ("participle", "VBN", "EXS"),
}
_SHORT = {"will": "wo", "can": "ca"}  # before n't


def finite(word: Verb, tense: str, agreement: str) -> tuple[str, str]:
    """Return a finite form and its Penn tag.

    >>> finite(BE, "past", "plural"), finite(verb("watch"), "present", "third")
    (('were', 'VBD'), ('watches', 'VBZ'))
    """
    singular = agreement == "third"
    pos = {"past": "VBD", "present": "VBZ" if singular else "VBP"}[tense]
    if word is BE:
        return _BE[agreement][tense], pos
    if tense == "past":
        return word.past, pos
    return (word.third if singular else word.base), pos


def group(clause: Clause, *, start: str = "dcl") -> tuple[Leaf, ...]:
    """Return auxiliaries, negation, adverb and verb, with the auxiliary first.

    Parameters
    ----------
    clause
        What is said; its subject is only looked at for agreement.
    start
        Feature of the first verb: ``dcl``, ``q`` (its category then takes the subject from the
        right) or ``to``.
    """
    links = _links(clause, start)
    leaves, feature = [], start
    for word, wants in links:
        leaves.append(_verb_leaf(clause, word, feature, wants))
        feature = wants
    if start == "q":
        leaves[0] = leaves[0]._replace(ccg=_fronted(leaves[0].ccg), chunk="O")
    return _with_adverbs(clause, leaves, start)


def _links(clause, start):
    """List (verb, feature of the verb after it); None ends the list."""
    links = []
    modal = clause.tense.finite in lexicon.MODALS
    if start == "to":
        links = [("to", "b")]
    elif modal:
        links = [(clause.tense.finite, "b")]
    links += [(HAVE, "pt")] * clause.tense.perfect + [(BE, "ng")] * clause.tense.progressive
    links += [(BE, "pss")] * clause.passive
    if not links and clause.verb is not BE and (clause.negation or start == "q"):
        links = [(DO, "b")]
    return [*links, (clause.verb, None)]


def _verb_leaf(clause, word, feature, wants):
    """Return one verb of the group, its category still that of a statement."""
    ccg = category(f"S[{feature}]\\NP", clause.args if wants is None else (f"S[{wants}]\\NP",))
    if word == "to":
        return Leaf("to", "TO", "I-VP", ccg, "NIL")
    if isinstance(word, str):
        return Leaf(word, "MD", "I-VP", ccg, lexicon.MODALS[word])
    past = clause.tense.finite == "past"
    if feature in ("dcl", "q"):
        form, pos = finite(word, clause.tense.finite, clause.subject.agreement)
        helps = wants or clause.args == ADJECTIVAL
        sem = ("PST" if past else "NOW") if helps else ("EPS" if past else "ENS")
    else:
        attribute, pos, sem = FORMS[feature]
        form = _BE_FORMS[feature] if word is BE else getattr(word, attribute)
        if wants or clause.args == ADJECTIVAL:
            sem = "PFT" if feature == "pt" else "NIL"
    return Leaf(form, pos, "I-VP", ccg, sem)


@cache
def _fronted(ccg):
    r"""Turn (S[q]\NP)/X into (S[q]/X)/NP: a question's first verb takes the subject first."""
    arg = ccg[len("(S[q]\\NP)/") :]
    return f"(S[q]/{arg})/NP"


def _with_adverbs(clause, leaves, start):
    """Put negation and adverb behind the first auxiliary and mark the chunks."""
    extra = []
    first = leaves[0].word
    if clause.negation and start == "q":  # n't would have to follow its verb to the front
        extra.append(Leaf("not", "RB", "I-VP", PREMODIFIER, "NOT"))
    elif clause.negation:
        extra.append(Leaf(clause.negation, "RB", "I-VP", MODIFIER, "NOT"))
        first = _SHORT.get(first, first) if clause.negation == "n't" else first
    elif clause.short and _shortens(clause, leaves, start):
        first = "'s"
    leaves[0] = leaves[0]._replace(word=first)
    if clause.adverb:
        sem = lexicon.FREQUENCY[clause.adverb]
        extra.append(Leaf(clause.adverb, "RB", "I-VP", PREMODIFIER, sem))
    if len(leaves) == 1 and clause.verb is not BE:  # the adverb stands before a lone verb
        return tuple(e._replace(chunk="B-ADVP") for e in extra) + chunked("VP", leaves)
    if start == "q" and not leaves[1:]:  # "Is he not happy?": no verb group is left to join
        extra = extra if clause.args == ADJECTIVAL else ()
        return (leaves[0], *(e._replace(chunk="O") for e in extra))
    if start == "q":
        return (leaves[0], *chunked("VP", extra + leaves[1:]))
    return chunked("VP", [leaves[0], *extra, *leaves[1:]])


def _shortens(clause, leaves, start):
    """Tell whether 's can stand for the first verb: an auxiliary or "is", after a short subject."""
    helps = clause.verb is BE or len(leaves) > 1
    near = len(clause.subject.subject) <= 2
    return start == "dcl" and leaves[0].word in ("is", "has") and helps and near


def rest(clause: Clause, *, gap: bool = False) -> tuple[Leaf, ...]:
    """Return what follows the verb, without the piece at the gap if asked for."""
    pieces = [p for i, p in enumerate(clause.pieces) if not (gap and i == clause.gap)]
    return tuple(leaf for piece in (*pieces, *clause.adjuncts) for leaf in piece)


def predicate(clause: Clause, *, start: str = "dcl") -> tuple[Leaf, ...]:
    """Return the clause without its subject."""
    return group(clause, start=start) + rest(clause)


def statement(clause: Clause, *, gap: bool = False) -> tuple[Leaf, ...]:
    """Return subject, verb, rest; with a gap it is an S[dcl]/NP."""
    return clause.subject.subject + group(clause) + rest(clause, gap=gap)


def inversion(clause: Clause, *, gap: bool = False) -> tuple[Leaf, ...]:
    """Return auxiliary, subject, verb, rest; with a gap it is an S[q]/NP."""
    first, *others = group(clause, start="q")
    return (first, *clause.subject.subject, *others, *rest(clause, gap=gap))


def passive(clause: Clause, agent: NP | None, promoted: NP) -> Clause:
    """Make the first object the subject; the old subject follows in a by-phrase or not at all."""
    by = (place("by", agent),) if agent else ()
    return clause._replace(
        subject=promoted,
        args=clause.args[1:],
        pieces=clause.pieces[1:],
        adjuncts=by + clause.adjuncts,
        passive=True,
        gap=None,
    )


def relative(clause: Clause, word: str, *, role: str) -> tuple[Leaf, ...]:
    """Return a relative clause.

    Parameters
    ----------
    clause
        Its subject (``role="subject"``) or its gap (``role="object"``) is what is modified.
    word
        ``who``, ``whom``, ``which``, ``that``, or "" (objects only).
    role
        Which part is missing.
    """
    body = predicate(clause) if role == "subject" else statement(clause, gap=True)
    if not word:
        return body
    pos = "WP" if word in ("who", "whom") else "WDT"
    missing = "S[dcl]\\NP" if role == "subject" else "S[dcl]/NP"
    return leaf(word, pos, "B-NP", category(NOUN_MODIFIER, (missing,)), "AND") + body
