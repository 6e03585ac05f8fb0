"""Controls: what must come out if the experiment is sound, and what must not.

control-same       the baseline once more, with other seeds: the difference must not be significant
control-permuted   the baseline's dataset with its ids permuted: nothing a model could know has changed,
                   so neither may the scores' distribution
control-512, control-1024   the baseline's scheme with so many ids: a difference that is known to be there
                   must be found
mutated sidecar    a copy of the baseline's dataset with one byte moved from one token to another, all
                   digests made right again: `tokenlab verify` must refuse it. It is not trained;
                   what was said of it is in verdicts/control-mutated.json.

The first three are TRAINER.md 4.2's; scores of a dataset whose charges are wrong are worth nothing,
whatever the statistics say, so the fourth guards the denominator.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from shards import format_for_vocabulary, open_shard, write_atomically, write_shard
from tokenlab.ab.comparable import GRANTED
from tokenlab.ab.datasets import dataset_of, make_datasets, verify_dataset
from tokenlab.ab.plan import CONTROL, ArmPlan, Plan
from tokenlab.dataset import Dataset
from tokenlab.errors import InputError, TokenlabError
from tokenlab.manifest import BOUNDARY_FOLDER, MANIFEST_FILE, Manifest, ShardRecord, SidecarRecord
from tokenlab.progress import Progress
from tokenlab.scheme_spec import open_scheme_spec

SAME, PERMUTED, MUTATED = f"{CONTROL}same", f"{CONTROL}permuted", f"{CONTROL}mutated"
SMALL, LARGE = 512, 1024
"""Ids of the positive control's vocabularies."""
PERMUTATION_SEED = 20_260_101
PLAIN = "bpe"
"""Scheme of the positive control where the baseline's has no vocabulary to train."""
FILE = "controls.json"


class ControlArm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A control that is trained, and the arm or control that it is held against."""

    name: str
    kind: Literal["same", "permuted", "positive"]
    against: str
    dataset: str


class Controls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`controls.json`. `left_out`: controls that this plan cannot have, and why."""

    arms: list[ControlArm]
    left_out: list[str]


def make_controls(folder: Path, plan: Plan, progress: Progress) -> Controls:
    """The controls of an experiment, their datasets made where they are not there. Raises TokenlabError
    when `verify` lets the mutated sidecar pass."""
    baseline = dataset_of(folder, plan.baseline)
    stored = read_controls(folder)
    if stored is not None:
        return stored
    progress.note("controls: permuting the baseline's ids, mutating its sidecar")
    permuted = folder / "datasets" / PERMUTED
    _anew(permuted, lambda path: permute_ids(baseline, path, PERMUTATION_SEED))
    arms = [
        ControlArm(name=SAME, kind="same", against=plan.baseline.name, dataset=str(baseline)),
        ControlArm(name=PERMUTED, kind="permuted", against=plan.baseline.name, dataset=str(permuted)),
    ]
    left_out = []
    scheme = _positive(plan)
    if scheme:
        pair = [vocabulary_arm(scheme, ids) for ids in (SMALL, LARGE)]
        try:
            make_datasets(folder, plan, pair, progress)
        except InputError as error:
            raise InputError(f"positive control, {error} (or give --no-controls)") from error
        arms += [
            ControlArm(
                name=arm.name,
                kind="positive",
                against=pair[0].name,
                dataset=str(dataset_of(folder, arm)),
            )
            for arm in pair
        ]
    else:
        left_out.append(
            f"positive control ({SMALL} ids against {LARGE:,}): the plan has no input to build it from"
        )
    check_mutation(folder, plan, baseline, progress)
    controls = Controls(arms=arms, left_out=left_out)
    with write_atomically(folder / FILE) as file:
        file.write(msgspec.json.format(msgspec.json.encode(controls), indent=1) + b"\n")
    return controls


def read_controls(folder: Path) -> Controls | None:
    """The controls of an experiment, if they were made."""
    path = folder / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Controls)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(f"{path}: not the controls of this version: {error}") from error


def vocabulary_arm(scheme: str, ids: int) -> ArmPlan:
    """One side of the positive control."""
    return ArmPlan(name=f"{CONTROL}{ids}", scheme=scheme, vocab_size=ids)


def check_mutation(folder: Path, plan: Plan, dataset: Path, progress: Progress) -> None:
    """Make the mutated copy, keep the verdict on it, and remove it. Raises TokenlabError when it passes."""
    copy = folder / "datasets" / MUTATED
    shutil.rmtree(copy, ignore_errors=True)
    moved = mutate_sidecar(dataset, copy)
    found = verify_dataset(folder, MUTATED, copy, plan, progress)
    shutil.rmtree(copy)
    if found.verdict in GRANTED:
        raise TokenlabError(
            f"{dataset}: `tokenlab verify` says {found.verdict} of a copy with {moved}; its verdicts "
            "cannot be relied on here. Please report this"
        )


def permute_ids(dataset: Path, copy: Path, seed: int) -> NDArray[np.int64]:
    """Write `dataset` to `copy` with its ids permuted; the permutation, int64[vocab_size] by old id.
    Ids that spell nothing (the specials) stay; sidecars are the same files."""
    opened = Dataset(dataset)
    lengths = opened.scheme.segmenter.token_bytes.lengths
    movable = np.flatnonzero(np.asarray(lengths) > 0)
    permutation = np.arange(opened.manifest.vocab_size, dtype=np.int64)
    permutation[movable] = np.random.default_rng(seed).permutation(movable)
    _copy(dataset, copy)

    def rewritten(shard: ShardRecord) -> ShardRecord:
        values = open_shard(dataset / shard.file)
        form = format_for_vocabulary(opened.manifest.vocab_size)
        digest = write_shard(copy / shard.file, form, len(values), [permutation[values].astype(form.dtype)])
        return msgspec.structs.replace(shard, sha256=digest, boundaries=None)

    fingerprint = hashlib.sha256(
        opened.manifest.scheme.fingerprint.encode() + permutation.astype("<i8").tobytes()
    ).hexdigest()
    scheme = msgspec.structs.replace(opened.manifest.scheme, fingerprint=fingerprint)
    # A boundary rule reads bytes, and the ids no longer say which.
    shutil.rmtree(copy / BOUNDARY_FOLDER, ignore_errors=True)
    manifest = msgspec.structs.replace(opened.manifest, scheme=scheme, boundaries=None)
    _publish(copy, _with_shards(manifest, rewritten))
    return permutation


def mutate_sidecar(dataset: Path, copy: Path) -> str:
    """Write `dataset` to `copy` with one byte of the first validation sidecar moved from one token of a
    document to the next, and every digest made right; what was moved, in words."""
    manifest = Dataset(dataset).manifest
    _copy(dataset, copy)
    shard = manifest.splits["val"].shards[0]
    if shard.sidecar is None:
        raise InputError(f"{dataset}: no byte sidecar for {shard.file}; build it again with `tokenlab build`")
    charges = np.array(open_shard(dataset / shard.sidecar.file))
    inside = np.array(open_shard(dataset / shard.file)) != manifest.bos_id
    places = np.flatnonzero((charges[:-1] > 0) & inside[:-1] & inside[1:])
    if not len(places):
        raise InputError(f"{dataset}: no document of two tokens in {shard.file}, so no byte to move")
    at = int(places[len(places) // 2])
    charges[at] -= 1
    charges[at + 1] += 1
    form = format_for_vocabulary(0)
    digest = write_shard(copy / shard.sidecar.file, form, len(charges), [charges.astype(form.dtype)])

    def rewritten(record: ShardRecord) -> ShardRecord:
        if record.file != shard.file or record.sidecar is None:
            return record
        return msgspec.structs.replace(record, sidecar=SidecarRecord(record.sidecar.file, digest))

    _publish(copy, _with_shards(manifest, rewritten))
    return f"a byte of token {at:,} moved to the next in {shard.sidecar.file}"


def _positive(plan: Plan) -> str | None:
    """The scheme whose vocabulary the positive control varies; None where it cannot be built."""
    if plan.baseline.scheme is None:
        return None
    return plan.baseline.scheme if open_scheme_spec(plan.baseline.scheme).is_trainable else PLAIN


def _anew(path: Path, make: Callable[[Path], object]) -> None:
    """A dataset at `path`, whole or not at all; one that is there stays."""
    if (path / MANIFEST_FILE).exists():
        return
    beside = path.with_name(path.name + ".partial")
    shutil.rmtree(beside, ignore_errors=True)
    make(beside)
    beside.rename(path)


def _copy(dataset: Path, copy: Path) -> None:
    """The dataset's files but its manifest; shared on the disk where that can be, as what is rewritten
    is replaced."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(dataset, copy, ignore=shutil.ignore_patterns(MANIFEST_FILE), copy_function=_link_or_copy)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _with_shards(manifest: Manifest, rewritten: Callable[[ShardRecord], ShardRecord]) -> Manifest:
    splits = {
        name: msgspec.structs.replace(split, shards=tuple(map(rewritten, split.shards)))
        for name, split in manifest.splits.items()
    }
    return msgspec.structs.replace(manifest, splits=splits)


def _publish(copy: Path, manifest: Manifest) -> None:
    with write_atomically(copy / MANIFEST_FILE) as file:
        file.write(manifest.to_json())
