"""A boundary rule as a user writes it: `space`, `fixed:6`, `entropy` or `entropy:1.74`."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from tokenlab.errors import InputError

RULES = {
    "fixed": "fixed:P, every P bytes",
    "space": "space, behind bytes like a space",
    "table2": "table2, by the previous two bytes",
    "entropy": "entropy[:θ], where the next byte's entropy passes θ bits",
    "monotonic": "monotonic[:δ], where that entropy rises by more than δ bits",
    "topk": "topk:K, before the K percent of bytes of the highest entropy",
    "bpe": "bpe:N, where a token of a byte-level BPE of N ids begins",
}

BYTES_PER_PATCH = 4.5
"""Target of a rule that is calibrated, where none is given: the patches of BLT (arXiv 2412.09871)."""

LOOKS_AHEAD = {
    "topk": "topk ranks the entropies of the whole document, so a boundary depends on bytes behind it",
    "bpe": "bpe boundaries are the ends of tokens, and where a token ends depends on bytes behind it "
    "(measured: unstable at 131 of 159 prefixes)",
}
"""Why a kind of rule is no rule for a model that predicts the bytes."""

WHOLE_NUMBERS = {"fixed": (1, 2**31 - 1), "topk": (1, 100), "bpe": (260, 65_536)}
"""Least and most of the number of a rule that needs a whole one."""


@dataclass(frozen=True, slots=True)
class RuleRequest:
    """A rule as it was asked for: `number` is P, θ, δ, K or N, or None where it is calibrated or has none."""

    kind: str
    number: Decimal | None

    @property
    def causal(self) -> bool:
        """Whether a boundary depends on what stands before it only."""
        return self.kind not in LOOKS_AHEAD

    @property
    def is_fitted(self) -> bool:
        """Whether the rule has a table that is fitted on text."""
        return self.kind not in ("fixed", "space")

    @property
    def is_calibrated(self) -> bool:
        """Whether the rule is fitted to a target of bytes a patch."""
        return self.kind == "table2" or (self.kind in ("entropy", "monotonic") and self.number is None)


def parse_rule(text: str) -> RuleRequest:
    """The rule that a text names. Raises InputError that says what is wrong and what there is."""
    kind, colon, argument = text.partition(":")
    if kind not in RULES:
        raise InputError(f"unknown boundary rule {text!r}; there are: {'; '.join(RULES.values())}")
    number = _number(text, argument) if colon else None
    if kind in ("space", "table2") and colon:
        raise InputError(f"boundary rule {text!r}: {kind} has no number; write {kind}")
    if kind in WHOLE_NUMBERS:
        if number is None or number != int(number):
            raise InputError(f"boundary rule {text!r}: {RULES[kind].partition(',')[0]} needs a whole number")
        least, most = WHOLE_NUMBERS[kind]
        if not least <= number <= most:
            raise InputError(f"boundary rule {text!r}: the number must be from {least} to {most}")
    lowest = -8 if kind == "monotonic" else 0
    if kind in ("entropy", "monotonic") and number is not None and not lowest <= number <= 8:
        raise InputError(f"boundary rule {text!r}: a byte has 0 to 8 bits; give {lowest} to 8")
    return RuleRequest(kind, number)


def target_bytes_per_patch(request: RuleRequest, given: float | None) -> float | None:
    """The target that a rule is calibrated to, or None for one that is not.

    Raises InputError for a target that the rule has no use for, or that no patches can have.
    """
    if not request.is_calibrated:
        if given is not None:
            use = "entropy" if request.kind in ("entropy", "monotonic") else "table2, entropy or monotonic"
            raise InputError(
                f"--bytes-per-patch {given:g}: the rule {request.kind} as given has no rate to choose; "
                f"leave it out, or use {use} without a number"
            )
        return None
    target = BYTES_PER_PATCH if given is None else given
    if not 1 <= target <= 1000:
        raise InputError(f"--bytes-per-patch {target:g}: a patch holds 1 byte at least, and 1000 is the most")
    return target


def _number(text: str, argument: str) -> Decimal:
    try:
        number = Decimal(argument)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise InputError(f"boundary rule {text!r}: {argument!r} is no number")
    return number
