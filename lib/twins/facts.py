"""Facts: who did what to whom, where; told and asked about in many ways that mean the same.

The sentence tasks of the embedded treebank (:mod:`.pairs`) need pairs of sentences whose
relation is known. A :class:`Fact` is the meaning; :func:`tell` and :func:`ask` write it in a
:class:`Style`: active or passive, with the receiver first or last, with the place in front, with
other words. Two texts of one fact mean the same, whatever the styles.
"""

from typing import NamedTuple

from lib.twins import clauses as cl
from lib.twins import lexicon
from lib.twins import phrases as ph
from lib.twins.clauses import Clause, Tense
from lib.twins.lexicon import Noun, Verb, noun, verb
from lib.twins.phrases import NP, Leaf


class Thing(NamedTuple):
    """Somebody or something: a name, or a determiner, an adjective or "", and a noun."""

    head: Noun | str
    adjective: str = ""
    determiner: str = "the"


class Fact(NamedTuple):
    """Who did what to whom or what, for whom, where; ``place`` is (preposition, noun)."""

    agent: Thing
    action: Verb
    theme: Thing
    receiver: Thing | None = None
    place: tuple[str, Noun] | None = None
    denied: bool = False
    tense: Tense = Tense("past")


class Style(NamedTuple):
    """How a fact is put into words."""

    passive: bool = False
    shifted: bool = False  # the receiver comes first: "gave her the book"
    fronted: bool = False  # the place comes first
    synonyms: bool = False


#: Active, receiver last, place last, first choice of words.
PLAIN = Style()

#: Order of a clause by (has a receiver, passive, shifted); V is the verb.
ORDERS = {
    (False, False, False): "agent V theme",
    (False, True, False): "theme V by agent",
    (True, False, False): "agent V theme to receiver",
    (True, False, True): "agent V receiver theme",
    (True, True, False): "theme V to receiver by agent",
    (True, True, True): "receiver V theme by agent",
}


def some_style(r) -> Style:
    """Draw a style."""
    return Style(*(r.random() < chance for chance in (0.45, 0.5, 0.3, 0.5)))


def _other(word, style, table=lexicon.SYNONYMS):
    """Return a synonym if the style wants one and there is one."""
    return table.get(word, word) if style.synonyms else word


def phrase(thing: Thing, style: Style = PLAIN) -> NP:
    """Return the noun phrase that names a thing."""
    if isinstance(thing.head, str):
        return ph.name(thing.head)
    words = (_other(thing.adjective, style),) if thing.adjective else ()
    return ph.common(thing.determiner, words, noun(_other(thing.head.singular, style)))


def order(fact: Fact, style: Style) -> list[str]:
    """Return the order of the clause, as roles, prepositions and V."""
    shifted = style.shifted and fact.receiver is not None
    return ORDERS[fact.receiver is not None, style.passive, shifted].split()


def clause(fact: Fact, style: Style, asked: str = "") -> Clause:
    """Return the clause that tells a fact, with a gap at the role asked for."""
    first, _, *others = order(fact, style)
    subject = ph.fixed(()) if asked == first else phrase(getattr(fact, first), style)
    pieces = tuple(
        phrase(getattr(fact, word), style).object
        if word in Fact._fields
        else ph.preposition(word, "PP/NP")
        for word in others
    )
    gap = others.index(asked) if asked in others else None
    action = verb(_other(fact.action.base, style, lexicon.VERB_SYNONYMS))
    where = ()
    if fact.place and asked != "place":
        preposition, spot = fact.place
        where = (ph.place(preposition, ph.common("the", (), spot)),)
    return Clause(
        subject, action, (), pieces, fact.tense, "not" if fact.denied else "", adjuncts=where,
        passive=style.passive, gap=gap,
    )  # fmt: skip


def tell(fact: Fact, style: Style = PLAIN) -> str:
    """Write a fact as a statement.

    Examples
    --------
    >>> from lib.twins.lexicon import noun, verb
    >>> fact = Fact(Thing("Tom"), verb("give"), Thing(noun("book")), Thing("Mary"))
    >>> tell(fact), tell(fact, Style(passive=True, shifted=True))
    ('Tom gave the book to Mary.', 'Mary was given the book by Tom.')
    """
    said = clause(fact, style)
    if style.fronted and said.adjuncts:
        words = [
            *spelled(said.adjuncts[0]),
            ",",
            *spelled(cl.statement(said._replace(adjuncts=()))),
        ]
        return text([*words, "."])
    return text([*spelled(cl.statement(said)), "."])


def ask(fact: Fact, asked: str, style: Style = PLAIN, *, embedded: str = "") -> str:
    """Write the question for one role of a fact, or whether it is true.

    Parameters
    ----------
    fact
        What is asked about; what stands in the asked role is not said.
    asked
        A field of :class:`Fact`, or "" for a yes/no question.
    style
        ``fronted`` is without effect.
    embedded
        The beginning of an indirect question, as "do you know".

    Examples
    --------
    >>> from lib.twins.lexicon import verb
    >>> fact = Fact(Thing("Tom"), verb("help"), Thing("Mary"))
    >>> ask(fact, "theme"), ask(fact, "theme", embedded="do you know")
    ('Who did Tom help?', 'Do you know who Tom helped?')
    """
    said = clause(fact, style, asked)
    word = _question_word(fact, asked, embedded)
    if embedded:
        body = cl.statement(said, gap=True)
    elif asked and not said.subject.subject:
        body = cl.predicate(said)
    else:
        body = cl.inversion(said, gap=True)
    return text([*embedded.split(), *word, *spelled(body), "?"])


def _question_word(fact, asked, embedded):
    if not asked:
        return ["whether"] if embedded else []
    if asked == "place":
        return ["where"]
    return ["what" if asked == "theme" and fact.receiver else "who"]


def spelled(leaves: tuple[Leaf, ...]) -> list[str]:
    """Return the words of some leaves."""
    return [leaf.word for leaf in leaves]


_ATTACHED = (".", "?", ",", "n't", "'s", "!")


def text(words) -> str:
    """Write words as people do: a capital first, punctuation attached.

    >>> text(["who", "is", "n't", "here", "?"])
    "Who isn't here?"
    """
    line = "".join(word if word in _ATTACHED else f" {word}" for word in words).strip()
    return line[0].upper() + line[1:]
