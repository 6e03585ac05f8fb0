"""The loss without the logits against the plain one, in value and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.test_trainer_model import SMALL, shaken
from trainer.loss import softcap_cross_entropy, training_loss


def case(rows: int, dim: int, vocabulary: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, dim, generator=generator, dtype=dtype, requires_grad=True)
    weight = (3 * torch.randn(vocabulary, dim, generator=generator, dtype=dtype)).requires_grad_()
    return hidden, weight, torch.randint(vocabulary, (rows,), generator=generator)


def plain(hidden: Tensor, weight: Tensor, targets: Tensor, softcap: float) -> Tensor:
    return F.cross_entropy(softcap * torch.tanh(hidden @ weight.T / softcap), targets)


@pytest.mark.parametrize("chunk", [1, 3, 7, 100, None])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_value_and_gradients_are_the_plain_ones(
    chunk: int | None, dtype: torch.dtype, tolerance: float
) -> None:
    hidden, weight, targets = case(7, 6, 11, dtype)
    found = softcap_cross_entropy(hidden, weight, targets, 5.0, chunk)
    expected = plain(hidden, weight, targets, 5.0)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)
    for one, other in zip(
        torch.autograd.grad(found * 3, (hidden, weight)),
        torch.autograd.grad(expected * 3, (hidden, weight)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=0)


def test_gradients_by_finite_differences() -> None:
    hidden, weight, targets = case(5, 3, 7, torch.float64)
    assert torch.autograd.gradcheck(
        lambda h, w: softcap_cross_entropy(h, w, targets, 4.0, 2), (hidden, weight)
    )


def test_logits_far_apart_do_not_overflow() -> None:
    hidden, weight, targets = case(4, 3, 5, torch.float32)
    with torch.no_grad():
        hidden.mul_(1e4)
    found = softcap_cross_entropy(hidden, weight, targets, 500.0)
    expected = plain(hidden.double(), weight.double(), targets, 500.0)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_no_tensor_holds_all_logits() -> None:
    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        values = 0

        def __torch_dispatch__(self, function, types, arguments=(), options=None):  # type: ignore[no-untyped-def]
            out = function(*arguments, **(options or {}))
            self.values = max(self.values, out.numel() if isinstance(out, Tensor) else 0)
            return out

    hidden, weight, targets = case(64, 4, 50, torch.float32)
    with Largest() as largest:
        softcap_cross_entropy(hidden, weight, targets, 30.0, 8).backward()
    assert largest.values == 8 * 50
    with Largest() as largest:
        plain(hidden, weight, targets, 30.0).backward()
    assert largest.values == 64 * 50


@pytest.mark.parametrize(("autocast", "tolerance"), [(False, 1e-5), (True, 0.05)])
def test_a_model_s_training_loss(autocast: bool, tolerance: float) -> None:
    model = shaken(SMALL)
    ids = torch.randint(50, (3, 9), generator=torch.Generator().manual_seed(0))
    expected = model(ids[:, :-1], ids[:, 1:])
    expected.backward()
    gradients = [p.grad for p in model.parameters()]
    model.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = training_loss(model, ids[:, :-1], ids[:, 1:])
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, atol=tolerance, rtol=tolerance)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert parameter.grad is not None
        assert gradient is not None
        scale = float(gradient.abs().max())
        torch.testing.assert_close(parameter.grad, gradient, atol=2 * tolerance * scale + 1e-6, rtol=0)
