"""Source bytes turned into tokens and steps, so that runs over different tokenizers see the same text.

>>> tokens_for_bytes(2_500, bytes_per_token=2.44)
1025
>>> rows_for_bytes(1_000_000, bytes_per_row=2_500.0, multiple=8)
400
>>> steps_for_bytes(10_000_000, bytes_per_step=1_000_000.0)
10
"""

from __future__ import annotations

from msgspec.structs import replace

from trainer.config import RunConfig, check_window
from trainer.data import Dataset


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


def resolve(config: RunConfig, dataset: Dataset) -> RunConfig:
    """`config` with every length that was given in source bytes also in tokens, rows or steps.

    Training's bytes are turned by the training split's mean bytes a token, those of evaluation
    windows by the validation split's, as `tokenlab eval` has no other. A step's bytes are those of
    its resolved rows and context, as budgets count them. A model that reads patches gets the training
    split's bytes a patch. Raises TrainerError for windows with gaps, and for patches it may not read."""
    train, val = dataset.split("train").bytes_per_token, dataset.split("val").bytes_per_token
    batch, rates, budget, window = config.batch, config.rates, config.budget, config.evaluation
    if batch.context_bytes is not None:
        batch = replace(batch, context=tokens_for_bytes(batch.context_bytes, train))
    if batch.bytes is not None:
        batch = replace(batch, rows=rows_for_bytes(batch.bytes, batch.context * train, batch.row_multiple))
    step = batch.tokens * train
    if rates.momentum_bytes is not None:
        rates = replace(rates, momentum_steps=steps_for_bytes(rates.momentum_bytes, step))
    if budget.warmdown_bytes is not None:
        budget = replace(budget, warmdown_steps=steps_for_bytes(budget.warmdown_bytes, step))
    if window.context_bytes is not None:
        window = replace(window, context=tokens_for_bytes(window.context_bytes, val))
    if window.stride_bytes is not None:
        window = replace(window, stride=tokens_for_bytes(window.stride_bytes, val))
    if window.validate_every_bytes is not None:
        window = replace(window, validate_every=steps_for_bytes(window.validate_every_bytes, step))
    check_window(window)
    model = config.model
    if model.boundary_source == "sidecar":
        model = replace(model, target_bytes_per_patch=dataset.bytes_per_patch("train"))
    return replace(config, model=model, batch=batch, rates=rates, budget=budget, evaluation=window)
