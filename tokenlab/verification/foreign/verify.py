"""The verification of a foreign dataset: every invariant judged or skipped with its reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from shards import ShardError, read_header
from tokenlab.accounting.verdicts import EXIT_CODES, Failure, Overall
from tokenlab.corpus import open_corpus
from tokenlab.dataset import DocumentError, read_documents
from tokenlab.errors import InputError
from tokenlab.manifest import Split
from tokenlab.progress import Progress
from tokenlab.scheme import Scheme
from tokenlab.scheme_spec import ByteLevelSpec, SchemeSpec, SentencePieceSpec
from tokenlab.segment.segmenter import read_vocabulary_file
from tokenlab.segment.sentencepiece import SentencePieceSegmenter
from tokenlab.verification.foreign.charges import read_byte_table, stock_table
from tokenlab.verification.foreign.checks import WARNINGS, Invariant, judge, new_tallies, skip
from tokenlab.verification.foreign.claim import check_claim, read_claim, true_bpb
from tokenlab.verification.foreign.layout import ForeignShards, check_containers, find_shards
from tokenlab.verification.foreign.lint import lint_tokenizer
from tokenlab.verification.foreign.lost import CLASSES
from tokenlab.verification.foreign.split import Evidence, ForeignSplit
from tokenlab.verification.source import SourceDocuments

Transform = Literal["identity", "caseops-v1", "caseops"]
Accounting = Literal["sidecar", "byte table", "stock table", "none"]

REFERENCE_DOCUMENTS = 50_000
REFERENCE_TOTALS = {
    151_080_891: "the published SentencePiece shards",
    151_080_645: "the published CaseOps sidecar",
}
"""Validation bytes of Parameter Golf's 50,000 documents."""


@dataclass(frozen=True, kw_only=True)
class ForeignOptions:
    """What a reviewer has: any of it may be missing, and then less can be proven."""

    tokenizer: Path | None = None
    transform: Transform = "identity"
    docs: tuple[str, ...] | None = None
    val_docs: int | None = None
    byte_table: Path | None = None
    text_field: str = "text"
    log: Path | None = None
    loss: float | None = None


class ForeignVerification(msgspec.Struct, frozen=True):
    """What `tokenlab verify FOREIGN --json` prints.

    `charged_bytes` / `source_bytes` of validation = `correction_factor`: a BPB that was
    computed with these charges times the factor is the BPB of the source bytes.
    """

    schema: Literal["tokenlab-foreign-verification-1"]
    dataset: str
    transform: Transform
    accounting: Accounting
    verdict: Overall
    causes: tuple[str, ...]
    warnings: tuple[str, ...]
    missing: tuple[str, ...]
    invariants: tuple[Invariant, ...]
    documents: int | None
    tokens: int | None
    source_bytes: int | None
    charged_bytes: int | None
    unattributed_bytes: int | None
    correction_factor: float | None
    corrected_bpb: float | None
    lossless_documents: int | None
    lost_bytes: dict[str, int]

    @property
    def exit_code(self) -> int:
        """0 trust or normalised, 1 reject, 3 unproven."""
        return EXIT_CODES[self.verdict]


def verify_foreign(
    folder: Path, options: ForeignOptions, progress: Progress | None = None
) -> ForeignVerification:
    """Verify shards that tokenlab did not build.

    Raises InputError for a folder without validation shards, or evidence that cannot be
    read or does not fit together; what the evidence shows is a result, not an error.
    """
    return _ForeignRun(folder, options, progress or Progress()).run()


class _ForeignRun:
    def __init__(self, folder: Path, options: ForeignOptions, progress: Progress) -> None:
        self.folder = folder
        self.options = options
        self.progress = progress
        self.shards: ForeignShards = find_shards(folder)
        self.scheme = _open_scheme(options)
        self.tallies = new_tallies()
        self.causes: list[str] = []
        self.missing: list[str] = []
        self.accounting: Accounting = "none"
        table = None
        segmenter = self.scheme.segmenter if self.scheme else None
        if options.byte_table is not None:
            if segmenter is None:
                raise InputError("--byte-table needs --tokenizer FILE: it is a table over its ids")
            table = read_byte_table(options.byte_table, segmenter.vocab_size)
            self.accounting = "byte table"
        elif self.shards.sidecars["val"]:
            self.accounting = "sidecar"
        elif isinstance(segmenter, SentencePieceSegmenter):
            table = stock_table(segmenter)
            self.accounting = "stock table"
        self.table = table
        self.source = _open_source(options)
        self.claim = read_claim(options.log) if options.log is not None else None
        self.corrected_bpb: float | None = None

    def run(self) -> ForeignVerification:
        self._check_files()
        evidence = Evidence(self.scheme, self.table, self.source, self.tallies, self.causes)
        val = self._read_split("val", evidence)
        if val is not None and self.source is not None:
            val.compare_counts(self.options.val_docs or 0)
        train = self._read_split("train", evidence)
        if train is not None and self.source is not None:
            train.finish_train()
        self._check_reference(val)
        self._check_lint()
        self._check_claim(val)
        self._say_what_is_missing(val)
        return self._result(val)

    def _check_files(self) -> None:
        tally = self.tallies["shards"]
        self.readable = check_containers(self.shards, tally)
        if tally.failure is not None:
            self.causes.append(str(tally.failure))
        glob = self.tallies["glob"]
        glob.count = sum(len(files) for files in self.shards.tokens.values())
        if self.shards.beside:
            name = self.shards.beside[0].name
            glob.fail(
                Failure(
                    "the stock glob fineweb_val_*.bin matches the sidecar and would train on it", file=name
                )
            )

    def _read_split(self, split: Split, evidence: Evidence) -> ForeignSplit | None:
        """Read one split; None when it cannot be read document by document."""
        files = self.shards.tokens[split]
        if not files:
            return None
        if not self.readable[split] or self.scheme is None:
            return None
        total = sum(path.stat().st_size // 2 for path in files)
        self.progress.start(split, total, "tokens")
        check = ForeignSplit(split, evidence)
        done = 0
        try:
            # A table that was given is what is judged, even where a sidecar lies about.
            sidecars = self.shards.sidecars[split] if self.accounting == "sidecar" else []
            for batch in read_documents(files, sidecars, self.scheme.segmenter.bos):
                check.batch(batch)
                done += len(batch.ids.values) + len(batch.ids)
                self.progress.advance(done, f"document {batch.first + len(batch.ids):,}")
                if check.stopped:
                    break
        except DocumentError as error:
            failure = Failure(
                error.message,
                split=split,
                document=0,
                token=0,
                expected=error.expected,
                found=error.found,
            )
            self.tallies["shards"].fail(failure)
            self.causes.append(f"no BOS opens the documents, so they cannot be told apart; first: {failure}")
            check.stopped = True
        self.progress.finish()
        check.finish()
        return check

    def _check_reference(self, val: ForeignSplit | None) -> None:
        tally = self.tallies["references"]
        if self.options.val_docs != REFERENCE_DOCUMENTS or val is None or val.book.found is None:
            tally.missing = "the source is not the 50,000 documents whose totals are published"
            return
        tally.count = 1
        if val.book.found not in REFERENCE_TOTALS:
            tally.fail(
                Failure(
                    "validation bytes", expected=" or ".join(map(str, REFERENCE_TOTALS)), found=val.book.found
                )
            )

    def _check_claim(self, val: ForeignSplit | None) -> None:
        """The log's claim, and the BPB that its loss, or a loss given, really is."""
        if val is None or val.stopped:
            if self.claim is not None:
                skip(self.tallies, ["log", "code"], "validation could not be read")
            return
        loss, targets = self.options.loss, val.tokens - 1
        if self.claim is not None:
            cause = check_claim(self.claim, val, self.tallies["log"], self.tallies["code"])
            self.causes += [cause] if cause else []
            if self.claim.pair is not None:
                loss, targets = self.claim.pair.loss, self.claim.targets or targets
        source_bytes = val.source_bytes_of_targets(targets) if self.source is not None else None
        if loss is not None and source_bytes:
            self.corrected_bpb = true_bpb(loss, targets, source_bytes)

    def _check_lint(self) -> None:
        if self.scheme is None:
            return
        warnings = lint_tokenizer(self.scheme.segmenter)
        tally = self.tallies["lint"]
        tally.count = 9
        if warnings:
            tally.fail(Failure("; ".join(warnings)))

    def _say_what_is_missing(self, val: ForeignSplit | None) -> None:
        read = [
            "sums",
            "roundtrip",
            "monotone",
            "recount",
            "operators",
            "characters",
            "specials",
            "split",
            "tokenizer",
        ]
        if self.scheme is None:
            self.missing.append("the tokenizer (--tokenizer FILE): ids cannot be read")
            skip(self.tallies, [*read, "ids", "table", "lint"], "no tokenizer given")
        if self.source is None:
            self.missing.append(
                "the documents (--docs PATH --val-docs N): nothing can be held against the source"
            )
            skip(
                self.tallies,
                ["sums", "roundtrip", "monotone", "recount", "operators", "characters", "split"],
                "no documents given",
            )
        if self.scheme is not None and self.accounting == "none":
            self.missing.append("charges: there is no sidecar and no byte table")
        skip(self.tallies, [*read, "ids", "table"], "the shards cannot be read that far")
        skip(self.tallies, ["log", "code"], "no log given")

    def _result(self, val: ForeignSplit | None) -> ForeignVerification:
        failed = [n for n, t in self.tallies.items() if t.failure is not None and n not in WARNINGS]
        lost = val.lost if val is not None else Counter[str]()
        lossless = val.lossless_documents if val is not None and self.source is not None else None
        verdict: Overall
        if failed:
            verdict = "reject"
        elif self.missing or val is None:
            verdict = "unproven"
        elif lossless == val.documents and not val.unattributed:
            verdict = "trust"
        else:
            verdict = "normalised"
        source_bytes = val.source_bytes if val is not None and self.source is not None else None
        charged = val.book.found if val is not None else None
        return ForeignVerification(
            schema="tokenlab-foreign-verification-1",
            dataset=str(self.folder),
            transform=self.options.transform,
            accounting=self.accounting,
            verdict=verdict,
            causes=tuple(dict.fromkeys(self.causes)),
            warnings=self._warnings(val),
            missing=tuple(self.missing),
            invariants=tuple(judge(tally) for tally in self.tallies.values()),
            documents=val.documents if val is not None else None,
            tokens=self._count_tokens(),
            source_bytes=source_bytes,
            charged_bytes=charged,
            unattributed_bytes=val.unattributed if source_bytes is not None and val is not None else None,
            correction_factor=charged / source_bytes if charged is not None and source_bytes else None,
            corrected_bpb=self.corrected_bpb,
            lossless_documents=lossless,
            lost_bytes={name: lost[name] for name in CLASSES if lost[name]},
        )

    def _count_tokens(self) -> int | None:
        """Tokens of validation by the shards' headers."""
        try:
            return sum(read_header(path)[1] for path in self.shards.tokens["val"])
        except ShardError:
            return None

    def _warnings(self, val: ForeignSplit | None) -> tuple[str, ...]:
        warnings = [
            str(self.tallies[name].failure) for name in sorted(WARNINGS) if self.tallies[name].failure
        ]
        return (*(val.warnings() if val is not None else ()), *warnings)


def _open_scheme(options: ForeignOptions) -> Scheme | None:
    if options.tokenizer is None:
        return None
    operators: dict[Transform, tuple[str | dict[str, object], ...]] = {
        "identity": (),
        "caseops-v1": ({"name": "caseops", "escape_metaspace": False},),
        "caseops": ({"name": "caseops", "escape_metaspace": True},),
    }
    segmenter: ByteLevelSpec | SentencePieceSpec
    if options.tokenizer.suffix == ".json":
        segmenter = ByteLevelSpec()
    else:
        segmenter = SentencePieceSpec(normalization="model")
    spec = SchemeSpec(name=options.transform, segmenter=segmenter, operators=operators[options.transform])
    try:
        return Scheme(spec, read_vocabulary_file(options.tokenizer))
    except InputError as error:
        raise InputError(f"{options.tokenizer}: {error}") from error


def _open_source(options: ForeignOptions) -> SourceDocuments | None:
    if options.docs is None:
        return None
    if options.val_docs is None or options.val_docs < 1:
        raise InputError("--docs needs --val-docs N: how many of them, from the first on, are validation")
    return SourceDocuments(
        open_corpus(list(options.docs), text_field=options.text_field), options.val_docs, drop_twins=False
    )
