"""The charges of foreign validation shards, held against both honest conventions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tokenlab.accounting.verdicts import Failure
from tokenlab.dataset import TokenBatch
from tokenlab.ragged import Ragged
from tokenlab.scheme import Scheme
from tokenlab.segment.sentencepiece import SentencePieceSegmenter
from tokenlab.verification.foreign.causes import ChargeStatistics
from tokenlab.verification.foreign.charges import (
    ByteTable,
    continues_character,
    first_wrong_token,
    found_charges,
    normal_form_charges,
    source_charges,
    stock_table,
)

CONVENTIONS = ("source", "normal form")

TAIL_TOKENS = 2**16
"""Targets that an evaluator of fixed windows may leave over; the field's longest window has 32,768."""


@dataclass
class Convention:
    """One honest way to charge, and how far the dataset follows it."""

    name: str
    statistics: ChargeStatistics
    documents: int = 0
    moved_documents: int = 0
    failures: dict[int, Failure] = field(default_factory=dict)  # the first, by class of token

    @property
    def failure(self) -> Failure | None:
        """The first place that does not follow it."""
        return min(self.failures.values(), key=lambda f: (f.document, f.token), default=None)


class ChargeBook:
    """What validation's tokens are charged, and what each convention would charge them.

    `found`: the sum, None when nothing says what a token is charged. `table_sum`: what the
    stock table would charge, where a sidecar is judged.
    """

    def __init__(self, scheme: Scheme, table: ByteTable | None) -> None:
        self.scheme = scheme
        self.table = table
        self.found: int | None = 0
        self.table_sum: int | None = None
        self.conventions = {name: Convention(name, ChargeStatistics(scheme)) for name in CONVENTIONS}
        segmenter = scheme.segmenter
        self._stock = stock_table(segmenter) if isinstance(segmenter, SentencePieceSegmenter) else None
        self._inside_character = continues_character(scheme)
        self._last_found = self._last_source = np.zeros(0, np.int64)

    def post(
        self, batch: TokenBatch, text: Ragged, documents: Ragged | None, matches: NDArray[np.bool_]
    ) -> None:
        """Enter a batch: `text` is what its ids spell, `documents` the source if it is known,
        `matches` tells which documents' text is right; only those can be compared."""
        found = found_charges(batch, self.table, self.scheme.segmenter.bos)
        if found is None:
            self.found = None
            return
        if self.found is not None:
            self.found += int(found.values.sum())
            self._last_found = _append(self._last_found, found)
        if batch.charges is not None and self._stock is not None:
            stock = self._stock.charges(batch.ids, self.scheme.segmenter.bos)
            self.table_sum = (self.table_sum or 0) + int(stock.values.sum())
        if not matches.any():
            return
        ids, text, charged = (rows.take(matches) for rows in (batch.ids, text, found))
        places = batch.first + np.flatnonzero(matches)
        expected = {"normal form": normal_form_charges(self.scheme, ids, text)}
        known = text
        if documents is not None:
            known = documents.take(matches)
            expected["source"] = source_charges(self.scheme, ids, *self.scheme.rewrite(known))
            self._last_source = _append(self._last_source, expected["source"])
        for name, charges in expected.items():
            self._compare(self.conventions[name], ids, charged, charges, places, known)

    def _compare(
        self,
        convention: Convention,
        ids: Ragged,
        found: Ragged,
        expected: Ragged,
        places: NDArray[np.int64],
        documents: Ragged,
    ) -> None:
        convention.statistics.add(ids, found, expected)
        for d in range(len(ids)):
            inside = self._inside_character[ids[d]]
            token, moved = first_wrong_token(found[d], expected[d], inside)
            convention.documents += token is None
            convention.moved_documents += moved
            if token is None:
                continue
            kind = int(convention.statistics.class_of[ids[d][token]])
            if kind not in convention.failures:
                start = int(expected[d][:token].sum())
                source = documents[d][start : start + int(expected[d][token])].tobytes()
                convention.failures[kind] = Failure(
                    f"charged by neither convention (held against the {convention.name})",
                    split="val",
                    document=int(places[d]),
                    token=token,
                    piece=self.scheme.segmenter.piece(int(ids[d][token])),
                    source=source.decode(errors="backslashreplace"),
                    expected=int(expected[d][token]),
                    found=int(found[d][token]),
                )

    def best(self) -> Convention | None:
        """The convention that most documents follow; the source's where both do."""
        judged = [c for c in self.conventions.values() if c.statistics.tokens]
        return max(
            judged,
            key=lambda c: (c.failure is None, c.documents, -c.statistics.wrong_tokens),
            default=None,
        )

    def found_before(self, tail: int) -> int:
        """Charges of all but the last `tail` tokens (TAIL_TOKENS at most)."""
        return (self.found or 0) - int(self._last_found[len(self._last_found) - tail :].sum())

    def source_bytes_of_tail(self, tail: int) -> int:
        """Source bytes behind the last `tail` tokens (TAIL_TOKENS at most)."""
        return int(self._last_source[len(self._last_source) - tail :].sum())


def _append(last: NDArray[np.int64], charges: Ragged) -> NDArray[np.int64]:
    """The last charges of the stream, each document's behind its BOS."""
    stream = np.insert(charges.values.astype(np.int64), charges.offsets[:-1], 0)
    return np.append(last, stream)[-TAIL_TOKENS:]
