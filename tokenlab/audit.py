"""Auditing published training logs: files and folders in, one verdict a log out.

The rules are `tokenlab.accounting.audit`'s; here are the walk over folders, a dataset of the
user's in the place of the published split, the exit code and the table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from shards import open_shard
from tokenlab.accounting.audit import LogAudit, judge
from tokenlab.accounting.log_reader import log_files, read_log
from tokenlab.accounting.references import Evaluation, References, Vocabulary, load_references
from tokenlab.errors import InputError
from tokenlab.manifest import SplitRecord, read_manifest


def audit_logs(paths: Sequence[Path], *, dataset: Path | None = None) -> list[LogAudit]:
    """Judge every log; folders are walked. With a dataset its validation split is what is expected.

    Raises InputError for a path that is not there, a folder without logs, or no dataset.
    """
    references, bytes_of = load_references(), None
    if dataset is not None:
        references, bytes_of = _dataset_references(dataset)
    return [judge(read_log(path), references, bytes_of) for path in _files(paths)]


def exit_code(audits: Sequence[LogAudit]) -> int:
    """0: every log is consistent; 3: none could be judged; 1: anything else, so that a gate never
    passes a log that was not proven, whatever stands beside it."""
    verdicts = {audit.verdict for audit in audits}
    if verdicts == {"consistent"}:
        return 0
    return 3 if verdicts <= {"unknown"} else 1


def audit_text(audits: Sequence[LogAudit]) -> str:
    """One row a log, and how many came out how."""
    heads = ("targets", "bytes/token", "implied bytes", "expected", "ratio", "BPB", "corrected BPB")
    rows: list[tuple[str, ...]] = [("log", *heads, "verdict")]
    rows += [
        (
            _printable(audit.file),
            _number(audit.tokens, ","),
            _number(audit.bytes_per_token, ".6f"),
            _number(audit.implied_bytes, ","),
            _number(audit.expected_bytes, ","),
            _number(audit.ratio, ".5f"),
            _number(audit.val_bpb, ".6f"),
            _number(audit.corrected_bpb, ".6f"),
            _verdict(audit),
        )
        for audit in audits
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    aligns = "<" + ">" * (len(widths) - 2) + "<"
    lines = []
    for row in rows:
        cells = zip(row, aligns, widths, strict=True)
        lines.append("  ".join(f"{cell:{how}{width}}" for cell, how, width in cells).rstrip())
    counts = Counter(audit.verdict for audit in audits)
    summary = ", ".join(f"{count:,} {verdict}" for verdict, count in counts.most_common())
    return "\n".join([*lines, f"{len(audits):,} logs: {summary}"])


def _verdict(audit: LogAudit) -> str:
    if audit.verdict == "inconsistent":
        return f"inconsistent {audit.explanation}"
    return f"{audit.verdict} ({audit.explanation})"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            found = list(log_files(path))
            if not found:
                raise InputError(f"{path}: no logs in this folder (*.log, *.txt, *.jsonl, log*)")
            yield from found
        elif path.is_file():
            yield path
        else:
            raise InputError(f"{path}: no such log or folder")


def _dataset_references(folder: Path) -> tuple[References, Callable[[int], int]]:
    """The validation split of a dataset as the only reference, and the bytes of its first targets.

    The factors of known errors are kept only for the published text: how often a space or an
    operator is charged wrongly is a property of the text.
    """
    manifest = read_manifest(folder)
    split = manifest.splits["val"]
    published = load_references()
    evaluation = Evaluation(
        targets=split.tokens - 1,
        bytes=split.charged_bytes,
        split="full",
        source=str(folder),
        bos=True,
    )
    vocabulary = Vocabulary(manifest.name, "", (manifest.vocab_size,), (evaluation,))
    same_text = abs(split.source_bytes / published.canonical_bytes - 1) < 1e-4
    references = References(
        documents=split.documents,
        canonical_bytes=split.charged_bytes,
        caseops_bytes=split.charged_bytes,
        vocabulary=(vocabulary,),
        signature=published.signature if same_text else (),
    )
    return references, _bytes_of(folder, split)


def _bytes_of(folder: Path, split: SplitRecord) -> Callable[[int], int]:
    """Charges of targets 1 to n, which are tokens 2 to n + 1, from the sidecars; without sidecars
    the split's mean."""

    @cache
    def bytes_of(targets: int) -> int:
        left, total = targets + 1, 0
        for shard in split.shards:
            if shard.sidecar is None:
                return round(split.charged_bytes * targets / (split.tokens - 1))
            charges = open_shard(folder / shard.sidecar.file)
            total += int(charges[:left].sum(dtype=np.int64)) if left < len(charges) else shard.bytes
            left -= min(left, len(charges))
            if left == 0:
                break
        return total  # the first token is a BOS, charged 0

    return bytes_of
