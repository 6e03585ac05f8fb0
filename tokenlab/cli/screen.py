"""`tokenlab screen`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from tokenlab.cli.app import (
    Html,
    InputTextField,
    Json,
    LimitDocs,
    app,
    require_libraries,
    show,
    typed_command,
)


@app.command(
    epilog="\b\nExamples:\n"
    "  tokenlab screen bpe caseops byte-bpe bytes --input docs.jsonl.zst --output screen\n"
    "  tokenlab screen bpe mine.toml --input 'web/*.parquet' --limit-docs 3000 --vocab-size 1024 \\\n"
    "      --holdout-docs 200 --output screen-1024 --html screen.html"
)
def screen(
    schemes: Annotated[
        list[str],
        typer.Argument(
            metavar="SCHEME…", help="Built-in schemes or scheme files; each is compared with the first."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Where it goes; schemes that are done there are not done again."),
    ],
    input: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH|URL…",
            help="Documents, as `tokenlab build` takes them. Left out: the prose that Python carries.",
        ),
    ] = None,
    vocab_size: Annotated[
        int, typer.Option(metavar="N", help="Ids of each vocabulary that is trained.")
    ] = 8192,
    holdout_docs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Hold the first N documents out [default: those whose sha256 begins with a byte below 16]",
        ),
    ] = None,
    text_field: InputTextField = "text",
    limit_docs: LimitDocs = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Schemes at a time, each in 100 times the text's memory (default: one a core here).",
        ),
    ] = None,
    html: Html = None,
    json: Json = False,
) -> None:
    """Rank schemes in minutes, before any model is trained on them.

    Each scheme's vocabulary is trained on the same documents, and the documents held out are
    scored by an adaptive n-gram model of its tokens: bits per source byte, paired by document
    against the first scheme. The proxy is no network; what it is blind to, and what its gains
    were worth in trained models, is printed beside the ranking. A killed screen goes on with
    the schemes that are missing when the same command is run again, and so do added ones.
    """
    require_libraries("screen", "scipy")
    from tokenlab.report.page import require_folder, write_page
    from tokenlab.report.screen import screen_json, screen_text
    from tokenlab.report.screen_page import screen_page
    from tokenlab.screen.plan import ScreenOptions
    from tokenlab.screen.run import run_screen
    from tokenlab.terminal import stderr_progress

    require_folder(html)
    options = ScreenOptions(
        schemes=tuple(schemes),
        output=output,
        inputs=tuple(input) if input is not None else None,
        text_field=text_field,
        limit_docs=limit_docs,
        holdout_docs=holdout_docs,
        vocab_size=vocab_size,
        workers=workers if workers is not None else len(os.sched_getaffinity(0)),
    )
    result = run_screen(options, stderr_progress())
    if html is not None:
        write_page(html, screen_page(result, typed_command()))
    show(screen_json(result) if json else screen_text(result))
