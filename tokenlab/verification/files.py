"""The files of a dataset against its manifest: all there, whole, unchanged, and no others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from shards import FORMATS, ShardError, format_for_vocabulary, read_header
from tokenlab.accounting.verdicts import Failure
from tokenlab.manifest import Manifest
from tokenlab.progress import Progress
from tokenlab.verification.tally import Tally


def check_files(folder: Path, manifest: Manifest, progress: Progress) -> Tally:
    """The verdict `intact`. A shard that a trainer's glob would find and the manifest does
    not name is a failure too."""
    tally = Tally("intact", "files", "sha256 of every file as the manifest has it, and no other shards")
    listed = dict(_listed(manifest))
    total = sum((folder / name).stat().st_size for name in listed if (folder / name).is_file())
    progress.start("files", total, "B")
    done = 0
    for name, expected in listed.items():
        path = folder / name
        try:
            with open(path, "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            done += path.stat().st_size
        except OSError as error:
            tally.fail(Failure(f"cannot be read: {error.strerror}", file=name))
            continue
        progress.advance(done, name)
        tally.count += 1
        tally.expect(expected, found, "the file's sha256 is not the manifest's", file=name)
    progress.finish()
    _check_headers(folder, manifest, tally)
    for path in sorted([*folder.glob("*.bin"), *folder.glob("*/*.bin")]):
        name = path.relative_to(folder).as_posix()
        if name not in listed:
            tally.fail(Failure("a shard that the manifest does not name", file=name))
    return tally


def _listed(manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield from manifest.files.items()
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
