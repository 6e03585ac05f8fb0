"""A trained model from its weights; as an artifact's model.py: `python model.py weights.bin`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from trainer.model import Baseline, ModelShape, build
from trainer.weights import WeightsError, decode


def load_model(file: bytes) -> Baseline:
    """The model that a weights file holds, in float32 on the CPU, ready to score.

    Raises WeightsError for a broken file, or one whose tensors are not those of its shape."""
    about, arrays = decode(file)
    try:
        shape = ModelShape(**about["shape"])
        if shape.layers > len(arrays):
            raise ValueError(f"{shape.layers} layers in {len(arrays)} tensors")
        with torch.device("meta"):  # shapes alone: a wrong one allocates nothing
            expected = {name: tuple(value.shape) for name, value in build(shape, 0).state_dict().items()}
        found = {name: array.shape for name, array in arrays.items()}
        wrong = [name for name in expected | found if expected.get(name) != found.get(name)]
        if wrong:
            raise ValueError(f"{wrong[0]} is {found.get(wrong[0])}, not {expected.get(wrong[0])}")
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"not the tensors of a model of its shape: {error}") from error
    model = build(shape, seed=0)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return model.eval()


if __name__ == "__main__":
    model = load_model(Path(sys.argv[1]).read_bytes())
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters: {model.shape}")
