"""SentencePiece's normaliser over a whole batch in one pass, with its cut map: the fast
twin of `normalize.normalize_reference`.

Written after the behaviour of `normalizer.cc` of SentencePiece 0.2 and the unit layout of
Darts-clone, whose double array the model file holds. The tables come from
`normalize.py`; every index that a table yields is checked, because a model file is
input like any other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenlab.jit import kernel

SPACE = 0x20

# Where a chunk's bytes are: in the source, or in the replacement strings.
_FROM_SOURCE = 0
_FROM_RULES = 1
_UNCHANGED = 2  # in the source, one character that no rule and no symbol begins with

_NO_ROOM = -1


@kernel
def normalize(
    source: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    ascii_action: NDArray[np.int16],
    units: NDArray[np.uint32],
    replacements: NDArray[np.uint8],
    symbol_next: NDArray[np.int32],
    symbol_end: NDArray[np.bool_],
    collapse: bool,
    dummy_prefix: bool,
    dummy_suffix: bool,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int32]]:
    """Normalise every document.

    `source`, `offsets`: a uint8 batch. `ascii_action`: for an ASCII byte before another
    one, the byte it becomes, or -1 to look it up. `units`: the double array. `replacements`:
    its NUL-terminated strings. `symbol_next`, `symbol_end`: user-defined symbols as a trie,
    [node, byte] -> node or 0. `collapse`: strip the ends, and one space where there are
    several (remove_extra_whitespaces).

    Returns (output uint8, its offsets, positions as in `CutMap`).
    """
    documents = len(offsets) - 1
    # Room for text that does not grow; a document that finds none is done again in more.
    capacity = len(source) + len(source) // 16 + 2 * documents + 16
    out = np.empty(capacity, np.uint8)
    positions = np.empty(capacity + documents, np.int32)
    out_offsets = np.zeros(documents + 1, np.int64)
    written = 0
    for d in range(documents):
        start, stop = offsets[d], offsets[d + 1]
        while True:
            end = _NO_ROOM
            if capacity - written >= stop - start + 2:
                end = _document(
                    source, start, stop, ascii_action, units, replacements, symbol_next, symbol_end, collapse,
                    dummy_prefix, dummy_suffix, out, positions, written, d,
                )  # fmt: skip
            if end != _NO_ROOM:
                break
            capacity = capacity + capacity // 2 + 2 * (stop - start) + 2
            more_out = np.empty(capacity, np.uint8)
            more_out[:written] = out[:written]
            more_positions = np.empty(capacity + documents, np.int32)
            more_positions[: written + d] = positions[: written + d]
            out, positions = more_out, more_positions
        written = end
        out_offsets[d + 1] = end
    return out[:written], out_offsets, positions[: written + documents]


@kernel
def _document(
    source: NDArray[np.uint8],
    start: int,
    stop: int,
    ascii_action: NDArray[np.int16],
    units: NDArray[np.uint32],
    replacements: NDArray[np.uint8],
    symbol_next: NDArray[np.int32],
    symbol_end: NDArray[np.bool_],
    collapse: bool,
    dummy_prefix: bool,
    dummy_suffix: bool,
    out: NDArray[np.uint8],
    positions: NDArray[np.int32],
    first: int,
    shift: int,
) -> int:
    """Normalise `source[start:stop]` into `out[first:]`, its map into
    `positions[first + shift:]`. Returns the end of the output, or `_NO_ROOM`.

    Holds everywhere: room left >= source left + 1 (+ 2 on entry). So only a replacement, the
    one step that can write more than it consumes, needs a check; a dummy space has its 1.
    """
    capacity = len(out)
    at, w = start, first

    if collapse:
        while at < stop:
            kind, length, where = _match(source, at, stop, units, replacements, symbol_next, symbol_end)
            if kind == _FROM_RULES:
                is_space = replacements[where] == SPACE and replacements[where + 1] == 0
            else:
                is_space = length == 1 and source[at] == SPACE
            if not is_space:
                break
            at += length
    if at == stop:
        positions[first + shift] = at - start
        return first

    if dummy_prefix:
        out[w] = SPACE
        positions[w + shift] = at - start
        w += 1

    after_space = collapse
    # The last run of output bytes that came from one chunk, while it may yet be refined.
    run, run_at = -1, 0
    while at < stop:
        # ASCII before ASCII (or the end) needs one table look-up.
        if source[at] < 0x80:
            entered = w
            entered_at = at
            while at < stop:
                byte = source[at]
                if byte >= 0x80 or (at + 1 < stop and source[at + 1] >= 0x80):
                    break
                action = ascii_action[byte]
                if action < 0:
                    break
                if action == SPACE:
                    if after_space:
                        at += 1
                        continue
                    after_space = collapse
                else:
                    after_space = False
                out[w] = action
                positions[w + shift] = at - start
                w += 1
                at += 1
            if run >= 0 and w > entered:
                # A run that ends in a space is left alone anyway, so it does not matter
                # that the first bytes here may have been collapsed into it.
                _refine(source, start, out, positions, shift, run, entered, run_at, entered_at)
                run = -1
            if at == stop:
                break

        kind, length, where = _match(source, at, stop, units, replacements, symbol_next, symbol_end)
        if kind == _UNCHANGED and length > 1:
            if run >= 0:
                _refine(source, start, out, positions, shift, run, w, run_at, at)
                run = -1
            if length == 3 and source[at] == 0xE2 and source[at + 1] == 0x96 and source[at + 2] == 0x81:
                out[w] = SPACE
                positions[w + shift] = at - start
                w += 1
            else:
                for i in range(length):
                    out[w + i] = source[at + i]
                    positions[w + i + shift] = at + i - start
                w += length
            after_space = False
            at += length
            continue

        begin = w
        if kind == _FROM_RULES:
            chunk_stop = where
            while replacements[chunk_stop] != 0:
                chunk_stop += 1
            if capacity - w < chunk_stop - where + stop - at - length + 1:
                return _NO_ROOM
            w = _emit(replacements, where, chunk_stop, after_space, at - start, out, positions, w, shift)
            raw_end = replacements[chunk_stop - 1] if chunk_stop > where else np.uint8(0)
        else:
            w = _emit(source, at, at + length, after_space, at - start, out, positions, w, shift)
            raw_end = source[at + length - 1]
        if w > begin:
            if run >= 0:
                _refine(source, start, out, positions, shift, run, begin, run_at, at)
            run, run_at = begin if w - begin > 1 else -1, at
            # U+2581 in the text becomes a space, but is none to the collapsing.
            after_space = collapse and raw_end == SPACE
        at += length

    cut = at - start
    if collapse:
        while w > first and out[w - 1] == SPACE:
            w -= 1
            cut = positions[w + shift]
    if run >= 0 and run < w:
        _refine(source, start, out, positions, shift, run, w, run_at, start + cut)
    if dummy_suffix:
        out[w] = SPACE
        positions[w + shift] = cut
        w += 1
    positions[w + shift] = cut
    return w


@kernel
def _match(
    source: NDArray[np.uint8],
    at: int,
    stop: int,
    units: NDArray[np.uint32],
    replacements: NDArray[np.uint8],
    symbol_next: NDArray[np.int32],
    symbol_end: NDArray[np.bool_],
) -> tuple[int, int, int]:
    """One chunk: (kind, source bytes, where its bytes are).

    A user-defined symbol comes before a rule, the longest of each wins, and where neither
    begins the chunk is one character.
    """
    length = 0
    state = symbol_next[0, source[at]]
    i = at + 1
    while state > 0:
        if symbol_end[state]:
            length = i - at
        if i == stop:
            break
        state = symbol_next[state, source[i]]
        i += 1
    if length:
        return _FROM_SOURCE, length, at

    where = np.int64(0)
    count = len(units)
    if count:
        node = (np.int64(units[0]) >> 10) << ((np.int64(units[0]) & 0x200) >> 6)
        for i in range(at, stop):
            node ^= np.int64(source[i])
            if node >= count:
                break
            unit = np.int64(units[node])
            if unit & 0x800000FF != source[i]:
                break
            node ^= (unit >> 10) << ((unit & 0x200) >> 6)
            if (unit >> 8) & 1 and node < count:
                length = i + 1 - at
                where = np.int64(units[node]) & 0x7FFFFFFF
    if length:
        return _FROM_RULES, length, min(int(where), len(replacements) - 1)

    byte = source[at]
    length = 1 if byte < 0xC0 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    return _UNCHANGED, min(length, stop - at), at


@kernel
def _emit(
    chunk: NDArray[np.uint8],
    i: int,
    stop: int,
    after_space: bool,
    cut: int,
    out: NDArray[np.uint8],
    positions: NDArray[np.int32],
    w: int,
    shift: int,
) -> int:
    """Write `chunk[i:stop]` less its leading spaces if `after_space`, U+2581 as a space,
    every byte at source position `cut`. Returns the new end of the output."""
    while after_space and i < stop and chunk[i] == SPACE:
        i += 1
    while i < stop:
        byte = chunk[i]
        if byte == 0xE2 and i + 2 < stop and chunk[i + 1] == 0x96 and chunk[i + 2] == 0x81:
            byte = np.uint8(SPACE)
            i += 2
        out[w] = byte
        positions[w + shift] = cut
        w += 1
        i += 1
    return w


@kernel
def _refine(
    source: NDArray[np.uint8],
    start: int,
    out: NDArray[np.uint8],
    positions: NDArray[np.int32],
    shift: int,
    run: int,
    run_stop: int,
    run_at: int,
    next_at: int,
) -> None:
    """Let the cuts of `out[run:run_stop]` advance byte by byte if the run is what the
    source has at `run_at`; see `normalize.normalize_reference` for the definition."""
    length = run_stop - run
    if length > next_at - run_at or out[run_stop - 1] == SPACE:
        return
    for i in range(length):
        if out[run + i] != source[run_at + i]:
            return
    for i in range(length):
        positions[run + i + shift] = run_at + i - start
