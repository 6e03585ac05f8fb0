"""Schemes of installed packages: found by entry points, as the example package has them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests import odd_text
from tests.test_scheme import check_reference, check_totals
from tokenlab.errors import InputError
from tokenlab.registry import built_in_names, scheme_names, scheme_text
from tokenlab.scheme import PROBE, Scheme
from tokenlab.scheme_spec import open_scheme_spec
from tokenlab.vocabulary import train_vocabulary

EXAMPLE = Path(__file__).parents[1] / "examples" / "plug-in-schemes"


def install_groups(folder: Path, name: str, groups: dict[str, dict[str, str]]) -> None:
    """A package's metadata, as an installer leaves it: version 1.0, entry points by group."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = []
    for group, points in groups.items():
        lines += [f"[{group}]", *(f"{point} = {value}" for point, value in points.items()), ""]
    (info / "entry_points.txt").write_text("\n".join(lines))


def install(folder: Path, points: dict[str, str]) -> None:
    """A package of schemes alone."""
    install_groups(folder, "plugged-in", {"tokenlab.schemes": points})


def test_the_example_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedded: list[bytes]) -> None:
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    install_groups(tmp_path, "plugged-in", project["entry-points"])
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(EXAMPLE))
    assert scheme_names() == [*built_in_names(), "min-tokens", "superword", "unigram", "wordops-unigram"]
    for name in ("unigram", "wordops-unigram"):
        spec = open_scheme_spec(name).with_vocab_size(700)
        assert spec.name == name
        scheme = Scheme(spec, train_vocabulary(spec, embedded[:20]))
        texts = [PROBE, odd_text.HOSTILE, " (The\nX \u2055 a"]
        check_totals(scheme, texts)
        check_reference(scheme, texts)
    with pytest.raises(InputError, match="installed: min-tokens, superword, unigram, wordops-unigram; or"):
        scheme_text("unknown")


def test_what_cannot_be_loaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, {"gone": "no_such_module:TEXT", "number": "math:pi", "bpe": "math:pi"})
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match="scheme gone of the package plugged-in: no_such_module:TEXT cannot"):
        open_scheme_spec("gone")
    with pytest.raises(InputError, match="math:pi is no text of a scheme file but float"):
        open_scheme_spec("number")
    assert open_scheme_spec("bpe").name == "bpe"  # a built-in scheme is not replaced
