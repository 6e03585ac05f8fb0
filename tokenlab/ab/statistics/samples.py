"""Scores and differences as they come in: checked once, and their spread without false precision."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Subtracting two scores leaves errors of a few units in the last place of the scores. A spread that
# is no larger is rounding, and a t statistic over it would be noise that looks like proof.
_ROUNDING = 8 * float(np.finfo(np.float64).eps)


def sample(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """`values` as float64[n], n >= 1. Raises ValueError for another shape, no values, NaN, infinity."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} must be one row of numbers, its shape is {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} is empty")
    if not np.isfinite(array).all():
        index = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ValueError(f"{name} must be finite, value {index} is {array[index]}")
    return array


def pair_samples(
    first: ArrayLike, second: ArrayLike, names: tuple[str, str] = ("arm", "baseline")
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both as float64[n]. Raises ValueError where `sample` does, and for unequal lengths."""
    one, other = sample(first, names[0]), sample(second, names[1])
    if one.size != other.size:
        raise ValueError(f"{names[0]} has {one.size} values and {names[1]} has {other.size}: not pairs")
    return one, other


def spread(values: NDArray[np.float64], magnitude: float | None = None) -> float | None:
    """Standard deviation (n - 1) of float64[n]; None for a single value.

    0.0 where it is within rounding of `magnitude`, the largest of the numbers that `values` were
    computed from (by default, of `values`).
    """
    if values.size < 2:
        return None
    deviation = float(values.std(ddof=1))
    if magnitude is None:
        magnitude = float(np.abs(values).max())
    return 0.0 if deviation <= _ROUNDING * magnitude else deviation


def check_fraction(value: float, name: str) -> None:
    """Raises ValueError unless `value` is between 0 and 1, both excluded."""
    if not 0 < value < 1:
        raise ValueError(f"{name} must be between 0 and 1, not {value}")


def check_positive(value: float, name: str) -> None:
    """Raises ValueError unless `value` is above 0 and finite."""
    if not (value > 0 and np.isfinite(value)):
        raise ValueError(f"{name} must be above 0, not {value}")
