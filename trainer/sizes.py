"""Source bytes turned into tokens and steps, so that runs over different tokenizers see the same text.

>>> tokens_for_bytes(2_500, bytes_per_token=2.44)
1025
>>> rows_for_bytes(1_000_000, bytes_per_row=2_500.0, multiple=8)
400
>>> steps_for_bytes(10_000_000, bytes_per_step=1_000_000.0)
10
"""

from __future__ import annotations


def tokens_for_bytes(count_bytes: int, bytes_per_token: float) -> int:
    """Tokens that stand for so many source bytes at a split's mean bytes a token: the nearest
    number, at least 1. Raises ValueError unless both are positive."""
    if count_bytes <= 0 or bytes_per_token <= 0:
        raise ValueError(f"{count_bytes} bytes at {bytes_per_token} bytes a token: both must be positive")
    return max(1, round(count_bytes / bytes_per_token))


def rows_for_bytes(count_bytes: int, bytes_per_row: float, multiple: int = 1) -> int:
    """Rows that stand for so many source bytes: the nearest multiple of `multiple`, at least that."""
    return multiple * tokens_for_bytes(count_bytes, multiple * bytes_per_row)


def steps_for_bytes(count_bytes: int, bytes_per_step: float) -> int:
    """Steps that see so many source bytes: the nearest number, at least 1."""
    return tokens_for_bytes(count_bytes, bytes_per_step)
