"""Judging a log: does the denominator behind its BPB belong to the text it says it scored?

A loss (nats a token) and a BPB fix the bytes a token, `loss / (ln 2 * bpb)`, to the rounding of
their decimals; times the targets scored, that is the denominator (FIELD.md 0.3). It is compared
with `references.toml`. A label is no accusation: what no rule explains is `unknown`.

>>> from tokenlab.accounting.log_reader import parse_log
>>> judge(parse_log("x", "val_tokens: 47851520\\nval_loss:2.40073153 val_bpb:1.00692894")).explanation
'+8.95 %: matches operators charged 3 bytes (caseops sp8192)'
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import msgspec

from tokenlab.accounting.evidence import DRIFT, LONGEST_TAIL, TAIL_DENSITY, Evidence, Match, without_bos
from tokenlab.accounting.log_reader import LogReading
from tokenlab.accounting.references import (
    COVERAGE_TOLERANCE,
    References,
    Signature,
    SplitKind,
    load_references,
)

AuditVerdict = Literal["consistent", "inconsistent", "partial split", "other split", "unknown"]

COARSEST = 0.005
"""Bytes a token known no better than this (two decimals or fewer) tell nothing."""
SUBSET = 0.035
"""A million tokens or more of the same text differ by less in bytes a token: the first 901
documents by -1.1 %, the first 10,000 by -1.8 %, an older export by +0.3 %."""
SMALL_SUBSET = 0.10
"""Fewer tokens differ by less: 4,096 by +5.3 %, 32,768 by +2.4 %."""
MARGIN = 0.001
"""Less than this is neither rounding nor any known error; it is left open."""
EXACT_SIGNATURE = 0.001
"""A signature narrower than this was measured to the byte, and holds even where a ratio drifts."""


class LogAudit(msgspec.Struct, frozen=True, kw_only=True):
    """One log, judged. `ratio` is implied over expected bytes (of bytes a token where targets are
    unknown); `rounding` is how far `implied_bytes` may be off; `corrected_bpb` is the BPB over the
    expected bytes, where the text scored is the same."""

    file: str
    verdict: AuditVerdict
    explanation: str
    val_loss: float | None = None
    val_bpb: float | None = None
    line: int | None = None
    vocabulary: str | None = None
    tokens: int | None = None
    bytes_per_token: float | None = None
    implied_bytes: int | None = None
    rounding: int | None = None
    expected_bytes: int | None = None
    ratio: float | None = None
    corrected_bpb: float | None = None


def judge(
    reading: LogReading,
    references: References | None = None,
    bytes_of: Callable[[int], int] | None = None,
) -> LogAudit:
    """The verdict on a log. `bytes_of(n)` gives the exact bytes of the split's first n targets,
    when `references` describe a dataset at hand."""
    pair = reading.final
    if pair is None:
        return LogAudit(file=reading.file, verdict="unknown", explanation="no loss and BPB pair")
    e = Evidence(reading, pair, references or load_references(), bytes_of)
    if (e.high - e.low) / 2 > COARSEST * pair.ratio:
        return _say(e, "unknown", "loss and BPB are printed to too few decimals")
    for rule in _RULES:
        audit = rule(e)
        if audit is not None:
            return audit
    return _rest(e)


def _by_unit(e: Evidence) -> LogAudit | None:
    """A loss in nats a byte, as byte mixtures print it, says nothing of the denominator."""
    if e.low > 1 or e.high < 1:
        return None
    bytes_as_tokens = any(abs(own.bytes_per_token - 1) < 0.01 for own in e.evaluations(named=True))
    if bytes_as_tokens or (e.targets is not None and any(m.fits(e.low, e.high) for m in e.matches)):
        return None
    return _say(e, "unknown", "the loss is in nats a byte: the pair does not show the denominator")


def _by_reference(e: Evidence) -> LogAudit | None:
    """The denominator of a reference: the same accounting, whatever the split."""
    fitting = [(m, "") for m in e.matches if m.fits(e.low, e.high)]
    if not fitting:
        documents = e.references.documents
        isolated = [without_bos(m, documents) for m in e.matches if m.evaluation.bos]
        note = f"the {documents:,} BOS are not among the targets"
        fitting = [(m, note) for m in isolated if m.fits(e.low, e.high)]
    if not fitting:
        return _by_other_name(e)
    if len({m.evaluation.split for m, _ in fitting}) > 1:
        return _say(e, "unknown", "too few decimals to tell one split from another")
    match, note = min(fitting, key=lambda found: (found[0].gap, e.distance(found[0])))
    if e.later_pair_drifts():
        return _mixture(e, f"the pair of line {e.pair.line} is consistent, a later one is not")
    notes = [note, match.evaluation.note if match.gap == 0 or match.evaluation.split != "full" else ""]
    if e.targets is not None and match.gap:
        notes.append(f"{match.gap:,} targets of tail not scored")
    if e.named is not None and e.named != match.vocabulary:
        notes.append(f"the log names {e.named}")
    if e.targets is None:
        notes.append("number of targets not stated")
    if e.reading.mixture:
        notes.append("a mixture's BPB is printed too and is not judged")
    verdict = _VERDICTS[match.evaluation.split]
    about = f"{match.vocabulary}: {match.bytes_per_token:.6f} bytes a token"
    return _say(e, verdict, "; ".join([about, *filter(None, notes)]), match)


def _by_other_name(e: Evidence) -> LogAudit | None:
    """The bytes a token of a vocabulary that the log does not name; without a count, no proof."""
    if e.targets is not None or e.bytes_of is not None or e.named is None:
        return None
    for vocabulary in e.references.vocabulary:
        for evaluation in vocabulary.evaluations:
            match = Match.whole(vocabulary, evaluation)
            if vocabulary not in e.candidates and match.fits(e.low, e.high):
                return _say(e, "unknown", f"the log names {e.named}, its ratio is {vocabulary.name}'s")
    return None


def _by_total(e: Evidence) -> LogAudit | None:
    """No reference has so many targets, but the bytes are those of the published split."""
    if e.targets is None or e.bytes_of is not None or any(m.gap == 0 for m in e.matches):
        return None
    total = e.references.canonical_bytes
    slack = COVERAGE_TOLERANCE * total
    tail = LONGEST_TAIL * (1 + TAIL_DENSITY) * e.pair.ratio
    if not (e.low * e.targets <= total + slack and e.high * e.targets >= total - slack - tail):
        return None
    if e.later_pair_drifts():
        return _mixture(e, f"the pair of line {e.pair.line} is consistent, a later one is not")
    short = total - e.targets * e.pair.ratio
    about = f"the published split's {total:,} bytes" + (f" less a tail of {short:,.0f}" if short > 1 else "")
    return _say(e, "consistent", about, total=total)


def _by_error(e: Evidence) -> LogAudit | None:
    """The factor of a known error: by its range for the vocabulary that the log tells, by its
    exact value for others of as many ids and where the ratio may be a mixture's."""
    excused = e.excuse() is not None
    published = any(match.gap == 0 for match in e.matches)
    for expected, vocabulary, match in e.bases():
        told = vocabulary is not None and (e.targets is not None or vocabulary == e.named)
        # A part of the split may be off by as much as a small error is.
        whole = e.targets is not None and (match is None or match in e.matches)
        low, high = e.low / expected, e.high / expected
        for signature in e.references.signature:
            if signature.rebuilt and published:
                continue
            exact = signature.high - signature.low < EXACT_SIGNATURE
            known = told and not excused and (whole or abs(signature.low - 1) > SUBSET)
            by_value = exact and (told or signature.anonymous)
            if signature.fits(low, high, vocabulary) and (known or by_value):
                return _accounting(e, signature, expected, vocabulary, match)
    return None


def _by_subset(e: Evidence) -> LogAudit | None:
    """Fewer or more targets than the vocabulary's split has, with its bytes a token."""
    full = e.full()
    if e.targets is None or e.matches or full is None or e.named is None:
        return None
    share = e.targets / full.targets
    off = e.pair.ratio / full.bytes_per_token - 1
    limit = SUBSET if e.targets >= 1_000_000 else SMALL_SUBSET
    if share < 1:
        # What is left out cannot move the mean further than its own share.
        limit = min(limit, (1 - share) / share + DRIFT)
    if abs(off) > limit:
        return None
    about = f"{e.targets:,} targets where {e.named} has {full.targets:,}, {off:+.2%} bytes a token"
    return _say(e, "partial split" if share < 1 else "other split", about, full, comparable=False)


def _by_mixture(e: Evidence) -> LogAudit | None:
    """A ratio that no accounting explains, in a log that has a reason for one."""
    excuse = e.excuse()
    return None if excuse is None else _mixture(e, excuse)


def _rest(e: Evidence) -> LogAudit:
    """Nothing known fits."""
    full = e.full()
    if full is None:
        return _say(e, "unknown", "the log does not tell its vocabulary, and no reference fits")
    off = e.pair.ratio / full.bytes_per_token - 1
    about = f"{_percent(off)} bytes a token against {full.vocabulary}"
    if e.targets is not None and e.matches and (off > MARGIN or off < -SUBSET):
        return _say(e, "inconsistent", f"{about}: matches no known error", full)
    if e.named == full.vocabulary and off > _no_subset(e, full):
        why = "no subset explains it, matches no known error"
        return _say(e, "inconsistent", f"{about}: {why}", full, comparable=False)
    return _say(e, "unknown", f"{about}: a part of the split, or other text, could explain it")


def _no_subset(e: Evidence, full: Match) -> float:
    """Bytes a token so far over the split's that no part of it, however chosen, has them."""
    if e.targets is None or 1_000_000 <= e.targets <= full.targets:
        return SMALL_SUBSET
    return 2.5 * SMALL_SUBSET if 100_000 <= e.targets <= full.targets else math.inf


def _mixture(e: Evidence, why: str) -> LogAudit:
    return _say(e, "unknown", f"BPB is not a function of the printed loss: {why}")


def _accounting(
    e: Evidence, signature: Signature, expected: float, vocabulary: str | None, match: Match | None
) -> LogAudit:
    by_ratio = "" if e.targets is not None or vocabulary == e.named else ", by its ratio"
    where = f" ({vocabulary}{by_ratio})" if vocabulary else ""
    about = f"{_percent(e.pair.ratio / expected - 1)}: matches {signature.name}{where}"
    total = e.references.canonical_bytes if match is None else None
    return _say(e, "inconsistent", about, match, total=total, comparable=signature.correctable)


def _say(
    e: Evidence,
    verdict: AuditVerdict,
    explanation: str,
    match: Match | None = None,
    *,
    total: int | None = None,
    comparable: bool = True,
) -> LogAudit:
    """The answer. `match` or `total` is what the denominator was measured against."""
    pair, targets = e.pair, e.targets
    expected, ratio = total, None
    if match is not None:
        expected, ratio = match.expected, pair.ratio / match.bytes_per_token
        if targets is not None and targets != match.targets:
            # The whole split's bytes are not those of the part that was scored.
            expected, comparable = None, False
    elif total is not None and targets is not None:
        ratio = pair.ratio * targets / total
    comparable = comparable and verdict in ("consistent", "inconsistent")
    return LogAudit(
        file=e.reading.file,
        verdict=verdict,
        explanation=explanation,
        val_loss=pair.loss,
        val_bpb=pair.bpb,
        line=pair.line,
        vocabulary=match.vocabulary if match is not None else e.named,
        tokens=targets,
        bytes_per_token=pair.bytes_per_token,
        implied_bytes=round(targets * pair.ratio) if targets is not None else None,
        rounding=round(targets * (e.high - e.low) / 2) if targets is not None else None,
        expected_bytes=expected,
        ratio=ratio,
        corrected_bpb=pair.bpb * ratio if comparable and ratio is not None else None,
    )


_VERDICTS: dict[SplitKind, AuditVerdict] = {
    "full": "consistent",
    "partial": "partial split",
    "other": "other split",
}


def _percent(off: float) -> str:
    return f"{100 * off:+.2f} %"


# A rule gives None when it has nothing to say.
_RULES = (_by_unit, _by_reference, _by_total, _by_error, _by_subset, _by_mixture)
