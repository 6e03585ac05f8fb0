"""The smallest p that a test can give at all: where it is above alpha, no result can be significant."""

from __future__ import annotations

import math
from typing import Literal

from tokenlab.ab.statistics.permutation import DRAWS, EXACT_PAIRS

TestName = Literal["paired t", "sign flip", "rank"]


def smallest_p(test: TestName, size: int | tuple[int, int]) -> float:
    """The bound on the two-sided p of `test` over `size` pairs, or (n, m) runs of the two arms for the
    rank-sum test of Wilcoxon, Mann and Whitney (an int means as many of each).

    paired t: 0.0, no bound, from 2 pairs on. sign flip: 2 / 2^n, the draws' 1 / (draws + 1) beyond
    n = 20. rank: 2 / (n + m choose n). 1.0 where the test cannot be made.

    >>> smallest_p("rank", 3), smallest_p("sign flip", 8), smallest_p("paired t", 3)
    (0.1, 0.0078125, 0.0)

    Raises ValueError for a negative size, an unknown test, two sizes for a test of pairs.
    """
    first, second = (size, size) if isinstance(size, int) else size
    if first < 0 or second < 0:
        raise ValueError(f"the number of runs cannot be negative: {size}")
    if test == "rank":
        return min(1.0, 2 / math.comb(first + second, first))
    if first != second:
        raise ValueError(f"{test} is a test of pairs, not of {first} and {second} runs")
    if test == "paired t":
        return 0.0 if first >= 2 else 1.0
    if test == "sign flip":
        return min(1.0, 2.0 ** (1 - first)) if first <= EXACT_PAIRS else 1 / (DRAWS + 1)
    raise ValueError(f"no test is named {test!r}; there are paired t, sign flip, rank")
