"""`tokenlab verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tokenlab.cli.app import (
    ByteTable,
    Docs,
    Html,
    Json,
    TextField,
    Tokenizer,
    Transform,
    TransformOption,
    ValDocs,
    app,
    show,
    typed_command,
)
from tokenlab.own_process import import_numpy


@app.command(
    epilog="\b\nExamples:\n"
    "  tokenlab verify out/caseops\n"
    "  tokenlab verify out/fw --docs docs.jsonl.zst --json\n"
    "  tokenlab verify their/shards --tokenizer their.model --transform caseops-v1 \\\n"
    "      --docs docs.jsonl --val-docs 50000 --log train.log"
)
def verify(
    dataset: Annotated[Path, typer.Argument(metavar="DIR", help="A dataset, or a folder of foreign shards.")],
    docs: Docs = None,
    text_field: TextField = None,
    tokenizer: Tokenizer = None,
    transform: TransformOption = Transform.identity,
    val_docs: ValDocs = None,
    byte_table: ByteTable = None,
    log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Foreign shards: the training log that claims a BPB.")
    ] = None,
    loss: Annotated[
        float | None,
        typer.Option(metavar="NATS", help="Foreign shards: a validation loss, to be turned into BPB."),
    ] = None,
    html: Html = None,
    json: Json = False,
) -> None:
    """Re-read a dataset and prove it, or judge one that somebody else made.

    A dataset of tokenlab is held against its manifest, with --docs against the source
    itself. Shards without a manifest are judged by what is given with them; what cannot be
    judged is listed. Exit code 0 when all holds, 1 when something fails, 2 for bad usage or
    input, 3 when evidence is missing.
    """
    import_numpy()  # the process that reads the source is forked from this one

    from tokenlab.report.inputs import dataset_inputs, foreign_inputs
    from tokenlab.report.page import require_folder, write_page
    from tokenlab.report.plain import to_json
    from tokenlab.report.verification import foreign_text, verification_text
    from tokenlab.report.verification_page import foreign_page, verification_page
    from tokenlab.terminal import stderr_progress
    from tokenlab.verification import ForeignOptions, is_foreign, verify_foreign
    from tokenlab.verification import verify as run_verify

    require_folder(html)
    given = (tokenizer, val_docs, byte_table, log, loss)
    foreign = is_foreign(
        dataset, asked=transform is not Transform.identity or any(x is not None for x in given)
    )
    if foreign:
        options = ForeignOptions(
            tokenizer=tokenizer,
            transform=transform.value,
            docs=tuple(docs) if docs is not None else None,
            val_docs=val_docs,
            byte_table=byte_table,
            text_field=text_field or "text",
            log=log,
            loss=loss,
        )
        judged = verify_foreign(dataset, options, stderr_progress())
        show(to_json(judged) if json else foreign_text(judged))
        if html is not None:
            inputs = foreign_inputs(dataset, options, stderr_progress())
            write_page(html, foreign_page(judged, inputs, typed_command()))
        raise typer.Exit(judged.exit_code)
    result = run_verify(dataset, docs=docs, text_field=text_field, progress=stderr_progress())
    show(to_json(result) if json else verification_text(result))
    if html is not None:
        inputs = dataset_inputs(dataset, docs, stderr_progress())
        write_page(html, verification_page(result, inputs, typed_command()))
    raise typer.Exit(result.exit_code)
