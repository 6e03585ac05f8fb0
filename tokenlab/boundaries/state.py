"""What the kernels carry from one chunk of a stream of ids to the next, so that documents may cross chunks.

A state is uint64[3]: bytes of the document so far; its last eight, the latest in the lowest byte; and the
entropy before the latest, in units (see `entropy.py`), for rules about its rise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

State = NDArray[np.uint64]

POSITION, HISTORY, ENTROPY = range(3)


def new_state() -> State:
    """The state before the first token of a stream, which is a BOS."""
    return np.zeros(3, np.uint64)
