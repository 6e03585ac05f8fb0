"""A rule as a dataset stores it: kind, integers, and the bytes of its tables."""

from __future__ import annotations

import numpy as np

from tokenlab.boundaries.entropy import MAX_ORDER, Entropy, EntropyTable, Monotonic, TopK
from tokenlab.boundaries.rule import Rule
from tokenlab.boundaries.table2 import TABLE_BYTES, Table2
from tokenlab.boundaries.token_ends import TokenEnds
from tokenlab.boundaries.unfitted import Fixed, Space
from tokenlab.errors import InputError

_OVER_ENTROPY = {rule.kind: rule for rule in (Entropy, Monotonic, TopK)}


def read_rule(kind: str, parameters: dict[str, int], tables: bytes) -> Rule:
    """The rule of a record. Raises InputError when its parts do not fit together."""
    try:
        rule = _read(kind, parameters, np.frombuffer(tables, np.uint8))
    except (KeyError, ValueError, InputError) as error:
        raise InputError(f"boundaries of kind {kind!r} with {parameters}: {error}") from error
    if rule.parameters != parameters or rule.tables != tables:
        raise InputError(f"boundaries of kind {kind!r} with {parameters}: there is more than the kind needs")
    return rule


def _read(kind: str, parameters: dict[str, int], tables: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> Rule:
    if kind == "fixed":
        if parameters["period"] < 1:
            raise ValueError("the period must be at least 1")
        return Fixed(parameters["period"])
    if kind == "space":
        return Space()
    if kind == "table2":
        if len(tables) != TABLE_BYTES:
            raise ValueError(f"the table has {len(tables):,} bytes, not {TABLE_BYTES:,}")
        return Table2(tables)
    if kind == "bpe":
        return TokenEnds(tables.tobytes())
    if kind in _OVER_ENTROPY:
        rule = _OVER_ENTROPY[kind]
        orders, bits = parameters["orders"], parameters["bits"]
        if not (1 <= orders <= MAX_ORDER and 1 <= bits <= 32 and len(tables) == orders << bits):
            raise ValueError(f"{len(tables):,} bytes are no table of {orders} orders of 2^{bits} entropies")
        return rule(
            EntropyTable(tables.reshape(orders, 1 << bits), parameters["order0"]),
            parameters[rule.number_name],
        )
    raise ValueError("no such kind")
