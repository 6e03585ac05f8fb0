"""Case over a whole batch: the fast twins of `case.py`.

Marks are U+E001 to U+E008, the bytes EE 80 81..88, and are told by the last one.

Nearly every byte stands for itself, so runs of such bytes are copied in a loop of their own, up to the next
byte at which something may happen. With a predicted default that is also a newline or the end of a sentence:
from there on, up to and with the next word, every character is looked at (`alert`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenlab.jit import inlined, kernel
from tokenlab.ops.letters_kernels import (
    code_point,
    is_ascii_letter,
    is_letter,
    is_lower,
    is_upper,
    width_at,
)
from tokenlab.ops.marks_kernels import is_metaspace, write_mark
from tokenlab.ops.sentence_start_kernels import ends_sentence

_NONE, _TITLE, _ALLCAPS, _CAPNEXT, _ESC, _LOWER = 0, 0x81, 0x82, 0x83, 0x84, 0x85
_SPACE_TITLE, _SPACE_ALLCAPS, _SPACE_LOWER = 0x86, 0x87, 0x88
_WORD, _BEFORE_SPACE, _SUFFIX, _ALIAS = 0, 1, 2, 3
_SPACE, _NEWLINE = 0x20, 0x0A
_CASE_BIT = 0x20
_SMALL_I = 0x69

REASONS = {
    1: "a capitalization mark is not where the word that it belongs to is",
    2: "ESC is not followed by a character that is ever escaped",
    3: "ALLCAPS is not on a word of two letters or more without CAPNEXT",
    4: "a capital letter stands in text that was rewritten in lower case",
}


@kernel
def _own_marks(place: int, predicted: bool) -> NDArray[np.bool_]:
    """Which last bytes make a mark of this variant, bool[256]."""
    own = np.zeros(256, np.bool_)
    own[_TITLE : _ESC + 1] = True
    own[_LOWER] = predicted
    own[_SPACE_TITLE] = own[_SPACE_ALLCAPS] = place == _ALIAS
    own[_SPACE_LOWER] = place == _ALIAS and predicted
    return own


@inlined
def _mark_at(text: NDArray[np.uint8], i: int, stop: int, own: NDArray[np.bool_]) -> int:
    """The mark at byte `i` by its last byte, or 0."""
    if i + 2 < stop and text[i] == 0xEE and text[i + 1] == 0x80 and own[text[i + 2]]:
        return text[i + 2]
    return _NONE


@inlined
def _alias(mark: int) -> int:
    return _SPACE_TITLE if mark == _TITLE else _SPACE_ALLCAPS if mark == _ALLCAPS else _SPACE_LOWER


@inlined
def _without_space(alias: int) -> int:
    return _TITLE if alias == _SPACE_TITLE else _ALLCAPS if alias == _SPACE_ALLCAPS else _LOWER


@kernel
def _room(text: NDArray[np.uint8], documents: int, predicted: bool) -> int:
    """An upper bound of the output. A mark is written at a capital, for an escape and, once, for what makes
    a start or an `i`; a document is a start."""
    marks = documents
    for byte in text:
        # Bits, not `or`: without branches it is done many bytes at a time.
        marks += is_upper(byte) | (byte >= 0xE2)
    if predicted:
        for byte in text:
            marks += (byte == _NEWLINE) | (byte == 0x2E) | (byte == 0x21) | (byte == 0x3F) | (byte == 0x3A)
            marks += byte == _SMALL_I
    return len(text) + 3 * marks


@kernel
def _events(predicted: bool, decoding: bool) -> NDArray[np.bool_]:
    """Bytes that a run of copied ones ends before, bool[256]: capitals, what marks and U+2581 begin with
    and, with a predicted default, what a start may stand behind."""
    events = np.zeros(256, np.bool_)
    events[0x41:0x5B] = True
    events[0xEE] = True
    events[0xE2] = not decoding
    if predicted:
        events[_NEWLINE] = True
        for byte in (0x2E, 0x21, 0x3F, 0x3A, _SMALL_I):
            events[byte] = True
    return events


@inlined
def _ends_run(text: NDArray[np.uint8], n: int) -> bool:
    """Whether a run ends before the byte `n` of a view, one of `events`: at an `i` only if it is alone."""
    return text[n] != _SMALL_I or not (
        (n > 0 and is_ascii_letter(text[n - 1])) or (n + 1 < len(text) and is_ascii_letter(text[n + 1]))
    )


@kernel
def apply(
    text: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    place: int,
    predicted: bool,
    escape_metaspace: bool,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int32]]:
    """`place` is an index of `case.PLACES`. Returns (output uint8, its offsets int64, cut positions
    int32 as `CutMap` lays them out)."""
    own = _own_marks(place, predicted)
    events = _events(predicted, False)
    documents = len(offsets) - 1
    room = _room(text, documents, predicted)
    out = np.empty(room, np.uint8)
    cuts = np.empty(room + documents, np.int32)
    out_offsets = np.zeros(documents + 1, np.int64)
    o = 0
    for d in range(documents):
        start, stop = offsets[d], offsets[d + 1]
        i = start
        at_start = alert = predicted  # no letter since a newline; a start may be near
        while i < stop:
            byte = text[i]
            width = 1
            if is_ascii_letter(byte):
                if i == start or not is_ascii_letter(text[i - 1]):
                    expected = predicted and (
                        at_start or _is_i(text, i, stop) or (alert and ends_sentence(text, start, i))
                    )
                    i, o = _write_word(text, start, i, stop, place, expected, out, cuts, o, d)
                    at_start = alert = False
                    width = 0
                elif is_upper(byte):  # in a word whose first letter was copied
                    write_mark(out, cuts, o, d, _CAPNEXT, i - start)
                    o += 3
                    byte |= _CASE_BIT
            elif byte >= 0x80:
                if _mark_at(text, i, stop, own):
                    write_mark(out, cuts, o, d, _ESC, i - start)
                    o += 3
                elif escape_metaspace and is_metaspace(text, i, stop):
                    write_mark(out, cuts, o, d, _ESC, i - start)
                    out[o + 3] = _SPACE
                    cuts[o + 3 + d] = i - start
                    o += 4
                    i += 3
                    width = 0
                if width:
                    width = width_at(text, i, stop)
                    at_start = at_start and not is_letter(code_point(text, i, width))
            elif predicted:
                at_start = at_start or byte == _NEWLINE
                alert = alert or events[byte]
            if width:
                out[o] = byte
                cuts[o + d] = i - start
                for k in range(1, width):
                    out[o + k] = text[i + k]
                    cuts[o + k + d] = i + k - start
                o += width
                i += width
            if alert:
                continue
            # Views indexed from 0 spare numba's check for a negative index.
            ahead, copied, cut = text[i:stop], out[o:], cuts[o + d :]
            n = 0
            while n < len(ahead) and not (events[ahead[n]] and _ends_run(ahead, n)):
                copied[n] = ahead[n]
                cut[n] = i - start + n
                n += 1
            o += n
            i += n
        cuts[o + d] = stop - start
        out_offsets[d + 1] = o
    return out[:o], out_offsets, cuts[: o + documents]


@inlined
def _is_i(text: NDArray[np.uint8], i: int, stop: int) -> bool:
    """Whether the word that begins at byte `i` is `i`."""
    return text[i] | _CASE_BIT == _SMALL_I and (i + 1 == stop or not is_ascii_letter(text[i + 1]))


@inlined
def _write_word(
    text: NDArray[np.uint8],
    start: int,
    i: int,
    stop: int,
    place: int,
    expected: bool,
    out: NDArray[np.uint8],
    cuts: NDArray[np.int32],
    o: int,
    d: int,
) -> tuple[int, int]:
    """Write the word that begins at byte `i` of the text; where text and output go on."""
    end = i + 1
    capitals = np.int64(is_upper(text[i]))
    while end < stop and is_ascii_letter(text[end]):
        capitals += is_upper(text[end])
        end += 1
    all_capitals = capitals > 1 and capitals == end - i
    if all_capitals:
        mark = _ALLCAPS
    elif is_upper(text[i]):
        mark = _NONE if expected else _TITLE
    else:
        mark = _LOWER if expected else _NONE
    if mark != _NONE and place != _SUFFIX:
        # The space before the word is written already.
        spaced = place != _WORD and i > start and text[i - 1] == _SPACE
        if spaced:
            o -= 1
            write_mark(out, cuts, o, d, _alias(mark) if place == _ALIAS else mark, i - 1 - start)
            o += 3
            if place == _BEFORE_SPACE:
                out[o] = _SPACE
                cuts[o + d] = i - 1 - start
                o += 1
        else:
            write_mark(out, cuts, o, d, mark, i - start)
            o += 3
    first = i
    while i < end:
        if capitals and not all_capitals and i > first and is_upper(text[i]):
            write_mark(out, cuts, o, d, _CAPNEXT, i - start)
            o += 3
        out[o] = text[i] | _CASE_BIT
        cuts[o + d] = i - start
        o += 1
        i += 1
    if mark != _NONE and place == _SUFFIX:
        write_mark(out, cuts, o, d, mark, end - start)
        o += 3
    return end, o


@kernel
def invert(
    text: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    place: int,
    predicted: bool,
    escape_metaspace: bool,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], int, int, int]:
    """Returns (source uint8, its offsets int64, document, byte and number in REASONS of the
    first place that cannot be read; the number is 0 when there is none)."""
    own = _own_marks(place, predicted)
    events = _events(predicted, True)
    documents = len(offsets) - 1
    out = np.empty(len(text), np.uint8)
    out_offsets = np.zeros(documents + 1, np.int64)
    o = 0
    for d in range(documents):
        start, stop = offsets[d], offsets[d + 1]
        first = o
        i = start
        at_start = alert = predicted
        while i < stop:
            # A word that may have a mark behind it is read as a whole.
            if not alert and place != _SUFFIX:
                ahead, copied = text[i:stop], out[o:]
                n = 0
                while n < len(ahead) and not (events[ahead[n]] and _ends_run(ahead, n)):
                    copied[n] = ahead[n]
                    n += 1
                o += n
                i += n
                if i == stop:
                    break
            byte = text[i]
            here = i - start
            mark = _NONE
            if byte == 0xEE:
                mark = _mark_at(text, i, stop, own)
            if mark == _ESC:
                i += 3
                if _mark_at(text, i, stop, own):
                    out[o], out[o + 1], out[o + 2] = 0xEE, 0x80, text[i + 2]
                    i += 3
                elif i < stop and text[i] == _SPACE and escape_metaspace:
                    out[o], out[o + 1], out[o + 2] = 0xE2, 0x96, 0x81
                    i += 1
                else:
                    return out[:0], out_offsets, d, here, 2
                o += 3
                continue
            if mark == _CAPNEXT:
                # In a word whose first letter was copied.
                i += 3
                if here == 0 or not is_lower(text[i - 4]) or i == stop or not is_lower(text[i]):
                    return out[:0], out_offsets, d, here, 1
                out[o] = text[i] ^ _CASE_BIT
                o += 1
                i += 1
                while i < stop and is_lower(text[i]):
                    out[o] = text[i]
                    o += 1
                    i += 1
                continue
            if mark != _NONE and place == _SUFFIX:
                return out[:0], out_offsets, d, here, 1
            if mark != _NONE:
                i += 3
                if mark >= _SPACE_TITLE:
                    out[o] = _SPACE
                    o += 1
                    mark = _without_space(mark)
                elif place == _BEFORE_SPACE and i < stop and text[i] == _SPACE:
                    out[o] = _SPACE
                    o += 1
                    i += 1
                if i == stop or not is_lower(text[i]):
                    return out[:0], out_offsets, d, here, 1
            elif not is_ascii_letter(byte):
                width = 1
                if byte >= 0x80:
                    width = width_at(text, i, stop)
                    at_start = at_start and not is_letter(code_point(text, i, width))
                elif predicted:
                    at_start = at_start or byte == _NEWLINE
                    alert = alert or events[byte]
                out[o] = byte
                for k in range(1, width):
                    out[o + k] = text[i + k]
                o += width
                i += width
                continue
            word = o
            capitals = 0
            while i < stop:
                if is_lower(text[i]):
                    out[o] = text[i]
                elif o > word and _mark_at(text, i, stop, own) == _CAPNEXT:
                    i += 3
                    if i == stop or not is_lower(text[i]):
                        return out[:0], out_offsets, d, i - 3 - start, 1
                    out[o] = text[i] ^ _CASE_BIT
                    capitals += 1
                else:
                    break
                o += 1
                i += 1
            if i < stop and is_upper(text[i]):
                return out[:0], out_offsets, d, i - start, 4
            if place == _SUFFIX:
                mark = _mark_at(text, i, stop, own)
                if mark == _ESC:
                    mark = _NONE
                elif mark != _NONE:
                    i += 3
            if mark == _ALLCAPS:
                if capitals or o - word < 2:
                    return out[:0], out_offsets, d, here, 3
                for k in range(word, o):
                    out[k] ^= _CASE_BIT
            elif mark == _TITLE:
                out[word] ^= _CASE_BIT
            elif mark == _NONE and predicted:
                is_i = o - word == 1 and out[word] == _SMALL_I
                if at_start or is_i or (alert and ends_sentence(out, first, word)):
                    out[word] ^= _CASE_BIT
            at_start = alert = False
        out_offsets[d + 1] = o
    return out[:o], out_offsets, -1, -1, 0
