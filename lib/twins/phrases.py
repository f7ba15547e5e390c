r"""Noun phrases of the embedded treebank: how words are put together, and annotated.

Second step of the embedded data: :mod:`.lexicon` -> phrases -> :mod:`.clauses`. Nothing here
is random: a builder takes the parts of a phrase and returns its leaves, each a word with its four
labels,

====== =============================================================================
pos    Penn Treebank part of speech
chunk  CoNLL-2000 base phrase, IOB2 (a fronted auxiliary is outside, as in its data)
ccg    CCGbank category; particles ``PR`` and embedded questions as in the PMB
sem    universal semantic tag, as in the Parallel Meaning Bank 4
====== =============================================================================

The categories follow CCGbank: names and bare plurals are ``N``, turned into ``NP`` by its unary
rule; ``S`` without a feature in a modifier stands for any feature; a relative clause without a
relative pronoun needs its unary rule ``S[dcl]/NP => NP\NP``.
"""

from functools import cache
from typing import NamedTuple

from lib.twins import lexicon
from lib.twins.lexicon import Noun

VP = "S\\NP"
MODIFIER = f"({VP})\\({VP})"  # after the verb; before it the slash leans the other way
PREMODIFIER = f"({VP})/({VP})"
NOUN_MODIFIER = "NP\\NP"


class Leaf(NamedTuple):
    """A word and its labels."""

    word: str
    pos: str
    chunk: str
    ccg: str
    sem: str


class NP(NamedTuple):
    """A noun phrase in both cases, and what a verb agrees with: first, third or plural."""

    subject: tuple[Leaf, ...]
    object: tuple[Leaf, ...]
    agreement: str


@cache
def category(result: str, args: tuple[str, ...]) -> str:
    r"""Write the category that takes ``args`` one after the other and gives ``result``.

    >>> category("S[b]\\NP", ("NP", "PP"))
    '((S[b]\\NP)/PP)/NP'
    """
    for arg in reversed(args):
        result = f"({result})/" if "\\" in result or "/" in result else f"{result}/"
        result += f"({arg})" if "\\" in arg or "/" in arg else arg
    return result


def chunked(kind: str, leaves) -> tuple[Leaf, ...]:
    """Make one chunk of some leaves."""
    tags = [f"B-{kind}"] + [f"I-{kind}"] * (len(leaves) - 1)
    return tuple(leaf._replace(chunk=tag) for leaf, tag in zip(leaves, tags, strict=True))


def leaf(word: str, pos: str, chunk: str, ccg: str, sem: str) -> tuple[Leaf]:
    """Return a phrase of one leaf."""
    return (Leaf(word, pos, chunk, ccg, sem),)


def fixed(leaves, agreement="third") -> NP:
    """Return a noun phrase with the same words in both cases."""
    return NP(leaves, leaves, agreement)


def pronoun(word: str) -> NP:
    """Return a personal pronoun, given in its subject form."""
    other, agreement = lexicon.PRONOUNS[word]
    return NP(*(leaf(w, "PRP", "B-NP", "NP", "PRO") for w in (word, other)), agreement)


def name(word: str, sem: str = "PER") -> NP:
    """Return a name of one word."""
    return fixed(leaf(word, "NNP", "B-NP", "N", sem))


@cache
def common(determiner: str, words: tuple[str, ...], head: Noun, plural=False) -> NP:
    """Return determiner, modifiers, noun: one chunk.

    Parameters
    ----------
    determiner
        A determiner or possessive pronoun, "all the", or "" for a bare plural.
    words
        What stands between: numbers, ``very``, adjectives, nouns.
    head
        The noun.
    plural
        Whether it is in the plural.

    Examples
    --------
    >>> from lib.twins.lexicon import noun
    >>> [leaf.word for leaf in common("a", ("old",), noun("story")).object]
    ['an', 'old', 'story']
    """
    form, pos = (head.plural, "NNS") if plural else (head.singular, "NN")
    leaves = [*(_modifier(word) for word in words), Leaf(form, pos, "", "N", head.sem)]
    *before, determiner = determiner.split() or [""]
    if determiner:
        tag, sem = _DETERMINERS[determiner]
        vowel = determiner == "a" and leaves[0].word[0] in "aeiou"
        leaves.insert(0, Leaf("an" if vowel else determiner, tag, "", "NP[nb]/N", sem))
    if before:
        leaves.insert(0, Leaf("all", "PDT", "", "NP/NP", "AND"))
    return fixed(chunked("NP", leaves), "plural" if plural else "third")


_DETERMINERS = {w: tags for table in lexicon.DETERMINERS.values() for w, tags in table.items()}


def _modifier(word):
    """Return a leaf between determiner and noun."""
    if word == "very":
        return Leaf(word, "RB", "", "(N/N)/(N/N)", "INT")
    if word in lexicon.NUMBERS:
        return Leaf(word, "CD", "", "N/N", "QUC")
    if word in lexicon.ADJECTIVES:
        return Leaf(word, "JJ", "", "N/N", lexicon.ADJECTIVES[word])
    return Leaf(word, "NN", "", "N/N", "CON")


def owned(owner: NP, words: tuple[str, ...], head: Noun, plural=False) -> NP:
    """Return "Tom 's old dog": the owner is a chunk, 's begins the next one."""
    rest = common("", words, head, plural)
    mark = leaf("'s", "POS", "", "(NP[nb]/N)\\NP", "HAS")
    return fixed(owner.object + chunked("NP", mark + rest.object), rest.agreement)


def coordinated(left: NP, right: NP) -> NP:
    """Join two noun phrases by "and"; bare nouns and names make one chunk."""
    both = [
        first + leaf("and", "CC", "O", "conj", "GRP") + second
        for first, second in ((left.subject, right.subject), (left.object, right.object))
    ]
    if all(part[0].ccg == "N" and len(part) == 1 for part in (left.object, right.object)):
        both = [chunked("NP", leaves) for leaves in both]
    return NP(*both, "plural")


def preposition(word: str, ccg: str, sem: str = "REL") -> tuple[Leaf]:
    """Return a preposition; "to" has a tag of its own."""
    return leaf(word, "TO" if word == "to" else "IN", "B-PP", ccg, sem)


def place(word: str, where: NP, ccg: str = MODIFIER) -> tuple[Leaf, ...]:
    """Return a prepositional phrase that modifies: the verb, unless told otherwise."""
    return preposition(word, f"({ccg})/NP") + where.object


def modified(head: NP, modifier: tuple[Leaf, ...]) -> NP:
    """Hang a phrase or a clause behind a noun phrase."""
    return NP(head.subject + modifier, head.object + modifier, head.agreement)
