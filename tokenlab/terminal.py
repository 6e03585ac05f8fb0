"""What a person sees on stderr: a bar on a terminal, a line now and then where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tokenlab.progress import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

SECONDS_BETWEEN_LINES = 10.0


def stderr_progress() -> Progress:
    """The listener that suits stderr."""
    return BarProgress() if sys.stderr.isatty() else LineProgress()


class LineProgress(Progress):
    """For a pipe or a log: notes, and a line every ten seconds at most."""

    def __init__(self) -> None:
        self._phase = ""
        self._total: int | None = None
        self._unit = ""
        self._started = 0.0
        self._last = 0.0

    def note(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def start(self, phase: str, total: int | None, unit: str) -> None:
        self._phase, self._total, self._unit = phase, total, unit
        self._started = self._last = time.monotonic()

    def expect(self, total: int | None) -> None:
        self._total = total

    def advance(self, done: int, detail: str = "") -> None:
        now = time.monotonic()
        if now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = now
        spent = now - self._started
        share = left = ""
        about = f", {detail}" if detail else ""
        if self._total and done:
            share = f" {min(100, 100 * done / self._total):.0f} %,"
            left = f", about {max(0, self._total - done) / done * spent:.0f} s left"
        self.note(f"{self._phase}:{share} {_amount(done, self._unit)}{about}, {spent:.0f} s{left}")


class BarProgress(Progress):
    """For a terminal: one display for all phases of the work, a row each; it goes away with the last."""

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self._unit = ""

    def note(self, line: str) -> None:
        from rich.console import Console

        (self._bars.console if self._bars else Console(stderr=True)).print(
            line, markup=False, highlight=False
        )

    def start(self, phase: str, total: int | None, unit: str) -> None:
        self.finish()
        bars = self._display()
        self._unit = unit
        self._task = bars.add_task(phase, total=total, amount="", detail="")
        bars.start()

    def expect(self, total: int | None) -> None:
        if self._bars and self._task is not None:
            self._bars.update(self._task, total=total)

    def advance(self, done: int, detail: str = "") -> None:
        if self._bars and self._task is not None:
            amount = _amount(done, self._unit)
            self._bars.update(self._task, completed=done, amount=amount, detail=detail)

    def finish(self) -> None:
        if self._bars and self._task is not None:
            task = self._bars.tasks[-1]
            self._bars.update(self._task, total=task.completed or 1, completed=task.completed or 1)
            self._bars.stop()
        self._task = None

    def _display(self) -> Bars:
        if self._bars is None:
            from rich import progress
            from rich.console import Console, RenderableType
            from rich.text import Text

            class BarsAndDetail(progress.Progress):
                """What is said of the last row stands below it: beside the bar 80 columns have no room."""

                def get_renderables(self) -> Iterable[RenderableType]:
                    yield self.make_tasks_table(self.tasks)
                    if self.tasks and (detail := self.tasks[-1].fields["detail"]):
                        yield Text(f"  {detail}")

            self._bars = BarsAndDetail(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(bar_width=24),
                progress.TextColumn("{task.fields[amount]}"),
                progress.TimeRemainingColumn(elapsed_when_finished=True),
                console=Console(stderr=True),
                transient=True,
            )
        return self._bars


def _amount(done: int, unit: str) -> str:
    if unit != "B":
        return f"{done:,} {unit}"
    return f"{done / 1e9:,.2f} GB" if done >= 1e9 else f"{done / 1e6:,.1f} MB"
