"""Counting and interpolating n-grams for `fit.py`.

`ids` as in `rule_kernels.py`: a document's bytes behind its BOS. A context is a slot of a table; `counts`
(uint32[slots, 256]) has how often each byte followed.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tokenlab.boundaries.entropy_kernels import slot
from tokenlab.jit import inlined, kernel
from tokenlab.segment.byte import FIRST_BYTE


@kernel
def count_hashed(
    ids: NDArray[np.uint16],
    bos: int,
    order: int,
    bits: int,
    counts: NDArray[np.uint32],
    lower: NDArray[np.int32],
) -> None:
    """Count the bytes behind `order` bytes of their document. `lower` (int32[slots], -1 to begin with) gets
    the slot of one byte less, for the first context that a slot stands for."""
    position = np.int64(0)
    history = np.uint64(0)
    for i in range(len(ids)):
        if ids[i] == bos:
            position = np.int64(0)
            history = np.uint64(0)
            continue
        byte = (ids[i] - FIRST_BYTE) & 0xFF
        if position >= order:
            at = slot(history, order, bits)
            counts[at, byte] += np.uint32(1)
            if lower[at] < 0:
                lower[at] = slot(history, order - 1, bits) if order > 1 else 0
        position += 1
        history = (history << np.uint64(8)) | np.uint64(byte)


@kernel
def count_pairs(ids: NDArray[np.uint16], bos: int, counts: NDArray[np.uint32]) -> None:
    """Count the bytes behind each pair a, b in row 256 a + b; before a document's first byte stands 0. The
    first byte itself, where a patch begins in any case, is not counted."""
    position = np.int64(0)
    pair = np.int64(0)
    for i in range(len(ids)):
        if ids[i] == bos:
            position = np.int64(0)
            pair = np.int64(0)
            continue
        byte = np.int64((ids[i] - FIRST_BYTE) & 0xFF)
        if position > 0:
            counts[pair, byte] += np.uint32(1)
        position += 1
        pair = (pair << 8 | byte) & 0xFFFF


@inlined
def _entropy(p: NDArray[np.float32]) -> float:
    bits = 0.0
    for byte in range(256):
        if p[byte] > 0:
            bits -= p[byte] * math.log2(p[byte])
    return bits


@kernel
def interpolate(
    counts: NDArray[np.uint32], lower: NDArray[np.int32], below: NDArray[np.float32], least: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Distributions (float32[slots, 256]) and their entropies in bits (float32[slots], -1 for a context
    seen fewer than `least` times).

    Witten and Bell 1991, method C: p(x) = (count(x) + d q(x)) / (n + d) for a context seen n times before d
    different bytes, q being row `lower` of `below`. A context that was not seen has no distribution (0).
    """
    p = np.zeros(counts.shape, np.float32)
    entropies = np.full(len(counts), -1, np.float32)
    for row in range(len(counts)):
        total = 0
        distinct = 0
        for byte in range(256):
            total += np.int64(counts[row, byte])
            distinct += counts[row, byte] > 0
        if total == 0 and lower[row] < 0:
            continue
        for byte in range(256):
            if total == 0:
                p[row, byte] = below[lower[row], byte]
            else:
                p[row, byte] = (counts[row, byte] + distinct * below[lower[row], byte]) / (total + distinct)
        if total >= least:
            entropies[row] = _entropy(p[row])
    return p, entropies
