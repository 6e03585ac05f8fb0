"""The network against the published figures and a plain reference that shares no code with it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from trainer.flops import model_flops_per_token
from trainer.model import Baseline, ModelShape, build

Array = NDArray[np.float64]
SMALL = ModelShape(vocab_size=50, layers=5, dim=16, heads=4, kv_heads=2)


def norm(x: Array) -> Array:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + np.finfo(np.float32).eps)


def turned(x: Array, time: int, base: float) -> Array:
    """RoPE of one vector as complex numbers."""
    half = len(x) // 2
    angle = -time * base ** (-2 * np.arange(half) / len(x))
    z = (x[:half] + 1j * x[half:]) * np.exp(1j * angle)
    return np.concatenate([z.real, z.imag])


def plain(model: Baseline, ids: list[int]) -> Array:
    """Logits float64[time, vocab], one position and one head after the other."""
    p = {name: value.detach().numpy().astype(np.float64) for name, value in model.named_parameters()}
    shape = model.shape
    d = shape.dim // shape.heads
    group = shape.heads // shape.kv_heads
    x = x0 = norm(p["embedding.weight"][ids])
    pushed: list[Array] = []
    for layer in range(shape.layers):
        b = f"blocks.{layer}."
        decoder = layer - shape.layers // 2
        if decoder >= 0 and pushed:
            x = x + p["skip_weights"][decoder] * pushed.pop()
        x = p[b + "resid_mix"][0] * x + p[b + "resid_mix"][1] * x0
        n = norm(x)
        mixed = np.zeros_like(x)
        for head in range(shape.heads):
            q_rows = p[b + "attention.query.weight"][head * d : (head + 1) * d]
            kv = slice(head // group * d, (head // group + 1) * d)
            queries = [turned(norm(q_rows @ row), t, shape.rope_base) for t, row in enumerate(n)]
            keys = [
                turned(norm(p[b + "attention.key.weight"][kv] @ row), t, shape.rope_base)
                for t, row in enumerate(n)
            ]
            values = [p[b + "attention.value.weight"][kv] @ row for row in n]
            for t in range(len(ids)):
                scores = np.array([queries[t] @ keys[u] for u in range(t + 1)])
                weights = np.exp(scores * p[b + "attention.q_gain"][head] / math.sqrt(d))
                mixed[t, head * d : (head + 1) * d] = weights @ np.array(values[: t + 1]) / weights.sum()
        x = x + p[b + "attention_scale"] * (mixed @ p[b + "attention.output.weight"].T)
        up = np.maximum(norm(x) @ p[b + "mlp.up.weight"].T, 0) ** 2
        x = x + p[b + "mlp_scale"] * (up @ p[b + "mlp.down.weight"].T)
        if decoder < 0:
            pushed.append(x)
    raw = norm(x) @ p["embedding.weight"].T
    return shape.softcap * np.tanh(raw / shape.softcap)


def shaken(shape: ModelShape) -> Baseline:
    """A model none of whose parameters is at its special first value."""
    model = build(shape, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    return build(ModelShape(), seed=0)


def test_parameters_of_the_published_baseline(baseline: Baseline) -> None:
    assert sum(parameter.numel() for parameter in baseline.parameters()) == 17_059_912


def test_untrained_loss_is_that_of_a_uniform_guess(baseline: Baseline) -> None:
    ids = torch.randint(1024, (2, 129), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        loss = float(baseline(ids[:, :-1], ids[:, 1:]))
    assert loss == pytest.approx(math.log(1024), abs=0.01)


@pytest.mark.parametrize(
    "shape", [SMALL, ModelShape(vocab_size=50, layers=4, dim=24, heads=2, kv_heads=2, softcap=5.0)]
)
def test_logits_equal_the_plain_reference(shape: ModelShape) -> None:
    model = shaken(shape)
    ids = [3, 49, 3, 0, 17, 17, 8]
    with torch.no_grad():
        logits = model.logits(model.hidden(torch.tensor([ids]))[0]).numpy()
    np.testing.assert_allclose(logits, plain(model, ids), atol=2e-4)


def test_the_loss_is_mean_cross_entropy() -> None:
    model = shaken(SMALL)
    ids, targets = torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.tensor([[2, 3, 9], [5, 6, 0]])
    with torch.no_grad():
        loss = float(model(ids, targets))
    nats = []
    for row, wanted in zip(ids.tolist(), targets.tolist(), strict=True):
        logits = plain(model, row)
        log_sum = np.log(np.exp(logits).sum(-1))
        nats += [log_sum[t] - logits[t, id] for t, id in enumerate(wanted)]
    assert loss == pytest.approx(np.mean(nats), abs=1e-4)


def test_it_is_causal() -> None:
    model = shaken(SMALL)
    ids = torch.arange(20)[None]
    other = ids.clone()
    other[0, 12:] = 7
    with torch.no_grad():
        assert torch.equal(model.hidden(ids)[0, :12], model.hidden(other)[0, :12])


def test_the_seed_decides_the_weights_and_nothing_outside_changes() -> None:
    torch.manual_seed(9)
    expected = torch.rand(1)
    torch.manual_seed(9)
    weights = [build(SMALL, seed).blocks[0].mlp.up.weight for seed in (1, 1, 2)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.rand(1), expected)


def test_sizes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="heads a multiple of kv_heads"):
        ModelShape(heads=8, kv_heads=3)
    with pytest.raises(ValueError, match="at least 1"):
        ModelShape(layers=0)


def test_operations_a_token_are_the_standard_count() -> None:
    """Twice the multiplications of a forward pass, counted by torch, and twice that backward."""
    shape = ModelShape(vocab_size=50, layers=2, dim=16, heads=4, kv_heads=4)
    model = build(shape, 0)
    ids = torch.zeros((1, 32), dtype=torch.int64)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        torch.autograd.backward(model(ids, ids))
    assert model_flops_per_token(model, 32) * 32 == counter.get_total_flops()
    assert model_flops_per_token(build(ModelShape(), 0), 1024) == 6 * 17_039_360 + 12 * 9 * 512 * 1024
