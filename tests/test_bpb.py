"""Bits per byte: the formula, the two conventions, and refusal of what cannot be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tokenlab.accounting.bpb import Score, score_documents

GOOD: dict[str, Any] = {"nats": 10.0, "nats_bos": 1.0, "source_bytes": 5, "targets": 4, "targets_bos": 1}


def test_both_conventions() -> None:
    score = Score(**GOOD)
    assert score.bpb == 10 / (5 * math.log(2))
    assert score.bpb_documents == 9 / (5 * math.log(2))
    assert score.loss == 2.5


def test_the_published_baseline() -> None:
    """2.07269 nats a token and 2.4423 bytes a token are 1.2244 bits per byte."""
    score = Score(nats=2_072_690.0, nats_bos=0.0, source_bytes=2_442_300, targets=1_000_000, targets_bos=0)
    assert score.bpb == pytest.approx(1.2244, abs=5e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source_bytes": 0}, "needs source bytes"),
        ({"targets_bos": 5}, "5 of 4 targets"),
        ({"nats_bos": 11.0}, "at least nats_bos"),
        ({"nats_bos": -1.0}, "at least nats_bos"),
        ({"nats": math.nan}, "finite"),
        ({"nats": math.inf}, "finite"),
    ],
)
def test_impossible_counts_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Score(**{**GOOD, **change})


def test_documents_sum_without_rounding() -> None:
    nats = np.array([1e16, 1.0, 1.0, 1.0])
    score = score_documents(
        nats, np.array([0.0, 1.0, 1.0, 1.0]), np.array([4, 0, 5, 6]), targets=9, targets_bos=3
    )
    assert (score.nats, score.nats_bos, score.source_bytes) == (math.fsum(nats), 3.0, 15)
