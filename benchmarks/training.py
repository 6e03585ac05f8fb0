"""What the trainer costs beside plain PyTorch: `python benchmarks/training.py DATASET`.

Three ratios, of CPU time on one thread: the harness against a bare loop over the same model, the loader
against what the nano model consumes, and the evaluator against a scorer of one target at a time.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from measure import cpu_seconds

from trainer.batches import Batches
from trainer.config import RunConfig, load_config
from trainer.data import Dataset, open_dataset
from trainer.evaluate import evaluate
from trainer.model import ModelShape, build
from trainer.muon import Optimizers, Rates
from trainer.train import Trainer

STRIDE = 64
NAIVE_TARGETS = 100


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--repeat", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    dataset = open_dataset(options.dataset)
    with tempfile.TemporaryDirectory() as folder:
        given = {"dataset": str(options.dataset), "output": folder, "preset": "nano"}
        config = load_config(None, {**given, "budget": {"steps": options.steps}})
        tokens = options.steps * config.batch.tokens
        bare = tokens / min(bare_loop(config, dataset, options.steps) for _ in range(options.repeat))
        whole = tokens / min(harness(config, dataset) for _ in range(options.repeat))
    load = loader(config, dataset)
    print(
        f"torch {torch.__version__}, one thread, {config.model.layers} blocks of {config.model.dim}, ", end=""
    )
    print(f"{dataset.manifest.vocab_size:,} ids; tokens per CPU second, fastest of {options.repeat}")
    print(f"  bare loop  {bare:>12,.0f}")
    print(f"  trainer    {whole:>12,.0f}  {whole / bare:.2f} of it")
    print(f"  loader     {load:>12,.0f}  {load / whole:,.0f} times what training takes")
    fast, naive = scorers(config, dataset)
    print(f"targets per CPU second, context {config.evaluation.context}, stride {STRIDE}")
    print(f"  one window a target  {naive:>8,.0f}")
    print(f"  evaluator            {fast:>8,.0f}  {fast / naive:.1f} times")


def bare_loop(config: RunConfig, dataset: Dataset, steps: int) -> float:
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
                hidden = model.hidden(inputs[at : at + micro]).flatten(0, 1)
                wanted = targets[at : at + micro].flatten()
                (F.cross_entropy(model.logits(hidden), wanted) / parts).backward()
            optimizers.step(step, 1.0)

    return cpu_seconds(loop)


def harness(config: RunConfig, dataset: Dataset) -> float:
    """CPU seconds of the same steps with data, clock, metrics and a checkpoint at the end."""
    trainer = Trainer(config, dataset, "")
    return cpu_seconds(lambda: trainer.run(lambda line: None))


def loader(config: RunConfig, dataset: Dataset) -> float:
    """Tokens per CPU second of the batches alone."""
    batch = config.batch
    source = Batches(
        dataset.split("train"),
        rows=batch.rows,
        context=batch.context,
        block_documents=batch.block_documents,
        seed=0,
    )
    source.next()
    seconds = cpu_seconds(lambda: [source.next() for _ in range(500)])
    return 500 * batch.tokens / seconds


def scorers(config: RunConfig, dataset: Dataset) -> tuple[float, float]:
    """Targets per CPU second of the evaluator, and of one forward pass of a full window a target."""
    shape = ModelShape(vocab_size=dataset.manifest.vocab_size, layers=4, dim=64, heads=4, kv_heads=2)
    model = build(shape, 0)
    context = config.evaluation.context
    tokens = dataset.split("val").tokens
    fast = cpu_seconds(lambda: evaluate(model, dataset, context=context, stride=STRIDE))
    ids = torch.from_numpy(tokens.read(0, context + NAIVE_TARGETS).astype(np.int64))

    def naive() -> None:
        with torch.inference_mode():
            for at in range(NAIVE_TARGETS):
                logits = model.logits(model.hidden(ids[None, at : at + context])[0])
                F.cross_entropy(logits[-1:].double(), ids[at + context : at + context + 1])

    return (len(tokens) - 1) / fast, NAIVE_TARGETS / cpu_seconds(naive)


if __name__ == "__main__":
    main()
