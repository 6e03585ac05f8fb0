"""Eight bytes of text at a time, as one integer, for kernels that copy long runs between rare bytes.

The `…_bits` are 0 where none of the eight bytes is what they ask for; else their lowest bit is in the first
that is (the bit tricks are those of S. E. Anderson, "Bit Twiddling Hacks").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenlab.jit import inlined

_ONES, _HIGH = 0x0101010101010101, 0x8080808080808080


@inlined
def load(data: NDArray[np.uint8], at: int) -> np.uint64:
    """The eight bytes from `at` on, the first one lowest; written out, it compiles to one load."""
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


@inlined
def store(eight: np.uint64, data: NDArray[np.uint8], at: int) -> None:
    """What `load` loaded, written."""
    i = np.uint64(at)
    for k in range(np.uint64(8)):
        data[i + k] = np.uint8(eight >> (np.uint64(8) * k) & np.uint64(0xFF))


@inlined
def equal_bits(eight: np.uint64, byte: int) -> np.uint64:
    """For `byte`."""
    differs = eight ^ np.uint64(byte) * np.uint64(_ONES)
    return (differs - np.uint64(_ONES)) & ~differs & np.uint64(_HIGH)


@inlined
def not_ascii_bits(eight: np.uint64) -> np.uint64:
    """For a byte that is 0x80 or more."""
    return eight & np.uint64(_HIGH)


@inlined
def bytes_before(bits: np.uint64) -> int:
    """How many bytes stand before the one with the lowest of some bits, none of which is 0."""
    first = (bits & (~bits + np.uint64(1))) >> np.uint64(7)  # 1 << 8 * the number
    return np.int64((((first - np.uint64(1)) & np.uint64(_ONES)) * np.uint64(_ONES)) >> np.uint64(56))
