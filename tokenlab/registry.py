"""What a scheme may name: the built-in schemes, and operators by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
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


def scheme_names() -> list[str]:
    """Names of the built-in schemes, sorted."""
    return sorted(
        entry.name.removesuffix(".toml") for entry in _BUILT_IN.iterdir() if entry.name.endswith(".toml")
    )


def scheme_text(name: str) -> str:
    """The TOML of a built-in scheme, or of a user's `.toml` file. Raises InputError."""
    if name in scheme_names():
        return (_BUILT_IN / f"{name}.toml").read_text()
    path = Path(name)
    if path.suffix != ".toml":
        raise InputError(
            f"unknown scheme {name!r}; built-in: {', '.join(scheme_names())}; or a path ending in .toml"
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
