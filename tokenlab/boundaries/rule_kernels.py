"""Patch starts by position, by spaces and by the previous two bytes, over a stream of ids.

`ids`: uint16, a byte being its id less FIRST_BYTE, `bos` before each document. `state`: see `state.py`;
it is updated. Each returns uint8, 1 where a patch begins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenlab.boundaries.state import HISTORY, POSITION
from tokenlab.jit import inlined, kernel
from tokenlab.segment.byte import FIRST_BYTE


@inlined
def _pushed(history: int, byte: int) -> int:
    return (np.uint64(history) << np.uint64(8)) | np.uint64(byte)


@kernel
def fixed(ids: NDArray[np.uint16], bos: int, state: NDArray[np.uint64], period: int) -> NDArray[np.uint8]:
    """Every `period` bytes, and at BOS."""
    starts = np.empty(len(ids), np.uint8)
    position = np.int64(state[POSITION])
    history = state[HISTORY]
    left = (period - position % period) % period  # bytes to the next start
    for i in range(len(ids)):
        if ids[i] == bos:
            starts[i] = 1
            position = np.int64(0)
            history = np.uint64(0)
            left = 0
            continue
        starts[i] = left == 0
        left = period - 1 if left == 0 else left - 1
        position += 1
        history = _pushed(history, ids[i] - FIRST_BYTE)
    state[POSITION] = position
    state[HISTORY] = history
    return starts


@kernel
def space(
    ids: NDArray[np.uint16], bos: int, state: NDArray[np.uint64], is_space: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Behind a byte like a space that follows none. `is_space`: uint8[256]."""
    starts = np.empty(len(ids), np.uint8)
    position = np.int64(state[POSITION])
    history = state[HISTORY]
    last = is_space[history & np.uint64(0xFF)] if position >= 1 else np.uint8(0)
    earlier = is_space[(history >> np.uint64(8)) & np.uint64(0xFF)] if position >= 2 else np.uint8(0)
    for i in range(len(ids)):
        if ids[i] == bos:
            starts[i] = 1
            position = np.int64(0)
            history = np.uint64(0)
            last = np.uint8(0)
            earlier = np.uint8(0)
            continue
        byte = (ids[i] - FIRST_BYTE) & 0xFF
        starts[i] = (position == 0) | (last & (earlier ^ 1))
        earlier = last
        last = is_space[byte]
        position += 1
        history = _pushed(history, byte)
    state[POSITION] = position
    state[HISTORY] = history
    return starts


@kernel
def table2(
    ids: NDArray[np.uint16], bos: int, state: NDArray[np.uint64], table: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Where `table` (uint8[8192], bit 256 a + b, lowest first) has a bit for the previous bytes a, b."""
    starts = np.empty(len(ids), np.uint8)
    position = np.int64(state[POSITION])
    history = state[HISTORY]
    for i in range(len(ids)):
        if ids[i] == bos:
            starts[i] = 1
            position = np.int64(0)
            history = np.uint64(0)
            continue
        pair = np.int64(history & np.uint64(0xFFFF))
        starts[i] = (position == 0) | ((table[pair >> 3] >> (pair & 7)) & 1)
        position += 1
        history = _pushed(history, ids[i] - FIRST_BYTE)
    state[POSITION] = position
    state[HISTORY] = history
    return starts
