"""`tokenlab report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tokenlab.cli.app import Html, Json, app, show, typed_command


@app.command(
    epilog="\b\nExamples:\n"
    "  tokenlab report runs/a --html run.html\n"
    "  tokenlab report runs/seed1 runs/seed2 runs/seed3\n"
    "  tokenlab report runs/seed1 runs/seed2 runs/seed3 --record records/2026-12-01_Mine"
)
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN…", help="Finished runs of `tokenlab train`; several are seeds."),
    ],
    html: Html = None,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the contest's record folder: README, submission.json, a log a seed.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show what a run scored, how it was trained and what its artifact is made of.

    Several runs are averaged only when they are seeds of one experiment: equal signature,
    configuration, dataset and code. Both conventions about BOS are shown, never mixed.
    `tokenlab audit DIR --dataset DATASET` checks the record's logs.
    """
    from tokenlab.report.contest_record import require_absent, write_record
    from tokenlab.report.page import require_folder, write_page
    from tokenlab.report.plain import to_json
    from tokenlab.report.training import facts, report_text
    from tokenlab.report.training_page import training_page
    from tokenlab.runs import read_runs

    require_folder(html)
    require_absent(record)
    found = read_runs(runs)
    if record is not None:
        write_record(record, found)
    if html is not None:
        write_page(html, training_page(found, typed_command()))
    show(to_json(facts(found)) if json else report_text(found))
