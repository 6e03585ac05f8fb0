"""What an experiment knows: raw facts of each run, and what the analysis makes of them.

Runs store facts; everything else is computed from them and can be computed again without training.
Differences are `arm - baseline` in bits per byte: below 0 the arm is better.
"""

from __future__ import annotations

from typing import Literal

import msgspec

ColumnName = Literal["swap", "artifact", "wallclock", "bytes", "flops"]
State = Literal["whole", "diverged"]


class _Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class RunFacts(_Facts, frozen=True, kw_only=True):
    """One training run. `scored` is what the experiment compares: `bpb` of the artifact. A run that
    diverged has no scores; it is kept and shown."""

    arm: str
    column: ColumnName
    pair: int
    seed: int
    folder: str
    state: State
    failure: str | None
    bpb: float | None
    bpb_documents: float | None
    bpb_before_quantisation: float | None
    signature: str | None
    parameters: int
    layers: int
    dim: int
    contest_bytes: int
    steps: int
    tokens: int
    train_bytes: float
    training_seconds: float
    cpu_seconds: float
    flops_per_byte: float


class ArmFacts(_Facts, frozen=True, kw_only=True):
    """An arm and its dataset. `normal_form`: it is scored on a normal form of the text, not on the
    text; `verdict`: the strongest claim that `tokenlab verify` grants."""

    name: str
    dataset: str
    scheme: str
    fingerprint: str
    vocab_size: int
    manifest_sha256: str
    bytes_per_token: float
    verdict: str
    normal_form: bool
    control: bool


class Comparison(_Facts, frozen=True, kw_only=True):
    """An arm against the baseline in one column, over the pairs in which both are whole. Bits per byte;
    `mean` and `baseline_mean` are over those pairs, `differences` are each pair's, `sd` theirs,
    `low`..`high` the interval of the paired t test at `confidence`, `detectable` the true difference that
    so many pairs find with chance 0.8, `documents_low`..`documents_high` the interval over other
    documents. `rule` is what decided: see `tokenlab.ab.comparing`. A figure is None where it cannot be
    had."""

    arm: str
    baseline: str
    column: ColumnName
    pairs: int
    mean: float
    baseline_mean: float
    difference: float
    differences: tuple[float, ...]
    sd: float | None
    low: float | None
    high: float | None
    confidence: float
    p_paired: float | None
    p_holm: float | None
    p_welch: float | None
    p_sign_flip: float | None
    p_equivalent: float | None
    p_sequential: float | None
    p_contest: float | None
    margin: float
    detectable: float | None
    rule: Literal["paired", "sequential", "contest"]
    decision: Literal["better", "worse", "equivalent", "undecided"]
    documents_low: float | None
    documents_high: float | None
