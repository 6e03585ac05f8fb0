"""Ordered documents that can be read again: from files, from FineWeb, or from Python itself.

>>> corpus = open_corpus(None)                  # prose that every CPython carries
>>> batch = next(corpus.batches())
>>> bytes(batch.documents[0])[:22], batch.rows[0]
(b'The "assert" statement', np.int64(1))

`open_corpus(["a.jsonl.zst", "s3://b/*.parquet"])` reads files in the order given. Every document
that a corpus yields is valid UTF-8 and at most MAX_DOCUMENT_BYTES long; anything else is a
bad document, which stops the reading with its file and row, or is skipped and listed.
Memory is bounded by the batch and the longest line (for .txt: the longest file).

Positions in messages count from 1: rows, columns, characters, bytes. A blank line of a
JSONL file is no document, but counts as a row.
"""

from tokenlab.corpus.digest import CorpusDigest, DigestSet, document_digests
from tokenlab.corpus.documents import (
    BadDocument,
    Corpus,
    DocumentBatch,
    RowBatch,
    SourceFile,
    bad_row,
    is_local,
)
from tokenlab.corpus.lines import parse_lines
from tokenlab.corpus.sources import open_corpus
from tokenlab.corpus.urls import without_secrets

__all__ = [
    "BadDocument",
    "Corpus",
    "CorpusDigest",
    "DigestSet",
    "DocumentBatch",
    "RowBatch",
    "SourceFile",
    "bad_row",
    "document_digests",
    "is_local",
    "open_corpus",
    "parse_lines",
    "without_secrets",
]
