"""The pages of `--html`: nothing gets in, nothing is loaded, and a browser can use them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from tests.command import refused, tokenlab, write_jsonl
from tests.odd_text import HOSTILE
from tests.test_build import TEXTS
from tokenlab.errors import InputError
from tokenlab.inspection import Inspection, NamedScheme, compare, inspect_text
from tokenlab.report.flow import print_flow
from tokenlab.report.inspection_page import inspection_page
from tokenlab.report.page import element, write_page
from tokenlab.report.visible import label

CHROMIUM = shutil.which("chromium")
# fmt: off
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--virtual-time-budget=5000",
]
ELEMENTS = {
    "html", "head", "meta", "title", "style", "body", "div", "header", "main", "aside", "footer",
    "section", "p", "h1", "h2", "dl", "dt", "dd", "ul", "li", "b", "i", "span", "bdi", "pre", "code",
    "table", "thead", "tbody", "tr", "th", "td", "noscript", "script",
}
ATTRIBUTES = {
    "lang", "charset", "http-equiv", "content", "name", "class", "id", "role", "tabindex", "type",
    "scope", "title", "data-b", "data-side", "aria-label", "aria-describedby", "aria-live",
    "aria-atomic",
}
# fmt: on
STEERING = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls, separators, bidi overrides and isolates, lone surrogates."""


class Page(HTMLParser):
    """What a parser makes of a page: elements, attributes, the text of tokens, the data."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: set[str] = set()
        self.tokens: dict[str, str] = {}
        self.text = ""
        self.scripts: list[str] = []
        self._token = ""
        self._open: list[str] = []
        self.feed(content)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag != "meta":
            self._open.append(tag)
        known = dict(attrs)
        if tag == "script":
            self.scripts.append("")
        if tag == "span" and "data-b" in known:
            self._token = str(known["id"])
            self.tokens[self._token] = ""

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "span":
            self._token = ""

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["script"]:
            self.scripts[-1] += data
        elif self._open[-1:] != ["style"]:
            self.text += data
            if self._token:
                self.tokens[self._token] += data


def parsed(content: str) -> Page:
    """A page that holds nothing but what our pages are made of, and no character that steers."""
    page = Page(content)
    assert set(page.elements) <= ELEMENTS
    assert page.attributes <= ATTRIBUTES
    assert not STEERING.search(page.text)
    return page


def check_side(page: Page, name: str, side: Inspection) -> None:
    """Every token is there, as the label says, and its data are those of `--json`."""
    labels = ["".join(part.text for part in label(row)) for row in side.tokens]
    assert [page.tokens[f"{name}{n}"] for n in range(len(side.tokens))] == labels
    data = json.loads(page.scripts[0])[name]
    for key in ("id", "start", "stop", "bytes", "source"):
        assert data[key] == [getattr(row, key) for row in side.tokens]
    for row in side.tokens:
        assert (data["piece"][str(row.id)], data["spells"][str(row.id)]) == (row.piece, row.spells)


@pytest.mark.parametrize("scheme", ["bytes", "caseops", "byte-bpe"])
def test_a_hostile_text_stays_text(scheme: str, named: Callable[[str], NamedScheme]) -> None:
    result = inspect_text(HOSTILE, named(scheme))
    page = parsed(inspection_page(result, f"tokenlab inspect --text '{HOSTILE}'"))
    assert page.elements.count("script") == 2
    assert len(page.tokens) == len(result.tokens)
    check_side(page, "a", result)
    stripped = msgspec.structs.replace(result, dataset=HOSTILE, scheme=HOSTILE, vocabulary="\ud800")
    assert parsed(inspection_page(stripped, "")).elements.count("script") == 2


def test_two_hostile_columns(named: Callable[[str], NamedScheme]) -> None:
    result = compare(HOSTILE, (named("caseops"), named("bytes")))
    page = parsed(inspection_page(result, "tokenlab"))
    assert len(page.tokens) == len(result.a.tokens) + len(result.b.tokens)
    check_side(page, "a", result.a)
    check_side(page, "b", result.b)


def test_source_text_round_trips(named: Callable[[str], NamedScheme]) -> None:
    text = "".join(c for c in HOSTILE if c < "\x7f")
    page = parsed(inspection_page(inspect_text(text, named("caseops")), ""))
    assert "".join(json.loads(page.scripts[0])["a"]["source"]) == text


def test_nothing_is_loaded(named: Callable[[str], NamedScheme]) -> None:
    page = inspection_page(inspect_text("A plain text.", named("caseops")), "tokenlab inspect")
    for loads in ("http://", "https://", "src=", "href=", "url(", "@import", "fetch(", "XMLHttpRequest"):
        assert loads not in page
    assert "default-src 'none'" in page
    assert "unsafe" not in page


def test_elements_escape() -> None:
    assert element("p", "<&>\x00", class_='"x', hidden=True, title=None) == (
        '<p class="&quot;x" hidden>&lt;&amp;&gt;&lt;U+0000&gt;</p>'
    )


def test_a_charge_that_is_not_its_slice_is_marked(named: Callable[[str], NamedScheme]) -> None:
    result = inspect_text("abc", named("bytes"))
    rows = (result.tokens[0], msgspec.structs.replace(result.tokens[1], bytes=3), result.tokens[2])
    wrong = msgspec.structs.replace(result, tokens=rows)
    assert 'class="t e w" id="a1" data-b="3"' in inspection_page(wrong, "")
    console = Console(width=40, color_system=None, no_color=True)
    with console.capture() as capture:
        print_flow(wrong, console)
    assert capture.get().splitlines()[1:3] == ["  a|b |c|", "  1 3! 1"]


def test_an_empty_text(named: Callable[[str], NamedScheme]) -> None:
    assert parsed(inspection_page(inspect_text("", named("bytes")), "")).tokens == {}
    both = compare("", (named("bytes"), named("bpe")))
    assert parsed(inspection_page(both, "")).tokens == {}


def test_twenty_thousand_tokens_are_a_small_page(named: Callable[[str], NamedScheme]) -> None:
    page = inspection_page(inspect_text("abcde fghi\n" * 1800, named("bytes")), "")
    assert len(page) < 2_000_000
    assert page.count("addEventListener") == 6


def test_a_page_is_whole_or_not_there(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", "é")
    assert (tmp_path / "page.html").read_text() == "é"
    with pytest.raises(InputError, match="cannot write the page"):
        write_page(tmp_path / "no/page.html", "")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("built")
    documents = write_jsonl(folder / "docs.jsonl", [text for n, text in enumerate(TEXTS) if n != 5])
    arguments = ("--scheme", "byte-bpe", "--vocab-size", 270, "--input", documents, "--val-docs", 3)
    assert tokenlab("build", *arguments, "--output", folder / "out").returncode == 0
    return folder / "out", documents


def test_inspect_html(tmp_path: Path, built: tuple[Path, Path]) -> None:
    dataset, _ = built
    file = tmp_path / "page.html"
    result = tokenlab("inspect", dataset, "--doc", 1, "--html", file)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 2
    page = parsed(file.read_text())
    shown = json.loads(tokenlab("inspect", dataset, "--doc", 1, "--json", "--html", file).stdout)
    assert list(page.tokens) == [f"a{row['token']}" for row in shown["tokens"]]
    assert f"tokenlab inspect {dataset} --doc 1 --html {file}" in page.text
    assert "is a folder" in refused("inspect", dataset, "--doc", 1, "--html", tmp_path)
    assert "there is no folder" in refused("verify", dataset, "--html", tmp_path / "no/page.html")


def test_verify_html(tmp_path: Path, built: tuple[Path, Path]) -> None:
    """The page says what the text says, of a dataset that holds and of one that does not."""
    dataset, documents = built
    file = tmp_path / "page.html"
    result = tokenlab("verify", dataset, "--docs", documents, "--html", file, "--json")
    assert result.returncode == 0, result.stderr
    shown = json.loads(result.stdout)
    page = parsed(file.read_text())
    assert page.elements.count("script") == 0
    for fact in ("Trust", shown["fingerprint"], f"tokenlab verify {dataset} --docs {documents}"):
        assert fact in page.text
    for verdict in shown["verdicts"]:
        assert verdict["name"] in page.text
        assert verdict["detail"] in page.text
    for split in shown["splits"].values():
        assert f"{split['source_bytes']:,}" in page.text
    for path in (dataset / "manifest.json", documents):
        digest = subprocess.run(["sha256sum", str(path)], capture_output=True, text=True).stdout.split()[0]
        assert digest in page.text
    other = write_jsonl(tmp_path / "<script><b>\u202e.jsonl", [*TEXTS[:5], "not <i>it</i>", *TEXTS[6:]])
    result = tokenlab("verify", dataset, "--docs", other, "--html", file)
    assert result.returncode == 1
    page = parsed(file.read_text())
    assert page.elements.count("script") == 0
    assert "Reject" in page.text
    for line in result.stdout.splitlines():
        if " fails: " in line:
            assert line.split(" fails: ")[1].split(" (")[0] in page.text


def test_verify_html_of_foreign_shards(tmp_path: Path, built: tuple[Path, Path]) -> None:
    dataset, documents = built
    foreign = tmp_path / "foreign"
    shutil.copytree(dataset, foreign)
    (foreign / "manifest.json").unlink()
    file = tmp_path / "page.html"
    result = tokenlab("verify", foreign, "--html", file, "--json")
    assert result.returncode == 3
    shown, page = json.loads(result.stdout), parsed(file.read_text())
    assert "Unproven" in page.text
    for missing in shown["missing"]:
        assert missing in page.text
    model = ("--tokenizer", foreign / "tokenizer/tokenizer.json", "--val-docs", 3, "--docs", documents)
    result = tokenlab("verify", foreign, *model, "--html", file, "--json")
    shown, page = json.loads(result.stdout), parsed(file.read_text())
    assert (result.returncode, shown["verdict"]) == (0, "trust")
    for invariant in shown["invariants"]:
        assert f"{invariant['number']}  {invariant['name']}" in page.text
        assert invariant["detail"] in page.text
    for warning in shown["warnings"]:
        assert warning in page.text
    assert f"{shown['correction_factor']:.6f}" in page.text
    for path in foreign.rglob("*.bin"):
        assert str(path) in page.text


def browsed(path: Path, at: str, profile: Path) -> str:
    """The page's elements as a browser has them after its script ran."""
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "--dump-dom", f"file://{path}#{at}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout


def details(dom: str) -> dict[str, str]:
    return dict(re.findall('<bdi id="d-([a-z]+)">(.*?)</bdi>', dom))


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_browser_shows_the_details(tmp_path: Path, named: Callable[[str], NamedScheme]) -> None:
    file = tmp_path / "page.html"
    write_page(file, inspection_page(inspect_text("I'm NASA </script>", named("caseops")), ""))
    dom = browsed(file, "token=5", tmp_path / "profile")
    assert details(dom) | {"token": ""} == {
        "token": "",
        "id": "5",
        "piece": "&lt;U+E002&gt;  ALLCAPS",
        "source": "nothing",
        "bytes": "0",
        "offset": "4 to 4 of 18",
        "spells": "EE 80 82",
    }
    assert re.search('<span class="t o on" id="a5" data-b="0" tabindex="0">', dom)
    assert dom.count(' tabindex="') == 1
    hostile = inspect_text(HOSTILE, named("bytes"))
    write_page(file, inspection_page(hostile, ""))
    last = len(hostile.tokens) - 1
    shown = details(browsed(file, f"token={last}", tmp_path / "profile"))
    assert (shown["source"], shown["bytes"]) == ("“⇥”", "1")


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_browser_marks_the_other_side(tmp_path: Path, named: Callable[[str], NamedScheme]) -> None:
    file = tmp_path / "page.html"
    result = compare("The NASA paper", (named("caseops"), named("bytes")))
    write_page(file, inspection_page(result, ""))
    word = next(row for row in result.a.tokens if row.source == "The")
    dom = browsed(file, f"token={word.token}", tmp_path / "profile")
    assert re.findall('class="t[a-z ]* over" id="([ab][0-9]+)"', dom) == ["b0", "b1", "b2"]
    dom = browsed(file, "token=b0", tmp_path / "profile")
    assert re.findall('class="t[a-z ]* over" id="([ab][0-9]+)"', dom) == ["a0", f"a{word.token}"]
    assert details(dom)["token"] == "0 of 14, side B"


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_keys_move_between_tokens(tmp_path: Path, named: Callable[[str], NamedScheme]) -> None:
    content = inspection_page(inspect_text("abc\ndef\nghi", named("bytes")), "")
    keys = ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowUp", "ArrowRight", "End", "ArrowLeft", "Home")
    press = "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));"
    note = "seen.push(document.activeElement.id);"
    script = (
        f"const seen = []; for (const key of {json.dumps(keys)}) {{ {press} {note} }} document.title = seen;"
    )
    injected = content.replace("</body>", f"<script>{script}</script></body>")
    file = tmp_path / "page.html"
    file.write_text(injected)
    assert "<title>A text" in browsed(file, "token=0", tmp_path / "profile"), "the policy let a script in"
    file.write_text(re.sub("<meta http-equiv[^>]*>", "", injected))
    dom = browsed(file, "token=0", tmp_path / "profile")
    assert "<title>a1,a5,a9,a5,a6,a10,a9,a0</title>" in dom
