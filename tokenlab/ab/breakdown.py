"""Where the bits go: the arms' scores by class of token and by class of document."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from tokenlab.ab.classes import (
    TOKEN_CLASSES,
    ValidationTokens,
    class_totals,
    document_classes,
)
from tokenlab.ab.facts import ColumnName
from tokenlab.ab.measured import Measured, read_token_nats
from tokenlab.dataset import Dataset
from tokenlab.segment.spelling import spell


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class TokenClass(_Table, frozen=True, kw_only=True):
    """One class of an arm's scored tokens: how many, the source bytes charged to them, and their nats
    over the arm's runs (the mean) as bits per byte of the whole text. So an arm's classes sum to its
    score, and their differences to its difference."""

    name: str
    tokens: int
    bytes: int
    bits_per_byte: float


class ArmTokens(_Table, frozen=True, kw_only=True):
    """An arm in a column, by class of token in the order of TOKEN_CLASSES."""

    arm: str
    column: ColumnName
    classes: tuple[TokenClass, ...]


class ArmOnDocuments(_Table, frozen=True, kw_only=True):
    """An arm's mean score on a class of documents, bits per byte."""

    arm: str
    column: ColumnName
    bpb: float


class DocumentScores(_Table, frozen=True, kw_only=True):
    """A class of documents (see `tokenlab.ab.classes.DocumentClass`) and what each arm scores on it."""

    feature: str
    low: float
    high: float
    documents: int
    bytes: int
    scores: tuple[ArmOnDocuments, ...]


def by_token_class(runs: Sequence[Measured], tokens: ValidationTokens, documents: slice) -> ArmTokens | None:
    """An arm's runs of one column by class of token, over these documents; None unless all of them kept
    their tokens' nats. Raises InputError as `read_token_nats`."""
    kept = [read_token_nats(run, len(tokens.classes)) for run in runs]
    found = [nats for nats in kept if nats is not None]
    if len(found) < len(runs):
        return None
    part = _part(tokens, documents)
    within = ValidationTokens(
        classes=tokens.classes[part], charges=tokens.charges[part], starts=tokens.starts[documents]
    )
    totals = [class_totals(within, nats[part]) for nats in found]
    bytes_of_all = math.log(2) * int(runs[0].sizes[documents].sum())
    classes = tuple(
        TokenClass(
            name=name,
            tokens=totals[0][index][0],
            bytes=totals[0][index][1],
            bits_per_byte=math.fsum(total[index][2] for total in totals) / len(totals) / bytes_of_all,
        )
        for index, name in enumerate(TOKEN_CLASSES)
    )
    return ArmTokens(arm=runs[0].facts.arm, column=runs[0].facts.column, classes=classes)


def by_document_class(
    arms: Sequence[Sequence[Measured]], sources: Sequence[bytes], documents: slice
) -> tuple[DocumentScores, ...]:
    """Each arm's runs of one column on each class of these documents; `sources` are all of the split."""
    first = range(len(sources))[documents].start
    found = []
    for entry in document_classes(sources[documents]):
        members = np.array(entry.documents) + first
        scores = tuple(
            ArmOnDocuments(arm=runs[0].facts.arm, column=runs[0].facts.column, bpb=_bpb(runs, members))
            for runs in arms
        )
        found.append(
            DocumentScores(
                feature=entry.feature,
                low=entry.low,
                high=entry.high,
                documents=len(members),
                bytes=sum(len(sources[d]) for d in members.tolist()),
                scores=tuple(score for score in scores if math.isfinite(score.bpb)),
            )
        )
    return tuple(found)


def validation_sources(dataset: Dataset) -> list[bytes]:
    """The validation documents as the ids spell them: the source, or the scheme's normal form."""
    sources: list[bytes] = []
    for batch in dataset.batches("val"):
        text = spell(batch.ids, dataset.scheme.segmenter.token_bytes)
        sources += dataset.scheme.read_back(text).tobytes()
    return sources


def _bpb(runs: Sequence[Measured], members: NDArray[np.int64]) -> float:
    """Mean over the runs; NaN where the documents are charged nothing."""
    size = int(runs[0].sizes[members].sum())
    total = math.fsum(math.fsum(run.nats[members]) for run in runs) / len(runs)
    return total / (math.log(2) * size) if size else math.nan


def _part(tokens: ValidationTokens, documents: slice) -> slice:
    """The tokens of these documents."""
    bounds = np.append(tokens.starts, len(tokens.classes))
    start, stop, _ = documents.indices(len(tokens.starts))
    return slice(int(bounds[start]), int(bounds[stop]))
