"""The command line, one file a command."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import NoReturn

import typer

from tokenlab.cli.app import app
from tokenlab.errors import TokenlabError
from tokenlab.own_process import interrupt_safely, leave, take_over

__all__ = ["app", "command", "import_commands", "main", "spread"]

FILES = {
    "ab": "ab",
    "audit": "audit",
    "build": "build",
    "import": "exchange",
    "export": "exchange",
    "inspect": "inspect",
    "report": "report",
    "train": "train",
    "eval": "train",
    "sample": "sample",
    "schemes": "schemes",
    "screen": "screen",
    "verify": "verify",
}
"""Where each command is; `--help` lists them in this order."""

INTERRUPTED = 130
"""What typer makes of Ctrl-C."""


def command() -> NoReturn:
    """Entry point: `main` in a process of its own."""
    take_over()
    try:
        main()
    except SystemExit as end:
        leave(end.code if isinstance(end.code, int) else int(end.code is not None))


def main() -> NoReturn:
    """Every error on purpose is one line on stderr and its exit code, by SystemExit."""
    interrupt_safely()
    arguments = spread(sys.argv[1:]) or ["--help"]
    import_commands(arguments[0])
    try:
        code = app(arguments, standalone_mode=False)
    except TokenlabError as error:
        _fail(str(error), error.exit_code)
    except _usage_error() as error:
        command = f"tokenlab {arguments[0]}" if arguments[0] in FILES else "tokenlab"
        _fail(f"{error.format_message()} (see {command} --help)", 2)  # type: ignore[attr-defined]
    except SystemError as error:
        # What C code (numba's loader) says when Ctrl-C came in its midst.
        if not _was_interrupted(error):
            raise
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    if code == INTERRUPTED:
        _fail("interrupted; the same command goes on where it stopped", code)
    sys.exit(code or 0)


def import_commands(name: str = "") -> None:
    """Give `app` the command of that name, or all of them if there is none: typer takes 2 ms for each."""
    for file in [FILES[name]] if name in FILES else dict.fromkeys(FILES.values()):
        import_module(f"tokenlab.cli.{file}")


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


def _was_interrupted(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    return error is not None


def _usage_error() -> type[Exception]:
    # typer carries its own copy of click in some versions, so the base class is looked up.
    return next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def _fail(message: str, code: int) -> NoReturn:
    print(f"tokenlab: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
