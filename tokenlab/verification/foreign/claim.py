"""What a training log claims of a dataset: a loss, a BPB, and so a number of bytes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from tokenlab.accounting.log_reader import Pair, read_log
from tokenlab.accounting.verdicts import Failure
from tokenlab.errors import InputError
from tokenlab.verification.foreign.conventions import TAIL_TOKENS
from tokenlab.verification.foreign.split import ForeignSplit
from tokenlab.verification.tally import Tally

_SIDECAR = re.compile(r"sidecar\W{0,3}(enabled|disabled|on|off|true|false|missing)", re.IGNORECASE)
_OFF = frozenset({"disabled", "off", "false", "missing"})


@dataclass(frozen=True)
class Claim:
    """The final pair of a log, the targets it was scored over if the log says so, and whether
    it says that the byte sidecar was in use."""

    file: str
    pair: Pair | None
    targets: int | None
    sidecar: bool | None


def read_claim(path: Path) -> Claim:
    """Read a log. Raises InputError when it cannot be read."""
    try:
        reading = read_log(path)
        said = _SIDECAR.findall(path.read_text(errors="replace"))
    except OSError as error:
        raise InputError(f"{path}: cannot read the log: {error.strerror}") from error
    sidecar = said[-1].lower() not in _OFF if said else None
    return Claim(str(path), reading.final, reading.targets_at(reading.final), sidecar)


def check_claim(claim: Claim, val: ForeignSplit, log: Tally, code: Tally) -> str | None:
    """Judge invariants 16 and 17; the cause when the bytes are others."""
    _check_code(claim, val, code)
    if claim.pair is None:
        log.missing = f"{claim.file} has no loss and BPB pair"
        return None
    if val.book.found is None:
        log.missing = "there are no charges to hold the log against"
        return None
    log.count = 1
    full = val.tokens - 1  # the first token is never a target
    targets = claim.targets if claim.targets is not None else full
    if not full - TAIL_TOKENS <= targets <= full:
        log.fail(
            Failure("targets that the log scored", file=claim.file, split="val", expected=full, found=targets)
        )
        return f"the log scores {targets:,} targets, the shards have {full:,}"
    charged = val.charged_of_targets(targets)
    low, high = (targets * ratio for ratio in claim.pair.interval)
    log.detail = (
        f"line {claim.pair.line} implies {targets * claim.pair.ratio:,.0f} bytes over {targets:,} targets"
    )
    if low <= charged + 0.5 and charged - 0.5 <= high:
        return None
    failure = Failure(
        "the log's loss and BPB imply other bytes than are charged",
        file=claim.file,
        expected=charged,
        found=round(targets * claim.pair.ratio),
    )
    log.fail(failure)
    return str(failure)


def _check_code(claim: Claim, val: ForeignSplit, code: Tally) -> None:
    code.count = 1
    operators = val.book.conventions["normal form"].statistics.tokens[0]
    if claim.sidecar is False and operators:
        code.fail(
            Failure(f"the log says the sidecar was not in use, but validation has {operators:,} operators")
        )


def true_bpb(loss: float, targets: int, source_bytes: int) -> float:
    """Bits per source byte of a mean loss in nats over `targets`."""
    return loss * targets / (math.log(2) * source_bytes)
