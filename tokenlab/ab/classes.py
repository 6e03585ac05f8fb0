"""What validation tokens and documents are, so that a difference can be told by where it arises.

A token's class is that of the text it stands for, as its scheme's ids spell it, so every scheme has
the same classes; the text before it tells a word's start from its continuation. A document's class is
that of its source text, so it is the same document in every arm.

>>> from tokenlab.scheme import Scheme
>>> from tokenlab.scheme_spec import open_scheme_spec
>>> scheme = Scheme(open_scheme_spec("bytes"))
>>> text = Ragged.from_bytes(["Ab 1é".encode()])
>>> ids = scheme.encode_batch(text)
>>> [TOKEN_CLASSES[c] for c in classify(scheme, ids.ids, ids.charges)]
['word start', 'continuation', 'whitespace', 'digits', 'byte fallback', 'byte fallback']
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from tokenlab.dataset import Dataset
from tokenlab.errors import InputError
from tokenlab.ops.marks import WITH_SPACE
from tokenlab.ragged import Ragged
from tokenlab.scheme import Scheme
from tokenlab.segment.spelling import ends, spell

TOKEN_CLASSES = (
    "operator marks",
    "word start with space",
    "word start",
    "continuation",
    "byte fallback",
    "punctuation",
    "digits",
    "whitespace",
    "BOS",
    "other",
)
"""In the order of reports. Operator marks: markers alone, charged nothing but the spaces that they stand
for. Byte fallback: a token that
is not made of whole characters. The others by a token's first character behind leading whitespace: a
letter that no letter precedes starts a word, `with space` in the same token; an operator's markers do
not separate letters, unless they stand for a space. Whitespace: nothing else. Other: controls, private
use and what is unassigned."""

MARKS, SPACED, START, CONTINUATION, BYTE, PUNCTUATION, DIGITS, WHITESPACE, BOS, OTHER = range(10)

_LETTER, _DIGIT, _SIGN, _SPACE, _MARKER, _SPACE_MARKER, _REST = range(7)
_KINDS = {"L": _LETTER, "M": _LETTER, "N": _DIGIT, "P": _SIGN, "S": _SIGN}
_CLASSES = {_DIGIT: DIGITS, _SIGN: PUNCTUATION, _SPACE: WHITESPACE}

FEATURES = ("bytes", "capitals", "digits", "non-ASCII")
QUANTILES = (0.25, 0.5, 0.75)


class ValidationTokens(msgspec.Struct, frozen=True, kw_only=True):
    """The validation split token by token, BOS in place: `classes` uint8[tokens] (index into
    TOKEN_CLASSES), `charges` uint16[tokens] (source bytes), `starts` int64[documents] (each BOS)."""

    classes: NDArray[np.uint8]
    charges: NDArray[np.uint16]
    starts: NDArray[np.int64]


class DocumentClass(msgspec.Struct, frozen=True, kw_only=True):
    """Documents whose `feature` is above `low` (or the least there is) and at most `high`: source bytes,
    or the share of characters that are capitals, digits, not ASCII. `documents` are their indices in
    the validation split."""

    feature: str
    low: float
    high: float
    documents: tuple[int, ...]


def validation_tokens(dataset: Dataset) -> ValidationTokens:
    """Classes and charges of a dataset's validation tokens. Raises InputError without sidecar,
    ShardError, DocumentError and DecodingError for shards that do not hold documents."""
    classes, charges, starts = [], [], []
    at = 0
    for batch in dataset.batches("val"):
        if batch.charges is None or batch.bos_charges is None:
            raise InputError(f"{dataset.folder}: no byte sidecar; build it again with `tokenlab build`")
        openings = batch.ids.offsets[:-1]
        classes.append(np.insert(classify(dataset.scheme, batch.ids, batch.charges), openings, BOS))
        charges.append(np.insert(batch.charges.values, openings, batch.bos_charges))
        starts.append(at + openings + np.arange(len(batch.ids)))
        at += len(classes[-1])
    return ValidationTokens(
        classes=np.concatenate([np.zeros(0, np.uint8), *classes]),
        charges=np.concatenate([np.zeros(0, np.uint16), *charges]),
        starts=np.concatenate([np.zeros(0, np.int64), *starts]),
    )


def classify(scheme: Scheme, ids: Ragged, charges: Ragged) -> NDArray[np.uint8]:
    """The class of every token of a batch of documents without BOS, uint8[tokens]."""
    text = spell(ids, scheme.segmenter.token_bytes)
    lengths = scheme.segmenter.token_bytes.lengths[ids.values]
    stop = ends(ids, scheme.segmenter.token_bytes).values + np.repeat(text.offsets[:-1], ids.lengths)
    start = stop - lengths
    kind, first_byte, whole = _characters(text, _markers(scheme))

    # Positions are bytes; characters are looked up by the number of starts before them.
    character = np.cumsum(np.isin(np.arange(len(text.values) + 1), first_byte, assume_unique=True)) - 1
    is_start = np.zeros(len(text.values) + 1, np.bool_)
    is_start[first_byte] = is_start[-1] = True
    first, last = character[start], character[np.maximum(stop - 1, 0)]
    beyond_space = _next(kind != _SPACE)[first]
    all_space = beyond_space > last
    leading = kind[np.minimum(beyond_space, len(kind) - 1)] if len(kind) else kind

    table = np.full(_REST + 1, OTHER, np.uint8)
    for of, to in _CLASSES.items():
        table[of] = to
    classes = table[leading]
    letter = leading == _LETTER
    classes[letter & (beyond_space > first)] = SPACED
    tight = letter & (beyond_space == first)
    classes[tight] = np.where(_follows_letter(kind, first_byte, text)[first[tight]], CONTINUATION, START)
    classes[all_space] = WHITESPACE
    is_mark = (kind == _MARKER) | (kind == _SPACE_MARKER)
    spaces = np.concatenate([[0], np.cumsum(kind == _SPACE_MARKER)])
    # A marker that the source spells is charged its bytes.
    marked = (_next(~is_mark)[first] > last) & (charges.values == spaces[last + 1] - spaces[first])
    classes[marked] = MARKS
    broken = ~(is_start[start] & is_start[stop]) | ~_all(whole, first, last)
    classes[broken] = BYTE
    return classes


def class_totals(tokens: ValidationTokens, nats: NDArray[np.floating]) -> list[tuple[int, int, float]]:
    """(tokens, source bytes, nats) of each of TOKEN_CLASSES; `nats` has one a token, NaN where it is
    no target and counts for none of the three. Raises ValueError for another number of tokens."""
    if len(nats) != len(tokens.classes):
        raise ValueError(f"{len(nats):,} values for {len(tokens.classes):,} tokens")
    target = ~np.isnan(nats)
    classes, width = tokens.classes[target], len(TOKEN_CLASSES)
    counts = np.bincount(classes, minlength=width)
    charged = np.bincount(classes, weights=tokens.charges[target], minlength=width)
    sums = np.bincount(classes, weights=nats[target].astype(np.float64), minlength=width)
    return [(int(counts[c]), int(charged[c]), float(sums[c])) for c in range(width)]


def document_classes(documents: Sequence[bytes]) -> list[DocumentClass]:
    """Documents of UTF-8 in quarters by each of FEATURES; equal values stay together, so there may be
    fewer. Every document is in one class of every feature."""
    values = np.array([_features(document.decode(errors="replace")) for document in documents])
    values[:, 0] = [len(document) for document in documents]
    found = []
    for column, feature in enumerate(FEATURES):
        of = values[:, column]
        edges = np.unique(np.quantile(of, QUANTILES, method="inverted_cdf"))
        part = np.searchsorted(edges, of, side="left")
        bounds = [float(of.min()), *map(float, edges), float(of.max())]
        for index in np.unique(part).tolist():
            members = np.flatnonzero(part == index)
            found.append(
                DocumentClass(
                    feature=feature,
                    low=bounds[index],
                    high=bounds[index + 1],
                    documents=tuple(members.tolist()),
                )
            )
    return found


def _features(text: str) -> tuple[float, float, float, float]:
    """Length (to be set), and shares of the characters that are capitals, digits, not ASCII."""
    size = max(1, len(text))
    capitals = sum(map(str.isupper, text)) / size
    digits = sum(map(str.isnumeric, text)) / size
    return 0.0, capitals, digits, sum(c > "\x7f" for c in text) / size


def _markers(scheme: Scheme) -> set[str]:
    return {marker for operator in scheme.operators for marker in operator.markers}


def _characters(
    text: Ragged, markers: set[str]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
    """Of each character of all documents: its kind, its first byte, and whether it is one (a byte that
    is part of none stands alone)."""
    decoded = text.values.tobytes().decode(errors="surrogateescape")
    points = np.frombuffer(decoded.encode("utf-32-le", "surrogatepass"), np.uint32)
    whole = (points < 0xDC80) | (points > 0xDCFF)
    sizes = np.where(whole, 1 + (points > 0x7F) + (points > 0x7FF) + (points > 0xFFFF), 1)
    used, index = np.unique(points, return_inverse=True)
    kinds = np.array([_kind(chr(point), markers) for point in used.tolist()], np.uint8)
    return kinds[index], (np.cumsum(sizes) - sizes).astype(np.int64), whole


def _kind(character: str, markers: set[str]) -> int:
    if character in markers:
        return _SPACE_MARKER if character in WITH_SPACE else _MARKER
    return _SPACE if character.isspace() else _KINDS.get(unicodedata.category(character)[0], _REST)


def _next(wanted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each index, the first at or behind it that is wanted; the length where there is none."""
    at = np.where(wanted, np.arange(len(wanted)), len(wanted))
    return np.minimum.accumulate(at[::-1])[::-1] if len(at) else at


def _follows_letter(
    kind: NDArray[np.uint8], first_byte: NDArray[np.int64], text: Ragged
) -> NDArray[np.bool_]:
    """For each character, whether the one before it in its document, markers without a space left out, is
    a letter."""
    at = np.where(kind != _MARKER, np.arange(len(kind)), -1)
    before = np.concatenate([[-1], np.maximum.accumulate(at)[:-1]]) if len(at) else at
    document = np.searchsorted(text.offsets, first_byte, side="right")
    same = (before >= 0) & (document[before] == document)
    found: NDArray[np.bool_] = same & (kind[before] == _LETTER)
    return found


def _all(true: NDArray[np.bool_], first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether all from `first` to `last` are true."""
    wrong = np.concatenate([[0], np.cumsum(~true)])
    found: NDArray[np.bool_] = wrong[last + 1] == wrong[first]
    return found
