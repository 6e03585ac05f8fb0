"""Next-byte entropies from the hashed table, over a stream of ids.

`ids`, `bos` and `state` as in `rule_kernels.py`. `table`: uint8[orders, 2^bits], entropies in units of
1/31 bit, 255 where the order does not know; `order0`: that of no context.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenlab.boundaries.entropy import BYTE_PRIME, ORDER_PRIME, UNKNOWN
from tokenlab.boundaries.state import ENTROPY, HISTORY, POSITION
from tokenlab.jit import inlined, kernel
from tokenlab.segment.byte import FIRST_BYTE

_MASK64 = 0xFFFFFFFFFFFFFFFF


@inlined
def slot(history: int, order: int, bits: int) -> int:
    """Where a table of 2^bits has the last `order` bytes of a history."""
    key = history & (np.uint64(_MASK64) >> np.uint64(64 - 8 * order))
    mixed = key * np.uint64(BYTE_PRIME) + np.uint64(order) * np.uint64(ORDER_PRIME)
    return np.int64(mixed >> np.uint64(64 - bits))


@inlined
def _entropy(history: int, position: int, table: NDArray[np.uint8], bits: int, order0: int) -> int:
    order = min(len(table), position)
    while order > 0:
        found = table[order - 1, slot(history, order, bits)]
        if found != UNKNOWN:
            return np.int64(found)
        order -= 1
    return np.int64(order0)


@kernel
def entropies(
    ids: NDArray[np.uint16],
    bos: int,
    state: NDArray[np.uint64],
    table: NDArray[np.uint8],
    bits: int,
    order0: int,
) -> NDArray[np.uint8]:
    """The entropy before each byte, uint8 in units; UNKNOWN at BOS."""
    out = np.empty(len(ids), np.uint8)
    position = np.int64(state[POSITION])
    history = state[HISTORY]
    latest = np.int64(state[ENTROPY])
    for i in range(len(ids)):
        if ids[i] == bos:
            out[i] = UNKNOWN
            position = np.int64(0)
            history = np.uint64(0)
            latest = np.int64(0)
            continue
        latest = _entropy(history, position, table, bits, order0)
        out[i] = latest
        position += 1
        history = (history << np.uint64(8)) | np.uint64((ids[i] - FIRST_BYTE) & 0xFF)
    state[POSITION] = position
    state[HISTORY] = history
    state[ENTROPY] = latest
    return out
