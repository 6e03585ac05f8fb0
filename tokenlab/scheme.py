"""A scheme: operators, then a segmenter, as data. It turns text into ids and charges, and back.

>>> from tokenlab.scheme_spec import open_scheme_spec
>>> scheme = Scheme(open_scheme_spec("bytes"))
>>> ids, charges = scheme.encode("Hi")
>>> ids.tolist(), charges.tolist(), scheme.decode(ids)
([76, 109], [1, 1], b'Hi')
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from tokenlab.cuts import CutMap, as_charges, charges_reference, compose_reference
from tokenlab.errors import DecodingError, EncodingError, InputError
from tokenlab.ops.digits import Digits
from tokenlab.ops.normalize import SentencePieceNormalizer
from tokenlab.ops.operator import Operator
from tokenlab.ragged import Ragged
from tokenlab.registry import segmenter_plug_in
from tokenlab.scheme_spec import ByteLevelSpec, ByteSpec, PlugInSpec, SchemeSpec, parse_scheme
from tokenlab.segment.byte import ByteSegmenter
from tokenlab.segment.byte_level import ByteLevelSegmenter
from tokenlab.segment.grouped import GroupedSegmenter
from tokenlab.segment.plug_in import PlugInSegmenter
from tokenlab.segment.segmenter import Segmenter
from tokenlab.segment.sentencepiece import MODEL_FILE, SentencePieceSegmenter
from tokenlab.segment.spelling import cover, cover_reference, ends, spell

PROBE = (
    "The quick brown fox, iPhone & NASA's McDonald: 1,234.5\n\n  Straße ÉCOLE naïve “quotes” — ½ ﬁ ™\t"
    "日本語 한국어 العربية 👩‍👩‍👧 e\u0301 \u2581 <s> <unk> <0x41> <|endoftext|> \ue001\ue004 I'LL "
    "a\u00a0b\r\n"
)
"""Text whose ids are part of a fingerprint: an encoder that changes its mind changes them."""


SLICE_BYTES = 1 << 20
"""Source text that the kernels take at a time."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A batch in ids: `ids` uint32 and `charges` uint16 in the same rows, `unattributed`
    int64 a document; charges + unattributed = source bytes."""

    ids: Ragged
    charges: Ragged
    unattributed: NDArray[np.int64]


class Scheme:
    """A scheme with its vocabulary, ready to encode. Raises InputError when they do not fit."""

    def __init__(self, spec: SchemeSpec, vocabulary: bytes | None = None) -> None:
        self.segmenter: Segmenter = _make_segmenter(spec, vocabulary)
        operators = spec.make_operators()
        markers = spec.markers
        if isinstance(self.segmenter, SentencePieceSegmenter):
            if spec.is_trainable:
                self.segmenter.require_lossless(markers)
            else:
                self.segmenter.require_markers(markers)
                operators += (SentencePieceNormalizer(self.segmenter.files[MODEL_FILE]),)
        self.vocabulary = self.segmenter  # what the vocabulary file is, borders aside
        for operator in operators:
            if isinstance(operator, Digits):
                self.segmenter = GroupedSegmenter(self.segmenter, operator.borders)
        bos = spec.specials.bos
        if bos is not None and bos != self.segmenter.bos:
            raise InputError(f"scheme {spec.name} says bos = {bos}, its vocabulary says {self.segmenter.bos}")
        if spec.is_trainable:
            spec = spec.with_vocab_size(self.segmenter.vocab_size)
        self.spec = spec.with_packages()
        self.operators: tuple[Operator, ...] = operators
        self.reversible = all(operator.reversible for operator in operators)

    @classmethod
    def open(cls, folder: Path) -> Scheme:
        """The scheme stored in a dataset: `scheme.toml` and `tokenizer/`. Raises InputError."""
        path = folder / "scheme.toml"
        try:
            spec = parse_scheme(path.read_text(), str(path))
            stored = sorted((folder / "tokenizer").glob("*")) if spec.needs_vocabulary else []
            vocabulary = stored[0].read_bytes() if stored else None
        except OSError as error:
            raise InputError(f"{error.filename}: {error.strerror}; {folder} holds no scheme") from error
        return cls(spec, vocabulary)

    def rewrite(self, documents: Ragged) -> tuple[Ragged, CutMap]:
        """The text that the segmenter sees, and its cut map to the source."""
        return _fold(documents, CutMap.identity(documents), self.operators)

    def rewrite_losslessly(self, documents: Ragged) -> tuple[Ragged, CutMap]:
        """`rewrite` by the reversible operators alone: what a normaliser would have to keep."""
        reversible = [operator for operator in self.operators if operator.reversible]
        return _fold(documents, CutMap.identity(documents), reversible)

    def rewrite_with_lossless(self, documents: Ragged) -> tuple[Ragged, CutMap, Ragged]:
        """`rewrite`, and the text of `rewrite_losslessly`; one pass, where normalisers come last."""
        lossless, cuts = self.rewrite_losslessly(documents)
        steps = [operator.reversible for operator in self.operators]
        if steps == sorted(steps, reverse=True):
            return *_fold(lossless, cuts, self.operators[sum(steps) :]), lossless
        return *self.rewrite(documents), lossless

    def encode_batch(self, documents: Ragged) -> Encoded:
        """Ids and charges of a uint8 batch of valid UTF-8.

        Raises EncodingError, with the document's index in the batch, for a document whose
        ids do not spell it or a charge over 65,535 bytes.
        """
        # The kernels run over slices that stay in the cache, the encoder, whose calls cost, over all.
        slices = list(documents.slices(SLICE_BYTES))
        texts, maps = [], []
        for start, stop in slices:
            text, cuts = self.rewrite(documents.rows(start, stop))
            texts.append(text)
            maps.append(cuts)
        text = Ragged.concatenate(texts, np.uint8)
        texts.clear()
        ids, ends = self.segmenter.split_with_ends(text)
        charges = []
        unattributed = [np.zeros(0, np.int64)]
        for (start, stop), cuts in zip(slices, maps, strict=True):
            try:
                charges.append(self._as_charges(cuts.charges(ends.rows(start, stop))))
            except EncodingError as error:
                raise EncodingError(start + error.document, error.message) from error
            unattributed.append(cuts.unattributed(documents.rows(start, stop).lengths))
        return Encoded(ids, Ragged.concatenate(charges, np.uint16), np.concatenate(unattributed))

    def charge(self, ids: Ragged, text: Ragged, cuts: CutMap) -> Ragged:
        """Charges (uint16) of ids that must spell `text`. Raises EncodingError as `encode_batch`."""
        return self._as_charges(cuts.charges(cover(ids, self.segmenter.token_bytes, text)))

    def charge_spelled(self, ids: Ragged, cuts: CutMap) -> Ragged:
        """`charge` for ids that are known to spell their text."""
        charges = cuts.charges_of(ids, self.segmenter.token_bytes)
        if charges is None:  # says which
            return self._as_charges(cuts.charges(ends(ids, self.segmenter.token_bytes)))
        return charges

    def _as_charges(self, charges: Ragged) -> Ragged:
        try:
            return Ragged(as_charges(charges.values), charges.offsets)
        except OverflowError as error:
            token = error.args[0]
            document = int(np.searchsorted(charges.offsets, token, side="right")) - 1
            raise EncodingError(
                document,
                f"token {token - int(charges.offsets[document])} stands for {charges.values[token]:,} source "
                "bytes; a sidecar holds at most 65,535, and tokenlab never clips",
            ) from error

    def read_back(self, text: Ragged) -> Ragged:
        """The source (uint8) of a batch of rewritten text; for a scheme that is not reversible
        the normal form.

        Raises DecodingError for text that the operators cannot have written, as far as they
        can tell; that `rewrite` of the source gives the same text again tells the rest. A
        normaliser may leave such text too (it composes TITLE a U+0301, so that no letter
        follows the marker): that normal form has no reading.
        """
        for operator in reversed(self.operators):
            text = operator.invert(text)
        if self.reversible and (d := text.first_invalid_utf8()) is not None:
            raise DecodingError(d, 0, "the ids spell bytes that are not valid UTF-8")
        return text

    @overload
    def encode(  # type: ignore[overload-overlap]  # a str is a sequence of str, but a document here
        self, text: str | bytes
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]: ...
    @overload
    def encode(
        self, text: Sequence[str | bytes]
    ) -> tuple[list[NDArray[np.uint32]], list[NDArray[np.uint16]]]: ...
    def encode(self, text: str | bytes | Sequence[str | bytes]) -> Any:
        """Ids (uint32) and charges (uint16) of a document, or a list of each for a sequence.

        BOS is not among them; a dataset puts it before each document. A document's charges
        sum to its UTF-8 length, less what a normaliser strips from its ends. Raises
        InputError for text that is not valid UTF-8, EncodingError as `encode_batch`.
        """
        if isinstance(text, str | bytes):
            ids, charges = self.encode([text])
            return ids[0], charges[0]
        encoded = self.encode_batch(Ragged.from_bytes([_utf8(d, i) for i, d in enumerate(text)]))
        return list(encoded.ids), list(encoded.charges)

    @overload
    def decode(self, ids: NDArray[Any] | Sequence[int]) -> bytes: ...
    @overload
    def decode(self, ids: Sequence[NDArray[Any] | Sequence[int]]) -> list[bytes]: ...
    def decode(self, ids: Any) -> Any:
        """The source bytes of one document's ids, or a list for a sequence of documents.

        A scheme that is not reversible gives the normal form. Raises DecodingError for ids
        outside the vocabulary, and for text that no encoder of the scheme emits; see `read_back`.
        """
        single = len(ids) == 0 or np.ndim(ids[0]) == 0
        batch = Ragged.from_rows([_ids(row, d) for d, row in enumerate([ids] if single else ids)], np.uint32)
        text = spell(batch, self.segmenter.token_bytes)
        source = self.read_back(text)
        if self.reversible and (d := self.rewrite(source)[0].first_difference(text)) is not None:
            raise DecodingError(d, 0, "no encoder of this scheme emits these ids")
        decoded = source.tobytes()
        return decoded[0] if single else decoded

    def encode_reference(self, document: bytes) -> tuple[list[int], list[int]]:
        """One document's ids and charges by the slow, obvious twin of every step."""
        text, cuts = document, list(range(len(document) + 1))
        for operator in self.operators:
            text, step = operator.apply_reference(text)
            cuts = compose_reference(cuts, step)
        ids = self.segmenter.split_reference(Ragged.from_bytes([text]))[0].tolist()
        ends = cover_reference(ids, self._token_bytes, text)
        return ids, charges_reference(cuts, ends)

    @cached_property
    def _token_bytes(self) -> list[bytes]:
        return self.segmenter.token_bytes.tobytes()

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides about ids: the scheme's TOML, vocabulary digests, backend versions and
        the digest of the probe's ids; `fingerprint` is the sha256 of it all."""
        probe = self.encode_batch(Ragged.from_bytes([PROBE.encode()])).ids.values
        parts = {
            "scheme_sha256": hashlib.sha256(self.spec.to_toml().encode()).hexdigest(),
            "vocabulary_sha256": {
                name: hashlib.sha256(data).hexdigest() for name, data in self.segmenter.files.items()
            },
            "backends": self.segmenter.backends | self.spec.packages,
            "probe_ids_sha256": hashlib.sha256(probe.astype("<u4").tobytes()).hexdigest(),
        }
        canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        return {"fingerprint": hashlib.sha256(canonical.encode()).hexdigest(), **parts}


def _make_segmenter(spec: SchemeSpec, vocabulary: bytes | None) -> Segmenter:
    if isinstance(spec.segmenter, ByteSpec):
        if vocabulary is not None:
            raise InputError(f"scheme {spec.name} has no vocabulary file; leave --tokenizer out")
        return ByteSegmenter()
    if vocabulary is None:
        hint = (
            "train one with `tokenlab build`, or give --tokenizer FILE"
            if spec.is_trainable
            else "give --tokenizer FILE"
        )
        raise InputError(f"scheme {spec.name} needs a vocabulary: {hint}")
    if isinstance(spec.segmenter, ByteLevelSpec):
        return ByteLevelSegmenter(vocabulary)
    if isinstance(spec.segmenter, PlugInSpec):
        label = segmenter_plug_in(spec.segmenter.name, spec.segmenter.package).label
        return PlugInSegmenter(spec.segmenter.make(), label, vocabulary, spec.markers)
    return SentencePieceSegmenter(vocabulary)


def _fold(text: Ragged, cuts: CutMap, operators: Sequence[Operator]) -> tuple[Ragged, CutMap]:
    """The text behind the operators; `cuts`, its map to the source, with it."""
    for operator in operators:
        text, step = operator.apply(text)
        cuts = step.after(cuts)
    return text, cuts


def _ids(row: Any, document: int) -> NDArray[np.uint32]:
    """A document's ids as uint32, refusing what a cast would change."""
    ids = np.asarray(row)
    if len(ids) and (ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= 2**32):
        wrong = (t for t, value in enumerate(row) if value != int(value) or not 0 <= value < 2**32)
        bad = next(wrong, 0)
        raise DecodingError(document, bad, f"{row[bad]} is not an id")
    return ids.astype(np.uint32)


def _utf8(document: str | bytes, index: int) -> bytes:
    try:
        if isinstance(document, str):
            return document.encode()
        document.decode()
        return document
    except UnicodeError as error:
        raise InputError(f"document {index}: not valid UTF-8: {error}") from error
