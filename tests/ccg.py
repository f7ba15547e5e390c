"""A small CKY recogniser for CCG: do the categories of a sentence combine to a sentence?

Forward and backward application, coordination of sentences, punctuation, and nouns as noun phrases:
what the treebank uses. A bare S stands for a sentence of any form.
"""

import re
from functools import cache


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


def form(wanted, given):
    """The form that a bare S of the wanted category takes from the given one; None: no match."""
    if len(wanted) != len(given):
        return None
    if len(wanted) == 2:
        bare = wanted == ("S", None) and given[0] == "S"
        return given[1] if bare else "" if wanted == given else None
    parts = [form(w, g) for w, g in zip(wanted[::2], given[::2], strict=True)]
    return None if None in parts or wanted[1] != given[1] else parts[0] or parts[1]


def filled(category, feature):
    """Give every bare S a form."""
    if len(category) == 2:
        return (category[0], feature) if category == ("S", None) else category
    return filled(category[0], feature), category[1], filled(category[2], feature)


def with_phrases(categories):
    """Add a noun phrase where there is a noun."""
    return categories | ({("NP", None)} if ("N", None) in categories else set())


@cache
def combine(x, y):
    """List what two neighbours can make."""
    if y[0] in (",", "."):
        return {x}
    if x == ("conj", None):
        return {("and", y)}
    if y[0] == "and":
        return {x} if x == y[1] == ("S", "dcl") else set()
    found = set()
    for function, slash, argument in ((x, "/", y), (y, "\\", x)):
        if len(function) == 3 and function[1] == slash:
            feature = form(function[2], argument)
            if feature is not None:
                found.add(filled(function[0], feature or None))
    return with_phrases(found)


def derives(categories):
    """Return whether the categories combine to a statement."""
    chart = {(i, i + 1): with_phrases({parse(text)}) for i, text in enumerate(categories)}
    n = len(categories)
    for width in range(2, n + 1):
        for i in range(n - width + 1):
            k = i + width
            pairs = ((x, y) for j in range(i + 1, k) for x in chart[i, j] for y in chart[j, k])
            chart[i, k] = set().union(*(combine(x, y) for x, y in pairs))
    return ("S", "dcl") in chart[0, n]
