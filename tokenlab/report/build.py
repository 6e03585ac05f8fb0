"""What `tokenlab build` prints: the summary, and the plan of a dry run."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec

from tokenlab.build import BuildReport, Plan
from tokenlab.build.forecast import sample_forecast
from tokenlab.build.prepare import prepare_scheme
from tokenlab.manifest import SPLITS, BoundariesRecord, Split, SplitRecord
from tokenlab.progress import Progress
from tokenlab.report.plain import table, to_json


def build_json(report: BuildReport) -> str:
    """The final record of a build."""
    return to_json(
        {
            "output": str(report.output),
            "seconds": report.seconds,
            "reused_parts": report.reused_parts,
            "reused_shards": report.reused_shards,
            "manifest": report.manifest,
        }
    )


def build_text(report: BuildReport) -> str:
    """The summary of a build."""
    manifest = report.manifest
    splits = [(name, manifest.splits[name]) for name in SPLITS]
    rows: list[tuple[str, ...]] = [
        ("split", "documents", "tokens", "source bytes", "charged", "unattributed", "bytes/token", "shards")
    ]
    for name, s in splits:
        ratio = f"{s.source_bytes / s.tokens:.3f}"
        counts = (s.documents, s.tokens, s.source_bytes, s.charged_bytes, s.unattributed_bytes)
        rows.append((name, *(f"{count:,}" for count in counts), ratio, str(len(s.shards))))
    balanced = sum(s.documents for _, s in splits)
    lines = [
        f"{report.output}: scheme {manifest.scheme.name}, {manifest.vocab_size:,} ids, "
        f"fingerprint {manifest.scheme.fingerprint[:12]}",
        *table(rows),
        f"balanced: charges + unattributed = source bytes in {balanced:,} of {balanced:,} documents",
        f"left out: {len(manifest.source.dropped_duplicates):,} training documents that equal a validation "
        f"document, {len(manifest.source.bad_documents):,} bad rows",
    ]
    if manifest.boundaries is not None:
        lines.insert(-2, _boundaries(manifest.boundaries, dict(splits)))
    lines += [
        f"  skipped {bad['file']} row {bad['row']}: {bad['reason']}"
        for bad in manifest.source.bad_documents[:20]
    ]
    if len(manifest.source.bad_documents) > 20:
        lines.append(f"  … all {len(manifest.source.bad_documents):,} are in the manifest")
    if report.reused_parts or report.reused_shards:
        lines.append(
            f"reused from an earlier run: {report.reused_parts:,} parts, {report.reused_shards:,} shards"
        )
    lines.append("seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in report.seconds.items()))
    lines.append(f"next: tokenlab verify {report.output}")
    return "\n".join(lines)


def _boundaries(record: BoundariesRecord, splits: Mapping[Split, SplitRecord]) -> str:
    """The rule, and per split its patches; that of BOS alone is none of the bytes'."""
    counts = []
    for name, split in splits.items():
        patches = record.patches[name] - split.documents
        rate = f", {split.source_bytes / patches:.3f} bytes a patch" if patches else ""
        counts.append(f"{name} {patches:,} patches{rate}")
    looks = "" if record.causal else " (looks ahead: for analysis only)"
    return f"boundaries: {record.rule}{looks}; {'; '.join(counts)}"


def plan_text(plan: Plan, progress: Progress, *, as_json: bool) -> str:
    """The resolved plan of a dry run, with a forecast measured on its first text."""
    options = plan.options
    scheme, vocabulary = prepare_scheme(plan, progress)
    expected = sample_forecast(plan, scheme)
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
