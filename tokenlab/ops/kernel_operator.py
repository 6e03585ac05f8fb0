"""The half of an operator that is the same for each one whose rewrite is a pair of kernels."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tokenlab.cuts import CutMap
from tokenlab.errors import DecodingError
from tokenlab.ragged import Ragged


class KernelOperator:
    """`apply` and `invert` of the module `kernels`, over a whole batch; see `Operator`.

    The module is imported at the first use, as numba takes long to load. Its `apply` returns (output,
    offsets, cut positions), its `invert` (source, offsets, document, byte, number in its REASONS of the first
    place that cannot be read, or 0). `arguments` are the operator's own, behind text and offsets.
    """

    reversible: bool = True
    kernels: str
    arguments: tuple[Any, ...] = ()

    def apply(self, text: Ragged) -> tuple[Ragged, CutMap]:
        """See `Operator.apply`."""
        kernels = import_module(self.kernels)
        values, offsets, positions = kernels.apply(text.values, text.offsets, *self.arguments)
        return Ragged(values, offsets), CutMap(offsets, positions)

    def invert(self, text: Ragged) -> Ragged:
        """See `Operator.invert`."""
        kernels = import_module(self.kernels)
        values, offsets, document, position, reason = kernels.invert(
            text.values, text.offsets, *self.arguments
        )
        if reason:
            raise DecodingError(document, position, kernels.REASONS[reason])
        return Ragged(values, offsets)
