"""Rules on the entropy of the next byte, which a hashed table gives for the bytes before it.

Entropies are integers in units of 1/31 bit (0 to 248), so that a rule is the same on every machine. The table
has a row of 2^bits values for each order o = 1 … N. The last o bytes are looked up in row o from the highest
order down; the first that is not UNKNOWN is the entropy, and where there is none, or no byte, it is `order0`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tokenlab.boundaries.rule import Rule
from tokenlab.boundaries.state import ENTROPY, POSITION, State

UNITS = 31
"""Units of a bit: 8 bits are 248, which leaves 255 for UNKNOWN."""

UNKNOWN = 255
MAX_ORDER = 8
"""Bytes that the state of a kernel holds, and a key of 64 bits."""

BYTE_PRIME, ORDER_PRIME = 0x9E3779B97F4A7C15, 0xD1B54A32D192ED03


@dataclass(frozen=True)
class EntropyTable:
    """`entropies`: uint8[orders, 2^bits]; `order0`: that of no context."""

    entropies: NDArray[np.uint8]
    order0: int

    @property
    def orders(self) -> int:
        """N."""
        return int(self.entropies.shape[0])

    @property
    def bits(self) -> int:
        """The logarithm of a row's length."""
        return int(self.entropies.shape[1]).bit_length() - 1

    @property
    def parameters(self) -> dict[str, int]:
        """The integers of a rule that is based on the table."""
        return {"orders": self.orders, "bits": self.bits, "order0": self.order0}

    def entropy(self, prefix: bytes) -> int:
        """The entropy of the byte that follows `prefix`, in units: the slow twin of the kernels."""
        for order in range(min(self.orders, len(prefix)), 0, -1):
            key = sum(prefix[-i] << 8 * (i - 1) for i in range(1, order + 1))
            mixed = (key * BYTE_PRIME + order * ORDER_PRIME) % 2**64
            found = int(self.entropies[order - 1, mixed >> (64 - self.bits)])
            if found != UNKNOWN:
                return found
        return self.order0

    def of_stream(self, ids: NDArray[np.uint16], bos: int, state: State) -> NDArray[np.uint8]:
        """The entropy before each byte of a stream of ids (see `Rule.starts`); UNKNOWN at BOS."""
        from tokenlab.boundaries import entropy_kernels

        return entropy_kernels.entropies(ids, bos, state, self.entropies, self.bits, self.order0)


def to_units(bits: Decimal) -> int:
    """An entropy in bits as the integer that a rule compares with: rounded down."""
    return int((bits * UNITS).to_integral_value(ROUND_FLOOR))


def from_units(units: int) -> str:
    """The shortest number of bits, to two decimals, that `to_units` makes `units` of."""
    hundredths = -(-100 * units // UNITS)
    return f"{Decimal(hundredths) / 100:f}"


@dataclass(frozen=True)
class _Tabled(Rule):
    """A rule with a table of entropies and one number, whose name in `parameters` is `number_name`."""

    table: EntropyTable
    number: int
    number_name: ClassVar[str]

    @property
    def parameters(self) -> dict[str, int]:
        """See `Rule.parameters`."""
        return {self.number_name: self.number, **self.table.parameters}

    @property
    def tables(self) -> bytes:
        """See `Rule.tables`."""
        return self.table.entropies.tobytes()


@dataclass(frozen=True)
class Entropy(_Tabled):
    """Where the entropy passes `number` units (BLT's global threshold, arXiv 2412.09871)."""

    kind = "entropy"
    number_name = "threshold"
    rising: ClassVar[int] = 0

    @property
    def text(self) -> str:
        """See `Rule.text`."""
        return f"{self.kind}:{from_units(self.number)}"

    def starts(self, ids: NDArray[np.uint16], state: State) -> NDArray[np.uint8]:
        """See `Rule.starts`."""
        latest, at_first = np.uint8(state[ENTROPY]), state[POSITION] == 0
        entropy = self.table.of_stream(ids, self.bos, state)
        is_bos = ids == self.bos
        is_first = np.append(at_first, is_bos[:-1])[: len(ids)]
        passed = entropy.astype(np.int16)
        if self.rising:
            passed -= np.append(latest, entropy[:-1])[: len(ids)]
        starts: NDArray[np.bool_] = (passed > self.number) | is_bos | is_first
        return starts.view(np.uint8)

    def begins(self, prefix: bytes) -> bool:
        """See `Rule.begins`."""
        return not prefix or self.table.entropy(prefix) > self.number


@dataclass(frozen=True)
class Monotonic(Entropy):
    """Where the entropy is more than `number` units over that of the byte before (BLT's approximate
    monotonicity)."""

    kind = "monotonic"
    rising: ClassVar[int] = 1

    def begins(self, prefix: bytes) -> bool:
        """See `Rule.begins`."""
        return not prefix or self.table.entropy(prefix) - self.table.entropy(prefix[:-1]) > self.number


@dataclass(frozen=True)
class TopK(_Tabled):
    """Before the `number` percent of a document's bytes that have the highest entropy, earlier ones first
    where they are equal. It looks ahead: for analysis only."""

    kind = "topk"
    number_name = "percent"
    causal = False

    @property
    def text(self) -> str:
        """See `Rule.text`."""
        return f"topk:{self.number}"

    def starts(self, ids: NDArray[np.uint16], state: State) -> NDArray[np.uint8]:
        """As `Rule.starts`, but `ids` must be whole documents: a boundary depends on all of one."""
        entropies = self.table.of_stream(ids, self.bos, state)
        starts = np.zeros(len(ids), np.uint8)
        bounds = np.append(np.flatnonzero(ids == self.bos), len(ids))
        for begin, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            count = -(-self.number * (end - begin - 1) // 100)
            highest = np.argsort(-entropies[begin + 1 : end].astype(np.int16), kind="stable")[:count]
            starts[begin + 1 + highest] = 1
            starts[begin : begin + 2] = 1
        return starts

    def begins(self, prefix: bytes) -> bool:
        """Raises TypeError: what stands before a byte does not tell."""
        raise TypeError(f"{self.text} looks ahead")

    def starts_reference(self, document: bytes) -> list[int]:
        """See `Rule.starts_reference`; of the whole document."""
        order = sorted(range(len(document)), key=lambda t: (-self.table.entropy(document[:t]), t))
        chosen = {0, *order[: -(-self.number * len(document) // 100)]}
        return [1, *(int(t in chosen) for t in range(len(document)))]
