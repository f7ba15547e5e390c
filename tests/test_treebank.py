"""The embedded treebank: its labels are well formed, agree, combine, and need context."""

import random
from collections import defaultdict

import pytest
from ccg import derives

from lib import metrics, treebank
from lib.errors import BadInput

LAYERS = {layer: treebank.tagged(layer, 2000, seed=11) for layer in treebank.LAYERS}
SAMPLE = [  # words, and the four layers of labels
    (words, *(LAYERS[layer][i][1] for layer in treebank.LAYERS))
    for i, (words, _) in enumerate(LAYERS["pos"])
]
PENN = set(
    """DT NN NNS NNP PRP PRP$ POS VB VBD VBG VBN VBP VBZ MD TO IN RB JJ CD CC WP WDT . ,""".split()
)
CHUNKS = {"NP", "VP", "PP", "ADVP", "ADJP", "SBAR"}
SEMANTIC = set(  # all are tags of the Parallel Meaning Bank 4
    """CON PER PRO HAS DEF DIS AND PRX QUC IST INT REL SUB NIL ENS EPS EXS EXG NOW PST FUT
    COO""".split()
)


def leaves():
    return (leaf for sentence in SAMPLE for leaf in zip(*sentence, strict=True))


def test_sentences_are_distinct_reproducible_and_the_same_in_every_layer():
    assert len({tuple(words) for words, *_ in SAMPLE}) == 2000
    for layer, items in LAYERS.items():
        assert [words for words, _ in items] == [words for words, *_ in SAMPLE]
        assert treebank.tagged(layer, 50, seed=11) == items[:50]
        assert treebank.tagged(layer, 50, seed=12) != items[:50]


def test_the_global_generator_is_left_alone():
    random.seed(5)
    before = random.getstate()
    treebank.tagged("pos", 20, seed=0)
    assert random.getstate() == before


def test_every_word_has_a_label_and_sentences_look_like_english():
    for words, *layers in SAMPLE:
        assert {len(labels) for labels in layers} == {len(words)}
        assert 3 <= len(words) <= treebank.LONGEST
        assert words[0][0].isupper() and words[-1] == "."
        for word, after in zip(words, words[1:], strict=False):
            if word.lower() in {"a", "an"}:
                assert (word.lower() == "an") == (after[0] in "aeiou"), words


def test_labels_come_from_the_known_inventories():
    assert {pos for _, pos, *_ in leaves()} == PENN
    assert {sem for *_, sem in leaves()} == SEMANTIC
    assert {c for _, _, c, *_ in leaves()} <= {"O"} | {f"{p}-{k}" for p in "BI" for k in CHUNKS}


def test_every_rule_and_every_class_is_used():
    written = {part for ways in treebank.PHRASES.values() for part in ways.split()}
    classes = {c for part in written for c in part.rpartition(":")[2].split("+")}
    assert set(treebank.CLASSES) <= classes
    assert set(treebank.PHRASES) - {"S"} <= written


def test_chunks_are_well_formed():
    for _, _, chunks, *_ in SAMPLE:
        for before, tag in zip(("O", *chunks), chunks, strict=False):
            assert not tag.startswith("I-") or before[2:] == tag[2:], chunks


def test_categories_combine_to_a_sentence():
    short = [(words, ccg) for words, _, _, ccg, _ in SAMPLE if len(words) <= 16][:600]
    broken = [words for words, ccg in short if not derives(tuple(ccg))]
    assert not broken, broken[0]


def test_categories_in_another_order_do_not_combine():
    r = random.Random(0)
    middle = [ccg[:-1] for words, _, _, ccg, _ in SAMPLE if 6 <= len(words) <= 12][:500]
    assert sum(derives(r.sample(ccg, len(ccg))) for ccg in middle) < 0.05 * len(middle)


def test_verbs_agree_with_their_pronouns():
    person = {"i": "VBP", "he": "VBZ", "she": "VBZ", "we": "VBP", "they": "VBP"}
    seen = set()
    for words, pos, *_ in SAMPLE:
        for word, after in zip(words, pos[1:], strict=False):
            if word.lower() in person and after in {"VBZ", "VBP"}:
                assert person[word.lower()] == after, words
                seen.add(word.lower())
    assert seen == set(person)


@pytest.mark.parametrize(
    ("word", "tags"),
    {
        **{"that": "DT IN WDT", "her": "PRP PRP$", "like": "IN VB VBP", "will": "MD NNP"},
        **{"answer": "NN VB VBP", "watches": "NNS VBZ", "called": "VBD VBN", "early": "JJ RB"},
    }.items(),
)
def test_ambiguous_words_take_all_their_labels(word, tags):
    assert set(tags.split()) <= {pos for found, pos, *_ in leaves() if found.lower() == word}


def test_a_word_can_have_more_than_one_label_in_every_layer():
    for layer in range(1, 5):
        seen = defaultdict(set)
        for leaf in leaves():
            seen[leaf[0].lower()].add(leaf[layer])
        assert sum(len(labels) > 1 for labels in seen.values()) > 0.25 * len(seen)


@pytest.mark.parametrize(
    ("layer", "stated"), [("pos", 0.88), ("chunk", 0.86), ("ccg", 0.85), ("sem", 0.89)]
)
def test_labels_need_context_as_the_module_says(layer, stated):
    train = treebank.tagged(layer, 4000, seed=1)
    test = treebank.tagged(layer, 1000, seed=2)
    assert metrics.word_majority(train, test) == pytest.approx(stated, abs=0.01)
    assert f"{stated:.0%}".replace("%", " %") in treebank.__doc__


def test_an_unknown_layer_is_refused():
    with pytest.raises(BadInput, match="valid: pos, chunk, ccg, sem"):
        treebank.tagged("lemma", 1, seed=0)
