"""What `tokenlab schemes` prints."""

from __future__ import annotations

from tokenlab.registry import scheme_names
from tokenlab.report.plain import table, to_json
from tokenlab.scheme_spec import open_scheme_spec


def schemes_text() -> str:
    """The schemes, one line each."""
    return "\n".join(table([(s["name"], s["verdicts"], s["summary"]) for s in _schemes()], align="<<<"))


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
