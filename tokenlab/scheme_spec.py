"""A scheme as data: the TOML of a scheme file, typed and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from tokenlab.boundaries.request import RuleRequest, parse_rule, target_bytes_per_patch
from tokenlab.errors import InputError, PlugInUnavailable
from tokenlab.ops.digits import Digits
from tokenlab.ops.operator import Operator
from tokenlab.registry import (
    SEGMENTER_KINDS,
    make_operator,
    make_segmenter_plug_in,
    operator_plug_in,
    scheme_text,
    segmenter_plug_in,
)
from tokenlab.segment.plug_in import SegmenterPlugIn


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


_PLUG_IN = "plug-in"


class PlugInSpec(msgspec.Struct, tag=_PLUG_IN, tag_field="kind", forbid_unknown_fields=True, frozen=True):
    """A segmenter of an installed package. A scheme file says `kind = NAME` and has the parameters beside
    `vocab_size` and `package`, which is filled in when a vocabulary is there."""

    name: str
    vocab_size: int | None = None
    package: str | None = None
    parameters: dict[str, Any] = {}

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> dict[str, Any]:
        """The table of a scheme file in the shape of this class."""
        own = {key: table[key] for key in ("vocab_size", "package") if key in table}
        rest = {key: value for key, value in table.items() if key not in ("kind", *own)}
        return {"kind": _PLUG_IN, "name": table["kind"], "parameters": rest} | own

    def to_table(self) -> dict[str, Any]:
        """The table of a scheme file."""
        return {
            "kind": self.name,
            "vocab_size": self.vocab_size,
            "package": self.package,
        } | self.parameters

    def make(self) -> SegmenterPlugIn:
        """The plug-in with its parameters. Raises InputError."""
        return make_segmenter_plug_in(self.name, self.parameters, self.package)


class Specials(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Ids that no text becomes; None takes the vocabulary's own."""

    bos: int | None = None


class SchemeSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A scheme file, typed. `boundaries`: the rule of the patches' beginnings (`space`, `entropy:1.74`, …),
    calibrated to `bytes_per_patch` where it has no number."""

    name: str
    segmenter: ByteSpec | SentencePieceSpec | ByteLevelSpec | PlugInSpec
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
    def markers(self) -> tuple[str, ...]:
        """Characters that operators write and a vocabulary must hold whole."""
        return tuple(dict.fromkeys(m for operator in self.make_operators() for m in operator.markers))

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

    @property
    def packages(self) -> dict[str, str]:
        """Name to version of the installed packages that operators and segmenter come from."""
        found = [plug_in for plug_in in map(operator_plug_in, self.operators) if plug_in is not None]
        if isinstance(self.segmenter, PlugInSpec):
            found.append(segmenter_plug_in(self.segmenter.name, self.segmenter.package))
        return {plug_in.package: plug_in.version for plug_in in found}

    def with_packages(self) -> SchemeSpec:
        """The same scheme, with the package of each plug-in named."""
        operators = []
        for entry in self.operators:
            if (plug_in := operator_plug_in(entry)) is not None:
                table = {"name": entry} if isinstance(entry, str) else entry
                entry = table | {"package": plug_in.package}
            operators.append(entry)
        segmenter = self.segmenter
        if isinstance(segmenter, PlugInSpec):
            package = segmenter_plug_in(segmenter.name, segmenter.package).package
            segmenter = msgspec.structs.replace(segmenter, package=package)
        return msgspec.structs.replace(self, operators=tuple(operators), segmenter=segmenter)

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

        return tomli_w.dumps(_without_none(self.to_data()))

    def to_data(self) -> dict[str, Any]:
        """What a scheme file says, as plain data."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        if isinstance(self.segmenter, PlugInSpec):
            data["segmenter"] = self.segmenter.to_table()
        return data


def parse_scheme(toml: str, where: str = "scheme") -> SchemeSpec:
    """A scheme from TOML. Raises InputError naming `where` and the field."""
    try:
        spec = msgspec.convert(_tagged(msgspec.toml.decode(toml)), SchemeSpec)
        spec.make_operators()
        plug_in = spec.segmenter.make() if isinstance(spec.segmenter, PlugInSpec) else None
    except PlugInUnavailable as error:
        raise PlugInUnavailable(f"{where}: {error}") from error
    except (msgspec.MsgspecError, InputError) as error:
        raise InputError(f"{where}: {error}") from error
    if isinstance(spec.segmenter, SentencePieceSpec) and spec.segmenter.normalization == "identity":
        _require_escaped_metaspace(spec, where)
    if getattr(plug_in, "needs_escaped_metaspace", False):
        _require_escaped_metaspace(spec, where)
    _require_digits_left_whole(spec, where, plug_in)
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


def _tagged(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a scheme file, where a kind that is not built in is a plug-in's name."""
    segmenter = content.get("segmenter")
    kind = segmenter.get("kind") if isinstance(segmenter, dict) else None
    if isinstance(segmenter, dict) and isinstance(kind, str) and kind not in SEGMENTER_KINDS:
        return content | {"segmenter": PlugInSpec.from_table(segmenter)}
    return content


def _require_digits_left_whole(spec: SchemeSpec, where: str, plug_in: SegmenterPlugIn | None) -> None:
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
    elif isinstance(segmenter, PlugInSpec):
        remedy = "split_digits = false" if getattr(plug_in, "split_digits", False) else ""
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
