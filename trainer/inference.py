"""A trained model from its weights; as an artifact's model.py: `python model.py weights.bin`."""

from __future__ import annotations

import sys
from pathlib import Path

from trainer.model import Baseline, ModelShape, build
from trainer.restore import restored
from trainer.weights import WeightsError, decode


def load_model(file: bytes) -> Baseline:
    """The model that a weights file holds, in float32 on the CPU, ready to score.

    Raises WeightsError for a broken file, or one whose tensors are not those of its shape."""
    about, arrays = decode(file)
    try:
        shape = ModelShape(**about["shape"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"not the tensors of a model of its shape: {error}") from error
    return restored(lambda: build(shape, seed=0), shape.layers, arrays)


if __name__ == "__main__":
    model = load_model(Path(sys.argv[1]).read_bytes())
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters: {model.shape}")
