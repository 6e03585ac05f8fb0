"""One split of a foreign dataset, batch by batch, against the source and against itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenlab.accounting.verdicts import Failure
from tokenlab.corpus import document_digests
from tokenlab.dataset import TokenBatch
from tokenlab.errors import DecodingError
from tokenlab.manifest import Split
from tokenlab.ragged import Ragged
from tokenlab.scheme import Scheme
from tokenlab.segment.spelling import spell
from tokenlab.verification.foreign.causes import name_text_cause
from tokenlab.verification.foreign.charges import ByteTable
from tokenlab.verification.foreign.conventions import TAIL_TOKENS, ChargeBook
from tokenlab.verification.foreign.lost import lost_bytes
from tokenlab.verification.source import SourceDocuments
from tokenlab.verification.tally import Tally


@dataclass
class Evidence:
    """What every split is held against. `validation`: digests of the texts of validation."""

    scheme: Scheme | None
    table: ByteTable | None
    source: SourceDocuments | None
    tallies: dict[str, Tally]
    causes: list[str]
    validation: dict[bytes, int] = field(default_factory=dict)


class ForeignSplit:
    """Reads the batches of one split. `stopped` is set when ids cannot be read any further."""

    def __init__(self, split: Split, evidence: Evidence) -> None:
        if evidence.scheme is None:
            raise ValueError("no tokenizer was given")
        self.split = split
        self.evidence = evidence
        self.scheme = evidence.scheme
        self.tallies = evidence.tallies
        self.stopped = False
        self.documents = self.tokens = self.source_bytes = 0
        self.unattributed = 0
        self.lossless_documents = 0
        self.matching_documents = 0
        self.lost: Counter[str] = Counter()
        self.source_ended = self.text_differs = False
        self.book = ChargeBook(self.scheme, evidence.table)

    def batch(self, batch: TokenBatch) -> None:
        """Check a batch."""
        self.documents += len(batch.ids)
        self.tokens += len(batch.ids.values) + len(batch.ids)
        self._check_bos(batch)
        try:
            spelled = spell(batch.ids, self.scheme.segmenter.token_bytes)
        except DecodingError as error:
            self._unreadable(batch, error)
            return
        self.tallies["ids"].count += len(batch.ids.values)
        self.tallies["specials"].count += len(batch.ids)
        self._check_disjoint(batch, spelled)
        if self.evidence.source is None:
            if self.split == "val":
                self.book.post(batch, spelled, None, np.ones(len(batch.ids), bool))
            self._check_tokenizer(batch, spelled)
            return
        documents = self.evidence.source.take(self.split, len(batch.ids)).documents
        if len(documents) < len(batch.ids):
            self._source_ended(batch, len(documents))
            batch = TokenBatch(
                batch.first,
                batch.ids.rows(0, len(documents)),
                batch.charges.rows(0, len(documents)) if batch.charges else None,
                None,
            )
            spelled = spelled.rows(0, len(documents))
        if len(documents):
            self._against_source(batch, spelled, documents)

    def _check_bos(self, batch: TokenBatch) -> None:
        if batch.bos_charges is None or not batch.bos_charges.any():
            return
        d = int(np.flatnonzero(batch.bos_charges)[0])
        found = int(batch.bos_charges[d])
        self.tallies["specials"].fail(self._failure(batch, d, "BOS is charged", expected=0, found=found))
        self._cause(str(self.tallies["specials"].failure))

    def _unreadable(self, batch: TokenBatch, error: DecodingError) -> None:
        name = "ids" if "outside the vocabulary" in error.message else "specials"
        self.tallies[name].fail(self._failure(batch, error.document, error.message, token=error.position))
        self._cause(str(self.tallies[name].failure))
        self.stopped = True

    def _check_disjoint(self, batch: TokenBatch, spelled: Ragged) -> None:
        digests = [row.tobytes() for row in document_digests(spelled)]
        if self.split == "val":
            for d, digest in enumerate(digests):
                self.evidence.validation.setdefault(digest, batch.first + d)
            return
        tally = self.tallies["split"]
        tally.count += len(digests)
        for d, digest in enumerate(digests):
            if digest in self.evidence.validation and len(spelled[d]):
                number = self.evidence.validation[digest]
                tally.fail(self._failure(batch, d, f"it is validation document {number}, in train"))
                self._cause(f"validation documents are in train, first: {tally.failure}")
                return

    def _source_ended(self, batch: TokenBatch, left: int) -> None:
        if self.split == "train" and self.documents == len(batch.ids) and left == 0:
            self.source_ended = True  # only validation documents were given
            return
        if not self.source_ended:
            self.tallies["split"].fail(self._failure(batch, left, "the source has no such document"))
            self._cause(f"{self.split} has more documents than the source, from {batch.first + left} on")
        self.source_ended = True

    def _against_source(self, batch: TokenBatch, spelled: Ragged, documents: Ragged) -> None:
        text, cuts, lossless = self.scheme.rewrite_with_lossless(documents)
        same = [np.array_equal(a, b) for a, b in zip(spelled, text, strict=True)]
        matches = np.array(same)
        self.tallies["roundtrip"].count += len(matches)
        self.tallies["split"].count += len(matches) if self.split == "val" else 0
        self.matching_documents += sum(same)
        self.source_bytes += len(documents.values)
        if not all(same):
            self._text_differs(batch, same.index(False), spelled, text)
        if self.split == "val":
            unattributed = cuts.unattributed(documents.lengths)
            self.unattributed += int(unattributed.sum())
            for d in (d for d, right in enumerate(same) if right):
                if np.array_equal(text[d], lossless[d]):
                    self.lossless_documents += 1
                else:
                    self._count_lost(lossless.rows(d, d + 1))
            self.book.post(batch, spelled, documents, matches)
        self._check_tokenizer(batch, spelled)

    def _count_lost(self, text: Ragged) -> None:
        normal, cuts = self.scheme.operators[-1].apply(text)
        self.lost.update(lost_bytes(text[0].tobytes(), normal[0].tobytes(), cuts.document(0)))

    def _text_differs(self, batch: TokenBatch, d: int, spelled: Ragged, text: Ragged) -> None:
        at = _first_place(spelled[d], text[d])
        if self.text_differs:
            return
        self.text_differs = True
        cause = _misplaced(spelled[d], text, d) or name_text_cause(spelled[d], text[d])
        tally = self.tallies["roundtrip"]
        tally.fail(self._failure(batch, d, cause, expected=_shown(text[d], at), found=_shown(spelled[d], at)))
        self._cause(f"{cause}, first: {self.split} document {batch.first + d}")

    def _check_tokenizer(self, batch: TokenBatch, spelled: Ragged) -> None:
        """Re-encode: all of validation, the first document of each batch of train."""
        count = len(batch.ids) if self.split == "val" else min(1, len(batch.ids))
        ids = self.scheme.segmenter.split(spelled.rows(0, count))
        tally = self.tallies["tokenizer"]
        tally.count += count
        if (d := ids.first_difference(batch.ids.rows(0, count))) is not None:
            token = _first_place(ids[d], batch.ids[d])
            tally.fail(self._failure(batch, d, "the tokenizer cuts the same text another way", token=token))
            self._cause(f"the tokenizer given does not make these ids: {tally.failure}")

    def finish(self) -> None:
        """Judge the charges, by the convention that the dataset follows furthest."""
        if self.split != "val" or self.book.found is None or self.stopped:
            return
        best = self.book.best()
        if best is None:
            return
        tallies, statistics = self.tallies, best.statistics
        tallies["recount"].count = sum(statistics.tokens.values())
        for kind, name in enumerate(("operators", "characters")):
            tallies[name].count = statistics.tokens[kind]
            if not statistics.tokens[kind]:
                tallies[name].missing = f"validation has no {tallies[name].unit}"
        self._compare_with_table()
        for name in ("sums", "monotone"):
            tallies[name].count = self.matching_documents or self.documents
        if best.failure is None:
            return
        if self.evidence.source is None and not _is_lossless(self.scheme):
            return  # without the source, the other convention cannot be ruled out
        tallies["recount"].fail(best.failure)
        tallies["monotone"].fail(best.failure)
        for kind, name in enumerate(("operators", "characters")):
            if kind in best.failures:
                tallies[name].fail(best.failures[kind])
        if statistics.found_sum != statistics.expected_sum:
            tallies["sums"].fail(
                Failure(
                    "charges of validation",
                    split="val",
                    expected=statistics.expected_sum,
                    found=statistics.found_sum,
                )
            )
        self._cause(f"{statistics.cause()}; first: {best.failure}")

    def _compare_with_table(self) -> None:
        """The stock table's sum beside a sidecar's: for plain text they agree; operators, which
        the table counts as their three bytes, explain the rest."""
        tally = self.tallies["table"]
        if self.book.table_sum is None:
            tally.missing = "needs a sidecar and a SentencePiece model"
            return
        operators = self.book.conventions["normal form"].statistics.tokens[0]
        tally.count = self.tokens
        tally.detail = (
            f"the stock table sums to {self.book.table_sum:,}, 3 of it for each of {operators:,} operators"
        )
        plain = self.book.table_sum - 3 * operators
        if plain != self.book.found and not self.lost and not self.unattributed:
            tally.expect(
                plain, self.book.found, "the stock table's sum, operators at 0, against the sidecar's"
            )

    def charged_of_targets(self, targets: int) -> int:
        """Charges of the first `targets` targets; the first token of the stream is none, and at
        most TAIL_TOKENS may be left over."""
        return self.book.found_before(self.tokens - 1 - targets)

    def source_bytes_of_targets(self, targets: int) -> int | None:
        """Source bytes behind the first `targets` targets; None unless every document's text is
        right, for then only is it known which bytes the rest stands for."""
        left = self.tokens - 1 - targets
        if self.matching_documents != self.documents or not 0 <= left <= TAIL_TOKENS:
            return None
        return self.source_bytes - self.book.source_bytes_of_tail(left)

    def compare_counts(self, val_docs: int) -> None:
        """After validation: as many documents as the source's, each behind its BOS."""
        tally = self.tallies["shards"]
        if self.documents != val_docs and not self.stopped:
            tally.expect(val_docs, self.documents, "BOS, one for each validation document", split="val")
            what = (
                "no BOS stands between documents"
                if self.documents == 1
                else "documents are missing or repeated"
            )
            self._cause(f"{what}: {self.documents} BOS for {val_docs} validation documents")
        if self.documents and not self.matching_documents and not self.stopped:
            self._cause("no validation document is spelled by its ids: another tokenizer, transform or text")

    def finish_train(self) -> None:
        """After train: the source has no document left."""
        if self.evidence.source is None or self.stopped or self.source_ended:
            return
        left = self.evidence.source.remaining("train")
        if left:
            self.tallies["split"].expect(0, left, "documents of the source that train lacks", split="train")
            self._cause(f"train lacks {left:,} documents of the source")

    def warnings(self) -> list[str]:
        """What is honest though it looks odd."""
        best = self.book.best()
        warnings = []
        if best is not None and best.failure is None:
            if best.moved_documents:
                warnings.append(
                    f"{best.moved_documents:,} documents charge a character split over byte tokens in one "
                    "place (0, 0, n): the sum is right"
                )
            if self.lost or self.unattributed:
                warnings.append(
                    "the tokenizer normalises: some tokens stand for more bytes than they spell, "
                    f"{self.unattributed:,} bytes belong to no token"
                )
        return warnings

    def _cause(self, text: str) -> None:
        self.evidence.causes.append(text)

    def _failure(
        self, batch: TokenBatch, d: int, message: str, *, token: int | None = None, **values: Any
    ) -> Failure:
        return Failure(message, split=self.split, document=batch.first + d, token=token, **values)


def _is_lossless(scheme: Scheme) -> bool:
    model = getattr(scheme.segmenter, "model", None)
    if model is None:
        return True
    return not (model.charsmap or model.remove_extra_whitespaces or model.add_dummy_prefix)


def _misplaced(spelled: NDArray[np.uint8], text: Ragged, d: int) -> str:
    """Whether the document is another of the batch: one was left out, repeated or moved."""
    at = next((k for k in range(len(text)) if np.array_equal(spelled, text[k])), None)
    if at is None:
        return ""
    if at == d + 1:
        return "a document is missing: the next one of the source stands in its place"
    if at == d - 1:
        return "a document is repeated"
    return f"documents are in another order: {at - d:+d} places away"


def _first_place(a: NDArray[Any], b: NDArray[Any]) -> int:
    shared = min(len(a), len(b))
    different = np.flatnonzero(a[:shared] != b[:shared])
    return int(different[0]) if len(different) else shared


def _shown(text: NDArray[np.uint8], at: int) -> str:
    return repr(text[at : at + 60].tobytes().decode(errors="backslashreplace"))
