"""`python -m trainer --config run.toml` trains; `python -m trainer eval ARTIFACT --dataset DIR` scores.

`python -m trainer sample ARTIFACT` draws tokens from it; `tokenlab sample` shows them as text.
`python -m trainer describe FILE…` says what configurations come to.
`torchrun --nproc_per_node N -m trainer --config run.toml` trains with N processes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec

from trainer.config import load_config, presets
from trainer.describe import describe
from trainer.devices import memory_errors
from trainer.errors import TrainerError
from trainer.processes import as_one, launched_rank
from trainer.report import evaluation_text, result_text
from trainer.sample import read_ids, sample_artifact
from trainer.scoring import score_artifact
from trainer.train import train

INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    """Exit code: 0 done, 1 the run failed, 2 bad usage or input, 130 interrupted."""
    try:
        if arguments[:1] == ["eval"]:
            _evaluate(_evaluation_parser().parse_args(arguments[1:]))
        elif arguments[:1] == ["sample"]:
            _sample(_sampling_parser().parse_args(arguments[1:]))
        elif arguments[:1] == ["describe"]:
            files = _description_parser().parse_args(arguments[1:]).files
            _show(msgspec.json.encode(describe(files)).decode())
        else:
            _train(_training_parser().parse_args(arguments))
    except TrainerError as error:
        rank = launched_rank()
        who = "trainer" if rank == "0" else f"trainer, process {rank}"
        print(f"{who}: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"trainer: {error}", file=sys.stderr)
        return TrainerError.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _train(options: argparse.Namespace) -> None:
    budget = {"steps": options.steps, "seconds": options.seconds, "train_bytes": options.train_bytes}
    window = {
        "validate_every": options.validate_every,
        "validate_every_bytes": options.validate_every_bytes,
    }
    given: dict[str, Any] = {
        "dataset": options.dataset,
        "output": options.output,
        "preset": options.preset,
        "seed": options.seed,
        "budget": _given(budget),
        "evaluation": _given(window),
        "log": {name: True for name in ("tensorboard", "wandb") if getattr(options, name)},
    }
    with as_one():
        config = load_config(options.config, _given(given))
    result = train(config, _say, force=options.force)
    if result is not None:
        _show(msgspec.json.encode(result).decode() if options.json else result_text(result))


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _evaluate(options: argparse.Namespace) -> None:
    with memory_errors("take a smaller --context"):
        record = score_artifact(
            options.artifact,
            options.dataset,
            context=options.context,
            stride=options.stride,
            context_bytes=options.context_bytes,
            stride_bytes=options.stride_bytes,
            isolated=options.isolated,
            device=options.device,
            threads=options.threads,
            trust_code=options.trust_code,
            token_nats=options.token_nats,
        )
    _show(msgspec.json.encode(record).decode() if options.json else evaluation_text(record))


def _sample(options: argparse.Namespace) -> None:
    sampled = sample_artifact(
        options.artifact,
        read_ids(sys.stdin.buffer.read()),
        tokens=options.tokens,
        temperature=options.temperature,
        seed=options.seed,
        device=options.device,
        threads=options.threads,
        trust_code=options.trust_code,
    )
    for token in sampled:
        _show(msgspec.json.encode(token).decode())
        sys.stdout.flush()


def _training_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m trainer",
        description="Train on a tokenlab dataset; under torchrun, with several processes.",
        epilog=f"Presets: {', '.join(presets())}. docs/trainer.md has every key of --config.",
    )
    parser.add_argument("--config", type=Path, help="a run as TOML; options here override it")
    parser.add_argument("--dataset", help="a folder that `tokenlab build` made")
    parser.add_argument("--output", help="where the run goes; result.json is there when it is whole")
    parser.add_argument("--preset", help="what --config overrides key by key")
    parser.add_argument("--seed", type=int, help="of weights and data order")
    parser.add_argument("--steps", type=int, help="stop after so many steps")
    parser.add_argument("--seconds", type=float, help="stop after so many seconds of training")
    parser.add_argument("--train-bytes", type=int, help="stop after so many source bytes seen")
    parser.add_argument("--validate-every", type=int, metavar="STEPS", help="score validation meanwhile")
    parser.add_argument("--validate-every-bytes", type=int, metavar="BYTES", help="in source bytes seen")
    parser.add_argument("--tensorboard", action="store_true", help="write OUTPUT/tensorboard")
    parser.add_argument("--wandb", action="store_true", help="log to W&B; WANDB_MODE=offline is honoured")
    parser.add_argument("--force", action="store_true", help="replace the run at --output")
    parser.add_argument("--json", action="store_true", help="print result.json instead of a summary")
    return parser


def _evaluation_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m trainer eval", description="Score an artifact.")
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--dataset", type=Path, required=True)
    for name in ("--context", "--stride", "--context-bytes", "--stride-bytes"):
        parser.add_argument(name, type=_count)
    parser.add_argument("--isolated", action="store_true")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--trust-code", action="store_true")
    parser.add_argument("--token-nats", type=Path, metavar="FILE", help="write float32, one a token")
    parser.add_argument("--json", action="store_true")
    return parser


def _sampling_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m trainer sample",
        description="Go on from ids, a JSON list on the standard input that begins with BOS; a line a token.",
    )
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--tokens", type=int, default=200, help="draw so many at most")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--trust-code", action="store_true")
    return parser


def _description_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m trainer describe",
        description="Print what configurations come to on their datasets, as JSON; train nothing.",
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="a run as TOML")
    return parser


def _count(text: str) -> int:
    """A number of tokens or bytes, at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _show(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
