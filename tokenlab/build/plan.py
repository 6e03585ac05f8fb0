"""The plan of a build: every option resolved, and everything that decides about the output."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import tokenlab
from tokenlab.boundaries.request import LOOKS_AHEAD
from tokenlab.build.engine import EngineOptions
from tokenlab.card import check_license
from tokenlab.corpus import Corpus, open_corpus
from tokenlab.errors import InputError
from tokenlab.scheme_spec import SchemeSpec, open_scheme_spec
from tokenlab.segment.segmenter import read_vocabulary_file
from tokenlab.vocabulary import EMBEDDED_VAL_DOCS

PART_BYTES = 24 << 20
"""Bytes of the rows of a part, lines of JSON or texts, at most (a longer one is a part of its own)."""

DIGEST_LETTERS = 16
"""Letters of a plan's digest in file names."""

SHARD_TOKENS = 100_000_000
"""Tokens of a shard, the field's default."""


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """What a user asks for; see `tokenlab build --help`. `workers` and `engine` do not show in the output."""

    scheme: str
    output: Path
    inputs: tuple[str, ...] | None = None
    text_field: str = "text"
    limit_docs: int | None = None
    val_docs: int | None = None
    vocab_size: int | None = None
    tokenizer: Path | None = None
    shard_tokens: int = SHARD_TOKENS
    train_bytes: bool = False
    workers: int = 1
    seed: int = 0
    force: bool = False
    on_bad_document: Literal["stop", "skip"] = "stop"
    license: str | None = None
    boundaries: str | None = None
    bytes_per_patch: float | None = None
    analysis_only: bool = False
    part_bytes: int = PART_BYTES
    engine: EngineOptions = field(default_factory=EngineOptions)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A build, resolved: the spec, the open corpus, the split, the given vocabulary if any;
    `imported` is what was found of a foreign dataset that this one is made again from."""

    spec: SchemeSpec
    corpus: Corpus
    val_docs: int
    tokenizer: bytes | None
    options: BuildOptions
    imported: dict[str, Any] | None = None

    @cached_property
    def record(self) -> dict[str, Any]:
        """Everything that decides about the output's bytes, as plain data; workers and the
        output's own name are not among it."""
        options = self.options
        return {
            "tokenlab": tokenlab.__version__,
            "scheme": self.spec.to_data(),
            **({"packages": self.spec.packages} if self.spec.packages else {}),
            "corpus": self.corpus.describe(),
            "val_docs": self.val_docs,
            "tokenizer_sha256": self.tokenizer and hashlib.sha256(self.tokenizer).hexdigest(),
            "shard_tokens": options.shard_tokens,
            "train_bytes": options.train_bytes,
            "seed": options.seed,
            "part_bytes": options.part_bytes,
            **({"imported": self.imported} if self.imported is not None else {}),
            **({"license": options.license} if options.license is not None else {}),
            **({"analysis_only": True} if options.analysis_only else {}),
        }

    def to_json(self) -> str:
        """What a resumed build must find unchanged, as JSON: `record`, and the input files'
        times, so that a file rewritten in place is noticed."""
        files = {file.path: [file.size, file.mtime_ns] for file in self.corpus.files}
        return json.dumps(self.record | {"input_files": files}, indent=1, sort_keys=True) + "\n"

    @property
    def digest(self) -> str:
        """Names the plan, and with a number its parts."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:DIGEST_LETTERS]


def make_plan(options: BuildOptions) -> Plan:
    """Resolve the options, reading no document yet. Raises InputError for what cannot be."""
    spec = open_scheme_spec(options.scheme).with_vocab_size(options.vocab_size)
    spec = spec.with_boundaries(options.boundaries, options.bytes_per_patch)
    _check_boundaries(spec, options)
    if options.tokenizer is not None and options.vocab_size is not None:
        raise InputError("--vocab-size trains a vocabulary and --tokenizer gives one: pass one of them")
    if options.tokenizer is None and spec.needs_vocabulary and not spec.is_trainable:
        raise InputError(
            f"scheme {spec.name} reproduces a published tokenizer: give its SentencePiece model "
            "with --tokenizer FILE"
        )
    for name, value in (
        ("--shard-tokens", options.shard_tokens),
        ("--workers", options.workers),
        ("--limit-docs", options.limit_docs),
    ):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")
    if options.shard_tokens > 2**31 - 1:
        raise InputError(f"--shard-tokens is {options.shard_tokens}; a shard's header counts to {2**31 - 1}")
    check_license(options.license)
    options.engine.check()
    tokenizer = read_vocabulary_file(options.tokenizer) if options.tokenizer is not None else None
    corpus = open_corpus(
        options.inputs,
        text_field=options.text_field,
        limit_docs=options.limit_docs,
        on_bad_document=options.on_bad_document,
    )
    return Plan(
        spec=spec, corpus=corpus, val_docs=_resolve_split(options), tokenizer=tokenizer, options=options
    )


def _check_boundaries(spec: SchemeSpec, options: BuildOptions) -> None:
    """Raise InputError for a rule that looks ahead, unless it is asked for as such."""
    request = spec.boundary_rule
    if request is not None and not request.causal and not options.analysis_only:
        raise InputError(
            f"boundaries {spec.boundaries} are refused: {LOOKS_AHEAD[request.kind]}, and would tell a model "
            "of what it is to predict; for analysis add --analysis-only (`train` will not read the dataset)"
        )
    if options.analysis_only and (request is None or request.causal):
        raise InputError("--analysis-only is for boundaries that look ahead (topk:K, bpe:N); leave it out")


def _resolve_split(options: BuildOptions) -> int:
    if options.val_docs is not None:
        if options.val_docs < 1:
            raise InputError(
                f"--val-docs is {options.val_docs}; a dataset needs at least one validation document"
            )
        return options.val_docs
    if options.inputs is None:
        return EMBEDDED_VAL_DOCS
    raise InputError(
        "--val-docs N is missing: the first N documents become the validation set. There is no default, "
        "because it decides the score; the field uses 50000 for FineWeb, 50 is a start for a few "
        "thousand documents"
    )
