"""Token classes against a reading of one token at a time, and document classes against their text."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.command import tokenlab, write_jsonl
from tests.conftest import COMPOSED
from tests.odd_text import HOSTILE
from tokenlab.ab.classes import (
    FEATURES,
    TOKEN_CLASSES,
    class_totals,
    classify,
    document_classes,
    validation_tokens,
)
from tokenlab.dataset import Dataset
from tokenlab.ops.marks import WITH_SPACE
from tokenlab.ragged import Ragged
from tokenlab.scheme import Scheme

TEXT = "The NASA paper: 1,234 naïve owls\n\nMcDonald's iPhone—日本語 \U0001f469 \ue001x ▁"


def one_by_one(scheme: Scheme, ids: list[int], charges: list[int]) -> list[str]:
    """The classes of a document's tokens by their definitions, a character at a time."""
    markers = {marker for operator in scheme.operators for marker in operator.markers}
    pieces = [scheme.segmenter.token_bytes[i].tobytes() for i in ids]
    classes = []
    for n, (piece, charge) in enumerate(zip(pieces, charges, strict=True)):
        before = b"".join(pieces[:n])
        try:
            before.decode()
            text = piece.decode()
        except UnicodeDecodeError:
            classes.append("byte fallback")
            continue
        bare = text.lstrip()
        previous = [c for c in before.decode() if c not in markers or c in WITH_SPACE][-1:]
        if all(c in markers for c in text) and charge == sum(c in WITH_SPACE for c in text):
            classes.append("operator marks")
        elif not bare:
            classes.append("whitespace")
        elif bare[0] in markers:
            classes.append("other")
        elif unicodedata.category(bare[0])[0] in "LM" and bare != text:
            classes.append("word start with space")
        elif unicodedata.category(bare[0])[0] in "LM":
            inside = previous and unicodedata.category(previous[0])[0] in "LM"
            classes.append("continuation" if inside else "word start")
        else:
            known = {"N": "digits", "P": "punctuation", "S": "punctuation"}
            classes.append(known.get(unicodedata.category(bare[0])[0], "other"))
    return classes


def check(scheme: Scheme, texts: list[str]) -> list[list[str]]:
    encoded = scheme.encode_batch(Ragged.from_bytes([text.encode() for text in texts]))
    found = classify(scheme, encoded.ids, encoded.charges)
    names = [TOKEN_CLASSES[c] for c in found]
    rows = [names[a:b] for a, b in zip(encoded.ids.offsets[:-1], encoded.ids.offsets[1:], strict=True)]
    for row, ids, charges in zip(rows, encoded.ids, encoded.charges, strict=True):
        assert row == one_by_one(scheme, ids.tolist(), charges.tolist())
    return rows


def test_every_scheme_by_definition(lossless: Scheme) -> None:
    rows = check(lossless, [TEXT, "", "x", HOSTILE, " x", "x"])
    assert rows[1] == []
    assert rows[2] == rows[5] == ["word start"]


@settings(max_examples=60)
@given(st.lists(st.text(max_size=12), max_size=4))
def test_any_text(lossless: Scheme, texts: list[str]) -> None:
    check(lossless, texts)


def test_schemes_that_normalise(normalising: Scheme) -> None:
    assert "word start with space" in check(normalising, [TEXT, HOSTILE])[0]


def test_operators_do_not_break_words(caseops: Scheme) -> None:
    (row,) = check(caseops, ["The iPhone"])
    assert row[:2] == ["operator marks", "word start"]
    assert row.count("operator marks") == 2
    assert row[row.index("operator marks", 1) + 1] == "continuation"


@pytest.mark.parametrize("name", COMPOSED)
def test_composed_operators_by_definition(small_scheme: Callable[[str], Scheme], name: str) -> None:
    check(small_scheme(name), [TEXT, "", HOSTILE, "x The\nA b NASA", " \ue006the x\ue006 \ue004\ue006"])


def test_a_mark_that_is_a_space_begins_a_word(small_scheme: Callable[[str], Scheme]) -> None:
    scheme = small_scheme("caseops-alias")
    (row,) = check(scheme, ["x The NASA"])
    pieces = [scheme.segmenter.piece(i) for i in scheme.encode("x The NASA")[0].tolist()]
    marks = [pieces.index(mark) for mark in ("\ue006", "\ue007")]
    assert [row[n] for n in marks] == ["operator marks"] * 2
    assert [row[n + 1] for n in marks] == ["word start"] * 2
    assert row.count("operator marks") == 2
    # As text it is charged three bytes, and is none of the scheme's.
    (literal,) = check(scheme, ["x\ue006the"])
    assert literal.count("operator marks") == 1
    assert "other" in literal


def test_totals_are_the_split_s(tiny_dataset: Path) -> None:
    dataset = Dataset(tiny_dataset)
    tokens = validation_tokens(dataset)
    record = dataset.manifest.splits["val"]
    assert len(tokens.classes) == record.tokens
    assert (len(tokens.starts), tokens.charges.sum()) == (record.documents, record.charged_bytes)
    assert np.flatnonzero(tokens.classes == TOKEN_CLASSES.index("BOS")).tolist() == tokens.starts.tolist()
    nats = np.random.default_rng(0).exponential(2, len(tokens.classes)).astype(np.float32)
    nats[0] = np.nan
    totals = class_totals(tokens, nats)
    assert sum(count for count, _, _ in totals) == record.tokens - 1
    assert sum(size for _, size, _ in totals) == record.source_bytes
    assert sum(n for _, _, n in totals) == pytest.approx(np.nansum(nats, dtype=np.float64), rel=1e-12)
    assert totals[TOKEN_CLASSES.index("operator marks")] == (0, 0, 0.0)
    with pytest.raises(ValueError, match="7 values for"):
        class_totals(tokens, nats[:7])


def test_documents_across_shards(tmp_path: Path, small_scheme: Callable[[str], Scheme]) -> None:
    """The split as a whole is what its documents are one by one."""
    texts = [f"{n} {TEXT}" for n in range(9)]
    source = write_jsonl(tmp_path / "docs.jsonl", texts)
    arguments = ("--scheme", "caseops", "--vocab-size", 300, "--val-docs", 4, "--shard-tokens", 50)
    result = tokenlab("build", *arguments, "--input", source, "--output", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    dataset = Dataset(tmp_path / "out")
    tokens = validation_tokens(dataset)
    rows = check(dataset.scheme, texts[:4])
    names = [TOKEN_CLASSES[c] for c in tokens.classes]
    assert names == [name for row in rows for name in ("BOS", *row)]


@given(st.lists(st.text(max_size=30), min_size=1, max_size=20))
def test_each_document_is_in_one_class_of_each_feature(texts: list[str]) -> None:
    found = document_classes([text.encode() for text in texts])
    for feature in FEATURES:
        classes = [entry for entry in found if entry.feature == feature]
        members = [d for entry in classes for d in entry.documents]
        assert sorted(members) == list(range(len(texts)))
        assert 1 <= len(classes) <= 4
        assert [entry.low for entry in classes[1:]] == [entry.high for entry in classes[:-1]]


def test_document_classes_by_hand() -> None:
    texts = ["aaaa", "AAbb", "a1bb", "éAAA", "éé11"]
    found = {
        (entry.feature, entry.documents): (entry.low, entry.high)
        for entry in document_classes([text.encode() for text in texts])
    }
    assert found[("capitals", (0, 2, 4))] == (0.0, 0.0)
    assert found[("capitals", (1,))] == (0.0, 0.5)
    assert found[("capitals", (3,))] == (0.5, 0.75)
    assert found[("bytes", (0, 1, 2))] == (4.0, 4.0)
    assert found[("non-ASCII", (4,))] == (0.25, 0.5)
