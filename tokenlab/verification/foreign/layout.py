"""The files of a foreign dataset, in the field's own layout and without a manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shards import FORMATS, ShardError, ShardFormat, read_header
from tokenlab.accounting.verdicts import Failure
from tokenlab.errors import InputError
from tokenlab.manifest import SPLITS, Split
from tokenlab.verification.tally import Tally


@dataclass(frozen=True)
class ForeignShards:
    """Token shards and byte sidecars of each split, in name order. `beside`: sidecars that
    lie with the shards, where a stock trainer's glob finds them."""

    tokens: dict[Split, list[Path]]
    sidecars: dict[Split, list[Path]]
    beside: list[Path]


def find_shards(folder: Path) -> ForeignShards:
    """The `fineweb_{train,val}_*.bin` of a folder; sidecars lie there or in `bytes/`.

    Raises InputError for a folder without validation shards.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    tokens: dict[Split, list[Path]] = {}
    sidecars: dict[Split, list[Path]] = {}
    for split in SPLITS:
        found = sorted(folder.glob(f"fineweb_{split}_*.bin"))
        tokens[split] = [path for path in found if "_bytes_" not in path.name]
        sidecars[split] = sorted(
            [
                *(path for path in found if "_bytes_" in path.name),
                *folder.glob(f"bytes/fineweb_{split}_bytes_*.bin"),
            ]
        )
    if not tokens["val"]:
        raise InputError(f"{folder}: neither manifest.json nor fineweb_val_*.bin; it is no dataset")
    beside = [path for split in SPLITS for path in sidecars[split] if path.parent == folder]
    return ForeignShards(tokens, sidecars, beside)


def check_containers(shards: ForeignShards, tally: Tally) -> dict[Split, bool]:
    """Headers, sizes and the pairing of shards and sidecars; which splits can be read."""
    readable: dict[Split, bool] = {}
    for split in SPLITS:
        readable[split] = _check_split(shards.tokens[split], shards.sidecars[split], split, tally)
    return readable


def _check_split(tokens: list[Path], sidecars: list[Path], split: Split, tally: Tally) -> bool:
    headers = {path: _header(path, split, tally) for path in [*tokens, *sidecars]}
    good = all(headers.values())
    if sidecars and len(sidecars) != len(tokens):
        tally.fail(
            Failure("sidecars and shards do not pair", split=split, expected=len(tokens), found=len(sidecars))
        )
        return False
    for shard, sidecar in zip(tokens, sidecars, strict=False):
        ours, theirs = headers[shard], headers[sidecar]
        if theirs and theirs[0] is not FORMATS["uint16"]:
            tally.fail(Failure("a sidecar holds uint16", file=sidecar.name, split=split))
            good = False
        if ours and theirs and ours[1] != theirs[1]:
            what = "longer" if theirs[1] > ours[1] else "shorter"
            tally.fail(
                Failure(
                    f"the sidecar is {what} than its shard",
                    file=sidecar.name,
                    split=split,
                    expected=ours[1],
                    found=theirs[1],
                )
            )
            good = False
    return good


def _header(path: Path, split: Split, tally: Tally) -> tuple[ShardFormat, int] | None:
    tally.count += 1
    try:
        return read_header(path)
    except ShardError as error:
        message = str(error).removeprefix(f"{path}: ")
        tally.fail(Failure(message, file=path.name, split=split))
        return None
