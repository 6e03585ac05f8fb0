"""What an experiment's run folders hold beyond their facts: documents, tokens, curves, tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from tokenlab.ab.facts import RunFacts
from tokenlab.errors import InputError
from tokenlab.runs import Run, read_run

TOKEN_NATS = "token_nats.bin"
ROUNDING = 1e-6
"""Of a score, by which sums of float32 nats may differ from it."""


class _Documents(msgspec.Struct, frozen=True, kw_only=True):
    nats: list[float]
    nats_bos: list[float]
    bytes: list[int]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run, read. `nats` float64[documents] with BOS included, `sizes` int64[documents] are the
    source bytes charged, both over all validation documents; `signature` is the score's."""

    facts: RunFacts
    run: Run
    folder: Path
    nats: NDArray[np.float64]
    sizes: NDArray[np.int64]

    @property
    def signature(self) -> str:
        """Of the artifact's score."""
        return self.run.result.score.signature

    def bpb(self, documents: slice) -> float:
        """Bits per byte of some of the validation documents, BOS targets included."""
        return math.fsum(self.nats[documents]) / (math.log(2) * int(self.sizes[documents].sum()))


def read_measured(folder: Path, facts: RunFacts) -> Measured:
    """A whole run of the experiment in `folder`. Raises InputError for one that is not there, of another
    version, or whose documents do not sum to its score."""
    where = folder / facts.folder
    run = read_run(where)
    path = where / "documents.json"
    try:
        documents = msgspec.json.decode(path.read_bytes(), type=_Documents)
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(f"{path}: not what a run keeps of its documents: {error}") from error
    found = Measured(
        facts=facts,
        run=run,
        folder=where,
        nats=np.array(documents.nats, np.float64),
        sizes=np.array(documents.bytes, np.int64),
    )
    score = run.result.score
    if found.sizes.sum() != score.source_bytes or not math.isclose(found.bpb(slice(None)), score.bpb):
        raise InputError(f"{path}: its documents do not sum to the score in result.json; run it again")
    if facts.bpb is None or not math.isclose(facts.bpb, score.bpb):
        raise InputError(f"{where}: result.json is not the one that the experiment recorded; run it again")
    return found


def read_token_nats(run: Measured, tokens: int) -> NDArray[np.float32] | None:
    """Nats of each validation token, float32[tokens], NaN where it is no target; None where the run kept
    none. Raises InputError for a file that is not the score's."""
    path = run.folder / TOKEN_NATS
    if not path.exists():
        return None
    nats = np.fromfile(path, "<f4")
    total, score = float(np.nansum(nats, dtype=np.float64)), math.fsum(run.nats)
    if len(nats) != tokens or not math.isclose(total, score, rel_tol=ROUNDING):
        raise InputError(f"{path}: {len(nats):,} values that are not the score's; run it again")
    return nats


def require_one_signature(runs: Sequence[Measured]) -> None:
    """Raise InputError unless the runs of an arm have one signature."""
    first = runs[0]
    for run in runs[1:]:
        if run.signature != first.signature:
            raise InputError(
                f"arm {run.facts.arm}: scores with unequal signatures do not compare: {first.folder} has "
                f"{first.signature}, {run.folder} has {run.signature}"
            )
