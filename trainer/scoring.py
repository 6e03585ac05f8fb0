"""`eval`: the score of an artifact from its files and the validation data, nothing else."""

from __future__ import annotations

import time
from pathlib import Path

from shards import write_atomically
from trainer.artifact import load
from trainer.data import open_dataset
from trainer.devices import open_device
from trainer.errors import TrainerError
from trainer.evaluate import evaluate
from trainer.result import EVALUATION_SCHEMA, EvaluationRecord, environment, score_record
from trainer.sizes import tokens_for_bytes


def score_artifact(
    artifact: Path,
    dataset_folder: Path,
    *,
    context: int | None = None,
    stride: int | None = None,
    context_bytes: int | None = None,
    stride_bytes: int | None = None,
    isolated: bool = False,
    device: str = "auto",
    threads: int = 1,
    trust_code: bool = False,
    token_nats: Path | None = None,
) -> EvaluationRecord:
    """Score an artifact on a dataset's validation split.

    Windows are given in tokens, or in source bytes at the split's mean bytes a token; `context` is
    the trained one and `stride` the context where neither is. `token_nats` is a file to write each
    token's nats to: little-endian float32, one a token of the split in order, NaN where it is no
    target. Raises TrainerError when artifact and dataset do not belong together, or a length is given
    in both."""
    for name, tokens, count in (("context", context, context_bytes), ("stride", stride, stride_bytes)):
        if tokens is not None and count is not None:
            raise TrainerError(f"--{name} {tokens} and --{name}-bytes {count}: give one of the two")
    if token_nats is not None and (token_nats.is_dir() or not token_nats.parent.is_dir()):
        what = "is a folder" if token_nats.is_dir() else f"there is no folder {token_nats.parent}"
        raise TrainerError(f"--token-nats {token_nats}: {what}; give a file name")
    place = open_device(device, threads)
    dataset = open_dataset(dataset_folder)
    record, model = load(artifact, trust_code=trust_code)
    scheme = dataset.manifest.scheme
    if record.fingerprint != scheme.fingerprint:
        raise TrainerError(
            f"{artifact} was trained with scheme {record.scheme} ({record.fingerprint[:12]}), "
            f"{dataset_folder} has {scheme.name} ({scheme.fingerprint[:12]})"
        )
    if record.vocab_size != dataset.manifest.vocab_size:
        raise TrainerError(
            f"{artifact} has {record.vocab_size:,} ids, {dataset_folder} {dataset.manifest.vocab_size:,}"
        )
    mean = dataset.split("val").bytes_per_token
    context = _tokens(context, context_bytes, mean) or record.context
    stride = _tokens(stride, stride_bytes, mean) or context
    started = time.monotonic()
    evaluation = evaluate(
        model.to(place),
        dataset,
        context=context,
        stride=stride,
        isolated=isolated,
        device=place,
        keep_tokens=token_nats is not None,
    )
    if token_nats is not None and evaluation.token_nats is not None:
        with write_atomically(token_nats) as file:
            file.write(evaluation.token_nats.astype("<f4", copy=False).data)
    return EvaluationRecord(
        schema=EVALUATION_SCHEMA,
        score=score_record(
            evaluation, dataset, context=context, stride=stride, isolated=isolated, device=place
        ),
        weights_sha256=record.sha256["weights.bin"],
        contest_bytes=record.contest_bytes,
        strict_bytes=record.strict_bytes,
        seconds=time.monotonic() - started,
        environment=environment(place),
        document_nats=evaluation.nats.tolist(),
        document_nats_bos=evaluation.nats_bos.tolist(),
        document_bytes=evaluation.charges.tolist(),
    )


def _tokens(tokens: int | None, count_bytes: int | None, bytes_per_token: float) -> int | None:
    return tokens_for_bytes(count_bytes, bytes_per_token) if count_bytes is not None else tokens
