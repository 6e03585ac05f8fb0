"""The stream of a part: BOS before every document."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenlab.jit import kernel


@kernel
def open_documents(values: NDArray[Any], offsets: NDArray[np.int64], first: int, out: NDArray[Any]) -> None:
    """Write the rows of `values` to `out`, each behind one value `first`."""
    at = 0
    for row in range(len(offsets) - 1):
        out[at] = first
        source = values[offsets[row] : offsets[row + 1]]
        target = out[at + 1 : at + 1 + len(source)]
        for i in range(np.uint64(len(source))):
            target[i] = source[i]
        at += 1 + len(source)
