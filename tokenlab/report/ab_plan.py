"""`tokenlab ab --plan`: what it costs and what it can prove, in words."""

from __future__ import annotations

from tokenlab.ab.forecast import POWER, Forecast
from tokenlab.report.plain import table


def plan_text(found: Forecast) -> str:
    """A forecast for the terminal."""
    rows = [("column", "arm", "parameters", "steps", "runs", "left", "s a run", "from")]
    rows += [
        (
            cell.column,
            cell.arm,
            f"{cell.parameters:,}",
            "-" if cell.steps is None else f"{cell.steps:,.0f}",
            str(cell.runs),
            str(cell.left),
            f"{cell.seconds:.1f}",
            cell.measured,
        )
        for cell in found.cells
    ]
    runs, left = (sum(getattr(cell, name) for cell in found.cells) for name in ("runs", "left"))
    return "\n".join(
        [
            *table(rows, "<<>>>>><"),
            f"{runs} runs, {left} left: about {found.minutes:.1f} minutes, {found.slots} at a time",
            *_provable(found),
        ]
    )


def _provable(found: Forecast) -> list[str]:
    """What so many pairs can show."""
    reachable = ", ".join(f"{name} {_p(p)}" for name, p in found.smallest_p.items())
    lines = [f"smallest p that {found.pairs} pairs can reach: {reachable}"]
    lines += [
        f"careful: {name} cannot go below {found.alpha:.2g} with {found.pairs} pairs, whatever the data"
        for name, p in found.smallest_p.items()
        if p >= found.alpha
    ]
    lines.append(f"noise of a pair's difference (SD): {found.sd:.2%} of the baseline, {found.sd_from}")
    shared = f", alpha {found.alpha:.2g}" + (f" over {found.tests} arms" if found.tests > 1 else "")
    if found.detectable is not None:
        lines.append(
            f"smallest difference found with {POWER:.0%} power: {found.detectable:.2%} "
            f"(paired t, {found.pairs} pairs{shared})"
        )
    if found.target is not None:
        lines.append(f"a difference of {found.target:.2%} needs {found.pairs_needed} pairs{shared}")
    if found.fewest_sequential_pairs is not None:
        lines.append(f"run until decided: at least {found.fewest_sequential_pairs} pairs decide anything")
    if found.sequential_power is not None and found.sequential_pairs is not None:
        lines.append(
            f"  of {found.target:.2%}: decided within {found.pairs} pairs with {found.sequential_power:.0%} "
            f"power, after {found.sequential_pairs:.1f} on average (simulated)"
        )
    return lines


def _p(value: float) -> str:
    return "has no bound" if value == 0 else f"{value:.2g}"
