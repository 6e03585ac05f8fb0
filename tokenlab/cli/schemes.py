"""`tokenlab schemes`."""

from __future__ import annotations

from tokenlab.cli.app import Json, app, show


@app.command(epilog="\b\nExample:\n  tokenlab schemes")
def schemes(json: Json = False) -> None:
    """List the schemes there are, one line each, with the verdicts they get."""
    from tokenlab.report.schemes import schemes_json, schemes_text

    show(schemes_json() if json else schemes_text())
