"""What a person sees on stderr: a bar on a terminal, a line now and then where there is none."""

from __future__ import annotations

import sys
import time
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

    def advance(self, done: int, detail: str = "") -> None:
        now = time.monotonic()
        if now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = now
        share = f" {100 * done / self._total:.0f} %," if self._total else ""
        self.note(f"{self._phase}:{share} {done:,} {self._unit}, {detail}, {now - self._started:.0f} s")


class BarProgress(Progress):
    """For a terminal: one bar a phase, with rate and time left."""

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._task: TaskID | None = None

    def note(self, line: str) -> None:
        from rich.console import Console

        (self._bars.console if self._bars else Console(stderr=True)).print(
            line, markup=False, highlight=False
        )

    def start(self, phase: str, total: int | None, unit: str) -> None:
        from rich import progress
        from rich.console import Console

        amount = progress.DownloadColumn() if unit == "B" else progress.MofNCompleteColumn()
        self._bars = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            amount,
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[detail]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._bars.start()
        self._task = self._bars.add_task(phase, total=total, detail="")

    def advance(self, done: int, detail: str = "") -> None:
        if self._bars and self._task is not None:
            self._bars.update(self._task, completed=done, detail=detail)

    def finish(self) -> None:
        if self._bars:
            self._bars.stop()
        self._bars = None
