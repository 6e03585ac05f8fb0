"""The folder tree that openai/parameter-golf's trainers expect; point DATA_DIR or DATA_PATH at it.

    manifest.json                                            the field's exporter's keys
    tokenizers/fineweb_8192_bpe.model, .vocab
    datasets/fineweb10B_sp8192/fineweb_{train,val}_%06d.bin  hard links

The stock trainer takes every `fineweb_val_*.bin` of its folder for tokens, sidecars too, so that
folder holds none. CaseOps trainers look for the sidecars beside the tokens and leave them out of
the tokens by name, so for `caseops` schemes they get a folder of their own, where they look
without being told, with the same shards and the sidecars:

    datasets/fineweb10B_sp8192_caseops/datasets/tokenizers/…_lossless_caps_caseops_v1_reserved.model
    datasets/fineweb10B_sp8192_caseops/datasets/datasets/…_lossless_caps_caseops_v1_reserved/

Sidecars of other schemes are in `datasets/NAME/bytes/`, which no glob reaches.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import msgspec

from shards import shard_name, sidecar_name
from tokenlab.dataset import Dataset
from tokenlab.export.folder import ExportFolder
from tokenlab.export.pre_step import operators_of
from tokenlab.export.stock_bytes import stock_byte_count
from tokenlab.manifest import SPLITS
from tokenlab.progress import Progress
from tokenlab.segment.byte import ByteSegmenter
from tokenlab.segment.plug_in import PlugInSegmenter
from tokenlab.segment.sentencepiece import SentencePieceSegmenter
from tokenlab.segment.sentencepiece_model import SentencePieceModel

MANIFEST = "manifest.json"
CASEOPS_SUFFIX = "_lossless_caps_caseops_v1_reserved"
"""What CaseOps trainers' default paths end in; here a place, not a claim about the tokenizer."""


def refuse(dataset: Dataset) -> str:
    """Why the trainers cannot read it, or "": they read uint16 alone, and CaseOps needs sidecars."""
    size = dataset.manifest.vocab_size
    if size > 2**16:
        return f"its trainers read uint16 ids, the vocabulary has {size:,}"
    if _is_caseops(dataset) and not all(s.sidecar for s in dataset.manifest.splits["val"].shards):
        return "validation has no byte sidecars, and pieces of a CaseOps vocabulary do not tell the bytes"
    return ""


def _is_caseops(dataset: Dataset) -> bool:
    """Whether operators write marks all over a text, as CaseOps does: only a sidecar tells the bytes then."""
    return any(operator.name not in ("escape", "digits") for operator in operators_of(dataset.scheme))


def write(dataset: Dataset, target: ExportFolder, progress: Progress) -> None:
    """See the module."""
    size = dataset.manifest.vocab_size
    segmenter = dataset.scheme.vocabulary
    is_caseops = _is_caseops(dataset)
    if isinstance(segmenter, SentencePieceSegmenter):
        suffix, stem, kind = f"sp{size}", f"fineweb_{size}_bpe", "sentencepiece_bpe"
    elif isinstance(segmenter, ByteSegmenter):
        suffix, stem, kind = f"byte{size}", f"fineweb_pure_byte_{size}", "byte"
    elif isinstance(segmenter, PlugInSegmenter):
        kind = dataset.manifest.tokenizer_kind
        suffix, stem = f"{kind}{size}", f"fineweb_{size}_{kind}"
    else:
        suffix, stem, kind = f"bbpe{size}", f"fineweb_{size}_byte_bpe", "byte_level_bpe"
    name = f"fineweb10B_{suffix}"

    shards = f"datasets/{name}"
    views = [_View(name, shards, "tokenizers", stem, None if is_caseops else f"{shards}/bytes")]
    if is_caseops:
        inner, root = f"{name}{CASEOPS_SUFFIX}", f"datasets/{name}_caseops/datasets"
        shards = f"{root}/datasets/{inner}"
        views.append(_View(inner, shards, f"{root}/tokenizers", stem + CASEOPS_SUFFIX, shards))

    content: dict[str, Any] = _header(dataset)
    for view in views:
        entry = {"name": view.stem, "kind": kind, **_ids(dataset)}
        content["tokenizers"].append(entry | _tokenizer(dataset, target, f"{view.tokenizers}/{view.stem}"))
        content["datasets"].append(_dataset_entry(dataset, view, kind))
        _link(dataset, target, view)
    target.write(MANIFEST, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    _notes(dataset, target, views[0], views[-1], is_caseops=is_caseops)


class _View(NamedTuple):
    """A folder that one kind of trainer is pointed at; `sidecars`: where they go, None leaves them out."""

    name: str
    shards: str
    tokenizers: str
    stem: str
    sidecars: str | None


def _dataset_entry(dataset: Dataset, view: _View, kind: str) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": view.name,
        "tokenizer_name": view.stem,
        "tokenizer_kind": kind,
        "path": view.shards,
        "train_glob": f"{view.shards}/fineweb_train_*.bin",
        "val_glob": f"{view.shards}/fineweb_val_*.bin",
        **_ids(dataset),
    }
    if view.sidecars is not None:
        entry["val_bytes_glob"] = f"{view.sidecars}/fineweb_val_bytes_*.bin"
    return entry | {"stats": msgspec.to_builtins(dataset.manifest.stats)}


def _link(dataset: Dataset, target: ExportFolder, view: _View) -> None:
    for split in SPLITS:
        for index, shard in enumerate(dataset.manifest.splits[split].shards):
            place = f"{view.shards}/{shard_name(split, index)}"
            target.link(place, dataset.folder / shard.file, shard.sha256)
            if shard.sidecar and view.sidecars is not None:
                # No trainer knows of train sidecars, and every trainer globs the train shards.
                folder = view.sidecars if split == "val" else f"{view.shards}/bytes"
                place = f"{folder}/{sidecar_name(split, index)}"
                target.link(place, dataset.folder / shard.sidecar.file, shard.sidecar.sha256)


def _tokenizer(dataset: Dataset, target: ExportFolder, stem: str) -> dict[str, str]:
    """Write the vocabulary; the manifest's keys that name it."""
    segmenter = dataset.scheme.vocabulary
    if isinstance(segmenter, ByteSegmenter):
        config = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3, "byte_offset": 4, "byte_count": 256}
        content = {"config": config, "tokenizer_type": "pure_byte", "vocab_size": segmenter.vocab_size}
        target.write(f"{stem}.json", json.dumps(content, indent=2, sort_keys=True) + "\n")
        return {"path": f"{stem}.json"}
    (stored,) = segmenter.files
    source = f"tokenizer/{stored}"
    suffix = PurePosixPath(stored).suffix
    target.link(stem + suffix, dataset.folder / source, dataset.manifest.files[source])
    if not isinstance(segmenter, SentencePieceSegmenter):
        return {"path": stem + suffix}
    target.write(f"{stem}.vocab", vocab_text(segmenter.model))
    return {"model_path": f"{stem}.model", "vocab_path": f"{stem}.vocab"}


def vocab_text(model: SentencePieceModel) -> str:
    """SentencePiece's `.vocab` file: a piece and its score a line."""
    return "".join(f"{piece.text}\t{piece.score:g}\n" for piece in model.pieces)


def _ids(dataset: Dataset) -> dict[str, int]:
    segmenter = dataset.scheme.vocabulary
    eos = segmenter.model.eos_id if isinstance(segmenter, SentencePieceSegmenter) else 2
    return {
        "vocab_size": segmenter.vocab_size,
        "bos_id": segmenter.bos,
        "eos_id": eos,
        "recommended_bigram_vocab_size": -(-segmenter.vocab_size // 128) * 128 * 5,
    }


def _header(dataset: Dataset) -> dict[str, Any]:
    manifest = dataset.manifest
    return {
        "version": "tokenlab",
        "num_docs": manifest.stats.docs_total,
        "num_val_docs": manifest.stats.docs_val,
        "shuffle_seed": None,
        "shard_size": manifest.options.get("shard_tokens"),
        "append_eos": False,
        "docs_jsonl": None,
        "docs_meta": {
            "num_docs": manifest.source.documents,
            "documents_sha256": manifest.source.documents_sha256,
        },
        "tokenizer_specs": [
            {"scheme": manifest.scheme.name, "fingerprint": manifest.scheme.fingerprint},
        ],
        "tokenizers": [],
        "datasets": [],
    }


def _notes(dataset: Dataset, target: ExportFolder, stock: _View, caseops: _View, *, is_caseops: bool) -> None:
    size, segmenter = dataset.manifest.vocab_size, dataset.scheme.vocabulary
    kind = PurePosixPath(next(iter(segmenter.files), "bytes.json")).suffix.removeprefix(".")
    target.note(
        f"stock trainer: DATA_PATH=OUTPUT/{stock.shards} "
        f"TOKENIZER_PATH=OUTPUT/{stock.tokenizers}/{stock.stem}.{kind} VOCAB_SIZE={size}"
    )
    if not isinstance(segmenter, SentencePieceSegmenter):
        target.note(
            "the stock train_gpt.py takes a SentencePiece .model alone to count bytes; with this scheme it "
            "stops at once: a trainer must read the sidecars"
        )
    if is_caseops:
        target.note(
            f"CaseOps trainers: CASEOPS_ENABLED=1 DATA_PATH=OUTPUT/{caseops.shards} "
            f"TOKENIZER_PATH=OUTPUT/{caseops.tokenizers}/{caseops.stem}.model VOCAB_SIZE={size}; "
            "with 8,192 ids DATA_DIR=OUTPUT alone will do"
        )
    if isinstance(segmenter, SentencePieceSegmenter):
        _note_stock_bytes(dataset, target, segmenter.model)


def _note_stock_bytes(dataset: Dataset, target: ExportFolder, model: SentencePieceModel) -> None:
    """How far the bytes that the stock trainer counts are from those that the tokens are charged."""
    counted, charged = stock_byte_count(dataset, model), dataset.manifest.splits["val"].charged_bytes
    if counted == charged:
        target.note(f"the stock train_gpt.py counts the bytes of validation right: {charged:,}")
    elif charged:
        target.note(
            f"the stock train_gpt.py counts {counted:,} bytes in validation, its tokens are charged "
            f"{charged:,} ({100 * (counted / charged - 1):+.4f} %): bits a source byte are its val_bpb times "
            f"{counted / charged:.6f}, or read the sidecars"
        )
    if not dataset.scheme.reversible:
        target.note("the stock count is of the normal form that the model's normaliser leaves, as published")
