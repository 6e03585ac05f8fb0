"""What a log's pair can be held against: its vocabulary, its targets, the evaluations it may have run.

Gathers, judges nothing; the rules are in `audit.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tokenlab.accounting.log_reader import LogReading, Pair
from tokenlab.accounting.references import Evaluation, References, Vocabulary

LONGEST_TAIL = 32_768
"""The longest sequence the field evaluated with; a shorter last sequence is dropped."""
ANONYMOUS_TOLERANCE = 1e-5
"""A log that tells neither vocabulary nor targets is matched to rounding, and to what windows of a
fixed stride lose (1.3e-6 in the sliding logs)."""
LARGEST_TAIL_SHARE = 0.001
"""Above this share of a split a tail must be explained by the sequence length."""
TAIL_DENSITY = 0.25
"""How far the bytes a token of a tail may lie off the split's, relatively."""
DRIFT = 5e-4
"""Ratios of one evaluator differ by less (94 % of 7,435 field pairs lie within it of the truth)."""


@dataclass(frozen=True, slots=True)
class Match:
    """An evaluation a log may have run, `gap` targets of it not scored, and the bytes it should
    have divided by (for `targets`, which are the evaluation's own where the log states none; then
    up to `tail` targets may be missing all the same)."""

    vocabulary: str
    evaluation: Evaluation
    targets: int
    gap: int
    tail: int
    expected: int
    tolerance: float

    @classmethod
    def whole(cls, vocabulary: Vocabulary, evaluation: Evaluation) -> Match:
        """The evaluation itself, less a tail of unknown length."""
        tail = tail_limit(evaluation)
        return cls(
            vocabulary.name, evaluation, evaluation.targets, 0, tail, evaluation.bytes, evaluation.tolerance
        )

    @property
    def bytes_per_token(self) -> float:
        """Expected bytes a target."""
        return self.expected / self.targets

    def fits(self, low: float, high: float) -> bool:
        """Whether a bytes-per-token in `low`..`high` is this one, within tail and coverage."""
        slack = self.bytes_per_token * (self.tolerance + TAIL_DENSITY * self.tail / self.targets)
        expected = self.bytes_per_token
        return low <= expected + slack and high >= expected - slack


class Evidence:
    """One pair of a log beside the table: `low`..`high` are the bytes a token it may stand for,
    `targets` the scored ones where the log tells, `named` the vocabulary its configuration names,
    `matches` the evaluations with as many targets, nearest first."""

    def __init__(
        self,
        reading: LogReading,
        pair: Pair,
        references: References,
        bytes_of: Callable[[int], int] | None = None,
    ) -> None:
        self.reading, self.pair, self.references, self.bytes_of = reading, pair, references, bytes_of
        self.low, self.high = pair.interval
        self.named, self.candidates = self._vocabularies()
        self._is_anonymous = len(self.candidates) == len(references.vocabulary) > 1
        stated = reading.targets_at(pair)
        self.targets = None if stated is None else self._without_first_token(stated)
        self.matches = sorted(self._matches(), key=lambda match: match.gap)

    def _vocabularies(self) -> tuple[str | None, list[Vocabulary]]:
        """The vocabulary that the configuration names, and those it may be, likeliest first. Those
        of as many ids stay candidates: a path is a habit, the number of targets and the ratio are not."""
        table, words, size = self.references.vocabulary, " ".join(self.reading.names), self.reading.vocab_size
        if self.bytes_of is not None:
            return table[0].name, list(table)
        named = next((v for v in table if v.is_named(words) and _may_have(v, size)), None)
        if named is not None:
            return named.name, [named, *(v for v in table if v is not named and _share_size(v, named))]
        other = re.search(r"(?:sp_?|fineweb_)(\d{3,6})(\w*)", words)
        if other is not None:
            return f"sp{other[1]}", [v for v in table if int(other[1]) in v.vocab_sizes]
        if size is not None:
            candidates = [v for v in table if size in v.vocab_sizes]
            return (candidates[0].name if len(candidates) == 1 else None), candidates
        return None, list(table)

    def _without_first_token(self, stated: int) -> int:
        """Some logs count the tokens, one more than the targets."""
        evaluations = self.evaluations()
        if any(e.targets == stated for e in evaluations):
            return stated
        if any(e.targets == stated - 1 for e in evaluations) or (stated > 1024 and stated % 1024 == 1):
            return stated - 1
        return stated

    def evaluations(self, *, named: bool = False) -> list[Evaluation]:
        """Those of the candidates, or of the named vocabulary alone."""
        return [e for v in self.candidates if not named or v.name == self.named for e in v.evaluations]

    def _matches(self) -> Iterator[Match]:
        for vocabulary in self.candidates:
            untailed = _untailed(vocabulary)
            for evaluation in vocabulary.evaluations:
                targets = self.targets or evaluation.targets
                gap = evaluation.targets - targets
                if gap != 0 and (evaluation not in untailed or not self._is_tail(gap, evaluation, targets)):
                    continue
                exact = self.bytes_of(targets) if self.bytes_of is not None else None
                expected = (
                    exact if exact is not None else evaluation.bytes - round(gap * evaluation.bytes_per_token)
                )
                tail, tolerance = gap, evaluation.tolerance
                if self.targets is None and self._is_anonymous:
                    tail, tolerance = 0, ANONYMOUS_TOLERANCE
                elif self.targets is None:
                    tail = max(tail_limit(evaluation), min(self.reading.eval_seq_len or 0, targets // 2))
                yield Match(vocabulary.name, evaluation, targets, gap, tail, expected, tolerance)

    def _is_tail(self, gap: int, evaluation: Evaluation, targets: int) -> bool:
        """Whether so many targets may have been dropped behind the last whole sequence."""
        if gap < 0:
            return False
        whole = targets & -targets  # the largest power of two that divides the targets
        sequence = max(min(whole, LONGEST_TAIL), self.reading.eval_seq_len or 0, 1)
        return gap < sequence or gap <= tail_limit(evaluation)

    def full(self) -> Match | None:
        """What the scored targets should be worth, or else the likeliest candidate's whole split."""
        if self.matches and (self.targets is not None or self.named is not None):
            return self.matches[0]
        for vocabulary in self.candidates if self.named is not None else []:
            full = [e for e in vocabulary.evaluations if e.split == "full"]
            if full:
                return Match.whole(vocabulary, full[0])
        return None

    def bases(self) -> Iterator[tuple[float, str | None, Match | None]]:
        """The true bytes a token against which an error's factor is measured, likeliest first."""
        for match in self.matches:
            if match.evaluation.split != "other":
                yield match.bytes_per_token, match.vocabulary, match
        if self.targets is not None and not self.matches:
            yield self.references.canonical_bytes / self.targets, self.named, None
            full = self.full()
            if full is not None:
                yield full.bytes_per_token, full.vocabulary, full

    def distance(self, match: Match) -> float:
        """How far the printed bytes a token are from a match's."""
        return abs(match.bytes_per_token - self.pair.ratio)

    def excuse(self) -> str | None:
        """Why the BPB may not be a function of the loss beside it."""
        before = [p for p in self.reading.pairs if p.line < self.pair.line and _is_fine(p)]
        off = [p for p in before if _apart(p, self.pair)]
        if off and len(off) * 2 > len(before):
            return f"bytes a token went from {off[-1].ratio:.4f} to {self.pair.ratio:.4f} within the log"
        if self.later_pair_drifts():
            return "a later pair has other bytes a token"
        return f"the log scores a mixture ({self.reading.mixture[:60]})" if self.reading.mixture else None

    def later_pair_drifts(self) -> bool:
        """Whether a pair after the judged one (it has fewer decimals) has other bytes a token."""
        later = (p for p in self.reading.pairs if p.line > self.pair.line and _is_fine(p))
        return any(_apart(p, self.pair) for p in later)


def tail_limit(evaluation: Evaluation) -> int:
    """The longest tail that needs no explanation."""
    return min(LONGEST_TAIL, int(LARGEST_TAIL_SHARE * evaluation.targets))


def _untailed(vocabulary: Vocabulary) -> list[Evaluation]:
    """The evaluations that are not another one less its tail already; a tail has no tail."""
    counts = [e.targets for e in vocabulary.evaluations]
    return [e for e in vocabulary.evaluations if not any(0 < n - e.targets <= LONGEST_TAIL for n in counts)]


def _may_have(vocabulary: Vocabulary, size: int | None) -> bool:
    return size is None or not vocabulary.vocab_sizes or size in vocabulary.vocab_sizes


def _share_size(one: Vocabulary, other: Vocabulary) -> bool:
    return bool(set(one.vocab_sizes) & set(other.vocab_sizes))


def without_bos(match: Match, documents: int) -> Match:
    """The same evaluation by an evaluator that never predicts BOS: fewer targets, the same bytes.
    `targets` of the answer stay those stated, so the expectation is scaled instead."""
    scaled = round(match.expected * match.targets / max(match.targets - documents, 1))
    return replace(match, expected=scaled)


def _is_fine(pair: Pair) -> bool:
    low, high = pair.interval
    return high - low < 4 * DRIFT * pair.ratio


def _apart(one: Pair, other: Pair) -> bool:
    (a, b), (c, d) = one.interval, other.interval
    return max(a, c) - min(b, d) > DRIFT * other.ratio
