"""What a build will take, measured on its first text."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from shards import ShardFormat, format_for_vocabulary
from tokenlab.build.parts import PartInput, read_parts
from tokenlab.build.plan import Plan
from tokenlab.errors import EncodingError, TokenlabError
from tokenlab.ragged import Ragged
from tokenlab.scheme import Scheme

SAMPLE_PARTS = 3
SAMPLE_BYTES = 1 << 22
"""A dry run reads so many parts, and encodes so much for the rate."""

SIDECAR_BYTES = 2
CHARGE_BYTES = 1
"""Of a token, in a sidecar and in nearly every part."""


@dataclass(frozen=True)
class Forecast:
    """An estimate. `source_bytes` is None when the input's length is not known (a stream)."""

    source_bytes: int | None
    tokens_per_byte: float
    bytes_per_second: float
    output_bytes: int | None
    working_bytes: int | None

    def __str__(self) -> str:
        rate = f"{self.bytes_per_second / 1e6:.1f} MB/s, {1 / self.tokens_per_byte:.2f} bytes a token"
        if self.source_bytes is None or self.output_bytes is None or self.working_bytes is None:
            return f"{rate}; the length of the input is not known"
        return (
            f"about {self.source_bytes / 1e6:,.1f} MB of text at {rate}: "
            f"{self.source_bytes / self.bytes_per_second:,.0f} s, "
            f"{self.output_bytes / 1e6:,.1f} MB of output, "
            f"{self.working_bytes / 1e6:,.1f} MB of disk while it runs"
        )

    def check_disk(self, folder: Path) -> None:
        """Raise TokenlabError when the disk of `folder` has not the room; what is in the folder counts as
        done."""
        free = shutil.disk_usage(folder).free
        if self.working_bytes is None or self.working_bytes <= free:
            return
        held = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if self.working_bytes > free + held:
            raise TokenlabError(
                f"{folder}: the build takes about {self.working_bytes / 1e6:,.0f} MB of disk, "
                f"{free / 1e6:,.0f} MB are free; free some and run the same command again"
            )


@dataclass(slots=True)
class RowsRead:
    """What was read of the corpus so far; `bytes` are of rows, `consumed` of its files."""

    documents: int = 0
    bytes: int = 0
    consumed: int = 0
    ended: bool = False

    def counted(self, stream: Iterable[tuple[PartInput, int]]) -> Iterator[PartInput]:
        """The parts of `read_parts`, counted as they are taken."""
        for part, self.consumed in stream:
            self.documents += len(part.contents)
            self.bytes += len(part.contents.values)
            yield part
        self.ended = True

    def expected_bytes(self, plan: Plan) -> int | None:
        """Rows of the whole corpus: exact when all was read, else scaled by what is left; None when the
        length of the input is not known."""
        if self.ended:
            return self.bytes
        limit = plan.options.limit_docs
        estimates = [self.bytes * limit // self.documents] if limit else []
        on_disk = sum(file.size for file in plan.corpus.files)
        if on_disk and self.consumed:
            estimates.append(self.bytes * on_disk // self.consumed)
        return min(estimates, default=None)


def forecast(
    plan: Plan,
    read: RowsRead,
    form: ShardFormat,
    *,
    text_share: float,
    tokens_per_byte: float,
    bytes_per_second: float,
) -> Forecast:
    """Estimate from the rows that were read, and what was measured on their text; `text_share`: bytes of
    text for each of rows."""
    options = plan.options
    rows = read.expected_bytes(plan)
    if rows is None:
        return Forecast(None, tokens_per_byte, bytes_per_second, None, None)
    total = round(rows * text_share)
    tokens = int(total * tokens_per_byte)
    output = tokens * (form.dtype.itemsize + (SIDECAR_BYTES if options.train_bytes else 0))
    # On one machine a part loses its tokens to the shard that is done.
    held = min(tokens, options.shard_tokens) if options.engine.name == "local" else tokens
    working = output + held * (form.dtype.itemsize + CHARGE_BYTES)
    return Forecast(total, tokens_per_byte, bytes_per_second, output, working)


def sample_forecast(plan: Plan, scheme: Scheme) -> Forecast | None:
    """Estimate before a build: reads the first parts and encodes two batches, the second for the rate,
    because the first compiles. None without a part, or where its text cannot be encoded."""
    read = RowsRead()
    stream = read_parts(plan.corpus, val_docs=plan.val_docs, part_bytes=plan.options.part_bytes)
    parts = list(itertools.islice(read.counted(stream), SAMPLE_PARTS))
    if not parts:
        return None
    texts = [part.documents(0, len(part.contents)) for part in parts]
    documents = texts[-1]
    batch, tokens, seconds = documents, 0, 0.0
    try:
        for bounds in _first_and_second(documents):
            batch = documents.rows(*bounds)
            begin = time.perf_counter()
            tokens = len(scheme.encode_batch(batch).ids.values) + len(batch)
            seconds = time.perf_counter() - begin
    except EncodingError:
        return None  # the encoding itself names the document
    size = max(1, len(batch.values))
    return forecast(
        plan,
        read,
        format_for_vocabulary(scheme.segmenter.vocab_size),
        text_share=sum(len(text.values) for text in texts) / max(1, read.bytes),
        tokens_per_byte=tokens / size,
        bytes_per_second=plan.options.workers * size / seconds,
    )


def _first_and_second(documents: Ragged) -> list[tuple[int, int]]:
    """Two batches, of other text where there is enough."""
    bounds = list(itertools.islice(documents.slices(SAMPLE_BYTES), 2))
    return bounds if len(bounds) == 2 else 2 * bounds
