"""`python -m trainer --config run.toml` trains; `python -m trainer eval ARTIFACT --dataset DIR` scores.

`torchrun --nproc_per_node N -m trainer --config run.toml` trains with N processes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec

from trainer.config import load_config
from trainer.errors import TrainerError
from trainer.report import evaluation_text, result_text
from trainer.scoring import score_artifact
from trainer.train import train

INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    """Exit code: 0 done, 1 the run failed, 2 bad usage or input, 130 interrupted.

    Of several processes the first speaks for all in what all find; what one finds it says itself."""
    try:
        if arguments[:1] == ["eval"]:
            _evaluate(_evaluation_parser().parse_args(arguments[1:]))
        else:
            _train(_training_parser().parse_args(arguments))
    except TrainerError as error:
        if first_speaks(error):
            print(f"trainer: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"trainer: {error}", file=sys.stderr)
        return TrainerError.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _train(options: argparse.Namespace) -> None:
    budget = {"steps": options.steps, "seconds": options.seconds, "train_bytes": options.train_bytes}
    given: dict[str, Any] = {
        "dataset": options.dataset,
        "output": options.output,
        "preset": options.preset,
        "seed": options.seed,
        "budget": {name: value for name, value in budget.items() if value is not None},
    }
    config = load_config(options.config, {name: value for name, value in given.items() if value is not None})
    result = train(config, _say, force=options.force)
    _show(msgspec.json.encode(result).decode() if options.json else result_text(result))


def _evaluate(options: argparse.Namespace) -> None:
    record = score_artifact(
        options.artifact,
        options.dataset,
        context=options.context,
        stride=options.stride,
        isolated=options.isolated,
        device=options.device,
        threads=options.threads,
        trust_code=options.trust_code,
    )
    _show(msgspec.json.encode(record).decode() if options.json else evaluation_text(record))


def _training_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m trainer", description="Train on a tokenlab dataset.")
    parser.add_argument("--config", type=Path, help="a run as TOML; options here override it")
    parser.add_argument("--dataset")
    parser.add_argument("--output")
    parser.add_argument("--preset")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--train-bytes", type=int)
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--json", action="store_true")
    return parser


def _evaluation_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m trainer eval", description="Score an artifact.")
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--context", type=int)
    parser.add_argument("--stride", type=int)
    parser.add_argument("--isolated", action="store_true")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--trust-code", action="store_true")
    parser.add_argument("--json", action="store_true")
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _show(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
