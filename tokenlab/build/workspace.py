"""The folder a build works in: `OUTPUT.partial`, locked and resumable.

    OUTPUT.partial/plan.json     what is built; a build of another plan is refused
                   lock          held by the build that runs
                   vocabulary.json, dataset/…     the dataset in the making
                   parts/PLAN/…, shards/PLAN/…    work that is done, by digest of the plan
                   replaced/     the dataset that --force replaces, for a moment

Publishing moves an old OUTPUT to `replaced`, then `dataset` to OUTPUT, then removes the
folder. Whatever moment it is killed at, the next run finds the datasets and goes on.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from shards import remove_leftovers, write_atomically
from tokenlab.build.engine import Job
from tokenlab.build.parts import ChangedInput
from tokenlab.build.plan import Plan
from tokenlab.errors import InputError, InputUnavailable
from tokenlab.manifest import MANIFEST_FILE, read_manifest

PLAN_FILE = "plan.json"
VOCABULARY_FILE = "vocabulary.json"
LOCK_FILE = "lock"
LOCK_SECONDS = 1.0
"""How long a lock is waited for: workers that were forked from a build hold it too, until they notice that it
was killed."""


class Workspace:
    """Opened by `with`: takes the lock, refuses what it must, keeps what can be resumed.

    `resumed`: an earlier run of the same plan left work here; `published`: it had done all
    of it but to clean up. `anew`: drop what is there. Raises InputError when OUTPUT exists
    (without --force), another build holds the lock, or the folder holds a build of another plan
    (without --force).
    """

    def __init__(self, plan: Plan, *, anew: bool = False) -> None:
        self.plan = plan
        self.output = plan.options.output
        self.folder = self.output.with_name(self.output.name + ".partial")
        # Workers may have another current folder.
        local = plan.options.engine.name == "local"
        self.job = Job(self.folder.resolve(), plan.digest, plan.options.seed, one_machine=local)
        self.anew = anew
        self.resumed = False
        self.published = False
        self._replaced = self.folder / "replaced"
        self._lock = FileLock(self.folder / LOCK_FILE)

    def __enter__(self) -> Workspace:
        if not self.folder.exists():
            check_output(self.output, force=self.plan.options.force)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=LOCK_SECONDS)
        except Timeout as error:
            raise InputError(
                f"{self.output}: another build is writing it (it holds {self._lock.lock_file})"
            ) from error
        try:
            self._recover()
            if not self.published:
                check_output(self.output, force=self.plan.options.force)
                self._resume_or_start()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InputError) and _is_final(error):
            (self.folder / PLAN_FILE).unlink(missing_ok=True)
            self._remove()
        self._lock.release()

    def _recover(self) -> None:
        """End a publication that was killed."""
        dataset = self.job.dataset
        if self._replaced.exists() and not self.output.exists():
            (dataset if (dataset / MANIFEST_FILE).exists() else self._replaced).rename(self.output)
        plan = self._stored_plan()
        # The dataset's folder is older than the plan, so only publishing takes it away.
        if plan is not None and not dataset.exists() and (self.output / MANIFEST_FILE).exists():
            self.published = plan == self.plan.to_json()
            _empty(self.folder, keep=LOCK_FILE)
        if self.published:
            self._remove()

    def _resume_or_start(self) -> None:
        content = self.plan.to_json()
        stored = self._stored_plan()
        self.resumed = stored == content and not self.anew
        if stored is not None and not self.resumed and not self.plan.options.force:
            raise Unresumable(self.folder, _differences(json.loads(stored), json.loads(content)))
        if not self.resumed:
            # First: a plan without its dataset would mean that it was published.
            (self.folder / PLAN_FILE).unlink(missing_ok=True)
            _empty(self.folder, keep=LOCK_FILE)
        for folder in (self.job.dataset, self.job.parts, self.job.shards):
            folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.folder)
        if not self.resumed:
            with write_atomically(self.folder / PLAN_FILE) as file:
                file.write(content.encode())

    def _stored_plan(self) -> str | None:
        try:
            return (self.folder / PLAN_FILE).read_text()
        except FileNotFoundError:
            return None

    def publish(self) -> None:
        """Move the dataset, which is whole, to OUTPUT, and drop what only the build needed."""
        if self.output.exists():
            self.output.rename(self._replaced)
        self.job.dataset.rename(self.output)
        self._remove()

    def _remove(self) -> None:
        """Remove the folder."""
        _empty(self.folder, keep=LOCK_FILE)
        shutil.rmtree(self.folder, ignore_errors=True)


class Unresumable(InputError):
    """The folder holds an unfinished build of another plan, which is kept."""

    def __init__(self, folder: Path, differences: list[str]) -> None:
        super().__init__(
            f"{folder} holds an unfinished build that differs: {'; '.join(differences)}. "
            "Run it as it was to finish it, or pass --force to start anew"
        )


def check_output(output: Path, *, force: bool) -> None:
    """Raise InputError when OUTPUT is there and must not be overwritten."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not output.is_dir() or not (output / MANIFEST_FILE).exists():
        raise InputError(
            f"{output} exists and is not a dataset; choose another --output or remove it yourself"
        )
    read_manifest(output)
    if not force:
        raise InputError(f"{output} exists; choose another --output or pass --force to replace it")


def _is_final(error: InputError) -> bool:
    """Whether the same build can never end well: a bad document, options that do not fit. Not an
    input that is out of reach: it may come back."""
    if isinstance(error, ChangedInput):
        return False
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputUnavailable | OSError):
            return False
        cause = cause.__cause__
    return True


def _empty(folder: Path, *, keep: str) -> None:
    """Remove everything but `keep`, the plan last."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name == PLAN_FILE):
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != keep:
            entry.unlink()


def _differences(old: Any, new: Any, name: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys([*old, *new])
        return [
            line
            for key in keys
            for line in _differences(old.get(key), new.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if old == new else [f"{name} was {json.dumps(old)}, is now {json.dumps(new)}"]
