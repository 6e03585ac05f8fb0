"""looks.jsonl only grows, counts what is new, and opens the confirmation documents once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tokenlab.ab.looks import LOOKS, look, open_confirmation, read_looks
from tokenlab.errors import InputError


def test_a_look_counts_once(tmp_path: Path) -> None:
    assert read_looks(tmp_path) == ()
    assert look(tmp_path, "comparisons", ["runs/swap/b/seed-1", "runs/swap/a/seed-1"])
    assert not look(tmp_path, "comparisons", ["runs/swap/a/seed-1", "runs/swap/b/seed-1"])
    before = (tmp_path / LOOKS).read_bytes()
    assert look(tmp_path, "comparisons", ["runs/swap/a/seed-1"])
    assert look(tmp_path, "other", ["runs/swap/a/seed-1"])
    assert (tmp_path / LOOKS).read_bytes().startswith(before)
    assert [(seen.what, len(seen.runs)) for seen in read_looks(tmp_path)] == [
        ("comparisons", 2),
        ("comparisons", 1),
        ("other", 1),
    ]


def test_confirmation_is_opened_once(tmp_path: Path) -> None:
    open_confirmation(tmp_path, "comparisons", ["a"])
    content = (tmp_path / LOOKS).read_bytes()
    with pytest.raises(InputError, match=r"opened at 20.* for comparisons; they confirm once"):
        open_confirmation(tmp_path, "anything else", ["b"])
    assert (tmp_path / LOOKS).read_bytes() == content
    assert look(tmp_path, "comparisons", ["a"])


def test_one_of_two_at_once_is_the_first(tmp_path: Path) -> None:
    def attempt(n: int) -> str:
        try:
            open_confirmation(tmp_path, f"analysis {n}", [])
        except InputError:
            return "refused"
        return "opened"

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(attempt, range(8))) == ["opened"] + ["refused"] * 7


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    look(tmp_path, "comparisons", [])
    with open(tmp_path / LOOKS, "a") as file:
        file.write('{"time": 1}\n')
    with pytest.raises(InputError, match=r"looks\.jsonl, line 2: not a look"):
        look(tmp_path, "comparisons", [])
