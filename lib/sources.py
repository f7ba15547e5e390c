"""Text that is in no folder: the help pages of Python, and GLUE on the Hub.

Both are read through a :class:`lib.files.Reading`, as files are: digest of the content, counts of
what is left out by rule, :class:`~lib.errors.BadInput` for everything else.
"""

import platform
import re
from pydoc_data.topics import topics as HELP

from lib.errors import BadInput, one_of
from lib.files import Reading, labelled, zero_to_five

__all__ = ["hub", "hub_rows", "topics", "topics_source"]

HUB = "nyu-mll/glue"
WORD = re.compile(r"\w+(?:[-.'’]\w+)*|[^\w\s]")


def topics(reading: Reading) -> list[list[tuple[list[str], None]]]:
    """Sentences of the help pages that every Python carries, page by page.

    The pages (``pydoc_data.topics``) mix prose with code, grammars, tables and signatures, so a
    rule keeps what reads as English: a sentence that starts a block or follows a full stop, ends
    with ``. ? ! :``, has four words or more, and of whose words (as split by one expression into
    words and punctuation) at least 0.6 are plain words. The rest is left out and counted, and so is
    a sentence met before: some pages repeat others.

    Returns
    -------
    list of pages in alphabetical order, each a list of (words, None)
    """
    reading.note(sorted(HELP.items()))
    seen: set[str] = set()
    return [_page(HELP[name], seen, reading) for name in sorted(HELP)]


def _page(text: str, seen: set[str], reading: Reading) -> list[tuple[list[str], None]]:
    page = []
    for block in re.split(r"\n\s*\n", text.strip()):
        for sentence in _block_sentences(block):
            words = WORD.findall(sentence)
            reason = _not_prose(sentence, words) or ("repeated sentences" * (sentence in seen))
            if reason:
                reading.left_out[reason] += 1
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


def hub(name: str, reading: Reading, *, texts, names, parts, elsewhere: str) -> list[list[tuple]]:
    """Rows of one GLUE task from the Hub, or from its cache where ``HF_HUB_OFFLINE`` is set.

    Raises
    ------
    BadInput
        If the data cannot be had, whatever the reason; names ``elsewhere``, the other sources.
    """
    try:
        from datasets import load_dataset  # noqa: PLC0415  (only where it is used)

        data = load_dataset(HUB, name)
    except Exception as error:  # the ways to fail are many: network, cache, proxy, no `datasets`
        raise BadInput(
            f"{HUB} ({name}) cannot be had from the Hub ({type(error).__name__}); "
            f"use {elsewhere} instead"
        ) from error
    return hub_rows(data, reading, texts=texts, names=names, parts=parts)


def hub_rows(data, reading: Reading, *, texts, names, parts) -> list[list[tuple]]:
    """Map the rows of a loaded ``datasets.DatasetDict`` to items; no network involved.

    Parameters
    ----------
    data
        Splits by name, each with columns ``texts`` and ``label``.
    reading
    texts
        Names of the one or two columns of text.
    names
        Canonical labels in the order of the Hub's class numbers; empty for scores from 0 to 5.
    parts
        Names of the splits wanted, in order.

    Returns
    -------
    list of splits, each a list of (sentence or (sentence, sentence), label)
    """
    return [_hub_part(data, part, reading, texts, names) for part in parts]


def _hub_part(data, part, reading, texts, names) -> list[tuple]:
    one_of(f"{HUB} split", part, data)
    for name in (*texts, "label"):
        one_of(f"{HUB} {part}: column", name, data[part].column_names)
    declared = getattr(data[part].features["label"], "names", None)
    if names and declared and tuple(declared) != tuple(names):
        raise BadInput(f"{HUB} {part}: classes are {declared}; expected {list(names)}")
    rows = zip(*(data[part][name] for name in (*texts, "label")), strict=True)
    items = []
    for number, (*words, raw) in enumerate(rows):
        label = _hub_label(f"{HUB} {part} row {number}", raw, names)
        items.append(labelled(words, label, reading))
    kept = [item for item in items if item]
    reading.note(kept)
    return kept


def _hub_label(place: str, raw, names):
    """Canonical label of a class number; None for -1, which marks a row without label."""
    if raw == -1:
        return None
    if not names:
        return zero_to_five(place, raw)
    if raw not in range(len(names)):
        raise BadInput(f"{place}: class {raw!r} is not one of 0 to {len(names) - 1}")
    return names[raw]
