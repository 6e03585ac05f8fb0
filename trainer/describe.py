"""`python -m trainer describe FILE…`: what configurations come to on their datasets, without training.

For programs that plan runs: lengths in tokens and steps, parameters and operations, and the digest of
the code that would train them. The network is laid out on torch's `meta` device, which holds no values.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch

from trainer.artifact import own_code
from trainer.config import RunConfig, load_config
from trainer.data import open_dataset
from trainer.flops import model_flops_per_token
from trainer.hierarchical import Hierarchical
from trainer.network import build_network, rule_of, shape_of
from trainer.sizes import resolve
from trainer.train import code_sha256

SCHEMA = "tokenlab-description-1"


class RunDescription(msgspec.Struct, frozen=True, kw_only=True):
    """One configuration. `config` is resolved (trainer/sizes.py); bytes a token are means of the splits,
    `batch_bytes` the source bytes of a step, `flops_per_byte` as in result.json, `code_bytes` those of
    the code of its artifact."""

    config: RunConfig
    vocab_size: int
    parameters: int
    train_bytes_per_token: float
    val_bytes_per_token: float
    batch_bytes: float
    flops_per_byte: float
    code_bytes: int


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, and the trainer that they are of; `code_bytes` are those of a baseline's artifact's
    code, `gpus` the CUDA devices here."""

    schema: str
    code_sha256: str
    code_bytes: int
    torch: str
    gpus: int
    runs: list[RunDescription]


def describe(files: list[Path]) -> Description:
    """The configurations in these files. Raises TrainerError for the first that could not be trained."""
    return Description(
        schema=SCHEMA,
        code_sha256=code_sha256(),
        code_bytes=len(own_code()),
        torch=str(torch.__version__),
        gpus=torch.cuda.device_count(),
        runs=[_describe(load_config(file, {})) for file in files],
    )


def _describe(config: RunConfig) -> RunDescription:
    dataset = open_dataset(Path(config.dataset))
    config = resolve(config, dataset)
    train, val = dataset.split("train").bytes_per_token, dataset.split("val").bytes_per_token
    with torch.device("meta"):
        shape = shape_of(config.model, dataset.manifest.vocab_size)
        model = build_network(shape, 0, rule_of(config.model, dataset))
    return RunDescription(
        config=config,
        vocab_size=dataset.manifest.vocab_size,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        train_bytes_per_token=train,
        val_bytes_per_token=val,
        batch_bytes=config.batch.tokens * train,
        flops_per_byte=model_flops_per_token(model, config.batch.context) / train,
        code_bytes=len(own_code(hierarchical=isinstance(model, Hierarchical))),
    )
