"""The command line. Imports stand inside the commands, so that `--help` comes at once."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tokenlab.errors import TokenlabError

app = typer.Typer(
    name="tokenlab",
    help="Token shards with byte-exact accounting, and the proof of them.",
    epilog="\b\nStart here:\n"
    "  tokenlab build --scheme caseops --output out/caseops\n"
    "  tokenlab verify out/caseops",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

INTERRUPTED = 130
"""What typer makes of Ctrl-C."""


class OnBadDocument(StrEnum):
    """What to do with a row that is no document."""

    stop = "stop"
    skip = "skip"


class Transform(StrEnum):
    """What a foreign dataset's text went through before its tokenizer."""

    identity = "identity"
    caseops_v1 = "caseops-v1"
    caseops = "caseops"


class SplitName(StrEnum):
    """A split of a dataset."""

    val = "val"
    train = "train"


class View(StrEnum):
    """How `inspect` shows tokens."""

    flow = "flow"
    table = "table"


Html = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write a page too: one file that needs no network."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout instead of text.")]
Docs = Annotated[
    list[str] | None,
    typer.Option(
        "--docs",
        metavar="PATH",
        help="The source, as `build --input` took it (repeatable); `embedded` for Python's prose.",
    ),
]
TextField = Annotated[str | None, typer.Option(help="Field of the documents' text, if not the manifest's.")]


@app.command(
    epilog="\b\nExamples:\n"
    "  tokenlab build --scheme caseops --output out/caseops\n"
    "  tokenlab build --scheme bpe --input docs.jsonl.zst --val-docs 50 --vocab-size 1024 --output out/bpe\n"
    "  tokenlab build --scheme caseops-v1 --tokenizer published.model --input 'web/*.parquet' \\\n"
    "      --val-docs 50000 --output out/v1"
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
            metavar="PATH…|fineweb",
            help="Documents: jsonl, jsonl.gz, jsonl.zst, parquet, txt, globs; `fineweb` streams FineWeb. "
            "Left out: the prose that Python carries.",
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
    text_field: Annotated[
        str, typer.Option(metavar="NAME", help="Field (jsonl) or column (parquet) of the text.")
    ] = "text",
    limit_docs: Annotated[
        int | None, typer.Option(metavar="N", help="Take the first N documents only.")
    ] = None,
    on_bad_document: Annotated[
        OnBadDocument, typer.Option(help="Stop at a row that is no document, or skip and list it.")
    ] = OnBadDocument.stop,
    shard_tokens: Annotated[int, typer.Option(metavar="N", help="Tokens of a shard.")] = 100_000_000,
    train_bytes: Annotated[
        bool, typer.Option("--train-bytes", help="Write byte sidecars for train too.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Processes (default: one a core). The output does not depend on it."),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Seed of the vocabulary's sample and of the comparison sample.")
    ] = 0,
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
    from tokenlab.build import BuildOptions, make_plan
    from tokenlab.build import build as run_build
    from tokenlab.memory import keep_freed_memory
    from tokenlab.report.build import build_json, build_text, plan_text
    from tokenlab.terminal import stderr_progress

    keep_freed_memory()
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
            seed=seed,
            force=force,
            on_bad_document=on_bad_document.value,
        )
    )
    if dry_run:
        _print(plan_text(plan, stderr_progress(), as_json=json))
        return
    report = run_build(plan, stderr_progress())
    _print(build_json(report) if json else build_text(report))


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
    tokenizer: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Foreign shards: their sentencepiece .model or tokenizer.json."),
    ] = None,
    transform: Annotated[
        Transform, typer.Option(help="Foreign shards: what the text went through before the tokenizer.")
    ] = Transform.identity,
    val_docs: Annotated[
        int | None, typer.Option(metavar="N", help="Foreign shards: how many of --docs are validation.")
    ] = None,
    byte_table: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Foreign shards without sidecar: their byte table (.npz)."),
    ] = None,
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
    from tokenlab.memory import keep_freed_memory
    from tokenlab.report.inputs import dataset_inputs, foreign_inputs
    from tokenlab.report.page import require_folder, write_page
    from tokenlab.report.plain import to_json
    from tokenlab.report.verification import foreign_text, verification_text
    from tokenlab.report.verification_page import foreign_page, verification_page
    from tokenlab.terminal import stderr_progress
    from tokenlab.verification import ForeignOptions, is_foreign, verify_foreign
    from tokenlab.verification import verify as run_verify

    require_folder(html)
    keep_freed_memory()
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
        _print(to_json(judged) if json else foreign_text(judged))
        if html is not None:
            inputs = foreign_inputs(dataset, options, stderr_progress())
            write_page(html, foreign_page(judged, inputs, _command()))
        raise typer.Exit(judged.exit_code)
    result = run_verify(dataset, docs=docs, text_field=text_field, progress=stderr_progress())
    _print(to_json(result) if json else verification_text(result))
    if html is not None:
        inputs = dataset_inputs(dataset, docs, stderr_progress())
        write_page(html, verification_page(result, inputs, _command()))
    raise typer.Exit(result.exit_code)


@app.command(
    epilog="\b\nExamples:\n"
    "  tokenlab inspect out/fw --doc 17\n"
    '  tokenlab inspect --text "The NASA paper" --scheme caseops\n'
    "  tokenlab inspect out/fw --doc 17 --compare out/fw byte-bpe --html page.html"
)
def inspect(
    dataset: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="A dataset that `tokenlab build` made.")
    ] = None,
    doc: Annotated[
        int | None,
        typer.Option(metavar="N", help="Document, counted from 0 over the source (or over --split)."),
    ] = None,
    split: Annotated[
        SplitName | None, typer.Option(help="Count --doc within this split, as `verify` does.")
    ] = None,
    docs: Docs = None,
    text_field: TextField = None,
    text: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="A text instead of a document; needs --scheme or --compare."),
    ] = None,
    scheme: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE.toml|DIR", help="The scheme of --text: built-in, a file, or a dataset's."
        ),
    ] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="Two schemes, named as for --scheme, on the same text."),
    ] = None,
    tokenizer: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Vocabulary of a scheme that was named; given twice, those of A and of B."
        ),
    ] = None,
    view: Annotated[
        View | None,
        typer.Option(help="Running text with the charges beneath, or a table [default: flow on a terminal]"),
    ] = None,
    html: Html = None,
    json: Json = False,
) -> None:
    """Show a text token by token: id, piece, source slice, bytes charged.

    The text is a document of a dataset, read back from its shards, or --text. On a terminal
    it flows, tokens in colours (NO_COLOR is obeyed) and charges beneath; a pipe gets a
    table. With --html a page is written and only the totals are printed.
    """
    from tokenlab.inspection import InspectOptions, run_inspection
    from tokenlab.report.inspection import closing_text, print_inspection
    from tokenlab.report.inspection_page import inspection_page
    from tokenlab.report.page import require_folder, write_page
    from tokenlab.report.plain import to_json
    from tokenlab.terminal import stderr_progress

    require_folder(html)
    options = InspectOptions(
        dataset=dataset,
        doc=doc,
        split=split.value if split else None,
        docs=tuple(docs) if docs is not None else None,
        text_field=text_field,
        text=text,
        scheme=scheme,
        compare=compare,
        tokenizers=tuple(tokenizer or ()),
    )
    result = run_inspection(options, stderr_progress())
    if json:
        _print(to_json(result))
    elif html is None or view is not None:
        print_inspection(result, view.value if view else None)
    else:
        _print(closing_text(result))
    if html is not None:
        write_page(html, inspection_page(result, _command()))


@app.command(epilog="\b\nExample:\n  tokenlab schemes")
def schemes(json: Json = False) -> None:
    """List the schemes there are, one line each, with the verdicts they get."""
    from tokenlab.report.schemes import schemes_json, schemes_text

    _print(schemes_json() if json else schemes_text())


def _version(value: bool) -> None:
    if value:
        import tokenlab

        print(f"tokenlab {tokenlab.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


def _print(text: str) -> None:
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def _command() -> str:
    """The command as it was typed, ready to be typed again."""
    import shlex

    return shlex.join(["tokenlab", *sys.argv[1:]])


def spread(arguments: list[str]) -> list[str]:
    """`--input A B C` as `--input A --input B --input C`, so that a shell's glob works;
    `--docs` likewise once the dataset stands before it."""
    spread_out: list[str] = []
    option = ""
    positional = values = 0
    for argument in arguments:
        if values:
            values -= 1
        elif argument in ("--text", "--compare"):
            option, values = "", 1 if argument == "--text" else 2
        elif argument.startswith("-"):
            option = argument if argument in ("--input", "--docs") else ""
            first = True
        elif option and (option == "--input" or positional > 1 or first):
            if not first:
                spread_out.append(option)
            first = False
        elif not option and (not spread_out or not spread_out[-1].startswith("-")):
            positional += 1
        spread_out.append(argument)
    return spread_out


def main() -> None:
    """Entry point: every error on purpose is one line on stderr and its exit code."""
    arguments = spread(sys.argv[1:]) or ["--help"]
    try:
        code = app(arguments, standalone_mode=False)
    except TokenlabError as error:
        _fail(str(error), error.exit_code)
    except _usage_error() as error:
        _fail(f"{error.format_message()} (see tokenlab --help)", 2)  # type: ignore[attr-defined]
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    if code == INTERRUPTED:
        _fail("interrupted; the same command goes on where it stopped", code)
    sys.exit(code or 0)


def _usage_error() -> type[Exception]:
    # typer carries its own copy of click in some versions, so the base class is looked up.
    return next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def _fail(message: str, code: int) -> None:
    print(f"tokenlab: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
