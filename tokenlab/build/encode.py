"""Encoding one part: documents to ids and charges, balanced document by document."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shards import format_for_vocabulary
from tokenlab.accounting.ledger import ImbalanceError, Ledger
from tokenlab.build.parts import PartInput, PartRecord, write_part
from tokenlab.corpus import document_digests
from tokenlab.errors import EncodingError, InputError, TokenlabError
from tokenlab.ragged import Ragged
from tokenlab.scheme import Scheme

SAMPLE_DOCUMENT_BYTES = 1 << 14
"""Longest document of the comparison sample: the reference encoder is a hundred times slower."""

VALIDATION_DIGESTS = "validation.digests"
"""File of the sha256 of every validation document, written before the first training part."""


class PartEncoder:
    """Encodes parts into `folder`; the state of a worker."""

    def __init__(self, scheme: Scheme, folder: Path, seed: int) -> None:
        self.scheme = scheme
        self.folder = folder
        self.seed = seed
        self.form = format_for_vocabulary(scheme.segmenter.vocab_size)

    @cached_property
    def _validation(self) -> frozenset[bytes]:
        data = (self.folder / VALIDATION_DIGESTS).read_bytes()
        return frozenset(data[at : at + 32] for at in range(0, len(data), 32))

    def encode(self, part: PartInput) -> PartRecord:
        """Encode a part and write its files.

        Raises InputError, naming file and row, for a document that the scheme cannot encode
        exactly; TokenlabError when the fast encoder differs from the reference.
        """
        digests = document_digests(part.documents)
        keep = np.ones(len(part.documents), bool)
        if part.split == "train":
            keep = np.fromiter((row.tobytes() not in self._validation for row in digests), bool, len(digests))
        kept = np.flatnonzero(keep)
        documents = part.documents.take(keep)
        ledger = Ledger()
        try:
            encoded = self.scheme.encode_batch(documents)
            ledger.post(documents.lengths, encoded.charges, encoded.unattributed)
        except (EncodingError, ImbalanceError) as error:
            what = error.message if isinstance(error, EncodingError) else str(error)
            where = part.origin(int(kept[error.document]))
            raise InputError(f"{where}: scheme {self.scheme.spec.name} cannot encode it: {what}") from error
        self._compare_sample(part, documents, kept, encoded.ids)
        starts = encoded.ids.offsets[:-1]
        ids = np.insert(encoded.ids.values.astype(self.form.dtype), starts, self.scheme.segmenter.bos)
        charges = np.insert(encoded.charges.values, starts, 0)
        return write_part(self.folder, part, keep, ledger, ids, charges, digests)

    def _compare_sample(
        self, part: PartInput, documents: Ragged, kept: NDArray[np.int64], ids: Ragged
    ) -> None:
        """Compare one document of the part, seeded, with the reference encoder."""
        short = np.flatnonzero(documents.lengths <= SAMPLE_DOCUMENT_BYTES)
        if not len(short):
            return
        d = int(short[np.random.default_rng((self.seed, part.number)).integers(len(short))])
        expected, _ = self.scheme.encode_reference(documents[d].tobytes())
        found = ids[d].tolist()
        if found != expected:
            token = next(
                (i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), len(expected)
            )
            raise TokenlabError(
                f"{part.origin(int(kept[d]))}: the fast encoder differs from the reference at token {token} "
                f"({self.scheme.segmenter.backends}); the build is stopped, please report it"
            )
