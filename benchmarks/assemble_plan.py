"""What a build of a million parts costs its coordinator, apart from reading and encoding.

    python benchmarks/assemble_plan.py [--parts 1000000] [--files 5000]

Part records are made up (32 MB of text at 3.6 bytes a token, the figures of docs/benchmarks.md) and go
through the same code as a build's: `run_in_order`, `PartTotals`, `plan_shards`, the manifest. What needs
files (a part's digests, whether it is whole) is measured on --files small parts and multiplied.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from shards import FORMATS
from tokenlab.accounting.ledger import Ledger
from tokenlab.build.assemble import ShardOptions, plan_shards
from tokenlab.build.engine import Done, Job, run_in_order
from tokenlab.build.parts import PartInput, PartRecord, finished_part, write_part
from tokenlab.build.plan import PART_BYTES, SHARD_TOKENS
from tokenlab.build.pool import LocalEngine
from tokenlab.build.record import SourceDigests
from tokenlab.build.tasks import ShardTask, encode_part
from tokenlab.build.totals import PartTotals
from tokenlab.corpus import document_digests
from tokenlab.manifest import ShardRecord, SidecarRecord
from tokenlab.ragged import Ragged

BYTES_A_TOKEN = 3.6
DOCUMENT_BYTES = 4_500
SMALL_DOCUMENTS = PART_BYTES // DOCUMENT_BYTES


def peak() -> float:
    """Largest resident size so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def records(count: int) -> Iterator[Done]:
    """Made-up parts; the first is validation."""
    tokens = np.random.default_rng(0).normal(PART_BYTES / BYTES_A_TOKEN, 3e5, count).astype(np.int64)
    first = 0
    for number in range(count):
        read = SMALL_DOCUMENTS
        yield Done(
            PartRecord(
                number=number,
                split="val" if number == 0 else "train",
                first=first,
                documents_read=read,
                bytes_read=PART_BYTES,
                documents=read,
                tokens=int(tokens[number]),
                source_bytes=PART_BYTES,
                charged_bytes=PART_BYTES,
                unattributed_bytes=0,
                id_bytes=2,
                charge_bytes=1,
                values_sha256="0" * 64,
                dropped=(first,) if number % 100 == 1 else (),
            )
        )
        first += read


def stage(name: str, start: float, before: float, note: str = "") -> None:
    """One row of the table."""
    print(f"  {name:44} {time.perf_counter() - start:9.2f} s {peak() - before:9.1f} MB  {note}")


def simulate(parts: int) -> None:
    """The plan of a build of so many parts."""
    base = peak()
    print(
        f"{parts:,} parts of {PART_BYTES >> 20} MiB, {parts * PART_BYTES / 1e12:.1f} TB; "
        f"{base:.0f} MB to start with"
    )
    start = time.perf_counter()
    engine = LocalEngine(Job(Path("."), "simulation", 0), 1)
    totals = PartTotals()
    for record in run_in_order(engine, encode_part, records(parts)):
        totals.add(record)
    stage("records summed", start, base, f"{totals.tokens / 1e12:.2f} T tokens")
    start, before = time.perf_counter(), peak()
    train = totals.splits["train"]
    shards = copied = 0
    largest = 0
    done: list[Any] = []
    how = ShardOptions(FORMATS["uint16"], SHARD_TOKENS, 1, train_bytes=True)
    for plan in plan_shards("train", train.first, train.tokens, SHARD_TOKENS):
        task = ShardTask(plan, how)
        shards += 1
        copied += plan.tokens
        largest = max(largest, len(task.plan.ranges))
        name = f"fineweb_train_{plan.index:06d}.bin"
        done.append(ShardRecord(name, 1, plan.tokens, 1, "0" * 64, SidecarRecord(name, "0" * 64)))
    assert copied == train.ledger.tokens
    stage(
        "shards planned, their records kept", start, before, f"{shards:,} shards, of {largest} parts at most"
    )
    start, before = time.perf_counter(), peak()
    size = len(msgspec.json.format(msgspec.json.encode(done), indent=1))
    stage("their part of the manifest", start, before, f"{size / 1e6:.0f} MB of JSON")


def measure_files(parts: int, files: int) -> None:
    """What each part costs by being a file."""
    text = Ragged.from_bytes([b"%d" % n for n in range(SMALL_DOCUMENTS)])
    rows = np.arange(len(text))
    digests = document_digests(text)
    tokens = len(text.values)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = [
            PartInput(n, "train", n * len(text), text, None, (("simulated", rows),)) for n in range(files)
        ]
        ids = np.ones(tokens, np.uint16)
        ledger = Ledger(len(text), tokens, tokens, tokens, 0)
        keep = np.ones(len(text), bool)
        records = [
            write_part(folder, part, keep, ledger, [ids], [ids], digests, bytes_read=tokens, sync=False)
            for part in inputs
        ]
        rows_of = f"for each of {files:,} parts of {SMALL_DOCUMENTS:,} documents"
        start, before = time.perf_counter(), peak()
        corpus = SourceDigests(folder)
        for record in records:
            corpus.add(record)
        each = (time.perf_counter() - start) / files
        stage("digests of all documents, in order", start, before, f"{1e3 * each:.2f} ms {rows_of}")
        print(f"    for {parts:,} parts: {each * parts / 3600:.2f} h")
        start, before = time.perf_counter(), peak()
        for part in inputs:
            assert finished_part(folder, part) is not None
        each = (time.perf_counter() - start) / files
        stage(
            "resuming: whole, and of these documents?",
            start,
            before,
            f"{1e3 * each:.2f} ms, without the tokens",
        )
        print(f"    for {parts:,} parts: {each * parts / 3600:.2f} h")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=2_000)
    options = parser.parse_args()
    simulate(options.parts)
    measure_files(options.parts, options.files)


if __name__ == "__main__":
    main()
