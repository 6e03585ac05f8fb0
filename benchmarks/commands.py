"""The commands themselves, as a user runs them: a process each, everything included."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from measure import Measurement, best_in_turn, best_of, run_tokenlab, side_by_side

VAL_DOCS = "50"

BUILD = "build caseops, one worker"
BUILD_ALL_BYTES = "build caseops, one worker, --train-bytes"
BUILD_TWO = "build caseops, two workers"
SIDE_BY_SIDE = "two builds side by side, caseops, one worker each"
BUILD_SHORT = "build caseops of 60 documents: what starting costs"
BUILD_EMBEDDED = "build caseops on the embedded corpus, no kernel compiled yet"
VERIFY = "verify caseops"
VERIFY_DOCS = "verify caseops --docs"

Published = dict[str, Path]
"""The model file of each `-v1` scheme."""


def measure_commands(
    corpus: Path, source_bytes: int, model: Path, published: Published, folder: Path, repeat: int
) -> Iterator[Measurement]:
    """Each command, fastest of `repeat`; what starting costs comes first."""

    def build(
        name: str, scheme: str, tokenizer: Path, *options: str, size: int = source_bytes, output: str = ""
    ) -> Callable[[], Measurement]:
        arguments = ["build", "--scheme", scheme, "--tokenizer", str(tokenizer)]
        arguments += ["--input", str(corpus), "--val-docs", VAL_DOCS]
        arguments += ["--output", str(folder / (output or scheme)), "--force", *options]
        return lambda: run_tokenlab(name, arguments, source_bytes=size)

    def verify(name: str, scheme: str, *options: str) -> Callable[[], Measurement]:
        arguments = ["verify", str(folder / scheme), *options]
        return lambda: run_tokenlab(name, arguments, source_bytes=source_bytes)

    docs = ("--docs", str(corpus))
    short = build(BUILD_SHORT, "caseops", model, "--limit-docs", "60", "--workers", "1", size=0)
    short()  # compiles the kernels
    yield best_of(repeat, short)
    beside = "caseops-beside"
    one = build(BUILD, "caseops", model, "--workers", "1")
    other = build(BUILD, "caseops", model, "--workers", "1", output=beside)
    yield from best_in_turn(
        repeat,
        build(BUILD_ALL_BYTES, "caseops", model, "--workers", "1", "--train-bytes", output=beside),
        build(BUILD_TWO, "caseops", model, "--workers", "2"),
        one,
        verify(VERIFY_DOCS, "caseops", *docs),
        lambda: side_by_side(SIDE_BY_SIDE, one, other),
    )
    yield best_of(repeat, verify(VERIFY, "caseops"))
    for scheme, file in published.items():
        yield best_of(repeat, build(f"build {scheme}, one worker", scheme, file, "--workers", "1"))
        yield best_of(repeat, verify(f"verify {scheme} --docs", scheme, *docs))
    yield best_of(repeat, lambda: _embedded(folder))


def _embedded(folder: Path) -> Measurement:
    output = folder / "embedded"
    shutil.rmtree(output, ignore_errors=True)
    with tempfile.TemporaryDirectory() as cache:
        arguments = ["build", "--scheme", "caseops", "--workers", "1", "--output", str(output)]
        return run_tokenlab(BUILD_EMBEDDED, arguments, environment={"NUMBA_CACHE_DIR": cache})
