"""modded-nanogpt and llm.c: one folder of shards, in the place their scripts name, hard links.

    modded-nanogpt   data/fineweb10B/fineweb_{val_000000,train_000001,…}.bin       DATA_PATH=OUTPUT
    llm.c            dev/data/fineweb10B/fineweb_{val_000000,train_000001,…}.bin   -i and -j

Both number the shards of train from 1, because their tokenizing script gave 0 to validation.
Sidecars stay out: these trainers have no use of them, and their glob would take them for tokens.
"""

from __future__ import annotations

from shards import shard_name
from tokenlab.dataset import Dataset
from tokenlab.export.folder import ExportFolder
from tokenlab.manifest import SPLITS
from tokenlab.progress import Progress

FIRST_INDEX = {"val": 0, "train": 1}


def refuse_modded_nanogpt(dataset: Dataset) -> str:
    """Its loader reads the uint16 row of the format alone."""
    size = dataset.manifest.vocab_size
    return f"its loader reads uint16 ids, the vocabulary has {size:,}" if size > 2**16 else ""


def write_modded_nanogpt(dataset: Dataset, target: ExportFolder, progress: Progress) -> None:
    """See the module."""
    _link(dataset, target, "data/fineweb10B")
    val, train = dataset.manifest.splits["val"], dataset.manifest.splits["train"]
    target.note(
        f"train_gpt.py with DATA_PATH=OUTPUT; set BOS_ID = {dataset.manifest.bos_id} in it (it says 50256) "
        f"and the vocabulary to {dataset.manifest.vocab_size:,}"
    )
    if len(train.shards) < 2:
        target.note(
            "its loader opens two train shards at once, this has one: build with smaller --shard-tokens"
        )
    if val.tokens <= 10_485_760:
        target.note(f"set val_tokens below {val.tokens:,}, what validation has; it says 10485760")


def write_llm_c(dataset: Dataset, target: ExportFolder, progress: Progress) -> None:
    """See the module. Vocabularies over 65,536 are llm.c's uint32 row ("llama-3")."""
    _link(dataset, target, "dev/data/fineweb10B")
    target.note(
        'train_gpt2cu -i "OUTPUT/dev/data/fineweb10B/fineweb_train_*.bin" '
        '-j "OUTPUT/dev/data/fineweb10B/fineweb_val_*.bin"; a shard must hold B * T * processes + 1 tokens'
    )
    if dataset.manifest.vocab_size > 2**16:
        target.note(
            "ids are uint32 (magic 20240801, version 7), which train_llama3.py reads and train_gpt2 does not"
        )


def _link(dataset: Dataset, target: ExportFolder, folder: str) -> None:
    for split in SPLITS:
        for index, shard in enumerate(dataset.manifest.splits[split].shards):
            name = shard_name(split, index + FIRST_INDEX[split])
            target.link(f"{folder}/{name}", dataset.folder / shard.file, shard.sha256)
    if any(shard.sidecar for split in SPLITS for shard in dataset.manifest.splits[split].shards):
        target.note("byte sidecars stay in the dataset: this trainer's glob would take them for tokens")
