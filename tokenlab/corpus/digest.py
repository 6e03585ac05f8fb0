"""The digest of a corpus: the same whatever container, compression or batches the documents came in.

    document digest = sha256(UTF-8 bytes of the document)
    corpus digest   = sha256(document digest 1 + document digest 2 + ...)      32 bytes each

So the documents' digests can be taken in parallel, in any order, and only they are needed,
in order, for the corpus digest. No documents: the sha256 of nothing.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tokenlab.ragged import Ragged


def document_digests(documents: Ragged) -> NDArray[np.uint8]:
    """The sha256 of each document of a uint8 batch, uint8 of shape [documents, 32]."""
    text = np.ascontiguousarray(documents.values, dtype=np.uint8).data
    bounds = documents.offsets.tolist()
    digests = [hashlib.sha256(text[a:b]).digest() for a, b in pairwise(bounds)]
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 32)


class DigestSet:
    """Digests of documents that are looked for among others, a batch at a time."""

    def __init__(self) -> None:
        self._whole: set[bytes] = set()
        self._beginnings = np.zeros(0, np.uint64)  # of 8 bytes, sorted

    def add(self, digests: NDArray[np.uint8]) -> None:
        """Add digests as `document_digests` returns them."""
        self._whole.update(row.tobytes() for row in digests)
        self._beginnings = np.union1d(self._beginnings, _beginnings(digests))

    def find(self, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which of the digests, uint8 [n, 32], are in the set: bool [n]."""
        if not self._whole:
            return np.zeros(len(digests), bool)
        beginnings = _beginnings(digests)
        at = np.searchsorted(self._beginnings, beginnings)
        found: NDArray[np.bool_] = self._beginnings[np.minimum(at, len(self._beginnings) - 1)] == beginnings
        for d in np.flatnonzero(found):
            found[d] = digests[d].tobytes() in self._whole
        return found


def _beginnings(digests: NDArray[np.uint8]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(digests[:, :8]).view(np.uint64).reshape(-1)


class CorpusDigest:
    """The corpus digest, fed with the documents' digests in order."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def update(self, digests: NDArray[np.uint8]) -> None:
        """Add the digests of the next documents, as `document_digests` returns them."""
        if digests.dtype != np.uint8 or digests.ndim != 2 or digests.shape[1] != 32:
            raise ValueError(f"digests are uint8 [n, 32], not {digests.dtype} {list(digests.shape)}")
        self._sha256.update(digests.tobytes())

    def hexdigest(self) -> str:
        """The digest of everything so far, 64 hexadecimal digits."""
        return self._sha256.hexdigest()
