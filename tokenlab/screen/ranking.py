"""Schemes in order, each paired with the first that was named."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from tokenlab.ab.statistics import Interval, document_bootstrap
from tokenlab.screen.calibration import CALIBRATION, Calibration
from tokenlab.screen.plan import ScreenPlan
from tokenlab.screen.scoring import SchemeScore

CONFIDENCE = 0.95


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A value, and its interval over documents; None for a single document."""

    value: float
    low: float | None
    high: float | None


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """A scheme among others. `bpb_documents`: bits per source byte without BOS targets, which is what
    is ranked; `bpb`: with them. `percent`: change of `bpb_documents` against the first scheme, paired
    by document, None for the first itself; `tokens_percent`: change of tokens a byte."""

    scheme: str
    bpb_documents: Estimate
    bpb: float
    percent: Estimate | None
    tokens_per_byte: float
    tokens_percent: float | None
    score: SchemeScore


class Screen(msgspec.Struct, frozen=True, kw_only=True):
    """A finished screen: what was asked, the schemes from the best down, and what the proxy is worth."""

    plan: ScreenPlan
    confidence: float
    ranking: tuple[Ranked, ...]
    calibration: Calibration


def rank(plan: ScreenPlan, scores: Sequence[SchemeScore]) -> Screen:
    """The screen of scores of the same documents, the first of them the one compared with."""
    ranked = [_ranked(score, scores[0]) for score in scores]
    return Screen(
        plan=plan,
        confidence=CONFIDENCE,
        ranking=tuple(sorted(ranked, key=lambda entry: entry.bpb_documents.value)),
        calibration=CALIBRATION,
    )


def _ranked(score: SchemeScore, first: SchemeScore) -> Ranked:
    per_byte, per_byte_of_first = (s.tokens / sum(s.bytes) for s in (score, first))
    own = document_bootstrap([score.nats], [np.zeros(len(score.nats))], score.bytes, CONFIDENCE)
    is_first = score is first
    return Ranked(
        scheme=score.scheme,
        bpb_documents=_estimate(own, 1),
        bpb=score.score.bpb,
        percent=None if is_first else _percent(score, first),
        tokens_per_byte=per_byte,
        tokens_percent=None if is_first else 100 * (per_byte / per_byte_of_first - 1),
        score=score,
    )


def _percent(score: SchemeScore, first: SchemeScore) -> Estimate:
    """Bits over bits of the first scheme: the bootstrap of a difference per byte, where the first
    scheme's bits stand for the bytes, so that the denominator is drawn with the documents too."""
    bits = np.array(first.nats) / math.log(2)
    return _estimate(document_bootstrap([score.nats], [first.nats], bits, CONFIDENCE), 100)


def _estimate(interval: Interval, scale: float) -> Estimate:
    low, high = interval.low, interval.high
    return Estimate(
        value=scale * interval.difference,
        low=None if low is None else scale * low,
        high=None if high is None else scale * high,
    )
