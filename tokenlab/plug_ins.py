"""What installed packages add: schemes, operators and segmenters, found by their entry points.

An entry point of one of the groups below gives an object a name. What is built in comes first: no package can
replace it. Entry points alone are looked up, never a path such as `module:Class`: a dataset's `scheme.toml`
may come from anywhere, and must not be able to import and call what no installed package has offered.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tokenlab.errors import InputError, PlugInUnavailable

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint  # takes 15 ms, and most schemes have no plug-in

SCHEME_GROUP, OPERATOR_GROUP, SEGMENTER_GROUP = (
    "tokenlab.schemes",
    "tokenlab.operators",
    "tokenlab.segmenters",
)
_NOUNS = {SCHEME_GROUP: "scheme", OPERATOR_GROUP: "operator", SEGMENTER_GROUP: "segmenter"}


@dataclass(frozen=True)
class PlugIn:
    """A loaded entry point. `label`: what messages call it; `value`: where its object is,
    `target`: that object."""

    label: str
    package: str
    version: str
    value: str
    target: Any


def installed(group: str) -> dict[str, list[EntryPoint]]:
    """The entry points of a group by name, sorted; several where several packages give one name."""
    found: dict[str, list[EntryPoint]] = {}
    for point in _points(group, tuple(sys.path)):
        found.setdefault(point.name, []).append(point)
    return dict(sorted(found.items()))


@lru_cache(maxsize=16)
def _points(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Looking them up reads a file of every installed package; `path` is where, and is the cache's key."""
    from importlib.metadata import entry_points

    return tuple(entry_points(group=group))


def load(group: str, name: str, *, package: str | None = None) -> PlugIn:
    """The object of an entry point, of `package` where several packages give the name.

    Raises InputError naming entry point and package when there is none or more than one; PlugInUnavailable
    when `package` has it not, or it cannot be imported.
    """
    noun = _NOUNS[group]
    points = installed(group).get(name, [])
    if package is not None:
        points = [point for point in points if _package(point) == package]
        if not points:
            raise PlugInUnavailable(f"{noun} {name!r} {_why_missing(group, name, package)}")
    if not points:
        raise InputError(f"unknown {noun} {name!r}")
    if len({_package(point) for point in points}) > 1:
        packages = sorted({_package(point) for point in points})
        raise InputError(f"{noun} {name!r} is in {' and '.join(packages)}: say which with `package`")
    point = points[0]
    label = f"{noun} {name} of the package {_package(point)}"
    try:
        target = point.load()
    except Exception as error:  # whatever another package raises when it is imported
        raise PlugInUnavailable(f"{label}: {point.value} cannot be loaded: {error}") from error
    return PlugIn(
        label, _package(point), point.dist.version if point.dist else "unknown", point.value, target
    )


def configure(factory: Callable[..., Any], parameters: Mapping[str, Any], label: str) -> Any:
    """`factory` called with a scheme's parameters. Raises InputError for one that it has not, or of a type
    other than its default's, and for what it refuses with ValueError or TypeError."""
    known = inspect.signature(factory).parameters
    for parameter, value in parameters.items():
        if parameter not in known:
            raise InputError(f"{label} has no parameter {parameter!r}; it has: {', '.join(known) or 'none'}")
        if not _is_like(value, known[parameter].default):
            raise InputError(f"{label}: {parameter} = {value!r} has the wrong type")
    missing = [name for name, p in known.items() if p.default is p.empty and p.kind not in _STARRED]
    if lacking := [name for name in missing if name not in parameters]:
        raise InputError(f"{label} needs the parameter {lacking[0]!r}")
    with refusals(label):
        return factory(**parameters)


@contextmanager
def refusals(label: str) -> Iterator[None]:
    """What a plug-in refuses with a ValueError becomes an InputError that names the plug-in."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"{label}: {error}") from error


def require_attributes(target: Any, names: tuple[str, ...], label: str) -> None:
    """Raise InputError for an object that lacks one of `names`."""
    lacking = [name for name in names if not hasattr(target, name)]
    if lacking:
        kind = target.__name__ if inspect.isclass(target) else type(target).__name__
        raise InputError(f"{label}: {kind} has no {', '.join(lacking)}; see docs/plug-ins.md")


_STARRED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _is_like(value: Any, default: Any) -> bool:
    if default is inspect.Parameter.empty or default is None:
        return True
    if isinstance(default, float) and type(value) is int:
        return True
    return isinstance(value, type(default)) and isinstance(value, bool) == isinstance(default, bool)


def _package(point: EntryPoint) -> str:
    return str(point.dist.name) if point.dist else "unknown"


def _why_missing(group: str, name: str, package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    what = f"is an entry point of the group {group} of the package {package}"
    try:
        return f"{what}, and {package} {version(package)}, which is installed, has none of that name"
    except PackageNotFoundError:
        return f"{what}, which is not installed: pip install {package}"
