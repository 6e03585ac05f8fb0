"""What a screen was asked to do, and the folder that keeps what is done of it.

OUTPUT/plan.json                   what every score depends on
OUTPUT/screen.json                 the ranking, when all schemes are done
OUTPUT/schemes/NAME/scheme.toml    a scheme with its vocabulary in tokenizer/, as in a dataset
OUTPUT/schemes/NAME/score.json     there when the scheme is done
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

import tokenlab
from shards import remove_leftovers, write_atomically
from tokenlab.errors import InputError
from tokenlab.scheme import Scheme
from tokenlab.scheme_spec import SchemeSpec, open_scheme_spec
from tokenlab.screen.ngram import DISCOUNTS
from tokenlab.screen.scoring import SchemeScore, order_of

SCREEN_FILE, SCORE_FILE, PLAN_FILE = "screen.json", "score.json", "plan.json"
METHOD = f"Kneser-Ney, adaptive, discounts {DISCOUNTS}"
"""Part of a plan, so that scores of another model are never taken for this one's."""


@dataclass(frozen=True)
class ScreenOptions:
    """What the command line gives; `workers`: schemes at a time."""

    schemes: tuple[str, ...]
    output: Path
    inputs: tuple[str, ...] | None
    text_field: str
    limit_docs: int | None
    holdout_docs: int | None
    vocab_size: int
    workers: int


class ScreenPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What every score of a screen depends on. `holdout_docs`: None where sha256 decides."""

    method: str
    corpus: dict[str, Any]
    documents_sha256: str
    holdout_docs: int | None
    train_documents: int
    train_bytes: int
    documents: int
    source_bytes: int
    vocab_size: int


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scheme that is done: what was asked, and what came out."""

    asked: str
    score: SchemeScore


def open_specs(options: ScreenOptions) -> list[SchemeSpec]:
    """The schemes at the vocabulary size. Raises InputError for one that cannot be trained, or names
    that are not distinct file names."""
    specs: dict[str, SchemeSpec] = {}
    for given in options.schemes:
        spec = open_scheme_spec(given)
        if spec.needs_vocabulary and not spec.is_trainable:
            raise InputError(
                f"scheme {given} takes a published vocabulary; a screen trains each on the same documents, "
                "so give a scheme that can be trained"
            )
        if not spec.name or spec.name.startswith(".") or any(c in spec.name for c in "/\\\0"):
            raise InputError(f"scheme {given}: its name {spec.name!r} cannot name a folder; change `name`")
        if spec.name in specs:
            raise InputError(f"scheme {given}: the name {spec.name!r} is given twice; change one's `name`")
        specs[spec.name] = spec.with_vocab_size(options.vocab_size) if spec.is_trainable else spec
    return list(specs.values())


class ScreenFolder:
    """The output folder of a plan. Raises InputError when it holds another plan's screen, or is not one."""

    def __init__(self, folder: Path, plan: ScreenPlan) -> None:
        self.folder, self.plan = folder, plan
        stored = folder / PLAN_FILE
        try:
            if stored.exists():
                self._require_same(msgspec.json.decode(stored.read_bytes(), type=ScreenPlan))
                remove_leftovers(folder)
                return
            if folder.exists() and not _is_unused(folder):
                raise InputError(f"{folder} exists and holds no screen; give another --output")
            folder.mkdir(parents=True, exist_ok=True)
            _write(stored, msgspec.json.format(msgspec.json.encode(plan)))
        except OSError as error:
            raise InputError(f"--output {folder}: {error.strerror}") from error
        except msgspec.MsgspecError as error:
            raise InputError(f"{stored}: {error}; give another --output") from error

    def _require_same(self, stored: ScreenPlan) -> None:
        for name, what in (
            ("method", "by another version of tokenlab"),
            ("vocab_size", f"with a vocabulary size of {stored.vocab_size:,}"),
            # The same documents, split alike, may come from files of other names.
            ("documents_sha256", "of other documents, or another hold-out"),
        ):
            if getattr(stored, name) != getattr(self.plan, name):
                raise InputError(f"{self.folder} holds a screen {what}; give another --output")

    def kept(self, spec: SchemeSpec) -> SchemeScore | None:
        """A score of this very scheme, or None. Raises InputError for a file that is not one."""
        path = self._of(spec) / SCORE_FILE
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=Kept)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from error
        except msgspec.MsgspecError as error:
            raise InputError(f"{path}: {error}; remove it, and the scheme is scored again") from error
        return kept.score if kept.asked == self._asked(spec) else None

    def keep(self, spec: SchemeSpec, scheme: Scheme, score: SchemeScore) -> None:
        """Store a scheme that is done; its score last. Raises InputError."""
        folder = self._of(spec)
        try:
            (folder / "tokenizer").mkdir(parents=True, exist_ok=True)
            (folder / SCORE_FILE).unlink(missing_ok=True)
            _write(folder / "scheme.toml", scheme.spec.to_toml().encode())
            for name, data in scheme.segmenter.files.items():
                _write(folder / "tokenizer" / name, data)
            _write(folder / SCORE_FILE, msgspec.json.encode(Kept(self._asked(spec), score)))
        except OSError as error:
            raise InputError(f"--output {folder}: {error.strerror}") from error

    def finish(self, content: bytes) -> None:
        """Store the ranking. Raises InputError."""
        try:
            _write(self.folder / SCREEN_FILE, content)
        except OSError as error:
            raise InputError(f"--output {self.folder}: {error.strerror}") from error

    def _of(self, spec: SchemeSpec) -> Path:
        return self.folder / "schemes" / spec.name

    def _asked(self, spec: SchemeSpec) -> str:
        depends = [spec.to_toml(), order_of(spec), self.plan.documents_sha256, self.plan.method]
        depends += [spec.packages] if spec.packages else []
        return hashlib.sha256(json.dumps([*depends, tokenlab.__version__]).encode()).hexdigest()


def _is_unused(folder: Path) -> bool:
    """A folder in which nothing is whole: of a run that was killed at once."""
    return folder.is_dir() and all(entry.suffix == ".partial" for entry in folder.iterdir())


def _write(path: Path, content: bytes) -> None:
    with write_atomically(path) as file:
        file.write(content)
