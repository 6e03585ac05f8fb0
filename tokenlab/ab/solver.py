"""Width and depth for an artifact of a given size: the column `artifact`.

How many values a network has, and in which layout they are stored, follows from its sizes alone
(`stored_bytes`). How well they compress does not: it is measured on a short real run of the shape that
is chosen, and the choice repeated with what was measured until it lands in the band.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import msgspec

from tokenlab.ab.launch import ModelSizes
from tokenlab.errors import InputError

BAND = 0.990625
"""Of the cap, least of an artifact that uses it: 15.85 of 16.00 MB."""
QUANTIZED_ABOVE = 65_536
"""Values; larger matrices are int8 with a float16 scale a row, smaller ones float16 (trainer/artifact.py)."""
FIRST_RATIO = 0.9
"""Of compressed to stored bytes, before any was measured."""
ROUNDS = 5
"""Short runs at most, an arm."""
FEWEST_LAYERS = 2
"""The trainer's network has a skip from its first half to its second: one block has none to train."""
WIDEST = 3
"""Times the base's layers and MLP multiple that are tried."""


class Solution(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sizes found; `measured` is the artifact (code and weights, bytes) of a short run of them."""

    sizes: ModelSizes
    stored: int
    measured: int
    rounds: int

    def lands(self, cap: int) -> bool:
        """Whether the short run's artifact was in the band."""
        return in_band(self.measured, cap)


def in_band(size: int, cap: int) -> bool:
    """Whether an artifact of `size` bytes uses a cap and keeps to it."""
    return BAND * cap <= size <= cap


def stored_bytes(sizes: ModelSizes, vocab_size: int) -> int:
    """Bytes of all tensors as an artifact stores them, before compression and without the header (and
    the table of a rule): the networks of trainer/model.py and trainer/hierarchical.py in the layout of
    trainer/artifact.py."""
    main = sizes.layers * block_bytes(sizes.dim, sizes.heads, sizes.kv_heads, sizes.mlp_multiple)
    main += 4 * (sizes.layers // 2 * sizes.dim)
    widths = [*sizes.outer_dims, sizes.dim]
    stored = main + matrix_bytes(vocab_size, widths[0])
    for dim, inner in pairwise(widths):
        blocks = sizes.encoder_layers + sizes.decoder_layers
        stored += blocks * block_bytes(dim, sizes.byte_heads, sizes.byte_kv_heads, sizes.mlp_multiple)
        linear = 3 if sizes.boundary_source == "router" else 1  # residual, and a router's query and key
        stored += linear * matrix_bytes(dim, dim) + 4 * (inner - dim)
    if sizes.outer_dims:
        stored += len(sizes.ngram_orders) * matrix_bytes(sizes.ngram_slots, widths[0])
    return stored


def block_bytes(dim: int, heads: int, kv_heads: int, mlp_multiple: int) -> int:
    """Bytes of one block, stored."""
    keys, inner = dim // heads * kv_heads, dim * mlp_multiple
    matrices = [(dim, dim), (keys, dim), (keys, dim), (dim, dim), (inner, dim), (dim, inner)]
    return sum(matrix_bytes(*shape) for shape in matrices) + 4 * (heads + 4 * dim)


def matrix_bytes(rows: int, columns: int) -> int:
    """Bytes of one matrix, stored."""
    return rows * columns + 2 * rows if rows * columns > QUANTIZED_ABOVE else 2 * rows * columns


def solve(
    base: ModelSizes, vocab_size: int, cap: int, code_bytes: int, measure: Callable[[ModelSizes], int]
) -> Solution:
    """The sizes nearest in proportion to `base` whose artifact lands in the band below `cap` bytes, code
    included; `measure` gives the artifact bytes of a short run. The nearest miss where none lands within
    ROUNDS runs. Raises InputError for a cap that no network keeps to."""
    ratio = FIRST_RATIO
    tried: dict[ModelSizes, Solution] = {}
    for rounds in range(1, ROUNDS + 1):
        sizes = choose(base, vocab_size, (cap - code_bytes) / ratio)
        if sizes is None:
            smallest = min(
                stored_bytes(sizes, vocab_size) for sizes in candidates(base, vocab_size, math.inf)
            )
            raise InputError(
                f"cap_bytes = {cap:,}: code is {code_bytes:,} bytes, and the smallest network for "
                f"{vocab_size:,} ids about {ratio * smallest:,.0f} compressed; raise --cap-bytes"
            )
        if sizes in tried:
            break
        stored, measured = stored_bytes(sizes, vocab_size), measure(sizes)
        tried[sizes] = Solution(sizes=sizes, stored=stored, measured=measured, rounds=rounds)
        if in_band(measured, cap):
            return tried[sizes]
        ratio = (measured - code_bytes) / stored
    return min(tried.values(), key=lambda solution: _miss(solution.measured, cap))


def choose(base: ModelSizes, vocab_size: int, room: float) -> ModelSizes | None:
    """The sizes nearest to `base` in proportion, of those whose stored bytes are within the middle half of
    the band below `room`; where there are none, those nearest to its middle."""
    middle, reach = room * (1 + BAND) / 2, room * (1 - BAND) / 4
    fitting = [(sizes, stored_bytes(sizes, vocab_size)) for sizes in candidates(base, vocab_size, room)]
    inside = [sizes for sizes, stored in fitting if abs(stored - middle) <= reach]
    if inside:
        return min(inside, key=lambda sizes: _distance(base, sizes))
    nearest = min(
        fitting, key=lambda entry: (abs(entry[1] - middle), _distance(base, entry[0])), default=None
    )
    return nearest[0] if nearest else None


def candidates(base: ModelSizes, vocab_size: int, room: float) -> Iterator[ModelSizes]:
    """Sizes that the (main) network allows with the base's heads, stored in at most `room` bytes (or the
    narrowest width only, where there is no bound)."""
    step = 2 * base.heads
    widest = max(base.outer_dims, default=1)  # widths must not shrink inwards
    narrowest = step * -(-widest // step)
    for layers in range(FEWEST_LAYERS, max(FEWEST_LAYERS, WIDEST * base.layers) + 1):
        for multiple in range(1, WIDEST * base.mlp_multiple + 1):
            dim = narrowest
            while True:
                sizes = msgspec.structs.replace(base, layers=layers, dim=dim, mlp_multiple=multiple)
                if stored_bytes(sizes, vocab_size) > room:
                    break
                yield sizes
                if math.isinf(room):
                    break
                dim += step


def _distance(base: ModelSizes, sizes: ModelSizes) -> float:
    """How far the proportions are apart: the sum of |log| of the three ratios."""
    ratios = (
        sizes.layers / base.layers,
        sizes.dim / base.dim,
        sizes.mlp_multiple / base.mlp_multiple,
    )
    return sum(abs(math.log(ratio)) for ratio in ratios)


def _miss(size: int, cap: int) -> float:
    """How far from the band; a miss above it counts as more than any below."""
    return size / cap if size > cap else max(0.0, BAND - size / cap)
