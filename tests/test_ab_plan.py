"""Plans, their order of runs, what makes arms comparable, and sizes for a given artifact."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.patch_case import make_rule
from tests.trainer_case import tiny_run
from tokenlab.ab.comparable import Arm, differences, require_comparable
from tokenlab.ab.launch import ModelSizes
from tokenlab.ab.plan import Plan, make_plan, parse_arm, parse_plan, require_same
from tokenlab.ab.schedule import schedule
from tokenlab.ab.solver import ROUNDS, candidates, in_band, solve, stored_bytes
from tokenlab.errors import InputError
from tokenlab.manifest import Manifest, read_manifest
from trainer.artifact import quantize
from trainer.config import ModelConfig, load_config
from trainer.model import ModelShape, build
from trainer.network import build_network, shape_of
from trainer.weights import Int8Rows

ARMS: list[dict[str, Any]] = [{"name": "a", "dataset": "x"}, {"name": "b", "dataset": "y"}]


def plan(**keys: Any) -> Plan:
    return make_plan({"arms": ARMS, "preset": "nano"} | keys)


@given(
    st.integers(1, 50),
    st.booleans(),
    st.sampled_from([("bytes",), ("swap", "flops"), ("artifact", "bytes")]),
    st.sampled_from([{}, {"batch": {"rows": 4}, "rates": {"beta1": 0.5}}]),
    st.sampled_from([(), ("verdict",)]),
)
def test_a_plan_is_its_file(
    pairs: int, controls: bool, columns: tuple[str, ...], config: dict[str, Any], allow: tuple[str, ...]
) -> None:
    one = plan(pairs=pairs, controls=controls, columns=columns, config=config, allow=allow, target=0.003)
    text = one.to_toml()
    assert parse_plan(text, "here") == one
    written = text.split("\n")
    for name, value in msgspec.to_builtins(Plan(arms=one.arms)).items():
        if value not in (None, {}) and name != "budget":
            assert any(line.startswith(f"{name} = ") for line in written), f"{name} is not written out"


def test_defaults_are_written_and_what_does_not_go_together_is_refused() -> None:
    assert plan().budget.train_bytes == 1_000_000
    built = plan(arms=[ARMS[0], {"name": "c", "scheme": "bpe"}], input=["d.jsonl"])
    assert (built.val_docs, plan().val_docs) == (50, None)
    assert "val_docs = 50\n" in built.to_toml()
    assert plan(budget={"seconds": 3}, columns=("wallclock",)).budget.train_bytes is None
    refused: tuple[tuple[dict[str, Any], str], ...] = (
        ({"arms": ARMS[:1]}, "1 arm: a comparison needs two"),
        ({"arms": [ARMS[0], ARMS[0]]}, "two arms are called a"),
        ({"arms": [ARMS[0], {"name": "c"}]}, "arm c: give a dataset or a scheme"),
        ({"arms": [ARMS[0], {"name": "control-same", "dataset": "y"}]}, "those of the controls"),
        ({"columns": ("width",)}, "Invalid enum value 'width'"),
        ({"columns": ("bytes", "bytes")}, "give each once"),
        ({"columns": ("wallclock",)}, "wallclock needs --seconds"),
        ({"budget": {"seconds": 3}}, "bytes needs --train-bytes"),
        ({"preset": "baseline"}, "no budget"),
        ({"config": {"seed": 3}}, "config.seed"),
        ({"config": {"budget": {"steps": 3}}}, "config.budget.steps"),
        ({"pairs": 0}, "pairs"),
        ({"paris": 3}, "unknown field `paris`"),
        ({"arms": [ARMS[0], ARMS[1] | {"widht": 3}]}, "unknown field `widht`"),
    )
    for keys, message in refused:
        with pytest.raises(InputError, match=message):
            plan(**keys)


def test_arms_of_a_command_line() -> None:
    arm = parse_arm("mine=caseops:2048")
    assert (arm.name, arm.scheme, arm.vocab_size) == ("mine", "caseops", 2048)
    assert parse_arm("bpe").name == "bpe"
    assert parse_arm("some/own.toml:512").name == "own-512"
    published = parse_arm("bpe-v1@their/sp.model")
    assert (published.name, published.tokenizer) == ("bpe-v1-sp", "their/sp.model")
    for bad in ("bpe:", "a/b=bpe", ":512"):
        with pytest.raises(InputError, match="--arm"):
            parse_arm(bad)


def test_an_experiment_goes_on_with_more_pairs_only() -> None:
    stored = plan(pairs=4)
    require_same(stored, plan(pairs=6, workers=3), Path("ab"), begun=True)
    for keys, name in (({"margin": 0.01}, "margin"), ({"config": {"batch": {"rows": 8}}}, "config")):
        with pytest.raises(InputError, match=f"ab holds another experiment: {name} was"):
            require_same(stored, plan(pairs=4, **keys), Path("ab"), begun=True)
        require_same(stored, plan(pairs=4, **keys), Path("ab"), begun=False)
    with pytest.raises(InputError, match="val_docs"):
        require_same(stored, plan(pairs=4, val_docs=3), Path("ab"), begun=False)
    with pytest.raises(InputError, match="3 would drop some"):
        require_same(stored, plan(pairs=3), Path("ab"), begun=True)


@given(st.integers(2, 4), st.integers(1, 9), st.integers(0, 3), st.integers(0, 1000))
def test_the_order_of_runs(arms: int, pairs: int, control_pairs: int, seed: int) -> None:
    names, columns = list("ABCD")[:arms], ("bytes", "swap")
    about: dict[str, Any] = {
        "first_seed": seed,
        "controls": ("same", "512"),
        "control_pairs": control_pairs,
        "reseeded": ("same",),
    }
    runs = schedule(columns, names, pairs=pairs, **about)  # type: ignore[arg-type]
    assert runs == schedule(columns, names, pairs=pairs + 1, **about)[: len(runs)]  # type: ignore[arg-type]
    assert len(set(runs)) == len(runs) == pairs * 2 * arms + 2 * min(pairs, control_pairs)
    assert {run.seed - run.pair for run in runs if run.arm != "same"} == {seed}
    for column in columns:
        order = [run for run in runs if run.column == column]
        first = [
            next(run.arm for run in order if run.pair == pair and run.arm in names) for pair in range(pairs)
        ]
        assert abs(Counter(first)["A"] - Counter(first)[names[-1]]) <= 1, "no arm is always first"
    seeds = {run.seed for run in runs if run.arm == "same"}
    assert not seeds & {run.seed for run in runs if run.arm != "same"}


@pytest.fixture(scope="module")
def manifest(tiny_dataset: Path) -> Manifest:
    return read_manifest(tiny_dataset)


def changed(manifest: Manifest, split: str, **fields: Any) -> Manifest:
    record = msgspec.structs.replace(manifest.splits[split], **fields)  # type: ignore[index]
    return msgspec.structs.replace(manifest, splits=manifest.splits | {split: record})


def test_arms_that_do_not_compare_are_refused_by_what_differs(manifest: Manifest) -> None:
    base = Arm("base", manifest, "trust")
    assert require_comparable([base, Arm("other", manifest, "normalised")], ()) == []
    cases = {
        "train-documents": Arm("other", changed(manifest, "train", documents_sha256="0" * 64), "trust"),
        "validation-documents": Arm("other", changed(manifest, "val", documents_sha256="0" * 64), "trust"),
        "validation-bytes": Arm("other", changed(manifest, "val", charged_bytes=7), "trust"),
        "verdict": Arm("other", manifest, "reject", "a sidecar is wrong"),
    }
    for name, arm in cases.items():
        assert [found.allow for found in differences([base, arm])] == [name]
        with pytest.raises(InputError, match=f"other.*--allow {name}"):
            require_comparable([base, arm], ())
        (override,) = require_comparable([base, arm], (name,))  # type: ignore[arg-type]
        assert override.allow == name
        assert "base" in override.about or name == "verdict"


SHAPES = [(2, 16, 2, 1, 2), (3, 64, 4, 2, 1), (4, 128, 4, 4, 3), (2, 264, 4, 2, 2)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ids", [260, 1024])
def test_stored_bytes_are_those_of_the_trainers_layout(shape: tuple[int, ...], ids: int) -> None:
    names = ("layers", "dim", "heads", "kv_heads", "mlp_multiple")
    sizes = ModelSizes(**dict(zip(names, shape, strict=True)))
    model = build(ModelShape(vocab_size=ids, **msgspec.to_builtins(sizes)), 0)
    stored = quantize(model, 0.0).values()
    expected = sum(
        tensor.values.nbytes + tensor.scales.nbytes if isinstance(tensor, Int8Rows) else tensor.nbytes
        for tensor in stored
    )
    assert stored_bytes(sizes, ids) == expected


HIERARCHIES: list[dict[str, Any]] = [
    {"boundary_source": "router"},
    {"boundary_source": "router", "stages": 2, "middle_dim": 48, "encoder_layers": 1},
    {"boundary_source": "sidecar", "ngram_orders": (3, 4), "ngram_slots": 5000, "decoder_layers": 1},
]


@pytest.mark.parametrize("more", HIERARCHIES)
def test_stored_bytes_of_a_hierarchy(more: dict[str, Any]) -> None:
    sizes = ModelSizes(layers=3, dim=64, heads=4, kv_heads=2, mlp_multiple=2, byte_dim=32, **more)
    given = msgspec.to_builtins(sizes)
    config = msgspec.convert(given | {"target_bytes_per_patch": 4.0}, ModelConfig)
    rule = make_rule("space") if sizes.boundary_source == "sidecar" else None
    stored = quantize(build_network(shape_of(config, 260), 0, rule), 0.0).values()
    expected = sum(
        tensor.values.nbytes + tensor.scales.nbytes if isinstance(tensor, Int8Rows) else tensor.nbytes
        for tensor in stored
    )
    assert stored_bytes(sizes, 260) == expected
    assert msgspec.convert(given, ModelSizes) == sizes
    found = list(candidates(sizes, 260, 800_000))
    assert len({(other.layers, other.dim) for other in found}) > 20
    assert all(msgspec.structs.replace(other, layers=3, dim=64, mlp_multiple=2) == sizes for other in found)
    assert min(other.dim for other in found) == max(sizes.outer_dims)


@settings(max_examples=30)
@given(
    st.sampled_from([(1024, 16_000_000, 8), (8192, 16_000_000, 8), (1024, 1_000_000, 4), (260, 300_000, 4)]),
    st.floats(0.7, 0.97),
)
def test_the_solver_lands_in_the_band_where_any_network_does(
    case: tuple[int, int, int], ratio: float
) -> None:
    ids, cap, heads = case
    base = ModelSizes(layers=6, dim=heads * 32, heads=heads, kv_heads=heads // 2, mlp_multiple=2)
    measured: list[ModelSizes] = []

    def artifact(sizes: ModelSizes) -> int:
        return 17_000 + round(ratio * stored_bytes(sizes, ids))

    def measure(sizes: ModelSizes) -> int:
        measured.append(sizes)
        return artifact(sizes)

    solution = solve(base, ids, cap, 17_000, measure)
    assert solution.measured == artifact(solution.sizes)
    if not solution.lands(cap):
        assert cap < 16_000_000, "a large budget has shapes enough"
        assert not any(in_band(artifact(sizes), cap) for sizes in candidates(base, ids, cap / ratio))
    assert len(measured) <= ROUNDS
    assert solution.sizes.dim % (2 * heads) == 0
    assert (solution.sizes.heads, solution.sizes.kv_heads) == (base.heads, base.kv_heads)


def test_a_cap_below_every_network_is_refused(tmp_path: Path, tiny_dataset: Path) -> None:
    base = ModelSizes(layers=2, dim=16, heads=2, kv_heads=1, mlp_multiple=2)
    with pytest.raises(InputError, match="raise --cap-bytes"):
        solve(base, 8192, 20_000, 17_000, lambda sizes: 0)
    config = load_config(None, tiny_run(tiny_dataset, tmp_path / "x"))
    for sizes in candidates(base, 260, 30_000):
        shape_of(msgspec.convert(msgspec.to_builtins(sizes), type(config.model)), 260)
