"""`tokenlab import` and `tokenlab export`: data that comes from other trainers, or goes to them."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tokenlab.cli.app import ByteTable, Docs, Json, Tokenizer, Transform, TransformOption, ValDocs, app, show


class ForeignLayout(StrEnum):
    """A layout that can be imported."""

    parameter_golf = "parameter-golf"


@app.command(
    "import",
    epilog="\b\nExample:\n"
    "  tokenlab import their/shards --layout parameter-golf --tokenizer their.model \\\n"
    "      --transform caseops-v1 --docs docs.jsonl --val-docs 50000 --output out/theirs",
)
def import_(
    shards: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of fineweb_{train,val}_*.bin.")],
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where the dataset goes.")],
    layout: Annotated[ForeignLayout, typer.Option(help="How the shards lie.")] = ForeignLayout.parameter_golf,
    tokenizer: Tokenizer = None,
    transform: TransformOption = Transform.identity,
    docs: Docs = None,
    val_docs: ValDocs = None,
    byte_table: ByteTable = None,
    text_field: Annotated[str, typer.Option(metavar="NAME", help="Field of the documents' text.")] = "text",
    workers: Annotated[int | None, typer.Option(metavar="N", help="Processes (default: one a core).")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the dataset at --output.")] = False,
    json: Json = False,
) -> None:
    """Make shards that passed `verify` a dataset, with manifest and exact sidecars.

    They are verified, then made again from the documents; a single token that differs
    refuses the import. The verdict is recorded in the manifest.
    """
    from tokenlab.importing import import_dataset
    from tokenlab.report.build import build_json, build_text
    from tokenlab.terminal import stderr_progress
    from tokenlab.verification import ForeignOptions

    evidence = ForeignOptions(
        tokenizer=tokenizer,
        transform=transform.value,
        docs=tuple(docs) if docs is not None else None,
        val_docs=val_docs,
        byte_table=byte_table,
        text_field=text_field,
    )
    judged, report = import_dataset(
        shards,
        evidence,
        output,
        workers=workers if workers is not None else len(os.sched_getaffinity(0)),
        force=force,
        progress=stderr_progress(),
    )
    show(build_json(report) if json else f"foreign verdict: {judged.verdict}\n{build_text(report)}")


class ExportLayout(StrEnum):
    """A layout that can be exported; `tokenlab.export.LAYOUTS` says what each gives."""

    parameter_golf = "parameter-golf"
    modded_nanogpt = "modded-nanogpt"
    llm_c = "llm.c"
    megatron = "megatron"
    numpy = "numpy"
    parquet = "parquet"
    hf_tokenizer = "hf-tokenizer"
    tiktoken = "tiktoken"


@app.command(
    epilog="\b\nExamples:\n"
    "  tokenlab export out/fw --layout parameter-golf --output golf/\n"
    "  tokenlab export out/fw --layout hf-tokenizer --output tokenizer/"
)
def export(
    dataset: Annotated[Path, typer.Argument(metavar="DIR", help="A dataset that `tokenlab build` made.")],
    layout: Annotated[ExportLayout, typer.Option(help="Whose form the output has.")],
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Where it goes; it is there whole or not at all.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export at --output.")] = False,
    json: Json = False,
) -> None:
    """Hand a dataset, or its tokenizer, to the trainers and libraries people already have.

    Every file that is read is first held against the manifest. What a layout cannot hold
    exactly is refused with the reason; what its users must know is printed as a note.
    """
    from tokenlab.export import export_dataset
    from tokenlab.report.export import export_text
    from tokenlab.report.plain import to_json
    from tokenlab.terminal import stderr_progress

    report = export_dataset(dataset, layout.value, output, force=force, progress=stderr_progress())
    show(to_json(report) if json else export_text(report))
