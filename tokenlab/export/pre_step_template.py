"""The operators of a tokenlab scheme, for a tokenizer.json that cannot hold them.

>>> text = "The NASA paper"
>>> restore(rewrite(text)) == text
True

`rewrite` before encoding, `restore` after decoding:

    ids = tokenizer.encode(rewrite(text)).ids
    text = restore(tokenizer.decode(ids))

As a command: `python pre_step.py < text > rewritten`, `--restore` for the way back, `--jsonl` for
a JSON string a line. Plain Python, no library.

caseops: a run of ASCII letters is written in lower case behind a marker: U+E001 before a capital
that is the first letter, U+E002 before a word in capitals, U+E003 before any other capital. U+E004
stands before a marker of the text itself and, with `escape_metaspace`, before a space that stands
for U+2581. escape: U+2581 is written U+E004 and a space, U+E004 twice.
"""

from __future__ import annotations

import json
import re
import sys

STEPS: list[tuple[str, bool]] = []
"""Operators in order, with `escape_metaspace`."""

TITLE, ALLCAPS, CAPNEXT, ESC = "\ue001", "\ue002", "\ue003", "\ue004"
METASPACE = "\u2581"

_WORD = re.compile(f"[A-Za-z]+|[{TITLE}{ALLCAPS}{CAPNEXT}{ESC}{METASPACE}]")
_CAPITAL = re.compile("[A-Z]")
_WRITTEN = re.compile(
    f"{ESC}(.)|{ALLCAPS}([a-z]+)|[{TITLE}{CAPNEXT}]([a-z])|[{TITLE}{ALLCAPS}{CAPNEXT}{ESC}]", re.DOTALL
)


def rewrite(text: str) -> str:
    """The text that the tokenizer must be given."""
    for name, metaspace in STEPS:
        text = _caseops(text, metaspace) if name == "caseops" else _escape(text)
    return text


def restore(text: str) -> str:
    """The source of a rewritten text. Raises ValueError for text that `rewrite` never gives."""
    for name, metaspace in reversed(STEPS):
        text = _undo_caseops(text, metaspace) if name == "caseops" else _undo_escape(text)
    return text


def _caseops(text: str, metaspace: bool) -> str:
    def write(match: re.Match[str]) -> str:
        word = match[0]
        if word == METASPACE:
            return f"{ESC} " if metaspace else word
        if not word.isascii():
            return ESC + word
        if len(word) > 1 and word.isupper():
            return ALLCAPS + word.lower()
        rest = _CAPITAL.sub(lambda capital: CAPNEXT + capital[0].lower(), word[1:])
        return (TITLE + word[0].lower() if word[0].isupper() else word[0]) + rest

    return _WORD.sub(write, text)


def _undo_caseops(text: str, metaspace: bool) -> str:
    def read(match: re.Match[str]) -> str:
        escaped, word, letter = match.groups()
        if escaped == " " and metaspace:
            return METASPACE
        if escaped and escaped in TITLE + ALLCAPS + CAPNEXT + ESC:
            return escaped
        if word or letter:
            return (word or letter).upper()
        raise ValueError(f"unreadable marker at character {match.start()}")

    return _WRITTEN.sub(read, text)


def _escape(text: str) -> str:
    return text.replace(ESC, ESC + ESC).replace(METASPACE, ESC + " ")


def _undo_escape(text: str) -> str:
    def read(match: re.Match[str]) -> str:
        if match[1] not in (" ", ESC):
            raise ValueError(f"unreadable escape at character {match.start()}")
        return METASPACE if match[1] == " " else ESC

    return re.sub(f"{ESC}(.?)", read, text, flags=re.DOTALL)


def main(arguments: list[str]) -> None:
    """Rewrite standard input to standard output."""
    step = restore if "--restore" in arguments else rewrite
    if "--jsonl" in arguments:
        for line in sys.stdin.buffer:
            print(json.dumps(step(json.loads(line))))
    else:
        sys.stdout.buffer.write(step(sys.stdin.buffer.read().decode()).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
