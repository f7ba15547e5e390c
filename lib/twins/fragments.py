"""Random fragments of the embedded treebank: the short noun phrases and the ends of clauses.

What :mod:`.sampler` draws again and again and that holds no clause itself. Every function takes
the caller's ``random.Random`` first. Choices are tuples in which an entry stands as often as its
weight says.
"""

from lib.twins import lexicon
from lib.twins import phrases as ph
from lib.twins.phrases import NP, leaf


def weighted(*rows) -> tuple:
    """Spread rows of (weight, item) over a tuple, for a quick uniform choice."""
    return tuple(item for weight, item in rows for _ in range(weight))


SHAPES = {
    "person": weighted((5, "pronoun"), (2, "name"), (9, "common"), (3, "owned"), (1, "pair")),
    "animal": weighted((1, "pronoun"), (9, "common"), (3, "owned"), (1, "pair")),
    "thing": weighted((1, "pronoun"), (9, "common"), (4, "owned"), (1, "pair")),
    "event": weighted((1, "pronoun"), (9, "common"), (4, "owned"), (1, "pair")),
    "place": weighted((6, "common"), (1, "name"), (3, "owned")),
}
_OWNERS = ("my", "your", "his", "her", "her", "our", "their")
_SUBJECT_PRONOUNS = tuple(lexicon.PRONOUNS)
_OBJECT_PRONOUNS = ("he", "she", "she", "she", "they")
_SINGULAR = weighted((6, "the"), (6, "a"), (1, "this"), (5, "that"), (1, "some"))
_PLURAL = weighted((5, "the"), (2, "some"), (1, "all"), (2, "all the"), (1, "those"), (8, ""))
_ONLY_SUBJECTS = ("every", "no")
_COUNTED = ("the", "these", "those", "", "", "all the")  # determiners that a number may follow
_COMPOUND = {"person": "house bank school farm village park", "thing": "kitchen garden house"}
_COMPOUND |= {"event": "school village garden station", "animal": "farm house garden"}
_COMPOUND = {kind: tuple(words.split()) for kind, words in _COMPOUND.items()}


def some_pronoun(r, kind, subject):
    """Draw a pronoun, given by its subject form."""
    if kind != "person":
        return r.choice(("it", "they"))
    return r.choice(_SUBJECT_PRONOUNS if subject else _OBJECT_PRONOUNS)


def some_name(r, kind):
    """Draw a name of a person or a city."""
    place = kind == "place"
    return ph.name(r.choice(lexicon.CITIES if place else lexicon.NAMES), "GPE" if place else "PER")


def plain(r, kind) -> NP:
    """Draw a short noun phrase that is no pronoun."""
    chance = r.random()
    if kind == "person" and chance < 0.4:
        return some_name(r, kind)
    head = r.choice(lexicon.NOUNS[kind])
    if chance > 0.75:
        return ph.common("", (), head, True)
    return ph.common(r.choice(("the", "a", "that", "her", "his")), (), head)


def determined(r, kind, head, plural, subject) -> NP:
    """Draw determiner, number, modifiers, noun."""
    words = modifiers(r, kind, head)
    if plural and r.random() < 0.2:
        number = r.choice(lexicon.NUMBERS)
        return ph.common(r.choice(_COUNTED), (number, *words), head, True)
    if subject and r.random() < 0.08:
        return ph.common(r.choice(_ONLY_SUBJECTS), words, head)
    return ph.common(r.choice(_PLURAL if plural else _SINGULAR), words, head, plural)


def owned(r, kind, head, plural, subject) -> NP:
    """Draw a noun phrase with an owner."""
    words = modifiers(r, kind, head)
    if r.random() < 0.6:
        return ph.common(r.choice(_OWNERS), words, head, plural)
    owner = r.choice(lexicon.NOUNS["person"])
    named = r.random() < 0.6
    owner = some_name(r, "person") if named else ph.common(r.choice(("the", "a", "my")), (), owner)
    return ph.owned(owner, words, head, plural)


def modifiers(r, kind, head) -> tuple[str, ...]:
    """Draw what stands between determiner and noun: an adjective, a noun."""
    words = []
    if r.random() < 0.33:
        if r.random() < 0.12:
            words.append("very")
        words.append(r.choice(lexicon.DESCRIBES[kind]))
    if kind in _COMPOUND and head.sem == "CON" and r.random() < 0.12:
        words.append(r.choice(_COMPOUND[kind]))
    return tuple(words)


# --- The end of a clause ---------------------------------------------------------------------


def adjuncts(r, chance):
    """Draw what may stand at the end of a clause, with some chance: place, manner, time."""
    return (r.choice(_ADJUNCTS)(r),) if r.random() < chance else ()


def place_words(r, table):
    """Draw a preposition and a place that go together."""
    if r.random() < 0.1:
        return ("in" if table is lexicon.WHERE else "to"), some_name(r, "place")
    head = r.choice(lexicon.NOUNS["place"])
    draw = owned if r.random() < 0.3 else determined
    return r.choice(table[head.singular]), draw(r, "place", head, r.random() < 0.2, False)


def where(r, ccg=ph.MODIFIER):
    """Draw a place, which modifies the verb unless told otherwise."""
    word, phrase = place_words(r, lexicon.WHERE)
    return ph.place(word, phrase, ccg)


def _how(r):
    return leaf(r.choice(lexicon.MANNER), "RB", "B-ADVP", ph.MODIFIER, "IST")


def _there(r):
    word, sem = r.choice((("there", "DST"), ("here", "PRX")))
    return leaf(word, "RB", "B-ADVP", ph.MODIFIER, sem)


def _day(r):
    return ph.place("on", ph.name(r.choice(lexicon.DAYS), "DOW"))


def _like(r):
    return ph.place("like", plain(r, "animal"))


def _when(r):
    return ph.place(r.choice(("before", "after")), plain(r, "event"))


_ADJUNCTS = weighted((4, where), (4, _how), (2, _there), (2, _day), (1, _like), (2, _when))
