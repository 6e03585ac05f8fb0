"""Where a patch begins, by rule: numpy look-ups over the tokens read so far, the same on every machine.

A rule answers for the prefix that ends at token i whether a patch begins at token i + 1, whatever that
token is. It never sees the token: the end of a document is decided as if the document went on. With
x_1..x_t the bytes of the document read so far (t = 0: its BOS alone; then the answer is yes):

    fixed      t mod period == 0
    space      x_t is space-like and x_{t-1}, if there is one, is not; space-like is all but ASCII letters
               and digits and UTF-8 continuation bytes (SpaceByte, arXiv 2404.14408)
    table2     bit 256 x_{t-1} + x_t of a table (x_0 counts as 0), in little bit order
    entropy    h_t > threshold, h_t the entropy of the next byte, in 1/31 bit, looked up by hashes of the
               last orders, orders - 1, … 1 bytes: the first entry that is not 255, else `order0`
    monotonic  h_t - h_{t-1} > threshold

This file is part of an artifact and is counted in its bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KINDS = {
    "fixed": ("period",),
    "space": (),
    "table2": (),
    "entropy": ("threshold", "orders", "bits", "order0"),
    "monotonic": ("threshold", "orders", "bits", "order0"),
}
"""The rules and their parameters, all of them integers."""
TABLE2_BYTES = 8_192
UNKNOWN = 255


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule over tokens whose ids are `bos`, or a byte plus `first_byte`. `table` is uint8[8192] for
    table2, uint8[orders * 2^bits] for entropy and monotonic, and empty for the others."""

    kind: str
    parameters: dict[str, int]
    table: NDArray[np.uint8]
    bos: int
    first_byte: int

    def __post_init__(self) -> None:
        """Raises ValueError for parameters or a table that are not the rule's."""
        given, p = set(self.parameters), self.parameters
        if self.kind not in KINDS or given != set(KINDS[self.kind]):
            raise ValueError(f"no rule {self.kind!r} with parameters {', '.join(sorted(given)) or 'none'}")
        if p.get("period", 1) < 1 or not (1 <= p.get("orders", 1) <= 8 and 1 <= p.get("bits", 1) <= 24):
            raise ValueError(f"the rule {self.kind} cannot have {p}")
        size = {"table2": TABLE2_BYTES}.get(self.kind, p["orders"] << p["bits"] if "orders" in p else 0)
        if self.table.shape != (size,) or self.table.dtype != np.uint8:
            raise ValueError(f"the table of {self.kind} is {self.table.size} bytes, not {size}")

    @property
    def reach(self) -> int:
        """Tokens before a position that its answer depends on, besides the position in the document."""
        more = self.parameters.get("orders", 1) + (self.kind == "monotonic")
        return {"fixed": 0, "space": 1, "table2": 1}.get(self.kind, more - 1)

    def opens(self, ids: NDArray[np.int64], age: int = 0) -> NDArray[np.bool_]:
        """Whether a patch begins after each of these tokens, bool[n].

        ids int64[n] of consecutive tokens; `age` is how many tokens of its document stand before the
        first of them (0: it is a BOS). The first `reach` answers count only where `age` is 0 or a BOS
        stands between."""
        ages = self._ages(ids, age)
        values = np.where(ages > 0, ids - self.first_byte, 0)
        if len(values) and not 0 <= int(values.min()) <= int(values.max()) < 256:
            raise ValueError("boundary rules are over bytes, and there are tokens that are none")
        answers = {
            "fixed": self._fixed,
            "space": self._space,
            "table2": self._table2,
            "entropy": self._entropy,
            "monotonic": self._monotonic,
        }[self.kind](values, ages)
        result: NDArray[np.bool_] = answers | (ages == 0)
        return result

    def _ages(self, ids: NDArray[np.int64], age: int) -> NDArray[np.int64]:
        """Bytes of its document read up to each token."""
        index = np.arange(len(ids))
        starts = np.where(ids == self.bos, index, -age)
        return index - np.maximum.accumulate(starts) if len(ids) else index

    def _fixed(self, _: NDArray[np.int64], ages: NDArray[np.int64]) -> NDArray[np.bool_]:
        result: NDArray[np.bool_] = ages % self.parameters["period"] == 0
        return result

    def _space(self, values: NDArray[np.int64], ages: NDArray[np.int64]) -> NDArray[np.bool_]:
        spaces = _space_like()[values]
        return spaces & ~(_space_like()[_back(values, 1)] & (ages >= 2))

    def _table2(self, values: NDArray[np.int64], _: NDArray[np.int64]) -> NDArray[np.bool_]:
        key = 256 * _back(values, 1) + values  # a BOS has the value 0, as x_0 shall have
        result: NDArray[np.bool_] = (self.table[key >> 3] >> (key & 7).astype(np.uint8) & 1).astype(np.bool_)
        return result

    def _entropy(self, values: NDArray[np.int64], ages: NDArray[np.int64]) -> NDArray[np.bool_]:
        result: NDArray[np.bool_] = self._entropies(values, ages) > self.parameters["threshold"]
        return result

    def _monotonic(self, values: NDArray[np.int64], ages: NDArray[np.int64]) -> NDArray[np.bool_]:
        entropies = self._entropies(values, ages)
        result: NDArray[np.bool_] = entropies - _back(entropies, 1) > self.parameters["threshold"]
        return result

    def _entropies(self, values: NDArray[np.int64], ages: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of the byte after each token, in 1/31 bit, int64[n]."""
        bits, orders = self.parameters["bits"], self.parameters["orders"]
        found = np.full(len(values), self.parameters["order0"], np.int64)
        key = np.zeros(len(values), np.uint64)
        for order in range(1, orders + 1):
            key = key | _back(values, order - 1).astype(np.uint64) << np.uint64(8 * (order - 1))
            # Arithmetic modulo 2^64, which arrays of uint64 do.
            mixed = key * np.uint64(0x9E3779B97F4A7C15) + np.array(order, np.uint64) * np.array(
                [0xD1B54A32D192ED03], np.uint64
            )
            slots = (mixed >> np.uint64(64 - bits)).astype(np.int64)
            entries = self.table[(order - 1 << bits) + slots]
            found = np.where((ages >= order) & (entries != UNKNOWN), entries, found)
        return found


def _back(values: NDArray[np.int64], steps: int) -> NDArray[np.int64]:
    """The value so many tokens before each, 0 before the first."""
    return np.concatenate([np.zeros(steps, values.dtype), values])[: len(values)]


def _space_like() -> NDArray[np.bool_]:
    """bool[256]."""
    byte = np.arange(256)
    letters = ((byte | 32) >= ord("a")) & ((byte | 32) <= ord("z"))
    digits = (byte >= ord("0")) & (byte <= ord("9"))
    return ~(letters | digits | ((byte >= 0x80) & (byte <= 0xBF)))
