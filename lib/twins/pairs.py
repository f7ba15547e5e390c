"""Sentence pairs of the embedded treebank: the twins of MRPC, QQP, STS-B and QNLI.

Each function draws one example with the label it is given. Half of the wrong pairs are made of the
same words as the right ones: roles are exchanged, or adjectives. The others differ in one part.
Voice, word order and synonyms vary freely in all, so counting words helps little. The inference
tasks are in :mod:`.inference`, the tasks on single sentences in :mod:`.judgements`.
"""

from lib.twins import lexicon
from lib.twins.clauses import Tense
from lib.twins.facts import Fact, Thing, ask, some_style, tell
from lib.twins.lexicon import verb

ACTIONS = tuple(
    verb(base)
    for base in """help watch visit call question answer guide guard follow meet love trust phone
    teach hear find""".split()
)
GIVING = tuple(verb(base) for base in "give send show offer sell lend hand mail".split())
_TENSES = (Tense("past"), Tense("past"), Tense("will"), Tense("past", perfect=True), Tense("must"))


def somebody(r) -> Thing:
    """Draw a person: a name, or a noun with or without an adjective."""
    if r.random() < 0.35:
        return Thing(r.choice(lexicon.NAMES))
    adjective = r.choice(lexicon.DESCRIBES["person"]) if r.random() < 0.45 else ""
    return Thing(r.choice(lexicon.NOUNS["person"]), adjective)


def something(r) -> Thing:
    """Draw a thing."""
    adjective = r.choice(lexicon.DESCRIBES["thing"]) if r.random() < 0.4 else ""
    return Thing(r.choice(lexicon.NOUNS["thing"]), adjective, r.choice(("the", "a")))


def somewhere(r):
    """Draw a place: (preposition, noun)."""
    spot = r.choice(lexicon.NOUNS["place"])
    return r.choice(lexicon.WHERE[spot.singular]), spot


def some_fact(r, *, giving=0.35, placed=0.5) -> Fact:
    """Draw a fact about two people who differ, with a gift and a place by chance."""
    agent, other = somebody(r), somebody(r)
    while other.head == agent.head:
        other = somebody(r)
    place = somewhere(r) if r.random() < placed else None
    rest = (place, r.random() < 0.15, r.choice(_TENSES))
    if r.random() < giving:
        return Fact(agent, r.choice(GIVING), something(r), other, *rest)
    return Fact(agent, r.choice(ACTIONS), other, None, *rest)


def partner(fact: Fact) -> str:
    """Return the role of the second person."""
    return "receiver" if fact.receiver else "theme"


def swapped(fact: Fact) -> Fact:
    """Exchange the two people."""
    role = partner(fact)
    return fact._replace(agent=getattr(fact, role), **{role: fact.agent})


def changed(r, fact: Fact, *, but: str = "") -> Fact:
    """Put somebody else or another action into a fact, in any part but one."""
    part = r.choice([part for part in ("agent", "action", partner(fact)) if part != but])
    old = getattr(fact, part)
    while (new := _another(r, fact, part)) == old or getattr(new, "head", "") in _heads(fact):
        pass
    return fact._replace(**{part: new})


def _another(r, fact, part):
    return r.choice(GIVING if fact.receiver else ACTIONS) if part == "action" else somebody(r)


def _heads(fact):
    """List who takes part."""
    return [thing.head for thing in (fact.agent, fact.theme, fact.receiver) if thing]


def _altered(r, fact):
    """Return another fact: a part new, or the two people or their adjectives exchanged."""
    role = partner(fact)
    one, two = fact.agent, getattr(fact, role)
    chance = r.random()
    if chance < 0.5:
        return changed(r, fact)
    nouns = not isinstance(one.head, str) and not isinstance(two.head, str)
    if nouns and one.adjective != two.adjective and chance < 0.75:
        return fact._replace(
            agent=one._replace(adjective=two.adjective),
            **{role: two._replace(adjective=one.adjective)},
        )
    return swapped(fact)


def mrpc(r, label):
    """Draw two statements that say the same, or do not."""
    fact = some_fact(r)
    other = fact if label == "equivalent" else _altered(r, fact)
    return tell(fact, some_style(r)), tell(other, some_style(r))


_INDIRECT = ("do you know", "can you tell me", "", "", "", "")


def qqp(r, label):
    """Draw two questions that have the same answer, or not."""
    fact = some_fact(r, placed=0.3)
    fact = fact._replace(denied=False)
    asked = r.choice(("agent", partner(fact), "agent", partner(fact), "theme", "", "place"))
    other, also = fact, asked
    if label == "not_duplicate" and r.random() < 0.5:
        other = changed(r, fact, but=asked)
    elif label == "not_duplicate":
        other = swapped(fact)
        also = {"agent": partner(fact), partner(fact): "agent"}.get(asked, asked)
    first, second = (
        ask(which, role, some_style(r), embedded=r.choice(_INDIRECT))
        for which, role in ((fact, asked), (other, also))
    )
    return first, second


def stsb(r, label):
    """Draw two statements and the score: a point for each part that they share.

    The parts are agent, action, theme, place, and whether it happened (counted only if the action
    is shared); a person or thing with another adjective counts half. ``label`` is ignored.
    """
    first, second = some_fact(r, giving=0, placed=1), some_fact(r, giving=0, placed=1)
    chance = r.random()
    kept = {
        part: getattr(first, part)
        for part in ("agent", "action", "theme", "place", "denied")
        if r.random() < chance
    }
    second = second._replace(**kept, tense=first.tense)
    for role in ("agent", "theme"):
        if r.random() < 0.15 and not isinstance((thing := getattr(second, role)).head, str):
            second = second._replace(**{role: thing._replace(adjective="")})
    chance = r.random()
    if chance < 0.5:
        second = swapped(second)
    elif chance < 0.65:
        second = second._replace(theme=first.agent, agent=somebody(r))
    score = shared(first, second)
    return (tell(first, some_style(r)), tell(second, some_style(r))), score


def shared(first: Fact, second: Fact) -> float:
    """Return how much two facts with places share, 0 to 5 in halves."""
    score = 0.0
    for role in ("agent", "theme"):
        one, two = getattr(first, role), getattr(second, role)
        score += (one.head == two.head) * (1.0 if one == two else 0.5)
    same = first.action == second.action
    return score + same + (first.place == second.place) + (same and first.denied == second.denied)


def qnli(r, label):
    """Draw a question and a statement that answers it, or does not."""
    fact = some_fact(r, placed=1)._replace(denied=False)
    asked = r.choice(("agent", partner(fact), "place"))
    question = ask(fact if asked == "place" else fact._replace(place=None), asked, some_style(r))
    style = some_style(r)
    if label == "entailment":
        return question, tell(fact, style)
    chance = r.random()
    if chance < 0.5:
        return question, tell(changed(r, fact, but=asked), style)
    other = fact._replace(denied=True) if chance < 0.55 else swapped(fact)
    return question, tell(other, style)
