"""The arms' datasets: built where they are given as schemes, and verified always.

ab/datasets/ARM/        a dataset that `tokenlab build` would have made
ab/verdicts/ARM.json    what `tokenlab verify --json` says of it, and the digest of its manifest
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec

from shards import write_atomically
from tokenlab.ab.plan import ArmPlan, Plan
from tokenlab.build import BuildOptions, build, make_plan
from tokenlab.errors import InputError, TokenlabError
from tokenlab.manifest import MANIFEST_FILE
from tokenlab.progress import Progress
from tokenlab.verification import verify


class StoredVerdict(msgspec.Struct, frozen=True):
    """As much of a stored verdict as decides. `folder` is where the dataset was, absolute (empty: not
    recorded)."""

    manifest_sha256: str
    verdict: str
    verdicts: list[dict[str, Any]]
    folder: str = ""

    @property
    def failure(self) -> str:
        """The first thing that does not hold, or could not be judged."""
        for holds in (False, None):
            for one in self.verdicts:
                if one["holds"] is holds and (holds is False or one["name"] != "reversible"):
                    return str((one.get("failure") or {}).get("message") or one["detail"])
        return ""


def dataset_of(folder: Path, arm: ArmPlan) -> Path:
    """Where an arm's dataset is, or will be. A plan's relative path starts here, or where it was verified."""
    if arm.dataset is None:
        return folder / "datasets" / arm.name
    here = Path(arm.dataset)
    stored = None if (here / MANIFEST_FILE).exists() else read_verdict(folder, arm.name)
    return Path(stored.folder) if stored is not None and stored.folder else here


def manifest_sha256(dataset: Path) -> str:
    """Digest of the manifest, which names every other file's. Raises InputError when there is none."""
    path = dataset / MANIFEST_FILE
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(
            f"{dataset}: no manifest.json, so it is not a (whole) dataset; make one with `tokenlab build`, "
            "or give the arm as --arm SCHEME"
        ) from error


def make_datasets(folder: Path, plan: Plan, arms: list[ArmPlan], progress: Progress) -> None:
    """Build those datasets of `arms` that are not there. Raises as `tokenlab build`."""
    for arm in arms:
        if arm.scheme is None or (dataset_of(folder, arm) / MANIFEST_FILE).exists():
            continue
        progress.note(f"arm {arm.name}: building its dataset")
        val_docs = plan.val_docs + plan.confirm_docs if plan.val_docs is not None else None
        options = BuildOptions(
            scheme=arm.scheme,
            output=dataset_of(folder, arm),
            inputs=plan.input,
            text_field=plan.text_field,
            limit_docs=plan.limit_docs,
            val_docs=val_docs,
            vocab_size=arm.vocab_size,
            tokenizer=Path(arm.tokenizer) if arm.tokenizer is not None else None,
            workers=plan.workers or len(os.sched_getaffinity(0)),
        )
        options.output.parent.mkdir(parents=True, exist_ok=True)
        try:
            build(make_plan(options), progress)
        except InputError as error:
            raise InputError(f"arm {arm.name}: {error}") from error


def verify_dataset(folder: Path, name: str, dataset: Path, plan: Plan, progress: Progress) -> StoredVerdict:
    """The verdict on an arm's dataset: the stored one if its manifest is still the same, else made now,
    against the plan's input where that was named."""
    path = folder / "verdicts" / f"{name}.json"
    digest = manifest_sha256(dataset)
    stored = read_verdict(folder, name)
    if stored is not None and stored.manifest_sha256 == digest:
        return stored
    progress.note(f"arm {name}: verifying {dataset}")
    result = verify(
        dataset,
        docs=list(plan.input) if plan.input is not None else None,
        text_field=plan.text_field if plan.input is not None else None,
        progress=progress,
    )
    record = {"manifest_sha256": digest, "folder": str(dataset.resolve())} | msgspec.to_builtins(result)
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as file:
        file.write(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    return msgspec.convert(record, StoredVerdict)


def read_verdict(folder: Path, name: str) -> StoredVerdict | None:
    """The stored verdict of an arm, if there is one."""
    path = folder / "verdicts" / f"{name}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=StoredVerdict)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise TokenlabError(f"{path}: not a verdict: {error}; remove it to verify again") from error
