"""What an operator is: a rewrite of a batch of documents that knows where every byte came from."""

from __future__ import annotations

from typing import Protocol

from tokenlab.cuts import CutMap
from tokenlab.ragged import Ragged


class Operator(Protocol):
    """A rewrite of text.

    `name`: as a scheme lists it. `reversible`: `invert(apply(x)) == x` for every valid
    UTF-8 `x`. `markers`: characters that the operator may insert and that a vocabulary
    must hold whole (single code points).

    An operator takes any valid UTF-8, also what another one wrote, with its own marks anywhere in it, and
    writes valid UTF-8 in which U+2581 stands only where its input has it. So reversible operators compose in
    every order; `marks.py` says how that is done.
    """

    name: str
    reversible: bool
    markers: tuple[str, ...]

    def apply(self, text: Ragged) -> tuple[Ragged, CutMap]:
        """Rewrite a uint8 batch of valid UTF-8; the cut map leads from output to input."""
        ...

    def invert(self, text: Ragged) -> Ragged:
        """Undo `apply`. Raises DecodingError, naming document and byte, for what `apply`
        never emits; an operator that is not reversible returns its input, the normal form."""
        ...

    def apply_reference(self, text: bytes) -> tuple[bytes, list[int]]:
        """The slow, obvious twin of `apply` for one document: (output, cuts)."""
        ...
