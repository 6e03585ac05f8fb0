"""Where a vocabulary comes from: a seeded sample of the training documents, or a given file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokenlab.corpus import Corpus, open_corpus
from tokenlab.errors import InputError
from tokenlab.ops.digits import Digits
from tokenlab.plug_ins import refusals
from tokenlab.ragged import Ragged
from tokenlab.registry import segmenter_plug_in
from tokenlab.scheme import Scheme
from tokenlab.scheme_spec import ByteLevelSpec, PlugInSpec, SchemeSpec, SentencePieceSpec, open_scheme_spec
from tokenlab.segment.byte_level import train_byte_level
from tokenlab.segment.grouped import cut
from tokenlab.segment.segmenter import read_vocabulary_file
from tokenlab.segment.sentencepiece import train_sentencepiece

SAMPLE_BYTES = 32 << 20
"""Text a vocabulary is trained on, at most: BPE of 8,192 pieces takes about 3 s of it."""

WINDOW_BYTES = 4 * SAMPLE_BYTES
"""Training text read to draw the sample from, so that its cost has a bound for every corpus."""


@dataclass(frozen=True)
class VocabularySample:
    """Documents to train a vocabulary on, and how they were drawn."""

    documents: list[bytes]
    seed: int
    documents_read: int
    bytes_read: int

    def record(self) -> dict[str, Any]:
        """What a manifest keeps of it."""
        kept = asdict(self) | {"documents": len(self.documents), "bytes": sum(map(len, self.documents))}
        return kept | {
            "rule": f"first {WINDOW_BYTES} bytes of train, drawn without replacement to {SAMPLE_BYTES}"
        }


def sample_training_documents(corpus: Corpus, *, val_docs: int, seed: int) -> VocabularySample:
    """Draw the training documents of a vocabulary; never a validation document or its twin.

    Reads training text up to WINDOW_BYTES; what exceeds SAMPLE_BYTES is thinned out at
    random. Raises InputError when the corpus has no training document.
    """
    validation: set[bytes] = set()
    window: list[bytes] = []
    seen = bytes_read = 0
    for batch in corpus.batches():
        for document in batch.documents.tobytes():
            if seen < val_docs:
                validation.add(document)
            elif document not in validation:
                window.append(document)
                bytes_read += len(document)
            seen += 1
        if bytes_read >= WINDOW_BYTES:
            break
    require_split(seen, val_docs)
    kept = window
    if bytes_read > SAMPLE_BYTES:
        order = np.random.default_rng(seed).permutation(len(window))
        totals = np.cumsum([len(window[i]) for i in order])
        chosen = order[: max(1, int(np.searchsorted(totals, SAMPLE_BYTES, side="right")))]
        kept = [window[i] for i in sorted(chosen)]
    return VocabularySample(kept, seed, len(window), bytes_read)


def require_split(documents: int, val_docs: int) -> None:
    """Raise InputError unless `val_docs` of `documents` leave something for both splits."""
    if val_docs < 1:
        raise InputError(f"--val-docs is {val_docs}; a dataset needs at least one validation document")
    if documents <= val_docs:
        raise InputError(
            f"--val-docs is {val_docs}, the input has {documents} documents and train needs at least one: "
            f"pass --val-docs {max(1, min(val_docs, documents) // 10)}, or more input"
        )


def train_vocabulary(spec: SchemeSpec, documents: Sequence[bytes]) -> bytes:
    """Train the vocabulary of a scheme on source documents; the content of its file.

    Raises InputError when the scheme cannot be trained or the text cannot fill it.
    """
    segmenter = spec.segmenter
    if isinstance(segmenter, PlugInSpec) and spec.vocab_size is None:
        raise InputError(f"scheme {spec.name} names no vocab_size: pass --vocab-size, or --tokenizer FILE")
    if not spec.is_trainable or spec.vocab_size is None:
        raise InputError(f"scheme {spec.name} takes a published vocabulary: give its file with --tokenizer")
    text = Ragged.from_bytes(documents)
    operators = spec.make_operators()
    for operator in operators:
        text, _ = operator.apply(text)
    for operator in operators:
        if isinstance(operator, Digits):
            text, _ = cut(text, operator.borders(text))
    if isinstance(segmenter, ByteLevelSpec):
        return train_byte_level(text.tobytes(), vocab_size=spec.vocab_size, split=segmenter.split)
    if isinstance(segmenter, PlugInSpec):
        return _train_plug_in(segmenter, text, spec.vocab_size, spec.markers)
    if not isinstance(segmenter, SentencePieceSpec):
        raise InputError(f"scheme {spec.name} has no vocabulary to train")
    return train_sentencepiece(
        text.tobytes(),
        vocab_size=spec.vocab_size,
        markers=spec.markers,
        parameters={
            "model_type": segmenter.model_type,
            "split_digits": segmenter.split_digits,
            "character_coverage": segmenter.character_coverage,
        },
    )


def _train_plug_in(segmenter: PlugInSpec, text: Ragged, vocab_size: int, markers: tuple[str, ...]) -> bytes:
    label = segmenter_plug_in(segmenter.name, segmenter.package).label
    with refusals(label):
        vocabulary = segmenter.make().train(text, vocab_size=vocab_size, markers=markers)
    if not isinstance(vocabulary, bytes):
        raise InputError(f"{label}: train returned {type(vocabulary).__name__}, and must return bytes")
    return vocabulary


def load_scheme(name_or_dir: str | Path, *, tokenizer: str | Path | None = None) -> Scheme:
    """A scheme ready to encode.

    `name_or_dir`: a dataset (its scheme and vocabulary), a built-in name, or a `.toml`
    file. A named scheme takes the vocabulary of `tokenizer`; without one it is trained on
    the embedded corpus, which takes about a second and gives the same ids each time.
    Raises InputError when there is no such scheme or the vocabulary does not fit.

    >>> ids, charges = load_scheme("caseops").encode("The NASA paper")
    >>> int(charges.sum())
    14
    """
    folder = Path(name_or_dir)
    if folder.is_dir():
        return Scheme.open(folder)
    spec = open_scheme_spec(str(name_or_dir))
    if tokenizer is not None:
        return Scheme(spec, read_vocabulary_file(Path(tokenizer)))
    if not spec.is_trainable:
        return Scheme(spec)
    sample = sample_training_documents(open_corpus(None), val_docs=EMBEDDED_VAL_DOCS, seed=0)
    return Scheme(spec, train_vocabulary(spec, sample.documents))


EMBEDDED_VAL_DOCS = 8
"""Validation documents of the embedded corpus, a tenth of it."""
