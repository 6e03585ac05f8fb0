"""`tokenizer.json` for Hugging Face `tokenizers`, with the scheme's own ids.

    tokenizer.json   the vocabulary, merges, and a model's own normaliser
    pre_step.py      the scheme's operators in plain Python (only for schemes that have some)
    README.md        how the two are used, and what holds

No id is taken on trust: before the export is published, the tokenizer encodes odd texts and the
first validation documents, and must give the scheme's ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from tokenlab.dataset import Dataset
from tokenlab.errors import EncodingError, InputError, TokenlabError
from tokenlab.export.folder import ExportFolder
from tokenlab.export.hf_json import refuse_segmenter, tokenizer_json
from tokenlab.export.pre_step import PRE_STEP_FILE, operators_of, pre_step_source, refuse_operators
from tokenlab.progress import Progress
from tokenlab.ragged import Ragged
from tokenlab.scheme import PROBE, Scheme
from tokenlab.segment.spelling import spell

TOKENIZER_FILE = "tokenizer.json"
CHECKED_DOCUMENTS = 200
PROBES = (
    PROBE,
    "",
    " ",
    "  a  b  ",
    "\n\n\tx\r\n",
    "<s></s><unk><pad><0x41><|endoftext|>",
    "\u2581\u2581a\u2581 \u2581",
    "\x01\x02a\x01\u0301\x02\u0300",
    "e\u0301\u0302 \ufb01\u0301 \u212b\u0301 \u1100\u1161\u11a8 \uac00\u11a8 \u0344",
    "\ue001\ue002\ue003\ue004 A\u0301B aB\ue004\u2581",
    "\U00011935\U00011930 \U0001d157\U0001d165 \U00016d63\U00016d67",
)


def refuse(dataset: Dataset) -> str:
    """Why there can be no `tokenizer.json` of the same ids, or ""."""
    return refuse_operators(dataset.scheme) or refuse_segmenter(dataset.scheme.vocabulary)


def write(dataset: Dataset, target: ExportFolder, progress: Progress) -> None:
    """See the module."""
    scheme = dataset.scheme
    progress.start("tokenizer", None, "texts")
    content = tokenizer_json(scheme)
    _require_equal(dataset, content)
    progress.finish()
    target.write(TOKENIZER_FILE, content)
    if operators_of(scheme):
        target.write(PRE_STEP_FILE, pre_step_source(scheme))
        names = ", ".join(operator.name for operator in operators_of(scheme))
        target.note(
            f"tokenizer.json does not hold the operators ({names}): encode pre_step.rewrite(text), and give "
            "pre_step.restore what is decoded"
        )
    if not scheme.reversible:
        target.note("the model normalises text, and so does tokenizer.json: decoding gives the normal form")
    target.note(
        f"tokenizer.json adds no special: put BOS ({scheme.segmenter.bos}) before a document yourself, and "
        "register no special token, or text that spells one becomes it"
    )
    target.write("README.md", _readme(dataset, target.notes))


def _require_equal(dataset: Dataset, content: str) -> None:
    """Raise InputError unless the tokenizer gives the scheme's ids for the probes and documents."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(content)
    for text in _texts(dataset):
        try:
            expected = dataset.scheme.encode(text)[0].tolist()
        except EncodingError:
            continue  # the scheme has no ids for it
        if _ids(tokenizer, dataset.scheme, text) != expected:
            raise InputError(
                f"the tokenizer.json would give other ids than the scheme, first for {text[:40]!r}: a fault "
                "of tokenlab or of this version of tokenizers; please report it"
            )


def _ids(tokenizer: Any, scheme: Scheme, text: str) -> list[int]:
    batch = Ragged.from_bytes([text.encode()])
    for operator in operators_of(scheme):
        batch, _ = operator.apply(batch)
    return list(tokenizer.encode(batch.tobytes()[0].decode(), add_special_tokens=False).ids)


def _texts(dataset: Dataset) -> Iterator[str]:
    yield from PROBES
    scheme = dataset.scheme
    for batch in islice(dataset.batches("val"), 1):
        ids = batch.ids.rows(0, min(len(batch.ids), CHECKED_DOCUMENTS))
        text = spell(ids, scheme.segmenter.token_bytes)
        try:
            source = scheme.read_back(text)
        except TokenlabError:  # a normal form that has no reading
            return
        yield from (document.decode() for document in source.tobytes())


def _readme(dataset: Dataset, notes: list[str]) -> str:
    scheme = dataset.scheme
    steps = bool(operators_of(scheme))
    reads = "from pre_step import restore, rewrite\n" if steps else ""
    given, back = ("rewrite(text)", "restore(decoded)") if steps else ("text", "decoded")
    lines = [
        f"# tokenizer.json of {dataset.manifest.name}",
        "",
        f"Scheme `{scheme.spec.name}`, {scheme.segmenter.vocab_size:,} ids, fingerprint "
        f"`{dataset.manifest.scheme.fingerprint}`. Its ids are those of the dataset's shards, less BOS.",
        "",
        "```python",
        f"from tokenizers import Tokenizer\n{reads}",
        'tokenizer = Tokenizer.from_file("tokenizer.json")',
        'text = "The NASA paper"',
        f"ids = tokenizer.encode({given}).ids",
        "decoded = tokenizer.decode(ids)",
        f"assert {back} == text",
        "```",
        "",
        *(f"- {note}" for note in notes),
        "- `export.json` lists the files with their sha256",
    ]
    return "\n".join(lines) + "\n"
