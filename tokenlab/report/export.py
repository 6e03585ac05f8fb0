"""What `tokenlab export` prints."""

from __future__ import annotations

from tokenlab.export import ExportReport


def export_text(report: ExportReport) -> str:
    """The files, how many are hard links, and what the layout's users must know."""
    linked = sum(file.linked for file in report.files)
    size = sum(file.bytes for file in report.files)
    lines = [
        f"{report.output}: {report.dataset} as {report.layout}, {len(report.files)} files "
        f"({linked} hard links), {size / 1e6:,.1f} MB"
    ]
    lines += [f"  {file.name}" for file in report.files[:20]]
    if len(report.files) > 20:
        lines.append(f"  … all {len(report.files):,} are in export.json")
    lines += [f"note: {note.replace('OUTPUT', str(report.output))}" for note in report.notes]
    return "\n".join(lines)
