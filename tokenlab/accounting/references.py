"""Reference constants of the published validation set, as data: `references.toml`, typed.

>>> load_references().canonical_bytes
151080891
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec

SplitKind = Literal["full", "partial", "other"]

COVERAGE_TOLERANCE = 1e-4
"""How far an honest denominator may lie off its reference, beyond rounding and tail: sliding windows,
chunked and test-time-training evaluators weigh a few hundred targets otherwise (CaseOps before
test-time training +0.65e-4). The smallest known error is ten times as large."""


class Evaluation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One way a split was scored: `targets` tokens predicted, worth `bytes`. `bos` says that the
    documents' BOS are among the targets, so that an evaluator may also leave them out."""

    targets: int
    bytes: int
    split: SplitKind
    source: str
    note: str = ""
    bos: bool = False
    tolerance: float = COVERAGE_TOLERANCE

    @property
    def bytes_per_token(self) -> float:
        """Bytes a target."""
        return self.bytes / self.targets


class Vocabulary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A vocabulary of the field and the ways its validation split was scored."""

    name: str
    match: str
    vocab_sizes: tuple[int, ...]
    evaluations: tuple[Evaluation, ...]

    def is_named(self, words: str) -> bool:
        """Whether configuration words (lower case) name it."""
        return re.search(self.match, words) is not None


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A known error: implied over true bytes lies in `low`..`high`. `correctable` is false when the
    text scored differs too, so that no factor leads back to a comparable BPB; `rebuilt` says that
    the vocabulary must be another build than the published one, with another number of targets."""

    name: str
    low: float
    high: float
    vocabularies: str
    anonymous: bool
    source: str
    correctable: bool = True
    rebuilt: bool = False

    def fits(self, low: float, high: float, vocabulary: str | None) -> bool:
        """Whether a ratio known to lie in `low`..`high` is this error's, for a vocabulary."""
        if high < self.low or low > self.high:
            return False
        return self.anonymous if vocabulary is None else re.search(self.vocabularies, vocabulary) is not None


class References(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole table; `vocabulary` in order of precedence."""

    documents: int
    canonical_bytes: int
    caseops_bytes: int
    vocabulary: tuple[Vocabulary, ...]
    signature: tuple[Signature, ...]


@cache
def load_references() -> References:
    """The table that comes with the package."""
    text = files("tokenlab.accounting").joinpath("references.toml").read_bytes()
    return msgspec.toml.decode(text, type=References)
