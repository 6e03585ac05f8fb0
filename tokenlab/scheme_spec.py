"""A scheme as data: the TOML of a scheme file, typed and checked."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from tokenlab.boundaries.request import RuleRequest, parse_rule, target_bytes_per_patch
from tokenlab.errors import InputError
from tokenlab.ops.digits import Digits
from tokenlab.ops.operator import Operator
from tokenlab.registry import make_operator, scheme_text


class ByteSpec(msgspec.Struct, tag="byte", tag_field="kind", forbid_unknown_fields=True, frozen=True):
    """One token a byte."""


class SentencePieceSpec(
    msgspec.Struct, tag="sentencepiece", tag_field="kind", forbid_unknown_fields=True, frozen=True
):
    """A SentencePiece vocabulary. `normalization = "model"` takes a published model with its
    own normaliser; such a scheme is never trained here."""

    normalization: Literal["identity", "model"]
    vocab_size: int | None = None
    model_type: Literal["bpe", "unigram"] = "bpe"
    split_digits: bool = True
    character_coverage: float = 0.999


class ByteLevelSpec(
    msgspec.Struct, tag="byte-level", tag_field="kind", forbid_unknown_fields=True, frozen=True
):
    """A byte-level BPE vocabulary; `split` names one of `SPLIT_PATTERNS`."""

    vocab_size: int | None = None
    split: str = "cl100k"


class Specials(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Ids that no text becomes; None takes the vocabulary's own."""

    bos: int | None = None


class SchemeSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A scheme file, typed. `boundaries`: the rule of the patches' beginnings (`space`, `entropy:1.74`, …),
    calibrated to `bytes_per_patch` where it has no number."""

    name: str
    segmenter: ByteSpec | SentencePieceSpec | ByteLevelSpec
    operators: tuple[str | dict[str, Any], ...] = ()
    specials: Specials = Specials()
    summary: str = ""
    boundaries: str | None = None
    bytes_per_patch: float | None = None

    @property
    def vocab_size(self) -> int | None:
        """Ids asked for, or None where the segmenter or a given file decides."""
        return getattr(self.segmenter, "vocab_size", None)

    @property
    def needs_vocabulary(self) -> bool:
        """Whether the segmenter needs a vocabulary file, trained or given."""
        return not isinstance(self.segmenter, ByteSpec)

    @property
    def is_trainable(self) -> bool:
        """Whether a vocabulary file can be trained; a published one can only be given."""
        return self.needs_vocabulary and getattr(self.segmenter, "normalization", "identity") == "identity"

    @property
    def is_reversible(self) -> bool:
        """Whether the source can be decoded from the ids: no part normalises text."""
        lossless = getattr(self.segmenter, "normalization", "identity") == "identity"
        return lossless and all(operator.reversible for operator in self.make_operators())

    @property
    def boundary_rule(self) -> RuleRequest | None:
        """The rule of `boundaries`, or None. Raises InputError."""
        return None if self.boundaries is None else parse_rule(self.boundaries)

    def with_boundaries(self, rule: str | None, bytes_per_patch: float | None) -> SchemeSpec:
        """The same scheme with boundaries, or another target for them; the target is filled in where one is
        needed. Raises InputError where the scheme can have none."""
        if rule is not None and self.boundaries is not None:
            raise InputError(
                f"scheme {self.name} has boundaries of its own ({self.boundaries}); "
                f"use --scheme bytes --boundaries {rule}"
            )
        if rule is None and self.boundaries is None:
            if bytes_per_patch is not None:
                raise InputError(
                    "--bytes-per-patch is a target of boundaries: add --boundaries table2, or entropy"
                )
            return self
        spec = msgspec.structs.replace(
            self,
            boundaries=self.boundaries if rule is None else rule,
            bytes_per_patch=self.bytes_per_patch if bytes_per_patch is None else bytes_per_patch,
        )
        return _with_target(spec, f"scheme {self.name}")

    def make_operators(self) -> tuple[Operator, ...]:
        """The listed operators, in order. Raises InputError."""
        return tuple(make_operator(entry) for entry in self.operators)

    def with_vocab_size(self, vocab_size: int | None) -> SchemeSpec:
        """The same scheme with another vocabulary size. Raises InputError where it has none."""
        if vocab_size is None or vocab_size == self.vocab_size:
            return self
        if not self.is_trainable:
            raise InputError(f"scheme {self.name} has a fixed vocabulary; leave --vocab-size out")
        if vocab_size < 1:
            raise InputError(f"--vocab-size is {vocab_size}; it must be positive")
        return msgspec.structs.replace(
            self, segmenter=msgspec.structs.replace(self.segmenter, vocab_size=vocab_size)
        )

    def to_toml(self) -> str:
        """Canonical TOML: every field, in declaration order."""
        import tomli_w

        return tomli_w.dumps(_without_none(msgspec.to_builtins(self)))


def parse_scheme(toml: str, where: str = "scheme") -> SchemeSpec:
    """A scheme from TOML. Raises InputError naming `where` and the field."""
    try:
        spec = msgspec.toml.decode(toml, type=SchemeSpec)
    except msgspec.MsgspecError as error:
        raise InputError(f"{where}: {error}") from error
    spec.make_operators()
    if isinstance(spec.segmenter, SentencePieceSpec) and spec.segmenter.normalization == "identity":
        _require_escaped_metaspace(spec, where)
    _require_digits_left_whole(spec, where)
    if spec.boundaries is None and spec.bytes_per_patch is not None:
        raise InputError(f"{where}: bytes_per_patch without boundaries")
    return _with_target(spec, where)


def _with_target(spec: SchemeSpec, where: str) -> SchemeSpec:
    """The spec with the target of its boundaries filled in. Raises InputError for those it cannot have."""
    request = spec.boundary_rule
    if request is None:
        return spec
    if not isinstance(spec.segmenter, ByteSpec):
        raise InputError(
            f"{where}: boundaries are for schemes of one token a byte: where a longer token ends depends on "
            "the bytes behind it, so its patches would look ahead; use --scheme bytes"
        )
    target = target_bytes_per_patch(request, spec.bytes_per_patch)
    return msgspec.structs.replace(spec, bytes_per_patch=target)


def _require_digits_left_whole(spec: SchemeSpec, where: str) -> None:
    """Raise InputError if the segmenter would split what the operator `digits` keeps together."""
    kept = [op.grouping for op in spec.make_operators() if isinstance(op, Digits) and op.grouping != "split"]
    segmenter = spec.segmenter
    if not kept:
        return
    if isinstance(segmenter, SentencePieceSpec):
        remedy = "split_digits = false" if segmenter.split_digits else ""
    elif isinstance(segmenter, ByteLevelSpec):
        whole = ("gpt2",) if "joined" in kept else ("gpt2", "cl100k")
        remedy = "" if segmenter.split in whole else f"split = {' or '.join(map(repr, whole))}"
    else:
        remedy = "another kind: a byte is a token"
    if remedy:
        raise InputError(
            f"{where}: operator 'digits' keeps digits together (grouping = {kept[0]!r}) that the segmenter "
            f"splits; give the segmenter {remedy}"
        )


def _require_escaped_metaspace(spec: SchemeSpec, where: str) -> None:
    operators = spec.make_operators()
    if not any(op.name == "escape" or getattr(op, "escape_metaspace", False) for op in operators):
        raise InputError(
            f"{where}: SentencePiece cannot tell U+2581 from a space, so one of the operators before a "
            "lossless vocabulary must be 'escape', or 'case' or 'caseops' with escape_metaspace"
        )


def open_scheme_spec(name_or_file: str) -> SchemeSpec:
    """The spec of a built-in scheme or of a user's `.toml` file. Raises InputError."""
    return parse_scheme(scheme_text(name_or_file), name_or_file)


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value
