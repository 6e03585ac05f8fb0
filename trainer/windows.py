"""Which window scores which target, and the proof that each target was scored once.

Input position i predicts token i + 1. A segment of tokens [a, b) (the stream, or one document) has
the targets a + 1 .. b - 1. Its first window scores all it sees; each later one begins `stride` later
and scores the `stride` targets that are new; the last one scores what is left. A target's context
therefore depends on its position alone, never on where the segment ends.

>>> cut_windows(np.array([[0, 10]]), context=4, stride=3).tolist()
[[0, 4, 0], [3, 7, 4], [6, 9, 7]]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.errors import RunFailure, TrainerError


def cut_windows(segments: NDArray[np.int64], context: int, stride: int) -> NDArray[np.int64]:
    """Windows int64[n, 3] of segments int64[k, 2]: inputs [begin, end), of which those from the
    third number on are scored. Raises TrainerError unless 1 <= stride <= context."""
    if not 1 <= stride <= context:
        raise TrainerError(f"stride {stride} must be between 1 and the context, {context}")
    first, last = segments[:, 0], segments[:, 1] - 1
    more = np.maximum(0, -(-(last - first - context) // stride))
    counts = np.where(last > first, 1 + more, 0)
    segment = np.repeat(np.arange(len(segments)), counts)
    step = np.arange(len(segment)) - np.repeat(np.cumsum(counts) - counts, counts)
    begin = first[segment] + step * stride
    end = np.minimum(begin + context, last[segment])
    scored = np.where(step == 0, begin, begin + context - stride)
    return np.stack([begin, end, scored], axis=1).astype(np.int64)


class Coverage:
    """Counts how often each token was scored; `expected` bool[tokens] marks the targets."""

    def __init__(self, expected: NDArray[np.bool_]) -> None:
        self._expected = expected
        self._counts = np.zeros(len(expected), np.uint8)

    def add(self, targets: NDArray[np.int64]) -> None:
        """Note that these tokens were scored. Raises RunFailure for one that was before."""
        np.add.at(self._counts, targets, 1)
        again = targets[self._counts[targets] > 1]
        if len(again):
            raise RunFailure(f"the evaluator scored token {int(again[0]):,} twice; no score is given")

    def check(self) -> None:
        """Raises RunFailure unless exactly the expected targets were scored."""
        wrong = np.flatnonzero((self._counts == 1) != self._expected)
        if len(wrong):
            what = "did not score" if self._expected[wrong[0]] else "scored, against the plan,"
            raise RunFailure(
                f"the evaluator {what} token {int(wrong[0]):,} ({len(wrong):,} in all); no score is given"
            )
