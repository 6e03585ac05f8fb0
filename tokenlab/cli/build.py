"""`tokenlab build`."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tokenlab.cli.app import InputTextField, Json, LimitDocs, app, show
from tokenlab.own_process import import_numpy


class EngineKind(StrEnum):
    """Where the work is done."""

    local = "local"
    ray = "ray"
    slurm = "slurm"


class OnBadDocument(StrEnum):
    """What to do with a row that is no document."""

    stop = "stop"
    skip = "skip"


@app.command(
    epilog="\b\nExamples:\n"
    "  tokenlab build --scheme caseops --output out/caseops\n"
    "  tokenlab build --scheme bpe --input docs.jsonl.zst --val-docs 50 --vocab-size 1024 --output out/bpe\n"
    "  tokenlab build --scheme caseops-v1 --tokenizer published.model --input 'web/*.parquet' \\\n"
    "      --val-docs 50000 --output out/v1\n"
    "  tokenlab build --scheme bytes --boundaries entropy --bytes-per-patch 6 --output out/patches\n"
    "  tokenlab build --scheme caseops --input 'fw/*.parquet' --val-docs 50000 --output /shared/fw \\\n"
    "      --engine ray --engine-address auto --workers 64"
)
def build(
    scheme: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE.toml", help="A built-in scheme (see `tokenlab schemes`) or a scheme file."
        ),
    ],
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the dataset goes; it is there whole or not at all.")
    ],
    input: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH|URL…|fineweb",
            help="Documents: jsonl, jsonl.gz, jsonl.zst, parquet, txt; paths, globs, http(s)://, s3:// and "
            "hf:// URLs; `fineweb[:CONFIG][@REVISION]` streams FineWeb. Left out: the prose that Python "
            "carries.",
        ),
    ] = None,
    val_docs: Annotated[
        int | None,
        typer.Option(metavar="N", help="The first N documents are validation. Needed with --input."),
    ] = None,
    vocab_size: Annotated[
        int | None,
        typer.Option(metavar="N", help="Ids of a vocabulary trained here (default: the scheme's)."),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Use this sentencepiece .model or tokenizer.json; train none."),
    ] = None,
    boundaries: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="Scheme bytes: where patches begin, a bit a byte in `boundaries/`. `fixed:P`, `space`, "
            "`table2`, `entropy[:θ]`, `monotonic[:δ]` (θ, δ in bits; without a number they are calibrated).",
        ),
    ] = None,
    bytes_per_patch: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Boundaries that are calibrated: bytes of a patch to aim at on train (default 4.5).",
        ),
    ] = None,
    analysis_only: Annotated[
        bool,
        typer.Option(
            "--analysis-only",
            help="Allow boundaries that look ahead (`topk:K` percent, `bpe:N` ids); `verify` rejects them.",
        ),
    ] = False,
    text_field: InputTextField = "text",
    limit_docs: LimitDocs = None,
    on_bad_document: Annotated[
        OnBadDocument, typer.Option(help="Stop at a row that is no document, or skip and list it.")
    ] = OnBadDocument.stop,
    shard_tokens: Annotated[int, typer.Option(metavar="N", help="Tokens of a shard.")] = 100_000_000,
    train_bytes: Annotated[
        bool, typer.Option("--train-bytes", help="Write byte sidecars for train too.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Tasks at a time (default: one a core here)."),
    ] = None,
    engine: Annotated[
        EngineKind,
        typer.Option(help="Where the work is done: processes here, Ray, or Slurm. The output is the same."),
    ] = EngineKind.local,
    engine_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="ray: a running cluster (none: one is started here). slurm: `local` for processes here.",
        ),
    ] = None,
    engine_option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="slurm: a parameter of submitit, as slurm_partition=cpu."),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Seed of the vocabulary's sample and of the comparison sample.")
    ] = 0,
    license: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The documents' license, for the dataset card: odc-by, cc0-1.0, …"),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace the dataset at --output, or an unfinished other build of it."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved plan and a forecast; write nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Turn documents into token shards and byte sidecars, every byte accounted for.

    A killed or interrupted build goes on where it stopped when the same command is run
    again. Nothing that changes a score has a hidden default: it is printed and recorded.
    """
    import_numpy()  # the workers are forked from this process

    from tokenlab.build import BuildOptions, make_plan
    from tokenlab.build import build as run_build
    from tokenlab.build.engine import EngineOptions
    from tokenlab.report.build import build_json, build_text, plan_text
    from tokenlab.terminal import stderr_progress

    plan = make_plan(
        BuildOptions(
            scheme=scheme,
            output=output,
            inputs=tuple(input) if input is not None else None,
            text_field=text_field,
            limit_docs=limit_docs,
            val_docs=val_docs,
            vocab_size=vocab_size,
            tokenizer=tokenizer,
            shard_tokens=shard_tokens,
            train_bytes=train_bytes,
            workers=workers if workers is not None else len(os.sched_getaffinity(0)),
            engine=EngineOptions(engine.value, engine_address, tuple(engine_option or ())),
            seed=seed,
            force=force,
            license=license,
            boundaries=boundaries,
            bytes_per_patch=bytes_per_patch,
            analysis_only=analysis_only,
            on_bad_document=on_bad_document.value,
        )
    )
    if dry_run:
        show(plan_text(plan, stderr_progress(), as_json=json))
        return
    report = run_build(plan, stderr_progress())
    show(build_json(report) if json else build_text(report))
