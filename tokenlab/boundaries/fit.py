"""Fitting the tables of a rule, and calibrating it to a target of bytes a patch.

The text is one stream of ids, the beginning of the training documents. `table2` counts the bytes behind each
pair; `entropy`, `monotonic` and `topk` count those behind 1 … ORDERS bytes in hashed tables, all but the last
eighth of the text, on which θ or δ is then calibrated: contexts that the counted text has and other text
lacks would make the rate on it another. `bpe` trains a byte-level BPE on the documents of the text.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenlab.boundaries.entropy import UNITS, UNKNOWN, Entropy, EntropyTable, Monotonic, TopK, to_units
from tokenlab.boundaries.request import RuleRequest
from tokenlab.boundaries.rule import Rule
from tokenlab.boundaries.state import new_state
from tokenlab.boundaries.stream import as_document
from tokenlab.boundaries.table2 import Table2
from tokenlab.boundaries.token_ends import SPLIT, TokenEnds
from tokenlab.boundaries.unfitted import Fixed, Space
from tokenlab.errors import InputError
from tokenlab.segment.byte import FIRST_BYTE
from tokenlab.segment.byte_level import train_byte_level

SAMPLE_TOKENS = 1 << 25
"""Tokens that a rule is fitted on, at most."""

ORDERS, BITS = 4, 16
"""256 KiB of table."""

LEAST = 4
"""Occurrences of a context, from which on its own entropy counts."""

_Ids = NDArray[np.uint16]


def fit_rule(request: RuleRequest, target: float | None, ids: _Ids) -> Rule:
    """The rule, fitted on `ids` (uint16, a stream that begins with a BOS; unused where nothing is fitted).

    `target`: bytes a patch, as `target_bytes_per_patch` gives them. Raises InputError for a text without
    two bytes in a row, or too short for as many tokens.
    """
    number = request.number
    if request.kind == "fixed":
        return Fixed(_whole(number))
    if request.kind == "space":
        return Space()
    if not _has_bytes(ids):
        raise InputError("the training documents have no text to fit the boundaries on")
    if request.kind == "table2":
        return _fit_table2(ids, _given(target))
    if request.kind == "bpe":
        return _fit_bpe(ids, _whole(number))
    counted = ids[: max(len(ids) - len(ids) // 8, 3)]
    table = fit_entropy_table(counted)
    if request.kind == "topk":
        return TopK(table, _whole(number))
    rule = Entropy if request.kind == "entropy" else Monotonic
    if number is not None:
        return rule(table, to_units(number))
    rest = ids[len(counted) :]
    return rule(
        table, _calibrate(table, counted, rest if len(rest) else counted, _given(target), rule.rising)
    )


def fit_entropy_table(ids: _Ids, orders: int = ORDERS, bits: int = BITS) -> EntropyTable:
    """The entropies of an interpolated model of hashed n-grams, counted on `ids`."""
    from tokenlab.boundaries import fit_kernels

    seen = np.bincount((ids[ids != Rule.bos] - FIRST_BYTE) & 0xFF, minlength=256).astype(np.uint32)[None, :]
    uniform = np.full((1, 256), 1 / 256, np.float32)
    below, entropy = fit_kernels.interpolate(seen, np.zeros(1, np.int32), uniform, 0)
    order0 = int(_quantised(entropy)[0])
    rows = []
    for order in range(1, orders + 1):
        counts = np.zeros((1 << bits, 256), np.uint32)
        lower = np.full(1 << bits, -1, np.int32)
        fit_kernels.count_hashed(ids, Rule.bos, order, bits, counts, lower)
        below, entropy = fit_kernels.interpolate(counts, lower, below, LEAST)
        rows.append(_quantised(entropy))
    return EntropyTable(np.stack(rows), order0)


def _fit_bpe(ids: _Ids, vocab_size: int) -> TokenEnds:
    """The tokens of a vocabulary trained on the documents."""
    documents = np.split(ids, np.flatnonzero(ids == Rule.bos)[1:])
    # The last one may end within a character.
    texts = (as_document(document[1:]).decode(errors="ignore").encode() for document in documents)
    return TokenEnds(train_byte_level(texts, vocab_size=vocab_size, split=SPLIT))


def _fit_table2(ids: _Ids, target: float) -> Table2:
    """The pairs of the highest entropy of the next byte, as many as give the target's rate of patches."""
    from tokenlab.boundaries import fit_kernels

    pairs = np.zeros((1 << 16, 256), np.uint32)
    fit_kernels.count_pairs(ids, Rule.bos, pairs)
    singles = pairs.reshape(256, 256, 256).sum(0, dtype=np.uint32)
    total = singles.sum(0, dtype=np.uint32)[None, :]
    uniform = np.full((1, 256), 1 / 256, np.float32)
    below, _ = fit_kernels.interpolate(total, np.zeros(1, np.int32), uniform, 0)
    below, _ = fit_kernels.interpolate(singles, np.zeros(256, np.int32), below, 0)
    # A pair that was not seen has the entropy of its second byte.
    _, entropy = fit_kernels.interpolate(pairs, np.tile(np.arange(256, dtype=np.int32), 256), below, 0)
    order = np.argsort(-entropy, kind="stable")
    reached = np.cumsum(pairs.sum(1, dtype=np.int64)[order])
    firsts = np.count_nonzero((ids[1:] != Rule.bos) & (ids[:-1] == Rule.bos))
    wanted = (reached[-1] + firsts) / target - firsts
    chosen = int(np.argmin(np.abs(np.concatenate([[0], reached]) - wanted)))
    bits = np.zeros(1 << 16, np.uint8)
    bits[order[:chosen]] = 1
    return Table2(np.packbits(bits, bitorder="little"))


def _calibrate(table: EntropyTable, before: _Ids, ids: _Ids, target: float, rising: int) -> int:
    """The threshold whose bytes a patch on `ids`, which follow `before`, are the nearest to the target."""
    state = new_state()
    last = before[np.flatnonzero(before == Rule.bos)[-1] :]  # the document that goes on in `ids`
    carried = table.of_stream(last, Rule.bos, state)
    h = table.of_stream(ids, Rule.bos, state).astype(np.int64)
    begun = np.concatenate([carried[-1:], h[:-1]])  # what stood before each
    is_byte = h != UNKNOWN
    is_first = is_byte & (begun == UNKNOWN)
    value = (h - rising * begun)[is_byte & ~is_first]
    thresholds = np.arange(-8 * UNITS, 8 * UNITS + 1) if rising else np.arange(8 * UNITS + 1)
    above = len(value) - np.searchsorted(np.sort(value), thresholds, side="right")
    wanted = np.count_nonzero(is_byte) / target
    return int(thresholds[np.argmin(np.abs(above + np.count_nonzero(is_first) - wanted))])


def _quantised(entropy: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.where(entropy < 0, UNKNOWN, np.rint(entropy * UNITS)).astype(np.uint8)


def _has_bytes(ids: _Ids) -> bool:
    return bool(((ids[1:] != Rule.bos) & (ids[:-1] != Rule.bos)).any())


def _whole(number: object) -> int:
    return int(str(number))


def _given(target: float | None) -> float:
    if target is None:
        raise ValueError("a rule that is calibrated needs a target")
    return target
