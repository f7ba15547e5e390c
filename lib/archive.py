"""Real sentences that people rated, from a source archive of the Python package index.

C. J. Hutto and E. Gilbert (ICWSM 2014) had sentences of movie reviews, newspaper editorials and
product reviews, and tweets, rated from -4 (extremely negative) to 4 (extremely positive) by 15 to
99 people each. The data travels, under the MIT licence, in the source archive of their package
vaderSentiment 3.3.2, not in its wheel. Set-up fetches it once into the Python environment::

    python -m lib.archive

Reading checks the whole archive by its SHA-256 and takes about a quarter of a second.
"""

import csv
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
import pandas as pd

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
    pip += ["-r", wanted, "-d", place().parent]
    place().unlink(missing_ok=True)
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
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


def rated(kind: str, told: Counter) -> pd.DataFrame:
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

    Returns
    -------
    DataFrame
        Columns ``text``, ``ratings`` (lists of whole numbers), their ``mean``, and ``kind``.
    """
    if not place().is_file():
        raise BadInput(f"the {SOURCE} is not in this Python environment; {ONCE}")
    members = _members(place(), place().stat().st_mtime_ns)
    truth = members[f"{KINDS[kind]}_GroundTruth.txt"]
    given = _columns(members[f"{KINDS[kind]}_anonDataRatings.txt"], ["id", "ratings"], [0, 3])
    table = _columns(truth, ["id", "stated", "written"]).merge(given, on="id", how="left")
    plain, table["ratings"] = table["written"].map(html.unescape), table["ratings"].map(json.loads)
    table["mean"] = table["ratings"].map(np.mean)
    table["text"] = plain.str.replace("''", '"')
    again, apart = table["text"].duplicated(), table["stated"].astype(float) - table["mean"]
    counts = {
        "line ends of Windows": truth.count(b"\r\n"),
        "sentences with HTML entities resolved": (plain != table["written"]).sum(),
        "sentences with doubled quotation marks resolved": plain.str.contains("''").sum(),
        "repeated sentences": again.sum(),
        "stated means that are not those of the ratings": (apart.abs() > 1e-3).sum(),
    }
    told.update({what: int(count) for what, count in counts.items()})
    return table.loc[~again, ["text", "ratings", "mean"]].assign(kind=kind)


def _columns(raw: bytes, names: list[str], columns=None) -> pd.DataFrame:
    """Columns of one tab-separated file, as text."""
    options = {"names": names, "usecols": columns, "dtype": str, "keep_default_na": False}
    return pd.read_csv(io.BytesIO(raw), sep="\t", quoting=csv.QUOTE_NONE, **options)


def sentences(told: Counter, *, kinds=tuple(KINDS), label: str | None = None) -> list[tuple]:
    """Sentences of some kinds: their ``kind``, or the ``mean`` of their ratings, as the label."""
    table = pd.concat([rated(kind, told) for kind in kinds])
    return list(zip(table["text"], table[label] if label else [None] * len(table), strict=True))


def polarity(told: Counter) -> list[tuple[str, str]]:
    """Movie sentences that most raters call negative or positive: mean of 0.5 or more from 0."""
    movie = rated("movie", told)
    clear = movie[movie["mean"].abs() >= CLEAR]
    told[f"sentences rated between -{CLEAR} and {CLEAR}"] += len(movie) - len(clear)
    label = (clear["mean"] > 0).map({True: "positive", False: "negative"})
    return list(zip(clear["text"], label, strict=True))


def human_ceiling(texts) -> dict[str, float]:
    """How well one rater agrees with the mean of the others, as ``valence`` is scored.

    Of each sentence one rating is drawn and compared with the mean of the rest; the average over
    20 draws. Raters are anonymous, so one draw mixes raters.

    Parameters
    ----------
    texts
        Of the task ``valence``, such as those of its test part.

    Returns
    -------
    dict
        ``corr``, ``pearson``, ``spearman``.
    """
    known = dict(sentences(Counter(), label="ratings"))
    given, random, scores = [known[text] for text in texts], np.random.default_rng(0), []
    size, total = (np.array(list(map(count, given))) for count in (len, sum))
    for _ in range(20):
        one = np.array([random.choice(ratings) for ratings in given])
        scores.append(pearson_spearman(one, (total - one) / (size - 1)))
    return pd.DataFrame(scores).mean().to_dict()


if __name__ == "__main__":
    try:
        fetch()
    except BadInput as error:
        sys.exit(f"{error}")
