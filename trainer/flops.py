"""The floating-point operations of training, by the field's standard count.

PaLM, appendix B (Chowdhery et al. 2022, arXiv 2204.02311), as nanoGPT and others use it: 6 N + 12 L H Q T
a token for forward and backward pass, where N are the weights of matrix products, L layers, H heads of
dimension Q and T the context. Embedding look-ups multiply nothing and are not in N; a tied embedding is,
once, as the output layer. Attention is counted as if it were not causal, rematerialisation not at all.

>>> flops_per_token(matrix_weights=1_000, layers=2, heads=4, head_dim=16, context=128)
202608
"""

from __future__ import annotations

from trainer.model import Baseline


def flops_per_token(*, matrix_weights: int, layers: int, heads: int, head_dim: int, context: int) -> int:
    """Floating-point operations a training token."""
    return 6 * matrix_weights + 12 * layers * heads * head_dim * context


def model_flops_per_token(model: Baseline, context: int) -> int:
    """Those of a network trained on rows of `context` tokens; its vectors multiply no matrix."""
    shape = model.shape
    matrices = (value for name, value in model.named_parameters() if name.endswith(".weight"))
    return flops_per_token(
        matrix_weights=sum(value.numel() for value in matrices),
        layers=shape.layers,
        heads=shape.heads,
        head_dim=shape.dim // shape.heads,
        context=context,
    )
