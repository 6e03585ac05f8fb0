"""Several arms against one baseline: p values that hold for all of them together."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p values in the order given, by the step-down method of Holm (1979): rejecting those
    below alpha keeps the chance of any false rejection below alpha, whatever their dependence.

    None (no test could be made) stays None and does not count. Raises ValueError for a p value
    outside 0..1.
    """
    for p in p_values:
        if p is not None and not 0 <= p <= 1:
            raise ValueError(f"a p value lies between 0 and 1, not {p}")
    adjusted: list[float | None] = [None] * len(p_values)
    tested = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    largest = 0.0
    for rank, (p, place) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * p))
        adjusted[place] = largest
    return adjusted
