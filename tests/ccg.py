"""A small CKY recogniser for CCG: do the categories of a sentence combine to a sentence?

Forward and backward application, composition, backward crossed composition, type raising of
subjects, coordination, punctuation, and the two unary rules of CCGbank that the treebank uses.
"""

import re
from functools import cache

ROOTS = ("S[dcl]", "S[q]", "S[wq]")


@cache
def parse(text):
    """Read a category: an atom (name, feature), or (result, slash, argument)."""
    depth = 0
    for at in range(len(text) - 1, -1, -1):  # the last slash outside brackets is the main one
        depth += {")": 1, "(": -1}.get(text[at], 0)
        if text[at] in "/\\" and depth == 0:
            return parse(text[:at]), text[at], parse(text[at + 1 :])
    if text[0] == "(":
        return parse(text[1:-1])
    name, feature = re.fullmatch(r"([^\[]+)(?:\[(\w+)\])?", text).groups()
    return name, (None if feature == "nb" else feature)


def atom(category):
    return len(category) == 2


def unify(a, b):
    """Match two categories; return what a bare S stands for in each, or None."""
    if atom(a) != atom(b):
        return None
    if atom(a):
        (name, f), (other, g) = a, b
        if name != other or (f != g and (name != "S" or None not in (f, g))):
            return None
        return (g if f is None else None), (f if g is None else None)
    if a[1] != b[1]:
        return None
    left, right = unify(a[0], b[0]), unify(a[2], b[2])
    if left is None or right is None:
        return None
    return left[0] or right[0], left[1] or right[1]


def fill(category, feature):
    """Give every bare S a feature."""
    if atom(category):
        return (category[0], feature) if category == ("S", None) else category
    return fill(category[0], feature), category[1], fill(category[2], feature)


NP, N, S = parse("NP"), parse("N"), parse("S")
RAISED = parse("S/(S\\NP)")
REDUCED = {parse("S[dcl]/NP"): parse("NP\\NP")}
CONJOINED = {parse(c) for c in ("NP", "N", "S[dcl]", "S[dcl]\\NP")}


@cache
def unary(category):
    if category == N:
        return {category, NP, RAISED}
    if category in (NP, ("NP", "thr")):
        return {category, RAISED}
    return {category, REDUCED[category]} if category in REDUCED else {category}


@cache
def combine(x, y):
    """List what two neighbours can make."""
    if x[0] in (",", ".") and atom(x):
        return {y}
    if y[0] in (",", ".") and atom(y):
        return {x}
    if x == ("conj", None):
        return {("and", y)} if y in CONJOINED else set()
    if y[0] == "and":
        return unary(x) if x == y[1] else set()
    if "and" in (x[0], y[0]):
        return set()
    found = set()
    if len(x) == 3 and x[1] == "/":  # forward application, composition
        if bound := unify(x[2], y):
            found.add(fill(x[0], bound[0]))
        if len(y) == 3 and y[1] == "/" and (bound := unify(x[2], y[0])):
            found.add((fill(x[0], bound[0]), "/", fill(y[2], bound[1])))
    if len(y) == 3 and y[1] == "\\":  # backward application, composition, plain and crossed
        if bound := unify(x, y[2]):
            found.add(fill(y[0], bound[1]))
        if len(x) == 3 and (bound := unify(x[0], y[2])):
            found.add((fill(y[0], bound[1]), x[1], fill(x[2], bound[0])))
    return {category for made in found for category in unary(made)}


def derives(categories):
    """Return whether the categories combine to a statement or a question."""
    chart = {(i, i + 1): unary(parse(text)) for i, text in enumerate(categories)}
    n = len(categories)
    for width in range(2, n + 1):
        for i in range(n - width + 1):
            k = i + width
            pairs = ((x, y) for j in range(i + 1, k) for x in chart[i, j] for y in chart[j, k])
            chart[i, k] = set().union(*(combine(x, y) for x, y in pairs))
    return any(parse(root) in chart[0, n] for root in ROOTS)
