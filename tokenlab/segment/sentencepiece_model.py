"""A SentencePiece `.model` file as plain data.

>>> model = parse_model(Path("tokenizer.model").read_bytes())
>>> model.pieces[3], model.normalizer_name
(Piece(text='<0x00>', score=0.0, kind=<PieceKind.BYTE: 6>), 'nmt_nfkc')

The file is one protobuf message, ModelProto of `sentencepiece_model.proto`. Only the
fields below are read and the rest is skipped, so no protobuf package is needed. Absent
fields take the defaults of the `.proto`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Literal, NamedTuple

from tokenlab.errors import InputError

ModelType = Literal["unigram", "bpe", "word", "char"]
_MODEL_TYPES: dict[int, ModelType] = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}


class PieceKind(IntEnum):
    """What a piece is; the numbers are the file's."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class Piece(NamedTuple):
    """One vocabulary entry; its id is its index. `text` writes a space as U+2581."""

    text: str
    score: float
    kind: PieceKind


@dataclass(frozen=True, slots=True, kw_only=True)
class SentencePieceModel:
    """What tokenlab needs of a model. An id that the model lacks is -1."""

    pieces: list[Piece]
    model_type: ModelType
    byte_fallback: bool
    treat_whitespace_as_suffix: bool
    unk_id: int
    bos_id: int
    eos_id: int
    pad_id: int
    normalizer_name: str
    charsmap: bytes
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool
    escape_whitespaces: bool


class _Malformed(Exception):
    """The bytes are not the message they should be."""


_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FLOAT = Struct("<f")
_KINDS = {int(kind): kind for kind in PieceKind}

_Scalars = dict[int, int | bytes]


def parse_model(data: bytes) -> SentencePieceModel:
    """Read a whole `.model` file. Raises InputError for anything else."""
    try:
        return _parse(data)
    except (_Malformed, UnicodeDecodeError) as reason:
        raise InputError(
            f"not a SentencePiece model ({len(data):,} bytes): {reason}; "
            "expected the .model file that SentencePiece training wrote, whole"
        ) from None


def _parse(data: bytes) -> SentencePieceModel:
    pieces: list[Piece] = []
    specs: dict[int, _Scalars] = {}
    for number, wire, start, stop, _ in _fields(data, 0, len(data)):
        if number in (1, 2, 3) and wire != _BYTES:
            raise _Malformed(f"field {number} is not a message")
        if number == 1:
            pieces.append(_piece(data, start, stop))
        elif number in (2, 3):
            # A repeated message is merged in protobuf, later fields winning.
            specs.setdefault(number, {}).update(_scalars(data, start, stop))
    # Pieces are written first: a file without what follows them was cut short.
    for number, missing in ((2, "trainer_spec"), (3, "normalizer_spec")):
        if number not in specs:
            raise _Malformed(f"it has no {missing}")
    if not pieces:
        raise _Malformed("it has no pieces")
    trainer, normalizer = specs[2], specs[3]
    model_type = _integer(trainer, 3, 1)
    if model_type not in _MODEL_TYPES:
        raise _Malformed(f"unknown model_type {model_type}")
    return SentencePieceModel(
        pieces=pieces,
        model_type=_MODEL_TYPES[model_type],
        byte_fallback=bool(_integer(trainer, 35, 0)),
        treat_whitespace_as_suffix=bool(_integer(trainer, 24, 0)),
        unk_id=_integer(trainer, 40, 0),
        bos_id=_integer(trainer, 41, 1),
        eos_id=_integer(trainer, 42, 2),
        pad_id=_integer(trainer, 43, -1),
        normalizer_name=_bytes(normalizer, 1).decode(),
        charsmap=_bytes(normalizer, 2),
        add_dummy_prefix=bool(_integer(normalizer, 3, 1)),
        remove_extra_whitespaces=bool(_integer(normalizer, 4, 1)),
        escape_whitespaces=bool(_integer(normalizer, 5, 1)),
    )


def _piece(data: bytes, start: int, stop: int) -> Piece:
    text, score, kind = "", 0.0, 1
    for number, wire, first, last, value in _fields(data, start, stop):
        if number == 1 and wire == _BYTES:
            text = data[first:last].decode()
        elif number == 2 and wire == _FIXED32:
            score = _FLOAT.unpack_from(data, first)[0]
        elif number == 3 and wire == _VARINT:
            kind = value
        elif number in (1, 2, 3):
            raise _Malformed(f"field {number} of a piece has wire type {wire}")
    if kind not in _KINDS:
        raise _Malformed(f"unknown piece type {kind}")
    return Piece(text, score, _KINDS[kind])


def _scalars(data: bytes, start: int, stop: int) -> _Scalars:
    """A message's integer and bytes fields by number, the last one winning."""
    fields: _Scalars = {}
    for number, wire, first, last, value in _fields(data, start, stop):
        if wire == _VARINT:
            fields[number] = value
        elif wire == _BYTES:
            fields[number] = data[first:last]
    return fields


def _integer(fields: _Scalars, number: int, default: int) -> int:
    value = fields.get(number, default)
    if not isinstance(value, int):
        raise _Malformed(f"field {number} is not an integer")
    return value


def _bytes(fields: _Scalars, number: int) -> bytes:
    value = fields.get(number, b"")
    if not isinstance(value, bytes):
        raise _Malformed(f"field {number} is not a string")
    return value


def _fields(data: bytes, start: int, stop: int) -> Iterator[tuple[int, int, int, int, int]]:
    """The fields of the message in `data[start:stop]`: (number, wire type, start and stop
    of the payload, integer value or 0)."""
    position = start
    while position < stop:
        tag = data[position]
        position += 1
        if tag >= 0x80:
            tag, position = _varint(data, position - 1, stop)
        number, wire, value = tag >> 3, tag & 7, 0
        first = position
        if wire == _BYTES:
            length, first = _varint(data, position, stop)
            position = first + length
        elif wire == _VARINT:
            value, position = _varint(data, position, stop)
        elif wire == _FIXED32:
            position += 4
        elif wire == _FIXED64:
            position += 8
        else:
            raise _Malformed(f"byte {first - 1} opens no known field")
        if number == 0:
            raise _Malformed(f"field number 0 at byte {first - 1}")
        if position > stop:
            raise _Malformed(f"it ends at byte {stop}, inside a field that runs to byte {position}")
        yield number, wire, first, position, value


def _varint(data: bytes, position: int, stop: int) -> tuple[int, int]:
    """The integer at `position`, signed 64-bit, and the position after it."""
    value = shift = 0
    while position < stop and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            # A negative int32 is written as the 64-bit two's complement.
            value &= (1 << 64) - 1
            return (value - (1 << 64) if value >> 63 else value), position
        shift += 7
    raise _Malformed(f"a number at byte {position} does not end")
