"""Inference in the embedded treebank: the twins of MNLI, RTE and WNLI.

What follows from what is known by construction: MNLI by natural logic (dropping a modifier makes a
statement weaker, under negation stronger) and by opposites, RTE by which clauses of a longer
sentence are asserted, WNLI by whom a pronoun can agree with.
"""

from typing import NamedTuple

from lib.twins import clauses as cl
from lib.twins import facts, lexicon
from lib.twins import phrases as ph
from lib.twins.clauses import Clause, Tense
from lib.twins.facts import Thing, spelled, text
from lib.twins.lexicon import NOUNS, Noun, noun, verb
from lib.twins.pairs import ACTIONS, somebody, somewhere


class Scene(NamedTuple):
    """Somebody of some kind does something, perhaps somewhere, perhaps in some way."""

    head: Noun
    action: lexicon.Verb
    adjective: str = ""
    manner: str = ""
    place: tuple[str, Noun] | None = None


_MODIFIERS = ("adjective", "manner", "place", "head")
_WIDER = {"person": noun("person"), "animal": noun("animal")}
_SCENE_VERBS = tuple(map(verb, "walk dance smile work swim talk sing play jump sleep rest".split()))


def _some_scene(r):
    """Draw a scene with all its modifiers."""
    kind = r.choice(("person", "person", "animal"))
    place = somewhere(r)
    adjective = r.choice(lexicon.DESCRIBES[kind])
    manner = r.choice("slowly quickly quietly well badly happily".split())
    return Scene(r.choice(NOUNS[kind]), r.choice(_SCENE_VERBS), adjective, manner, place), kind


def _weaker(r, scene, kind):
    """Take one or two modifiers away, or name something more general."""
    present = [m for m in _MODIFIERS if getattr(scene, m) and scene.head not in _WIDER.values()]
    empty = {"head": _WIDER[kind], "place": None}
    taken = r.sample(present or ["manner"], min(len(present) or 1, r.choice((1, 1, 2))))
    return scene._replace(**{modifier: empty.get(modifier, "") for modifier in taken})


def _existence(r, scene, denied):
    """Write that somebody does, or that nobody does; sometimes by denying the opposite."""
    around = r.random() < 0.35
    words = (scene.adjective,) if scene.adjective else ()
    who = ph.common("no" if denied != around else "a", words, scene.head)
    ends = []
    if scene.manner:
        ends.append(ph.leaf(scene.manner, "RB", "B-ADVP", ph.MODIFIER, "IST"))
    if scene.place:
        ends.append(ph.place(scene.place[0], ph.common("the", (), scene.place[1])))
    said = spelled(cl.statement(Clause(who, scene.action, adjuncts=tuple(ends))))
    return text([*(["it", "is", "not", "true", "that"] if around else []), *said, "."])


# label -> (premise denied, hypothesis denied, hypothesis weaker or stronger as a scene)
_LOGIC = {
    "entailment": ((False, False, "weaker"), (True, True, "stronger")),
    "neutral": (
        *((False, False, "stronger"), (True, True, "weaker")),
        *((False, True, "stronger"), (True, False, "weaker")),
    ),
    "contradiction": ((False, True, "weaker"), (True, False, "stronger")),
}
_OPPOSITES = tuple(
    pair.split("/")
    for pair in "open/closed clean/dirty old/new empty/full alive/dead awake/asleep dry/wet".split()
)
_BEINGS = ("alive", "awake", "dead", "asleep")


def mnli(r, label):
    """Draw a premise and a hypothesis with one of three relations."""
    return _by_opposites(r, label) if r.random() < 0.35 else _by_logic(r, label)


def _by_logic(r, label):
    premise_denied, denied, direction = r.choice(_LOGIC[label])
    scene, kind = _some_scene(r)
    if r.random() < 0.5:
        scene = scene._replace(**{r.choice(("manner", "adjective")): ""})
    other = _weaker(r, scene, kind)
    first, second = (scene, other) if direction == "weaker" else (other, scene)
    return _existence(r, first, premise_denied), _existence(r, second, denied)


# What the hypothesis says about the premise's quality X, whose opposite is Y: (premise denied,
# hypothesis about Y, hypothesis denied) -> label.
_OPPOSED = {
    "entailment": ((False, True, True), (True, True, False)),
    "contradiction": (
        *((False, True, False), (True, True, True)),
        *((False, False, True), (True, False, False)),
    ),
}


def _by_opposites(r, label):
    pair = r.sample(r.choice(_OPPOSITES), 2)
    being = pair[0] in _BEINGS
    subject = somebody(r) if being else Thing(r.choice(NOUNS["thing"]), determiner="that")
    if label == "neutral":
        other = r.choice(("tired", "famous", "tall") if being else ("red", "heavy", "small"))
        flips = r.random() < 0.5, r.random() < 0.5
        words = r.sample((pair[0], other), 2)
    else:
        denied, about, also = r.choice(_OPPOSED[label])
        flips, words = (denied, also), (pair[0], pair[about])
    tense = r.choice(("past", "present"))
    return tuple(_quality(subject, w, d, tense) for w, d in zip(words, flips, strict=True))


def _quality(subject, word, denied, tense):
    complement = ph.leaf(word, "JJ", "B-ADJP", "S[adj]\\NP", "IST")
    who = facts.phrase(subject)
    clause = Clause(who, cl.BE, cl.ADJECTIVAL, (complement,), Tense(tense), "not" if denied else "")
    return text([*spelled(cl.statement(clause)), "."])


# --- RTE -------------------------------------------------------------------------------------

_FACTIVE = "knows that/remembers that/forgot that/saw that/is happy that".split("/")
_OPINION = "thinks that/hopes that/says that/fears that/dreamed that".split("/")
_TOGETHER = ", and/because/before/after/, but/when".split("/")
_APART = ", or/if".split("/")


def rte(r, label):
    """Draw a longer sentence and a short one that follows from it, or does not."""
    shape = r.choice((_in_relative, _in_relative, _in_complement, _in_two_clauses))
    return shape(r, label == "entailment")


def _people(r, n):
    """Draw people with different heads."""
    found = {}
    while len(found) < n:
        thing = somebody(r)
        found.setdefault(thing.head, thing)
    return list(found.values())


def _did(who, action, whom=None):
    """Return the words of a short clause in the past."""
    pieces = (facts.phrase(whom).object,) if whom else ()
    return spelled(cl.statement(Clause(facts.phrase(who), action, pieces=pieces)))


def _in_relative(r, follows):
    """A, who did something to B (or whom B did it to), did something else."""
    action, deed = r.choice(ACTIONS), r.choice(_SCENE_VERBS)
    a, b = _people(r, 2)
    a = Thing(r.choice(NOUNS["person"]), a.adjective, "the")
    if a.head == b.head:
        return _in_relative(r, follows)
    subject = r.random() < 0.5
    body = _did(a, action, b)[len(facts.phrase(a).subject) :] if subject else _did(b, action)
    premise = [*spelled(facts.phrase(a).subject), "who" if subject else "that", *body, deed.past]
    doer, done = (a, b) if subject else (b, a)
    true = (_did(a, deed), _did(doer, action, done))
    false = (_did(b, deed), _did(done, action, doer))
    return text([*premise, "."]), text([*r.choice(true if follows else false), "."])


def _in_complement(r, follows):
    """A knows (or hopes) that B did something to C."""
    a, b, c = _people(r, 3)
    action = r.choice(ACTIONS)
    known = r.random() < 0.5
    frame = [*spelled(facts.phrase(a).subject), *r.choice(_FACTIVE if known else _OPINION).split()]
    if known:
        hypothesis = _did(b, action, c) if follows else _did(c, action, b)
    elif follows:
        hypothesis = [*frame, *_suffered(c, action, b)]
    else:
        hypothesis = r.choice((_did(b, action, c), [*frame, *_suffered(b, action, c)]))
    return text([*frame, *_did(b, action, c), "."]), text([*hypothesis, "."])


def _suffered(who, action, by):
    """Return the words of a short passive clause."""
    active = Clause(facts.phrase(by), action, ("NP",), ((),))
    said = cl.passive(active, facts.phrase(by), facts.phrase(who))
    return spelled(cl.statement(said))


def _in_two_clauses(r, follows):
    """A did something and (or) C did something else."""
    a, b, c = _people(r, 3)
    action, deed = r.choice(ACTIONS), r.choice(_SCENE_VERBS)
    both = follows or r.random() < 0.6
    link = r.choice(_TOGETHER if both else _APART).split()
    premise = [*_did(a, action, b), *link, *_did(c, deed)]
    true = (_did(a, action, b), _did(c, deed))
    false = (_did(b, action, a), _did(a, deed), _did(b, deed), _did(c, action, b))
    hypothesis = r.choice(false if both and not follows else true)
    return text([*premise, "."]), text([*hypothesis, "."])


# --- WNLI ------------------------------------------------------------------------------------

_GENDER = {
    "he": "man boy brother father Tom John Mark Will Bill Peter Jack".split(),
    "she": "woman girl sister mother Mary Anna Rose Grace Lucy".split(),
}


def wnli(r, label):
    """Draw a sentence with a pronoun, and one that names the person the pronoun may mean."""
    he, she = (_gendered(r, r.choice(words)) for words in _GENDER.values())
    people = {"he": he, "she": she}
    first, second = r.sample(("he", "she"), 2)
    meant = r.choice((first, second))
    other = second if meant == first else first
    state = r.choice("tired happy old quiet famous clever calm kind".split())
    action = r.choice(ACTIONS)
    premise = [*_did(people[first], action, people[second]), "because", meant, "was", state, "."]
    said = people[meant if label == "entailment" else other]
    return text(premise), text([*spelled(facts.phrase(said).subject), "was", state, "."])


def _gendered(r, word):
    if word[0].isupper():
        return Thing(word)
    adjective = r.choice(("", "", "young", "tall", "new"))
    return Thing(noun(word), adjective, r.choice(("the", "a")))
