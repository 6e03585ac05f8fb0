"""Bits per byte from sums of nats: one formula, and the two conventions about BOS kept apart.

    bits per byte = nats / (ln 2 * source bytes)

`source_bytes` are those that a dataset's byte sidecar charges to the scored targets. The numerator
is all scored tokens, markers that are charged 0 included. BOS as a target is charged 0 too; the
contest's evaluator predicts it (`bpb`), document-isolated evaluators never do (`bpb_documents`).
A score of one convention never compares with one of the other.

>>> score = Score(nats=100.0, nats_bos=4.0, source_bytes=50, targets=20, targets_bos=2)
>>> round(score.bpb, 6), round(score.bpb_documents, 6)
(2.88539, 2.769974)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a scorer counted. `nats` (float64) sums over all `targets`, `nats_bos` over those
    `targets_bos` of them that are BOS; `source_bytes` is what the targets are charged.

    Raises ValueError for counts or sums that no scorer can have."""

    nats: float
    nats_bos: float
    source_bytes: int
    targets: int
    targets_bos: int

    def __post_init__(self) -> None:
        if self.source_bytes <= 0:
            raise ValueError(f"bits per byte needs source bytes, the targets are charged {self.source_bytes}")
        if not 0 <= self.targets_bos <= self.targets:
            raise ValueError(f"{self.targets_bos} of {self.targets} targets cannot be BOS")
        if not (math.isfinite(self.nats) and 0 <= self.nats_bos <= self.nats):
            raise ValueError(f"nats must be finite and at least nats_bos: {self.nats}, {self.nats_bos}")

    @property
    def bpb(self) -> float:
        """Bits per source byte, BOS targets included, as the contest's evaluator counts."""
        return self.nats / (math.log(2) * self.source_bytes)

    @property
    def bpb_documents(self) -> float:
        """Bits per source byte without BOS targets, as document-isolated evaluators count."""
        return (self.nats - self.nats_bos) / (math.log(2) * self.source_bytes)

    @property
    def loss(self) -> float:
        """Mean nats a target, BOS included; depends on the tokenizer, so it ranks nothing."""
        return self.nats / self.targets


def score_documents(
    nats: NDArray[np.float64], nats_bos: NDArray[np.float64], charges: NDArray[np.int64], **counts: int
) -> Score:
    """The score of documents from each one's nats (float64[documents], BOS included), the part of
    them that is its BOS, and its charged bytes (int64); `counts` are `targets` and `targets_bos`."""
    return Score(
        nats=math.fsum(nats.tolist()),
        nats_bos=math.fsum(nats_bos.tolist()),
        source_bytes=int(charges.sum()),
        **counts,
    )
