"""Real sentences that people rated, from a source archive of the Python package index.

C. J. Hutto and E. Gilbert (ICWSM 2014) had sentences of movie reviews, newspaper editorials and
product reviews, and tweets, rated from -4 (extremely negative) to 4 (extremely positive) by 15 to
99 people each. The data travels, under the MIT licence, in the source archive of their package
vaderSentiment 3.3.2, not in its wheel. Set-up fetches it once into the Python environment::

    python -m lib.archive

Reading checks the whole archive by its SHA-256 and takes about a quarter of a second.
"""

import html
import io
import json
import re
import subprocess
import sys
import tarfile
from collections import Counter
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from lib import readers
from lib.errors import BadInput
from lib.metrics import pearson_spearman

NAME, VERSION = "vaderSentiment", "3.3.2"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
SOURCE = f"archive of {NAME} {VERSION}"
INNER = f"{NAME}-{VERSION}/additional_resources/hutto_ICWSM_2014.tar.gz"
KINDS = {
    "movie": "movieReviewSnippets",
    "editorial": "nytEditorialSnippets",
    "product": "amazonReviewSnippets",
    "tweet": "tweets",
}
CLEAR = 0.5  # a mean rating this far from 0 is called positive or negative
ONCE = "it is fetched once, with a connection to the package index, by: python -m lib.archive"


def place() -> Path:
    """Where the archive lies: in the environment of the Python that runs."""
    return Path(sys.prefix, "share", "redundancy-companion", f"{NAME}-{VERSION}.tar.gz")


def fetch() -> Path:
    """Have pip download the archive into the environment, if it is not there, and check it.

    pip compares the SHA-256 before it opens the archive.

    Raises
    ------
    BadInput
        If it cannot be had, with what pip says.
    """
    if place().is_file() and _sound(place().read_bytes()):
        return place()
    place().parent.mkdir(parents=True, exist_ok=True)
    wanted = place().with_suffix(".txt")
    wanted.write_text(f"{NAME}=={VERSION} --hash=sha256:{SHA256}\n")
    options = f"--no-deps --no-binary {NAME} --require-hashes --quiet --disable-pip-version-check"
    pip = [sys.executable, "-m", "pip", "download", *options.split()]
    place().unlink(missing_ok=True)
    done = subprocess.run(
        [*pip, "-r", wanted, "-d", place().parent], capture_output=True, text=True, check=False
    )
    wanted.unlink()
    if done.returncode or not place().is_file():
        said = re.search(r"(?m)^ERROR: (.*)$", done.stderr + "\nERROR: nothing")[1]
        raise BadInput(f"the {SOURCE} cannot be had (pip says: {said}); {ONCE}")
    return place()


def _sound(raw: bytes) -> bool:
    return sha256(raw).hexdigest() == SHA256


@cache
def _members(path: Path, changed: int) -> dict[str, bytes]:
    """Text files of the archive by name; ``changed`` is its time of change, for the cache."""
    raw = path.read_bytes()
    if not _sound(raw):
        raise BadInput(f"{path.name} is damaged or another version; delete it, then {ONCE}")
    with tarfile.open(fileobj=io.BytesIO(raw)) as outer:
        inner = outer.extractfile(INNER).read()
    with tarfile.open(fileobj=io.BytesIO(inner)) as files:
        texts = [member for member in files if member.name.endswith(".txt")]
        return {Path(m.name).name: files.extractfile(m).read() for m in texts}


def rated(kind: str, told: Counter) -> list[tuple[str, list[int]]]:
    """Sentences of one kind with all their ratings, in the order of the file.

    HTML entities and doubled single quotation marks (for ``"``) are resolved, line ends are made
    plain, a repeated sentence is left out; each is counted, and so are sentences whose stated mean
    is not the mean of their ratings (ratings are what is used).

    Parameters
    ----------
    kind
        A key of :data:`KINDS`.
    told
        Takes the counts.
    """
    if not place().is_file():
        raise BadInput(f"the {SOURCE} is not in this Python environment; {ONCE}")
    members = _members(place(), place().stat().st_mtime_ns)
    given, truth = (f"{KINDS[kind]}_{part}.txt" for part in ("anonDataRatings", "GroundTruth"))
    ratings = {row[0]: _ratings(where, row[3]) for where, row in _rows(members, given, 4)}
    told["line ends of Windows"] += members[truth].count(b"\r\n")
    found = {}
    for where, (number, stated, written) in _rows(members, truth, 3):
        if number not in ratings:
            raise BadInput(f"{where}: sentence {number!r} has no ratings")
        plain = html.unescape(written)
        sentence, far = plain.replace("''", '"'), readers.number(where, stated, -4, 4)
        told["sentences with HTML entities resolved"] += plain != written
        told["sentences with doubled quotation marks resolved"] += "''" in written
        told["repeated sentences"] += sentence in found
        told["stated means that are not those of the ratings"] += (
            abs(far - mean(ratings[number])) > 1e-3
        )
        found.setdefault(sentence, ratings[number])
    return list(found.items())


def mean(ratings: list[int]) -> float:
    """Mean of a sentence's ratings."""
    return sum(ratings) / len(ratings)


def _rows(members, name: str, width: int) -> list[tuple[str, list[str]]]:
    if name not in members:
        raise BadInput(f"{place().name} has no file {name}")
    rows = [(where, line.split("\t")) for where, line in readers.lines(name, members[name])]
    for where, row in rows:
        if len(row) != width or not readers.visible(row[-1]):
            raise BadInput(
                f"{where}: has {len(row)} columns; {width} are needed, the last with text"
            )
    return rows


def _ratings(where: str, text: str) -> list[int]:
    if not re.fullmatch(r"\[-?[0-4](, -?[0-4])*\]", text):
        raise BadInput(f"{where}: {text!r:.80} is no list of ratings from -4 to 4")
    return json.loads(text)


def sentences(kind: str, told: Counter) -> list[tuple[str, None]]:
    """Sentences of one kind, without labels."""
    return [(sentence, None) for sentence, _ in rated(kind, told)]


def polarity(told: Counter) -> list[tuple[str, str]]:
    """Movie sentences that most raters call negative or positive: mean of 0.5 or more from 0."""
    means = [(sentence, mean(ratings)) for sentence, ratings in rated("movie", told)]
    clear = [(sentence, value) for sentence, value in means if abs(value) >= CLEAR]
    told[f"sentences rated between -{CLEAR} and {CLEAR}"] += len(means) - len(clear)
    return [(s, "positive" if value > 0 else "negative") for s, value in clear]


def domain(told: Counter) -> list[tuple[str, str]]:
    """All sentences with the kind of text they come from."""
    return [(sentence, kind) for kind in KINDS for sentence, _ in rated(kind, told)]


def valence(told: Counter) -> list[tuple[str, float]]:
    """All sentences with the mean of their ratings, from -4 to 4."""
    return [(s, mean(ratings)) for kind in KINDS for s, ratings in rated(kind, told)]


def human_ceiling(sentences, *, draws: int = 20, seed: int = 0) -> dict[str, float]:
    """How well one rater agrees with the mean of the others, as ``valence`` is scored.

    Of each sentence one rating is drawn and compared with the mean of the rest; the average over
    ``draws``. Raters are anonymous, so one draw mixes raters.

    Parameters
    ----------
    sentences
        Of the task ``valence``, such as those of its test part.

    Returns
    -------
    dict
        ``corr``, ``pearson``, ``spearman``.
    """
    known = {s: np.array(r) for kind in KINDS for s, r in rated(kind, Counter())}
    random, scores = np.random.default_rng(seed), []
    for _ in range(draws):
        one = np.array([random.choice(known[s]) for s in sentences])
        size = np.array([len(known[s]) for s in sentences])
        rest = (np.array([known[s].sum() for s in sentences]) - one) / (size - 1)
        scores.append(pearson_spearman(one, rest))
    return {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}


if __name__ == "__main__":
    try:
        fetch()
    except BadInput as error:
        sys.exit(f"{error}")
