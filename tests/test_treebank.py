"""The embedded treebank: its labels are well formed, consistent, and need context."""

import random
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from lib import baselines, treebank
from lib.errors import BadInput
from lib.treebank import clauses, facts, judgements, lexicon, pairs

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


def test_ambiguous_words_take_all_their_labels():
    seen = defaultdict(set)
    for word, pos, *_ in leaves():
        seen[word.lower()].add(pos)
    for word, tags in {
        **{
            "that": "DT IN WDT",
            "her": "PRP PRP$",
            "'s": "POS VBZ",
            "in": "IN RP",
            "there": "EX RB",
        },
        **{"will": "MD NNP", "like": "IN VB", "answer": "NN VB", "called": "VBD VBN"},
        **{"early": "JJ RB", "watches": "NNS VBZ", "all": "DT PDT"},
    }.items():
        assert set(tags.split()) <= seen[word], word


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


# Measured on 4,000 + 1,000 sentences and 1,600 + 800 examples; a change beyond the band means
# that the task has become another one. With 800 test items two standard errors are 0.035.
WORD_MAJORITY = {"pos": 0.92, "chunk": 0.84, "ccg": 0.80, "sem": 0.90}
BAG_OF_WORDS = {
    **{"cola": 0.53, "sst2": 0.63, "mrpc": 0.67, "qqp": 0.63, "qnli": 0.63},
    **{"mnli": 0.55, "rte": 0.60, "wnli": 0.51, "stsb": 0.77},
}


@pytest.mark.parametrize(("name", "measured"), WORD_MAJORITY.items())
def test_tags_need_context(name, measured):
    train = treebank.tagged(name, 4000, seed=1)
    test = treebank.tagged(name, 1000, seed=2)
    assert baselines.word_majority(train, test) == pytest.approx(measured, abs=0.012)


@pytest.mark.parametrize("name", treebank.EXAMPLES)
def test_sentence_tasks_need_more_than_words(name):
    items = treebank.examples(name, 2400, seed=4)
    measured = baselines.bag_of_words(items[:1600], items[1600:])
    assert measured == pytest.approx(BAG_OF_WORDS[name], abs=0.06)


@pytest.mark.parametrize("name", treebank.EXAMPLES)
def test_examples_are_distinct_balanced_and_reproducible(name):
    items = treebank.examples(name, 600, seed=3)
    assert items == treebank.examples(name, 600, seed=3)
    assert items != treebank.examples(name, 600, seed=8)
    assert len({given for given, _ in items}) == 600
    counts = Counter(label for _, label in items)
    if name == "stsb":
        assert set(counts) <= {half / 2 for half in range(11)} and {0.0, 5.0} <= set(counts)
        return
    labels = treebank.EXAMPLES[name][1]
    assert set(counts) == set(labels)
    assert min(counts.values()) > 0.8 * 600 / len(labels)


@pytest.mark.parametrize("name", treebank.EXAMPLES)
def test_examples_are_written_as_people_write(name):
    for given, _ in treebank.examples(name, 300, seed=5):
        sentences = (given,) if name in ("cola", "sst2") else given
        assert len(set(sentences)) == len(sentences)
        for sentence in sentences:
            assert re.fullmatch(r"[A-Z][A-Za-z', ]*[.?]", sentence), sentence
            assert " ," not in sentence and "  " not in sentence and " '" not in sentence


def test_a_fault_leaves_the_words_alone_or_nearly():
    r = random.Random(0)
    for _ in range(300):
        leaves = treebank.draw(r)
        words = [leaf.word for leaf in leaves]
        for fault in judgements.FAULTS:
            faulty = fault(r, words, leaves)
            assert not faulty or (faulty != words and abs(len(faulty) - len(words)) <= 5)


GAVE = facts.Fact(
    *(facts.Thing("Tom"), lexicon.verb("give"), facts.Thing(lexicon.noun("book"))),
    receiver=facts.Thing("Mary"),
)


@pytest.mark.parametrize(
    ("style", "told", "asked"),
    [
        ({}, "Tom gave the book to Mary.", "Who did Tom give the book to?"),
        ({"shifted": True}, "Tom gave Mary the book.", "Who did Tom give the book?"),
        ({"passive": True}, "The book was given to Mary by Tom.", None),
        (
            {"passive": True, "shifted": True},
            "Mary was given the book by Tom.",
            "Who was given the book by Tom?",
        ),
    ],
)
def test_one_fact_is_told_and_asked_in_many_ways(style, told, asked):
    style = facts.Style(**style)
    assert facts.tell(GAVE, style) == told
    assert asked is None or facts.ask(GAVE, "receiver", style) == asked


def test_the_similarity_of_a_fact_with_itself_is_five():
    fact = pairs.some_fact(random.Random(0), giving=0, placed=1)
    assert pairs.shared(fact, fact) == 5
    assert pairs.shared(fact, pairs.swapped(fact)) == 3


def test_baselines_on_words_that_tell_everything_or_nothing():
    clear = [(["a", "b"], ["X", "Y"])] * 3
    assert baselines.word_majority(clear, clear) == 1
    assert baselines.word_majority(clear, [(["A", "c"], ["X", "Z"])]) == 0.5
    told = [("good film.", "positive"), ("bad film.", "negative")] * 10
    assert baselines.bag_of_words(told, told) == 1
    silent = [("a film.", "positive"), ("a film.", "negative")] * 10
    assert baselines.bag_of_words(silent, silent) == 0.5


def test_an_unknown_layer_is_refused():
    with pytest.raises(BadInput, match="valid: pos, chunk, ccg, sem"):
        treebank.tagged("lemma", 1, seed=0)
    with pytest.raises(BadInput, match="sentence task 'squad' is not known; valid: cola, sst2"):
        treebank.examples("squad", 1, seed=0)
