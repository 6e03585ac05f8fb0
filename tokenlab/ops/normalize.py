"""SentencePiece's normalisation as an operator: what its encoder does to a text first.

>>> normalizer = SentencePieceNormalizer(Path("nmt_nfkc.model").read_bytes())
>>> text, cuts = normalizer.apply(Ragged.from_bytes(["  ﬁve\\u3000 é".encode()]))
>>> bytes(text[0]).decode(), cuts.document(0).tolist()
('five é', [2, 2, 5, 6, 7, 11, 12, 13])

Two spaces before the first cut are stripped and stand behind no output; `f` and `i` share
the three bytes of U+FB01; one space stands for U+3000 and the space after it. The output
is SentencePiece's own, except that a space is written U+0020 where SentencePiece writes
U+2581. A U+2581 of the text comes out as a space too, because SentencePiece cannot tell
the two apart; but only where the model's rules make a space of it (nmt_nfkc does, identity
does not) is it collapsed with its neighbours. At the end of a text it is always stripped.

What is lost cannot be restored: `reversible` is False, and `invert` is the identity.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tokenlab.cuts import CutMap
from tokenlab.errors import InputError
from tokenlab.ragged import Ragged
from tokenlab.segment.sentencepiece_model import PieceKind, SentencePieceModel, parse_model

if TYPE_CHECKING:
    import sentencepiece

META_SPACE = "\u2581".encode()


class SentencePieceNormalizer:
    """The normaliser of one SentencePiece model, from the bytes of its `.model` file.

    Raises InputError for bytes that are no model, and for a model that does not escape
    spaces (none in use does not): in it a space and U+2581 differ.
    """

    name: str = "sentencepiece-normalize"
    reversible: bool = False
    markers: tuple[str, ...] = ()

    def __init__(self, model_proto: bytes) -> None:
        self._model_proto = model_proto
        model = parse_model(model_proto)
        if not model.escape_whitespaces:
            raise InputError(
                "the model has escape_whitespaces=false, which tokenlab cannot normalise; "
                "train it with escape_whitespaces=true, SentencePiece's default"
            )
        self._collapse = model.remove_extra_whitespaces
        self._dummy_prefix, self._dummy_suffix = _dummies(model)
        self._units, self._replacements = _charsmap(model.charsmap)
        symbols = [piece.text.encode() for piece in model.pieces if piece.kind is PieceKind.USER_DEFINED]
        self._symbol_next, self._symbol_end = _symbol_trie(symbols)
        self._ascii_action = _ascii_action(
            self._units, self._replacements, self._symbol_next, self._symbol_end
        )

    def apply(self, text: Ragged) -> tuple[Ragged, CutMap]:
        """Normalise a uint8 batch of valid UTF-8. See `normalize_reference` for the cuts."""
        from tokenlab.ops.normalize_kernels import normalize

        values, offsets, positions = normalize(
            text.values,
            text.offsets,
            self._ascii_action,
            self._units,
            self._replacements,
            self._symbol_next,
            self._symbol_end,
            self._collapse,
            self._dummy_prefix,
            self._dummy_suffix,
        )
        return Ragged(values, offsets), CutMap(offsets, positions)

    def invert(self, text: Ragged) -> Ragged:
        """The normal form itself."""
        return text

    def apply_reference(self, text: bytes) -> tuple[bytes, list[int]]:
        """SentencePiece itself; see `normalize_reference`."""
        return normalize_reference(self._processor, text)

    @cached_property
    def _processor(self) -> sentencepiece.SentencePieceProcessor:
        from sentencepiece import SentencePieceProcessor

        return SentencePieceProcessor(model_proto=self._model_proto)


def normalize_reference(
    processor: sentencepiece.SentencePieceProcessor, text: bytes
) -> tuple[bytes, list[int]]:
    """One document by SentencePiece itself: (normal form, cuts). The twin of the kernel.

    SentencePiece gives every output byte the start of the chunk it came from (a chunk is
    one step: a user-defined symbol, a rule's longest match, or one character), so the
    bytes of an unchanged `€` have offsets 0 0 0 and the next one 3. Here they have 0 1 2.
    Definition: a *run* is a maximal run of output bytes with one offset, not counting the
    dummy space. Its cuts advance byte by byte if it does not end in a space and is the
    same bytes as the source has from that offset on, none of them beyond the next offset.

    A chunk is one run, so this is "a chunk that equals its source", but for rare corners
    that offsets alone cannot tell apart: output that is a proper prefix of its source
    counts as equal, and symbols that end in a space do not. The kernel follows the same
    definition to the byte. Source that is deleted or collapsed is charged to the byte
    before it; a document of no output has one cut, its length.
    """
    escaped, offsets = processor.normalize(text, with_offsets=True)
    if not offsets:  # an empty or blank document ends before SentencePiece writes any
        return b"", [len(text)]

    normal, cuts = bytearray(), []
    j = 0
    while j < len(escaped):
        is_space = escaped.startswith(META_SPACE, j)
        normal += b" " if is_space else escaped[j : j + 1]
        cuts.append(offsets[j])
        j += len(META_SPACE) if is_space else 1
    cuts.append(offsets[-1])

    has_prefix, has_suffix = _processor_dummies(processor)
    j = 1 if has_prefix and normal else 0
    end = len(normal) - 1 if has_suffix else len(normal)
    while j < end:
        k = j + 1
        while k < end and cuts[k] == cuts[j]:
            k += 1
        run, start, room = normal[j:k], cuts[j], cuts[k] - cuts[j]
        if len(run) <= room and not run.endswith(b" ") and text.startswith(run, start):
            cuts[j:k] = range(start, start + len(run))
        j = k
    return bytes(normal), cuts


@lru_cache(maxsize=16)
def _processor_dummies(processor: sentencepiece.SentencePieceProcessor) -> tuple[bool, bool]:
    return _dummies(parse_model(processor.serialized_model_proto()))


def _dummies(model: SentencePieceModel) -> tuple[bool, bool]:
    """Whether the model adds a space in front, and behind."""
    suffix = model.treat_whitespace_as_suffix
    return model.add_dummy_prefix and not suffix, model.add_dummy_prefix and suffix


def _charsmap(blob: bytes) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """A precompiled charsmap as (double array, NUL-terminated replacement strings).

    Little-endian uint32 size of the array in bytes, the array, the strings. Empty is the
    identity, and then so is the array.
    """
    if not blob:
        return np.zeros(0, np.uint32), np.zeros(1, np.uint8)
    size = int.from_bytes(blob[:4], "little")
    if len(blob) <= 4 or size == 0 or size % 4 or size >= len(blob) - 4:
        raise InputError(
            f"the model's normalization rules are broken: a trie of {size:,} bytes announced in {len(blob):,}"
        )
    units = np.frombuffer(blob, "<u4", size // 4, 4).astype(np.uint32)
    # One more NUL ends the last string whatever the file says.
    return units, np.frombuffer(blob[4 + size :] + b"\0", np.uint8).copy()


def _symbol_trie(symbols: list[bytes]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """User-defined symbols as a trie: (next node or 0 by [node, byte], whether one ends there).

    Dense, at 1 KiB a node: models have a handful of symbols.
    """
    edges: dict[tuple[int, int], int] = {}
    ends: set[int] = set()
    for symbol in symbols:
        node = 0
        for byte in symbol:
            node = edges.setdefault((node, byte), len(edges) + 1)
        if node:
            ends.add(node)
    next_node = np.zeros((len(edges) + 1, 256), np.int32)
    for (node, byte), child in edges.items():
        next_node[node, byte] = child
    is_end = np.zeros(len(edges) + 1, np.bool_)
    is_end[list(ends)] = True
    return next_node, is_end


def _ascii_action(
    units: NDArray[np.uint32],
    replacements: NDArray[np.uint8],
    symbol_next: NDArray[np.int32],
    symbol_end: NDArray[np.bool_],
) -> NDArray[np.int16]:
    """For each ASCII byte that another one (or the end) follows: the one byte it becomes, or
    -1 where that takes a look-up.

    A byte needs one if it becomes something other than one ASCII byte, or if a symbol or a
    rule begins with it and some second ASCII byte.
    """
    ascii_bytes = np.arange(128)
    action = ascii_bytes.astype(np.int16)
    if len(units):
        root = _unit_offset(units[:1])
        found, node = _descend(units, root, ascii_bytes)
        pair_found, _ = _descend(units, node[:, None], ascii_bytes[None, :])
        for byte in np.flatnonzero(found):
            if (units[root ^ byte][0] >> 8) & 1:
                where = min(int(units[min(node[byte], len(units) - 1)]) & 0x7FFFFFFF, len(replacements) - 1)
                new, after = replacements[where], replacements[min(where + 1, len(replacements) - 1)]
                action[byte] = new if 0 < new < 0x80 and after == 0 else -1
        action[found & pair_found.any(axis=1)] = -1
    children = symbol_next[0, :128]
    alone = symbol_end[children] & (children > 0)
    action[alone] = ascii_bytes[alone]
    action[(children > 0) & symbol_next[children, :128].any(axis=1)] = -1
    return action


def _unit_offset(unit: NDArray[np.uint32]) -> NDArray[np.int64]:
    wide = unit.astype(np.int64)
    return (wide >> 10) << ((wide & 0x200) >> 6)


def _descend(
    units: NDArray[np.uint32], node: NDArray[np.int64], byte: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Follow `byte` from `node` in a Darts-clone double array: (whether there is such an edge,
    the node it leads to)."""
    at = node ^ byte
    unit = units[np.minimum(at, len(units) - 1)]
    found = (at < len(units)) & ((unit & 0x800000FF) == byte)
    return found, at ^ _unit_offset(unit)
