"""How much of a vocabulary says the same thing twice.

>>> count_rows([b"the", b"The", b" the", b" The", b"cat", b"\\xe2"])
VocabularyRows(rows=6, case=2, space=2, either=3)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec


class VocabularyRows(msgspec.Struct, frozen=True):
    """Rows that spell text (`rows`, equal ones once), and how many of them could go if case, a leading
    space, or either were told by other means: rows less distinct forms."""

    rows: int
    case: int
    space: int
    either: int


def count_rows(spelled: Iterable[bytes]) -> VocabularyRows:
    """Count the rows of a vocabulary, given by what each spells; specials spell nothing. Case is
    Unicode's simple lower case of rows that are whole characters, a space is one U+0020."""
    rows = {row for row in spelled if row}

    def surplus(form: Callable[[bytes], bytes]) -> int:
        return len(rows) - len({form(row) for row in rows})

    return VocabularyRows(
        rows=len(rows),
        case=surplus(_lower),
        space=surplus(_unspaced),
        either=surplus(lambda row: _unspaced(_lower(row))),
    )


def _lower(row: bytes) -> bytes:
    try:
        return row.decode().lower().encode()
    except UnicodeDecodeError:
        return row


def _unspaced(row: bytes) -> bytes:
    return row[1:] if row[:1] == b" " and len(row) > 1 else row
