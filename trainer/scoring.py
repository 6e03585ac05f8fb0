"""`eval`: the score of an artifact from its files and the validation data, nothing else."""

from __future__ import annotations

import time
from pathlib import Path

from trainer.artifact import load
from trainer.data import open_dataset
from trainer.devices import open_device
from trainer.errors import TrainerError
from trainer.evaluate import evaluate
from trainer.result import EVALUATION_SCHEMA, EvaluationRecord, environment, score_record


def score_artifact(
    artifact: Path,
    dataset_folder: Path,
    *,
    context: int | None,
    stride: int | None,
    isolated: bool,
    device: str,
    threads: int,
    trust_code: bool,
) -> EvaluationRecord:
    """Score an artifact on a dataset's validation split. `context` is the trained one and `stride`
    the context where they are None. Raises TrainerError when the two do not belong together."""
    place = open_device(device, threads)
    dataset = open_dataset(dataset_folder)
    record, model = load(artifact, trust_code=trust_code)
    scheme = dataset.manifest.scheme
    if record.fingerprint != scheme.fingerprint:
        raise TrainerError(
            f"{artifact} was trained with scheme {record.scheme} ({record.fingerprint[:12]}), "
            f"{dataset_folder} has {scheme.name} ({scheme.fingerprint[:12]})"
        )
    context = context if context is not None else record.context
    stride = stride if stride is not None else context
    started = time.monotonic()
    evaluation = evaluate(
        model.to(place), dataset, context=context, stride=stride, isolated=isolated, device=place
    )
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
