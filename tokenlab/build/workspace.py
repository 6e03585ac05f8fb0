"""The folder a build works in: `OUTPUT.partial`, locked, resumable, renamed to OUTPUT at the end."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from shards import remove_leftovers, write_atomically
from tokenlab.build.plan import Plan
from tokenlab.errors import InputError
from tokenlab.manifest import MANIFEST_FILE, read_manifest

PLAN_FILE = "plan.json"
VOCABULARY_FILE = "vocabulary.json"
LOCK_FILE = "lock"
PARTS_FOLDER = "parts"


class Workspace:
    """Opened by `with`: takes the lock, refuses what it must, keeps what can be resumed.

    `resumed` tells whether an earlier run of the same plan left work here. Raises InputError
    when OUTPUT exists (without --force), another build holds the lock, or the folder holds
    a build of another plan (without --force).
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.output = plan.options.output
        self.folder = self.output.with_name(self.output.name + ".partial")
        self.parts = self.folder / PARTS_FOLDER
        self.resumed = False
        self._lock = FileLock(self.folder / LOCK_FILE)

    def __enter__(self) -> Workspace:
        check_output(self.output, force=self.plan.options.force)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise InputError(
                f"{self.output}: another build is writing it (it holds {self._lock.lock_file})"
            ) from error
        try:
            self._resume_or_start()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        # Bad input cannot be resumed: it must change, and then the plan is another.
        if kind is not None and issubclass(kind, InputError):
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()

    def _resume_or_start(self) -> None:
        stored = self.folder / PLAN_FILE
        content = self.plan.to_json()
        if stored.exists() and stored.read_text() == content:
            self.resumed = True
        else:
            if stored.exists() and not self.plan.options.force:
                raise Unresumable(
                    self.folder, _differences(json.loads(stored.read_text()), json.loads(content))
                )
            _empty(self.folder, keep=LOCK_FILE)
        self.parts.mkdir(exist_ok=True)
        for folder in (self.folder, self.parts):
            remove_leftovers(folder)
        if not self.resumed:
            with write_atomically(stored) as file:
                file.write(content.encode())

    def publish(self) -> None:
        """Drop what only the build needed and rename the folder to OUTPUT; the manifest is there."""
        shutil.rmtree(self.parts)
        for name in (PLAN_FILE, VOCABULARY_FILE, LOCK_FILE):
            (self.folder / name).unlink(missing_ok=True)
        replaced = self.output.with_name(f"{self.output.name}.{os.getpid()}.replaced")
        if self.output.exists():
            self.output.rename(replaced)
        self.folder.rename(self.output)
        shutil.rmtree(replaced, ignore_errors=True)


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


def _empty(folder: Path, *, keep: str) -> None:
    for entry in folder.iterdir():
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
