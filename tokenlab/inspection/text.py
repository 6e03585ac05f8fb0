"""A text that was typed, in a scheme that was named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenlab.errors import InputError
from tokenlab.inspection.tokens import Inspection, token_rows
from tokenlab.progress import Progress
from tokenlab.ragged import Ragged
from tokenlab.scheme import Scheme
from tokenlab.scheme_spec import open_scheme_spec
from tokenlab.vocabulary import load_scheme


@dataclass(frozen=True)
class NamedScheme:
    """A scheme as the user named it, and where its vocabulary came from."""

    name: str
    scheme: Scheme
    vocabulary: str


def open_scheme(
    name: str | Path, tokenizer: str | Path | None = None, progress: Progress | None = None
) -> NamedScheme:
    """A built-in name, a `.toml` file or a dataset, as `load_scheme` opens it; a vocabulary
    that is trained for want of a file is announced. Raises InputError."""
    name = str(name)
    if Path(name).is_dir():
        if tokenizer is not None:
            raise InputError(f"{name} is a dataset and has its own tokenizer; leave --tokenizer out")
        return NamedScheme(name, load_scheme(name), f"that of {name}")
    spec = open_scheme_spec(name)
    if tokenizer is not None:
        vocabulary = str(tokenizer)
    elif spec.is_trainable:
        vocabulary = f"{spec.vocab_size:,} pieces trained on Python's prose"
        (progress or Progress()).note(f"{name}: no vocabulary given; {vocabulary}")
    else:
        vocabulary = "one id a byte"
    try:
        return NamedScheme(name, load_scheme(name, tokenizer=tokenizer), vocabulary)
    except InputError as error:
        raise InputError(f"{tokenizer}: {error}" if tokenizer is not None else str(error)) from error


def open_two(
    names: tuple[str, str], tokenizers: Sequence[Path], progress: Progress | None = None
) -> tuple[NamedScheme, NamedScheme]:
    """Two schemes to compare.

    One tokenizer goes to each scheme that cannot do without, two go to the first and the
    second. Raises InputError.
    """
    if len(tokenizers) == 2:
        first, second = (
            open_scheme(name, file, progress) for name, file in zip(names, tokenizers, strict=True)
        )
        return first, second
    takes = [not Path(name).is_dir() and _needs_file(name) for name in names]
    if tokenizers and not any(takes):
        raise InputError(
            f"neither {names[0]} nor {names[1]} needs --tokenizer; give it twice, for the one and the other"
        )
    given = tokenizers[0] if tokenizers else None
    first, second = (
        open_scheme(name, given if take else None, progress) for name, take in zip(names, takes, strict=True)
    )
    return first, second


def _needs_file(name: str) -> bool:
    spec = open_scheme_spec(name)
    return spec.needs_vocabulary and not spec.is_trainable


def inspect_text(text: str | bytes, named: NamedScheme) -> Inspection:
    """A text in a scheme. Raises InputError for text that is not valid UTF-8, EncodingError
    for text that the scheme cannot represent."""
    try:
        document = text.encode() if isinstance(text, str) else text
        document.decode()
    except UnicodeError as error:
        raise InputError(f"the text is not valid UTF-8: {error}") from error
    scheme = named.scheme
    rewritten, cuts = scheme.rewrite(Ragged.from_bytes([document]))
    ids = scheme.segmenter.split(rewritten)
    charges = scheme.charge(ids, rewritten, cuts)
    rows = token_rows(scheme, ids, rewritten, cuts.document(0), document, charges.values)
    return Inspection(
        dataset=None,
        split=None,
        document=None,
        source_document=None,
        text_is="source",
        source_bytes=len(document),
        charged_bytes=sum(row.bytes for row in rows),
        tokens=rows,
        scheme=named.name,
        vocabulary=named.vocabulary,
    )
