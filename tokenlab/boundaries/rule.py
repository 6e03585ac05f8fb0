"""What a boundary rule is: from the tokens of a document, where its patches begin.

A document is BOS, then its bytes x_1 … x_n. BOS is a patch of its own, so a patch begins at BOS and at x_1
(the convention of BLT, arXiv 2412.09871); at a later x_t by the rule.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tokenlab.boundaries.state import State
from tokenlab.segment.segmenter import BOS


class Rule(ABC):
    """A rule with all its numbers and tables. `bos` is the id that opens a document."""

    kind: ClassVar[str]
    causal: ClassVar[bool] = True
    bos: ClassVar[int] = BOS

    @property
    @abstractmethod
    def text(self) -> str:
        """The rule as a user writes it, its numbers being those in force."""

    @property
    @abstractmethod
    def parameters(self) -> dict[str, int]:
        """Its numbers, all integers."""

    @property
    def tables(self) -> bytes:
        """Its tables, as the file `boundaries/model.bin` holds them; empty for none."""
        return b""

    @property
    def sha256(self) -> str:
        """Digest of kind and parameters, as compact JSON with sorted keys, and the tables behind them."""
        described = json.dumps(
            {"kind": self.kind, "parameters": self.parameters}, sort_keys=True, separators=(",", ":")
        )
        return hashlib.sha256(described.encode() + self.tables).hexdigest()

    @abstractmethod
    def starts(self, ids: NDArray[np.uint16], state: State) -> NDArray[np.uint8]:
        """The bit of each of `ids` (uint16, the next ones of a stream of documents of scheme `bytes`):
        uint8, 1 where a patch begins. `state` is where the stream was left; it is updated."""

    @abstractmethod
    def begins(self, prefix: bytes) -> bool:
        """Whether a patch begins at the byte that follows `prefix`, the bytes of a document before it.

        The slow twin of `starts`: it is shown nothing else, so it cannot look ahead.
        """

    def starts_reference(self, document: bytes) -> list[int]:
        """The bits of BOS and of each byte of a document, one at a time."""
        return [1, *(int(self.begins(document[:t])) for t in range(len(document)))]
