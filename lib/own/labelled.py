"""A labelled file of the reader's own, as a task; see :func:`lib.corpora.own`."""

from lib.corpora import own as task  # noqa: F401
from lib.metrics import fitting as metrics_of  # noqa: F401

READERS = (".csv", ".tsv", ".jsonl")
