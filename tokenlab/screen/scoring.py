"""One scheme: its vocabulary trained, the documents encoded, the held-out ones scored."""

from __future__ import annotations

import math
import time

import msgspec
import numpy as np
from numpy.typing import NDArray

from tokenlab.ab.breakdown import TokenClass
from tokenlab.ab.classes import TOKEN_CLASSES, ValidationTokens, class_totals, classify
from tokenlab.accounting.bpb import Score
from tokenlab.errors import EncodingError, InputError
from tokenlab.ragged import Ragged
from tokenlab.scheme import Encoded, Scheme
from tokenlab.scheme_spec import SchemeSpec
from tokenlab.screen.documents import ScreenDocuments
from tokenlab.screen.ngram import NgramModel
from tokenlab.screen.vocabulary_rows import VocabularyRows, count_rows
from tokenlab.vocabulary import train_vocabulary

ORDER, BYTE_ORDER = 5, 8
"""Tokens of the longest context; of a scheme whose tokens are bytes."""


class Seconds(msgspec.Struct, frozen=True, kw_only=True):
    """CPU seconds of the steps."""

    vocabulary: float
    encoding: float
    learning: float
    scoring: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.vocabulary + self.encoding + self.learning + self.scoring


class SchemeScore(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a scheme scored on the held-out documents.

    `nats` and `nats_bos`: of each document's tokens, and of the BOS behind it; `bytes`: source bytes
    charged to its tokens. `tokens`: held out, BOS not counted. `classes`: bits per byte of the whole,
    so that they sum to `bpb_documents`. `nodes`: sequences that the n-gram model held.
    """

    scheme: str
    fingerprint: str
    vocab_size: int
    order: int
    nats: tuple[float, ...]
    nats_bos: tuple[float, ...]
    bytes: tuple[int, ...]
    tokens: int
    train_tokens: int
    nodes: int
    rows: VocabularyRows
    classes: tuple[TokenClass, ...]
    seconds: Seconds

    @property
    def score(self) -> Score:
        """The sums, as every scorer states them."""
        bos = math.fsum(self.nats_bos)
        return Score(
            nats=math.fsum(self.nats) + bos,
            nats_bos=bos,
            source_bytes=sum(self.bytes),
            targets=self.tokens + len(self.nats),
            targets_bos=len(self.nats),
        )


def order_of(spec: SchemeSpec) -> int:
    """The order of the model that scores a scheme."""
    return ORDER if spec.needs_vocabulary else BYTE_ORDER


def trained(spec: SchemeSpec, documents: ScreenDocuments) -> Scheme:
    """The scheme with a vocabulary of the training documents. Raises InputError naming the scheme."""
    try:
        return Scheme(spec, train_vocabulary(spec, documents.train) if spec.needs_vocabulary else None)
    except InputError as error:
        raise InputError(f"scheme {spec.name}: {error}") from error


def score_scheme(spec: SchemeSpec, documents: ScreenDocuments) -> tuple[Scheme, SchemeScore]:
    """Train, encode, learn, score. Memory: the text, ids and charges, and the model (see
    `NgramModel`): 1.5 GB at the most for 16 MB of text, and in proportion.

    Raises InputError for a scheme that cannot be trained on the documents or cannot represent one.
    """
    clock = [time.process_time()]

    def lap() -> float:
        clock.append(time.process_time())
        return clock[-1] - clock[-2]

    scheme = trained(spec, documents)
    vocabulary = lap()
    learned = _encode(scheme, documents.train, "training").ids
    held_out = _encode(scheme, documents.holdout, "held-out")
    encoding = lap()
    model = NgramModel(order=order_of(spec), vocab_size=scheme.segmenter.vocab_size, bos=scheme.segmenter.bos)
    model.learn(learned)
    learning = lap()
    nats = model.score(held_out.ids)
    scoring = lap()
    charged = _sums(held_out.charges.values, held_out.charges.offsets)
    return scheme, SchemeScore(
        scheme=spec.name,
        fingerprint=scheme.identity["fingerprint"],
        vocab_size=model.vocab_size,
        order=model.order,
        nats=tuple(_sums(nats.tokens, held_out.ids.offsets).tolist()),
        nats_bos=tuple(nats.bos.tolist()),
        bytes=tuple(charged.astype(np.int64).tolist()),
        tokens=len(held_out.ids.values),
        train_tokens=len(learned.values),
        nodes=model.nodes,
        rows=count_rows(scheme.segmenter.token_bytes.tobytes()),
        classes=_by_class(scheme, held_out, nats.tokens),
        seconds=Seconds(vocabulary=vocabulary, encoding=encoding, learning=learning, scoring=scoring),
    )


def _encode(scheme: Scheme, documents: list[bytes], side: str) -> Encoded:
    """Ids and charges that account for every source byte."""
    try:
        encoded = scheme.encode_batch(Ragged.from_bytes(documents))
    except EncodingError as error:
        raise InputError(
            f"scheme {scheme.spec.name} cannot represent {side} document {error.document}: {error.message}"
        ) from error
    charged = _sums(encoded.charges.values, encoded.charges.offsets) + encoded.unattributed
    wrong = np.flatnonzero(
        (charged != [len(document) for document in documents]) | (encoded.unattributed > 0)
    )
    if len(wrong):
        raise InputError(
            f"scheme {scheme.spec.name} leaves bytes of {side} document {wrong[0]} without a token; "
            "a screen compares schemes that keep every byte"
        )
    return encoded


def _by_class(scheme: Scheme, held_out: Encoded, nats: NDArray[np.float64]) -> tuple[TokenClass, ...]:
    tokens = ValidationTokens(
        classes=classify(scheme, held_out.ids, held_out.charges),
        charges=held_out.charges.values,
        starts=held_out.ids.offsets[:-1],
    )
    bits = math.log(2) * int(held_out.charges.values.sum(dtype=np.int64))
    totals = zip(TOKEN_CLASSES, class_totals(tokens, nats), strict=True)
    return tuple(
        TokenClass(name=name, tokens=count, bytes=charged, bits_per_byte=of / bits)
        for name, (count, charged, of) in totals
        if name != "BOS"
    )


def _sums(
    values: NDArray[np.float64] | NDArray[np.uint16], offsets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The sum of each row, float64; a row may be empty."""
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return np.bincount(rows, weights=values, minlength=len(offsets) - 1).astype(np.float64)
