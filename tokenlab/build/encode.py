"""Encoding one part: documents to ids and charges, balanced document by document."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards import format_for_vocabulary
from tokenlab.accounting.ledger import ImbalanceError, Ledger
from tokenlab.build.engine import Job
from tokenlab.build.parts import BATCH_BYTES, PartInput, PartRecord, write_part
from tokenlab.corpus import DigestSet, document_digests
from tokenlab.errors import EncodingError, InputError, TokenlabError
from tokenlab.ragged import Ragged
from tokenlab.scheme import Encoded, Scheme

SAMPLE_DOCUMENT_BYTES = 1 << 12
"""Longest document of the comparison sample: the reference encoder is a hundred times slower."""

VALIDATION_DIGESTS = "validation.digests"
"""File of the sha256 of every validation document, written before the first training part."""


class PartEncoder:
    """Encodes the parts of a job; the state of a worker."""

    def __init__(self, scheme: Scheme, job: Job) -> None:
        self.scheme = scheme
        self.folder = job.parts
        self.seed = job.seed
        # A machine that dies takes the build with it, and what resumes it checks every part.
        self.sync = not job.one_machine
        self.form = format_for_vocabulary(scheme.segmenter.vocab_size)

    @cached_property
    def _validation(self) -> DigestSet:
        digests = DigestSet()
        digests.add(np.fromfile(self.folder / VALIDATION_DIGESTS, np.uint8).reshape(-1, 32))
        return digests

    def encode(self, part: PartInput) -> PartRecord:
        """Encode a part and write its files.

        Raises InputError, naming file and row, for a document that the scheme cannot encode
        exactly; TokenlabError when the fast encoder differs from the reference.
        """
        count = len(part.contents)
        keep = np.ones(count, bool)
        digests = np.empty((count, 32), np.uint8)
        bytes_read = 0
        ledger = Ledger()
        ids: list[NDArray[Any]] = [np.zeros(0, self.form.dtype)]
        charges: list[NDArray[Any]] = []
        sample = _Sample(np.random.default_rng((self.seed, part.number)))
        for start, stop in part.contents.slices(BATCH_BYTES):
            documents = part.documents(start, stop)
            bytes_read += len(documents.values)
            digests[start:stop] = document_digests(documents)
            if part.split == "train":
                keep[start:stop] = ~self._validation.find(digests[start:stop])
            documents = documents.take(keep[start:stop])
            kept = start + np.flatnonzero(keep[start:stop])
            encoded = self._encode(part, documents, kept, ledger)
            sample.add(kept, documents, encoded.ids)
            ids.append(opened(encoded.ids, self.scheme.segmenter.bos, self.form.dtype))
            charges.append(opened(encoded.charges, 0, charge_dtype(encoded.charges)))
        if sample.number is not None:
            self._compare(part.origin(sample.number), sample.document, sample.ids)
        return write_part(
            self.folder, part, keep, ledger, ids, charges, digests, bytes_read=bytes_read, sync=self.sync
        )

    def _encode(
        self, part: PartInput, documents: Ragged, numbers: NDArray[np.int64], ledger: Ledger
    ) -> Encoded:
        """Some of the documents, `numbers` in their part, encoded and entered into the ledger."""
        try:
            encoded = self.scheme.encode_batch(documents)
            ledger.post(documents.lengths, encoded.charges, encoded.unattributed)
        except (EncodingError, ImbalanceError) as error:
            what = error.message if isinstance(error, EncodingError) else str(error)
            where = part.origin(int(numbers[error.document]))
            raise InputError(f"{where}: scheme {self.scheme.spec.name} cannot encode it: {what}") from error
        return encoded

    def _compare(self, where: str, document: bytes, ids: NDArray[np.uint32]) -> None:
        expected, _ = self.scheme.encode_reference(document)
        found = ids.tolist()
        if found != expected:
            token = next(
                (i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), len(expected)
            )
            raise TokenlabError(
                f"{where}: the fast encoder differs from the reference at token {token} "
                f"({self.scheme.segmenter.backends}); the build is stopped, please report it"
            )


class _Sample:
    """A random short document of those that were added, each as likely as any other; `number` is None while
    there is none."""

    def __init__(self, random: np.random.Generator) -> None:
        self.number: int | None = None
        self.document = b""
        self.ids = np.zeros(0, np.uint32)
        self._random = random
        self._seen = 0

    def add(self, numbers: NDArray[np.int64], documents: Ragged, ids: Ragged) -> None:
        """More documents, their numbers in the part, and what they were encoded as."""
        short = np.flatnonzero(documents.lengths <= SAMPLE_DOCUMENT_BYTES)
        self._seen += len(short)
        if len(short) and (drawn := int(self._random.integers(self._seen))) < len(short):
            d = int(short[drawn])
            self.number = int(numbers[d])
            self.document, self.ids = documents[d].tobytes(), ids[d].copy()


def charge_dtype(charges: Ragged) -> np.dtype[Any]:
    """The narrowest type that holds the charges: half of a part's bytes where it is uint8."""
    return np.min_scalar_type(charges.values.max(initial=0))


def opened(rows: Ragged, first: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The rows as one stream of `dtype`, each behind one value `first`."""
    from tokenlab.build.encode_kernels import open_documents

    out = np.empty(len(rows.values) + len(rows), dtype)
    open_documents(rows.values, rows.offsets, first, out)
    return out
