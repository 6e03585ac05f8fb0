"""`tokenlab import`: a foreign dataset that passed `verify`, made a dataset of tokenlab.

Its evidence is at hand, so nothing needs to be taken on trust: the dataset is built again
from the source with the foreign tokenizer, and imported only if every token is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards import open_shard, read_header
from tokenlab.build import BuildOptions, BuildReport, build, make_plan
from tokenlab.errors import InputError
from tokenlab.manifest import SPLITS
from tokenlab.progress import Progress
from tokenlab.scheme import Scheme
from tokenlab.scheme_spec import open_scheme_spec
from tokenlab.segment.segmenter import read_vocabulary_file
from tokenlab.verification import ForeignOptions, ForeignVerification, verify_foreign
from tokenlab.verification.foreign.layout import find_shards

COMPARED_TOKENS = 1 << 22


class ImportRefused(InputError):
    """The foreign dataset did not pass, or cannot be made again token for token."""

    exit_code = 1


def import_dataset(
    folder: Path,
    evidence: ForeignOptions,
    output: Path,
    *,
    workers: int = 1,
    force: bool = False,
    progress: Progress | None = None,
) -> tuple[ForeignVerification, BuildReport]:
    """Verify shards in the field's layout and make them a dataset at `output`.

    Raises InputError where evidence is missing, ImportRefused where it speaks against them.
    """
    progress = progress or Progress()
    if evidence.tokenizer is None or evidence.docs is None or evidence.val_docs is None:
        raise InputError("import needs --tokenizer, --docs and --val-docs: all documents, train's too")
    judged = verify_foreign(folder, evidence, progress)
    if judged.verdict not in ("trust", "normalised"):
        reasons = "; ".join(judged.causes or judged.missing)
        raise ImportRefused(f"{folder}: verify says {judged.verdict}: {reasons}")
    first = find_shards(folder).tokens["train"] or find_shards(folder).tokens["val"]
    plan = make_plan(
        BuildOptions(
            scheme=_scheme_for(evidence),
            output=output,
            inputs=evidence.docs,
            text_field=evidence.text_field,
            val_docs=evidence.val_docs,
            tokenizer=evidence.tokenizer,
            shard_tokens=read_header(first[0])[1],
            workers=workers,
            force=force,
        )
    )
    record = {
        "verdict": judged.verdict,
        "accounting": judged.accounting,
        "correction_factor": judged.correction_factor,
        "warnings": list(judged.warnings),
    }
    report = build(
        replace(plan, imported=record), progress, accept=lambda made: _require_same_tokens(folder, made)
    )
    return judged, report


def _scheme_for(evidence: ForeignOptions) -> str:
    """The built-in scheme that makes the same ids: a lossless one where the tokenizer is."""
    if evidence.tokenizer is None:
        raise InputError("import needs --tokenizer")
    if evidence.tokenizer.suffix == ".json":
        return "byte-bpe"
    if evidence.transform != "caseops":
        return "bpe-v1" if evidence.transform == "identity" else evidence.transform
    Scheme(open_scheme_spec("caseops"), read_vocabulary_file(evidence.tokenizer))
    return "caseops"


def _require_same_tokens(foreign: Path, made: Path) -> None:
    theirs, ours = find_shards(foreign), find_shards(made)
    for split in SPLITS:
        at = 0
        for a, b in zip(_stream(theirs.tokens[split]), _stream(ours.tokens[split]), strict=False):
            same = min(len(a), len(b))
            different = np.flatnonzero(a[:same] != b[:same])
            if len(different) or len(a) != len(b):
                token = at + (int(different[0]) if len(different) else same)
                raise ImportRefused(
                    f"{foreign}: built again from the documents, token {token:,} of {split} is another one"
                )
            at += same
        for name, files in (("foreign", theirs.tokens[split]), ("rebuilt", ours.tokens[split])):
            if sum(read_header(path)[1] for path in files) != at:
                raise ImportRefused(f"{foreign}: the {name} {split} has more than {at:,} tokens")


def _stream(shards: list[Path]) -> Iterator[NDArray[Any]]:
    """The tokens of consecutive shards in equal pieces, wherever the shards are cut."""
    held: list[NDArray[Any]] = []
    size = 0
    for path in shards:
        values = open_shard(path)
        for start in range(0, len(values), COMPARED_TOKENS):
            piece = values[start : start + COMPARED_TOKENS - size]
            rest = values[start + len(piece) : start + COMPARED_TOKENS]
            held.append(piece)
            size += len(piece)
            if size == COMPARED_TOKENS:
                yield np.concatenate(held)
                held, size = ([rest], len(rest)) if len(rest) else ([], 0)
    if held:
        yield np.concatenate(held)
