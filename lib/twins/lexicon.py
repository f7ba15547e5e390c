"""The words of the embedded treebank: a few hundred common ones, chosen for their double lives.

First step of the embedded data: lexicon -> :mod:`.phrases` -> :mod:`lib.twins` (tagging) and
:mod:`.pairs` (sentence tasks). A *guard* can *guard*, an *answer* can *answer*, *her* owns and
is owned, *that* points, introduces and relates: a label cannot be read off a word, only off its
place. Inflection is three rules of spelling and one table of exceptions.
"""

import re
from functools import cache
from typing import NamedTuple


class Noun(NamedTuple):
    """A noun: its two forms and its semantic tag."""

    singular: str
    plural: str
    sem: str


class Verb(NamedTuple):
    """A verb: base, third person, past, past participle, -ing form."""

    base: str
    third: str
    past: str
    participle: str
    ing: str


# base past participle (past again where one is missing)
_IRREGULAR = """
begin began begun; break broke broken; bring brought; build built; buy bought; catch caught;
cut cut; draw drew drawn; dream dreamed; drink drank drunk; eat ate eaten; fall fell fallen;
feed fed; find found; forget forgot forgotten; give gave given; hear heard; hide hid hidden;
hit hit; hold held; keep kept; know knew known; leave left; lend lent; lose lost; make made;
meet met; read read; ride rode ridden; run ran run; say said; see saw seen; sell sold; send sent;
shut shut; sing sang sung; sit sat; sleep slept; swim swam swum; take took taken; teach taught;
tell told; think thought; throw threw thrown; wake woke woken; win won; write wrote written;
have had; do did done; show showed shown; go went gone; come came come; put put;
understand understood
"""
_PAST = {row.split()[0]: row.split()[1:] for row in _IRREGULAR.split(";")}
_PLURAL = {"man": "men", "woman": "women", "child": "children"}
# One short vowel before one last consonant: the consonant doubles (plan, planned; not visit, play).
_DOUBLES = re.compile(r"^(?:qu|[^aeiou])*[aeiou][^aeiouwxy]$|^(?:begin|forget)$")


def add_s(word: str) -> str:
    """Spell a plural or a third person.

    >>> [add_s(word) for word in ("walk", "watch", "story", "play")]
    ['walks', 'watches', 'stories', 'plays']
    """
    if re.search(r"(s|x|z|ch|sh|go|do)$", word):
        return word + "es"
    return re.sub(r"(?<=[^aeiou])y$", "ie", word) + "s"


def add_ed(word: str) -> str:
    """Spell a regular past.

    >>> [add_ed(word) for word in ("walk", "smile", "study", "plan", "visit")]
    ['walked', 'smiled', 'studied', 'planned', 'visited']
    """
    if word.endswith("e"):
        return word + "d"
    return re.sub(r"(?<=[^aeiou])y$", "i", _doubled(word)) + "ed"


def add_ing(word: str) -> str:
    """Spell a present participle.

    >>> [add_ing(word) for word in ("walk", "smile", "see", "run")]
    ['walking', 'smiling', 'seeing', 'running']
    """
    return re.sub(r"(?<=[^e])e$", "", _doubled(word)) + "ing"


def _doubled(word):
    return word + word[-1] if _DOUBLES.match(word) else word


@cache
def verb(base: str) -> Verb:
    """Inflect a verb given by its base form.

    >>> verb("give").participle, verb("carry").third
    ('given', 'carries')
    """
    past, *rest = _PAST.get(base, [add_ed(base)])
    third = "has" if base == "have" else add_s(base)
    return Verb(base, third, past, *(rest or [past]), add_ing(base))


def _verbs(bases):
    return tuple(verb(base) for base in bases.split())


_NOUNS = {
    "person": """cook guard guide judge nurse host pilot doctor student farmer singer writer
        driver man woman boy girl child lawyer visitor artist baker guest""",
    "relative": "friend sister brother mother father teacher neighbor coach",
    "animal": "dog cat horse bird duck bear rabbit cow",
    "thing": """book letter picture watch plant present phone boat ship drink hammer light box
        chair table door window car ball hat map stamp paper report""",
    "event": """plan walk visit call answer question promise race dance talk dream test game song
        story play show offer run swim fall jump laugh smile rest hope fear start""",
    "place": "park house garden school kitchen market river station hill village farm bank",
}


def noun(word: str, sem: str = "CON") -> Noun:
    """Inflect a noun.

    >>> noun("child").plural
    'children'
    """
    return Noun(word, _PLURAL.get(word) or add_s(word), sem)


#: Nouns by what they denote.
NOUNS = {
    kind: tuple(noun(word, "ROL" if kind == "relative" else "CON") for word in words.split())
    for kind, words in _NOUNS.items()
}
NOUNS["person"] += NOUNS["relative"]
NAMES = "Tom Mary Anna John Rose Mark Will Bill Grace Peter Lucy Jack".split()
CITIES = "London Paris Rome Boston Berlin Tokyo".split()
DAYS = "Monday Tuesday Friday Saturday Sunday".split()
NUMBERS = "two three four five six ten".split()

#: Determiners: word -> (Penn tag, semantic tag), by the number of the noun they take.
DETERMINERS = {
    "singular": {
        **{"the": ("DT", "DEF"), "a": ("DT", "DIS"), "every": ("DT", "AND"), "no": ("DT", "NOT")},
        **{"this": ("DT", "PRX"), "that": ("DT", "DST"), "some": ("DT", "DIS")},
    },
    "plural": {
        **{"the": ("DT", "DEF"), "some": ("DT", "DIS"), "no": ("DT", "NOT"), "all": ("DT", "AND")},
        **{"these": ("DT", "PRX"), "those": ("DT", "DST")},
    },
    "owner": {w: ("PRP$", "HAS") for w in ("my", "your", "his", "her", "our", "their")},
}
#: Personal pronouns: subject form -> (object form, agreement).
PRONOUNS = {
    **{"I": ("me", "first"), "you": ("you", "plural"), "he": ("him", "third")},
    **{"she": ("her", "third"), "it": ("it", "third"), "we": ("us", "plural")},
    "they": ("them", "plural"),
}
#: Adjectives: word -> semantic tag (degree, colour, any other quality).
ADJECTIVES = {
    **dict.fromkeys("old young tall big small long cold warm late early fast hard".split(), "DEG"),
    **dict.fromkeys("red green blue black white".split(), "COL"),
    **dict.fromkeys("happy quiet open clean dry calm clever kind famous tired new".split(), "IST"),
}
#: What an adjective may describe, if not everything.
DESCRIBES = {
    "person": "old young tall happy quiet calm clever kind famous tired new".split(),
    "animal": "old young big small fast red black white happy quiet calm tired".split(),
    "thing": "old big small long cold warm red green blue black white open clean dry new".split(),
    "event": "long early late fast hard quiet new famous clever".split(),
    "place": "old big small cold warm quiet open clean dry calm new famous".split(),
}
MANNER = "slowly quickly quietly well badly happily fast hard early late".split()
#: Adverbs before the verb, with their semantic tags.
FREQUENCY = {
    **{"often": "QUV", "always": "AND", "never": "NOT", "really": "INT", "sometimes": "DIS"},
    **{"still": "ALT", "also": "ALT"},
}
MODALS = {"will": "FUT", "can": "POS", "may": "POS", "must": "NEC", "should": "NEC", "could": "POS"}

INTRANSITIVE = _verbs(
    "sleep walk dance smile laugh work rest run swim talk sing dream race fall wait play jump"
)
#: Transitive verbs by what their object denotes.
TRANSITIVE = {
    "person": _verbs(
        """help watch visit call question answer guide guard judge nurse coach host follow meet
        love like trust need phone teach hear find"""
    ),
    "animal": _verbs("watch feed see follow love like guard catch have find hear help"),
    "thing": _verbs(
        """paint box stamp ship light break find carry buy sell clean move hide open
        hit throw keep like need have dry book"""
    ),
    "event": _verbs(
        "plan report answer question test like love remember hear watch show start need record"
    ),
    "place": _verbs("visit like love leave find guard clean show"),
}
#: Verbs that take a receiver as an object or after "to", by what is given.
DATIVE = {
    "thing": _verbs("give send show offer sell lend hand mail ship promise"),
    "event": _verbs("give show offer promise teach send"),
}
SENTENTIAL = _verbs(
    "say know think believe hope fear dream report promise hear see remember forget answer claim"
)
QUESTIONING = _verbs("know wonder ask remember forget see hear")
INFINITIVE = _verbs("want try plan hope need promise like love start forget offer begin")
CONTROL = _verbs("ask tell teach help want need promise")
#: Verbs with a fixed preposition: (verb, preposition, kinds of its object).
PREPOSITIONAL = tuple(
    (verb(base), preposition, kinds)
    for base, preposition, *kinds in map(
        str.split,
        """look at person animal thing place; wait for person; listen to person event;
        laugh at person event animal; talk to person; talk about person event place thing;
        dream of place event thing; hope for event thing; work on event; ask for thing event;
        point at thing animal person; look for person animal thing""".split(";"),
    )
)
#: Verbs with a particle: (verb, particle, kind of object).
PARTICLE = tuple(
    (verb(base), particle, kind)
    for base, particle, kind in map(
        str.split,
        """give up event; pick up thing; put down thing; take off thing; throw away thing;
        bring back thing; call off event; look over thing; hand in thing; turn on thing;
        call up person; wake up person""".split(";"),
    )
)
#: Every verb of the tables above.
ALL_VERBS = tuple(
    dict.fromkeys(
        INTRANSITIVE
        + sum((*TRANSITIVE.values(), *DATIVE.values()), ())
        + (SENTENTIAL + QUESTIONING + INFINITIVE + CONTROL)
        + tuple(row[0] for row in PREPOSITIONAL + PARTICLE)
    )
)
#: Prepositions of place, by the place; near and behind fit any.
WHERE = {
    **dict.fromkeys("park house garden school kitchen market village".split(), ("in", "near")),
    **dict.fromkeys("river station bank farm".split(), ("near", "at")),
    "hill": ("on", "behind"),
}
#: Prepositions of a path, by the place.
PATH = {
    **dict.fromkeys("park house garden school kitchen".split(), ("into", "to")),
    **dict.fromkeys("market village river station bank farm".split(), ("to", "from")),
    "hill": ("up", "down", "over"),
}
#: Verbs of motion, which take a path.
MOTION = _verbs("walk run race jump swim")


def _synonyms(pairs):
    return dict(pair.split("/") for pair in pairs.split())


#: What may stand for a noun or an adjective, and for a verb, in the sentence tasks.
SYNONYMS = _synonyms(
    """doctor/physician car/automobile picture/image present/gift child/kid lawyer/attorney
    big/large small/little happy/glad clever/smart coach/trainer ship/vessel visitor/caller
    quiet/silent hat/cap"""
)
VERB_SYNONYMS = _synonyms(
    "help/assist phone/telephone guard/protect question/interrogate mail/post"
)
