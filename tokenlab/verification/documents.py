"""The documents of a split, re-read from its shards and held against all that is known of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import eq

import numpy as np
from numpy.typing import NDArray

from tokenlab.accounting.ledger import Ledger, charged_bytes
from tokenlab.accounting.verdicts import Failure
from tokenlab.corpus import CorpusDigest, DigestSet, document_digests
from tokenlab.cuts import CutMap
from tokenlab.dataset import Dataset, TokenBatch
from tokenlab.errors import DecodingError, EncodingError
from tokenlab.manifest import ShardRecord, Split
from tokenlab.ragged import Ragged
from tokenlab.scheme import Scheme
from tokenlab.segment.spelling import spell
from tokenlab.verification.source import SourceDocuments, Taken
from tokenlab.verification.tally import Tally

SHOWN_BYTES = 60
SAMPLES_A_CALL = 64
SAMPLE_BYTES_A_CALL = 1 << 22
"""So many training documents are encoded again in one call, or those with so much text."""


@dataclass
class Tallies:
    """The verdicts about documents, over both splits."""

    balanced: Tally = field(default_factory=lambda: Tally("balanced", "documents"))
    reversible: Tally = field(default_factory=lambda: Tally("reversible", "documents"))
    disjoint: Tally = field(default_factory=lambda: Tally("disjoint", "training documents"))
    complete: Tally = field(default_factory=lambda: Tally("complete", "documents"))
    canonical: Tally = field(default_factory=lambda: Tally("canonical", "documents"))

    def all(self) -> list[Tally]:
        """In the order they are printed."""
        return [self.balanced, self.reversible, self.disjoint, self.complete, self.canonical]


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """A batch and `texts`: what its ids spell and, where the scheme is reversible, what that reads back
    as; or why they spell nothing."""

    tokens: TokenBatch
    texts: tuple[Ragged, Ragged | None] | DecodingError


def decode(batch: TokenBatch, scheme: Scheme) -> DecodedBatch:
    """What of a check needs neither the source nor the batches before; may run in another thread."""
    try:
        spelled = spell(batch.ids, scheme.segmenter.token_bytes)
        return DecodedBatch(batch, (spelled, scheme.read_back(spelled) if scheme.reversible else None))
    except DecodingError as error:
        return DecodedBatch(batch, error)


class SplitCheck:
    """One split of a dataset. `validation`: digests of the validation documents, filled while
    that split is read and looked up while train is."""

    def __init__(
        self,
        dataset: Dataset,
        split: Split,
        tallies: Tallies,
        source: SourceDocuments | None,
        validation: DigestSet,
    ) -> None:
        self.dataset = dataset
        self.scheme = dataset.scheme
        self.split = split
        self.record = dataset.manifest.splits[split]
        self.tallies = tallies
        self.source = source
        self.validation = validation
        self.ledger = Ledger()
        self.digest = CorpusDigest()
        self.unchanged_documents = 0
        self.shards = _ShardTotals(self.record.shards)
        self._sample: list[tuple[NDArray[np.int64], Ragged, Ragged]] = []
        self.knows_source = self.scheme.reversible or source is not None
        self.knows_charges = self.knows_source or self.shards.has_charges

    def batch(self, found: DecodedBatch) -> bool:
        """Check a batch; False when what follows cannot be read."""
        batch, texts = found.tokens, found.texts
        if isinstance(texts, DecodingError):
            self.tallies.reversible.fail(
                self._failure(batch, texts.document, texts.message, position=texts.position)
            )
            return False
        spelled, decoded = texts
        documents, digests = decoded, None
        if self.source is not None:
            taken = self._from_source(batch, self.source)
            documents, digests = taken.documents, taken.digests
        text, cuts, lossless = spelled, None, spelled
        if documents is not None:
            text, cuts, lossless = self.scheme.rewrite_with_lossless(documents)
        same = self._check_text(batch, spelled, text)
        if self.source is not None and documents is not None:
            self._compare_with_source(batch, spelled, decoded, documents, lossless)
        charges = self._check_charges(batch, documents, text if not same else None, cuts)
        self._post(batch, documents, charges)
        if digests is None:
            digests = document_digests(documents if documents is not None else text)
        self._check_disjoint(batch, digests, known=documents is not None)
        self._check_canonical(batch, text)
        for tally in (self.tallies.complete, self.tallies.reversible):
            tally.count += len(batch.ids)
        return True

    def _from_source(self, batch: TokenBatch, source: SourceDocuments) -> Taken:
        taken = source.take(self.split, len(batch.ids))
        if (missing := len(batch.ids) - len(taken.documents)) > 0:
            self.tallies.complete.fail(
                self._failure(batch, len(taken.documents), "the source has no such document")
            )
            nothing = Ragged(np.zeros(0, np.uint8), np.zeros(missing + 1, np.int64))
            digests = np.concatenate([taken.digests, document_digests(nothing)])
            taken = Taken(Ragged.concatenate([taken.documents, nothing], np.uint8), digests)
        return taken

    def _check_text(self, batch: TokenBatch, spelled: Ragged, text: Ragged) -> bool:
        """Whether the ids spell what the scheme makes of the documents."""
        if (d := spelled.first_difference(text)) is None:
            return True
        at = _first_place(spelled[d], text[d])
        if self.scheme.reversible:
            tally, what = self.tallies.reversible, "the ids do not decode to the document"
        else:
            tally, what = self.tallies.complete, "the ids do not spell the document's normal form"
        tally.fail(
            self._failure(
                batch,
                d,
                f"{what} (from byte {at} of the rewritten text on)",
                expected=_shown(text[d], at),
                found=_shown(spelled[d], at),
            )
        )
        return False

    def _compare_with_source(
        self, batch: TokenBatch, spelled: Ragged, decoded: Ragged | None, documents: Ragged, lossless: Ragged
    ) -> None:
        """The inverse, run for itself (the forward pass alone would not show that it exists);
        for a normalising scheme, how many documents the normaliser leaves as they are."""
        if decoded is None:
            self.unchanged_documents += sum(map(eq, spelled.tobytes(), lossless.tobytes()))
        elif (d := decoded.first_difference(documents)) is not None:
            self.tallies.reversible.fail(self._failure(batch, d, "decoding does not give the source back"))

    def _check_charges(
        self, batch: TokenBatch, documents: Ragged | None, text: Ragged | None, cuts: CutMap | None
    ) -> Ragged | None:
        """Charges recomputed from the cut map, or the sidecar's where there is none; `text` is
        what the ids should spell, if it is not known already that they do."""
        failures: list[tuple[int, int, Failure]] = []  # document, place in it, what is wrong
        if batch.bos_charges is not None and batch.bos_charges.any():
            d = int(np.flatnonzero(batch.bos_charges)[0])
            found = int(batch.bos_charges[d])
            failures.append((d, -1, self._failure(batch, d, "BOS is charged", expected=0, found=found)))
        expected = batch.charges
        if documents is not None and cuts is not None:
            try:
                if text is None:
                    expected = self.scheme.charge_spelled(batch.ids, cuts)
                else:
                    expected = self.scheme.charge(batch.ids, text, cuts)
            except EncodingError as error:
                failures.append((error.document, 0, self._failure(batch, error.document, error.message)))
            else:
                failures += self._wrong_charge(batch, documents, cuts, expected)
        if failures:
            self.tallies.balanced.fail(min(failures, key=lambda failure: failure[:2])[2])
        return expected if batch.charges is None else batch.charges

    def _wrong_charge(
        self, batch: TokenBatch, documents: Ragged, cuts: CutMap, expected: Ragged
    ) -> list[tuple[int, int, Failure]]:
        """The first token that the sidecar charges something else, if there is one."""
        if batch.charges is None or np.array_equal(expected.values, batch.charges.values):
            return []
        at = int(np.flatnonzero(expected.values != batch.charges.values)[0])
        d = int(np.searchsorted(batch.ids.offsets, at, side="right")) - 1
        token = at - int(batch.ids.offsets[d])
        start = int(cuts.document(d)[0]) + int(expected[d][:token].sum())
        source = documents[d][start : start + int(expected[d][token])].tobytes()
        failure = Failure(
            "the sidecar charges a token what it does not stand for",
            split=self.split,
            document=batch.first + d,
            token=token,
            piece=self.scheme.segmenter.piece(int(batch.ids[d][token])),
            source=source.decode(errors="backslashreplace"),
            expected=int(expected.values[at]),
            found=int(batch.charges.values[at]),
        )
        return [(d, token, failure)]

    def _post(self, batch: TokenBatch, documents: Ragged | None, charges: Ragged | None) -> None:
        """Enter the batch in the books."""
        charged = charged_bytes(charges) if charges is not None else None
        self.shards.add(batch.ids, charges, charged)
        entry = Ledger(documents=len(batch.ids), tokens=len(batch.ids.values) + len(batch.ids))
        if charged is not None:
            entry.charged_bytes = int(charged.sum())
            if documents is not None:
                entry.source_bytes = int(documents.lengths.sum())
                entry.unattributed_bytes = entry.source_bytes - entry.charged_bytes
                self._check_sums(batch, documents.lengths, charged)
        self.ledger.add(entry)

    def _check_sums(
        self, batch: TokenBatch, source_bytes: NDArray[np.int64], charged: NDArray[np.int64]
    ) -> None:
        self.tallies.balanced.count += len(batch.ids)
        if self.scheme.reversible and (charged != source_bytes).any():
            d = int(np.flatnonzero(charged != source_bytes)[0])
            message = "the document's charges do not sum to its bytes"
            self.tallies.balanced.fail(
                self._failure(batch, d, message, expected=int(source_bytes[d]), found=int(charged[d]))
            )

    def _check_disjoint(self, batch: TokenBatch, digests: NDArray[np.uint8], *, known: bool) -> None:
        """No training document is a validation document. Where only normal forms are `known`
        to be equal, the documents may still differ: that is open, not a failure."""
        self.digest.update(digests)
        if self.split == "val":
            self.validation.add(digests)
            return
        self.tallies.disjoint.count += len(digests)
        twins = np.flatnonzero(self.validation.find(digests)).tolist()
        if twins and known:
            self.tallies.disjoint.fail(self._failure(batch, twins[0], "a validation document is in train"))
        elif twins:
            self.tallies.disjoint.missing = (
                f"training document {batch.first + twins[0]} has the normal form of a validation document; "
                "give --docs to tell whether they are equal"
            )

    def _check_canonical(self, batch: TokenBatch, text: Ragged) -> None:
        """The ids are what the encoder makes of the text: of every validation document, and of
        the first document of each training batch."""
        count = len(batch.ids) if self.split == "val" else 1
        numbers = np.arange(batch.first, batch.first + count)
        if self.split == "val":
            self._compare_with_encoder(numbers, batch.ids, text)
            return
        self._sample.append((numbers, batch.ids.rows(0, 1).copy(), text.rows(0, 1).copy()))
        size = sum(len(text.values) for _, _, text in self._sample)
        if len(self._sample) == SAMPLES_A_CALL or size >= SAMPLE_BYTES_A_CALL:
            self._check_sample()

    def _check_sample(self) -> None:
        """The sampled documents so far, in one call of the encoder: a call costs milliseconds."""
        if self._sample:
            numbers, ids, texts = zip(*self._sample, strict=True)
            self._sample.clear()
            self._compare_with_encoder(
                np.concatenate(numbers),
                Ragged.concatenate(ids, np.uint32),
                Ragged.concatenate(texts, np.uint8),
            )

    def _compare_with_encoder(self, numbers: NDArray[np.int64], found: Ragged, text: Ragged) -> None:
        expected = self.scheme.segmenter.split(text)
        self.tallies.canonical.count += len(numbers)
        if (d := expected.first_difference(found)) is not None:
            token = _first_place(expected[d], found[d])
            message = f"the encoder cuts the text another way from token {token} on"
            self.tallies.canonical.fail(Failure(message, split=self.split, document=int(numbers[d])))

    def finish(self) -> None:
        """What waited, and totals of the split against the manifest's."""
        self._check_sample()
        record, complete, balanced = self.record, self.tallies.complete, self.tallies.balanced
        where = {"split": self.split}
        complete.expect(record.documents, self.ledger.documents, "documents in the shards", **where)
        complete.expect(record.tokens, self.ledger.tokens, "tokens in the shards", **where)
        if self.knows_source:
            complete.expect(
                record.documents_sha256, self.digest.hexdigest(), "digest of the split's documents", **where
            )
            balanced.expect(
                record.source_bytes, self.ledger.source_bytes, "source bytes of the split", **where
            )
            balanced.expect(
                record.unattributed_bytes,
                self.ledger.unattributed_bytes,
                "unattributed bytes of the split",
                **where,
            )
        balanced.expect(
            record.source_bytes,
            record.charged_bytes + record.unattributed_bytes,
            "the manifest's own sum",
            **where,
        )
        if self.knows_charges:
            balanced.expect(record.charged_bytes, self.ledger.charged_bytes, "charges of the split", **where)
        self.shards.compare(complete, balanced, self.knows_charges)
        if self.source is not None:
            left = self.source.remaining(self.split)
            complete.expect(0, left, "documents of the source that the shards lack", **where)

    def _failure(
        self,
        batch: TokenBatch,
        d: int,
        message: str,
        *,
        position: int | None = None,
        expected: str | int | None = None,
        found: str | int | None = None,
    ) -> Failure:
        return Failure(
            message,
            split=self.split,
            document=batch.first + d,
            token=position,
            expected=expected,
            found=found,
        )


class _ShardTotals:
    """Documents and charges of each shard, counted from the documents that run through them."""

    def __init__(self, records: tuple[ShardRecord, ...]) -> None:
        self.records = records
        self.bounds = np.cumsum([0, *(record.tokens for record in records)])
        self.documents = np.zeros(len(records), np.int64)
        self.bytes = np.zeros(len(records), np.int64)
        self.has_charges = all(record.sidecar is not None for record in records)
        self._at = 0

    def add(self, ids: Ragged, charges: Ragged | None, charged: NDArray[np.int64] | None) -> None:
        """Count the next documents, each with its BOS; `charged`: the sums of their `charges`."""
        stop = self._at + len(ids.values) + len(ids)
        first, last = self._shard(np.array([self._at, stop - 1])).tolist()
        if first == last:
            self.documents[first] += len(ids)
            self.bytes[first] += 0 if charged is None else int(charged.sum())
        else:
            self._add_across(ids, charges)
        self._at = stop

    def _add_across(self, ids: Ragged, charges: Ragged | None) -> None:
        """The same where the documents lie in more than one shard."""
        starts = self._at + ids.offsets[:-1] + np.arange(len(ids))
        np.add.at(self.documents, self._shard(starts), 1)
        if charges is not None:
            documents = np.repeat(np.arange(len(ids)), ids.lengths)
            places = self._at + np.arange(len(ids.values)) + documents + 1
            shards = self._shard(places)
            self.bytes += np.bincount(shards, charges.values, len(self.records)).astype(np.int64)

    def _shard(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        shards: NDArray[np.int64] = np.searchsorted(self.bounds, places, side="right") - 1
        return np.clip(shards, 0, len(self.records) - 1)

    def compare(self, complete: Tally, balanced: Tally, with_bytes: bool) -> None:
        """Hold the counts against the manifest's."""
        for record, documents, charged in zip(self.records, self.documents, self.bytes, strict=True):
            complete.expect(
                record.documents, int(documents), "documents that begin in the shard", file=record.file
            )
            if with_bytes:
                balanced.expect(record.bytes, int(charged), "charges of the shard", file=record.file)


def _first_place(a: NDArray[np.generic], b: NDArray[np.generic]) -> int:
    shared = min(len(a), len(b))
    different = np.flatnonzero(a[:shared] != b[:shared])
    return int(different[0]) if len(different) else shared


def _shown(text: NDArray[np.uint8], at: int) -> str:
    return repr(text[at : at + SHOWN_BYTES].tobytes().decode(errors="backslashreplace"))
