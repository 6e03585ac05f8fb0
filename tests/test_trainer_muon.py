"""Muon and Adam against plain references; the groups; overfitting one batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.model import ModelShape, build
from trainer.muon import Muon, Optimizers, Rates, orthogonalize, split_parameters

SMALL = ModelShape(vocab_size=50, layers=3, dim=16, heads=2, kv_heads=1)


@pytest.mark.parametrize("shape", [(8, 8), (5, 12), (12, 5), (1, 7)])
def test_newton_schulz_is_its_polynomial_on_singular_values(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(0).normal(size=shape)
    left, singular, right = np.linalg.svd(matrix, full_matrices=False)
    singular = singular / np.linalg.norm(matrix)
    for _ in range(5):
        singular = 3.4445 * singular - 4.7750 * singular**3 + 2.0315 * singular**5
    result = orthogonalize(torch.tensor(matrix, dtype=torch.float32))
    np.testing.assert_allclose(result.numpy(), left * singular @ right, atol=2e-4)


def test_muon_equals_a_plain_reference() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(12, 5, generator=generator)
    parameter = weight.clone().requires_grad_()
    muon = Muon([parameter])
    expected, velocity = weight.numpy().copy(), np.zeros((12, 5), np.float32)
    for momentum in (0.85, 0.9, 0.95):
        parameter.grad = torch.randn(12, 5, generator=generator)
        gradient = parameter.grad.numpy().copy()
        velocity = momentum * velocity + gradient
        update = orthogonalize(torch.tensor(gradient + momentum * velocity)).numpy()
        expected = expected - 0.04 * (12 / 5) ** 0.5 * update
        muon.step(0.04, momentum)
    np.testing.assert_allclose(parameter.detach().numpy(), expected, atol=1e-5)


def test_every_parameter_is_in_one_group() -> None:
    model = build(SMALL, 0)
    matrices, embeddings, vectors, routers = split_parameters(model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert len(matrices) == 6 * 3
    assert {names[id(p)].split(".")[-1] for p in vectors} == {
        "q_gain",
        "attention_scale",
        "mlp_scale",
        "resid_mix",
        "skip_weights",
    }
    assert [names[id(p)] for p in embeddings] == ["embedding.weight"]
    assert routers == []
    assert len({id(p) for p in (*matrices, *vectors, *embeddings)}) == len(names)


def test_adam_and_rates_equal_a_plain_reference() -> None:
    model = build(SMALL, 0)
    optimizers = Optimizers(model, Rates(embedding_rate=0.05, scalar_rate=0.04))
    watched = {"embedding.weight": 0.05, "blocks.1.resid_mix": 0.04, "skip_weights": 0.04}
    parameters = dict(model.named_parameters())
    expected = {name: parameters[name].detach().numpy().astype(np.float64) for name in watched}
    first = {name: np.zeros_like(value) for name, value in expected.items()}
    second = {name: np.zeros_like(value) for name, value in expected.items()}
    generator = torch.Generator().manual_seed(0)
    for step, multiplier in enumerate((1.0, 1.0, 0.25)):
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        for name, rate in watched.items():
            gradient = parameters[name].grad.numpy().astype(np.float64)  # type: ignore[union-attr]
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.95 * second[name] + 0.05 * gradient**2
            mean, square = first[name] / (1 - 0.9 ** (step + 1)), second[name] / (1 - 0.95 ** (step + 1))
            expected[name] = expected[name] - rate * multiplier * mean / (np.sqrt(square) + 1e-8)
        optimizers.step(step, multiplier)
    for name, value in expected.items():
        np.testing.assert_allclose(parameters[name].detach().numpy(), value, atol=1e-5)


def test_momentum_rises_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, float]] = []
    monkeypatch.setattr(Muon, "step", lambda self, rate, momentum: seen.append((rate, momentum)))
    model = build(SMALL, 0)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizers = Optimizers(model, Rates())
    for index, multiplier in ((0, 1.0), (250, 1.0), (500, 0.5), (9_000, 0.0)):
        optimizers.step(index, multiplier)
    assert seen == [(0.04, 0.85), (0.04, pytest.approx(0.9)), (0.02, 0.95), (0.0, 0.95)]


def test_it_overfits_one_batch() -> None:
    torch.set_num_threads(1)
    model = build(ModelShape(vocab_size=50, layers=2, dim=32, heads=2, kv_heads=1), 0)
    optimizers = Optimizers(model, Rates(matrix_rate=0.02, momentum_steps=0))
    ids = torch.randint(50, (2, 25), generator=torch.Generator().manual_seed(0))
    for step in range(120):
        model.zero_grad()
        loss = model(ids[:, :-1], ids[:, 1:])
        loss.backward()
        optimizers.step(step, 1.0)
    assert float(loss.detach()) < 0.1
