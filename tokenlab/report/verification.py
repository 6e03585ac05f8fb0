"""What `tokenlab verify` prints: verdicts, totals and one closing word."""

from __future__ import annotations

import msgspec

from tokenlab.accounting.verdicts import Verdict
from tokenlab.report.plain import table
from tokenlab.verification import Verification
from tokenlab.verification.foreign import ForeignVerification


def verification_text(result: Verification) -> str:
    """The verdicts, the totals and one closing line."""
    rows = [("verdict", "", "checked", "")]
    rows += [
        (v.name, _word(v), f"{v.count:,} {v.unit}" if v.count else "-", v.detail) for v in result.verdicts
    ]
    lines = [
        f"{result.dataset}: scheme {result.scheme}, against the {result.against}",
        *table(rows, align="<<<<"),
    ]
    for verdict in result.verdicts:
        if verdict.failure is not None:
            lines.append(f"{verdict.name} fails: {verdict.failure}")
    totals: list[tuple[str, ...]] = [
        ("split", "documents", "tokens", "source bytes", "charged", "unattributed")
    ]
    totals += [
        (name, *("?" if count is None else f"{count:,}" for count in msgspec.structs.astuple(split)))
        for name, split in result.splits.items()
    ]
    lines += table(totals) if result.splits else []
    lines += [f"note: {note}" for note in result.notes]
    return "\n".join([*lines, f"verdict: {result.verdict.upper()}"])


def foreign_text(result: ForeignVerification) -> str:
    """The verification of a foreign dataset: invariants, causes, warnings, the correction."""
    rows = [("", "invariant", "", "checked", "")]
    for v in result.invariants:
        word = "skip" if v.holds is None else "pass" if v.holds else "FAIL" if v.level == "error" else "warn"
        rows.append((str(v.number), v.name, word, f"{v.count:,} {v.unit}" if v.count else "-", v.detail))
    lines = [
        f"{result.dataset}: transform {result.transform}, charges from the {result.accounting}",
        *table(rows, align="><<<<"),
        f"validation: {_count(result.documents)} documents, {_count(result.tokens)} tokens, "
        f"{_count(result.source_bytes)} source bytes, {_count(result.charged_bytes)} charged, "
        f"{_count(result.unattributed_bytes)} unattributed",
    ]
    if result.lossless_documents is not None:
        lost = ", ".join(f"{count:,} {name}" for name, count in result.lost_bytes.items()) or "none"
        lines.append(
            f"decodable: {result.lossless_documents:,} of {result.documents:,} documents byte for byte; "
            f"bytes that cannot be recovered: {lost}"
        )
    if result.correction_factor is not None:
        lines.append(
            f"correction factor: {result.correction_factor:.6f} "
            "(charged / source; true BPB = printed BPB x it)"
        )
    if result.corrected_bpb is not None:
        lines.append(f"corrected BPB: {result.corrected_bpb:.8f}")
    lines += [f"cause: {cause}" for cause in result.causes]
    lines += [f"warning: {warning}" for warning in result.warnings]
    lines += [f"missing: {missing}" for missing in result.missing]
    return "\n".join([*lines, f"verdict: {result.verdict.upper()}"])


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _word(verdict: Verdict) -> str:
    if verdict.holds is None:
        return "no" if verdict.name == "reversible" else "OPEN"
    return "holds" if verdict.holds else "FAILS"
