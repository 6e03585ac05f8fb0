"""Rules in numpy against a bit at a time; a dataset's bitmaps, read and held against their rule."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patch_case import BOS, FIRST_BYTE, bits_of, make_rule, with_boundaries
from trainer.batches import Batches
from trainer.boundaries import Rule
from trainer.data import open_dataset
from trainer.errors import DataError

RULES = ("fixed:5", "space", "table2", "entropy:3.9", "monotonic:0.5")
documents = st.lists(st.binary(max_size=40) | st.text(max_size=20).map(str.encode), min_size=1, max_size=4)


def stream(documents: list[bytes]) -> list[int]:
    return [token for text in documents for token in (BOS, *(FIRST_BYTE + byte for byte in text))]


@pytest.mark.parametrize("text", RULES)
@given(documents=documents, seed=st.integers(0, 5))
def test_a_rule_is_its_definition(text: str, documents: list[bytes], seed: int) -> None:
    rule, ids = make_rule(text, seed), stream(documents)
    opens = rule.opens(np.array(ids))
    expected = bits_of(rule, [*ids, FIRST_BYTE])  # the last document goes on
    following = np.array([*ids[1:], FIRST_BYTE])
    assert (opens | (following == BOS)).tolist() == expected[1:].astype(bool).tolist()


@pytest.mark.parametrize("text", RULES)
@given(documents=documents, data=st.data())
def test_answers_depend_on_what_was_read_alone(
    text: str, documents: list[bytes], data: st.DataObject
) -> None:
    """A prefix's answers are the whole's, and `reach` tokens back are enough."""
    rule, ids = make_rule(text), np.array(stream(documents))
    opens = rule.opens(ids)
    cut = data.draw(st.integers(1, len(ids)))
    assert rule.opens(ids[:cut]).tolist() == opens[:cut].tolist()
    at = cut - 1
    age = at - int(np.flatnonzero(ids[:cut] == BOS)[-1])
    back = min(age, rule.reach)
    assert rule.opens(ids[at - back :], age - back)[back:].tolist() == opens[at:].tolist()


def test_rules_that_are_none_are_refused() -> None:
    good = make_rule("entropy:2")
    for change in (
        {"kind": "topk"},
        {"parameters": {"period": 3}},
        {"table": good.table[1:]},
        {"parameters": good.parameters | {"orders": 9}},
    ):
        fields = {name: getattr(good, name) for name in ("kind", "parameters", "table", "bos", "first_byte")}
        with pytest.raises(ValueError, match=r"rule|table"):
            Rule(**fields | change)
    with pytest.raises(ValueError, match="tokens that are none"):
        make_rule("space").opens(np.array([BOS, 2]))


@pytest.fixture(scope="module", params=RULES)
def patched(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Path
) -> Path:
    return with_boundaries(tiny_dataset, tmp_path_factory.mktemp("patched") / "out", request.param)


def test_the_bitmap_is_read_as_the_rule_says(patched: Path) -> None:
    """Across shards, and before a BOS, where the bitmap would tell that the document ends."""
    dataset = open_dataset(patched)
    split = dataset.split("train")
    patches = dataset.patches(split)
    whole = dataset.rule().opens(split.tokens.read(0, len(split.tokens)))
    assert patches.recomputed_and_compared().tolist() == whole.tolist()
    for start, stop in ((0, len(whole)), (3, 4), (490, 1010), (len(whole) - 7, len(whole))):
        assert patches.opens(start, stop).tolist() == whole[start:stop].tolist()
        assert patches.recomputed(start, stop).tolist() == whole[start:stop].tolist()
    batches = Batches(split, rows=3, context=50, block_documents=2, seed=1, patches=patches)
    plain = Batches(split, rows=3, context=50, block_documents=2, seed=1)
    seen = []
    for _ in range(20):
        inputs, targets, opens = batches.next()
        seen += np.stack([inputs, opens]).reshape(2, -1).T.tolist()
        assert [part.tolist() for part in plain.next()] == [inputs.tolist(), targets.tolist()]
    expected = dataset.rule().opens(np.array([token for token, _ in seen]))
    assert [bool(opens) for _, opens in seen] == expected.tolist()


def test_a_wrong_bit_is_named(tmp_path: Path, tiny_dataset: Path) -> None:
    dataset = open_dataset(with_boundaries(tiny_dataset, tmp_path / "out", "space", flip=503))
    with pytest.raises(DataError, match="boundaries of val are not those of their rule at token 503"):
        dataset.patches(dataset.split("val")).recomputed_and_compared()


def test_boundaries_that_look_ahead_or_are_anothers_are_refused(tmp_path: Path, tiny_dataset: Path) -> None:
    with pytest.raises(DataError, match="no boundaries; build it with"):
        open_dataset(tiny_dataset).rule()
    ahead = with_boundaries(tiny_dataset, tmp_path / "ahead", "space", causal=False)
    with pytest.raises(DataError, match=r"look ahead \(causal = false\)"):
        open_dataset(ahead).rule()
    folder = with_boundaries(tiny_dataset, tmp_path / "table", "table2")
    (folder / "boundaries/model.bin").write_bytes(bytes(8192))
    with pytest.raises(DataError, match="rule of its boundaries is not the manifest's"):
        open_dataset(folder).rule()
    folder = with_boundaries(tiny_dataset, tmp_path / "file", "space")
    manifest = json.loads((folder / "manifest.json").read_text())
    shards = manifest["splits"]["train"]["shards"]
    shards[0]["boundaries"] = shards[1]["boundaries"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    dataset = open_dataset(folder)
    with pytest.raises(DataError, match="boundaries of another shard"):
        dataset.patches(dataset.split("train")).opens(0, 5)
