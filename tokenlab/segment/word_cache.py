"""A cache of words before a BPE encoder: what was encoded once is not encoded again.

BPE merges two neighbours when together they are a piece. So where no piece of the vocabulary holds
two bytes side by side, no merge ever joins what is left of that place with what is right of it: the
text may be cut there, and the parts encoded one by one give the ids of the whole. With a vocabulary
for English such places are before most spaces and around most punctuation. The parts are *words*
here; a batch has few that were not seen before, and those go to the encoder in one call.

A word's ids must spell it (`cover`) before it is entered, and it is found by comparing all of its
bytes, so ids from the cache spell the text.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tokenlab.errors import EncodingError
from tokenlab.ragged import Ragged, offsets_of
from tokenlab.segment.spelling import cover

FIRST_ENTRIES = 1 << 14
MOST_ENTRIES = 1 << 20
"""A full cache is emptied; 14 MB of English web text have some 60,000 words."""
KEY_BYTES = 32
"""Room for the bytes of words, for each entry that there is room for."""
TABLE_FACTOR = 4
"""Slots for each entry that there is room for, at least."""
SLACK = 4
"""Tokens of a word that are written in one step, together with what follows them."""
LOW, LENGTH, SLOW = 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000

_INSIDE = slice(0x80, 0xC0)
"""Bytes that do not begin a character; the last of a marker is one."""


def word_cuts(token_bytes: Ragged) -> NDArray[np.bool_]:
    """Whether a word begins between byte a and byte b, bool[65536] at a << 8 | b: no piece holds them
    side by side, and b begins a character. A space, or a marker, and the word behind it stay
    together: one look-up is cheaper than two."""
    text = token_bytes.values.astype(np.int64)
    inside = np.ones(max(0, len(text) - 1), bool)
    ends = token_bytes.offsets[1:-1]
    inside[ends[(ends > 0) & (ends < len(text))] - 1] = False
    cuts = np.ones((256, 256), bool)
    cuts[text[:-1][inside], text[1:][inside]] = False
    cuts[:, _INSIDE] = False
    cuts[0x20] = False
    for letters in (slice(0x41, 0x5B), slice(0x61, 0x7B)):
        cuts[_INSIDE, letters] = False
    return cuts.reshape(-1)


def separator_of(token_bytes: Ragged) -> int | None:
    """A byte that stands in no piece but alone, so that no merge crosses it; None if there is none."""
    lengths = np.repeat(token_bytes.lengths, token_bytes.lengths)
    alone = np.bincount(token_bytes.values[lengths == 1], minlength=256) > 0
    inside = np.bincount(token_bytes.values[lengths > 1], minlength=256) > 0
    bytes_ = np.flatnonzero(alone[:0x80] & ~inside[:0x80])
    return int(bytes_[0]) if len(bytes_) else None


class WordCache:
    """Words and their tokens, kept from batch to batch; not for several threads at once."""

    def __init__(
        self, token_bytes: Ragged, encode: Callable[[Ragged], Ragged], most_entries: int = MOST_ENTRIES
    ) -> None:
        """`encode`: ids (uint32) of a uint8 batch, by BPE merges of the pieces that `token_bytes` spells."""
        self._token_bytes = token_bytes
        self._encode = encode
        self._most = most_entries
        self._cuts = word_cuts(token_bytes)
        self._separator = separator_of(token_bytes)
        self._used = self._known = self._key_bytes = 0
        self._clear()

    def split(self, text: Ragged) -> tuple[Ragged, Ragged]:
        """Ids (uint32) of a uint8 batch, and for each the bytes of its document covered so far (int32).

        Raises EncodingError, with the document's index, for one whose ids do not spell it.
        """
        try:
            return self._split(text)
        except EncodingError:
            # It names a word; the whole batch at once names the document.
            self._clear()
            ids = self._encode(text)
            return ids, cover(ids, self._token_bytes, text)

    def _split(self, text: Ragged) -> tuple[Ragged, Ragged]:
        from tokenlab.segment.word_cache_kernels import find

        words = np.empty(len(text.values), np.uint64)
        word_offsets = np.zeros(len(text) + 1, np.int64)
        tokens: list[tuple[Ragged, Ragged]] = []
        at = written = bound = 0
        emptied_for = -1
        while at < len(text):
            at, self._used, self._key_bytes, more = find(
                text.values,
                text.offsets,
                at,
                self._cuts,
                self._table,
                self._entries,
                self._used,
                self._keys,
                self._key_bytes,
                words,
                word_offsets,
                int(word_offsets[at]),
            )
            bound += more
            if at == len(text) or self._grow():
                continue
            # There is no room for the words of document `at`.
            if written < at:
                tokens.append(self._write(words, word_offsets[written : at + 1], bound))
            elif emptied_for == at:
                alone = text.rows(at, at + 1)
                ids = self._encode(alone)
                tokens.append((ids, cover(ids, self._token_bytes, alone)))
                at += 1
            written = emptied_for = at
            word_offsets[at] = bound = 0
            self._clear()
        if written < at:
            tokens.append(self._write(words, word_offsets[written:], bound))
        ids = Ragged.concatenate([part for part, _ in tokens], np.uint32)
        return ids, Ragged.concatenate([part for _, part in tokens], np.int32)

    def _clear(self) -> None:
        self._entries = np.empty((min(FIRST_ENTRIES, self._most), 4), np.uint64)
        self._table = _empty_table(len(self._entries))
        self._keys = np.empty(KEY_BYTES * len(self._entries), np.uint8)
        self._entries[0] = 0
        self._used = self._known = 1
        self._key_bytes = 0
        self._tokens = np.zeros(SLACK, np.uint64)
        self._token_count = 0

    def _grow(self) -> bool:
        """Make room for twice as many words; False if there are as many as there may be."""
        from tokenlab.segment.word_cache_kernels import enter

        if len(self._entries) == self._most:
            return False
        more = min(2 * len(self._entries), self._most)
        entries, keys = np.empty((more, 4), np.uint64), np.empty(KEY_BYTES * more, np.uint8)
        entries[: self._used] = self._entries[: self._used]
        keys[: self._key_bytes] = self._keys[: self._key_bytes]
        self._entries, self._keys = entries, keys
        self._table = _empty_table(more)
        enter(self._entries, self._used, self._keys, self._table)
        return True

    def _learn(self) -> None:
        """Encode the words that were entered since the last call. Raises EncodingError."""
        new = self._entries[self._known : self._used]
        if not len(new):
            return
        lengths = (new[:, 2] & np.uint64(LENGTH)).astype(np.int64)
        offsets = offsets_of(lengths)
        text = Ragged(self._keys[self._key_bytes - int(offsets[-1]) : self._key_bytes], offsets)
        ids, ends = self._encode_words(text)
        first, stop = self._token_count, self._token_count + len(ids.values)
        if stop + SLACK > len(self._tokens):
            grown = np.zeros(2 * (stop + SLACK), np.uint64)
            grown[:first] = self._tokens[:first]
            self._tokens = grown
        self._tokens[first:stop] = ids.values | ends.values.astype(np.uint64) << 32
        self._token_count = stop
        new[lengths <= 16, 2] &= np.uint64(LENGTH)
        new[:, 2] |= ids.lengths.astype(np.uint64) << 32
        new[:, 3] |= (first + ids.offsets[:-1]).astype(np.uint64) << 32
        self._known = self._used

    def _encode_words(self, text: Ragged) -> tuple[Ragged, Ragged]:
        """Ids of words, and the bytes of its word up to the end of each, checked by `cover`.

        As one document with a separator behind each word, where the vocabulary has one: a batch makes
        gigatoken import awkward, which takes 0.3 s. Raises EncodingError.
        """
        if self._separator is None:
            ids = self._encode(text)
            return ids, cover(ids, self._token_bytes, text)
        words = len(text)
        joined = np.full(len(text.values) + words, self._separator, np.uint8)
        joined[np.arange(len(text.values)) + np.repeat(np.arange(words), text.lengths)] = text.values
        document = Ragged(joined, np.array([0, len(joined)]))
        found = self._encode(document)
        ends = cover(found, self._token_bytes, document).values.astype(np.int64)
        # Each separator is a token: one ends where it begins, the next where it ends.
        separators = text.offsets[1:] + np.arange(words)
        at = np.searchsorted(ends, separators + 1)
        starts = np.where(at > 0, ends[at - 1], 0)
        if not (np.array_equal(ends[at], separators + 1) and np.array_equal(starts, separators)):
            raise EncodingError(0, "a token crosses the border of a word")
        keep = np.ones(len(ends), bool)
        keep[at] = False
        offsets = np.concatenate([[0], at - np.arange(words)])
        begin = np.repeat(text.offsets[:-1] + np.arange(words), np.diff(offsets))
        return (
            Ragged(found.values[keep], offsets),
            Ragged((ends[keep] - begin).astype(np.int32), offsets),
        )

    def _write(
        self, words: NDArray[np.uint64], word_offsets: NDArray[np.int64], bound: int
    ) -> tuple[Ragged, Ragged]:
        """The tokens, `bound` at most, of documents by the offsets of their words."""
        from tokenlab.segment.word_cache_kernels import write_tokens

        self._learn()
        ids, ends = np.empty(bound + SLACK, np.uint32), np.empty(bound + SLACK, np.int32)
        offsets = np.zeros(len(word_offsets), np.int64)
        write_tokens(words, word_offsets, self._entries, self._tokens, ids, ends, offsets)
        count = int(offsets[-1])
        return Ragged(ids[:count], offsets), Ragged(ends[:count], offsets)


def _empty_table(entries: int) -> NDArray[np.uint32]:
    """A table of a power of 2 slots."""
    return np.zeros(1 << (TABLE_FACTOR * entries - 1).bit_length(), np.uint32)
