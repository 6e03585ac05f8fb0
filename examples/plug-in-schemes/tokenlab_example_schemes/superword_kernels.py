"""Superwords over a whole batch: the fast twins of `superword.py`.

A token is looked at by its place in the ids of stage 1; `right` leads to the place of the next one, `left`
to that of the one before, -1 at an end of a document. A pair is one integer, left id << 32 | right id,
found in a table of open addresses.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenlab.jit import kernel

EMPTY = -1


@kernel
def _slot(keys: NDArray[np.int64], pair: int) -> int:
    """Where a pair is in a table of a power of 2 places, or where it would be."""
    mask = np.uint64(len(keys) - 1)
    slot = (np.uint64(pair) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20) & mask
    while keys[slot] != EMPTY and keys[slot] != pair:
        slot = (slot + np.uint64(1)) & mask
    return np.int64(slot)


@kernel
def merge_table(merges: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns (pairs, their ranks) as a table."""
    places = 16
    while places < 4 * len(merges):
        places *= 2
    keys = np.full(places, EMPTY, np.int64)
    ranks = np.zeros(places, np.int64)
    for rank in range(len(merges)):
        pair = merges[rank, 0] << 32 | merges[rank, 1]
        slot = _slot(keys, pair)
        if keys[slot] == EMPTY:
            keys[slot] = pair
            ranks[slot] = rank
    return keys, ranks


@kernel
def _rank(keys: NDArray[np.int64], ranks: NDArray[np.int64], left: int, right: int) -> int:
    slot = _slot(keys, left << 32 | right)
    return ranks[slot] if keys[slot] != EMPTY else -1


@kernel
def merge(
    ids: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    keys: NDArray[np.int64],
    ranks: NDArray[np.int64],
    first: int,
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Returns (ids uint32, offsets int64) after the merges; merge k makes id `first` + k."""
    longest = np.diff(offsets).max() if len(offsets) > 1 else 0
    token = np.empty(longest, np.int64)
    left = np.empty(longest, np.int64)
    right = np.empty(longest, np.int64)
    out = np.empty(len(ids), np.uint32)
    out_offsets = np.zeros(len(offsets), np.int64)
    n = 0
    for d in range(len(offsets) - 1):
        size = offsets[d + 1] - offsets[d]
        waiting = [np.int64(0) for _ in range(0)]
        for i in range(size):
            token[i] = ids[offsets[d] + i]
            left[i] = i - 1
            right[i] = i + 1 if i + 1 < size else -1
            if i:
                rank = _rank(keys, ranks, token[i - 1], token[i])
                if rank >= 0:
                    waiting.append(rank << 32 | (i - 1))
        heapq.heapify(waiting)
        while len(waiting):
            found = heapq.heappop(waiting)
            rank, i = found >> 32, found & 0xFFFFFFFF
            j = right[i]
            # What was merged since leaves entries that are no longer true.
            if token[i] < 0 or j < 0 or _rank(keys, ranks, token[i], token[j]) != rank:
                continue
            token[i], token[j] = first + rank, -1
            right[i] = right[j]
            if right[i] >= 0:
                left[right[i]] = i
                rank = _rank(keys, ranks, token[i], token[right[i]])
                if rank >= 0:
                    heapq.heappush(waiting, rank << 32 | i)
            if left[i] >= 0:
                rank = _rank(keys, ranks, token[left[i]], token[i])
                if rank >= 0:
                    heapq.heappush(waiting, rank << 32 | left[i])
        for i in range(size):
            if token[i] >= 0:
                out[n] = token[i]
                n += 1
        out_offsets[d + 1] = n
    return out[:n].copy(), out_offsets


@kernel
def _grown(keys: NDArray[np.int64], values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The table with twice the places."""
    more = np.full(2 * len(keys), EMPTY, np.int64)
    moved = np.zeros((len(more), 2), np.int64)
    for at in range(len(keys)):
        if keys[at] != EMPTY:
            slot = _slot(more, keys[at])
            more[slot] = keys[at]
            moved[slot] = values[at]
    return more, moved


@kernel
def train(
    ids: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    plain_pieces: NDArray[np.bool_],
    spaced_pieces: NDArray[np.bool_],
    count: int,
    words: int,
) -> NDArray[np.int64]:
    """Returns the merges, int64[merges, 2].

    The table has for each pair how often it stands now, and the last entry of the list of places where it
    ever stood: `place` and `before`, the entry before that.
    """
    first = len(plain_pieces)
    plain = np.ones(first + count, np.bool_)
    spaced = np.zeros(first + count, np.bool_)
    size = np.ones(first + count, np.int64)
    plain[:first], spaced[:first] = plain_pieces, spaced_pieces
    token = ids.astype(np.int64)
    left, right = _neighbours(len(ids), offsets)
    keys, values = np.full(1 << 16, EMPTY, np.int64), np.zeros((1 << 16, 2), np.int64)
    place, before = np.empty(1 << 16, np.int64), np.empty(1 << 16, np.int64)
    used = entries = 0
    for i in range(len(ids)):
        j = right[i]
        if j >= 0 and _allowed(token[i], token[j], plain, spaced, size, words):
            keys, values, place, before = _with_room(keys, values, used, place, before, entries)
            used += _add(keys, values, token[i] << 32 | token[j], i, entries, place, before)
            entries += 1
    merges = np.empty((count, 2), np.int64)
    for n in range(count):
        best = _commonest(keys, values)
        if best < 0 or values[best, 0] < 2:
            return merges[:n].copy()
        a, b = keys[best] >> 32, keys[best] & 0xFFFFFFFF
        made = first + n
        merges[n, 0], merges[n, 1] = a, b
        spaced[made], size[made] = spaced[a], size[a] + size[b]
        for i in _places(values[best, 1], place, before):
            if right[i] < 0 or token[i] != a or token[right[i]] != b:
                continue
            h, k = _join(keys, values, token, left, right, i, made)
            keys, values, place, before = _with_room(keys, values, used, place, before, entries)
            for at, to in ((h, i), (i, k)):
                if at >= 0 and to >= 0 and _allowed(token[at], token[to], plain, spaced, size, words):
                    used += _add(keys, values, token[at] << 32 | token[to], at, entries, place, before)
                    entries += 1
    return merges


@kernel
def _neighbours(count: int, offsets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The places on the left and on the right of each."""
    left, right = np.arange(count) - 1, np.arange(count) + 1
    for d in range(len(offsets) - 1):
        if offsets[d + 1] > offsets[d]:
            left[offsets[d]] = right[offsets[d + 1] - 1] = -1
    return left, right


@kernel
def _allowed(
    left: int,
    right: int,
    plain: NDArray[np.bool_],
    spaced: NDArray[np.bool_],
    size: NDArray[np.int64],
    words: int,
) -> bool:
    """Whether two tokens may be merged."""
    return plain[left] and plain[right] and spaced[right] and size[left] + size[right] <= words


@kernel
def _join(
    keys: NDArray[np.int64],
    values: NDArray[np.int64],
    token: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    i: int,
    made: int,
) -> tuple[int, int]:
    """Make one token of those at a place and behind it; the places of its new neighbours. Pairs that are
    no more are counted down."""
    j = right[i]
    h, k = left[i], right[j]
    if h >= 0:
        _remove(keys, values, token[h] << 32 | token[i])
    if k >= 0:
        _remove(keys, values, token[j] << 32 | token[k])
    _remove(keys, values, token[i] << 32 | token[j])
    token[i], token[j] = made, -1
    right[i] = k
    if k >= 0:
        left[k] = i
    return h, k


@kernel
def _with_room(
    keys: NDArray[np.int64],
    values: NDArray[np.int64],
    used: int,
    place: NDArray[np.int64],
    before: NDArray[np.int64],
    entries: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The table and the lists, with room for two pairs more."""
    while 2 * (used + 2) >= len(keys):
        keys, values = _grown(keys, values)
    if entries + 2 > len(place):
        place, before = _longer(place), _longer(before)
    return keys, values, place, before


@kernel
def _longer(values: NDArray[np.int64]) -> NDArray[np.int64]:
    out = np.empty(2 * len(values), np.int64)
    out[: len(values)] = values
    return out


@kernel
def _add(
    keys: NDArray[np.int64],
    values: NDArray[np.int64],
    pair: int,
    at: int,
    entry: int,
    place: NDArray[np.int64],
    before: NDArray[np.int64],
) -> int:
    """Count a pair that stands at a place; 1 if it is a new one."""
    slot = _slot(keys, pair)
    new = keys[slot] == EMPTY
    if new:
        keys[slot] = pair
        values[slot, 1] = -1
    values[slot, 0] += 1
    place[entry], before[entry] = at, values[slot, 1]
    values[slot, 1] = entry
    return np.int64(new)


@kernel
def _remove(keys: NDArray[np.int64], values: NDArray[np.int64], pair: int) -> None:
    slot = _slot(keys, pair)
    if keys[slot] != EMPTY:  # a pair that may not be merged is not counted
        values[slot, 0] -= 1


@kernel
def _commonest(keys: NDArray[np.int64], values: NDArray[np.int64]) -> int:
    """The place of the commonest pair, of several the lowest; -1 if there is none."""
    best = -1
    for at in range(len(keys)):
        if keys[at] != EMPTY and (
            best < 0
            or values[at, 0] > values[best, 0]
            or (values[at, 0] == values[best, 0] and keys[at] < keys[best])
        ):
            best = at
    return best


@kernel
def _places(entry: int, place: NDArray[np.int64], before: NDArray[np.int64]) -> NDArray[Any]:
    """The places of a list of entries, ascending."""
    count = 0
    at = entry
    while at >= 0:
        count += 1
        at = before[at]
    found = np.empty(count, np.int64)
    at = entry
    for n in range(count):
        found[n] = place[at]
        at = before[at]
    return np.sort(found)
