"""What `tokenlab schemes --table` measures and prints: every scheme on one text."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tokenlab.corpus import Corpus, open_corpus
from tokenlab.errors import DecodingError, InputError
from tokenlab.progress import Progress
from tokenlab.ragged import Ragged
from tokenlab.registry import scheme_names
from tokenlab.report.plain import table
from tokenlab.scheme import Scheme
from tokenlab.scheme_spec import SchemeSpec, open_scheme_spec
from tokenlab.vocabulary import (
    EMBEDDED_VAL_DOCS,
    require_split,
    sample_training_documents,
    train_vocabulary,
)


class SchemeRow(msgspec.Struct):
    """A scheme on a text. Tokens have no BOS among them; a document counts as `balanced` if its charges
    and unattributed bytes sum to its length, as `reversible` if its ids decode to it. Rates are tokens a
    source byte, `val_rate` over the documents that no vocabulary saw. `skipped` says why there is none."""

    name: str
    vocab_size: int | None = None
    documents: int = 0
    source_bytes: int = 0
    tokens: int = 0
    rate: float = 0.0
    val_rate: float = 0.0
    balanced: int = 0
    reversible: int = 0
    skipped: str = ""

    @property
    def verdicts(self) -> str:
        """The two verdicts in words."""
        balanced = "balanced" if self.balanced == self.documents else "NOT BALANCED"
        if self.reversible == self.documents:
            return f"{balanced}, reversible"
        return f"{balanced}, not reversible ({self.documents - self.reversible} documents)"


def measure_schemes(
    inputs: Sequence[str] | None,
    *,
    val_docs: int | None,
    vocab_size: int | None,
    names: Sequence[str] = (),
    text_field: str = "text",
    progress: Progress | None = None,
) -> list[SchemeRow]:
    """Every built-in scheme (or those of `names`) on a text: its vocabulary trained on the documents but the
    first `val_docs`, its ids and charges made and read back for all of them.

    A scheme that takes a published vocabulary is skipped. Raises InputError for input that cannot be read,
    and where the text cannot fill a vocabulary.
    """
    progress = progress or Progress()
    corpus = open_corpus(inputs, text_field=text_field)
    if val_docs is None:
        if inputs:
            raise InputError("--val-docs is missing: how many of the first documents no vocabulary may see")
        val_docs = EMBEDDED_VAL_DOCS
    sample = sample_training_documents(corpus, val_docs=val_docs, seed=0).documents
    rows = []
    for name in names or scheme_names():
        progress.note(f"{name} …")
        spec = open_scheme_spec(name)
        if spec.needs_vocabulary and not spec.is_trainable:
            rows.append(
                SchemeRow(spec.name, skipped="takes a published vocabulary: `build --tokenizer FILE`")
            )
            continue
        rows.append(_measure(_trained(spec, vocab_size, sample), corpus, val_docs))
    return rows


def table_text(rows: Sequence[SchemeRow]) -> str:
    """The rows as columns, against the first scheme that was measured."""
    measured = [row for row in rows if not row.skipped]
    head = ("scheme", "ids", "tokens", "tokens/byte", "of val", f"against {measured[0].name}", "verdicts")
    lines: list[tuple[str, ...]] = [head]
    for row in rows:
        if row.skipped:
            lines.append((row.name, "", "", "", "", "", row.skipped))
            continue
        change = 100 * (row.val_rate / measured[0].val_rate - 1)
        rates = f"{row.rate:.4f}", f"{row.val_rate:.4f}", f"{change:+.1f} %"
        lines.append((row.name, f"{row.vocab_size:,}", f"{row.tokens:,}", *rates, row.verdicts))
    text = f"{measured[0].documents:,} documents, {measured[0].source_bytes:,} bytes"
    return "\n".join([text, *table(lines, align="<>>>>><")])


def has_failed(rows: Sequence[SchemeRow]) -> bool:
    """Whether a measured scheme is not what it is declared to be."""
    return any(row.balanced != row.documents or row.reversible != row.documents for row in rows)


def _trained(spec: SchemeSpec, vocab_size: int | None, sample: Sequence[bytes]) -> Scheme:
    if not spec.needs_vocabulary:
        return Scheme(spec)
    spec = spec.with_vocab_size(vocab_size)
    try:
        return Scheme(spec, train_vocabulary(spec, sample))
    except InputError as error:
        raise InputError(f"scheme {spec.name}: {error}") from error


def _measure(scheme: Scheme, corpus: Corpus, val_docs: int) -> SchemeRow:
    row = SchemeRow(scheme.spec.name, scheme.segmenter.vocab_size)
    val_tokens = val_bytes = 0
    for batch in corpus.batches():
        documents = batch.documents
        encoded = scheme.encode_batch(documents)
        for d, document in enumerate(documents.tobytes()):
            tokens = len(encoded.ids[d])
            charged = int(encoded.charges[d].sum()) + int(encoded.unattributed[d])
            row.balanced += charged == len(document)
            row.reversible += _reads_back(scheme, encoded.ids, d, document)
            if row.documents < val_docs:
                val_tokens += tokens
                val_bytes += len(document)
            row.documents += 1
            row.source_bytes += len(document)
            row.tokens += tokens
    require_split(row.documents, val_docs)
    row.rate = row.tokens / max(1, row.source_bytes)
    row.val_rate = val_tokens / max(1, val_bytes)
    return row


def _reads_back(scheme: Scheme, ids: Ragged, d: int, document: bytes) -> bool:
    try:
        return scheme.decode(ids[d]) == document
    except DecodingError:
        return False
