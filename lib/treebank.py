"""A small annotated English from a table of rules, so that words can be tagged without any data.

A rule says what a phrase is made of; a word class says how its words are labelled. Words such as
*watch* or *that* stand in several classes, so a label has to be read off the place of a word: the
commonest label of each word is right for 88 % of parts of speech, 86 % of chunks, 85 % of CCG
categories and 89 % of semantic tags. The categories of every sentence combine to a sentence.
"""

import random
from functools import cache

from lib.errors import one_of

LAYERS = ("pos", "chunk", "ccg", "sem")
LONGEST = 26  # words and punctuation marks of a sentence

_BOTH = """answer call dance dream guard hope judge laugh offer plan play promise report talk visit
    walk watch"""  # nouns and verbs
_BOTH_S = " ".join(f"{word}s" for word in _BOTH.split()).replace("watchs", "watches")
_DONE = "answered called guarded judged offered planned promised reported visited watched"
_DOING = "answering calling guarding judging offering planning reporting visiting watching"

CLASSES = {  # name: part of speech, CCG category and semantic tag; words
    "the": (r"DT NP[nb]/N DEF", "the"),
    "a": (r"DT NP[nb]/N DIS", "a some"),
    "this": (r"DT NP[nb]/N PRX", "this that"),
    "these": (r"DT NP[nb]/N PRX", "these those"),
    "my": (r"PRP$ NP[nb]/N HAS", "my his her our their"),
    "two": (r"CD N/N QUC", "two three four ten"),
    "very": (r"RB (N/N)/(N/N) INT", "very"),
    "old": (r"JJ N/N IST", "old young big small early late fast hard quiet kind clean open"),
    "quiet": (r"JJ S[adj]\NP IST", "old young early late fast hard quiet kind clean open"),
    "boy": (r"NN N CON", f"{_BOTH} boy doctor teacher dog cat horse friend letter picture story"),
    "boys": (r"NNS N CON", f"{_BOTH_S} boys doctors dogs friends letters"),
    "park": (r"NN N CON", "park house garden school kitchen market station village farm bank"),
    "Tom": (r"NNP NP PER", "Tom Mary Anna Will Mark Rose Grace Peter"),
    "he": (r"PRP NP PRO", "he she it"),
    "they": (r"PRP NP PRO", "I we they you"),
    "him": (r"PRP NP PRO", "him her it us them"),
    "calls": (r"VBZ (S[dcl]\NP)/NP ENS", f"{_BOTH_S} likes sees"),
    "call": (r"VBP (S[dcl]\NP)/NP ENS", f"{_BOTH} like see"),
    "called": (r"VBD (S[dcl]\NP)/NP EPS", f"{_DONE} liked saw found"),
    "sleeps": (r"VBZ S[dcl]\NP ENS", "sleeps walks talks laughs dances dreams plays"),
    "sleep": (r"VBP S[dcl]\NP ENS", "sleep walk talk laugh dance dream play"),
    "slept": (r"VBD S[dcl]\NP EPS", "slept walked talked laughed danced dreamed played"),
    "plans": (r"VBZ (S[dcl]\NP)/(S[to]\NP) ENS", "plans hopes offers promises wants"),
    "plan": (r"VBP (S[dcl]\NP)/(S[to]\NP) ENS", "plan hope offer promise want"),
    "to": (r"TO (S[to]\NP)/(S[b]\NP) NIL", "to"),
    "will": (r"MD (S[dcl]\NP)/(S[b]\NP) FUT", "will can must"),
    "do": (r"VB (S[b]\NP)/NP EXS", f"{_BOTH} like see find"),
    "is": (r"VBZ (S[dcl]\NP)/(S[ng]\NP) NOW", "is"),
    "are": (r"VBP (S[dcl]\NP)/(S[ng]\NP) NOW", "are"),
    "doing": (r"VBG (S[ng]\NP)/NP EXG", _DOING),
    "seems": (r"VBZ (S[dcl]\NP)/(S[adj]\NP) NOW", "is seems looks"),
    "seem": (r"VBP (S[dcl]\NP)/(S[adj]\NP) NOW", "are seem look"),
    "was": (r"VBD (S[dcl]\NP)/(S[pss]\NP) PST", "was"),
    "were": (r"VBD (S[dcl]\NP)/(S[pss]\NP) PST", "were"),
    "done": (r"VBN S[pss]\NP EXS", f"{_DONE} liked seen found"),
    "says": (r"VBD (S[dcl]\NP)/S[em] EPS", "said knew hoped dreamed promised reported"),
    "whether": (r"IN S[em]/S[dcl] SUB", "that"),
    "who": (r"WP (NP\NP)/(S[dcl]\NP) AND", "who"),
    "which": (r"WDT (NP\NP)/(S[dcl]\NP) AND", "that"),
    "in": (r"IN ((S\NP)\(S\NP))/NP REL", "in near behind like"),
    "of": (r"IN (NP\NP)/NP REL", "of near like"),
    "fast": (r"RB (S\NP)\(S\NP) IST", "early late fast hard well slowly quietly there"),
    "'s": (r"POS (NP[nb]/N)\NP HAS", "'s"),
    ",": (", , NIL", ","),
    "and": ("CC conj COO", "and but"),
    ".": (". . NIL", "."),
}
PHRASES = {  # name: "weight part part ..." for each way to write it; _s and _p agree in number
    "S": """6 C_s . | 5 C_p . | 2 C_s , and C_p . | 2 NP_s VP:says SBAR:whether C_p . |
        2 NP_p VP:says SBAR:whether C_s .""",
    "C_s": "5 NP_s V_s | 1 NP_s V_s ADVP:fast",
    "C_p": "5 NP_p V_p | 1 NP_p V_p ADVP:fast",
    "V_s": """4 VP:calls NP_o | 5 VP:called NP_o | 2 VP:sleeps | 2 VP:slept PP | 3 VP:will+do NP_o |
        2 VP:was+done | 2 VP:plans+to+do NP_o | 1 VP:is+doing NP_o | 1 VP:seems ADJP:quiet |
        2 VP:calls NP_o PP""",
    "V_p": """4 VP:call NP_o | 5 VP:called NP_o | 2 VP:sleep | 2 VP:slept PP | 3 VP:will+do NP_o |
        2 VP:were+done | 2 VP:plan+to+do NP_o | 1 VP:are+doing NP_o | 1 VP:seem ADJP:quiet |
        2 VP:call NP_o PP""",
    "NP_s": """5 N_s | 2 NP:he | 2 NP:Tom | 1 N_s OF | 1 N_s NP:who V_s | 1 N_s NP:which V_s |
        2 NP:Tom NP:'s+boy""",
    "NP_p": """5 N_p | 3 NP:they | 1 N_p OF | 1 N_p NP:who V_p | 1 N_p NP:which V_p |
        1 NP:Tom NP:'s+boys""",
    "NP_o": "4 N_s | 3 N_p | 3 NP:him | 2 NP:Tom | 1 N_s OF",
    "N_s": """4 NP:the+boy | 3 NP:a+boy | 2 NP:my+boy | 2 NP:the+old+boy | 1 NP:this+boy |
        1 NP:a+very+old+boy""",
    "N_p": """4 NP:the+boys | 2 NP:boys | 2 NP:my+boys | 2 NP:these+old+boys | 1 NP:two+boys |
        1 NP:old+boys""",
    "OF": "1 PP:of N_p | 1 PP:of NP:the+park",
    "PP": "3 PP:in NP:the+park | 1 PP:in N_p",
}


def tagged(layer: str, n: int, *, seed: int) -> list[tuple[list[str], list[str]]]:
    """Write distinct sentences with one layer of labels.

    Parameters
    ----------
    layer
        ``pos``, ``chunk``, ``ccg`` or ``sem``.
    n
        How many sentences.
    seed
        The same seed gives the same sentences whatever the layer, and a longer list begins with
        the shorter one.

    Examples
    --------
    >>> [(words, labels)] = tagged("pos", 1, seed=0)
    >>> len(words) == len(labels), words[-1], labels[-1]
    (True, '.', '.')
    """
    one_of("tagging task", layer, LAYERS)
    r, found = random.Random(seed), {}
    while len(found) < n:
        words, *layers = zip(*_written(r, "S"), strict=True)
        if len(words) <= LONGEST:
            found.setdefault(_spelt(words), layers[LAYERS.index(layer)])
    return [(list(words), list(labels)) for words, labels in found.items()]


def _spelt(words: tuple[str, ...]) -> tuple[str, ...]:
    """Words with a capital at the beginning, and *an* before a vowel."""
    pairs = zip(words, (*words[1:], ""), strict=True)
    first, *others = ("an" if a == "a" and b[:1] in "aeiou" else a for a, b in pairs)
    return (first[0].upper() + first[1:], *others)


@cache
def _ways(name: str) -> list[list[str]]:
    """Ways to write a phrase, each as often as its weight says."""
    rows = [way.split() for way in PHRASES[name].split("|")]
    return [parts for weight, *parts in rows for _ in range(int(weight))]


def _written(r: random.Random, name: str, depth: int = 0) -> list[tuple[str, ...]]:
    """Words of a phrase, each with its four labels; deep phrases are written the first ways."""
    if name in PHRASES:
        ways = _ways(name)
        parts = r.choice(ways if depth < 6 else ways[: len(ways) // 2])
        return [leaf for part in parts for leaf in _written(r, part, depth + 1)]
    chunk, _, classes = name.partition(":")
    return [
        _leaf(r, word_class, f"{'I' if place else 'B'}-{chunk}" if classes else "O")
        for place, word_class in enumerate((classes or chunk).split("+"))
    ]


def _leaf(r: random.Random, word_class: str, chunk: str) -> tuple[str, ...]:
    labels, words = CLASSES[word_class]
    pos, ccg, sem = labels.split()
    return r.choice(words.split()), pos, chunk, ccg, sem
