"""Honest foreign datasets to judge and to damage, shared by the tests of verify and import."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from shards import FORMATS, open_shard, write_shard
from tests.command import write_jsonl
from tests.test_build import make
from tokenlab.verification.foreign import ForeignOptions, ForeignVerification, verify_foreign

VAL_DOCS = 6
TEXTS = [
    f"Document {n} of NASA's McDonald, with words of its own: {n * 7919} — naïve ½ {chr(0x4E00 + 37 * n)}.\n"
    * (n % 4 + 1)
    for n in range(30)
]
SIDECAR = "fineweb_val_bytes_000000.bin"
VAL = "fineweb_val_000000.bin"
TRAIN = "fineweb_train_000000.bin"


@dataclass(frozen=True)
class Case:
    """A foreign dataset and what a reviewer has with it."""

    folder: Path
    options: ForeignOptions

    def verify(self, **changes: object) -> ForeignVerification:
        return verify_foreign(self.folder, replace(self.options, **changes))

    def rewrite(self, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
        values = change(np.array(open_shard(self.folder / name)))
        write_shard(self.folder / name, FORMATS["uint16"], len(values), [values])


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    """Honest datasets by scheme, in the field's layout: the sidecar beside the shards, no manifest."""
    folder = tmp_path_factory.mktemp("foreign")
    documents = write_jsonl(folder / "docs.jsonl", TEXTS)
    made: dict[str, Case] = {}

    def case(scheme: str) -> Case:
        if scheme not in made:
            built, foreign = folder / f"{scheme}.built", folder / scheme
            make(built, documents, scheme, val_docs=VAL_DOCS, vocab_size=360)
            foreign.mkdir()
            for name in (VAL, TRAIN):
                shutil.copy(built / name, foreign)
            shutil.copy(built / "bytes" / SIDECAR, foreign)
            options = ForeignOptions(
                tokenizer=next((built / "tokenizer").iterdir()),
                transform="caseops" if scheme == "caseops" else "identity",
                docs=(str(documents),),
                val_docs=VAL_DOCS,
            )
            made[scheme] = Case(foreign, options)
        return made[scheme]

    return case


@pytest.fixture
def copied(tmp_path: Path, originals: Callable[[str], Case]) -> Callable[[str], Case]:
    """A copy to damage."""

    def case(scheme: str) -> Case:
        original = originals(scheme)
        return Case(Path(shutil.copytree(original.folder, tmp_path / scheme)), original.options)

    return case


def documents_of(ids: np.ndarray) -> list[np.ndarray]:
    """The documents of a shard, each with its BOS."""
    return np.split(ids, np.flatnonzero(ids == 1)[1:])
