"""The hierarchical model: its parts against plain twins, and what TRAINER.md 2.2 asks of it as proof."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.command import tokenlab
from tests.patch_case import make_rule, tiny_patches, with_boundaries
from tests.test_trainer_train import metrics, run, silent, trained
from tests.trainer_case import texts
from trainer.artifact import load
from trainer.config import load_config
from trainer.data import open_dataset
from trainer.errors import DataError, TrainerError
from trainer.evaluate import evaluate
from trainer.flops import model_flops_per_token
from trainer.hierarchical import (
    SLACK,
    Hierarchical,
    HierarchicalShape,
    build_hierarchical,
    chunk,
    ngram_slot,
    ratio_loss,
    room_for,
    smooth,
)
from trainer.loss import hierarchical_loss
from trainer.model import Baseline, ModelShape, build
from trainer.muon import Optimizers, Rates, split_parameters
from trainer.scoring import score_artifact
from trainer.sizes import resolve
from trainer.train import Trainer, train

torch.set_num_threads(1)


def shape_of(source: str, **more: Any) -> HierarchicalShape:
    sizes: dict[str, Any] = {
        "vocab_size": 260,
        "layers": 2,
        "dim": 16,
        "heads": 2,
        "kv_heads": 1,
        "boundary_source": source,
        "target_bytes_per_patch": 4.0,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "byte_dim": 8,
        "byte_heads": 2,
        "byte_kv_heads": 1,
        "middle_dim": 12,
    }
    return HierarchicalShape(**sizes | more)


def shaken(source: str, **more: Any) -> Hierarchical:
    """A model none of whose parameters is at its special first value."""
    rule = make_rule("space") if source == "sidecar" else None
    model = build_hierarchical(shape_of(source, **more), 1, rule)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


SOURCES = (
    ("router", {}),
    ("router", {"stages": 2}),
    ("sidecar", {"ngram_orders": (3, 5), "ngram_slots": 50}),
)


def told(model: Hierarchical, ids: Tensor) -> tuple[Tensor, ...]:
    """What `hidden` takes besides ids."""
    if model.rule is None:
        return ()
    return (torch.from_numpy(np.stack([model.rule.opens(row.numpy()) for row in ids])),)


def sentence(seed: int, rows: int = 1, length: int = 60) -> Tensor:
    """ids int64[rows, length]: a BOS, and text."""
    text = " ".join(texts(40, seed)).encode()
    return torch.tensor([[1, *(4 + byte for byte in text[row * 50 :][: length - 1])] for row in range(rows)])


def test_the_ratio_loss_is_one_at_its_target_and_pulls_towards_it() -> None:
    """At F = G = 1/N; with more patches than that its gradient lowers G, with fewer it raises G."""
    target, time = 4.0, 400
    for share, sign in ((0.25, 0), (0.5, 1), (0.1, -1)):
        begins = (torch.arange(time) < share * time)[None]
        p = torch.full((1, time), share, dtype=torch.float64, requires_grad=True)
        loss = ratio_loss(p, begins, torch.ones_like(begins), target)
        (slope,) = torch.autograd.grad(loss, p)
        assert (slope.sum() > 1e-9) == (sign > 0)
        assert (slope.sum() < -1e-9) == (sign < 0)
        if not sign:
            assert float(loss.detach()) == pytest.approx(1.0, abs=1e-12)
        else:
            assert float(loss.detach()) > 1


def test_padding_counts_in_no_ratio() -> None:
    begins = torch.tensor([[True, False, False, True, True, True]])
    p = begins.double()
    valid = torch.arange(6)[None] < 4
    assert ratio_loss(p, begins, valid, 3.0) == ratio_loss(p[:, :4], begins[:, :4], valid[:, :4], 3.0)


@given(st.integers(1, 70), st.integers(0, 99))
def test_smoothing_is_the_loop(count: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    values = torch.randn((2, count, 3), generator=draw, dtype=torch.float64)
    p = torch.rand((2, count), generator=draw, dtype=torch.float64)
    p[torch.rand((2, count), generator=draw) < 0.2] = 1.0
    y, expected = torch.zeros((2, 3), dtype=torch.float64), []
    for c in range(count):
        y = p[:, c, None] * values[:, c] + (1 - p[:, c, None]) * y
        expected.append(y)
    torch.testing.assert_close(smooth(values, p), torch.stack(expected, 1), atol=1e-10, rtol=0)


def test_smoothing_a_sure_router_copies() -> None:
    values = torch.randn((1, 9, 4))
    assert torch.equal(smooth(values, torch.ones(1, 9)), values)


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(1, 40))
def test_patches_beyond_the_room_are_dropped_last_come_first(row: list[bool], room: int) -> None:
    begins = torch.tensor([[True, *row]])
    position, patch, filled, dropped = (part[0].tolist() for part in chunk(begins, room))
    every = [index for index, begun in enumerate(begins[0].tolist()) if begun]
    kept = every[:room]
    assert position == kept + [0] * (room - len(kept))
    assert filled == [True] * len(kept) + [False] * (room - len(kept))
    assert patch == [sum(at <= index for at in kept) - 1 for index in range(len(row) + 1)]
    assert dropped == len(every) - len(kept)


def test_all_boundaries_are_a_flat_model_through_an_identity() -> None:
    """Encoder and decoder are then the blocks of a baseline without skips."""

    class Identity(nn.Module):
        def forward(self, x: Tensor, *_: Any) -> tuple[Tensor, list[Any]]:
            return x, []

    ids = sentence(0, rows=2)
    for source in ("sidecar", "router"):
        model = shaken(source, encoder_layers=2)
        model.stage.inner = Identity()
        flat = build(ModelShape(vocab_size=260, layers=3, dim=8, heads=2, kv_heads=1), 0)
        with torch.no_grad():
            model.stage.residual.weight.zero_()
            flat.skip_weights.zero_()
            flat.embedding.weight.copy_(model.embedding.weight)
            blocks = [*model.stage.encoder, *model.stage.decoder]
            for block, own in zip(flat.blocks, blocks, strict=True):
                block.load_state_dict(own.state_dict())
            if model.stage.router is not None:  # cosines of -1, so that every p is 1
                model.stage.router.forward = lambda h: torch.ones(h.shape[:2])  # type: ignore[method-assign]
            opens = () if source == "router" else (torch.ones_like(ids, dtype=torch.bool),)
            assert bool(model.patches(ids, *opens).all())
            # The published bound on p leaves a ten-thousandth of the patch before.
            tolerance = 1e-5 if source == "sidecar" else 1e-2
            torch.testing.assert_close(model.hidden(ids, *opens), flat.hidden(ids), atol=tolerance, rtol=0)


@pytest.mark.parametrize(("source", "more"), SOURCES)
def test_no_position_sees_what_follows(source: str, more: dict[str, Any]) -> None:
    """Another byte before, at and behind every boundary changes nothing before it."""
    model, ids = shaken(source, **more), sentence(1)
    with torch.no_grad():
        before = model.hidden(ids, *told(model, ids))
        boundaries = torch.nonzero(model.patches(ids, *told(model, ids))[0])[:, 0].tolist()
        assert 5 < len(boundaries) < 50
        for at in sorted({b + shift for b in boundaries for shift in (-1, 0, 1, 2)} & set(range(1, 60))):
            other = ids.clone()
            other[0, at:] = (ids[0, at:] - 4 + 101) % 256 + 4
            other[0, -1] = 1
            after = model.hidden(other, *told(model, other))
            torch.testing.assert_close(after[:, :at], before[:, :at], atol=1e-5, rtol=0)
            assert not torch.allclose(after[:, at], before[:, at], atol=1e-3)


@pytest.mark.parametrize(("source", "more"), SOURCES)
def test_a_row_with_room_enough_is_trained_as_it_is_scored(source: str, more: dict[str, Any]) -> None:
    model, ids = shaken(source, **more), sentence(2, rows=3)
    with torch.no_grad():
        capped, ratio, means = model.training_hidden(ids, *told(model, ids))
        if means["dropped"] == 0:
            torch.testing.assert_close(capped, model.hidden(ids, *told(model, ids)), atol=1e-5, rtol=0)
        else:
            assert source == "router"
    assert (float(ratio) > 0) == (source == "router") == ("ratio_loss" in means)
    assert room_for(60, 4.0) == 1 + int(SLACK * 15)


@pytest.mark.parametrize(("source", "more"), SOURCES)
def test_shapes_are_known_beforehand(source: str, more: dict[str, Any]) -> None:
    """One graph without a break, whatever the text; gradients reach every parameter."""
    model = shaken(source, **more)
    graph = torch.compile(hierarchical_loss, backend="eager", fullgraph=True, dynamic=False)
    for seed in (3, 4):
        ids = sentence(seed, rows=2)
        arguments = (ids[:, :-1], ids[:, 1:], *told(model, ids[:, :-1]))
        losses = []
        for loss in (graph, hierarchical_loss):
            model.zero_grad()
            _, objective, _ = loss(model, *arguments)
            objective.backward()
            losses.append(float(objective.detach()))
            assert all(parameter.grad is not None for parameter in model.parameters())
        assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_gradient_reaches_the_router_from_the_text_alone() -> None:
    model, ids = shaken("router", ratio_weight=0.0), sentence(5)
    _, objective, _ = hierarchical_loss(model, ids[:, :-1], ids[:, 1:])
    objective.backward()
    assert model.stage.router is not None
    gradient = model.stage.router.query.weight.grad
    assert gradient is not None
    assert float(gradient.abs().max()) > 1e-6


def test_ngrams_at_first_change_nothing_and_hash_what_was_read() -> None:
    ids = sentence(6, rows=2)
    plain = build_hierarchical(shape_of("router"), 3)
    more = build_hierarchical(shape_of("router", ngram_orders=(3, 8), ngram_slots=7), 3)
    for own, other in zip(plain.stage.parameters(), more.stage.parameters(), strict=True):
        other.data.copy_(own.data)
    more.embedding.weight.data.copy_(plain.embedding.weight.data)
    assert torch.equal(more.hidden(ids), plain.hidden(ids))
    for order in (3, 8):
        slots = ngram_slot(ids, order, 1000)
        assert 0 <= int(slots.min()) <= int(slots.max()) < 1000
        assert len(slots[0].unique()) > 20
        for at in (0, 1, 9, 30):
            window = [0] * order + ids[0].tolist()
            key = 0
            for token in reversed(window[at + 1 : at + 1 + order]):
                key = key * 0x1_0003 + token
            key = (key * 0x1E3779B97F4A7C15 + 2**63) % 2**64 - 2**63
            assert int(slots[0, at]) == (key >> 32) % 1000


def test_parameters_are_in_their_groups() -> None:
    model = shaken("router", stages=2, ngram_orders=(3, 4), ngram_slots=9)
    groups = split_parameters(model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert sorted(id(p) for group in groups for p in group) == sorted(names)
    assert [names[id(p)] for p in groups.embeddings] == [
        "embedding.weight",
        "ngrams.0.weight",
        "ngrams.1.weight",
    ]
    assert {names[id(p)] for p in groups.routers} == {
        f"stage.{inner}router.{side}.weight" for inner in ("", "inner.") for side in ("query", "key")
    }
    assert {"stage.padding", "stage.inner.padding"} <= {names[id(p)] for p in groups.vectors}


def test_operations_a_token_are_counted_at_the_rate_of_each_stage() -> None:
    """Those that torch counts in a forward and backward pass, of a row whose patches are the target."""
    sizes = {"kv_heads": 2, "byte_kv_heads": 2, "dim": 16}
    model = shaken("sidecar", **sizes)
    ids = torch.full((1, 64), 70)
    opens = torch.arange(64)[None] % 4 == 0
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        torch.autograd.backward(model.logits(model.hidden(ids, opens)).sum())
    assert model_flops_per_token(model, 64) * 64 == counter.get_total_flops()


@pytest.mark.parametrize(
    ("target", "more"),
    [
        (5.0, {"byte_dim": 32, "dim": 32}),
        (2.5, {"byte_dim": 16, "ratio_weight": 0.3}),
        (10.0, {"byte_dim": 16, "ratio_weight": 0.3}),
    ],
)
def test_the_rate_moves_to_its_target(target: float, more: dict[str, Any]) -> None:
    """In 100 steps on a CPU: at the published weight; at ten times that wherever the target is. (At the
    published weight and a width of 16 the text still outweighs it: 0.30 for a target of 0.2.)"""
    model = build_hierarchical(shape_of("router", target_bytes_per_patch=target, **more), 0)
    optimizers = Optimizers(model, Rates(momentum_steps=20))
    rates = []
    for step in range(100):
        ids = sentence(step, rows=4, length=97)
        model.zero_grad()
        _, objective, means = hierarchical_loss(model, ids[:, :-1], ids[:, 1:])
        objective.backward()
        optimizers.step(step, min(1.0, (100 - step) / 40))
        rates.append(float(means["patches_per_byte.0"]))
    assert abs(rates[0] * target - 1) > 0.15
    assert np.mean(rates[-20:]) * target == pytest.approx(1.0, abs=0.25)


def test_shapes_that_do_not_go_together_are_refused() -> None:
    for more, message in (
        ({"stages": 2, "boundary_source": "sidecar"}, "one level of patches"),
        ({"byte_dim": 32}, "must not shrink inwards, and are 32 and 16"),
        ({"target_bytes_per_patch": 1.0}, "must be more than 1"),
        ({"ngram_orders": (1,)}, "each must be 2 to 16"),
    ):
        with pytest.raises(ValueError, match=message):
            shape_of("router", **more)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs their rule"):
        Hierarchical(shape_of("sidecar"))


@pytest.fixture(scope="module", params=["sidecar", "two stages"])
def finished(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Path
) -> tuple[Path, dict[str, Any], Any]:
    """The dataset, the tables and the result of a whole run."""
    folder = tmp_path_factory.mktemp("hierarchical")
    dataset = tiny_dataset
    if request.param == "sidecar":
        dataset = with_boundaries(tiny_dataset, folder / "data", "entropy:3.9")
        tables = tiny_patches(dataset, folder / "a", "sidecar", ngram_orders=[3], ngram_slots=64)
    else:
        tables = tiny_patches(dataset, folder / "a", "router", stages=2)
    return dataset, tables, run(tables)


def test_a_whole_run(finished: tuple[Path, dict[str, Any], Any]) -> None:
    """The artifact, loaded by its own code in a fresh process, scores as the network did."""
    dataset, tables, result = finished
    output = Path(tables["output"])
    assert result.score.bpb == pytest.approx(result.score_before_quantisation.bpb, abs=0.01)
    code = (output / "artifact/model.py").read_bytes()
    assert result.artifact.code_bytes == len(code)
    assert b"class Hierarchical" in code
    last = metrics(output)[-1]
    assert result.training.patches == {name: last[name] for name in result.training.patches}
    assert {"bytes_per_patch", "patches_dropped"} <= last.keys()
    assert ("ratio_loss" in last) == (tables["model"]["boundary_source"] == "router")
    record, model = load(output / "artifact")
    stored = {"boundaries.table"} & result.artifact.tensor_bytes.keys()
    assert bool(stored) == (model.rule is not None)
    again = evaluate(model, open_dataset(dataset), context=16, stride=8)
    assert again.score.nats == pytest.approx(result.score.nats, rel=1e-6)
    program = (
        "import runpy, sys\n"
        "sys.argv = ['model.py', 'weights.bin']\n"
        "runpy.run_path('model.py', run_name='__main__')\n"
        "assert 'torch._dynamo' not in sys.modules, 'it takes longer to load than the model'\n"
    )
    answer = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=output / "artifact", capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith(f"{record.parameters:,} parameters: HierarchicalShape(")


@pytest.mark.parametrize("kind", ["sidecar", "router"])
def test_a_stopped_run_goes_on_to_the_same_bits(
    kind: str, tmp_path: Path, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after five steps, and taken up again by another process's trainer."""
    dataset = tiny_dataset
    if kind == "sidecar":
        dataset = with_boundaries(tiny_dataset, tmp_path / "data", "monotonic:0.5")
    tables = tiny_patches(dataset, tmp_path / "whole", kind, ngram_orders=[3], ngram_slots=64)
    opened = open_dataset(dataset)

    def trainer(output: str) -> Trainer:
        (tmp_path / output).mkdir(exist_ok=True)
        config = load_config(None, tables | {"output": str(tmp_path / output)})
        return Trainer(resolve(config, opened), opened, "")

    whole = trainer("whole")
    whole.run(silent)
    original = Trainer._values

    def interrupted(self: Trainer, *arguments: Any) -> dict[str, float]:
        if self.progress.steps == 5:
            self.save()
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(Trainer, "_values", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer("stopped").run(silent)
    monkeypatch.undo()
    again = trainer("stopped")
    again.resume(silent)
    assert again.progress.steps == 5
    again.run(silent)
    assert again.progress.losses == whole.progress.losses
    assert again.progress.patches == whole.progress.patches
    tensors = [[*t.model.parameters(), *t.optimizers.state().values()] for t in (whole, again)]
    assert all(torch.equal(one, other) for one, other in zip(*tensors, strict=True))


def test_the_model_of_none_is_the_baseline(tmp_path: Path, tiny_dataset: Path) -> None:
    tables = tiny_patches(tiny_dataset, tmp_path / "a", "none")
    trainer = trained(tables)
    assert type(trainer.model) is Baseline
    plain = tiny_patches(tiny_dataset, tmp_path / "b", "none")
    plain["model"] = {name: tables["model"][name] for name in ("layers", "dim", "heads", "kv_heads")}
    assert trained(plain).progress.losses == trainer.progress.losses


def test_accumulation_is_one_large_batch(tmp_path: Path, tiny_dataset: Path) -> None:
    losses = []
    for micro in (1, 4):
        tables = tiny_patches(tiny_dataset, tmp_path / str(micro), "router")
        tables["batch"]["micro_rows"] = micro
        trainer = trained(tables)
        losses.append([*trainer.progress.losses, *trainer.progress.patches.values()])
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_boundaries_that_a_model_may_not_read_stop_it(tmp_path: Path, tiny_dataset: Path) -> None:
    ahead = with_boundaries(tiny_dataset, tmp_path / "ahead", "space", causal=False)
    with pytest.raises(DataError, match="look ahead"):
        run(tiny_patches(ahead, tmp_path / "out", "sidecar"))
    with pytest.raises(DataError, match="no boundaries"):
        run(tiny_patches(tiny_dataset, tmp_path / "out", "sidecar"))
    tables = tiny_patches(tiny_dataset, tmp_path / "out", "router")
    del tables["model"]["target_bytes_per_patch"]
    with pytest.raises(TrainerError, match=r"give model\.target_bytes_per_patch"):
        load_config(None, tables)


def test_an_artifact_on_other_boundaries_is_refused(
    finished: tuple[Path, dict[str, Any], Any], tmp_path: Path, tiny_dataset: Path
) -> None:
    """Its rule is recomputed; a bitmap that says otherwise is an error."""
    _, tables, _ = finished
    if tables["model"]["boundary_source"] != "sidecar":
        pytest.skip("a router reads no boundaries")
    artifact = Path(tables["output"]) / "artifact"
    for text, flip, message in (
        ("entropy:3.9", 40, "not those of their rule at token 40"),
        ("space", -1, "boundaries of another rule"),
    ):
        other = with_boundaries(tiny_dataset, tmp_path / text, text, flip=flip)
        with pytest.raises(DataError, match=message):
            score_artifact(artifact, other)


@pytest.mark.slow
def test_a_router_on_english_finds_words(tmp_path: Path, shared: Path) -> None:
    """Trained for some minutes, the bytes at which it makes a step, which H-Net calls the first of a chunk,
    are first letters of words far more often than chance."""
    arguments = ("--scheme", "bytes", "--input", shared / "data/fineweb_orig.jsonl.zst", "--val-docs", 5)
    built = tokenlab("build", *arguments, "--output", tmp_path / "data")
    assert built.returncode == 0, built.stderr
    given = {"dataset": str(tmp_path / "data"), "output": str(tmp_path / "out"), "preset": "nano-hnet"}
    train(load_config(None, given), lambda line: None)
    _, model = load(tmp_path / "out/artifact")
    split = open_dataset(tmp_path / "data").split("val")
    ids = split.tokens.read(0, 4096).reshape(8, 512)
    with torch.no_grad():
        opens = model.patches(torch.from_numpy(ids)).numpy()
    letters = np.isin((ids - 4) | 32, np.arange(ord("a"), ord("z") + 1))
    starts = (letters & ~np.roll(letters, 1, axis=1))[:, 1:-1]
    before_starts = np.roll(letters & ~np.roll(letters, 1, axis=1), -1, axis=1)[:, 1:-1]
    chosen = opens[:, 1:-1]
    assert 0.1 < chosen.mean() < 0.35
    assert starts[chosen].mean() > 2.5 * starts.mean()
    assert chosen[starts].mean() > 0.6
    # Not in the byte before: the main network's step is made one byte later than SpaceByte's.
    assert before_starts[chosen].mean() < before_starts.mean()
