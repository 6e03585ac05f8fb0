"""`tokenlab inspect`: one text or document, in one scheme or two, for terminals, pipes and pages."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from tests.command import refused, tokenlab, write_jsonl
from tests.odd_text import HOSTILE, texts
from tests.test_build import TEXTS
from tokenlab.errors import InputError
from tokenlab.inspection import (
    Comparison,
    Inspection,
    InspectOptions,
    NamedScheme,
    align,
    compare,
    inspect_text,
    open_two,
    run_inspection,
)
from tokenlab.report.flow import _block_groups as block_groups
from tokenlab.report.flow import _groups as groups
from tokenlab.report.flow import group_width, layout, print_flow
from tokenlab.report.visible import label, plain, visible


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("docs") / "docs.jsonl", TEXTS)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, documents: Path) -> Path:
    out = tmp_path_factory.mktemp("data") / "out"
    result = tokenlab("build", "--scheme", "bytes", "--input", documents, "--val-docs", 3, "--output", out)
    assert result.returncode == 0, result.stderr
    return out


def rendered(result: Inspection | Comparison, width: int, *, coloured: bool = False) -> list[str]:
    """Lines of the flow view."""
    console = Console(
        width=width,
        force_terminal=coloured,
        color_system="256" if coloured else None,
        no_color=not coloured,
        markup=False,
        emoji=False,
    )
    with console.capture() as capture:
        print_flow(result, console)
    return capture.get().splitlines()


def test_inspect(dataset: Path, documents: Path) -> None:
    result = tokenlab("inspect", dataset, "--doc", 7, "--json")
    shown = json.loads(result.stdout)
    # Document 5 was left out of train, so the source's 7 is the third that train kept.
    assert (shown["split"], shown["document"], shown["source_document"]) == ("train", 3, 7)
    assert shown["charged_bytes"] == shown["source_bytes"] == len(TEXTS[7].encode())
    assert [row["start"] for row in shown["tokens"]] == list(range(len(TEXTS[7].encode())))
    same = tokenlab("inspect", dataset, "--split", "train", "--doc", 3, "--json", "--docs", documents)
    assert json.loads(same.stdout)["tokens"] == shown["tokens"]
    text = tokenlab("inspect", dataset, "--doc", 0).stdout
    assert "'<0x54>'" in text.splitlines()[2]
    assert text.endswith(
        f"{len(TEXTS[0])} tokens charged {len(TEXTS[0])} of {len(TEXTS[0])} bytes of the source\n"
    )
    assert "left out of train" in refused("inspect", dataset, "--doc", 5)
    assert "documents 0 to 9; there is no 10" in refused("inspect", dataset, "--doc", 10)
    assert "train has documents 0 to 5" in refused("inspect", dataset, "--split", "train", "--doc", 6)


def test_inspect_shows_operators_and_normal_forms(tmp_path: Path, shared: Path, documents: Path) -> None:
    out = tmp_path / "out"
    model = shared / "tokenizers/sp8192_caseops_v1_reserved.model"
    arguments = ("--scheme", "caseops-v1", "--input", documents, "--val-docs", 3, "--tokenizer", model)
    assert tokenlab("build", *arguments, "--output", out).returncode == 0
    without = json.loads(tokenlab("inspect", out, "--doc", 3, "--json").stdout)
    assert without["text_is"] == "normal form"
    shown = json.loads(tokenlab("inspect", out, "--doc", 3, "--docs", documents, "--json").stdout)
    assert shown["text_is"] == "source"
    assert "".join(row["source"] for row in shown["tokens"]) == TEXTS[3].strip()
    assert shown["tokens"][0]["start"] == 2
    first = json.loads(tokenlab("inspect", out, "--doc", 0, "--docs", documents, "--json").stdout)
    title, the = first["tokens"][:2]
    assert (title["piece"], title["bytes"], title["source"]) == ("\ue001", 0, "")
    assert (the["piece"], the["bytes"], the["source"]) == ("the", 3, "The")


def test_a_normal_form_without_sidecar_charges_operators_nothing(
    tmp_path: Path, shared: Path, documents: Path
) -> None:
    out = tmp_path / "out"
    model = shared / "tokenizers/sp8192_caseops_v1_reserved.model"
    arguments = ("--scheme", "caseops-v1", "--input", documents, "--val-docs", 1, "--tokenizer", model)
    assert tokenlab("build", *arguments, "--output", out).returncode == 0
    shown = json.loads(tokenlab("inspect", out, "--doc", 4, "--json").stdout)
    assert (shown["split"], shown["text_is"]) == ("train", "normal form")
    assert [(row["piece"], row["bytes"], row["source"]) for row in shown["tokens"][:2]] == [
        ("\ue001", 0, ""),
        ("a", 1, "A"),
    ]


def test_a_text_in_a_scheme(dataset: Path, shared: Path) -> None:
    """A built-in scheme, a dataset, and a published one with its tokenizer."""
    result = tokenlab("inspect", "--text", "I'm NASA", "--scheme", "caseops", "--json")
    assert "caseops: no vocabulary given; 8,192 pieces trained on Python's prose" in result.stderr
    shown = json.loads(result.stdout)
    assert shown["dataset"] is shown["document"] is None
    assert shown["charged_bytes"] == shown["source_bytes"] == 8
    rows = shown["tokens"]
    assert [row["spells"] for row in rows if row["operator"]] == ["ee8081", "ee8082"]
    assert "".join(row["source"] for row in rows) == "I'm NASA"
    same = json.loads(tokenlab("inspect", "--text", TEXTS[0], "--scheme", dataset, "--json").stdout)
    stored = json.loads(tokenlab("inspect", dataset, "--doc", 0, "--json").stdout)
    assert same["tokens"] == stored["tokens"]
    model = shared / "tokenizers/sp8192_caseops_v1_reserved.model"
    published = ("--scheme", "caseops-v1", "--tokenizer", model)
    lines = tokenlab("inspect", "--text", "The", *published).stdout.splitlines()
    assert lines[0] == f"text in caseops-v1 (vocabulary: {model})"
    assert lines[2].split()[2:] == ["'\\ue001'", "0", "''"]


def test_what_does_not_go_together(dataset: Path, tmp_path: Path) -> None:
    model = (tmp_path / "none.model",)
    document: dict[str, Any] = {"dataset": dataset, "doc": 0}
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "nothing to inspect"),
        ({"dataset": dataset}, "give --doc N"),
        (document | {"text": "a"}, "are two texts"),
        (document | {"scheme": "bpe"}, f"--compare {dataset} bpe"),
        (document | {"tokenizers": model}, "--tokenizer goes with --scheme or --compare"),
        ({"text": "a"}, "--text needs a scheme"),
        ({"text": "a", "scheme": "bytes", "compare": ("bytes", "bytes")}, "not both"),
        ({"text": "a", "scheme": "bytes", "doc": 3, "split": "val"}, "--doc, --split: of which dataset?"),
        ({"text": "a", "scheme": "nonsense"}, "unknown scheme 'nonsense'"),
        ({"text": "a", "scheme": "bpe-v1"}, "give --tokenizer FILE"),
        ({"text": "a", "scheme": "bpe-v1", "tokenizers": model}, "cannot read the tokenizer"),
        ({"text": "a", "scheme": "bpe-v1", "tokenizers": model * 2}, "twice for one scheme"),
        ({"text": "a", "compare": ("bytes", "bytes"), "tokenizers": model * 3}, "two schemes at most"),
        ({"text": "a", "scheme": str(dataset), "tokenizers": model}, "has its own tokenizer"),
        ({"text": "a", "compare": ("bytes", str(dataset)), "tokenizers": model}, "needs --tokenizer"),
        ({"text": "\ud800", "scheme": "bytes"}, "not valid UTF-8"),
    ]
    for options, expected in cases:
        with pytest.raises(InputError) as error:
            run_inspection(InspectOptions(**options))
        assert expected in str(error.value), options
    text = ("inspect", "--text", "a")
    assert "nothing to inspect" in refused("inspect")
    assert "--compare" in refused(*text, "--compare", "bytes")
    assert "--view" in refused(*text, "--scheme", "bytes", "--view", "tree")
    assert "not valid UTF-8" in refused("inspect", "--text", os.fsdecode(b"\xff"), "--scheme", "bytes")


def test_one_tokenizer_for_the_scheme_that_needs_it(shared: Path) -> None:
    model = shared / "tokenizers/sp8192_caseops_v1_reserved.model"
    other = shared / "tokenizers/sp1024_official.model"
    first, second = open_two(("bytes", "caseops-v1"), [model])
    assert (first.vocabulary, second.vocabulary) == ("one id a byte", str(model))
    both = open_two(("bpe-v1", "caseops-v1"), [other, model])
    assert [named.scheme.segmenter.vocab_size for named in both] == [1024, 8192]
    with pytest.raises(InputError, match="give --tokenizer FILE"):
        open_two(("bpe-v1", "caseops-v1"), [])


def test_a_pipe_gets_a_table_and_a_terminal_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("inspect", "--text", "Hi there\n", "--scheme", "bytes")
    table = tokenlab(*arguments).stdout
    assert table.splitlines()[1].split() == ["token", "id", "piece", "bytes", "source"]
    assert tokenlab(*arguments, "--view", "table").stdout == table
    monkeypatch.setenv("COLUMNS", "40")
    flow = tokenlab(*arguments, "--view", "flow").stdout
    assert flow.splitlines()[1:3] == ["  H|i|·|t|h|e|r|e|↵|", "  1 1 1 1 1 1 1 1 1"]

    def on_a_terminal() -> str:
        chunks: list[bytes] = []
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "tokenlab", *arguments]
        with subprocess.Popen(command, stdout=theirs, env=os.environ | {"TERM": "xterm-256color"}):
            os.close(theirs)
            try:
                while chunk := os.read(ours, 1 << 16):
                    chunks.append(chunk)
            except OSError:  # How Linux says that the other side is closed.
                pass
        os.close(ours)
        return b"".join(chunks).decode().replace("\r\n", "\n")

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in on_a_terminal()
    monkeypatch.setenv("NO_COLOR", "1")
    assert on_a_terminal() == flow


def test_names_for_what_cannot_be_seen() -> None:
    def shown(text: str | bytes) -> str:
        return "".join(part.text for part in visible(text.encode() if isinstance(text, str) else text))

    assert shown("a b\n\t") == "a·b↵⇥"
    assert shown("\r\x00\x1b\x85\u202e\u200d\ufeff\u3164\ue001\u00a0") == "".join(
        f"<U+{n:04X}>" for n in (0xD, 0, 0x1B, 0x85, 0x202E, 0x200D, 0xFEFF, 0x3164, 0xE001, 0xA0)
    )
    assert shown("\u0301a\u0301") == "\u25cc\u0301a\u0301"
    assert shown(b"\xe2\x96 \xff") == "<0xE2><0x96>·<0xFF>"
    assert plain("a b\udcff\u202e") == "a b<U+DCFF><U+202E>"


def test_operators_have_names(named: Callable[[str], NamedScheme]) -> None:
    """A marker that the source spells itself is no operator."""
    rows = inspect_text("The NASA iPhone \ue001", named("caseops")).tokens
    names = ["".join(part.text for part in label(row)) for row in rows if row.operator]
    assert names == ["TITLE", "ALLCAPS", "CAPNEXT", "ESC"]
    assert "".join(part.text for part in label(rows[-1])) == "<U+E001>"
    literal = inspect_text("\ue001", named("byte-bpe")).tokens
    assert not any(row.operator for row in literal)


@pytest.mark.parametrize("width", [12, 25, 40, 80, 200])
@pytest.mark.parametrize("coloured", [False, True])
def test_the_flow_view_fits_and_leaves_nothing_out(
    width: int, coloured: bool, named: Callable[[str], NamedScheme]
) -> None:
    for scheme in ("caseops", "byte-bpe"):
        result = inspect_text(HOSTILE + " " * 100, named(scheme))
        gap = 0 if coloured else 1
        lines = list(layout(groups(result), width, gap))
        assert all(sum(group_width(group, gap) for group in line) <= width for line in lines)
        cells = [cell for line in lines for group in line for cell in group[0]]
        shown = "".join(part.text for cell in cells for part in cell.parts)
        assert shown == "".join(part.text for row in result.tokens for part in label(row))
        assert [int(cell.charge) for cell in cells if cell.charge] == [row.bytes for row in result.tokens]
        head, foot = 1, 1
        for line in rendered(result, width)[head:-foot]:
            assert cell_len(line) <= width
    # A charge stands below the beginning of its token.
    above, below = rendered(inspect_text("日本 a", named("bytes")), 80)[1:3]
    assert [cell_len(above[: above.index(token)]) for token in ("<0x97>", "a")] == [
        below.index("1", 5),
        len(below) - 1,
    ]


@pytest.mark.parametrize("width", [14, 40, 100])
def test_compared_flows_stand_one_below_the_other(width: int, named: Callable[[str], NamedScheme]) -> None:
    result = compare(HOSTILE, (named("caseops"), named("byte-bpe")))
    for side, of in enumerate((result.a, result.b)):
        cells = [
            cell for line in layout(block_groups(result), width, 0) for group in line for cell in group[side]
        ]
        assert [int(cell.charge) for cell in cells if cell.charge] == [row.bytes for row in of.tokens]
    lines = rendered(compare("The end", (named("caseops"), named("bytes"))), 60)
    assert lines[5].startswith("  B T")
    assert lines[3].index("TITLE") == lines[5].index("T")
    # The block behind the word begins in the same column on both sides.
    assert lines[3].index("·") == lines[5].index("·")


def align_reference(a: list[tuple[int, int]], b: list[tuple[int, int]], length: int) -> list[tuple]:
    """`align` in so many words: a byte at a time, and a token where it begins."""
    inside = {p for start, stop in [*a, *b] for p in range(start + 1, stop)}
    edges = [{0, length} | {p for span in side for p in span} for side in (a, b)]
    cuts = [p for p in range(length + 1) if p not in inside and all(p in edge for edge in edges)]
    blocks = []
    for start, stop in pairwise(cuts):
        within = [
            [n for n, span in enumerate(side) if start <= span[0] < stop or (stop == length == span[0])]
            for side in (a, b)
        ]
        blocks.append((start, stop, *within))
    return blocks


@st.composite
def two_splits(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[tuple[int, int]], int]:
    length = draw(st.integers(0, 12))

    def split() -> list[tuple[int, int]]:
        cuts = sorted(draw(st.lists(st.integers(0, length), max_size=10)))
        return list(pairwise(cuts))

    return split(), split(), length


@given(two_splits())
def test_blocks_are_those_of_the_slow_twin(
    splits: tuple[list[tuple[int, int]], list[tuple[int, int]], int],
) -> None:
    a, b, length = splits
    found = [
        (block.start, block.stop, list(range(*block.a)), list(range(*block.b)))
        for block in align(a, b, length)
    ]
    assert found == align_reference(a, b, length)


@given(texts)
def test_blocks_hold_the_same_text_on_both_sides(named: Callable[[str], NamedScheme], text: str) -> None:
    result = compare(text, (named("caseops"), named("byte-bpe")))
    data = text.encode()
    at = 0
    for block in result.blocks:
        assert block.start == at
        at = block.stop
        for side, span in ((result.a, block.a), (result.b, block.b)):
            rows = side.tokens[slice(*span)]
            assert b"".join(data[row.start : row.stop] for row in rows) == data[block.start : block.stop]
    assert at == len(data)


def test_comparing_through_the_command_line(dataset: Path) -> None:
    shown = json.loads(tokenlab("inspect", dataset, "--doc", 0, "--compare", dataset, "bpe", "--json").stdout)
    assert (shown["document"], shown["a"]["scheme"], shown["b"]["scheme"]) == (0, str(dataset), "bpe")
    assert shown["a"]["charged_bytes"] == shown["b"]["charged_bytes"] == len(TEXTS[0])
    assert shown["blocks"][0]["start"] == 0
    assert shown["blocks"][-1]["stop"] == len(TEXTS[0])
    table = tokenlab("inspect", "--compare", "bytes", "caseops", "--text", "NASA").stdout.splitlines()
    assert table[3].split() == ["at", "id", "A", "bytes", "id", "B", "bytes"]
    assert [line.split()[0] for line in table[4:-2]] == sorted(line.split()[0] for line in table[4:-2])
    assert table[-2].startswith("A: 4 tokens charged 4 of 4 bytes of the source, 1.000 bytes a token")
