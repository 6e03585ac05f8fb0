"""The layouts by name: what each gives, what it cannot hold, and who writes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tokenlab.dataset import Dataset
from tokenlab.export.folder import ExportFolder
from tokenlab.export.hf_tokenizer import refuse as refuse_hf_tokenizer
from tokenlab.export.hf_tokenizer import write as write_hf_tokenizer
from tokenlab.export.megatron import write as write_megatron
from tokenlab.export.nanogpt import refuse_modded_nanogpt, write_llm_c, write_modded_nanogpt
from tokenlab.export.numpy_arrays import write as write_numpy
from tokenlab.export.parameter_golf import refuse as refuse_parameter_golf
from tokenlab.export.parameter_golf import write as write_parameter_golf
from tokenlab.export.parquet import write as write_parquet
from tokenlab.export.tiktoken_ranks import refuse as refuse_tiktoken
from tokenlab.export.tiktoken_ranks import write as write_tiktoken
from tokenlab.progress import Progress

Write = Callable[[Dataset, ExportFolder, Progress], None]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """`summary`: what it gives, for `--help`. `refuse`: why a dataset cannot be held, or "".
    `reads_shards`: whether it needs them, or the scheme alone."""

    summary: str
    write: Write
    refuse: Callable[[Dataset], str] | None = None
    reads_shards: bool = True


LAYOUTS: dict[str, Layout] = {
    "parameter-golf": Layout(
        summary="the folder tree of openai/parameter-golf, hard links",
        write=write_parameter_golf,
        refuse=refuse_parameter_golf,
    ),
    "modded-nanogpt": Layout(
        summary="data/fineweb10B of modded-nanogpt, hard links",
        write=write_modded_nanogpt,
        refuse=refuse_modded_nanogpt,
    ),
    "llm.c": Layout(
        summary="dev/data/fineweb10B of llm.c, hard links",
        write=write_llm_c,
    ),
    "megatron": Layout(
        summary=".bin and .idx of Megatron's indexed dataset, a pair per split",
        write=write_megatron,
    ),
    "numpy": Layout(
        summary="flat .npy per shard, document offsets, charges",
        write=write_numpy,
    ),
    "parquet": Layout(
        summary="a row per document: doc_id, input_ids, byte_counts, n_bytes",
        write=write_parquet,
    ),
    "hf-tokenizer": Layout(
        summary="tokenizer.json of Hugging Face, and a pre-step for operators",
        write=write_hf_tokenizer,
        refuse=refuse_hf_tokenizer,
        reads_shards=False,
    ),
    "tiktoken": Layout(
        summary="rank file and pattern of a byte-level BPE",
        write=write_tiktoken,
        refuse=refuse_tiktoken,
        reads_shards=False,
    ),
}
