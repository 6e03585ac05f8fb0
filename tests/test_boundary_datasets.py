"""Datasets with boundaries: built, resumed, verified; what looks ahead is caught and named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from shards.boundaries import BoundaryHeader, open_boundaries, unpack, write_boundaries
from tests.command import refused, tokenlab
from tests.test_build import digests
from tokenlab.ab.controls import permute_ids
from tokenlab.boundaries.entropy import TopK
from tokenlab.boundaries.rule import Rule
from tokenlab.boundaries.state import new_state
from tokenlab.boundaries.stream import as_document, as_stream
from tokenlab.build import BuildOptions, BuildReport, build, make_plan
from tokenlab.build import boundaries as build_boundaries
from tokenlab.build import run as build_run
from tokenlab.dataset import Dataset, read_boundary_rule
from tokenlab.errors import InputError
from tokenlab.export import export_dataset
from tokenlab.manifest import (
    MANIFEST_FILE,
    SPLITS,
    Manifest,
    ShardRecord,
    SidecarRecord,
    Split,
    read_manifest,
)
from tokenlab.report.build import build_text
from tokenlab.verification import Verification, verify

SHARD_TOKENS = 30_011
RULES = ["fixed:5", "space", "table2", "entropy", "monotonic:0.5"]
LOOK_AHEAD = ["topk:20", "bpe:1024"]


def make(output: Path, boundaries: str | None = None, **options: Any) -> BuildReport:
    options = {"scheme": "bytes", "shard_tokens": SHARD_TOKENS, "part_bytes": 60_000} | options
    return build(make_plan(BuildOptions(output=output, boundaries=boundaries, **options)))


def bits_of(dataset: Dataset, split: Split) -> np.ndarray[Any, np.dtype[np.uint8]]:
    pieces = []
    for shard in dataset.manifest.splits[split].shards:
        assert shard.boundaries is not None
        header, packed = open_boundaries(dataset.folder / shard.boundaries.file)
        assert header.parent_sha256 == shard.sha256
        pieces.append(unpack(packed, 0, header.count))
    return np.concatenate(pieces)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def dataset(rule: str) -> Path:
        if rule not in made:
            made[rule] = tmp_path_factory.mktemp("data") / "out"
            make(made[rule], rule, analysis_only=rule in LOOK_AHEAD)
        return made[rule]

    return dataset


@pytest.fixture
def entropy(built: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of its own."""
    return Path(shutil.copytree(built("entropy"), tmp_path / "entropy"))


@pytest.mark.parametrize("rule", [*RULES, *LOOK_AHEAD])
def test_bits_are_those_of_the_slow_twin_across_shards(built: Callable[[str], Path], rule: str) -> None:
    dataset = Dataset(built(rule))
    found = read_boundary_rule(dataset.folder, dataset.manifest)
    record = dataset.manifest.boundaries
    assert found is not None
    assert record is not None
    assert (record.rule, record.kind, record.causal) == (found.text, rule.split(":")[0], found.causal)
    assert len(dataset.manifest.splits["train"].shards) > 3
    bits = bits_of(dataset, "val")
    expected = [
        bit
        for batch in dataset.batches("val")
        for ids in batch.ids
        for bit in found.starts_reference(as_document(ids))
    ]
    assert bits.tolist() == expected
    for split in SPLITS:
        bits = bits_of(dataset, split)
        stream = np.concatenate([as_stream(batch.ids) for batch in dataset.batches(split)])
        assert np.array_equal(bits, found.starts(stream, new_state()))
        assert record.patches[split] == int(bits.sum())


@pytest.mark.parametrize("rule", RULES)
def test_boundaries_are_verified(built: Callable[[str], Path], rule: str) -> None:
    found = verify(built(rule))
    assert (found.verdict, found.verdicts[-1].name, found.verdicts[-1].holds) == ("trust", "causal", True)
    assert found.verdicts[-1].count == sum(split.documents for split in found.splits.values())


def test_no_boundaries_no_verdict(tmp_path: Path) -> None:
    make(tmp_path / "out")
    assert "causal" not in [verdict.name for verdict in verify(tmp_path / "out").verdicts]
    assert not (tmp_path / "out" / "boundaries").exists()


@pytest.mark.parametrize(("scheme", "rule"), [("space-bytes", "space"), ("table2-bytes", "table2")])
def test_built_in_schemes_have_their_boundaries(tmp_path: Path, scheme: str, rule: str) -> None:
    report = make(tmp_path / "out", scheme=scheme)
    record = report.manifest.boundaries
    assert record is not None
    assert record.rule == rule
    val = report.manifest.splits["val"]
    patches = record.patches["val"] - val.documents
    assert f"boundaries: {rule}; val {patches:,} patches, {val.source_bytes / patches:.3f} bytes a patch" in (
        build_text(report)
    )
    assert verify(tmp_path / "out").verdict == "trust"


def test_a_target_is_met_and_recorded(tmp_path: Path) -> None:
    report = make(tmp_path / "out", "table2", bytes_per_patch=7.0)
    record, train = report.manifest.boundaries, report.manifest.splits["train"]
    assert record is not None
    rate = train.source_bytes / (record.patches["train"] - train.documents)
    assert rate == pytest.approx(7.0, rel=0.03)
    assert Dataset(tmp_path / "out").scheme.spec.bytes_per_patch == 7.0
    assert (tmp_path / "out" / "boundaries" / "model.bin").stat().st_size == 8192


def test_ids_are_those_without_boundaries(built: Callable[[str], Path], tmp_path: Path) -> None:
    make(tmp_path / "plain")
    shards = [read_manifest(path).splits["train"].shards for path in (tmp_path / "plain", built("entropy"))]
    assert [shard.sha256 for shard in shards[0]] == [shard.sha256 for shard in shards[1]]


class Killed(BaseException):
    """As if the process were gone."""


@pytest.mark.parametrize("rule", ["entropy", "fixed:7", *LOOK_AHEAD])
def test_a_killed_build_goes_on(
    built: Callable[[str], Path], tmp_path: Path, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = rule in LOOK_AHEAD
    make(tmp_path / "whole", rule, analysis_only=looks)
    original = build_boundaries.write_boundaries
    for survive in (0, 1, 3, 9):
        calls = 0

        def dying(path: Path, *rest: Any, survive: int = survive) -> str:
            nonlocal calls
            calls += 1
            if calls > survive:
                raise Killed
            return original(path, *rest)

        monkeypatch.setattr(build_boundaries, "write_boundaries", dying)
        with pytest.raises(Killed):
            make(tmp_path / "out", rule, analysis_only=looks)
        assert not (tmp_path / "out").exists()
    monkeypatch.setattr(build_boundaries, "write_boundaries", original)
    left = list((tmp_path / "out.partial").rglob("*-boundaries.json"))
    assert len(left) == (9 if looks else 13)
    make(tmp_path / "out", rule, analysis_only=looks)
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_a_damaged_file_of_an_earlier_run_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "whole", "entropy")

    def dying(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(build_run, "make_manifest", dying)
        with pytest.raises(Killed):
            make(tmp_path / "out", "entropy")
    folder = tmp_path / "out.partial" / "dataset" / "boundaries"
    for name in ("fineweb_train_boundaries_000002.bin", "model.bin"):
        path = folder / name
        path.write_bytes(path.read_bytes()[:-1] + b"\x55")
    make(tmp_path / "out", "entropy")
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def rewrite(
    folder: Path,
    split: Split,
    bits: np.ndarray[Any, np.dtype[np.uint8]] | None = None,
    header: Callable[[BoundaryHeader], BoundaryHeader] = lambda header: header,
) -> None:
    """Write the boundary files of a split anew, with every digest of the manifest made right."""
    manifest = read_manifest(folder)
    if bits is None:
        bits = bits_of(Dataset(folder), split)
    start = 0
    shards: list[ShardRecord] = []
    for shard in manifest.splits[split].shards:
        assert shard.boundaries is not None
        path = folder / shard.boundaries.file
        digest = write_boundaries(
            path, header(open_boundaries(path)[0]), [bits[start : start + shard.tokens]]
        )
        shards.append(msgspec.structs.replace(shard, boundaries=SidecarRecord(shard.boundaries.file, digest)))
        start += shard.tokens
    record = manifest.boundaries
    assert record is not None
    written = msgspec.structs.replace(manifest.splits[split], shards=tuple(shards))
    replace_manifest(
        folder,
        manifest,
        splits=manifest.splits | {split: written},
        boundaries=msgspec.structs.replace(record, patches=record.patches | {split: int(bits.sum())}),
    )


def replace_manifest(folder: Path, manifest: Manifest, **changes: Any) -> None:
    (folder / MANIFEST_FILE).write_bytes(msgspec.structs.replace(manifest, **changes).to_json())


def failure_of(found: Verification) -> Any:
    """The failure of the one verdict that must fail."""
    assert found.verdict == "reject"
    failed = [verdict for verdict in found.verdicts if verdict.holds is False]
    assert [verdict.name for verdict in failed] == ["causal"]
    return failed[0].failure


@pytest.mark.parametrize("split", SPLITS)
def test_a_bit_that_was_moved_is_named(entropy: Path, split: Split) -> None:
    bits = bits_of(Dataset(entropy), split)
    stream = np.concatenate([as_stream(batch.ids) for batch in Dataset(entropy).batches(split)])
    begins = np.flatnonzero(stream == Rule.bos)
    at = int(begins[3]) + 1 + 41  # token 41 of document 3
    bits[at] ^= 1
    rewrite(entropy, split, bits)
    failure = failure_of(verify(entropy))
    assert (failure.split, failure.document, failure.token) == (split, 3, 41)
    assert (failure.expected, failure.found) == (1 - bits[at], bits[at])
    assert "which the tokens before it do not give" in failure.message
    assert failure.piece.startswith("<0x")


def test_a_rule_that_looks_ahead_and_claims_not_to_is_caught(entropy: Path) -> None:
    dataset = Dataset(entropy)
    rule = read_boundary_rule(entropy, dataset.manifest)
    assert rule is not None
    stream = np.concatenate([as_stream(batch.ids) for batch in dataset.batches("val")])
    bits = TopK(rule.table, 22).starts(stream, new_state())  # type: ignore[attr-defined]
    rewrite(entropy, "val", bits)
    failure = failure_of(verify(entropy))
    honest = rule.starts(stream, new_state())
    at = int(np.flatnonzero(bits != honest)[0])
    begins = np.flatnonzero(stream == Rule.bos)
    document = int(np.searchsorted(begins, at, side="right")) - 1
    assert (failure.document, failure.token) == (document, at - begins[document] - 1)


def test_a_kernel_that_looks_ahead_is_caught_by_the_prefixes(
    entropy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernels agree with the file: only the slow twin, on prefixes, does not."""
    from tokenlab.boundaries.entropy import Entropy

    def one_further(self: Entropy, ids: Any, state: Any) -> Any:
        seen = honest(self, ids, state)
        starts = np.append(seen[1:], np.uint8(0))
        begins = np.flatnonzero(ids == self.bos)
        starts[begins] = 1
        starts[np.minimum(begins + 1, len(ids) - 1)] = 1
        return starts

    honest = Entropy.starts
    monkeypatch.setattr(Entropy, "starts", one_further)
    dataset = Dataset(entropy)
    rule = read_boundary_rule(entropy, dataset.manifest)
    assert rule is not None
    for split in SPLITS:
        stream = np.concatenate([as_stream(batch.ids) for batch in dataset.batches(split)])
        rewrite(entropy, split, rule.starts(stream, new_state()))
    assert "which the tokens before it do not give" in failure_of(verify(entropy)).message


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("causal", False, "claim that the rule is causal"),
        ("rule", "monotonic", "header's rule"),
        ("parameters_sha256", "11" * 32, "digest of the rule's parameters"),
        ("parent_sha256", "11" * 32, "digest of the token shard"),
    ],
)
def test_a_header_that_lies_is_named(entropy: Path, field: str, value: Any, complaint: str) -> None:
    import dataclasses

    rewrite(entropy, "val", header=lambda header: dataclasses.replace(header, **{field: value}))
    failure = failure_of(verify(entropy))
    assert complaint in failure.message
    assert failure.file == "boundaries/fineweb_val_boundaries_000000.bin"


def test_parameters_that_are_not_those_of_the_digest(entropy: Path) -> None:
    manifest = read_manifest(entropy)
    assert manifest.boundaries is not None
    parameters = manifest.boundaries.parameters | {"threshold": 3}
    replace_manifest(
        entropy, manifest, boundaries=msgspec.structs.replace(manifest.boundaries, parameters=parameters)
    )
    assert "not those of their digest" in failure_of(verify(entropy)).message


def test_a_manifest_that_hides_its_boundaries_fails(entropy: Path) -> None:
    replace_manifest(entropy, read_manifest(entropy), boundaries=None)
    found = verify(entropy)
    assert found.verdict == "reject"
    assert "names no rule" in str(found.verdicts[-1].failure)


def test_a_changed_table_is_two_failures(entropy: Path) -> None:
    path = entropy / "boundaries" / "model.bin"
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    found = verify(entropy)
    assert [verdict.name for verdict in found.verdicts if verdict.holds is False] == ["intact", "causal"]


@pytest.mark.parametrize(
    ("rule", "reason"), [("topk:20", "so a boundary depends"), ("bpe:1024", "where a token ends depends")]
)
def test_a_rule_that_looks_ahead_fails_with_its_reason(
    built: Callable[[str], Path], rule: str, reason: str
) -> None:
    assert f"{reason} on bytes behind it" in failure_of(verify(built(rule))).message


def test_an_export_says_that_boundaries_stay(built: Callable[[str], Path], tmp_path: Path) -> None:
    report = export_dataset(built("space"), "numpy", tmp_path / "out")
    assert any("boundaries stay in the dataset" in note for note in report.notes)
    assert not any("boundaries" in path.name for path in (tmp_path / "out").rglob("*"))


def test_a_permuted_copy_has_no_boundaries(built: Callable[[str], Path], tmp_path: Path) -> None:
    permute_ids(built("space"), tmp_path / "copy", 1)
    manifest = read_manifest(tmp_path / "copy")
    assert manifest.boundaries is None
    assert not list((tmp_path / "copy").rglob("*boundaries*"))


def test_the_command_line(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = tokenlab("build", "--scheme", "bytes", "--boundaries", "space", "--output", out)
    assert result.returncode == 0, result.stderr
    assert "boundaries: space; val " in result.stdout
    result = tokenlab("verify", out)
    assert result.returncode == 0
    assert "causal      holds" in result.stdout


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"scheme": "bpe", "boundaries": "space"}, "boundaries are for schemes of one token a byte"),
        ({"scheme": "space-bytes", "boundaries": "fixed:4"}, r"has boundaries of its own \(space\)"),
        ({"boundaries": "bpe:512"}, "131 of 159 prefixes"),
        ({"boundaries": "space", "analysis_only": True}, "leave it out"),
        ({"bytes_per_patch": 4.0}, "add --boundaries"),
        ({"boundaries": "space", "bytes_per_patch": 4.0}, "no rate to choose"),
    ],
)
def test_what_is_refused(tmp_path: Path, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        make_plan(BuildOptions(output=tmp_path / "out", **({"scheme": "bytes"} | options)))


def test_a_rule_that_looks_ahead_is_refused_with_the_reason(tmp_path: Path) -> None:
    arguments = ("--scheme", "bytes", "--boundaries", "bpe:1024", "--output", tmp_path / "out")
    assert "for analysis add --analysis-only" in refused("build", *arguments)
    assert not list(tmp_path.iterdir())
