"""What a verification read, as a report pins it down: path, size, sha256."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tokenlab.corpus import without_secrets
from tokenlab.errors import InputError
from tokenlab.manifest import MANIFEST_FILE, read_manifest
from tokenlab.progress import Progress
from tokenlab.verification import ForeignOptions


class Input(NamedTuple):
    """A file, or what stands for files: `size` is None for what is not a file on this disk,
    and `sha256` then the digest on record, if there is one."""

    what: str
    name: str
    size: int | None
    sha256: str | None


def dataset_inputs(folder: Path, docs: Sequence[str] | None, progress: Progress) -> list[Input]:
    """The manifest, which pins every file of a dataset, the source it names, and `docs`."""
    files = [("manifest", folder / MANIFEST_FILE), *_documents(docs)]
    source = read_manifest(folder).source
    recorded = Input("recorded source", f"{source.documents:,} documents", None, source.documents_sha256)
    return [*_digests(files, progress), recorded, *_named(docs)]


def foreign_inputs(folder: Path, options: ForeignOptions, progress: Progress) -> list[Input]:
    """Shards, sidecars, and whatever evidence was given with them."""
    shards = sorted([*folder.glob("fineweb_*.bin"), *folder.glob("bytes/fineweb_*.bin")])
    files = [("sidecar" if "_bytes_" in path.name else "shard", path) for path in shards]
    evidence = (("tokenizer", options.tokenizer), ("byte table", options.byte_table), ("log", options.log))
    files += [(what, path) for what, path in evidence if path is not None]
    return [*_digests([*files, *_documents(options.docs)], progress), *_named(options.docs)]


def _documents(docs: Sequence[str] | None) -> list[tuple[str, Path]]:
    paths = (Path(path) for name in docs or () for path in [name, *sorted(glob.glob(name))])
    return [("documents", path) for path in dict.fromkeys(paths) if path.is_file()]


def _named(docs: Sequence[str] | None) -> list[Input]:
    """Documents that are no files here, such as `embedded`."""
    here = [name for name in docs or () if Path(name).exists() or glob.glob(name)]
    return [Input("documents", without_secrets(name), None, None) for name in docs or () if name not in here]


def _digests(files: Sequence[tuple[str, Path]], progress: Progress) -> list[Input]:
    inputs: list[Input] = []
    done = 0
    try:
        progress.start("sha256", sum(path.stat().st_size for _, path in files), "B")
        for what, path in files:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = path.stat().st_size
            done += size
            progress.advance(done, path.name)
            inputs.append(Input(what, str(path), size, digest))
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read for the report: {error.strerror}") from error
    progress.finish()
    return inputs
