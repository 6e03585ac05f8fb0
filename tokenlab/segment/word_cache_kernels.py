"""Finding words in a cache, and writing out their tokens, over a whole batch.

A word is looked up by its first 16 bytes as two integers and its length; only longer ones are
compared byte by byte behind that. A document is taken in steps without a branch that the processor must
guess: where words begin, then, BLOCK words at a time, their hashes, their slots, their entries, and whether
those are the words. Table and entries are larger than a core's own cache: in a step that does nothing but
load, dozens of loads are on their way at once.

An entry is four uint64; the first one is none:

    0, 1   the first and the second eight bytes, little-endian, zeros behind the end
    2      length in bytes, with SLOW if it is over 16 or its tokens are not known yet;
           the number of its tokens << 32
    3      where the word begins in `keys`; where its tokens begin in `tokens` << 32

A found word is one uint64: where its tokens begin; its length << 32; their number << 48. Of a SLOW
entry it is the number of the entry alone. A token is its id; the bytes of the word up to its end << 32.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenlab.eight_bytes import load
from tokenlab.jit import inlined, kernel
from tokenlab.segment.word_cache import LENGTH, LOW, SLACK, SLOW

BLOCK = 128
_FIRST_PRIME, _SECOND_PRIME = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9


@kernel
def _up_to_eight(data: NDArray[np.uint8], at: int, stop: int) -> np.uint64:
    """The bytes before `stop`, eight at most, as an integer."""
    value = np.uint64(0)
    for k in range(min(stop - at, 8)):
        value |= np.uint64(data[at + k]) << np.uint64(8 * k)
    return value


@inlined
def _hash(first: np.uint64, second: np.uint64) -> np.uint64:
    state = first * np.uint64(_FIRST_PRIME)
    return (state ^ (state >> np.uint64(29)) ^ second) * np.uint64(_SECOND_PRIME)


@kernel
def _hash_rest(text: NDArray[np.uint8], at: int, stop: int, state: np.uint64) -> np.uint64:
    while at < stop:
        state = _hash(state, _up_to_eight(text, at, stop))
        at += 8
    return state


@kernel
def _word_starts(
    document: NDArray[np.uint8], cuts: NDArray[np.bool_], starts: NDArray[np.int32]
) -> np.uint64:
    """Write where each word of a document begins, and where the last one ends; the number of words."""
    n = np.uint64(0)
    before = np.uint64(0)
    for i in range(np.uint64(len(document))):
        byte = np.uint64(document[i])
        starts[n] = i
        n += np.uint64((i == 0) | cuts[before << np.uint64(8) | byte])
        before = byte
    starts[n] = len(document)
    return n


@inlined
def _hash_words(
    text: NDArray[np.uint8],
    start: int,
    starts: NDArray[np.int32],
    masks: NDArray[np.uint64],
    block: NDArray[np.uint64],
    size: np.uint64,
) -> None:
    """Length, first and second eight bytes, and hash of the words from `starts[0]` on, into rows 0 to 3
    of `block`."""
    for w in range(size):
        at = start + np.int64(starts[w])
        end = start + np.int64(starts[w + np.uint64(1)])
        length = end - at
        if at + 16 <= len(text):
            first = load(text, at) & masks[np.uint64(min(length, 8))]
            second = load(text, at + 8) & masks[np.uint64(min(max(length - 8, 0), 8))]
        else:
            first, second = _up_to_eight(text, at, end), _up_to_eight(text, at + 8, end)
        state = _hash(first, second)
        if length > 16:
            state = _hash_rest(text, at + 16, end, state)
        block[0, w], block[1, w], block[2, w], block[3, w] = np.uint64(length), first, second, state


@inlined
def _look_up(
    block: NDArray[np.uint64],
    size: np.uint64,
    table: NDArray[np.uint32],
    entries: NDArray[np.uint64],
    words: NDArray[np.uint64],
    here: NDArray[np.bool_],
) -> np.uint64:
    """Each word as if it were known and in its own slot, as nearly every word is, and `here` whether it
    is; without a branch. Rows 4 and 5 of `block` get its entry, and what that says of it. Returns the number
    of their tokens."""
    mask = np.uint64(len(table) - 1)
    total = np.uint64(0)
    for w in range(size):
        block[4, w] = table[block[3, w] >> np.uint64(40) & mask]
    for w in range(size):
        block[5, w] = entries[block[4, w], 2]
    for w in range(size):
        entry, about = block[4, w], block[5, w]
        where = entries[entry, 3]
        differs = (entries[entry, 0] ^ block[1, w]) | (entries[entry, 1] ^ block[2, w])
        here[w] = (differs | ((about & np.uint64(LOW)) ^ block[0, w])) == np.uint64(0)
        tokens = about >> np.uint64(32)
        words[w] = where >> np.uint64(32) | block[0, w] << np.uint64(32) | tokens << np.uint64(48)
        total += tokens
    return total


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
    words: NDArray[np.uint64],
    word_offsets: NDArray[np.int64],
    found: int,
) -> tuple[int, int, int, int]:
    """Look up the words of documents from `first_document` on, and enter those that are new.

    `cuts` bool[65536]: whether a word may begin between two bytes. `table`: entry by slot, 0 where
    there is none. `words` gets each word from index `found` on, `word_offsets` where each document ends
    there. Returns (document where the cache was full, or their number; entries used; bytes of keys
    used; an upper bound of the tokens of the documents before).
    """
    masks = np.zeros(9, np.uint64)
    for k in range(1, 9):
        masks[k] = ~np.uint64(0) >> np.uint64(64 - 8 * k)
    starts = np.empty(np.diff(offsets).max() + 2, np.int32)
    block = np.empty((6, BLOCK), np.uint64)
    here = np.empty(BLOCK, np.bool_)
    bound = 0
    n = found
    for d in range(first_document, len(offsets) - 1):
        start = offsets[d]
        count = np.int64(_word_starts(text[start : offsets[d + 1]], cuts, starts))
        tokens = np.uint64(0)
        for first in range(0, count, BLOCK):
            size = np.uint64(min(BLOCK, count - first))
            _hash_words(text, start, starts[first:], masks, block, size)
            tokens += _look_up(block, size, table, entries, words[n:], here)
            for w in range(size):
                if here[w]:
                    continue
                at = start + starts[np.uint64(first) + w]
                entry = _find_or_enter(text, at, block[:, w], table, entries, used, keys, key_bytes)
                if entry == 0:
                    return d, used, key_bytes, bound
                if entry == used:
                    used += 1
                    key_bytes += np.int64(block[0, w])
                words[np.uint64(n) + w] = entry
                tokens += max(block[0, w], entries[entry, 2] >> np.uint64(32))
            n += np.int64(size)
        bound += np.int64(tokens)
        word_offsets[d + 1] = n
    return len(offsets) - 1, used, key_bytes, bound


@kernel
def _find_or_enter(
    text: NDArray[np.uint8],
    at: int,
    word: NDArray[np.uint64],
    table: NDArray[np.uint32],
    entries: NDArray[np.uint64],
    used: int,
    keys: NDArray[np.uint8],
    key_bytes: int,
) -> int:
    """The entry of any word, which is `used` if it is a new one, and 0 if there is no room for it."""
    mask = np.uint64(len(table) - 1)
    length = np.int64(word[0])
    slot = word[3] >> np.uint64(40) & mask
    while table[slot]:
        row = entries[table[slot]]
        key = np.int64(row[3] & np.uint64(LOW))
        if (
            row[0] == word[1]
            and row[1] == word[2]
            and row[2] & np.uint64(LENGTH) == word[0]
            and (length <= 16 or _same_rest(keys, key, text, at, length))
        ):
            return np.int64(table[slot])
        slot = (slot + np.uint64(1)) & mask
    if used == len(entries) or key_bytes + length > len(keys):
        return 0
    entries[used, 0], entries[used, 1] = word[1], word[2]
    entries[used, 2], entries[used, 3] = word[0] | np.uint64(SLOW), np.uint64(key_bytes)
    keys[key_bytes : key_bytes + length] = text[at : at + length]
    table[slot] = used
    return used


@kernel
def _same_rest(keys: NDArray[np.uint8], key: int, text: NDArray[np.uint8], start: int, length: int) -> bool:
    """Whether a word of more than 16 bytes is a key from there on."""
    return bool((keys[key + 16 : key + length] == text[start + 16 : start + length]).all())


@kernel
def enter(entries: NDArray[np.uint64], used: int, keys: NDArray[np.uint8], table: NDArray[np.uint32]) -> None:
    """Put the entries before `used` into an empty table."""
    mask = np.uint64(len(table) - 1)
    for e in range(1, used):
        row = entries[e]
        length = np.int64(row[2] & np.uint64(LENGTH))
        state = _hash(row[0], row[1])
        if length > 16:
            key = np.int64(row[3] & np.uint64(LOW))
            state = _hash_rest(keys, key + 16, key + length, state)
        slot = (state >> np.uint64(40)) & mask
        while table[slot]:
            slot = (slot + np.uint64(1)) & mask
        table[slot] = e


@kernel
def write_tokens(
    words: NDArray[np.uint64],
    word_offsets: NDArray[np.int64],
    entries: NDArray[np.uint64],
    tokens: NDArray[np.uint64],
    ids: NDArray[np.uint32],
    ends: NDArray[np.int32],
    id_offsets: NDArray[np.int64],
) -> None:
    """Write the tokens of each document's words, all of them known by now: `ids`, `ends` (bytes of
    the document up to the end of each) and where each document ends. `ids`, `ends` and `tokens` have
    SLACK more than there are."""
    n = 0
    for d in range(len(word_offsets) - 1):
        at = np.uint64(0)
        for w in range(np.uint64(word_offsets[d]), np.uint64(word_offsets[d + 1])):
            word = words[w]
            count = word >> np.uint64(48)
            if count:
                source, length = word & np.uint64(LOW), word >> np.uint64(32) & np.uint64(0xFFFF)
            else:
                row = entries[word]
                source, length, count = (
                    row[3] >> np.uint64(32),
                    row[2] & np.uint64(LENGTH),
                    row[2] >> np.uint64(32),
                )
            target = np.uint64(n)
            for k in range(np.uint64(SLACK)):
                ids[target + k] = tokens[source + k]
                ends[target + k] = at + (tokens[source + k] >> np.uint64(32))
            for k in range(np.uint64(SLACK), count):
                ids[target + k] = tokens[source + k]
                ends[target + k] = at + (tokens[source + k] >> np.uint64(32))
            n += np.int64(count)
            at += length
        id_offsets[d + 1] = n
