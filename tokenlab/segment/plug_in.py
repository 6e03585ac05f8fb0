"""Segmenters of installed packages: what one must have, and the fence around it.

An entry point of the group `tokenlab.segmenters` names a class. It is called with the parameters that a
scheme's `[segmenter]` table has beside `kind`, `vocab_size` and `package` (docs/plug-ins.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from tokenlab.errors import InputError, TokenlabError
from tokenlab.plug_ins import refusals, require_attributes
from tokenlab.ragged import Ragged
from tokenlab.segment.spelling import cover


class OpenedVocabulary(Protocol):
    """A vocabulary that a plug-in opened; `Segmenter` says what each part is.

    It may have `backends`: library to version, of what else decides about ids.
    """

    vocab_size: int
    token_bytes: Ragged
    bos: int

    def split(self, text: Ragged) -> Ragged:
        """See `Segmenter.split`."""
        ...

    def split_reference(self, text: Ragged) -> Ragged:
        """See `Segmenter.split_reference`."""
        ...

    def piece(self, token: int) -> str:
        """See `Segmenter.piece`."""
        ...


class SegmenterPlugIn(Protocol):
    """What an entry point's class makes of a scheme's parameters. What it refuses, it raises as ValueError.

    `vocabulary_file`: the name under which a dataset keeps the vocabulary, one file. Two more are optional:
    `needs_escaped_metaspace`: it cannot tell U+2581 from a space, so a scheme must escape it; `split_digits`:
    it cuts numbers into digits, so the operator `digits` cannot keep them together.
    """

    vocabulary_file: str

    def train(self, text: Ragged, *, vocab_size: int, markers: tuple[str, ...]) -> bytes:
        """The vocabulary file of a uint8 batch of rewritten training documents, the same for the same batch.
        `markers`: characters that operators write and that must be tokens of their own."""
        ...

    def open(self, vocabulary: bytes, *, markers: tuple[str, ...]) -> OpenedVocabulary:
        """A vocabulary file, trained or given with --tokenizer."""
        ...


class PlugInSegmenter:
    """A plug-in as a `Segmenter`. What it returns is checked, so that one at fault stops a build."""

    def __init__(
        self, plug_in: SegmenterPlugIn, label: str, vocabulary: bytes, markers: tuple[str, ...]
    ) -> None:
        """Raises InputError for a vocabulary that the plug-in refuses, or an object that is no segmenter."""
        with refusals(label):
            opened = plug_in.open(vocabulary, markers=markers)
        require_attributes(
            opened, ("vocab_size", "token_bytes", "bos", "split", "split_reference", "piece"), label
        )
        self._label, self._opened = label, opened
        self.vocab_size, self.token_bytes, self.bos = opened.vocab_size, opened.token_bytes, opened.bos
        self.backends: dict[str, str] = dict(getattr(opened, "backends", {}))
        self.files = {plug_in.vocabulary_file: vocabulary}
        self.piece = opened.piece
        self._require_sound(plug_in.vocabulary_file)

    def _require_sound(self, file: Any) -> None:
        rows = self.token_bytes
        if not isinstance(file, str) or not file or file.startswith(".") or "/" in file:
            problem = f"vocabulary_file is {file!r}, and must be the name of a file"
        elif not isinstance(rows, Ragged) or rows.values.dtype != np.uint8:
            problem = "token_bytes must be a Ragged of uint8"
        elif len(rows) != self.vocab_size:
            problem = f"token_bytes has {len(rows)} rows, and vocab_size is {self.vocab_size}"
        elif not 0 <= self.bos < self.vocab_size:
            problem = f"bos is {self.bos}, and there are {self.vocab_size} ids"
        elif len(rows[self.bos]):
            problem = f"bos is {self.bos}, which spells {rows[self.bos].tobytes()!r}; no text may become it"
        else:
            return
        raise InputError(f"{self._label}: {problem}")

    def split(self, text: Ragged) -> Ragged:
        """See `Segmenter.split`. Raises TokenlabError when the plug-in returns no ids."""
        return self._checked(self._opened.split, text)

    def split_with_ends(self, text: Ragged) -> tuple[Ragged, Ragged]:
        """See `Segmenter.split_with_ends`."""
        ids = self.split(text)
        return ids, cover(ids, self.token_bytes, text)

    def split_reference(self, text: Ragged) -> Ragged:
        """See `Segmenter.split_reference`. Raises TokenlabError when the plug-in returns no ids."""
        return self._checked(self._opened.split_reference, text)

    def _checked(self, encode: Callable[[Ragged], Ragged], text: Ragged) -> Ragged:
        ids = encode(text)
        if not isinstance(ids, Ragged) or ids.values.dtype != np.uint32 or len(ids) != len(text):
            raise TokenlabError(
                f"{self._label}: {encode.__name__} must return a Ragged of uint32 with a row a document"
            )
        if len(ids.values) and int(ids.values.max()) >= self.vocab_size:
            raise TokenlabError(
                f"{self._label}: {encode.__name__} returned id {ids.values.max()}, and there are "
                f"{self.vocab_size}"
            )
        return ids
