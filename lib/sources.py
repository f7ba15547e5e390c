"""Text that every Python carries: its help pages."""

import platform
import re
from collections import Counter
from pathlib import Path
from pydoc_data import topics as pydoc_topics

HELP = pydoc_topics.topics
WORD = re.compile(r"\w+(?:[-.'’]\w+)*|[^\w\s]")


def topics(told: Counter) -> tuple[list, list, list]:
    """Sentences of the help pages that every Python carries, page by page.

    The pages (``pydoc_data.topics``) mix prose with code, grammars, tables and signatures, so a
    rule keeps what reads as English: a sentence that starts a block or follows a full stop, ends
    with ``. ? ! :``, has four words or more, and of whose words (as split by one expression into
    words and punctuation) at least 0.6 are plain words. The rest is left out and counted, and so is
    a sentence met before: some pages repeat others.

    Returns
    -------
    train, dev, test : lists of (words, None)
        Whole pages in alphabetical order, each to the part that most lacks sentences.
    """
    seen: set[str] = set()
    parts, shares = ([], [], []), (0.8, 0.1, 0.1)
    for name in sorted(HELP):
        poorest = min(zip(parts, shares, strict=True), key=lambda p: len(p[0]) / p[1])[0]
        poorest.extend(_page(HELP[name], seen, told))
    return parts


def _page(text: str, seen: set[str], told: Counter) -> list[tuple[list[str], None]]:
    page = []
    for block in re.split(r"\n\s*\n", text.strip()):
        for sentence in _block_sentences(block):
            words = WORD.findall(sentence)
            reason = _not_prose(sentence, words) or ("repeated sentences" * (sentence in seen))
            if reason:
                told[reason] += 1
            else:
                seen.add(sentence)
                page.append((words, None))
    return page


def _block_sentences(block: str) -> list[str]:
    """Sentences of one block of lines, without list marks and the stars of emphasis."""
    text = re.sub(r"^(?:[*•-]|\d+\.|\[\d+\])\s+", "", " ".join(block.split()))
    text = re.sub(r"(?<!\w)\*{1,2}(\w[^*]*)\*{1,2}(?!\w)", r"\1", text)
    return re.split(r"(?<=[.!?])\s+(?=[\"“(]*[A-Z])", text)


def _not_prose(sentence: str, words: list[str]) -> str:
    """Why a piece of a help page is no sentence of English; empty if it is one."""
    plain = sum(w.isalpha() and (len(w) > 1 or w in "aAI") for w in words)
    whole = len(words) >= 4 and sentence[-1] in ".?!:"
    marked = "::=" in sentence or ">>>" in sentence
    return "" if whole and not marked and plain >= 0.6 * len(words) else "code, tables and headings"


def topics_source() -> str:
    """Say which Python the help pages belong to; they differ a little between versions."""
    return f"pydoc_data.topics of Python {platform.python_version()}"


def topics_file() -> Path:
    """The file that holds the help pages."""
    return Path(pydoc_topics.__file__)
