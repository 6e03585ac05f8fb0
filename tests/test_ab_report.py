"""What an experiment shows: its analysis from raw facts, and the reports of it."""

from __future__ import annotations

import json
import math
import re
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.ab_case import ORDER_LENGTHS, Handmade, ab_datasets, diverged, experiment
from tests.test_pages import ATTRIBUTES, CHROMIUM, ELEMENTS, FLAGS, STEERING, Page, browsed
from tests.test_report import DRAWN, GEOMETRY
from tokenlab.ab.analysis import ANALYSIS_FILE, Analysis, analyse
from tokenlab.ab.classes import TOKEN_CLASSES
from tokenlab.ab.comparing import sequential_test
from tokenlab.ab.facts import Comparison
from tokenlab.ab.statistics import control_variate, paired, welch
from tokenlab.errors import InputError
from tokenlab.report.ab import ab_json, ab_text, delta, verdict
from tokenlab.report.ab_page import ab_page

__all__ = ["ab_datasets"]

Make = Callable[..., Handmade]


@pytest.fixture
def make(tmp_path: Path, ab_datasets: dict[str, Path]) -> Make:
    def made(name: str = "ab", **options: Any) -> Handmade:
        return experiment(tmp_path / name, ab_datasets, **options)

    return made


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory, ab_datasets: dict[str, Path]) -> Analysis:
    """Of six pairs in one column, and controls; read only."""
    return analyse(experiment(tmp_path_factory.mktemp("whole") / "ab", ab_datasets))


def of(found: Analysis, arm: str) -> Comparison:
    return next(c for c in found.comparisons if c.arm == arm)


def scores(made: Handmade, arm: str) -> list[float]:
    return [run.bpb or 0.0 for run in made.runs if run.arm == arm]


def test_comparisons_are_of_the_runs_scores(make: Make) -> None:
    made = make()
    found = analyse(made)
    assert [c.arm for c in found.comparisons] == ["caseops", "byte-bpe"]
    arm, baseline = scores(made, "caseops"), scores(made, "bytes")
    c = of(found, "caseops")
    t = paired(arm, baseline)
    assert (c.pairs, c.decision, c.rule) == (6, "better", "paired")
    assert c.difference == pytest.approx(t.mean, rel=1e-12)
    assert c.p_paired == pytest.approx(t.p, rel=1e-6)
    assert c.p_welch == pytest.approx(welch(arm, baseline).p, rel=1e-6)
    assert c.p_holm == pytest.approx(2 * c.p_paired, rel=1e-9)
    assert c.margin == pytest.approx(0.005 * c.baseline_mean)
    assert c.documents_low is not None
    assert c.documents_high is not None
    assert c.documents_low < c.difference < c.documents_high
    assert of(found, "byte-bpe").decision == "equivalent"
    assert [s.bpb for s in found.summaries if s.arm == "caseops"] == [pytest.approx(np.mean(arm), rel=1e-12)]


def test_the_price_is_adjusted_for_the_order_of_documents(make: Make) -> None:
    """Where every pair's run recorded it, from the fourth pair on; and nothing is decided by it."""
    made = make()
    found = analyse(made)
    price = next(r for r in found.resolutions if r.arm == "caseops")
    differences = np.subtract(scores(made, "caseops"), scores(made, "bytes"))
    expected = control_variate(differences, ORDER_LENGTHS, expectation=100)
    assert price.adjusted is not None
    assert price.cost.adjusted is not None
    assert price.adjusted.mean == pytest.approx(expected.mean, rel=1e-9)
    assert (price.adjusted.low, price.adjusted.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert price.cost.adjusted.sd == pytest.approx(expected.sd, rel=1e-9)
    told = f"{100 * expected.mean / of(found, 'caseops').baseline_mean:+.2f} %"
    line = next(line for line in ab_text(found).splitlines() if "adjusted for the order's" in line)
    assert line.lstrip().startswith("caseops, bytes, adjusted")
    assert told in line
    few = analyse(make("few", pairs=3))
    assert {r.adjusted for r in few.resolutions} == {r.cost.adjusted for r in few.resolutions} == {None}
    result = made.folder / made.runs[0].folder / "result.json"
    facts = json.loads(result.read_text())
    del facts["dataset"]["opening_block_tokens"]
    result.write_text(json.dumps(facts))
    assert {r.adjusted for r in analyse(made).resolutions} == {None}


def test_an_analysis_is_the_same_again_and_survives_json(make: Make) -> None:
    made = make()
    found = analyse(made)
    stored = (made.folder / ANALYSIS_FILE).read_bytes()
    assert msgspec.json.decode(stored, type=Analysis) == found
    assert msgspec.json.decode(ab_json(found), type=Analysis) == found
    assert analyse(made) == found, "the same runs are no second look"
    assert len(found.looks) == 1
    made.runs = [run for run in made.runs if run.pair < 5]
    assert len(analyse(made).looks) == 2


def test_what_is_not_decided_says_so(make: Make) -> None:
    """A margin too small for so few pairs: not equivalent, not different."""
    found = analyse(make(pairs=3, margin=0.0005))
    assert of(found, "byte-bpe").decision == "undecided"
    assert "undecided: byte-bpe (" in verdict(found)
    assert "find" in verdict(found)
    row = next(line for line in ab_text(found).splitlines() if line.startswith("  byte-bpe  "))
    assert "~ " in row
    one = analyse(make("one", pairs=1, control_pairs=1))
    assert {c.decision for c in one.comparisons} == {"undecided"}
    assert "in 1 pair, no interval" in verdict(one)
    assert "not known: two pairs or more measure the noise" in ab_text(one)
    assert all(c.held is None for c in one.controls if c.asks != "refusal")


def test_the_rule_is_the_plan_s(make: Make) -> None:
    made = make(rule="contest", confidence=0.99)
    found = analyse(made)
    assert [(c.rule, c.decision) for c in found.comparisons] == [
        ("contest", "better"),
        ("contest", "undecided"),
    ]
    assert "Parameter Golf's rule" in ab_text(found)
    made = make("until", until_decided=True)
    c = of(analyse(made), "caseops")
    test = sequential_test(made.plan, c.baseline_mean, tests=2)
    outcome = test.update(np.array(scores(made, "caseops")) - np.array(scores(made, "bytes"))).outcome
    assert (c.rule, c.decision) == ("sequential", {"below": "better"}.get(outcome, "undecided"))


def test_token_classes_sum_to_the_score(analysis: Analysis) -> None:
    means = {s.arm: s.bpb for s in analysis.summaries}
    assert [entry.arm for entry in analysis.token_classes] == ["bytes", "caseops", "byte-bpe"]
    for entry in analysis.token_classes:
        assert [c.name for c in entry.classes] == list(TOKEN_CLASSES)
        assert math.fsum(c.bits_per_byte for c in entry.classes) == pytest.approx(means[entry.arm], rel=1e-6)
        assert sum(c.bytes for c in entry.classes) == analysis.source_bytes
    marks = {entry.arm: entry.classes[0].tokens for entry in analysis.token_classes}
    assert marks["bytes"] == marks["byte-bpe"] == 0 < marks["caseops"]


def test_document_classes_average_to_the_score(analysis: Analysis) -> None:
    """Weighted by bytes, whichever way documents are put into classes."""
    means = {s.arm: s.bpb for s in analysis.summaries}
    for feature in ("bytes", "capitals", "digits", "non-ASCII"):
        classes = [entry for entry in analysis.document_classes if entry.feature == feature]
        assert sum(entry.documents for entry in classes) == analysis.documents == 24
        assert sum(entry.bytes for entry in classes) == analysis.source_bytes
        for arm in ("bytes", "caseops", "byte-bpe"):
            parts = [s.bpb * entry.bytes for entry in classes for s in entry.scores if s.arm == arm]
            assert sum(parts) / analysis.source_bytes == pytest.approx(means[arm], rel=1e-9)


def test_controls_hold_and_fail(make: Make, analysis: Analysis) -> None:
    assert [c.held for c in analysis.controls] == [True] * 4
    made = make()
    bad = json.dumps({"verdict": "trust", "verdicts": [], "manifest_sha256": "0"})
    (made.folder / "verdicts/control-mutated.json").write_text(bad)
    large = [run for run in made.runs if run.arm == "control-1024"]
    for run in made.runs:  # nothing differs any more, and much does where nothing should
        if run.arm == "control-512":
            _copy_scores(made, run, next(other for other in large if other.pair == run.pair))
    made.runs = [
        _copied(made, run, large) if run.arm == "control-same" else _refreshed(made, run) for run in made.runs
    ]
    found = analyse(made)
    assert [(c.asks, c.held) for c in found.controls] == [
        ("no difference", False),
        ("no difference", True),
        ("a difference", False),
        ("refusal", False),
    ]
    assert verdict(found).startswith("Not to be believed, for controls failed (A/A: other seeds, 1,024")
    assert "FAILED" in ab_text(found)
    without = analyse(make("none", controls=False))
    assert without.controls == ()
    assert "controls: none (--no-controls)" in ab_text(without)
    assert "None were run." in ab_page(without, "")


def _copy_scores(made: Handmade, run: Any, other: Any) -> None:
    for name in ("result.json", "documents.json", "token_nats.bin"):
        content = (made.folder / other.folder / name).read_bytes()
        (made.folder / run.folder / name).write_bytes(content)


def _copied(made: Handmade, run: Any, others: list[Any]) -> Any:
    _copy_scores(made, run, next(other for other in others if other.pair == run.pair))
    return _refreshed(made, run)


def _refreshed(made: Handmade, run: Any) -> Any:
    score = json.loads((made.folder / run.folder / "result.json").read_text())["score"]
    return msgspec.structs.replace(run, bpb=score["bpb"], signature=score["signature"])


def test_a_diverged_run_is_kept_and_shown(make: Make) -> None:
    made = make()
    at = next(n for n, run in enumerate(made.runs) if (run.arm, run.pair) == ("caseops", 2))
    made.runs[at] = diverged(made.runs[at])
    found = analyse(made)
    assert (of(found, "caseops").pairs, of(found, "byte-bpe").pairs) == (5, 6)
    for shown in (ab_text(found), ab_page(found, "")):
        assert "1 diverged" in shown
        assert "caseops, seed 2, bytes: diverged (loss is nan at step 7); its pair is left out" in shown
    sums = {entry.arm: sum(c.bits_per_byte for c in entry.classes) for entry in found.token_classes}
    difference = of(found, "caseops").difference
    assert sums["caseops"] - sums["bytes"] == pytest.approx(difference, rel=1e-5), "over the same pairs"
    made.runs = [diverged(run) if run.arm == "caseops" else run for run in made.runs]
    found = analyse(made)
    assert [c.arm for c in found.comparisons] == ["byte-bpe"]
    assert "nothing can be said of caseops: no pair is whole" in verdict(found)
    assert "diverged" in ab_page(found, "")


def test_flags_and_overrides_are_shown(make: Make) -> None:
    made = make()
    made.arms[1] = msgspec.structs.replace(made.arms[1], normal_form=True, verdict="normalised")
    made.overrides.append("bytes and caseops are not scored over the same validation bytes")
    found = analyse(made)
    assert "scored on a normal form" in ab_text(found)
    assert f"overridden with --allow\n  {made.overrides[0]}" in ab_text(found)
    page = ab_page(found, "")
    assert f'<ul class="listing bad"><li><b>Overridden: </b>{made.overrides[0]}</li></ul>' in page
    assert "caseops is scored on a normal form of the text, not on the text" in page


def test_held_back_documents_are_looked_at_once(make: Make) -> None:
    made = make(confirm_docs=8)
    found = analyse(made)
    assert (found.documents, found.slice) == (16, "validation")
    for entry in found.token_classes:
        mean = next(s.bpb for s in found.summaries if s.arm == entry.arm)
        assert math.fsum(c.bits_per_byte for c in entry.classes) == pytest.approx(mean, rel=1e-6)
    confirmed = analyse(made, confirm=True)
    assert (confirmed.documents, confirmed.slice) == (8, "confirmation")
    assert found.source_bytes + confirmed.source_bytes == analyse(make("all")).source_bytes
    assert verdict(confirmed).startswith("On the documents held back, at the same source bytes seen, ")
    assert "confirmation documents opened 20" in ab_text(confirmed)
    with pytest.raises(InputError, match="they confirm once"):
        analyse(made, confirm=True)
    again = analyse(made)
    assert again.comparisons == found.comparisons
    assert again.confirmed == confirmed.comparisons
    for shown in (ab_text(again), ab_page(again, "")):
        assert f"caseops, bytes: {delta(confirmed.comparisons[0])} (" in shown
    with pytest.raises(InputError, match="no documents were held back"):
        analyse(make("none"), confirm=True)
    with pytest.raises(InputError, match="24 of 24 validation documents are held back"):
        analyse(make("too-many", confirm_docs=24))


def test_what_does_not_belong_together_is_refused(make: Make) -> None:
    made = make()
    made.runs = [run for run in made.runs if run.arm != "caseops"]
    with pytest.raises(InputError, match="arm caseops has no finished run in column bytes; `tokenlab ab"):
        analyse(made)

    def changed(name: str, file: str, change: Callable[[dict[str, Any]], None]) -> Handmade:
        made = make(name)
        path = made.folder / "runs/bytes/caseops/seed-1" / file
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        return made

    version = changed("version", "result.json", lambda result: result.update(schema="tokenlab-run-9"))
    with pytest.raises(InputError, match="schema tokenlab-run-9, this version reads tokenlab-run-1"):
        analyse(version)
    other = changed("signature", "result.json", lambda result: result["score"].update(signature="other"))
    with pytest.raises(InputError, match="arm caseops: scores with unequal signatures do not compare"):
        analyse(other)
    documents = changed(
        "documents", "documents.json", lambda kept: kept["nats"].append(kept["nats"].pop() + 1)
    )
    with pytest.raises(InputError, match="do not sum to the score"):
        analyse(documents)
    nats = make("nats")
    path = nats.folder / "runs/bytes/caseops/seed-1/token_nats.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    with pytest.raises(InputError, match=r"token_nats\.bin: .* that are not the score's"):
        analyse(nats)
    path.unlink()
    found = analyse(nats)
    assert "caseops, bytes: no token_nats.bin, so no bits by class of token" in ab_text(found)
    assert [entry.arm for entry in found.token_classes] == ["bytes", "byte-bpe"]
    gone = make("gone")
    gone.runs = [diverged(run) for run in gone.runs]
    with pytest.raises(InputError, match=r"all runs diverged \(loss is nan"):
        analyse(gone)


def test_the_text(analysis: Analysis) -> None:
    lines = ab_text(analysis).splitlines()
    assert lines[0].startswith("At the same source bytes seen, caseops is better than bytes by 4.")
    assert lines[0].endswith("byte-bpe is equivalent to bytes within 0.5 %.")
    assert re.match(r"  bytes     2\.4\d+ ± 0\.0\d+  baseline +6$", lines[4])
    assert re.match(
        r"  caseops   2\.3\d+ ± 0\.0\d+  -4\.\d+ % +-4.\d+ to -\d.\d+ %  <0.001  6  better$", lines[5]
    )
    assert re.match(r"  byte-bpe  2\.4\d+ ± 0\.0\d+  = \+0\.\d+ %", lines[6])
    assert "looks at the validation documents: 1" in lines
    assert max(map(len, lines)) < 160


def parsed(content: str) -> Page:
    page = Page(content)
    assert set(page.elements) <= ELEMENTS | DRAWN | {"h3"}
    assert page.attributes <= ATTRIBUTES | GEOMETRY | {"preserveaspectratio", "aria-hidden"}
    assert not STEERING.search(page.text)
    for loads in ("http://", "https://", "src=", "href=", "url(", "@import", "<script"):
        assert loads not in content
    return page


def test_the_page_says_all_of_it(analysis: Analysis) -> None:
    page = parsed(ab_page(analysis, "tokenlab report ab --html ab.html"))
    for fact in (
        verdict(analysis),
        "Paired differences",
        "Loss against text seen",
        "Where the bits go",
        "By class of document",
        "What it took",
        "A/A: other seeds",
        "1,024 ids against 512",
        "tokenlab report ab --html ab.html",
        analysis.plan_toml.rstrip(),
        *(arm.fingerprint for arm in analysis.arms),
        *(f"{run.bpb:.6f}" for run in analysis.runs),
        *(analysis.signatures[f"bytes, {arm}"] for arm in ("bytes", "caseops", "byte-bpe")),
    ):
        assert fact in page.text
    for entry in analysis.token_classes:
        for c in entry.classes:
            assert c.name in page.text or c.tokens == 0
    assert page.elements.count("path") == 3


def test_hostile_names_stay_text(analysis: Analysis) -> None:
    hostile = "<script>alert(1)</script>\u202e\x07"
    arms = tuple(msgspec.structs.replace(arm, dataset=hostile, scheme=hostile) for arm in analysis.arms)
    run = msgspec.structs.replace(diverged(analysis.runs[0]), failure=hostile)
    changed = msgspec.structs.replace(
        analysis, arms=arms, runs=(run, *analysis.runs[1:]), overrides=(hostile,), notes=(hostile,)
    )
    page = parsed(ab_page(changed, hostile))
    assert page.text.count("<script>alert(1)</script>") > 5


SCRIPT = """
  const bad = [];
  const wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > wide) bad.push('page ' + document.documentElement.scrollWidth);
  for (const e of document.querySelectorAll('h1, h2, h3, p, dd, li, pre, .wide, figure')) {
    const box = e.getBoundingClientRect();
    if (box.right > wide + 1 || box.left < -1) bad.push(e.tagName + ' ' + e.textContent.slice(0, 40));
  }
  for (const svg of document.querySelectorAll('svg.chart')) {
    const outer = svg.getBoundingClientRect(), boxes = [];
    for (const text of svg.querySelectorAll('text')) {
      const box = text.getBoundingClientRect();
      if (box.left < outer.left - 1 || box.right > outer.right + 1 || box.bottom > outer.bottom + 1)
        bad.push('outside ' + text.textContent);
      for (const other of boxes)
        if (box.left < other.right && other.left < box.right && box.top < other.bottom &&
            other.top < box.bottom) bad.push('overlap ' + text.textContent);
      boxes.push(box);
    }
  }
  document.title = document.querySelectorAll('svg.chart').length + ' charts ' + bad.join(', ');
"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_browser_draws_it(tmp_path: Path, make: Make) -> None:
    """Wide and narrow, with two columns, long names and everything that can be flagged."""
    made = make(columns=("bytes", "swap"))
    made.overrides.append("one and another are not scored over the same validation bytes " * 3)
    made.runs[3] = diverged(made.runs[3])
    found = analyse(made)
    content = ab_page(found, "tokenlab report ab --html ab.html")
    file = tmp_path / "page.html"
    injected = content.replace("</body>", f"<script>{SCRIPT}</script></body>")
    file.write_text(injected)
    assert "<title>At the same" in browsed(file, "", tmp_path / "profile"), "the policy let a script in"
    file.write_text(re.sub("<meta http-equiv[^>]*>", "", injected))
    for width in (1200, 500):
        options = [f"--window-size={width},900", f"--user-data-dir={tmp_path}/profile", "--dump-dom"]
        command = [str(CHROMIUM), *FLAGS, *options, f"file://{file}"]
        dom = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
        assert "<title>3 charts </title>" in dom, re.findall("<title>.*?</title>", dom)


def first_pixel(png: bytes) -> tuple[int, ...]:
    """Red, green and blue of the upper left corner: no filter of PNG changes the first pixel."""
    assert png.startswith(b"\x89PNG")
    at, packed = 8, b""
    while at < len(png):
        size, kind = int.from_bytes(png[at : at + 4]), png[at + 4 : at + 8]
        packed += png[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += 12 + size
    return tuple(zlib.decompress(packed)[1:4])


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_screenshot_is_painted_in_light_and_dark(tmp_path: Path, analysis: Analysis) -> None:
    file = tmp_path / "page.html"
    file.write_text(ab_page(analysis, ""))
    for dark, paper in (([], (253, 252, 250)), (["--blink-settings=preferredColorScheme=0"], (23, 24, 27))):
        shot = tmp_path / "shot.png"
        options = [f"--screenshot={shot}", "--window-size=900,1200", f"--user-data-dir={tmp_path}/profile"]
        command = [str(CHROMIUM), *FLAGS, *dark, *options, f"file://{file}"]
        subprocess.run(command, capture_output=True, timeout=60)
        assert first_pixel(shot.read_bytes()) == paper
        assert shot.stat().st_size > 30_000, "there is text"
