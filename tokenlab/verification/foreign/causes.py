"""Naming the cause of wrong charges from how they are wrong, over all of a split's tokens."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenlab.ragged import Ragged
from tokenlab.scheme import Scheme
from tokenlab.verification.foreign.charges import marker_ids

CLASSES = ("operator", "byte token", "token with a leading space", "other token")


class ChargeStatistics:
    """Differences between found and expected charges, counted by class of token."""

    def __init__(self, scheme: Scheme) -> None:
        lengths = scheme.segmenter.token_bytes.lengths
        values, offsets = scheme.segmenter.token_bytes.values, scheme.segmenter.token_bytes.offsets
        first = np.zeros(len(lengths), np.uint8)
        first[lengths > 0] = values[offsets[:-1][lengths > 0]]
        self.class_of = np.full(len(lengths), 3)
        self.class_of[first == 0x20] = 2
        self.class_of[[_is_byte_token(scheme, i) for i in range(len(lengths))]] = 1
        self.class_of[marker_ids(scheme)] = 0
        self.tokens = Counter[int]()
        self.wrong = [Counter[int]() for _ in CLASSES]
        self.found_sum = 0
        self.expected_sum = 0
        self._shifted = {1: True, -1: True}
        self._permuted = True
        self._factor: set[float] = set()

    def add(self, ids: Ragged, found: Ragged, expected: Ragged) -> None:
        """Count documents whose text is right; rows of the three are the same."""
        kinds = self.class_of[ids.values]
        self.tokens.update(dict(enumerate(np.bincount(kinds, minlength=len(CLASSES)).tolist())))
        self.found_sum += int(found.values.sum())
        self.expected_sum += int(expected.values.sum())
        delta = found.values.astype(np.int64) - expected.values
        if not delta.any():
            self._factor.add(1.0)
            self._shifted = dict.fromkeys(self._shifted, False)
            return
        for kind in range(len(CLASSES)):
            members = delta[kinds == kind]
            values, counts = np.unique(members[members != 0], return_counts=True)
            self.wrong[kind].update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        self._look_for_patterns(found, expected)

    @property
    def wrong_tokens(self) -> int:
        """How many tokens are charged something else."""
        return sum(sum(counter.values()) for counter in self.wrong)

    def _look_for_patterns(self, found: Ragged, expected: Ragged) -> None:
        # With BOS between the documents, as on disk, a shift carries over their borders.
        starts = expected.offsets[:-1]
        stream_found = np.insert(found.values.astype(np.int64), starts, 0)
        stream = np.insert(expected.values.astype(np.int64), starts, 0)
        inside = np.insert(np.ones(len(found.values), bool), starts, False)
        for shift in self._shifted:
            moved = np.roll(stream, shift)
            same = (moved == stream_found) | ~inside
            edge = 1 if shift > 0 else -1
            self._shifted[shift] &= bool(same[edge:].all() if shift > 0 else same[:edge].all())
        for a, b in zip(found, expected, strict=True):
            self._permuted = self._permuted and np.array_equal(np.sort(a), np.sort(b))
        charged = expected.values > 0
        if len(self._factor) < 2:
            ratios = np.unique(found.values[charged] / expected.values[charged])
            self._factor.update(ratios[:2].tolist())

    def cause(self) -> str:
        """One sentence; the most specific pattern that explains the differences."""
        wrong = self.wrong_tokens
        if not wrong:
            return "charges are right"
        if len(self._factor) == 1 and (factor := next(iter(self._factor))) != 1:
            return f"every charge is scaled by {factor:g}"
        for shift, holds in self._shifted.items():
            if holds:
                return f"the sidecar is shifted by one token ({'late' if shift > 0 else 'early'})"
        if self._permuted:
            return "charges are permuted within documents: the sums agree, the tokens do not"
        parts = [text for kind in range(len(CLASSES)) if (text := self._explain(kind))]
        total = f"{wrong:,} of {sum(self.tokens.values()):,} tokens are charged wrongly"
        return "; ".join([*parts, total])

    def _explain(self, kind: int) -> str:
        counter, tokens = self.wrong[kind], self.tokens[kind]
        if not counter:
            return ""
        delta, count = counter.most_common(1)[0]
        share = f"{count:,} of {tokens:,}"
        if kind == 0 and delta == 3:
            return f"operators are charged three bytes ({share})"
        if kind == 1 and delta == 2:
            return f"byte-fallback tokens are charged three bytes, the length of U+FFFD ({share})"
        if kind == 2 and delta == 1:
            return f"the leading space is counted twice ({share})"
        if kind == 2 and delta == 2:
            return f"the leading space is counted as the three bytes of U+2581 ({share})"
        if kind == 2 and delta == -1:
            return f"the leading space is not counted ({share})"
        return f"{CLASSES[kind]}s: {sum(counter.values()):,} of {tokens:,} are off, mostly by {delta:+d}"


def _is_byte_token(scheme: Scheme, token: int) -> bool:
    piece = scheme.segmenter.piece(token)
    return len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")


def name_text_cause(spelled: NDArray[Any], text: NDArray[Any]) -> str:
    """What kind of text stands where another was expected: lower-cased, or just another."""
    found, expected = (row.tobytes().decode(errors="replace") for row in (spelled, text))
    if found.lower() == expected.lower():
        lowered = found == found.lower()
        return "the text was lower-cased before tokenization" if lowered else "letter case differs"
    if "".join(found.split()) == "".join(expected.split()):
        return "whitespace differs from what the declared tokenizer makes of the source"
    return "the ids spell other text than the source has there"
