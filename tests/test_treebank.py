"""The embedded treebank: its labels are well formed, consistent, and need context."""

import random
import sys
from pathlib import Path

import pytest

from lib import clauses, lexicon, treebank
from lib.errors import BadInput

sys.path.insert(0, str(Path(__file__).parent))
from ccg import derives  # noqa: E402

SAMPLE = treebank.sentences(2000, seed=11)

PENN = set(
    """DT PDT NN NNS NNP PRP PRP$ POS VB VBD VBG VBN VBP VBZ MD TO IN RP RB JJ CD CC EX WP WDT
    WRB . ,""".split()
)
CHUNKS = {"NP", "VP", "PP", "ADVP", "ADJP", "SBAR", "PRT"}
SEMANTIC = set(  # all are tags of the Parallel Meaning Bank 4
    """CON ROL PER GPE DOW PRO HAS DEF DIS AND NOT PRX DST QUC QUV QUE IST DEG COL INT ALT REL SUB
    NIL ENS EPS EXS EXG EXT NOW PST FUT PFT POS NEC GRP COO BUT""".split()
)


def leaves():
    return (
        leaf for s in SAMPLE for leaf in zip(s.words, s.pos, s.chunk, s.ccg, s.sem, strict=True)
    )


def test_sentences_are_distinct_and_reproducible():
    again = treebank.sentences(2000, seed=11)
    assert again == SAMPLE
    assert len({s.words for s in SAMPLE}) == 2000
    assert treebank.sentences(50, seed=11) == SAMPLE[:50]
    assert treebank.sentences(50, seed=12) != SAMPLE[:50]


def test_the_global_generator_is_left_alone():
    random.seed(5)
    before = random.getstate()
    treebank.sentences(20, seed=0)
    assert random.getstate() == before


def test_every_layer_has_a_label_for_every_word():
    for s in SAMPLE:
        assert {len(s.pos), len(s.chunk), len(s.ccg), len(s.sem)} == {len(s.words)}
        assert 3 <= len(s.words) <= treebank.LONGEST
        assert s.words[0][0].isupper() and s.words[-1] in (".", "?")


def test_labels_come_from_the_known_inventories():
    assert {pos for _, pos, *_ in leaves()} == PENN
    assert {sem for *_, sem in leaves()} == SEMANTIC
    assert {c for _, _, c, *_ in leaves()} - {"O"} <= {f"{p}-{k}" for p in "BI" for k in CHUNKS}


def test_chunks_are_well_formed():
    for s in SAMPLE:
        for before, tag in zip(("O", *s.chunk), s.chunk, strict=False):
            assert not tag.startswith("I-") or before[2:] == tag[2:], s


def test_categories_combine_to_a_sentence():
    short = [s for s in SAMPLE if len(s.words) <= 16][:600]
    broken = [s for s in short if not derives(s.ccg)]
    assert not broken, broken[0]


def test_categories_in_another_order_do_not_combine():
    r = random.Random(0)
    shuffled = [r.sample(s.ccg[:-1], len(s.ccg) - 1) for s in SAMPLE if 6 <= len(s.words) <= 12]
    assert sum(map(derives, shuffled)) < 0.05 * len(shuffled)


def test_verbs_agree_with_adjacent_pronouns():
    person = {"I": "VBP", "he": "VBZ", "she": "VBZ", "we": "VBP", "they": "VBP"}
    for s in SAMPLE:
        for word, after in zip(s.words, s.pos[1:], strict=False):
            subject = word if word == "I" else word.lower()
            if subject in person and after in ("VBZ", "VBP"):
                assert person[subject] == after, s


@pytest.mark.parametrize("tense", ["present", "past", "will"])
@pytest.mark.parametrize("agreement", ["first", "third", "plural"])
def test_only_the_first_verb_is_finite(tense, agreement):
    who = clauses.NP((), (), agreement)
    time = clauses.Tense(tense, perfect=True, progressive=True)
    group = clauses.group(clauses.Clause(who, lexicon.verb("walk"), tense=time, negation="not"))
    words = [leaf.word for leaf in group]
    assert words[-3:-1] in (["not", "been"], ["have", "been"])
    assert [leaf.pos for leaf in group][0] in ("MD", "VBZ", "VBP", "VBD")
    assert {leaf.pos for leaf in group[2:]} <= {"VB", "VBN", "VBG"}


@pytest.mark.parametrize(
    ("base", "forms"),
    [
        ("plan", "plan plans planned planned planning"),
        ("answer", "answer answers answered answered answering"),
        ("visit", "visit visits visited visited visiting"),
        ("carry", "carry carries carried carried carrying"),
        ("watch", "watch watches watched watched watching"),
        ("dance", "dance dances danced danced dancing"),
        ("begin", "begin begins began begun beginning"),
        ("have", "have has had had having"),
        ("see", "see sees saw seen seeing"),
    ],
)
def test_morphology(base, forms):
    assert list(lexicon.verb(base)) == forms.split()


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("pos", 0.85, 0.935), ("chunk", 0.75, 0.86), ("ccg", 0.70, 0.83), ("sem", 0.80, 0.92)],
)
def test_labels_need_context(name, low, high):
    train = treebank.tagged(name, 4000, seed=1)
    test = treebank.tagged(name, 1000, seed=2)
    assert low < treebank.word_majority(train, test) < high


def test_an_unknown_layer_is_refused():
    with pytest.raises(BadInput, match="valid: pos, chunk, ccg, sem"):
        treebank.tagged("lemma", 1, seed=0)
