"""Random phrases and clauses of the embedded treebank.

Fourth step of the embedded data: :mod:`.clauses` and :mod:`.fragments` -> sampler ->
:mod:`lib.twins`. Every function takes the caller's ``random.Random`` first and decides one
thing: what a noun phrase looks like, which verb a clause has, what follows it.

Attachment is settled by design, so that the gold labels are the only reading the grammar has: a
place after an object belongs to the verb, a noun's own modifier says *about*, *of*, *like*, *to*,
and a heavy object ends its clause. ``depth`` counts how deep a phrase is embedded; from 2 on,
nothing recursive is drawn.
"""

from lib.twins import clauses as cl
from lib.twins import fragments as fr
from lib.twins import lexicon
from lib.twins import phrases as ph
from lib.twins.clauses import Clause, Tense
from lib.twins.phrases import NP, leaf

#: The subject of a clause whose subject is asked for.
WHO = ph.fixed((), "third")


_TOPICAL = frozenset("book story report letter question talk song play dream picture".split())
_TOWARDS = frozenset("answer visit walk call offer".split())


def noun_phrase(r, kind, depth=0, *, subject=False) -> NP:
    """Draw a noun phrase that denotes something of a kind (a key of ``lexicon.NOUNS``)."""
    shape = r.choice(fr.SHAPES[kind])
    if shape == "pronoun":
        return ph.pronoun(fr.some_pronoun(r, kind, subject))
    if shape == "name":
        return fr.some_name(r, kind)
    if shape == "pair":
        return ph.coordinated(fr.plain(r, kind), fr.plain(r, kind))
    head = r.choice(lexicon.NOUNS[kind])
    draw = fr.owned if shape == "owned" else fr.determined
    phrase = draw(r, kind, head, r.random() < 0.45, subject)
    if depth < 2 and r.random() < (0.3 if subject else 0.25):
        if r.random() < 0.55:
            return ph.modified(phrase, _relative(r, phrase, kind, depth))
        word, other = _attribute(r, kind, head, subject)
        return ph.modified(phrase, ph.place(word, other, ph.NOUN_MODIFIER))
    return phrase


def _attribute(r, kind, head, subject):
    """Choose a preposition that can only belong to the noun, and what follows it."""
    if head.singular in _TOWARDS:
        return "to", fr.plain(r, "place" if head.singular in ("visit", "walk") else "person")
    if head.singular in _TOPICAL:
        return "about", fr.plain(r, r.choice(("person", "animal", "event")))
    if subject and kind != "event":
        return fr.place_words(r, lexicon.WHERE)
    return ("like", fr.plain(r, kind)) if kind != "thing" else ("of", fr.plain(r, "person"))


def _relative(r, phrase, kind, depth):
    person = kind == "person"
    if kind in ("person", "animal") and r.random() < 0.5:
        clause = draw_clause(r, depth + 2, subject=phrase)
        word = r.choice(("who", "that") if person else ("which", "that"))
        return cl.relative(clause, word, role="subject")
    words = ("whom", "that", "that", "") if person else ("which", "that", "that", "")
    return cl.relative(gapped(r, depth + 2, kind), r.choice(words), role="object")


# --- Clauses ---------------------------------------------------------------------------------

_TENSES = fr.weighted(
    *((11, Tense("past")), (10, Tense("present")), (4, Tense("present", perfect=True))),
    *((1, Tense(modal)) for modal in lexicon.MODALS),
    *((2, Tense("past", perfect=True)), (2, Tense("present", progressive=True))),
    (1, Tense("past", progressive=True)),
)
_STATIVE = frozenset(
    """know believe like love need have hear think trust fear remember forget want say hope
    promise be""".split()
)
_NO_PASSIVE = frozenset("have like need".split())
_ADVERBS = tuple(lexicon.FREQUENCY)


def draw_clause(r, depth=0, *, subject=None, frame=None) -> Clause:
    """Draw a clause; its subject and the frame of its verb may be given."""
    if subject is None and frame is None and r.random() < 0.14:
        return finish(r, _inanimate(r, depth))
    if subject is None:
        subject = noun_phrase(r, r.choice(_AGENTS), depth, subject=True)
    frame = frame or r.choice(_FRAMES if depth < 2 else FLAT_FRAMES)
    return finish(r, frame(r, depth, subject))


_AGENTS = fr.weighted((5, "person"), (1, "animal"))


def finish(r, clause: Clause) -> Clause:
    """Choose tense, negation and adverb for a clause."""
    tense = r.choice(_TENSES)
    if clause.verb.base in _STATIVE or clause.passive:
        tense = tense._replace(progressive=False)
    clause, chance = clause._replace(tense=tense), r.random()
    if chance < 0.12:
        return clause._replace(negation=_negation(r, clause))
    if chance < 0.26 and clause.verb is not cl.BE:
        return clause._replace(adverb=r.choice(_ADVERBS))
    return clause._replace(short=chance > 0.4)


def _negation(r, clause):
    first = cl.group(clause._replace(negation="not"))[0].word
    return "not" if first in ("am", "may") else r.choice(("not", "n't"))


def gapped(r, depth, kind=None) -> Clause:
    """Draw a clause with a gap, for something of the kind if one is given."""
    while True:
        clause = draw_clause(r, depth, frame=r.choice(_GAP_FRAMES))
        if clause.gap is not None and kind in (None, *_ASKED[clause.asks]):
            return clause


_ASKED = {"who": ("person",), "what": ("thing", "event", "animal", "place")}


def _asks(kind):
    return "who" if kind == "person" else "what"


def _intransitive(r, depth, subject):
    verb = r.choice(lexicon.INTRANSITIVE)
    path = ()
    if verb in lexicon.MOTION and r.random() < 0.5:
        word, where = fr.place_words(r, lexicon.PATH)
        path = (ph.place(word, where),)
    return Clause(subject, verb, adjuncts=path or fr.adjuncts(r, 0.6))


def _transitive(r, depth, subject):
    if r.random() < 0.15:
        return _passive(r, subject, "person")
    kind = r.choice(_PATIENTS)
    verb = r.choice(lexicon.TRANSITIVE[kind])
    patient = noun_phrase(r, kind, depth + 1).object
    clause = Clause(subject, verb, ("NP",), (patient,), gap=0, asks=_asks(kind))
    return clause if len(patient) > 4 else clause._replace(adjuncts=fr.adjuncts(r, 0.35))


_PATIENTS = fr.weighted((3, "person"), (1, "animal"), (2, "thing"), (4, "event"), (1, "place"))


def _passive(r, subject, kind):
    """Draw a passive clause whose subject is of the kind."""
    verb = r.choice([v for v in lexicon.TRANSITIVE[kind] if v.base not in _NO_PASSIVE])
    by = fr.plain(r, "person") if r.random() < 0.5 else None
    return cl.passive(Clause(by, verb, ("NP",), ((),)), by, subject)


def _inanimate(r, depth):
    """Draw a clause about a thing, an event or a place."""
    kind = r.choice(("thing", "event", "event", "place"))
    subject = noun_phrase(r, kind, depth, subject=True)
    if r.random() < 0.6:
        return _passive(r, subject, kind)
    return _adjectival(r, depth, subject, kind)


def _dative(r, depth, subject):
    kind = r.choice(("thing", "event"))
    verb = r.choice(lexicon.DATIVE[kind])
    gift, receiver = noun_phrase(r, kind, 2).object, noun_phrase(r, "person", 2).object
    if r.random() < 0.15:
        return cl.passive(Clause(subject, verb, ("NP", "NP"), ((), gift)), None, subject)
    if gift[0].pos == "PRP" or r.random() < 0.5:
        pieces = (gift, ph.preposition("to", "PP/NP"), receiver)
        return Clause(subject, verb, ("NP", "PP"), pieces, gap=2, asks="who")
    return Clause(subject, verb, ("NP", "NP"), (receiver, gift), gap=1)


def _prepositional(r, depth, subject):
    verb, word, kinds = r.choice(lexicon.PREPOSITIONAL)
    kind = r.choice(kinds)
    pieces = (ph.preposition(word, "PP/NP"), noun_phrase(r, kind, depth + 1).object)
    return Clause(subject, verb, ("PP",), pieces, gap=1, asks=_asks(kind))


def _particle(r, depth, subject):
    verb, word, kind = r.choice(lexicon.PARTICLE)
    target = noun_phrase(r, kind, 2).object
    particle = leaf(word, "RP", "B-PRT", "PR", "REL")
    if target[0].pos == "PRP" or r.random() < 0.3:
        return Clause(subject, verb, ("NP", "PR"), (target, particle))
    return Clause(subject, verb, ("PR", "NP"), (particle, target), gap=1, asks=_asks(kind))


def _sentential(r, depth, subject):
    verb = r.choice(lexicon.SENTENTIAL)
    inner = cl.statement(draw_clause(r, depth + 2))
    if r.random() < 0.3:
        return Clause(subject, verb, ("S[dcl]",), (inner,))
    that = leaf("that", "IN", "B-SBAR", "S[em]/S[dcl]", "SUB")
    return Clause(subject, verb, ("S[em]",), (that + inner,))


def _questioning(r, depth, subject):
    verb = r.choice(lexicon.QUESTIONING)
    return Clause(subject, verb, ("S[qem]",), (_embedded_question(r, depth + 2),))


def _embedded_question(r, depth):
    shape = r.choice(("whether", "if", "where", "when", "object", "object", "subject"))
    if shape == "object":
        clause = gapped(r, depth)
        word = leaf(clause.asks, "WP", "B-NP", "S[qem]/(S[dcl]/NP)", "QUE")
        return word + cl.statement(clause, gap=True)
    if shape == "subject":
        word = leaf("who", "WP", "B-NP", "S[qem]/(S[dcl]\\NP)", "QUE")
        return word + cl.predicate(draw_clause(r, depth, subject=WHO))
    adverb = shape in ("where", "when")
    labels = ("WRB", "B-ADVP") if adverb else ("IN", "B-SBAR")
    word = leaf(shape, *labels, "S[qem]/S[dcl]", "QUE" if adverb else "DIS")
    return word + cl.statement(draw_clause(r, depth))


def _infinitive(r, depth, subject):
    verb = r.choice(lexicon.INFINITIVE)
    first, *others = _to_clause(r, depth + 2)
    return Clause(subject, verb, ("S[to]\\NP",), ((first._replace(chunk="I-VP"), *others),))


def _control(r, depth, subject):
    verb = r.choice(lexicon.CONTROL)
    pieces = (noun_phrase(r, "person", 2).object, _to_clause(r, depth + 2))
    return Clause(subject, verb, ("NP", "S[to]\\NP"), pieces)


def _to_clause(r, depth):
    inner = r.choice(FLAT_FRAMES)(r, depth, WHO)
    return cl.predicate(inner, start="to")


def _adjectival(r, depth, subject, kind="person"):
    word = r.choice(lexicon.DESCRIBES[kind])
    words = leaf(word, "JJ", "", "S[adj]\\NP", lexicon.ADJECTIVES[word])
    if r.random() < 0.25:
        words = leaf("very", "RB", "", "(S[adj]\\NP)/(S[adj]\\NP)", "INT") + words
    return Clause(subject, cl.BE, ("S[adj]\\NP",), (ph.chunked("ADJP", words),))


def _nominal(r, depth, subject):
    head, plural = r.choice(lexicon.NOUNS["person"]), subject.agreement == "plural"
    phrase = ph.common("" if plural else "a", fr.modifiers(r, "person", head), head, plural)
    return Clause(subject, cl.BE, ("NP",), (phrase.object,))


_FRAMES = fr.weighted(
    *((6, _intransitive), (10, _transitive), (4, _dative), (4, _prepositional), (3, _particle)),
    *((4, _sentential), (3, _questioning), (4, _infinitive), (4, _control), (2, _adjectival)),
    (1, _nominal),
)
#: Frames without a clause inside.
FLAT_FRAMES = fr.weighted(
    *((4, _intransitive), (6, _transitive), (1, _dative), (2, _prepositional), (2, _particle))
)
_GAP_FRAMES = fr.weighted((5, _transitive), (2, _dative), (2, _prepositional), (1, _particle))
