"""Would the difference hold on other text? Documents are drawn anew; the trained models stay."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from tokenlab.ab.statistics.samples import check_fraction

_WEIGHTS_AT_ONCE = 1 << 20


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """`difference` in bits per byte over all documents; `sd` its standard error over other documents,
    `low`..`high` its interval. The last three are None for a single document."""

    difference: float
    sd: float | None
    low: float | None
    high: float | None


def document_bootstrap(
    nats_a: ArrayLike,
    nats_b: ArrayLike,
    source_bytes: ArrayLike,
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Paired bootstrap of `a` minus `b` in bits per byte over documents.

    `nats_a` and `nats_b`: float64[runs, documents], sums of nats of each document; the runs of an arm
    are averaged, so the two may have different numbers of them. `source_bytes`: int64[documents]. A
    draw takes as many documents with replacement (weights are multinomial), the same for both arms,
    and divides their nats by their bytes. Percentile interval, widened for few documents as Hesterberg
    (2015, What teachers should know about the bootstrap) says. It holds the trained models fixed: noise
    of seeds is not in it. Memory beyond the input: about 35 MB, up to a million documents.

    Raises ValueError for shapes that do not match, no documents, values that are not finite, documents
    of no bytes only, less than one draw.
    """
    check_fraction(confidence, "confidence")
    if draws < 1:
        raise ValueError(f"a bootstrap needs at least one draw, not {draws}")
    sizes = np.asarray(source_bytes, dtype=np.float64)
    nats = _mean_over_runs(nats_a, "nats_a", sizes) - _mean_over_runs(nats_b, "nats_b", sizes)
    if not (np.isfinite(sizes).all() and (sizes >= 0).all() and sizes.sum() > 0):
        raise ValueError("source_bytes must be counts, and not all of them 0")
    difference = float(nats.sum() / (math.log(2) * sizes.sum()))
    if sizes.size == 1:
        return Interval(difference=difference, sd=None, low=None, high=None)
    drawn = _draw(nats, sizes, draws, np.random.default_rng(seed))
    tail = _tail(confidence, sizes.size)
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(difference=difference, sd=float(drawn.std()), low=float(low), high=float(high))


def _mean_over_runs(nats: ArrayLike, name: str, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    array = np.asarray(nats, dtype=np.float64)
    if sizes.ndim != 1 or sizes.size == 0 or array.ndim != 2 or not array.shape[0]:
        raise ValueError(f"{name} must be runs x documents, not {array.shape}; source_bytes {sizes.shape}")
    if array.shape[1] != sizes.size:
        raise ValueError(f"{name} has {array.shape[1]} documents and source_bytes {sizes.size}")
    if not np.isfinite(array).all():
        run, document = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(f"{name} must be finite, run {run} document {document} is {array[run, document]}")
    mean: NDArray[np.float64] = array.mean(axis=0)
    return mean


def _draw(
    nats: NDArray[np.float64], sizes: NDArray[np.float64], draws: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Bits per byte of each draw: float64[draws]. Counting drawn places gives the multinomial weights
    at an eighth of the cost of drawing them as such."""
    documents = sizes.size
    columns = np.stack((nats, sizes * math.log(2)), axis=1)
    batch = max(1, _WEIGHTS_AT_ONCE // documents)
    results = np.empty(draws)
    for start in range(0, draws, batch):
        rows = min(batch, draws - start)
        places = generator.integers(0, documents, (rows, documents)) + np.arange(rows)[:, None] * documents
        weights = np.bincount(places.ravel(), minlength=rows * documents).reshape(rows, documents)
        totals = weights @ columns
        if not (totals[:, 1] > 0).all():
            raise ValueError("a draw has only documents of 0 bytes; leave documents without bytes out")
        results[start : start + rows] = totals[:, 0] / totals[:, 1]
    return results


def _tail(confidence: float, documents: int) -> float:
    """The share of draws beyond each end: the bootstrap's variance lacks n / (n - 1), and its
    percentiles are normal where t is due."""
    quantile = float(stats.t.isf((1 - confidence) / 2, documents - 1))
    return float(stats.norm.sf(quantile * math.sqrt(documents / (documents - 1))))
