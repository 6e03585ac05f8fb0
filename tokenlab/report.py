"""Results as text and as JSON: what the command line prints on stdout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from tokenlab.accounting.verdicts import Verdict
from tokenlab.build import BuildReport, Plan
from tokenlab.inspection import Inspection
from tokenlab.manifest import SPLITS
from tokenlab.progress import Progress
from tokenlab.registry import scheme_names
from tokenlab.scheme_spec import open_scheme_spec
from tokenlab.verification import Verification


def to_json(value: Any) -> str:
    """Any result as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode()


def build_json(report: BuildReport) -> str:
    """The final record of a build."""
    return to_json(
        {
            "output": str(report.output),
            "seconds": report.seconds,
            "reused_parts": report.reused_parts,
            "manifest": report.manifest,
        }
    )


def build_text(report: BuildReport) -> str:
    """The summary of a build."""
    manifest = report.manifest
    splits = [(name, manifest.splits[name]) for name in SPLITS]
    table: list[tuple[str, ...]] = [
        ("split", "documents", "tokens", "source bytes", "charged", "unattributed", "bytes/token", "shards")
    ]
    for name, s in splits:
        ratio = f"{s.source_bytes / s.tokens:.3f}"
        counts = (s.documents, s.tokens, s.source_bytes, s.charged_bytes, s.unattributed_bytes)
        table.append((name, *(f"{count:,}" for count in counts), ratio, str(len(s.shards))))
    balanced = sum(s.documents for _, s in splits)
    lines = [
        f"{report.output}: scheme {manifest.scheme.name}, {manifest.vocab_size:,} ids, "
        f"fingerprint {manifest.scheme.fingerprint[:12]}",
        *_table(table),
        f"balanced: charges + unattributed = source bytes in {balanced:,} of {balanced:,} documents",
        f"left out: {len(manifest.source.dropped_duplicates):,} training documents that equal a validation "
        f"document, {len(manifest.source.bad_documents):,} bad rows",
    ]
    lines += [
        f"  skipped {bad['file']} row {bad['row']}: {bad['reason']}"
        for bad in manifest.source.bad_documents[:20]
    ]
    if len(manifest.source.bad_documents) > 20:
        lines.append(f"  … all {len(manifest.source.bad_documents):,} are in the manifest")
    lines.append("seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in report.seconds.items()))
    lines.append(f"next: tokenlab verify {report.output}")
    return "\n".join(lines)


def plan_text(plan: Plan, progress: Progress, *, as_json: bool) -> str:
    """The resolved plan of a dry run, with a forecast measured on its first text."""
    import itertools

    from tokenlab.build.forecast import forecast
    from tokenlab.build.parts import read_parts
    from tokenlab.build.prepare import prepare_scheme

    options = plan.options
    scheme, vocabulary = prepare_scheme(plan, progress)
    stream = read_parts(plan.corpus, val_docs=plan.val_docs, part_bytes=options.part_bytes)
    expected = forecast(plan, scheme, list(itertools.islice(stream, 3)), options.workers)
    record = {
        "output": str(options.output),
        "corpus_name": plan.corpus.name,
        **plan.record,
        "workers": options.workers,
        "vocabulary": vocabulary,
        "vocab_size": scheme.segmenter.vocab_size,
        "backends": scheme.segmenter.backends,
        "reversible": scheme.reversible,
        "forecast": expected and msgspec.to_builtins(expected),
    }
    if as_json:
        return to_json(record)
    lines = [
        f"{key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in record.items()
    ]
    return "\n".join([*lines[:-1], f"forecast: {expected}", "dry run: nothing was written"])


def verification_text(result: Verification) -> str:
    """The verdicts, the totals and one closing line."""
    rows = [("verdict", "", "checked", "")]
    rows += [
        (v.name, _word(v), f"{v.count:,} {v.unit}" if v.count else "-", v.detail) for v in result.verdicts
    ]
    lines = [
        f"{result.dataset}: scheme {result.scheme}, against the {result.against}",
        *_table(rows, align="<<<<"),
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
    lines += _table(totals) if result.splits else []
    lines += [f"note: {note}" for note in result.notes]
    return "\n".join([*lines, f"verdict: {result.verdict.upper()}"])


def _word(verdict: Verdict) -> str:
    if verdict.holds is None:
        return "no" if verdict.name == "reversible" else "OPEN"
    return "holds" if verdict.holds else "FAILS"


def inspection_text(result: Inspection) -> str:
    """A table of a document's tokens; control characters are escaped, spaces shown as they are."""
    rows = [("token", "id", "piece", "bytes", f"{result.text_is}")]
    rows += [
        (str(row.token), str(row.id), _visible(row.piece), str(row.bytes), _visible(row.source))
        for row in result.tokens
    ]
    lines = [
        f"{result.dataset}: document {result.source_document} of the source, "
        f"{result.document} of {result.split}; BOS is charged 0",
        *_table(rows, align=">><><"),
        f"{len(result.tokens):,} tokens charged {result.charged_bytes:,} of {result.source_bytes:,} "
        f"bytes of the {result.text_is}",
    ]
    return "\n".join(lines)


def _visible(text: str) -> str:
    """Text on one line, quoted: markers and control characters by number, the rest as it is."""
    return repr(text)


def schemes_text() -> str:
    """The schemes, one line each."""
    return "\n".join(_table([(s["name"], s["verdicts"], s["summary"]) for s in _schemes()], align="<<<"))


def schemes_json() -> str:
    """The schemes as a list of objects."""
    return to_json(_schemes())


def _schemes() -> list[dict[str, str]]:
    specs = [open_scheme_spec(name) for name in scheme_names()]
    return [
        {
            "name": spec.name,
            "verdicts": "balanced, reversible"
            if spec.is_reversible
            else "balanced, not reversible (normalised)",
            "summary": spec.summary,
        }
        for spec in specs
    ]


def _table(rows: Sequence[Sequence[str]], align: str = "") -> list[str]:
    """Columns side by side; by default the first is left-aligned, the others right."""
    align = align or "<" + ">" * (len(rows[0]) - 1)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(
            f"{cell:{how}{width}}" for cell, how, width in zip(row, align, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
