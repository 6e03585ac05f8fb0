"""What the trainer costs beside plain PyTorch.

    python benchmarks/trainer.py [DATASET] [--steps 10] [--repeat 3]

One thread, CPU time, the nano model. Three parts: the harness against a bare loop over the same model, the
loader against what training takes, and the evaluator against the two naive scorers of a sliding window:

- one window a time: each window of `context` tokens by itself, logits and log-softmax of all of it, the
  last `stride` targets kept. This is the published way but for its batches;
- one target a time: a forward pass over the `context` tokens before every target, logits of the last.

Without DATASET, `tokenlab build` makes two of the embedded corpus, of 1,024 and 8,192 ids.
"""

from __future__ import annotations

import os
import sys

# Before the libraries are loaded, which read it once.
os.environ["OMP_NUM_THREADS"] = "1"
# This file has the name of the package that it measures: the folder it lies in is looked at last.
sys.path.append(sys.path.pop(0))

import argparse
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from measure import cpu_seconds, run_tokenlab

from trainer.batches import Batches
from trainer.config import RunConfig, load_config
from trainer.data import Dataset, open_dataset
from trainer.evaluate import evaluate
from trainer.loss import training_loss
from trainer.model import Baseline, ModelShape, build
from trainer.muon import Optimizers, Rates
from trainer.train import Trainer

STRIDE = 64
CONTEXTS = (128, 1024)
VOCABULARIES = (1024, 8192)
NAIVE_WINDOWS = 24
NAIVE_TARGETS = 24
LOADED_BATCHES = 500


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path, nargs="?")
    parser.add_argument("--steps", type=int, default=10, help="training steps of a measurement")
    parser.add_argument("--repeat", type=int, default=3, help="measurements of a row; the fastest counts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="tokenlab-benchmark-") as name:
        folder = Path(name)
        if options.dataset:
            datasets = [open_dataset(options.dataset)]
        else:
            datasets = [_embedded(folder / str(size), size) for size in VOCABULARIES]
        print(f"{_processor()}, torch {torch.__version__}, one thread; fastest of {options.repeat}")
        training(datasets[-1], options.steps, options.repeat, folder)
        print(f"evaluation, CPU milliseconds per {STRIDE} targets, stride {STRIDE}, untrained nano model")
        for dataset in datasets:
            for context in CONTEXTS:
                scorers(dataset, context, options.repeat)


def training(dataset: Dataset, steps: int, repeat: int, folder: Path) -> None:
    """The harness and the loader; the harness writes its files in `folder`."""
    given = {"dataset": str(dataset.root), "output": str(folder), "preset": "nano"}
    config = load_config(None, {**given, "budget": {"steps": steps}})
    tokens = steps * config.batch.tokens
    bare_loop(config, dataset, 1)  # what the first steps of a process cost is neither's
    rows = [
        (
            bare_loop(config, dataset, steps),
            bare_loop(config, dataset, steps, training_loss),
            harness(config, dataset),
        )
        for _ in range(repeat)
    ]
    plain, bare, whole = (tokens / min(seconds) for seconds in zip(*rows, strict=True))
    load = LOADED_BATCHES * config.batch.tokens / best(repeat, lambda: loader(config, dataset))
    print(f"training nano, {dataset.manifest.vocab_size:,} ids, tokens per CPU second")
    print(f"    plain PyTorch loop   {plain:>10,.0f}")
    print(f"    the same, our loss   {bare:>10,.0f}")
    print(
        f"    trainer              {whole:>10,.0f}  {whole / plain:.2f} of the first, "
        f"{whole / bare:.2f} of the second (target >= 0.95)"
    )
    print(f"    loader alone         {load:>10,.0f}  {load / whole:,.0f} times the trainer (target >= 50)")


def best(repeat: int, measure: Callable[[], float]) -> float:
    """The least of `repeat` measurements."""
    return min(measure() for _ in range(repeat))


def plain_loss(model: Baseline, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """What everybody writes: all logits, then cross-entropy."""
    return F.cross_entropy(model.logits(model.hidden(ids).flatten(0, 1)), targets.flatten())


def bare_loop(
    config: RunConfig,
    dataset: Dataset,
    steps: int,
    loss: Callable[[Baseline, torch.Tensor, torch.Tensor], torch.Tensor] = plain_loss,
) -> float:
    """CPU seconds of the steps alone, on one batch made before."""
    trainer = Trainer(config, dataset, "")
    inputs, targets = (torch.from_numpy(part) for part in trainer.batches.next())
    model, optimizers = trainer.model, Optimizers(trainer.model, Rates(momentum_steps=50))
    micro = config.batch.micro_rows
    parts = config.batch.rows // micro

    def loop() -> None:
        for step in range(steps):
            model.zero_grad(set_to_none=True)
            for at in range(0, len(inputs), micro):
                (loss(model, inputs[at : at + micro], targets[at : at + micro]) / parts).backward()
            optimizers.step(step, 1.0)

    return cpu_seconds(loop)


def harness(config: RunConfig, dataset: Dataset) -> float:
    """CPU seconds of the same steps with data, clock, metrics and a checkpoint at the end."""
    trainer = Trainer(config, dataset, "")
    return cpu_seconds(lambda: trainer.run(lambda line: None))


def loader(config: RunConfig, dataset: Dataset) -> float:
    """CPU seconds of LOADED_BATCHES batches alone."""
    batch = config.batch
    source = Batches(
        dataset.split("train"),
        rows=batch.rows,
        context=batch.context,
        block_documents=batch.block_documents,
        seed=0,
    )
    source.next()
    return cpu_seconds(lambda: [source.next() for _ in range(LOADED_BATCHES)])


def scorers(dataset: Dataset, context: int, repeat: int) -> None:
    """The evaluator and the naive scorers over the same stream, with an untrained nano model."""
    vocabulary = dataset.manifest.vocab_size
    model = build(ModelShape(vocab_size=vocabulary, layers=4, dim=64, heads=4, kv_heads=2), 0)
    tokens = dataset.split("val").tokens
    ids = torch.from_numpy(tokens.read(0, context + NAIVE_WINDOWS * STRIDE))

    def ours() -> float:
        return cpu_seconds(lambda: evaluate(model, dataset, context=context, stride=STRIDE))

    evaluator = STRIDE * best(repeat, ours) / (len(tokens) - 1)
    window = best(repeat, lambda: cpu_seconds(lambda: by_window(model, ids, context))) / NAIVE_WINDOWS
    target = (
        best(repeat, lambda: cpu_seconds(lambda: by_target(model, ids, context))) / NAIVE_TARGETS * STRIDE
    )
    print(f"  context {context:,}, {vocabulary:,} ids")
    print(f"    evaluator            {1e3 * evaluator:>10.2f}")
    print(f"    one window a time    {1e3 * window:>10.2f}  {window / evaluator:,.1f} times")
    print(f"    one target a time    {1e3 * target:>10.2f}  {target / evaluator:,.0f} times")


@torch.inference_mode()
def by_window(model: Baseline, ids: torch.Tensor, context: int) -> float:
    """Nats of the last STRIDE targets of each window, one window after the other."""
    nats = 0.0
    for at in range(0, len(ids) - context, STRIDE):
        logits = model.logits(model.hidden(ids[None, at : at + context])[0])
        wanted = ids[at + 1 : at + context + 1, None]
        scored = F.log_softmax(logits, dim=-1).gather(1, wanted)[-STRIDE:]
        nats -= float(scored.double().sum())
    return nats


@torch.inference_mode()
def by_target(model: Baseline, ids: torch.Tensor, context: int) -> float:
    """Nats of NAIVE_TARGETS targets, each with the `context` tokens before it."""
    nats = 0.0
    for at in range(NAIVE_TARGETS):
        logits = model.logits(model.hidden(ids[None, at : at + context])[0, -1:])
        nats -= float(F.log_softmax(logits, dim=-1)[0, ids[at + context]].double())
    return nats


def _embedded(folder: Path, vocabulary: int) -> Dataset:
    arguments = ["build", "--scheme", "caseops", "--vocab-size", str(vocabulary), "--output", str(folder)]
    run_tokenlab("build", arguments)
    return open_dataset(folder)


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


if __name__ == "__main__":
    main()
