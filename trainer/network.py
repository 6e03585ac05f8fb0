"""The network of a configuration: the flat baseline, or a hierarchy around its blocks."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeAlias

import msgspec

from trainer.boundaries import Rule
from trainer.config import ModelConfig
from trainer.data import Dataset
from trainer.errors import TrainerError
from trainer.hierarchical import Hierarchical, HierarchicalShape, build_hierarchical
from trainer.model import Baseline, ModelShape, build

Model: TypeAlias = Baseline | Hierarchical


def shape_of(sizes: ModelConfig, vocab_size: int) -> ModelShape:
    """The network of a configuration (a HierarchicalShape unless `boundary_source` is none), resolved:
    with its bytes a patch. Raises TrainerError for sizes that do not go together."""
    values: dict[str, Any] = msgspec.structs.asdict(sizes)
    kind = ModelShape if sizes.boundary_source == "none" else HierarchicalShape
    known = {field.name for field in fields(kind)} - {"vocab_size"}
    try:
        return kind(vocab_size=vocab_size, **{name: values[name] for name in known})
    except ValueError as error:
        raise TrainerError(f"[model]: {error}") from error


def rule_of(sizes: ModelConfig, dataset: Dataset) -> Rule | None:
    """The rule that a model of these sizes reads a dataset's patches by. Raises DataError where the
    dataset has none that may be read."""
    return dataset.rule() if sizes.boundary_source == "sidecar" else None


def build_network(shape: ModelShape, seed: int, rule: Rule | None) -> Model:
    """A fresh float32 network on the CPU; its weights depend on shape and seed only."""
    if isinstance(shape, HierarchicalShape):
        return build_hierarchical(shape, seed, rule)
    return build(shape, seed)
