"""One export: check the source, let the layout write, publish."""

from __future__ import annotations

from pathlib import Path

import tokenlab
from shards import ShardError
from tokenlab.dataset import Dataset, DocumentError
from tokenlab.errors import InputError, TokenlabError
from tokenlab.export.folder import ExportFolder, file_sha256
from tokenlab.export.layouts import LAYOUTS
from tokenlab.export.record import (
    FORMAT,
    FORMAT_VERSION,
    ExportRecord,
    ExportReport,
    ExportSource,
)
from tokenlab.manifest import MANIFEST_FILE, SPLITS
from tokenlab.progress import Progress


def export_dataset(
    folder: Path, layout: str, output: Path, *, force: bool = False, progress: Progress | None = None
) -> ExportReport:
    """Write the dataset at `folder` to `output` as `layout` (one of LAYOUTS) has it.

    `output` is there whole or not at all. Every file that is read is first compared with the
    manifest's sha256. `force` replaces an export, and nothing else. Raises InputError for an
    unknown layout, a dataset that the layout cannot hold, files that changed since they were
    built, or an output that must not be replaced.
    """
    if layout not in LAYOUTS:
        raise InputError(f"unknown layout {layout!r}; known: {', '.join(LAYOUTS)}")
    progress = progress or Progress()
    dataset = Dataset(folder)
    _require_apart(folder, output)
    chosen = LAYOUTS[layout]
    if chosen.refuse is not None and (reason := chosen.refuse(dataset)):
        raise InputError(f"{folder} cannot be exported as {layout}: {reason}")
    with ExportFolder(output, force=force) as target:
        _require_intact(dataset, progress, shards=chosen.reads_shards)
        try:
            chosen.write(dataset, target, progress)
        except (ShardError, DocumentError) as error:
            raise InputError(f"{error}; `tokenlab verify {folder}` tells more") from error
        except TokenlabError as error:
            raise InputError(f"{folder} cannot be exported as {layout}: {error}") from error
        if dataset.manifest.boundaries is not None:
            target.note("boundaries stay in the dataset: no loader of this layout reads where patches begin")
        if target.copied:
            target.note("files were copied: hard links need the dataset's own file system")
        target.publish(_record(dataset, layout, target).to_json())
        return ExportReport(layout, str(folder), str(output), tuple(target.files), tuple(target.notes))


def _require_apart(folder: Path, output: Path) -> None:
    source, target = folder.resolve(), output.resolve()
    if target == source or target in source.parents or source in target.parents:
        raise InputError(f"{output}: the export must be outside the dataset and not around it")


def _require_intact(dataset: Dataset, progress: Progress, *, shards: bool) -> None:
    """Raise InputError unless the files to be read are those that the build wrote."""
    expected = dict(dataset.manifest.files)
    for shard in (s for split in SPLITS for s in dataset.manifest.splits[split].shards if shards):
        expected[shard.file] = shard.sha256
        if shard.sidecar:
            expected[shard.sidecar.file] = shard.sidecar.sha256
    progress.start("check", len(expected), "files")
    for done, (name, sha256) in enumerate(expected.items()):
        try:
            found = file_sha256(dataset.folder / name)
        except OSError as error:
            raise InputError(f"{dataset.folder / name}: {error.strerror}") from error
        if found != sha256:
            raise InputError(
                f"{dataset.folder / name} is not what was built (sha256 {found[:12]}, "
                f"the manifest has {sha256[:12]}): build it anew, or see `tokenlab verify {dataset.folder}`"
            )
        progress.advance(done + 1, name)
    progress.finish()


def _record(dataset: Dataset, layout: str, target: ExportFolder) -> ExportRecord:
    manifest = dataset.manifest
    return ExportRecord(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        tokenlab_version=tokenlab.__version__,
        layout=layout,
        source=ExportSource(
            name=manifest.name,
            scheme=manifest.scheme.name,
            fingerprint=manifest.scheme.fingerprint,
            documents_sha256=manifest.source.documents_sha256,
            manifest_sha256=file_sha256(dataset.folder / MANIFEST_FILE),
        ),
        files={
            file.name: {"bytes": file.bytes, "sha256": file.sha256}
            for file in sorted(target.files, key=lambda file: file.name)
        },
        notes=tuple(target.notes),
    )
