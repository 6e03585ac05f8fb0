"""The verification of one dataset, from its files to one word."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

import msgspec

from shards import ShardError
from tokenlab.accounting.verdicts import EXIT_CODES, Failure, Overall, Verdict, overall
from tokenlab.corpus import DigestSet
from tokenlab.dataset import Dataset, DocumentError
from tokenlab.errors import InputError, PlugInUnavailable
from tokenlab.manifest import SPLITS, Manifest, read_manifest
from tokenlab.progress import Progress
from tokenlab.verification.boundaries import BoundaryCheck, has_boundaries
from tokenlab.verification.documents import SplitCheck, Tallies, decode
from tokenlab.verification.files import FileCheck
from tokenlab.verification.source import SourceDocuments, ahead, open_source
from tokenlab.verification.tally import Tally


class SplitTotals(msgspec.Struct, frozen=True):
    """What was read of a split; None is what cannot be told without the source or a sidecar."""

    documents: int
    tokens: int
    source_bytes: int | None
    charged_bytes: int | None
    unattributed_bytes: int | None


class Verification(msgspec.Struct, frozen=True):
    """What `tokenlab verify --json` prints. `against`: what the dataset was held against."""

    schema: Literal["tokenlab-verification-1"]
    dataset: str
    scheme: str
    fingerprint: str
    against: Literal["manifest", "source"]
    verdict: Overall
    verdicts: tuple[Verdict, ...]
    splits: dict[str, SplitTotals]
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0 all hold, 1 one fails, 3 unproven."""
        return EXIT_CODES[self.verdict]


def verify(
    path: str | Path,
    *,
    docs: str | Path | Sequence[str | Path] | None = None,
    text_field: str | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Verify a dataset that tokenlab built.

    `docs`: the source documents, as `build --input` took them; without them the dataset is
    held against its manifest. Raises InputError when `path` holds no dataset or `docs`
    cannot be read; a dataset that does not hold is a result, not an error.

    >>> import tempfile; from pathlib import Path
    >>> from tokenlab.build import BuildOptions, build, make_plan
    >>> out = Path(tempfile.mkdtemp()) / "bytes"
    >>> report = build(make_plan(BuildOptions(scheme="bytes", output=out)))
    >>> verify(out).verdict
    'trust'
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    names = [docs] if isinstance(docs, str | Path) else docs
    if names is None:
        return _verify(folder, manifest, None, progress or Progress())
    with closing(
        open_source(manifest, [str(name) for name in names], text_field, ahead_of_time=True)
    ) as source:
        return _verify(folder, manifest, source, progress or Progress())


def _verify(
    folder: Path, manifest: Manifest, source: SourceDocuments | None, progress: Progress
) -> Verification:
    tallies = Tallies()
    _describe(tallies, manifest, source)
    encoder = Tally("encoder", "probe text", "today's backends give the ids of the recorded probe")
    splits: dict[str, SplitTotals] = {}
    notes: list[str] = []
    causal: list[Tally] = []
    with FileCheck(folder, manifest) as files:
        dataset = _open(folder, files.tally, tallies, encoder)
        if dataset is not None:
            notes += _check_encoder(dataset, encoder)
            boundaries = BoundaryCheck(dataset) if has_boundaries(dataset) else None
            splits = _check_documents(dataset, tallies, source, boundaries, progress, notes)
            causal = [boundaries.tally] if boundaries is not None else []
        elif manifest.boundaries is not None:
            causal = [Tally("causal", "documents", missing=encoder.missing)]
        intact = files.finish(progress)
    verdicts = [tally.verdict() for tally in (intact, *tallies.all(), encoder, *causal)]
    return Verification(
        schema="tokenlab-verification-1",
        dataset=str(folder),
        scheme=manifest.scheme.name,
        fingerprint=manifest.scheme.fingerprint,
        against="manifest" if source is None else "source",
        verdict=overall(verdicts, reversible=manifest.scheme.reversible),
        verdicts=tuple(verdicts),
        splits=splits,
        notes=tuple(notes),
    )


def _describe(tallies: Tallies, manifest: Manifest, source: SourceDocuments | None) -> None:
    """What each verdict holds the dataset against, in words."""
    reversible = manifest.scheme.reversible
    documents = "the source" if source is not None else "what the ids decode to"
    if reversible or source is not None:
        tallies.balanced.detail = f"every charge recomputed from {documents}; charges sum to its UTF-8 length"
        tallies.disjoint.detail = "no training document equals a validation document"
        tallies.complete.detail = (
            "every document once, in order"
            if source is not None
            else "count and digests as the manifest has them"
        )
    else:
        tallies.balanced.missing = (
            "the source is missing, and charges cannot be recomputed from a normal form: give --docs"
        )
        tallies.disjoint.detail = "no normal form of a training document equals one of validation"
        tallies.complete.detail = "counts as the manifest has them; --docs compares every document"
    tallies.canonical.detail = "re-encoding gives the same ids (all of validation, a sample of train)"
    if reversible:
        tallies.reversible.detail = (
            "ids decode to the source"
            if source is not None
            else "ids decode to documents of the recorded digests"
        )
    else:
        tallies.reversible.missing = (
            "not reversible: the scheme normalises, and the score is on the normal form"
        )


def _open(folder: Path, intact: Tally, tallies: Tallies, encoder: Tally) -> Dataset | None:
    """The dataset, or None when the files that say how to read it are not the manifest's."""
    broken = intact.failure is not None and (intact.failure.file or "").startswith(
        ("scheme.toml", "tokenizer/")
    )
    if not broken:
        try:
            return Dataset(folder)
        except PlugInUnavailable:  # about this machine, not about the dataset
            raise
        except InputError as error:
            intact.fail(Failure(str(error)))
    for tally in (*tallies.all(), encoder):
        tally.missing = "not judged: the scheme or its vocabulary is not the manifest's"
    return None


def _check_encoder(dataset: Dataset, tally: Tally) -> list[str]:
    recorded, today = dataset.manifest.scheme, dataset.scheme.identity
    tally.count = 1
    tally.expect(recorded.probe_ids_sha256, today["probe_ids_sha256"], "digest of the probe's ids")
    tally.expect(recorded.scheme_sha256, today["scheme_sha256"], "digest of the scheme")
    tally.expect(dict(recorded.vocabulary_sha256), today["vocabulary_sha256"], "digests of the vocabulary")
    tally.expect(recorded.vocab_size, dataset.scheme.segmenter.vocab_size, "vocabulary size")
    tally.expect(recorded.bos, dataset.scheme.segmenter.bos, "BOS id")
    tally.expect(recorded.reversible, dataset.scheme.reversible, "whether the scheme is reversible")
    if recorded.backends != today["backends"]:
        return [f"built with {_versions(recorded.backends)}, verified with {_versions(today['backends'])}"]
    return []


def _versions(backends: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in backends.items()) or "no library"


def _check_documents(
    dataset: Dataset,
    tallies: Tallies,
    source: SourceDocuments | None,
    boundaries: BoundaryCheck | None,
    progress: Progress,
    notes: list[str],
) -> dict[str, SplitTotals]:
    totals: dict[str, SplitTotals] = {}
    validation = DigestSet()
    unchanged = 0
    progress.start("documents", sum(split.tokens for split in dataset.manifest.splits.values()), "tokens")
    done = 0
    for split in SPLITS:
        check = SplitCheck(dataset, split, tallies, source, validation)
        patches = boundaries.start(split) if boundaries is not None else None
        readable = True
        try:
            for found in ahead(decode(batch, dataset.scheme) for batch in dataset.batches(split)):
                readable = check.batch(found)
                batch = found.tokens
                if patches is not None:
                    patches.batch(batch)
                done += len(batch.ids.values) + len(batch.ids)
                progress.advance(done, f"{split} document {batch.first + len(batch.ids):,}")
                if not readable:
                    break
        except ShardError as error:
            tallies.complete.fail(Failure(str(error), split=split))
            readable = False
        except DocumentError as error:
            tallies.complete.fail(
                Failure(
                    error.message,
                    split=split,
                    document=error.document,
                    expected=error.expected,
                    found=error.found,
                )
            )
            readable = False
        if readable:
            check.finish()
            if patches is not None:
                patches.finish()
        unchanged += check.unchanged_documents
        totals[split] = _totals(check)
    progress.finish()
    if source is not None:
        _check_source(dataset.manifest, tallies, source)
        if not dataset.scheme.reversible:
            notes.append(
                f"the normaliser leaves {unchanged:,} of {tallies.complete.count:,} documents as they are"
            )
    return totals


def _totals(check: SplitCheck) -> SplitTotals:
    ledger = check.ledger
    return SplitTotals(
        documents=ledger.documents,
        tokens=ledger.tokens,
        source_bytes=ledger.source_bytes if check.knows_source else None,
        charged_bytes=ledger.charged_bytes if check.knows_charges else None,
        unattributed_bytes=ledger.unattributed_bytes if check.knows_source else None,
    )


def _check_source(manifest: Manifest, tallies: Tallies, source: SourceDocuments) -> None:
    """The source as a whole against what the manifest says was read."""
    record, complete = manifest.source, tallies.complete
    complete.expect(record.documents, source.documents, "documents of the source")
    complete.expect(record.documents_sha256, source.digest.hexdigest(), "digest of the source's documents")
    tallies.disjoint.expect(
        list(record.dropped_duplicates), source.dropped, "training documents left out as validation's twins"
    )
