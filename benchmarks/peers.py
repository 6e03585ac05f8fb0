"""What a user would run instead of tokenlab, on the same text in the same process."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from measure import Measurement, best_of, cpu_seconds
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer

from tokenlab.ops.caseops import ALLCAPS, CAPNEXT, ESC, METASPACE, TITLE, CaseOps
from tokenlab.ragged import Ragged
from tokenlab.segment.gigatoken_encoder import GigatokenEncoder, sentencepiece_json
from tokenlab.segment.sentencepiece_model import parse_model

PUBLISHED_WAY = "Python loop: twin, SentencePiece with offsets, charges"
TWIN_LOOP = "Python loop: twin, SentencePiece, no charges"
TEXT_LOOP = "Python loop: regex transform, SentencePiece, no charges"
GIGATOKEN = "gigatoken encode_batch, transformed text, repeated"
GIGATOKEN_ONCE = "gigatoken encode_batch, transformed text, each document once"
"""Within a call gigatoken remembers the words it met, so that repeated text flatters it."""

LOOP_BYTES = 1 << 20
"""Text for the Python loops: they are slow, and their speed does not depend on the amount."""

LIBRARY_BYTES = 8 << 20
"""Text for SentencePiece and `tokenizers`."""


def published_way(document: bytes, operator: CaseOps, processor: Any) -> list[int]:
    """One document's charges as a Python program takes them: the operator's slow twin with its
    cut map, SentencePiece's pieces with their byte offsets, a difference for each piece."""
    text, cuts = operator.apply_reference(document)
    encoded = processor.encode(text, return_type="offset_mapping")
    return [cuts[stop] - cuts[start] for start, stop in encoded["offsets"]]


def twin_and_ids(document: bytes, operator: CaseOps, processor: Any) -> list[int]:
    """The same without charges."""
    text, _ = operator.apply_reference(document)
    ids: list[int] = processor.encode(text)
    return ids


def transform_and_ids(document: bytes, operator: CaseOps, processor: Any) -> list[int]:
    """Ids alone, by the fastest transform that plain Python has: no cut map is possible."""
    ids: list[int] = processor.encode(transform(document.decode()))
    return ids


def transform(text: str) -> str:
    """CaseOps by one regular expression."""
    return _CHANGED.sub(_rewrite, text)


_CHANGED = re.compile(f"[A-Za-z]*[A-Z][A-Za-z]*|[{TITLE}{ALLCAPS}{CAPNEXT}{ESC}{METASPACE}]")


def _rewrite(match: re.Match[str]) -> str:
    word = match[0]
    if not word.isascii():
        return ESC + (" " if word == METASPACE else word)
    if len(word) > 1 and word.isupper():
        return ALLCAPS + word.lower()
    marked = re.sub("[A-Z]", lambda capital: CAPNEXT + capital[0].lower(), word)
    return TITLE + marked[1:] if word[0].isupper() else marked


def measure_peers(
    unique: list[bytes], documents: list[bytes], model: bytes, byte_model: bytes, repeat: int
) -> Iterator[Measurement]:
    """Each peer, fastest of `repeat`; `documents` are the `unique` ones repeated."""
    operator = CaseOps()
    processor = SentencePieceProcessor(model_proto=model)
    few = _first(documents, LOOP_BYTES)
    if any(
        transform(document.decode()).encode() != operator.apply_reference(document)[0] for document in few
    ):
        raise SystemExit("the peer's transform is not CaseOps")
    if any(sum(published_way(document, operator, processor)) != len(document) for document in few):
        raise SystemExit("the published way does not balance")
    for name, way in (
        (PUBLISHED_WAY, published_way),
        (TWIN_LOOP, twin_and_ids),
        (TEXT_LOOP, transform_and_ids),
    ):

        def loop(name: str = name, way: Any = way) -> Measurement:
            seconds = cpu_seconds(lambda: [way(document, operator, processor) for document in few])
            return Measurement(name, _size(few), seconds)

        yield best_of(repeat, loop)
    some = _first(documents, LIBRARY_BYTES)
    texts = [operator.apply(Ragged.from_bytes([document]))[0].tobytes()[0].decode() for document in some]

    def sentencepiece() -> Measurement:
        seconds = cpu_seconds(lambda: processor.encode(texts, num_threads=1))
        return Measurement("SentencePiece encode(list), transformed text", _size(some), seconds)

    yield best_of(repeat, sentencepiece)
    strings = [document.decode() for document in some]
    tokenizer = Tokenizer.from_str(byte_model.decode())

    def tokenizers() -> Measurement:
        seconds = cpu_seconds(lambda: tokenizer.encode_batch_fast(strings))
        return Measurement("tokenizers encode_batch_fast, byte-bpe, source text", _size(some), seconds)

    yield best_of(repeat, tokenizers)
    encoder = GigatokenEncoder(sentencepiece_json(parse_model(model)))
    for name, rows in ((GIGATOKEN_ONCE, unique), (GIGATOKEN, documents)):
        text, _ = operator.apply(Ragged.from_bytes(rows))

        def gigatoken(name: str = name, text: Ragged = text, size: int = _size(rows)) -> Measurement:
            seconds = cpu_seconds(lambda: encoder.encode(text))
            return Measurement(name, size, seconds, "one call, no normaliser, no specials")

        yield best_of(repeat, gigatoken)
    byte_encoder = GigatokenEncoder(json.loads(byte_model) | {"added_tokens": []})
    source = Ragged.from_bytes(documents)

    def gigatoken_bytes() -> Measurement:
        seconds = cpu_seconds(lambda: byte_encoder.encode(source))
        return Measurement("gigatoken encode_batch, byte-bpe, source text", _size(documents), seconds)

    yield best_of(repeat, gigatoken_bytes)


def _first(documents: list[bytes], size: int) -> list[bytes]:
    taken: list[bytes] = []
    for document in documents:
        if _size(taken) >= size:
            break
        taken.append(document)
    return taken


def _size(documents: list[bytes]) -> int:
    return sum(map(len, documents))
