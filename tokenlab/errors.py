"""Errors that a user can act on: one clear line, and the exit code that goes with it."""

from __future__ import annotations


class TokenlabError(Exception):
    """Base of every error tokenlab raises on purpose; its text is the one line a user reads."""

    exit_code = 2


class InputError(TokenlabError):
    """Bad usage or bad input: a file, a row, an option. The text names it and the remedy."""


class InputUnavailable(InputError):
    """Input that is out of reach for now: a disk, a server, a file that was there. Work on it is kept."""


class PlugInUnavailable(InputError):
    """A plug-in of a package that is not installed here, or cannot be imported."""


class ProcessKilled(TokenlabError):
    """A process of ours that somebody else ended; what it did is kept."""

    def __init__(self, who: str, hint: str = "") -> None:
        super().__init__(who, hint)
        self.who = who
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.who} was killed (out of memory?); run the same command again{self.hint}"


class EncodingError(TokenlabError):
    """A document that a scheme cannot represent exactly.

    `document` is the index within the batch that was being encoded; callers that know
    where the batch came from turn it into a file and a row.
    """

    def __init__(self, document: int, message: str) -> None:
        super().__init__(document, message)
        self.document = document
        self.message = message

    def __str__(self) -> str:
        return f"document {self.document}: {self.message}"


class DecodingError(TokenlabError):
    """Ids or text that no encoder of the scheme emits.

    `document` is the index within the batch, `position` the byte (or token) in it.
    """

    exit_code = 1

    def __init__(self, document: int, position: int, message: str) -> None:
        super().__init__(document, position, message)
        self.document = document
        self.position = position
        self.message = message

    def __str__(self) -> str:
        return f"document {self.document}, position {self.position}: {self.message}"
