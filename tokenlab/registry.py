"""What a scheme may name: the built-in schemes, those of installed packages, and operators by name.

A package adds schemes by entry points of the group `tokenlab.schemes`: the name is the scheme's, the object
the text of its TOML. A built-in scheme cannot be replaced.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
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

OPERATORS: dict[str, Callable[..., Operator]] = {
    operator.name: operator
    for operator in (Apostrophe, Case, CaseOps, Digits, Escape, Glue, NewlineSpace, QuoteSwap)
}

_BUILT_IN = files("tokenlab") / "schemes"


ENTRY_POINTS = "tokenlab.schemes"


def built_in_names() -> list[str]:
    """Names of the built-in schemes, sorted."""
    return sorted(
        entry.name.removesuffix(".toml") for entry in _BUILT_IN.iterdir() if entry.name.endswith(".toml")
    )


def scheme_names() -> list[str]:
    """Names of the schemes there are: the built-in ones, then those of installed packages, each sorted."""
    return [*built_in_names(), *sorted(_plugged_in())]


def _plugged_in() -> dict[str, EntryPoint]:
    built_in = built_in_names()
    return {point.name: point for point in entry_points(group=ENTRY_POINTS) if point.name not in built_in}


def _plugged_in_text(point: EntryPoint) -> str:
    where = f"scheme {point.name} of the package {point.dist.name if point.dist else 'unknown'}"
    try:
        text = point.load()
    except Exception as error:  # whatever another package raises when it is imported
        raise InputError(f"{where}: {point.value} cannot be loaded: {error}") from error
    if not isinstance(text, str):
        raise InputError(f"{where}: {point.value} is no text of a scheme file but {type(text).__name__}")
    return text


def scheme_text(name: str) -> str:
    """The TOML of a built-in scheme, an installed one, or of a user's `.toml` file. Raises InputError."""
    if name in built_in_names():
        return (_BUILT_IN / f"{name}.toml").read_text()
    path = Path(name)
    if path.suffix != ".toml":
        plugged_in = _plugged_in()
        if name in plugged_in:
            return _plugged_in_text(plugged_in[name])
        installed = f"; installed: {', '.join(sorted(plugged_in))}" if plugged_in else ""
        raise InputError(
            f"unknown scheme {name!r}; built-in: {', '.join(built_in_names())}{installed}; "
            "or a path ending in .toml"
        )
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: cannot read the scheme: {error}") from error


def make_operator(entry: str | Mapping[str, Any]) -> Operator:
    """The operator that an entry of a scheme's `operators` names. Raises InputError."""
    parameters = {"name": entry} if isinstance(entry, str) else dict(entry)
    name = parameters.pop("name", None)
    if name not in OPERATORS:
        raise InputError(f"unknown operator {name!r}; known: {', '.join(sorted(OPERATORS))}")
    factory = OPERATORS[name]
    known = inspect.signature(factory).parameters
    for parameter, value in parameters.items():
        if parameter not in known:
            raise InputError(
                f"operator {name!r} has no parameter {parameter!r}; it has: {', '.join(known) or 'none'}"
            )
        if not isinstance(value, type(known[parameter].default)):
            raise InputError(f"operator {name!r}: {parameter} = {value!r} has the wrong type")
    return factory(**parameters)
