"""What a build will take, measured on its first text before the long work starts."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shards import format_for_vocabulary
from tokenlab.build.encode import charge_dtype
from tokenlab.build.parts import PartInput
from tokenlab.build.plan import Plan
from tokenlab.errors import EncodingError, TokenlabError
from tokenlab.ragged import Ragged
from tokenlab.scheme import Scheme

SAMPLE_BYTES = 1 << 22
"""Text that is encoded for the rate."""


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
        """Raise TokenlabError when the disk of `folder` has not the room; what an earlier run left
        in it counts as done."""
        free = shutil.disk_usage(folder).free
        if self.working_bytes is None or self.working_bytes <= free:
            return
        held = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if self.working_bytes > free + held:
            raise TokenlabError(
                f"{folder}: the build takes about {self.working_bytes / 1e6:,.0f} MB of disk, "
                f"{free / 1e6:,.0f} MB are free; free some and run the same command again"
            )


def forecast(
    plan: Plan, scheme: Scheme, ahead: Sequence[tuple[PartInput, int]], workers: int
) -> Forecast | None:
    """Estimate from the parts read ahead: encodes two batches, the second for the rate, because the
    first compiles. None without a part, or where its text cannot be encoded."""
    if not ahead:
        return None
    documents = ahead[-1][0].documents
    batch, tokens, seconds, charge_bytes = documents, 0, 0.0, 1
    try:
        for bounds in _first_and_second(documents):
            batch = documents.rows(*bounds)
            begin = time.perf_counter()
            encoded = scheme.encode_batch(batch)
            seconds = time.perf_counter() - begin
            tokens = len(encoded.ids.values) + len(batch)
            charge_bytes = max(charge_bytes, charge_dtype(encoded.charges).itemsize)
    except EncodingError:
        return None  # the encoding itself names the document
    size = max(1, len(batch.values))
    total = _source_bytes(plan, ahead)
    token_bytes = format_for_vocabulary(scheme.segmenter.vocab_size).dtype.itemsize
    output = working = None
    if total is not None:
        total_tokens = int(total * tokens / size)
        output = total_tokens * (token_bytes + (2 if plan.options.train_bytes else 0))
        working = output + total_tokens * (token_bytes + charge_bytes)
    return Forecast(total, tokens / size, workers * size / seconds, output, working)


def _first_and_second(documents: Ragged) -> list[tuple[int, int]]:
    """Two batches, of other text where there is enough."""
    bounds = list(itertools.islice(documents.slices(SAMPLE_BYTES), 2))
    return bounds if len(bounds) == 2 else 2 * bounds


def _source_bytes(plan: Plan, ahead: Sequence[tuple[PartInput, int]]) -> int | None:
    """Text in the corpus: exact when all of it was read ahead, else scaled by the input's size on disk."""
    read = sum(len(part.documents.values) for part, _ in ahead)
    documents = sum(len(part.documents) for part, _ in ahead)
    if len(ahead) < 3:
        return read
    limit = plan.options.limit_docs
    estimates = [read * limit // documents] if limit else []
    on_disk = sum(file.size for file in plan.corpus.files)
    consumed = ahead[-1][1]
    if on_disk and consumed:
        estimates.append(read * on_disk // consumed)
    return min(estimates, default=None)
