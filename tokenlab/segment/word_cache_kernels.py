"""Finding words in a cache, and writing out their tokens, over a whole batch.

A word is looked up by its first 16 bytes as two integers and its length; only longer ones are
compared byte by byte behind that. Words of a document are taken in two steps, BLOCK at a time: first
all are cut out and hashed, then all are looked up, so that the loads of one do not wait for a wrong
guess about the next.

An entry is four uint64:

    0, 1   the first and the second eight bytes, little-endian, zeros behind the end
    2      length in bytes; the number of its tokens << 32
    3      where the word begins in `keys`; where its tokens begin << 32
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenlab.jit import inlined, kernel
from tokenlab.segment.word_cache import SLACK

BLOCK = 128
_LOW = 0xFFFFFFFF
_ONES = 0x0101010101010101
_FIRST_PRIME, _SECOND_PRIME = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9


@inlined
def _eight(data: NDArray[np.uint8], at: int) -> np.uint64:
    """Eight bytes as an integer; written out, it compiles to one load."""
    i = np.uint64(at)  # unsigned, because numba checks every signed index for being negative
    low = (
        np.uint64(data[i])
        | np.uint64(data[i + np.uint64(1)]) << np.uint64(8)
        | np.uint64(data[i + np.uint64(2)]) << np.uint64(16)
        | np.uint64(data[i + np.uint64(3)]) << np.uint64(24)
    )
    high = (
        np.uint64(data[i + np.uint64(4)])
        | np.uint64(data[i + np.uint64(5)]) << np.uint64(8)
        | np.uint64(data[i + np.uint64(6)]) << np.uint64(16)
        | np.uint64(data[i + np.uint64(7)]) << np.uint64(24)
    )
    return low | high << np.uint64(32)


@kernel
def _few(data: NDArray[np.uint8], at: int, count: int) -> np.uint64:
    value = np.uint64(0)
    for k in range(count):
        value |= np.uint64(data[at + k]) << np.uint64(8 * k)
    return value


@inlined
def _up_to_eight(data: NDArray[np.uint8], at: int, count: int) -> np.uint64:
    """`count` bytes, 1 to 8, as an integer."""
    if at + 8 <= len(data):
        return _eight(data, at) & (~np.uint64(0) >> np.uint64(64 - 8 * count))
    return _few(data, at, count)


@inlined
def _lowest_byte(flags: np.uint64) -> int:
    """Index of the lowest byte that is 1, of bytes that are 0 or 1 and not all 0."""
    lowest = flags & (~flags + np.uint64(1))
    return np.int64(((lowest - np.uint64(1)) & np.uint64(_ONES)) * np.uint64(_ONES) >> np.uint64(56))


@inlined
def _mix(state: np.uint64, value: np.uint64) -> np.uint64:
    return (state ^ (state >> np.uint64(29)) ^ value) * np.uint64(_SECOND_PRIME)


@kernel
def _mark_words(
    text: NDArray[np.uint8], start: int, stop: int, cuts: NDArray[np.bool_], begins: NDArray[np.uint8]
) -> None:
    """Set `begins[i]` to whether a word begins at byte `i` of a document that is not empty; one
    begins where it ends, too."""
    document = text[start:stop]
    marks = begins[: len(document)]
    before = np.uint64(document[0])
    for i in range(np.uint64(1), np.uint64(len(document))):
        byte = np.uint64(document[i])
        marks[i] = cuts[before << np.uint64(8) | byte]
        before = byte
    begins[len(document)] = 1
    begins[len(document) + 1 : len(document) + 9] = 0


@kernel
def _rest_of_hash(text: NDArray[np.uint8], at: int, stop: int, state: np.uint64) -> np.uint64:
    while at < stop:
        state = _mix(state, _up_to_eight(text, at, min(stop - at, 8)))
        at += 8
    return state


@kernel
def find(
    text: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    first_document: int,
    cuts: NDArray[np.bool_],
    table: NDArray[np.uint32],
    entries: NDArray[np.uint64],
    used: int,
    keys: NDArray[np.uint8],
    key_bytes: int,
    words: NDArray[np.uint32],
    word_offsets: NDArray[np.int64],
    found: int,
) -> tuple[int, int, int]:
    """Look up the words of documents from `first_document` on, and enter those that are new.

    `cuts` bool[65536]: whether a word may begin between two bytes. `table`: entry + 1 by slot, 0 where
    there is none. `words` uint32 gets the entry of each word from index `found` on, `word_offsets`
    where each document ends there. Returns (document where the cache was full, or their number;
    entries used; bytes of keys used).
    """
    mask = np.uint64(len(table) - 1)
    begins = np.zeros(np.diff(offsets).max() + 16, np.uint8)
    starts = np.empty(BLOCK, np.int64)
    lengths = np.empty(BLOCK, np.int64)
    firsts = np.empty(BLOCK, np.uint64)
    seconds = np.empty(BLOCK, np.uint64)
    hashes = np.empty(BLOCK, np.uint64)
    n = found
    for d in range(first_document, len(offsets) - 1):
        start, stop = offsets[d], offsets[d + 1]
        if start < stop:
            _mark_words(text, start, stop, cuts, begins)
        i = start
        while i < stop:
            block = np.uint64(0)
            while i < stop and block < np.uint64(BLOCK):
                flags = _eight(begins, i + 1 - start)
                if flags:
                    length = _lowest_byte(flags) + 1
                    first = _up_to_eight(text, i, length)
                    second = np.uint64(0)
                    state = first * np.uint64(_FIRST_PRIME)
                else:
                    length = 9
                    while not begins[np.uint64(i + length - start)]:
                        length += 1
                    first = _up_to_eight(text, i, 8)
                    second = _up_to_eight(text, i + 8, min(length - 8, 8))
                    state = _mix(first * np.uint64(_FIRST_PRIME), second)
                    if length > 16:
                        state = _rest_of_hash(text, i + 16, i + length, state)
                starts[block], lengths[block] = i, length
                firsts[block], seconds[block], hashes[block] = first, second, state
                i += length
                block += np.uint64(1)
            for w in range(block):
                slot = (hashes[w] >> np.uint64(40)) & mask
                size = np.uint64(lengths[w])
                while True:
                    entry = np.uint64(table[slot])
                    if entry == 0:
                        if used == len(entries) or key_bytes + lengths[w] > len(keys):
                            return d, used, key_bytes
                        entries[used, 0], entries[used, 1] = firsts[w], seconds[w]
                        entries[used, 2], entries[used, 3] = size, np.uint64(key_bytes)
                        for k in range(lengths[w]):
                            keys[key_bytes + k] = text[starts[w] + k]
                        key_bytes += lengths[w]
                        used += 1
                        entry = np.uint64(used)
                        table[slot] = entry
                        break
                    row = entries[entry - np.uint64(1)]
                    same = (row[0] == firsts[w]) & (row[1] == seconds[w]) & (row[2] & np.uint64(_LOW) == size)
                    if same and (
                        size <= np.uint64(16)
                        or _same_rest(keys, np.int64(row[3] & np.uint64(_LOW)), text, starts[w], lengths[w])
                    ):
                        break
                    slot = (slot + np.uint64(1)) & mask
                words[np.uint64(n) + w] = entry - np.uint64(1)
            n += np.int64(block)
        word_offsets[d + 1] = n
    return len(offsets) - 1, used, key_bytes


@kernel
def _same_rest(keys: NDArray[np.uint8], key: int, text: NDArray[np.uint8], start: int, length: int) -> bool:
    """Whether a word of more than 16 bytes is a key from there on."""
    return bool((keys[key + 16 : key + length] == text[start + 16 : start + length]).all())


@kernel
def enter(entries: NDArray[np.uint64], used: int, keys: NDArray[np.uint8], table: NDArray[np.uint32]) -> None:
    """Put the first `used` entries into an empty table."""
    mask = np.uint64(len(table) - 1)
    for e in range(used):
        row = entries[e]
        length = np.int64(row[2] & np.uint64(_LOW))
        state = row[0] * np.uint64(_FIRST_PRIME)
        if length > 8:
            state = _mix(state, row[1])
        if length > 16:
            key = np.int64(row[3] & np.uint64(_LOW))
            state = _rest_of_hash(keys, key + 16, key + length, state)
        slot = (state >> np.uint64(40)) & mask
        while table[slot]:
            slot = (slot + np.uint64(1)) & mask
        table[slot] = e + 1


@kernel
def count_tokens(words: NDArray[np.uint32], entries: NDArray[np.uint64]) -> int:
    """Tokens of all words."""
    total = np.uint64(0)
    for entry in words:
        total += entries[np.uint64(entry), 2] >> np.uint64(32)
    return np.int64(total)


@kernel
def write_tokens(
    words: NDArray[np.uint32],
    word_offsets: NDArray[np.int64],
    entries: NDArray[np.uint64],
    word_ids: NDArray[np.uint32],
    word_ends: NDArray[np.int32],
    ids: NDArray[np.uint32],
    ends: NDArray[np.int32],
    id_offsets: NDArray[np.int64],
) -> None:
    """Write the tokens of each document's words: `ids`, `ends` (bytes of the document up to the end
    of each) and where each document ends. `ids`, `ends` and the word's arrays have SLACK more."""
    n = 0
    for d in range(len(word_offsets) - 1):
        at = 0
        for w in range(word_offsets[d], word_offsets[d + 1]):
            row = entries[np.uint64(words[w])]
            count = row[2] >> np.uint64(32)
            source, target = row[3] >> np.uint64(32), np.uint64(n)
            for k in range(np.uint64(SLACK)):
                ids[target + k] = word_ids[source + k]
                ends[target + k] = at + word_ends[source + k]
            for k in range(np.uint64(SLACK), count):
                ids[target + k] = word_ids[source + k]
                ends[target + k] = at + word_ends[source + k]
            n += np.int64(count)
            at += np.int64(row[2] & np.uint64(_LOW))
        id_offsets[d + 1] = n
