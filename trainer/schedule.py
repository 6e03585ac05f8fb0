"""When training ends, and the learning rate on the way: pure functions of what was used up.

Warmdown: the rate falls linearly to 0 over the last `warmdown_steps` steps. Steps that remain are
known for a budget of steps; for seconds and bytes they are estimated from the mean step so far, as
the published baseline does by wallclock.
"""

from __future__ import annotations

from dataclasses import dataclass

from trainer.config import BudgetConfig


@dataclass(frozen=True, kw_only=True)
class Used:
    """What a run has used: steps, training seconds, source bytes seen."""

    steps: int
    seconds: float
    train_bytes: float


def spent(budget: BudgetConfig, used: Used) -> bool:
    """Whether any part of the budget is used up."""
    return steps_left(budget, used) <= 0


def steps_left(budget: BudgetConfig, used: Used) -> float:
    """Steps until the first part of the budget is used up; infinite while nothing is known."""
    left = []
    if budget.steps is not None:
        left.append(float(budget.steps - used.steps))
    for limit, amount in ((budget.seconds, used.seconds), (budget.train_bytes, used.train_bytes)):
        if limit is None:
            continue
        if amount >= limit:
            left.append(0.0)
        elif used.steps and amount > 0:
            left.append((limit - amount) * used.steps / amount)
    return min(left, default=float("inf"))


def multiplier(budget: BudgetConfig, used: Used) -> float:
    """What learning rates are multiplied by in the next step, within 0..1."""
    if not budget.warmdown_steps:
        return 1.0
    return max(0.0, min(1.0, steps_left(budget, used) / budget.warmdown_steps))
