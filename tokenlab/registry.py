"""What a scheme may name: schemes, operators and segmenters, those built in and those of installed packages.

A package adds schemes by entry points of the group `tokenlab.schemes`: the name is the scheme's, the object
the text of its TOML. An entry point of `tokenlab.operators` is a class that makes an `Operator` of a scheme's
parameters, one of `tokenlab.segmenters` makes a `SegmenterPlugIn`. What is built in cannot be replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from tokenlab.errors import InputError
from tokenlab.ops.apostrophe import Apostrophe
from tokenlab.ops.case import Case
from tokenlab.ops.caseops import CaseOps
from tokenlab.ops.digits import Digits
from tokenlab.ops.escape import Escape
from tokenlab.ops.glue import Glue
from tokenlab.ops.newline_space import NewlineSpace
from tokenlab.ops.operator import Operator
from tokenlab.ops.quote_swap import QuoteSwap
from tokenlab.plug_ins import (
    OPERATOR_GROUP,
    SCHEME_GROUP,
    SEGMENTER_GROUP,
    PlugIn,
    configure,
    installed,
    load,
    require_attributes,
)
from tokenlab.segment.plug_in import SegmenterPlugIn

OPERATORS: dict[str, Callable[..., Operator]] = {
    operator.name: operator
    for operator in (Apostrophe, Case, CaseOps, Digits, Escape, Glue, NewlineSpace, QuoteSwap)
}

SEGMENTER_KINDS = ("byte", "byte-level", "sentencepiece")

_BUILT_IN = files("tokenlab") / "schemes"


def built_in_names() -> list[str]:
    """Names of the built-in schemes, sorted."""
    return sorted(
        entry.name.removesuffix(".toml") for entry in _BUILT_IN.iterdir() if entry.name.endswith(".toml")
    )


def scheme_names() -> list[str]:
    """Names of the schemes there are: the built-in ones, then those of installed packages, each sorted."""
    return [*built_in_names(), *_plugged_in()]


def _plugged_in() -> list[str]:
    built_in = built_in_names()
    return [name for name in installed(SCHEME_GROUP) if name not in built_in]


def _plugged_in_text(name: str) -> str:
    plug_in = load(SCHEME_GROUP, name)
    text = plug_in.target
    if not isinstance(text, str):
        raise InputError(
            f"{plug_in.label}: {plug_in.value} is no text of a scheme file but {type(text).__name__}"
        )
    return text


def scheme_text(name: str) -> str:
    """The TOML of a built-in scheme, an installed one, or of a user's `.toml` file. Raises InputError."""
    if name in built_in_names():
        return (_BUILT_IN / f"{name}.toml").read_text()
    path = Path(name)
    if path.suffix != ".toml":
        plugged_in = _plugged_in()
        if name in plugged_in:
            return _plugged_in_text(name)
        others = f"; installed: {', '.join(plugged_in)}" if plugged_in else ""
        raise InputError(
            f"unknown scheme {name!r}; built-in: {', '.join(built_in_names())}{others}; "
            "or a path ending in .toml"
        )
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: cannot read the scheme: {error}") from error


def make_operator(entry: str | Mapping[str, Any]) -> Operator:
    """The operator that an entry of a scheme's `operators` names. Raises InputError."""
    name, parameters = _operator_entry(entry)
    if name in OPERATORS:
        operator: Operator = configure(OPERATORS[name], parameters, f"operator {name!r}")
        return operator
    plug_in = _load(OPERATOR_GROUP, name, parameters.pop("package", None), sorted(OPERATORS))
    operator = configure(plug_in.target, parameters, plug_in.label)
    require_attributes(operator, _OPERATOR_PARTS, plug_in.label)
    return operator


def operator_plug_in(entry: str | Mapping[str, Any]) -> PlugIn | None:
    """The plug-in that the operator of an entry comes from, or None for one that is built in."""
    name, parameters = _operator_entry(entry)
    if name in OPERATORS:
        return None
    return _load(OPERATOR_GROUP, name, parameters.get("package"), sorted(OPERATORS))


def make_segmenter_plug_in(name: str, parameters: Mapping[str, Any], package: str | None) -> SegmenterPlugIn:
    """The plug-in that a scheme's segmenter names, with its parameters. Raises InputError."""
    plug_in = segmenter_plug_in(name, package)
    made: SegmenterPlugIn = configure(plug_in.target, parameters, plug_in.label)
    require_attributes(made, ("vocabulary_file", "train", "open"), plug_in.label)
    return made


def segmenter_plug_in(name: str, package: str | None) -> PlugIn:
    """The entry point of a segmenter, loaded. Raises InputError."""
    return _load(SEGMENTER_GROUP, name, package, SEGMENTER_KINDS)


_OPERATOR_PARTS = ("name", "reversible", "markers", "apply", "invert", "apply_reference")


def _operator_entry(entry: str | Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    parameters = {"name": entry} if isinstance(entry, str) else dict(entry)
    return parameters.pop("name", None), parameters


def _load(group: str, name: Any, package: str | None, built_in: Sequence[str]) -> PlugIn:
    others = installed(group)
    if package is None and name not in others:
        known = f"known: {', '.join(built_in)}" + (f"; installed: {', '.join(others)}" if others else "")
        noun = group.removeprefix("tokenlab.").removesuffix("s")
        raise InputError(f"unknown {noun} {name!r}; {known}; a package adds one by an entry point of {group}")
    plug_in = load(group, name, package=package)
    if not callable(plug_in.target):
        raise InputError(f"{plug_in.label}: {plug_in.value} is no class but {type(plug_in.target).__name__}")
    return plug_in
