"""`tokenlab report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tokenlab.cli.app import Html, Json, app, require_libraries, show, typed_command


@app.command(
    epilog="\b\nExamples:\n"
    "  tokenlab report runs/a --html run.html\n"
    "  tokenlab report runs/seed1 runs/seed2 runs/seed3\n"
    "  tokenlab report runs/seed1 runs/seed2 runs/seed3 --record records/2026-12-01_Mine\n"
    "  tokenlab report ab/ --html ab.html\n"
    "  tokenlab report ab/ --confirm --html confirmed.html"
)
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN…",
            help="Finished runs of `tokenlab train`, several are seeds; or the experiment of `tokenlab ab`.",
        ),
    ],
    html: Html = None,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the contest's record folder: README, submission.json, a log a seed.",
        ),
    ] = None,
    confirm: Annotated[
        bool,
        typer.Option(
            "--confirm", help="Of an experiment: open the documents held back, which can be done once."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Show what a run scored, how it was trained and what its artifact is made of.

    An experiment (a folder with plan.toml) is analysed anew from its runs: which arm is better, how
    sure that is, and where the difference arises.

    Several runs are averaged only when they are seeds of one experiment: equal signature,
    configuration, dataset and code. Both conventions about BOS are shown, never mixed.
    `tokenlab audit DIR --dataset DATASET` checks the record's logs.
    """
    from tokenlab.errors import InputError
    from tokenlab.report.contest_record import require_absent, write_record
    from tokenlab.report.page import require_folder, write_page
    from tokenlab.report.plain import to_json
    from tokenlab.report.training import facts, report_text
    from tokenlab.report.training_page import training_page
    from tokenlab.runs import read_runs

    require_folder(html)
    require_absent(record)
    if any((run / "plan.toml").exists() for run in runs):
        _experiment(runs, html, record, confirm, json)
        return
    if confirm:
        raise InputError(f"--confirm: {runs[0]} is no experiment; it has no plan.toml")
    found = read_runs(runs)
    if record is not None:
        write_record(record, found)
    if html is not None:
        write_page(html, training_page(found, typed_command()))
    show(to_json(facts(found)) if json else report_text(found))


def _experiment(
    folders: list[Path], html: Path | None, record: Path | None, confirm: bool, json: bool
) -> None:
    require_libraries("ab", "scipy")
    from tokenlab.ab.analysis import analyse
    from tokenlab.ab.experiment import Experiment
    from tokenlab.errors import InputError
    from tokenlab.report.ab import ab_json, ab_text
    from tokenlab.report.ab_page import ab_page
    from tokenlab.report.page import write_page

    if len(folders) > 1:
        raise InputError("an experiment is reported by itself; give one folder")
    if record is not None:
        raise InputError("--record: give the runs of one arm, such as ab/runs/bytes/ARM/seed-*")
    found = analyse(Experiment.open(folders[0]), confirm=confirm)
    if html is not None:
        write_page(html, ab_page(found, typed_command()))
    show(ab_json(found) if json else ab_text(found))
