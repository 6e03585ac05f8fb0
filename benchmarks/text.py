"""The text of a benchmark: real English if it is there, repeated until there is enough."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import zstandard

from tokenlab.corpus import open_corpus

ENGLISH = ("fineweb_orig", "web_cc0_gov", "c4_demo", "wikipedia_demo", "fineweb_edu_chunks")


def kernel_options(description: str | None, *, megabytes: float, twin_megabytes: float) -> argparse.Namespace:
    """The command line of a benchmark of kernels and their twins: where the text is, and how much of it."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = Path(__file__).parents[2] / "shared"
    parser.add_argument("--data", type=Path, default=shared / "data", help="folder of the English jsonl.zst")
    parser.add_argument("--megabytes", type=float, default=megabytes, help="text for the kernels")
    parser.add_argument("--twin-megabytes", type=float, default=twin_megabytes, help="text for the twins")
    parser.add_argument("--repeat", type=int, default=5)
    return parser.parse_args()


def load_documents(data: Path) -> tuple[str, list[bytes]]:
    """What the documents are, and they: those of `data`, or the embedded corpus where it is missing."""
    files = [data / f"{name}.jsonl.zst" for name in ENGLISH]
    found = [str(file) for file in files if file.exists()]
    corpus = open_corpus(found or None)
    documents = [document for batch in corpus.batches() for document in batch.documents.tobytes()]
    return f"{len(documents):,} documents of {corpus.name}", documents


def repeated(documents: list[bytes], size: int) -> list[bytes]:
    """About `size` bytes of documents, over and over, each with a number of its own before it, so
    that none equals another (a build drops the twins of validation documents)."""
    taken: list[bytes] = []
    held = 0
    while held < size:
        document = documents[len(taken) % len(documents)]
        taken.append(b"Document %d. " % len(taken) + document)
        held += len(taken[-1])
    return taken


def write_jsonl(documents: list[bytes], path: Path) -> None:
    """The documents as `jsonl.zst`, one object with `text` a row."""
    rows = (json.dumps({"text": text.decode()}, ensure_ascii=False).encode() + b"\n" for text in documents)
    with open(path, "wb") as file, zstandard.ZstdCompressor(3).stream_writer(file) as writer:
        for row in rows:
            writer.write(row)
