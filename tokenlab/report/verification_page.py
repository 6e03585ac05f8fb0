"""`tokenlab verify --html`: the verdict first, then everything it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from tokenlab.accounting.verdicts import Failure, Overall
from tokenlab.report.inputs import Input
from tokenlab.report.page import Html, element, join, page
from tokenlab.verification import ForeignVerification, Verification

Mark = Literal["pass", "fail", "warn", "skip"]

_HEADLINES: dict[Overall, tuple[str, str]] = {
    "trust": ("Trust", "Every source byte is accounted for, and the ids decode to the source."),
    "normalised": (
        "Normalised",
        "The charges are right, but the text was normalised: the score is on a normal form, and the source "
        "cannot be had back from the ids.",
    ),
    "reject": (
        "Reject",
        "Something does not hold. A score on this dataset means something else than it says.",
    ),
    "unproven": (
        "Unproven",
        "Nothing was found wrong, but not everything could be judged: evidence is missing.",
    ),
}


def verification_page(result: Verification, inputs: Sequence[Input], command: str) -> str:
    """The verification of a dataset of tokenlab."""
    rows = [
        _Row(v.name, _mark(v.holds, odd=v.name == "reversible"), v.count, v.unit, v.detail, v.failure)
        for v in result.verdicts
    ]
    facts = [
        ("Dataset", result.dataset),
        ("Scheme", result.scheme),
        ("Fingerprint", result.fingerprint),
        ("Held against", f"the {result.against}"),
    ]
    totals: list[tuple[str, ...]] = [
        ("Split", "Documents", "Tokens", "Source bytes", "Charged", "Unattributed")
    ]
    totals += [
        (name, *(_count(count) for count in msgspec.structs.astuple(split)))
        for name, split in result.splits.items()
    ]
    failed = [f"{v.name}: {v.failure}" for v in result.verdicts if v.failure is not None]
    missing = [f"{v.name}: {v.detail}" for v in result.verdicts if v.holds is None]
    sections = [
        _listing("Causes", failed, "bad"),
        _listing("Not judged", missing if result.verdict == "unproven" else [], "care"),
        _checks("Verdicts", rows),
        _listing("Notes", result.notes, ""),
        _table("Totals", totals) if result.splits else None,
    ]
    return _report(result.verdict, result.dataset, facts, sections, inputs, command)


def foreign_page(result: ForeignVerification, inputs: Sequence[Input], command: str) -> str:
    """The verification of shards that tokenlab did not build."""
    rows = [
        _Row(
            f"{v.number}  {v.name}",
            _mark(v.holds, odd=False, warning=v.level == "warning"),
            v.count,
            v.unit,
            v.detail,
            v.failure,
        )
        for v in result.invariants
    ]
    facts = [
        ("Dataset", result.dataset),
        ("Transform", result.transform),
        ("Charges from", f"the {result.accounting}" if result.accounting != "none" else "nothing given"),
    ]
    if result.lossless_documents is not None:
        decodable = f"{result.lossless_documents:,} of {_count(result.documents)} documents, byte for byte"
        facts.append(("Decodable", decodable))
        lost = ", ".join(f"{count:,} {name}" for name, count in result.lost_bytes.items())
        facts.append(("Bytes lost", lost or "none"))
    totals = [
        ("Documents", "Tokens", "Source bytes", "Charged", "Unattributed"),
        tuple(
            _count(count)
            for count in (
                result.documents,
                result.tokens,
                result.source_bytes,
                result.charged_bytes,
                result.unattributed_bytes,
            )
        ),
    ]
    sections = [
        _listing("Causes", result.causes, "bad"),
        _listing("Missing evidence", result.missing, "care"),
        _listing("Warnings", result.warnings, "care"),
        _correction(result),
        _checks("Invariants", rows),
        _table("Validation", totals),
    ]
    return _report(result.verdict, result.dataset, facts, sections, inputs, command)


class _Row(msgspec.Struct):
    name: str
    mark: Mark
    count: int
    unit: str
    detail: str
    failure: Failure | None


def _mark(holds: bool | None, *, odd: bool, warning: bool = False) -> Mark:
    """`odd`: not judged because the scheme says so, which is worth a look."""
    if holds is None:
        return "warn" if odd else "skip"
    return "pass" if holds else "warn" if warning else "fail"


def _report(
    verdict: Overall,
    dataset: str,
    facts: Sequence[tuple[str, str]],
    sections: Sequence[Html | None],
    inputs: Sequence[Input],
    command: str,
) -> str:
    word, sentence = _HEADLINES[verdict]
    pairs = (
        element("div", element("dt", name), element("dd", element("bdi", value))) for name, value in facts
    )
    header = element(
        "header",
        element("p", "tokenlab verify", class_="eyebrow"),
        element("h1", word, class_=verdict),
        element("p", sentence, class_="lead"),
        element("dl", *pairs, class_="facts"),
    )
    body = join([header, element("main", *sections, _inputs(inputs))])
    return page(
        kind="verify", title=f"{word}: {dataset}", body=body, command=command, assets=("verification.css",)
    )


def _checks(title: str, rows: Sequence[_Row]) -> Html:
    names = ("", "", "Checked", "")
    body: list[Html] = []
    for row in rows:
        checked = f"{row.count:,} {row.unit}" if row.count else "–"
        body.append(
            element(
                "tr",
                element("th", row.name, scope="row"),
                element("td", element("span", row.mark, class_=f"mark {row.mark}")),
                element("td", checked, class_="checked"),
                element("td", row.detail, _failure(row)),
            )
        )
    head = element("thead", element("tr", *(element("th", name, scope="col") for name in names)))
    return element(
        "section", element("h2", title), element("table", head, element("tbody", *body), class_="checks")
    )


def _failure(row: _Row) -> Html | None:
    """The first place where it does not hold, a line for all that is known of it."""
    if row.failure is None:
        return None
    known = {key: value for key, value in msgspec.structs.asdict(row.failure).items() if value is not None}
    message = str(known.pop("message"))
    pairs = (
        element("div", element("dt", key), element("dd", element("bdi", _fact(value))))
        for key, value in known.items()
    )
    return element(
        "div", element("p", message), element("dl", *pairs) if known else None, class_=f"failure {row.mark}"
    )


def _correction(result: ForeignVerification) -> Html | None:
    if result.correction_factor is None:
        return None
    text = "charged bytes over source bytes; the true BPB is the printed BPB times this factor"
    figures = [element("p", element("b", f"{result.correction_factor:.6f}"), f" {text}", class_="figure")]
    if result.corrected_bpb is not None:
        corrected = element("b", f"{result.corrected_bpb:.8f}")
        figures.append(element("p", corrected, " bits per byte, corrected", class_="figure"))
    return element("section", element("h2", "Correction factor"), *figures)


def _listing(title: str, lines: Sequence[str], tone: str) -> Html | None:
    if not lines:
        return None
    items = element("ul", *(element("li", element("bdi", line)) for line in lines), class_=f"listing {tone}")
    return element("section", element("h2", title), items)


def _table(title: str, rows: Sequence[Sequence[str]]) -> Html:
    head = element("thead", element("tr", *(element("th", cell, scope="col") for cell in rows[0])))
    body = element("tbody", *(element("tr", *(element("td", cell) for cell in row)) for row in rows[1:]))
    return element(
        "section",
        element("h2", title),
        element("div", element("table", head, body, class_="totals"), class_="wide"),
    )


def _inputs(inputs: Sequence[Input]) -> Html | None:
    items = [
        element(
            "li",
            element("span", entry.what, class_="what"),
            element("bdi", entry.name),
            element("span", f"{entry.size:,} bytes", class_="quiet") if entry.size is not None else None,
            element("code", entry.sha256 or "no digest", title="sha256"),
        )
        for entry in inputs
    ]
    title = element("h2", "Inputs, by sha256")
    return element("section", title, element("ul", *items, class_="inputs")) if items else None


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _fact(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value) or "(empty)"
