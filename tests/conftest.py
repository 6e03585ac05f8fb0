"""What the tests share: the data beside the repository, and schemes with a small vocabulary."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import zstandard
from hypothesis import settings

from tests.foreign_case import copied, originals
from tests.trainer_case import tiny_dataset
from tokenlab.corpus import open_corpus
from tokenlab.inspection import NamedScheme
from tokenlab.scheme import Scheme
from tokenlab.scheme_spec import open_scheme_spec
from tokenlab.vocabulary import EMBEDDED_VAL_DOCS, sample_training_documents, train_vocabulary

__all__ = ["copied", "originals", "tiny_dataset"]

# The same examples in every run: a failure is a finding, never weather.
settings.register_profile("tokenlab", derandomize=True, deadline=None)
settings.load_profile("tokenlab")

# A shell that starts the tests in its background has them ignore Ctrl-C, as would what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

VOCAB_SIZE = 1024
LOSSLESS = ("bytes", "bpe", "byte-bpe", "caseops")
COMPOSED = ("caseops-alias", "caseops-before", "spaceops", "wordops", "wordops-auto")
"""Lossless schemes of several operators, or of variants of one."""
PUBLISHED = {
    "bpe-v1": "sp1024_official",
    "caseops-v1": "sp8192_caseops_v1_reserved",
}
"""The model that a scheme without a vocabulary of its own is tested with."""


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data and published tokenizers; a test that needs it is skipped without."""
    path = Path(__file__).parents[2] / "shared"
    if not path.is_dir():
        pytest.skip("needs shared/")
    return path


@pytest.fixture(scope="session")
def shared_texts(shared: Path) -> Callable[[str], list[str]]:
    """Texts of `shared/data/NAME.jsonl.zst`, read once."""

    @cache
    def texts(name: str) -> list[str]:
        packed = (shared / "data" / f"{name}.jsonl.zst").read_bytes()
        raw = zstandard.ZstdDecompressor().decompress(packed)
        return [json.loads(line)["text"] for line in raw.split(b"\n") if line]

    return texts


@pytest.fixture(scope="session")
def embedded() -> list[bytes]:
    """Training documents of the embedded corpus."""
    return sample_training_documents(open_corpus(None), val_docs=EMBEDDED_VAL_DOCS, seed=0).documents


@pytest.fixture(scope="session")
def small_scheme(embedded: list[bytes]) -> Callable[[str], Scheme]:
    """A built-in lossless scheme with VOCAB_SIZE ids of the embedded corpus, by name."""

    @cache
    def scheme(name: str) -> Scheme:
        spec = open_scheme_spec(name)
        if not spec.needs_vocabulary:
            return Scheme(spec)
        spec = spec.with_vocab_size(VOCAB_SIZE)
        return Scheme(spec, train_vocabulary(spec, embedded))

    return scheme


@pytest.fixture(scope="session")
def named(small_scheme: Callable[[str], Scheme]) -> Callable[[str], NamedScheme]:
    """`small_scheme` as `inspect` takes it."""
    return lambda name: NamedScheme(name, small_scheme(name), "small")


@pytest.fixture(scope="session", params=LOSSLESS)
def lossless(request: pytest.FixtureRequest, small_scheme: Callable[[str], Scheme]) -> Scheme:
    """Every built-in lossless scheme in turn."""
    return small_scheme(request.param)


@pytest.fixture(scope="session")
def caseops(small_scheme: Callable[[str], Scheme]) -> Scheme:
    """`caseops` with a small vocabulary."""
    return small_scheme("caseops")


@pytest.fixture(scope="session")
def published_scheme(shared: Path) -> Callable[[str, str], Scheme]:
    """A scheme by name with a model of `shared/tokenizers`, by name."""

    @cache
    def scheme(name: str, model: str) -> Scheme:
        return Scheme(open_scheme_spec(name), (shared / "tokenizers" / f"{model}.model").read_bytes())

    return scheme


@pytest.fixture(scope="session", params=PUBLISHED)
def normalising(request: pytest.FixtureRequest, published_scheme: Callable[[str, str], Scheme]) -> Scheme:
    """Every scheme of a published vocabulary in turn."""
    return published_scheme(request.param, PUBLISHED[request.param])
