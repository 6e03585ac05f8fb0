"""The documents of a screen: what is learned, and what is held out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from tokenlab.corpus import Corpus
from tokenlab.errors import InputError
from tokenlab.vocabulary import SAMPLE_BYTES

HELD_OUT_BELOW = 16
"""A document is held out when the sha256 of its text begins with a byte below this: 1 in 16."""


@dataclass(frozen=True)
class ScreenDocuments:
    """Documents of UTF-8 in the order of the input; no text is on both sides, none held out is empty."""

    train: list[bytes]
    holdout: list[bytes]

    @property
    def digest(self) -> str:
        """sha256 over all of it, in order."""
        digest = hashlib.sha256()
        for side in (self.train, self.holdout):
            digest.update(len(side).to_bytes(8, "little"))
            for document in side:
                digest.update(len(document).to_bytes(8, "little") + document)
        return digest.hexdigest()


def split_documents(corpus: Corpus, holdout_docs: int | None) -> ScreenDocuments:
    """The first `holdout_docs` documents are held out, and what equals one of them is not learned; or,
    for None, those whose sha256 says so. All of it is kept in memory.

    Raises InputError for a side without text, or more training text than a vocabulary is trained on.
    """
    train: list[bytes] = []
    holdout: list[bytes] = []
    known: set[bytes] = set()
    count = size = 0
    for document in (document for batch in corpus.batches() for document in batch.documents.tobytes()):
        count += 1
        held_out = _is_held_out(document) if holdout_docs is None else count <= holdout_docs
        if held_out:
            holdout.append(document)
            known.add(document)
        elif document not in known:
            train.append(document)
            size += len(document)
        if size > SAMPLE_BYTES:
            raise InputError(
                f"more than the {SAMPLE_BYTES:,} bytes of text to learn that a screen takes; "
                "give less --input, or --limit-docs N"
            )
    if holdout_docs is not None and not 0 < holdout_docs < count:
        raise InputError(
            f"--holdout-docs is {holdout_docs}, the input has {count} documents; "
            "some must be held out and some left to learn"
        )
    holdout = [document for document in holdout if document]
    if not holdout or not size:
        side, other = ("held out", "train on") if not holdout else ("left to train on", "hold out")
        raise InputError(
            f"{count:,} documents: none with text is {side}; give more --input, or --holdout-docs N "
            f"that leaves some to {other}"
        )
    return ScreenDocuments(train, holdout)


def _is_held_out(document: bytes) -> bool:
    return hashlib.sha256(document).digest()[0] < HELD_OUT_BELOW
