"""The floating-point operations of training, by the field's standard count.

PaLM, appendix B (Chowdhery et al. 2022, arXiv 2204.02311), as nanoGPT and others use it: 6 N + 12 L H Q T
a token for forward and backward pass, where N are the weights of matrix products, L layers, H heads of
dimension Q and T the context. Embedding look-ups multiply nothing and are not in N; a tied embedding is,
once, as the output layer. Attention is counted as if it were not causal, rematerialisation not at all.
Of a hierarchy each stage is counted at its own rate: that of the target, so that it is known beforehand.

>>> flops_per_token(matrix_weights=1_000, layers=2, heads=4, head_dim=16, context=128)
202608
"""

from __future__ import annotations

from torch import nn

from trainer.hierarchical import Hierarchical, MainNetwork, Stage
from trainer.network import Model


def flops_per_token(*, matrix_weights: int, layers: int, heads: int, head_dim: int, context: int) -> int:
    """Floating-point operations a training token."""
    return 6 * matrix_weights + 12 * layers * heads * head_dim * context


def model_flops_per_token(model: Model, context: int) -> float:
    """Those of a network trained on rows of `context` tokens; its vectors multiply no matrix."""
    if isinstance(model, Hierarchical):
        return 6 * model.embedding.weight.numel() + _stage_flops(model.stage, context)
    shape = model.shape
    return flops_per_token(
        matrix_weights=_matrix_weights(model),
        layers=shape.layers,
        heads=shape.heads,
        head_dim=shape.dim // shape.heads,
        context=context,
    )


def _stage_flops(stage: Stage | MainNetwork, context: float) -> float:
    """A position of a stage, those of the networks inside it included."""
    if isinstance(stage, MainNetwork):
        shape, layers, inside = stage.shape, stage.shape.layers, 0.0
        weights = _matrix_weights(stage)
    else:
        shape, layers = stage.own, len(stage.encoder) + len(stage.decoder)
        inside = _stage_flops(stage.inner, context / stage.target) / stage.target
        weights = _matrix_weights(stage) - _matrix_weights(stage.inner)
    return 6 * weights + 12 * layers * shape.dim * context + inside


def _matrix_weights(model: nn.Module) -> int:
    return sum(value.numel() for name, value in model.named_parameters() if name.endswith(".weight"))
