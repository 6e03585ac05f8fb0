"""`tokenlab train` and `tokenlab eval`: the trainer, launched as a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from tokenlab.cli.app import Json, app

INSTALL = "pip install 'tokenlab-bpb[train]'"


@app.command(
    epilog="\b\nExamples:\n"
    "  tokenlab train out/caseops --preset nano --seed 1 --output runs/a\n"
    "  tokenlab train out/caseops --preset nano --train-bytes 1000000 --output runs/b\n"
    "  tokenlab train out/fw --preset baseline --config mine.toml --output runs/c --tensorboard\n"
    "  torchrun --nproc_per_node 8 -m trainer --dataset out/fw --preset baseline --output runs/d"
)
def train(
    dataset: Annotated[Path, typer.Argument(metavar="DIR", help="A dataset that `tokenlab build` made.")],
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the run goes; result.json is there when it is whole.")
    ],
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="nano (a CPU, a minute), micro (a CPU, minutes), baseline (a GPU, 600 s); for bytes "
            "nano-bytes, nano-space, nano-hnet, bytes-16mb, hnet-16mb (docs/trainer.md).",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="Settings that override the preset's.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed of weights and data order [default: 0]")
    ] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", help="Stop after N steps.")] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", help="Stop after S seconds of training.")
    ] = None,
    train_bytes: Annotated[
        int | None, typer.Option(metavar="N", help="Stop after N source bytes seen.")
    ] = None,
    validate_every: Annotated[
        int | None, typer.Option(metavar="N", help="Score the validation split every N steps.")
    ] = None,
    validate_every_bytes: Annotated[
        int | None, typer.Option(metavar="N", help="The same, every N source bytes seen.")
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write event files to OUTPUT/tensorboard.")
    ] = False,
    wandb: Annotated[bool, typer.Option("--wandb", help="Log to W&B; WANDB_MODE is honoured.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the run at --output.")] = False,
    json: Json = False,
) -> None:
    """Train a small language model on a dataset, and score its artifact in bits per byte.

    The artifact (code, compressed weights, tokenizer) is scored in a fresh process. An
    interrupted run goes on at its last checkpoint when the same command is run again.
    Of --steps, --seconds and --train-bytes the first to be used up ends it; they replace the
    preset's. In --config batch, context, warm-up and warmdown may be given in source bytes, so
    that every tokenizer sees the same text. For several GPUs start the trainer with torchrun.
    """
    given = {
        "--preset": preset,
        "--config": config,
        "--seed": seed,
        "--steps": steps,
        "--seconds": seconds,
        "--train-bytes": train_bytes,
        "--validate-every": validate_every,
        "--validate-every-bytes": validate_every_bytes,
    }
    arguments = ["--dataset", str(dataset), "--output", str(output), *_spelled(given)]
    flags = ["--tensorboard"] * tensorboard + ["--wandb"] * wandb + ["--force"] * force + ["--json"] * json
    _launch(arguments + flags)


@app.command(
    "eval",
    epilog="\b\nExamples:\n"
    "  tokenlab eval runs/a/artifact --dataset out/caseops --stride 64\n"
    "  tokenlab eval runs/a/artifact --dataset out/caseops --context-bytes 400 --stride-bytes 200\n"
    "  tokenlab eval runs/a/artifact --dataset out/caseops --isolated --json",
)
def eval_(
    artifact: Annotated[Path, typer.Argument(metavar="DIR", help="An artifact that `tokenlab train` made.")],
    dataset: Annotated[Path, typer.Option(metavar="DIR", help="The dataset whose validation is scored.")],
    stride: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Tokens a window moves on [default: the context]")
    ] = None,
    context: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Tokens of a window [default: as trained]")
    ] = None,
    stride_bytes: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="--stride in source bytes, at the split's mean bytes a token."),
    ] = None,
    context_bytes: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="--context in source bytes, likewise.")
    ] = None,
    isolated: Annotated[
        bool, typer.Option("--isolated", help="Each document by itself; BOS is never a target.")
    ] = False,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Run the artifact's code though it is not tokenlab's own.")
    ] = False,
    token_nats: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write each token's nats: float32, NaN where it is no target."),
    ] = None,
    json: Json = False,
) -> None:
    """Score an artifact on validation data, with nothing else at hand.

    Every target is scored once; the bytes are the dataset's own sidecar's. Windows given in
    source bytes are the same text for every tokenizer; the signature names their tokens.
    """
    given = {
        "--dataset": dataset,
        "--stride": stride,
        "--context": context,
        "--stride-bytes": stride_bytes,
        "--context-bytes": context_bytes,
        "--token-nats": token_nats,
    }
    flags = ["--isolated"] * isolated + ["--trust-code"] * trust_code + ["--json"] * json
    _launch(["eval", str(artifact), *_spelled(given), *flags])


def _spelled(given: Mapping[str, object]) -> list[str]:
    return [word for name, value in given.items() if value is not None for word in (name, str(value))]


def _launch(arguments: list[str]) -> None:
    """Run the trainer with this Python; its exit code is ours."""
    import importlib.util
    import subprocess

    from tokenlab.errors import InputError

    if importlib.util.find_spec("torch") is None:
        raise InputError(f"training needs torch (2.11 to 2.13): {INSTALL}")
    # -P: a folder `trainer` where the user stands is not the trainer.
    process = subprocess.Popen([sys.executable, "-P", "-m", "trainer", *arguments])
    while True:
        try:
            raise typer.Exit(process.wait())
        except KeyboardInterrupt:
            # The terminal sent it to the trainer too, which finishes its step and saves.
            continue
