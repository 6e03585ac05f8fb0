"""The files of a dataset against its manifest: all there, whole, unchanged, and no others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event
from typing import Self

from shards import FORMATS, ShardError, format_for_vocabulary, read_header
from tokenlab.accounting.verdicts import Failure
from tokenlab.manifest import Manifest
from tokenlab.progress import Progress
from tokenlab.verification.tally import Tally

CHUNK_BYTES = 1 << 20
TOLD_SECONDS = 0.2
"""Between two words of progress."""


class FileCheck:
    """The verdict `intact`: the scheme's files at once, then the shards in a thread, beside what reads them.
    A shard that a trainer's glob would find and the manifest does not name is a failure too.

    `tally` is of the scheme's files until `finish`. Leaving the context ends the thread.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.tally = Tally(
            "intact", "files", "sha256 of every file as the manifest has it, and no other shards"
        )
        self._folder = folder
        self._manifest = manifest
        self._shards = list(_shard_files(manifest))
        self._stopped = Event()
        self._hashed_bytes = 0
        self._hold(manifest.files.items(), self.tally)
        self._pool = ThreadPoolExecutor(1, "files")
        self._rest = self._pool.submit(self._check_rest)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._pool.shutdown()

    def finish(self, progress: Progress) -> Tally:
        """The verdict, when all files are hashed; the first failure in the manifest's order is told."""
        if not self._rest.done():
            paths = [self._folder / name for name, _ in (*self._manifest.files.items(), *self._shards)]
            progress.start("files", sum(path.stat().st_size for path in paths if path.is_file()), "B")
            while wait([self._rest], TOLD_SECONDS).not_done:
                progress.advance(self._hashed_bytes)
            progress.finish()
        rest = self._rest.result()
        self.tally.count += rest.count
        if rest.failure is not None:
            self.tally.fail(rest.failure)
        return self.tally

    def _check_rest(self) -> Tally:
        tally = Tally("", "files")
        self._hold(self._shards, tally)
        _check_headers(self._folder, self._manifest, tally)
        listed = {*self._manifest.files, *(name for name, _ in self._shards)}
        for path in sorted([*self._folder.glob("*.bin"), *self._folder.glob("*/*.bin")]):
            name = path.relative_to(self._folder).as_posix()
            if name not in listed:
                tally.fail(Failure("a shard that the manifest does not name", file=name))
        return tally

    def _hold(self, files: Iterable[tuple[str, str]], tally: Tally) -> None:
        for name, expected in files:
            try:
                found = self._sha256(self._folder / name)
            except OSError as error:
                tally.fail(Failure(f"cannot be read: {error.strerror}", file=name))
                continue
            tally.count += 1
            tally.expect(expected, found, "the file's sha256 is not the manifest's", file=name)

    def _sha256(self, path: Path) -> str:
        digest, chunk = hashlib.sha256(), bytearray(CHUNK_BYTES)
        with open(path, "rb", buffering=0) as file:
            while (size := file.readinto(chunk)) and not self._stopped.is_set():
                digest.update(memoryview(chunk)[:size])
                self._hashed_bytes += size
        return digest.hexdigest()


def _shard_files(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Name and sha256 of what the manifest names besides the scheme's files."""
    if manifest.boundaries is not None and manifest.boundaries.model is not None:
        yield manifest.boundaries.model.file, manifest.boundaries.model.sha256
    for split in manifest.splits.values():
        for shard in split.shards:
            yield shard.file, shard.sha256
            if shard.sidecar:
                yield shard.sidecar.file, shard.sidecar.sha256
            if shard.boundaries:
                yield shard.boundaries.file, shard.boundaries.sha256


def _check_headers(folder: Path, manifest: Manifest, tally: Tally) -> None:
    form = format_for_vocabulary(manifest.vocab_size)
    for split in manifest.splits.values():
        for shard in split.shards:
            expected = [(shard.file, form)]
            if shard.sidecar:
                expected.append((shard.sidecar.file, FORMATS["uint16"]))
            for name, wanted in expected:
                try:
                    found, count = read_header(folder / name)
                except ShardError as error:
                    tally.fail(Failure(str(error), file=name))
                    continue
                tally.expect(wanted.dtype.name, found.dtype.name, "the shard's value type", file=name)
                tally.expect(shard.tokens, count, "the shard's token count", file=name)
