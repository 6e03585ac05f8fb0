"""A trained hierarchical model from its weights; as an artifact's model.py: `python model.py weights.bin`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from trainer.boundaries import Rule
from trainer.hierarchical import Hierarchical, HierarchicalShape, build_hierarchical
from trainer.restore import restored
from trainer.weights import WeightsError, decode

TABLE = "boundaries.table"
"""The tensor that is the rule's table."""


def load_model(file: bytes) -> Hierarchical:
    """The model that a weights file holds, with the rule of its patches if it reads them, in float32 on
    the CPU, ready to score.

    Raises WeightsError for a broken file, or one whose tensors are not those of its shape."""
    about, arrays = decode(file)
    try:
        shape = HierarchicalShape(**about["shape"])
        table = arrays.pop(TABLE, np.zeros(0, np.float32)).astype(np.uint8)
        rule = Rule(**about["rule"], table=table) if about["rule"] is not None else None
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"not the tensors of a model of its shape: {error}") from error
    layers = shape.layers + shape.stages * (shape.encoder_layers + shape.decoder_layers)
    return restored(lambda: build_hierarchical(shape, 0, rule), layers + len(shape.ngram_orders), arrays)


if __name__ == "__main__":
    model = load_model(Path(sys.argv[1]).read_bytes())
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters: {model.shape}")
