"""`tokenlab audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tokenlab.cli.app import Json, app, show


@app.command(
    epilog="\b\nExamples:\n"
    "  tokenlab audit train.log\n"
    "  tokenlab audit records/ --json\n"
    "  tokenlab audit train.log --dataset out/caseops"
)
def audit(
    logs: Annotated[list[Path], typer.Argument(metavar="LOG…", help="Training logs, or folders of them.")],
    dataset: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Hold them against this dataset instead of the published totals."),
    ] = None,
    json: Json = False,
) -> None:
    """Tell from training logs which denominator their BPB was computed with.

    A log's loss and BPB fix the bytes a token; with the number of targets, the denominator
    to the byte. A log is labelled, not accused; one whose BPB is no function of its loss is
    `unknown`. Exit code 0 when all are consistent, 1 when some are not, 3 when none could
    be judged.
    """
    from tokenlab.audit import audit_logs, audit_text, exit_code
    from tokenlab.report.plain import to_json

    audits = audit_logs(logs, dataset=dataset)
    show(to_json(audits) if json else audit_text(audits))
    raise typer.Exit(exit_code(audits))
