"""What a build and a verify are made of, stage by stage, batch by batch as they run them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from measure import Measurement
from numpy.typing import NDArray

from shards import format_for_vocabulary
from tokenlab.accounting.ledger import Ledger
from tokenlab.build.assemble import ShardOptions, ShardPlan, plan_shards, write_planned_shard
from tokenlab.build.encode import charge_dtype, opened
from tokenlab.build.parts import BATCH_BYTES, PartRecord, read_parts, write_part
from tokenlab.build.plan import PART_BYTES, SHARD_TOKENS
from tokenlab.corpus import document_digests, open_corpus
from tokenlab.cuts import as_charges
from tokenlab.ops.escape import Escape
from tokenlab.ops.normalize import SentencePieceNormalizer
from tokenlab.ragged import Ragged
from tokenlab.scheme import SLICE_BYTES, Scheme
from tokenlab.segment.spelling import spell

T = TypeVar("T")

KERNEL = "caseops kernel with cut map"


class StageClock:
    """CPU seconds by stage, summed over the batches of one pass."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def __call__(self, stage: str, action: Callable[..., T], *arguments: Any) -> T:
        """`action(*arguments)`, timed."""
        start = time.process_time()
        result = action(*arguments)
        self.seconds[stage] += time.process_time() - start
        return result


def measure_stages(
    corpus: Path, scheme: Scheme, normalizer: SentencePieceNormalizer | None, folder: Path, repeat: int
) -> Iterator[Measurement]:
    """Each stage, fastest of `repeat` passes over the corpus."""
    run = partial(_pass, corpus=corpus, scheme=scheme, normalizer=normalizer, folder=folder)
    size = run(StageClock())  # compiles the kernels
    clocks = [StageClock() for _ in range(repeat)]
    for clock in clocks:
        run(clock)
    for stage in clocks[0].seconds:
        seconds = min(clock.seconds[stage] for clock in clocks)
        yield Measurement(stage, size, seconds, f"{seconds * 1e9 / size:6.2f} ns a byte")


def _pass(
    clock: StageClock, corpus: Path, scheme: Scheme, normalizer: SentencePieceNormalizer | None, folder: Path
) -> int:
    """Every stage once over the corpus; the bytes of its text."""
    records: list[PartRecord] = []
    parts = read_parts(open_corpus([str(corpus)]), val_docs=1, part_bytes=PART_BYTES)
    form = format_for_vocabulary(scheme.segmenter.vocab_size)
    bos = scheme.segmenter.bos
    while (read := clock("read jsonl.zst", next, parts, None)) is not None:
        part, _ = read
        ledger = Ledger()
        ids: list[NDArray[Any]] = []
        charges: list[NDArray[Any]] = []
        digests: list[NDArray[np.uint8]] = []
        for rows in part.contents.slices(BATCH_BYTES):
            batch = clock("parse JSON", part.documents, *rows)
            digests.append(clock("sha256 of every document", document_digests, batch))
            split, charged = _encode(clock, batch, scheme, ledger)
            ids.append(clock("BOS before each document", opened, split, bos, form.dtype))
            charges.append(clock("BOS before each document", opened, charged, 0, charge_dtype(charged)))
            for bounds in batch.slices(SLICE_BYTES):
                _others(clock, batch.rows(*bounds), split.rows(*bounds), scheme, normalizer)
        keep = np.ones(len(part.contents), bool)
        records.append(
            clock(
                "part files, with sha256",
                partial(write_part, bytes_read=ledger.source_bytes, sync=False),
                folder,
                part,
                keep,
                ledger,
                ids,
                charges,
                np.concatenate(digests),
            )
        )
    train = [record for record in records if record.split == "train"]
    tokens = np.array([record.tokens for record in train], np.int64)
    how = ShardOptions(form, SHARD_TOKENS, bos, train_bytes=True)
    for plan in plan_shards("train", train[0].number, tokens, SHARD_TOKENS):
        clock("assemble shards and sidecars", _assemble, plan, folder, how)
    return sum(record.source_bytes for record in records)


def _encode(clock: StageClock, batch: Ragged, scheme: Scheme, ledger: Ledger) -> tuple[Ragged, Ragged]:
    """`Scheme.encode_batch`, taken apart: kernels by slices, the encoder over the whole batch."""
    slices = list(batch.slices(SLICE_BYTES))
    rewritten = [clock(KERNEL, scheme.rewrite, batch.rows(*bounds)) for bounds in slices]
    text = Ragged.concatenate([text for text, _ in rewritten], np.uint8)
    ids, ends = clock("encode, ids spell the text", scheme.segmenter.split_with_ends, text)
    charges = []
    for bounds, (_, cuts) in zip(slices, rewritten, strict=True):
        counted = clock("charges from the cut map", cuts.charges, ends.rows(*bounds))
        charges.append(Ragged(clock("charges from the cut map", as_charges, counted.values), counted.offsets))
        lengths = batch.rows(*bounds).lengths
        clock("ledger", ledger.post, lengths, charges[-1], cuts.unattributed(lengths))
    return ids, Ragged.concatenate(charges, np.uint16)


def _others(
    clock: StageClock,
    batch: Ragged,
    ids: Ragged,
    scheme: Scheme,
    normalizer: SentencePieceNormalizer | None,
) -> None:
    """Stages of verify and of other schemes."""
    spelled = clock("verify: ids to text (spell)", spell, ids, scheme.segmenter.token_bytes)
    clock("verify: caseops read back", scheme.read_back, spelled)
    clock("bpe: escape scan", Escape().apply, batch)
    if normalizer is not None:
        clock("-v1: normaliser kernel with cut map", normalizer.apply, batch)


def _assemble(plan: ShardPlan, folder: Path, how: ShardOptions) -> None:
    (folder / "bytes").mkdir(exist_ok=True)
    write_planned_shard(plan, parts=folder, output=folder, how=how)
