"""Clocks, and what is known of one measurement. Mostly CPU time: other load on the machine counts less."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from statistics import median


@dataclass(frozen=True)
class Measurement:
    """One row: source text that went through, CPU seconds it took, and what else there is to say.

    `source_bytes` is 0 where only the seconds matter.
    """

    name: str
    source_bytes: int
    cpu_seconds: float
    note: str = ""
    wall_seconds: float = 0.0
    peak_bytes: int = 0

    @property
    def rate(self) -> float:
        """MB of source text per CPU second."""
        return self.source_bytes / 1e6 / self.cpu_seconds

    def __str__(self) -> str:
        rate = f"{self.rate:.1f}" if self.source_bytes else ""
        note = self.note
        if self.wall_seconds:
            cpu, wall, peak = self.cpu_seconds, self.wall_seconds, self.peak_bytes / 1e6
            note = f"{cpu:6.2f} s CPU, {wall:6.2f} s wall, {peak:4.0f} MB"
        return f"  {self.name:<60} {rate:>7}  {note}".rstrip()


def best_of(repeat: int, measure: Callable[[], Measurement]) -> Measurement:
    """The fastest of `repeat` measurements."""
    return best_in_turn(repeat, measure)[0]


def best_in_turn(repeat: int, *measures: Callable[[], Measurement]) -> list[Measurement]:
    """The fastest of `repeat` measurements of each, with the median of their wall seconds; taken in turn, as
    what slows the machine slows all then."""
    rounds = [[measure() for measure in measures] for _ in range(repeat)]
    return [
        replace(
            min(of_one, key=lambda m: m.cpu_seconds),
            wall_seconds=median(m.wall_seconds for m in of_one),
        )
        for of_one in zip(*rounds, strict=True)
    ]


def cpu_seconds(action: Callable[[], object]) -> float:
    """CPU seconds of this process, all its threads, in `action`."""
    start = time.process_time()
    action()
    return time.process_time() - start


def run_tokenlab(
    name: str, arguments: list[str], *, source_bytes: int = 0, environment: Mapping[str, str] | None = None
) -> Measurement:
    """`tokenlab ARGUMENTS` as a process of its own, interpreter's start and imports included.

    CPU seconds are those of the process and its children; the peak is of the largest of them. The modules
    are compiled, as an installer leaves them, also where the environment keeps Python from writing that.
    """
    # By way of this file as a small script: Linux counts the starter's memory into the peak.
    command = [sys.executable, __file__, sys.executable, "-m", "tokenlab", *arguments]
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    os.sync()  # what the command before it left to write would be written beside it
    done = subprocess.run(command, env={**inherited, **(environment or {})}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"tokenlab {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")
    cpu, wall, peak = json.loads(done.stdout)
    return Measurement(name, source_bytes, cpu, wall_seconds=wall, peak_bytes=peak)


def side_by_side(name: str, *measures: Callable[[], Measurement]) -> Measurement:
    """Commands that run at the same time, as one."""
    with ThreadPoolExecutor(len(measures)) as pool:
        done = [running.result() for running in [pool.submit(measure) for measure in measures]]
    return Measurement(
        name,
        sum(m.source_bytes for m in done),
        sum(m.cpu_seconds for m in done),
        wall_seconds=max(m.wall_seconds for m in done),
        peak_bytes=max(m.peak_bytes for m in done),
    )


def _run_and_count(command: list[str]) -> int:
    """Run a command, print its CPU seconds, wall seconds and peak bytes as JSON; its exit code."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    print(json.dumps([usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024]))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(_run_and_count(sys.argv[1:]))
