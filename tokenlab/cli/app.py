"""What the commands share: the app, options that several take, and how results are printed.

Imports of the product stand inside the commands, so that `--help` comes at once.
"""

from __future__ import annotations

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

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


InputTextField = Annotated[
    str, typer.Option("--text-field", metavar="NAME", help="Field (jsonl) or column (parquet) of the text.")
]
LimitDocs = Annotated[
    int | None, typer.Option("--limit-docs", metavar="N", help="Take the first N documents only.")
]


def require_libraries(extra: str, *libraries: str) -> None:
    """Raise InputError, with the line that installs them, when an extra's libraries are not here."""
    import importlib.util

    from tokenlab.errors import InputError

    missing = [name for name in libraries if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"this needs {' and '.join(missing)}: pip install 'tokenlab-bpb[{extra}]'")


class Transform(StrEnum):
    """What a foreign dataset's text went through before its tokenizer."""

    identity = "identity"
    caseops_v1 = "caseops-v1"
    caseops = "caseops"


class SplitName(StrEnum):
    """A split of a dataset."""

    val = "val"
    train = "train"


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
Tokenizer = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Foreign shards: their sentencepiece .model or tokenizer.json."),
]
TransformOption = Annotated[
    Transform, typer.Option(help="Foreign shards: what the text went through before the tokenizer.")
]
ValDocs = Annotated[
    int | None, typer.Option(metavar="N", help="Foreign shards: how many of --docs are validation.")
]
ByteTable = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Foreign shards without sidecar: their byte table (.npz)."),
]


def _version(value: bool) -> None:
    if value:
        import tokenlab

        show(f"tokenlab {tokenlab.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


def show(text: str) -> None:
    """Print a result on stdout."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def typed_command() -> str:
    """The command as it was typed, ready to be typed again, but for secrets in URLs."""
    from tokenlab.corpus import without_secrets

    return shlex.join(["tokenlab", *map(without_secrets, sys.argv[1:])])
