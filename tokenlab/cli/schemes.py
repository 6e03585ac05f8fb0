"""`tokenlab schemes`."""

from __future__ import annotations

from typing import Annotated

import typer

from tokenlab.cli.app import Json, app, show


@app.command(
    epilog="\b\nExamples:\n"
    "  tokenlab schemes\n"
    "  tokenlab schemes --table --vocab-size 4096\n"
    "  tokenlab schemes --table --input docs.jsonl.zst --val-docs 50 --scheme bpe --scheme wordops"
)
def schemes(
    json: Json = False,
    table: Annotated[
        bool,
        typer.Option(
            "--table",
            help="Train each on a text and measure tokens a byte and the verdicts it really gets.",
        ),
    ] = False,
    input: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH|URL…", help="With --table: the text, as `build` takes it (none: Python's prose)."
        ),
    ] = None,
    scheme: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE.toml", help="With --table: only these schemes; the first is compared with."
        ),
    ] = None,
    val_docs: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="With --table: the first N documents train no vocabulary. Needed with --input."
        ),
    ] = None,
    vocab_size: Annotated[
        int | None, typer.Option(metavar="N", help="With --table: ids of each vocabulary (default: its own).")
    ] = None,
    text_field: Annotated[
        str, typer.Option(metavar="NAME", help="With --table: field or column of the text.")
    ] = "text",
) -> None:
    """List the schemes there are, one line each, with the verdicts they get, or measure them on a text."""
    from tokenlab.errors import InputError

    if not table:
        if input or scheme or val_docs is not None or vocab_size is not None:
            raise InputError("--input, --scheme, --val-docs and --vocab-size go with --table; add it")
        from tokenlab.report.schemes import schemes_json, schemes_text

        show(schemes_json() if json else schemes_text())
        return
    from tokenlab.report.plain import to_json
    from tokenlab.report.scheme_table import has_failed, measure_schemes, table_text
    from tokenlab.terminal import stderr_progress

    rows = measure_schemes(
        input,
        val_docs=val_docs,
        vocab_size=vocab_size,
        names=scheme or (),
        text_field=text_field,
        progress=stderr_progress(),
    )
    show(to_json(rows) if json else table_text(rows))
    if has_failed(rows):
        raise typer.Exit(1)
