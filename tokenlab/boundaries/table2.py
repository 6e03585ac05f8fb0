"""The rule `table2`: a bit for each pair of previous bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenlab.boundaries.rule import Rule
from tokenlab.boundaries.state import State

TABLE_BYTES = 2**16 // 8


@dataclass(frozen=True)
class Table2(Rule):
    """`table` (uint8[8192]): bit 256 a + b, the lowest of a byte first, says whether a patch begins behind
    the bytes a, b; before the first byte of a document stands 0."""

    table: NDArray[np.uint8]
    kind = "table2"

    @property
    def text(self) -> str:
        """See `Rule.text`."""
        return "table2"

    @property
    def parameters(self) -> dict[str, int]:
        """See `Rule.parameters`."""
        return {}

    @property
    def tables(self) -> bytes:
        """See `Rule.tables`."""
        return self.table.tobytes()

    def starts(self, ids: NDArray[np.uint16], state: State) -> NDArray[np.uint8]:
        """See `Rule.starts`."""
        from tokenlab.boundaries import rule_kernels

        return rule_kernels.table2(ids, self.bos, state, self.table)

    def begins(self, prefix: bytes) -> bool:
        """See `Rule.begins`."""
        if not prefix:
            return True
        pair = 256 * (prefix[-2] if len(prefix) > 1 else 0) + prefix[-1]
        return bool(self.table[pair // 8] >> (pair % 8) & 1)
