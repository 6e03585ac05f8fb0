"""A build from plan to published dataset."""

from __future__ import annotations

import errno
import itertools
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from shards import ShardFormat, format_for_vocabulary, write_atomically
from tokenlab.build.assemble import SIDECAR_FOLDER, ShardOptions
from tokenlab.build.assembly import Assembly, GrowingAssembly, TaskAssembly
from tokenlab.build.boundaries import add_boundaries
from tokenlab.build.encode import VALIDATION_DIGESTS
from tokenlab.build.engine import Done, Engine, open_engine, run_in_order
from tokenlab.build.forecast import RowsRead, forecast
from tokenlab.build.part_reader import PartReader
from tokenlab.build.parts import ChangedInput, PartInput, finished_part, read_parts
from tokenlab.build.plan import Plan
from tokenlab.build.pool import TASKS_OF_A_WORKER
from tokenlab.build.prepare import store_scheme
from tokenlab.build.record import SourceDigests, make_manifest
from tokenlab.build.shard_records import tokens_in_shards
from tokenlab.build.tasks import encode_part, forget_scheme, use_scheme
from tokenlab.build.totals import PartTotals
from tokenlab.build.workspace import Workspace
from tokenlab.card import CARD_FILE, dataset_card
from tokenlab.corpus import is_local
from tokenlab.errors import InputError, TokenlabError
from tokenlab.manifest import MANIFEST_FILE, SPLITS, Manifest, ShardRecord, Split, read_manifest
from tokenlab.own_process import may_fork
from tokenlab.processes.shared_memory import SharedMemory
from tokenlab.progress import Progress
from tokenlab.scheme import Scheme
from tokenlab.vocabulary import require_split

FEW_PARTS = 3
"""Fewer parts than this are encoded here: starting a pool takes longer than two parts."""


@dataclass
class BuildReport:
    """How a build went: the manifest, where it is, seconds by stage, and what it took over from
    an earlier run."""

    output: Path
    manifest: Manifest
    seconds: dict[str, float] = field(default_factory=dict)
    reused_parts: int = 0
    reused_shards: int = 0


def build(
    plan: Plan, progress: Progress | None = None, *, accept: Callable[[Path], None] | None = None
) -> BuildReport:
    """Make the dataset of a plan; it is at `plan.options.output` when this returns.

    `accept` sees the finished folder before it is published and may raise InputError.
    Raises InputError for bad input, with nothing left behind; TokenlabError when the disk,
    the input or a worker is lost, with everything kept for the next run of the same command.
    """
    progress = progress or Progress()
    try:
        try:
            with Workspace(plan) as workspace:
                return _Build(plan, workspace, progress).run(accept)
        except ChangedInput as error:
            if not plan.options.force:
                raise
            progress.note(f"{error.where} has changed; --force: starting anew")
            with Workspace(plan, anew=True) as workspace:
                return _Build(plan, workspace, progress).run(accept)
    except OSError as error:
        what = error.strerror or str(error)
        hint = "free some space and " if error.errno == errno.ENOSPC else ""
        raise TokenlabError(
            f"{error.filename or plan.options.output}: {what}; {hint}run the same command again, it resumes"
        ) from error
    finally:
        progress.finish()


class _Build:
    """One run of the stages; each leaves its results on disk for the next run to find."""

    def __init__(self, plan: Plan, workspace: Workspace, progress: Progress) -> None:
        self.plan = plan
        self.options = plan.options
        self.workspace = workspace
        self.job = workspace.job
        self.progress = progress
        self.digests = SourceDigests(workspace.job.parts)
        self.seconds: dict[str, float] = {}
        self.reused_parts = self.reused_bytes = self.reused_shards = 0

    def run(self, accept: Callable[[Path], None] | None) -> BuildReport:
        if self.workspace.published:
            self.progress.note(f"resumed: an earlier run had finished {self.options.output}")
            return self._report()
        self.progress.note(
            f"input: {self.plan.corpus.name}; validation is its first {self.plan.val_docs} documents"
        )
        if (self.job.dataset / MANIFEST_FILE).exists():
            self.progress.note("resumed: everything was already built but not yet published")
        else:
            self._build()
        with self._stage("publish"):
            if accept is not None:
                accept(self.job.dataset)
            self.workspace.publish()
        return self._report()

    def _report(self) -> BuildReport:
        manifest = read_manifest(self.options.output)
        return BuildReport(self.options.output, manifest, self.seconds, self.reused_parts, self.reused_shards)

    def _build(self) -> None:
        memory = SharedMemory()
        with closing(self._parts(memory)) as parts:
            with self._stage("vocabulary"):
                self.progress.start("vocabulary", None, "B")
                scheme, vocabulary = store_scheme(self.plan, self.workspace, self.progress)
                self.progress.finish()
            use_scheme(self.job, scheme)  # here, and in workers that are forked from here
            try:
                totals, shards = self._encoded(scheme, iter(parts), memory)
            finally:
                forget_scheme()
        boundaries = None
        if scheme.spec.boundary_rule is not None:
            with self._stage("boundaries"):
                boundaries, shards = add_boundaries(self.job, scheme.spec, shards, self.progress)
        with self._stage("assemble"):
            manifest = make_manifest(
                self.plan,
                scheme,
                self.job.dataset,
                vocabulary=vocabulary,
                totals=totals,
                shards=shards,
                digests=self.digests.hexdigests(),
                boundaries=boundaries,
            )
            for name, content in (
                (CARD_FILE, dataset_card(manifest).encode()),
                (MANIFEST_FILE, manifest.to_json()),
            ):
                with write_atomically(self.job.dataset / name) as file:
                    file.write(content)

    def _parts(self, memory: SharedMemory) -> Generator[tuple[PartInput, int]] | PartReader:
        """The parts with the bytes of input files read; if there will be workers here, from a process that
        reads them from now on."""
        corpus = self.plan.corpus
        read = partial(read_parts, corpus, val_docs=self.plan.val_docs, part_bytes=self.options.part_bytes)
        workers = self.options.workers if self.job.one_machine else 1
        if workers > 1 and self._likely_many_parts() and is_local(corpus) and may_fork():
            ahead = TASKS_OF_A_WORKER * workers + 1
            return PartReader(corpus, read, memory=memory, ahead=ahead)
        return read(empty=memory.empty) if workers > 1 else read()

    def _encoded(
        self, scheme: Scheme, stream: Iterator[tuple[PartInput, int]], memory: SharedMemory
    ) -> tuple[PartTotals, dict[Split, list[ShardRecord]]]:
        """Every document encoded, and in shards."""
        workers = self.options.workers
        with self._stage("encode"):
            if self.job.one_machine and workers > 1 and not self._likely_many_parts():
                ahead = list(itertools.islice(stream, FEW_PARTS))
                workers = workers if len(ahead) == FEW_PARTS else 1
                stream = itertools.chain(_taken(ahead), stream)
            engine = open_engine(self.options.engine, self.job, workers, memory)
        form = format_for_vocabulary(scheme.segmenter.vocab_size)
        how = ShardOptions(form, self.options.shard_tokens, scheme.segmenter.bos, self.options.train_bytes)
        with closing(engine), closing(self._assembly(engine, how, workers)) as assembly:
            with self._stage("encode"):
                totals = self._encode(engine, stream, workers, assembly, form)
            with self._stage("assemble"):
                assembly.end()
                if self.job.one_machine:
                    engine.close()  # the workers end while the last shard is written
                return totals, self._finish_shards(assembly, totals)

    def _likely_many_parts(self) -> bool:
        """Whether there are enough for workers, as far as the sizes of the input files tell."""
        on_disk = sum(file.size for file in self.plan.corpus.files)
        return 2 * on_disk >= FEW_PARTS * self.options.part_bytes

    def _assembly(self, engine: Engine, how: ShardOptions, workers: int) -> Assembly:
        (self.job.dataset / SIDECAR_FOLDER).mkdir(exist_ok=True)
        if self.job.one_machine:
            return GrowingAssembly(self.job, how, beside=workers > 1)
        return TaskAssembly(engine, how)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def _encode(
        self,
        engine: Engine,
        stream: Iterator[tuple[PartInput, int]],
        workers: int,
        assembly: Assembly,
        form: ShardFormat,
    ) -> PartTotals:
        totals = PartTotals()
        started = time.perf_counter()
        self.progress.start("encode", None, "B")

        def foreseen() -> Iterator[PartInput]:
            """The parts; once the workers had three each, of which the first does not count, a forecast."""
            read = RowsRead()
            sizes: list[int] = []
            begun: tuple[float, int] | None = None
            due = True
            for part in read.counted(stream):
                encoded = totals.parts - self.reused_parts
                if begun is None and encoded > workers:
                    begun = time.perf_counter(), totals.bytes_read
                if due and begun is not None and encoded > 3 * workers and totals.bytes_read > begun[1]:
                    due = False
                    expected = forecast(
                        self.plan,
                        read,
                        form,
                        text_share=totals.bytes_read / sum(sizes[: totals.parts]),
                        tokens_per_byte=totals.tokens / totals.bytes_read,
                        bytes_per_second=(totals.bytes_read - begun[1]) / (time.perf_counter() - begun[0]),
                    )
                    expected.check_disk(self.job.folder)
                    self.progress.note(f"forecast: {expected}")
                    self.progress.expect(expected.source_bytes)
                if due:
                    sizes.append(len(part.contents.values))
                yield part

        for record in run_in_order(engine, encode_part, self._unfinished(foreseen())):
            totals.add(record)
            self.digests.add(record)
            assembly.add(record)  # which may cut the part off
            ratio = totals.source_bytes / max(1, totals.tokens)
            rate = max(0, totals.bytes_read - self.reused_bytes) / (time.perf_counter() - started)
            self.progress.advance(
                totals.bytes_read,
                f"{totals.documents_read:,} documents, {totals.tokens:,} tokens, {ratio:.2f} bytes a token, "
                f"{rate / 1e6:.1f} MB/s",
            )
        self.progress.finish()
        require_split(totals.documents_read, self.plan.val_docs)
        if totals.documents == self.plan.val_docs:
            raise InputError(
                f"all {len(totals.dropped):,} training documents equal a validation document and train needs "
                "one that does not: pass a smaller --val-docs, or other input"
            )
        if self.workspace.resumed:
            self.progress.note(f"resumed: {self.reused_parts} of {totals.parts} parts were already encoded")
        return totals

    def _unfinished(self, parts: Iterable[PartInput]) -> Iterator[PartInput | Done]:
        """Parts to encode, or the record where an earlier run did; validation digests are on
        disk before the first training part goes out."""
        in_shards = dict.fromkeys(SPLITS, 0)
        if self.workspace.resumed:
            in_shards = tokens_in_shards(self.job, self.options.shard_tokens)
        digests: list[bytes] = []
        for part in parts:
            if part.split == "val":
                digests.append(part.digests().tobytes())
            elif digests:
                with write_atomically(self.job.parts / VALIDATION_DIGESTS) as file:
                    file.write(b"".join(digests))
                digests = []
            record = None
            if self.workspace.resumed:
                record = finished_part(self.job.parts, part, in_shards=in_shards[part.split])
            if record is not None:
                self.reused_parts += 1
                self.reused_bytes += record.bytes_read
            in_shards[part.split] -= record.tokens if record is not None else in_shards[part.split]
            yield part if record is None else Done(record)

    def _finish_shards(self, assembly: Assembly, totals: PartTotals) -> dict[Split, list[ShardRecord]]:
        shards: dict[Split, list[ShardRecord]] = {split: [] for split in SPLITS}
        for split, finished in itertools.groupby(assembly.finish(), lambda shard: shard[0]):
            self.progress.start(f"assemble {split}", totals.splits[split].ledger.tokens, "tokens")
            records = shards[split]
            done = reused = 0
            for _, record, was_there in finished:
                records.append(record)
                done += record.tokens
                reused += was_there
                self.progress.advance(done, f"{len(records):,} shards")
            self.progress.finish()
            if reused:
                self.progress.note(
                    f"resumed: {reused} of {len(records)} {split} shards were already assembled"
                )
            self.reused_shards += reused
        return shards


def _taken(ahead: list[tuple[PartInput, int]]) -> Iterator[tuple[PartInput, int]]:
    """The parts read ahead, let go of as they are taken."""
    while ahead:
        yield ahead.pop(0)
