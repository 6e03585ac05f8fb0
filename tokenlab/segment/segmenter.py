"""What a segmenter is: text to token ids and back, with the bytes that each id spells."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from tokenlab.ragged import Ragged

PAD, BOS, EOS, UNK = 0, 1, 2, 3
"""Ids of the specials in every vocabulary that tokenlab makes; no text ever becomes one."""


class Segmenter(Protocol):
    """A vocabulary and a way to cut text into it.

    `vocab_size`: ids are below it. `token_bytes`: uint8 batch of `vocab_size` rows, what
    each id spells; specials spell nothing. `bos`: the id that opens a document.
    `backends`: library name to version, of everything that decides about ids.
    `files`: name to content of the vocabulary files, as a dataset stores them.
    """

    vocab_size: int
    token_bytes: Ragged
    bos: int
    backends: dict[str, str]
    files: dict[str, bytes]

    def split(self, text: Ragged) -> Ragged:
        """Ids (uint32) of each document of a uint8 batch of valid UTF-8."""
        ...

    def split_with_ends(self, text: Ragged) -> tuple[Ragged, Ragged]:
        """The ids, and for each the bytes of its document covered so far (int32).

        Raises EncodingError, with the document's index, for one whose ids do not spell it."""
        ...

    def split_reference(self, text: Ragged) -> Ragged:
        """The same ids from the slow, authoritative encoder."""
        ...

    def piece(self, token: int) -> str:
        """The id as the vocabulary file writes it, for people."""
        ...


def read_vocabulary_file(path: Path) -> bytes:
    """Content of a vocabulary file. Raises InputError when it cannot be read."""
    from tokenlab.errors import InputError

    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot read the tokenizer: {error.strerror}") from error
