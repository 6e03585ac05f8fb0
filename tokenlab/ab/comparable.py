"""Whether arms may be compared: the same documents, the same validation bytes, and a verdict each.

What differs has a name, and `--allow NAME` overrides it; overrides that were needed are recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from tokenlab.ab.plan import Allowed
from tokenlab.errors import InputError
from tokenlab.manifest import Manifest

GRANTED = ("trust", "normalised")
"""Verdicts with which an arm takes part."""


@dataclass(frozen=True, slots=True)
class Arm:
    """An arm as far as it decides about comparability."""

    name: str
    manifest: Manifest
    verdict: str
    failure: str = ""


class Override(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A difference that the user allowed."""

    allow: Allowed
    about: str


def require_comparable(arms: Sequence[Arm], allow: Sequence[Allowed]) -> list[Override]:
    """The overrides that were needed, in the order found. Raises InputError for the first difference that
    is not allowed, naming both arms."""
    overrides = []
    for difference in differences(arms):
        if difference.allow not in allow:
            raise InputError(
                f"{difference.about}; make them comparable, or override with --allow {difference.allow} "
                "(the report will say so)"
            )
        overrides.append(difference)
    return overrides


def differences(arms: Sequence[Arm]) -> list[Override]:
    """Everything in which an arm differs from the first, and every verdict that is not granted."""
    found = [
        Override(
            allow="verdict",
            about=f"arm {arm.name}: `tokenlab verify` says {arm.verdict}"
            + (arm.failure and f": {arm.failure}"),
        )
        for arm in arms
        if arm.verdict not in GRANTED
    ]
    baseline, *others = arms
    for arm in others:
        found += _differences(baseline, arm)
    return found


def _differences(baseline: Arm, arm: Arm) -> list[Override]:
    both = f"{baseline.name} and {arm.name}"
    found = []
    names: tuple[tuple[str, Allowed], ...] = (("train", "train-documents"), ("val", "validation-documents"))
    for split, name in names:
        one, other = (a.manifest.splits[split] for a in (baseline, arm))  # type: ignore[index]
        if one.documents_sha256 != other.documents_sha256:
            about = (
                f"{both} were not made of the same source documents in the same order: {split} has "
                f"{one.documents:,} and {other.documents:,} documents, digests {one.documents_sha256[:12]} "
                f"and {other.documents_sha256[:12]}"
            )
            found.append(Override(allow=name, about=about))
    one, other = (a.manifest.splits["val"] for a in (baseline, arm))
    if one.charged_bytes != other.charged_bytes:
        about = (
            f"{both} are not scored over the same validation bytes: {one.charged_bytes:,} and "
            f"{other.charged_bytes:,} are charged to tokens"
        )
        found.append(Override(allow="validation-bytes", about=about))
    return found
