"""`tokenlab inspect`."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from tokenlab.cli.app import Docs, Html, Json, SplitName, TextField, app, show, typed_command

Result = TypeVar("Result")


class View(StrEnum):
    """How `inspect` shows tokens."""

    flow = "flow"
    table = "table"


@app.command(
    epilog="\b\nExamples:\n"
    "  tokenlab inspect out/fw --doc 17\n"
    '  tokenlab inspect --text "The NASA paper" --scheme caseops\n'
    "  tokenlab inspect out/fw --doc 17 --compare out/fw byte-bpe --html page.html\n"
    "  tokenlab inspect out/patches --boundaries --doc 17"
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
    boundaries: Annotated[
        bool,
        typer.Option(
            "--boundaries",
            help="Show patches instead of tokens, and their statistics: of --doc N, of a whole split "
            "without it, or of --text by the rule of --scheme (space-bytes, or a dataset that has one).",
        ),
    ] = False,
    rule: Annotated[
        str | None,
        typer.Option(metavar="RULE", help="With --boundaries: this rule, space or fixed:P, instead."),
    ] = None,
    html: Html = None,
    json: Json = False,
) -> None:
    """Show a text token by token: id, piece, source slice, bytes charged.

    The text is a document of a dataset, read back from its shards, or --text. On a terminal
    it flows, tokens in colours (NO_COLOR is obeyed) and charges beneath; a pipe gets a
    table. With --html a page is written and only the totals are printed.

    --boundaries shows where patches begin, for a dataset built with `build --boundaries`.
    """
    from tokenlab.errors import InputError

    if boundaries:
        given = {"--docs": docs, "--text-field": text_field, "--compare": compare, "--tokenizer": tokenizer}
        if names := [name for name, value in given.items() if value]:
            raise InputError(
                f"{', '.join(names)}: not with --boundaries, which shows the patches of one text"
            )
        _inspect_patches(dataset, doc, split, text, scheme, rule, view, html, json)
        return
    if rule is not None:
        raise InputError(f"--rule {rule} says where patches begin: add --boundaries")
    from tokenlab.inspection import InspectOptions, run_inspection
    from tokenlab.report.inspection import closing_text, print_inspection
    from tokenlab.report.inspection_page import inspection_page
    from tokenlab.report.page import require_folder
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
    _give(result, print_inspection, closing_text, inspection_page, view, html, json=json)


def _inspect_patches(
    dataset: Path | None,
    doc: int | None,
    split: SplitName | None,
    text: str | None,
    scheme: str | None,
    rule: str | None,
    view: View | None,
    html: Path | None,
    json: bool,
) -> None:
    from tokenlab.inspection import PatchOptions, inspect_patches
    from tokenlab.report.page import require_folder
    from tokenlab.report.patches import closing_text, print_patches
    from tokenlab.report.patches_page import patches_page

    require_folder(html)
    result = inspect_patches(
        PatchOptions(
            dataset=dataset,
            doc=doc,
            split=split.value if split else None,
            text=text,
            scheme=scheme,
            rule=rule,
        )
    )
    _give(result, print_patches, closing_text, patches_page, view, html, json=json)


def _give(
    result: Result,
    print_view: Callable[[Result, Literal["flow", "table"] | None], None],
    closing_text: Callable[[Result], str],
    make_page: Callable[[Result, str], str],
    view: View | None,
    html: Path | None,
    *,
    json: bool,
) -> None:
    """The result as it was asked for: JSON, text, or with a page its totals only."""
    from tokenlab.report.page import write_page
    from tokenlab.report.plain import to_json

    if json:
        show(to_json(result))
    elif html is None or view is not None:
        print_view(result, view.value if view else None)
    else:
        show(closing_text(result))
    if html is not None:
        write_page(html, make_page(result, typed_command()))
