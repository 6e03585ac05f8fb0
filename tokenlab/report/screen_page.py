"""`tokenlab screen --html`: the ranking first, then where the bits go and what the proxy is worth."""

from __future__ import annotations

from tokenlab.report.elements import facts_list, signed_bar, table, titled
from tokenlab.report.page import Html, element, join, page
from tokenlab.report.screen import (
    calibration_rows,
    class_rows,
    legend,
    ranking_rows,
    small_rows,
    summary,
    vocabulary_rows,
)
from tokenlab.screen.calibration import BLIND_SPOTS
from tokenlab.screen.ranking import Screen


def screen_page(screen: Screen, command: str) -> str:
    """The page of a screen."""
    best = screen.ranking[0]
    return page(
        kind="screen",
        title=f"{best.scheme}, {best.bpb_documents.value:.4f} bits per byte",
        body=join([_header(screen), element("main", *_sections(screen))]),
        command=command,
        assets=("training.css", "screen.css"),
    )


def _header(screen: Screen) -> Html:
    best = screen.ranking[0]
    first = next(entry.scheme for entry in screen.ranking if entry.percent is None)
    facts = [
        ("Compared with", first),
        ("Schemes", f"{len(screen.ranking)}, vocabularies of {screen.plan.vocab_size:,} ids"),
        ("Over", summary(screen.plan)),
    ]
    return element(
        "header",
        element("p", "tokenlab screen", class_="eyebrow"),
        element("h1", f"{best.bpb_documents.value:.4f}", element("span", " bits per byte")),
        element("p", f"{best.scheme} is first of {len(screen.ranking)} by an n-gram proxy.", class_="lead"),
        facts_list(facts, "facts"),
    )


def _sections(screen: Screen) -> list[Html]:
    calibration = screen.calibration
    worth = (
        f"Multiply a gain by {calibration.low:g} to {calibration.high:g} for a trained model of the "
        "contest's size. In models of a million parameters, far from converged:"
    )
    return [
        titled(
            "Ranking",
            table(_with_bars(screen)),
            *(element("p", line, class_="note") for line in legend(screen)),
        ),
        titled("Where the bits go: bits per source byte, by class of token", table(class_rows(screen))),
        titled(
            "Rows of the vocabulary that could go if case, or a leading space, were told by other means",
            table(vocabulary_rows(screen)),
        ),
        titled("What the proxy is blind to", element("ul", *(element("li", spot) for spot in BLIND_SPOTS))),
        titled(
            "Calibration: change by the proxy, and in trained models",
            table(calibration_rows(calibration)),
            element("p", worth),
            table(small_rows(calibration)),
        ),
    ]


def _with_bars(screen: Screen) -> list[tuple[str, ...]]:
    """The ranking with its changes drawn to the scale of the largest."""
    changes = [entry.percent.value if entry.percent is not None else 0.0 for entry in screen.ranking]
    most = max(map(abs, changes)) or 1.0
    heads, *rows = ranking_rows(screen)
    return [
        (*heads[:5], "", *heads[5:]),
        *((*row[:5], signed_bar(change / most), *row[5:]) for row, change in zip(rows, changes, strict=True)),
    ]
