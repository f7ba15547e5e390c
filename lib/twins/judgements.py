"""Judgements on single sentences: the twins of CoLA (acceptability) and SST-2 (sentiment).

An unacceptable sentence is one of the treebank's own with a single fault from :data:`FAULTS`, made
of words that acceptable sentences use as often. In the sentiment task, every word of praise
appears as often denied, outweighed or wished for as meant.
"""

import re

from lib import twins as treebank
from lib.twins import lexicon
from lib.twins.facts import text

# --- CoLA ------------------------------------------------------------------------------------

_LONGEST = 13  # words of a sentence to be judged
_CASES = {form: other for form, (other, _) in lexicon.PRONOUNS.items() if other != form}
_CASES |= {other: form for form, other in _CASES.items()}
_NUMBERS = {"is": "are", "are": "is", "am": "are", "was": "were", "were": "was"}
_NUMBERS |= {"has": "have", "have": "has", "does": "do", "do": "does"}
_VERBS = {form: word for word in lexicon.ALL_VERBS for form in word}
_NOUNS = {n.singular: n.plural for nouns in lexicon.NOUNS.values() for n in nouns}
_NOUNS |= {plural: singular for singular, plural in _NOUNS.items()}
_STRICT = frozenset("find keep need have like love follow visit guard trust hit throw".split())
_OBJECTLESS = frozenset("sleep smile laugh rest fall wait talk".split())


def cola(r, label):
    """Draw a sentence that is acceptable, or not."""
    while True:
        leaves = treebank.draw(r)
        if len(leaves) > _LONGEST:
            continue
        words = [leaf.word for leaf in leaves]
        if label == "acceptable":
            return text(words)
        if leaves[0].pos != "NNP" and words[0] != "I":
            words[0] = words[0].lower()
        if faulty := r.choice(FAULTS)(r, words, leaves):
            return text(faulty)


def _find(leaves, *tags):
    """List where parts of speech follow one another; a pattern is a regular expression."""
    pos = [leaf.pos for leaf in leaves]
    runs = (zip(tags, pos[i:], strict=False) for i in range(len(pos) - len(tags) + 1))
    return [i for i, run in enumerate(runs) if all(re.fullmatch(tag, p) for tag, p in run)]


def _put(r, words, found, change):
    """Change one of the words found, if the change gives another word."""
    options = [(i, new) for i in found if (new := change(words[i])) and new != words[i]]
    if not options:
        return None
    at, new = r.choice(options)
    return [*words[:at], new, *words[at + 1 :]]


def _agreement(r, words, leaves):
    """Use the wrong number of a finite verb."""

    def other(word):
        word_forms = _VERBS.get(word)
        regular = word_forms and {word_forms.base: word_forms.third}.get(word, word_forms.base)
        return _NUMBERS.get(word) or (None if word == "'s" else regular)

    past = [i for i in _find(leaves, "VBD") if words[i] in _NUMBERS and "if" not in words]
    return _put(r, words, _find(leaves, "VBZ|VBP") + past, other)


def _verb_form(r, words, leaves):
    """Use a form that the auxiliary does not take."""
    forms = {"VB": ("past", "third"), "VBN": ("base", "third"), "VBG": ("base", "third")}
    found = [i for i in _find(leaves, "VB|VBN|VBG") if words[i] in _VERBS]
    if not found:
        return None
    at = r.choice(found)
    form = r.choice(forms[leaves[at].pos])
    return _put(r, words, [at], lambda word: getattr(_VERBS[word], form))


def _case(r, words, leaves):
    """Use the other case of a pronoun."""
    return _put(r, words, _find(leaves, "PRP"), _CASES.get)


def _noun_number(r, words, leaves):
    """Use the wrong number of a noun behind a word that shows it."""
    counts = {"a", "an", "this", "every", "these", "those", *lexicon.NUMBERS}
    found = [i + 1 for i in _find(leaves, "DT|CD", "NNS?", "(?!NN|POS).*") if words[i] in counts]
    return _put(r, words, found, _NOUNS.get)


_FIXED_ORDER = (
    *(("DT", "NNS?"), ("PRP[$]", "NNS?"), ("IN", "DT"), ("IN", "PRP[$]"), ("MD", "VB")),
    *(("TO", "VB"), ("VB[ZPD]", "VB[NG]"), ("TO", "DT"), ("DT", "JJ")),
)


def _order(r, words, leaves):
    """Exchange two neighbours whose order is fixed."""
    found = [i for i in _find(leaves, *r.choice(_FIXED_ORDER)) if words[i] != "all"]
    if not found:
        return None
    at = r.choice(found)
    return [*words[:at], words[at + 1], words[at], *words[at + 2 :]]


def _two_determiners(r, words, leaves):
    """Put a determiner before a possessive."""
    found = _find(leaves, "PRP[$]")
    at = r.choice(found) if found else None
    return found and [*words[:at], r.choice(("the", "a")), *words[at:]]


def _no_object(r, words, leaves):
    """Leave out the object at the end, though the verb needs one."""
    at = len(words) - 2
    while at > 0 and leaves[at].chunk == "I-NP":
        at -= 1
    verb = _VERBS.get(words[at - 1])
    transitive = leaves[at].chunk == "B-NP" and leaves[at - 1].ccg.endswith("\\NP)/NP")
    if not (transitive and verb and verb.base in _STRICT) or leaves[at - 1].pos == "IN":
        return None
    return [*words[:at], words[-1]]


def _one_object_more(r, words, leaves):
    """Give an object to a verb that takes none."""
    found = [
        i
        for i, leaf in enumerate(leaves)
        if leaf.ccg.endswith("]\\NP") and leaf.word in _VERBS
        if _VERBS[leaf.word].base in _OBJECTLESS
    ]
    if not found:
        return None
    at = r.choice(found) + 1
    noun = r.choice(lexicon.NOUNS[r.choice(("thing", "person"))]).singular
    return [*words[:at], r.choice(("the", "her", "this")), noun, *words[at:]]


def _filled_gap(r, words, leaves):
    """Fill the place that the question asks for."""
    asks = leaves[0].ccg in ("S[wq]/(S[q]/NP)", "(S[wq]/(S[q]/NP))/N")
    open_end = leaves[-2].ccg.endswith(("\\NP)/NP", "PP/NP"))
    return (
        [*words[:-1], r.choice(("it", "her", "him", "them")), words[-1]]
        if asks and open_end
        else None
    )


def _uninverted(r, words, leaves):
    """Leave the auxiliary of a wh-question behind its subject."""
    if leaves[0].pos not in ("WP", "WDT", "WRB"):
        return None
    aux = next((i for i, leaf in enumerate(leaves) if leaf.pos[:2] in ("VB", "MD")), 0)
    rest = next((i for i in range(aux + 1, len(leaves)) if leaves[i].chunk == "B-VP"), 0)
    plain = all(leaf.pos not in ("WP", "WDT") for leaf in leaves[aux:rest])
    if leaves[aux].chunk != "O" or not rest or not plain:
        return None
    return [*words[:aux], *words[aux + 1 : rest], words[aux], *words[rest:]]


#: What makes a sentence unacceptable: functions that return the words, or nothing.
FAULTS = (
    *(_agreement, _agreement, _verb_form, _case, _noun_number, _order, _order),
    *(_two_determiners, _no_object, _one_object_more, _filled_gap, _uninverted),
)

# --- SST-2 -----------------------------------------------------------------------------------

_PRAISE = {
    True: "good great wonderful funny clever beautiful exciting charming brilliant fresh".split(),
    False: "bad dull boring terrible awful weak slow ugly silly tiresome".split(),
}
_REACTION = {
    True: "like enjoy love admire recommend".split(),
    False: "dislike hate detest".split(),
}
_WORKS = "film story song show game book play novel concert dance picture report".split()
_PARTS = "music ending beginning cast acting plot language dialogue idea title humor style".split()
_AUDIENCE = ("I", "we", "they", "my friends", "the students", "my sister", "Tom", "Mary", "critics")


def sst2(r, label):
    """Draw a sentence of praise or blame."""
    return text([*r.choice(_VERDICTS)(r, label == "positive"), "."])


def _verdict(r, good, what):
    """Return a clause with a judgement, stated or by denying the opposite."""
    return r.choice((_is, _is, _is_not, _reacts, _reacts_not, _found))(r, good, what)


def _is(r, good, what):
    return [*what, r.choice(("is", "was")), *_very(r), r.choice(_PRAISE[good])]


def _is_not(r, good, what):
    denial = r.choice(("was not", "is n't", "was never", "was hardly", "was far from", "is not"))
    return [*what, *denial.split(), r.choice(_PRAISE[not good])]


def _reacts(r, good, what):
    return [r.choice(_AUDIENCE), lexicon.verb(r.choice(_REACTION[good])).past, *what]


def _reacts_not(r, good, what):
    action = r.choice(_REACTION[not good])
    if r.random() < 0.3:
        return [r.choice(("nobody", "no one")), lexicon.verb(action).past, *what]
    return [r.choice(_AUDIENCE), "did", r.choice(("not", "n't")), action, *what]


def _found(r, good, what):
    word = r.choice(_PRAISE[good])
    return [r.choice(_AUDIENCE), "found", *what, *_very(r), word]


def _very(r):
    return r.choice(((), (), ("very",), ("really",)))


def _work(r):
    return [r.choice(("the", "this", "that")), r.choice(_WORKS)]


def _part(r):
    return ["the", r.choice(_PARTS)]


def _alone(r, good):
    return _verdict(r, good, _work(r))


def _joined(r, good):
    return [*_verdict(r, good, _part(r)), ",", "and", *_verdict(r, good, _part(r))]


def _outweighed(r, good):
    """A part was otherwise, but the whole counts."""
    whole, part = _verdict(r, good, _work(r)), _verdict(r, not good, _part(r))
    if r.random() < 0.4:
        return [*part, ",", "but", *whole]
    although = r.choice(("although", "even though"))
    return [although, *part, ",", *whole] if r.random() < 0.5 else [*whole, although, *part]


def _expected(r, good):
    """Somebody said so, and was right, or wrong."""
    right = r.random() < 0.5
    said = _is(r, good == right, _work(r))
    who = r.choice(("my sister", "Tom", "Mary", "my teacher", "the report"))
    verb = r.choice(("said", "claimed", "thought")) if who != "the report" else "said"
    return [who, verb, "that", *said, ",", "and" if right else "but", "that was", _TRUE[right]]


_TRUE = {True: "right", False: "wrong"}
_VERDICTS = (_alone, _alone, _joined, _outweighed, _outweighed, _expected)
