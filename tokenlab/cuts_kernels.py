"""Cut maps of a whole batch in one pass: the fast twins of the functions in `cuts.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenlab.cuts import MAX_CHARGE
from tokenlab.jit import kernel


@kernel
def compose(
    second: NDArray[np.int32],
    second_offsets: NDArray[np.int64],
    first: NDArray[np.int32],
    first_offsets: NDArray[np.int64],
) -> NDArray[np.int32]:
    """`first[second[j]]`, document by document (int32, the shape of `second`)."""
    out = np.empty(len(second), np.int32)
    for d in range(len(second_offsets) - 1):
        start, stop = second_offsets[d] + d, second_offsets[d + 1] + d + 1
        # Views and unsigned indices spare numba's check for a negative index: twice as fast.
        outer, inner, composed = second[start:stop], first[first_offsets[d] + d :], out[start:stop]
        for j in range(len(outer)):
            composed[j] = inner[np.uint64(outer[j])]
    return out


@kernel
def charge(
    ends: NDArray[np.int32],
    token_offsets: NDArray[np.int64],
    positions: NDArray[np.int32],
    text_offsets: NDArray[np.int64],
    identity: bool,
) -> tuple[NDArray[np.int32], int]:
    """Differences of the cut map at the tokens' ends.

    Returns (charges int32, first document whose last end is not its text's end, or -1).
    """
    out = np.empty(len(ends), np.int32)
    uncovered = -1
    for d in range(len(token_offsets) - 1):
        start, stop = token_offsets[d], token_offsets[d + 1]
        length = text_offsets[d + 1] - text_offsets[d]
        last = ends[stop - 1] if stop > start else 0
        if last != length and uncovered < 0:
            uncovered = d
        if last > length:
            continue
        base = text_offsets[d] + d
        cuts, reached, charges = positions[base : base + length + 1], ends[start:stop], out[start:stop]
        previous = np.int32(0) if identity else cuts[0]
        for t in range(len(reached)):
            cut = reached[t] if identity else cuts[np.uint64(reached[t])]
            charges[t] = cut - previous
            previous = cut
    return out, uncovered


@kernel
def charge_spelled(
    ids: NDArray[Any],
    id_offsets: NDArray[np.int64],
    lengths: NDArray[np.int32],
    positions: NDArray[np.int32],
    text_offsets: NDArray[np.int64],
    identity: bool,
) -> tuple[NDArray[np.uint16], int, bool]:
    """What `charge` gives for tokens of these lengths, narrowed as it goes.

    Returns (charges uint16, first document that the tokens do not cover exactly or -1, whether no charge is
    over MAX_CHARGE; else they are of no use).
    """
    out = np.empty(len(ids), np.uint16)
    bits = np.uint32(0)  # of all charges: MAX_CHARGE is all ones, so none is over it if they are not
    for d in range(len(id_offsets) - 1):
        length = np.uint64(text_offsets[d + 1] - text_offsets[d])
        base = text_offsets[d] + d
        tokens, charges = ids[id_offsets[d] : id_offsets[d + 1]], out[id_offsets[d] : id_offsets[d + 1]]
        cuts = positions[base : base + np.int64(length) + 1]
        previous = np.int32(0) if identity else cuts[0]
        end = np.uint64(0)
        for t in range(len(tokens)):
            end += np.uint64(lengths[np.uint64(tokens[t])])
            if end > length:
                return out, d, True
            cut = np.int32(end) if identity else cuts[end]
            bits |= np.uint32(cut - previous)
            charges[t] = np.uint16(cut - previous)
            previous = cut
        if end != length:
            return out, d, True
    return out, -1, bool(bits <= MAX_CHARGE)
