"""What a person reads of a run and of a score."""

from __future__ import annotations

from trainer.result import EvaluationRecord, Result, ScoreRecord


def result_text(result: Result) -> str:
    """A finished run in a few lines."""
    training, artifact = result.training, result.artifact
    before, after = result.score_before_quantisation, result.score
    return "\n".join(
        [
            f"{result.config.output}: {training.steps:,} steps, {training.train_bytes:,.0f} bytes of text, "
            f"seed {result.seed}",
            f"  loss      {training.first_loss:.4f} at the first step, {training.last_loss:.4f} at the last",
            f"  artifact  {result.contest_bytes:,} bytes: {artifact.code_bytes:,} code + "
            f"{artifact.weights_bytes:,} weights ({artifact.codec}), the cap is "
            f"{result.config.artifact.cap_bytes:,}; with tokenizer {result.strict_bytes:,}",
            f"  before    {before.bpb:.6f} bits per byte, before quantisation",
            *_score_lines(after),
            f"seconds: training {result.timing.training:.1f}, warm-up {result.timing.warmup:.1f}, "
            f"evaluation {result.timing.evaluation:.1f}; {result.timing.tokens_per_second:,.0f} tokens/s",
            f"next: tokenlab eval {result.config.output}/artifact --dataset {result.config.dataset} "
            f"--stride {after.stride}",
        ]
    )


def evaluation_text(record: EvaluationRecord) -> str:
    """A score in a few lines."""
    return "\n".join(
        [
            f"{record.score.documents:,} documents, {record.score.targets:,} targets, each scored once, "
            f"in {record.seconds:.1f} s; artifact {record.contest_bytes:,} bytes, "
            f"with tokenizer {record.strict_bytes:,}",
            *_score_lines(record.score),
        ]
    )


def _score_lines(score: ScoreRecord) -> list[str]:
    lines = [f"  loss      {score.loss:.6f} nats a target"]
    if not score.isolated:
        lines.append(f"  bpb       {score.bpb:.6f} bits per byte, {score.targets_bos:,} BOS targets included")
    lines.append(f"  documents {score.bpb_documents:.6f} bits per byte without BOS targets")
    lines.append(f"  over      {score.source_bytes:,} source bytes of the sidecar")
    if score.unattributed_bytes:
        lines.append(f"  note      {score.unattributed_bytes:,} source bytes more that no token carries")
    return [*lines, f"  signature {score.signature}"]
