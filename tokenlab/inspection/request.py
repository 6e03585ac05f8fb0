"""What `tokenlab inspect` was asked for, checked as a whole and carried out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tokenlab.errors import InputError
from tokenlab.inspection.compare import Comparison, compare
from tokenlab.inspection.document import read_document
from tokenlab.inspection.text import inspect_text, open_scheme, open_two
from tokenlab.inspection.tokens import Inspection
from tokenlab.manifest import Split
from tokenlab.progress import Progress


@dataclass(frozen=True, kw_only=True)
class InspectOptions:
    """A document of a dataset (`dataset` and `doc`) or a `text`; in one scheme or in two.

    A document is shown as it is stored unless `compare` names two schemes. `tokenizers`:
    vocabulary files of named schemes, see `open_two`.
    """

    dataset: Path | None = None
    doc: int | None = None
    split: Split | None = None
    docs: tuple[str, ...] | None = None
    text_field: str | None = None
    text: str | None = None
    scheme: str | None = None
    compare: tuple[str, str] | None = None
    tokenizers: tuple[Path, ...] = ()


def run_inspection(options: InspectOptions, progress: Progress | None = None) -> Inspection | Comparison:
    """The tokens that were asked for. Raises InputError for options that do not go together,
    and what `inspect_document` and `inspect_text` raise."""
    _check(options)
    if options.text is not None and options.scheme is not None:
        tokenizer = options.tokenizers[0] if options.tokenizers else None
        return inspect_text(options.text, open_scheme(options.scheme, tokenizer, progress))
    of: Inspection | None = None
    content: str | bytes = options.text or ""
    if options.dataset is not None and options.doc is not None:
        of, content = read_document(
            options.dataset,
            options.doc,
            split=options.split,
            docs=options.docs,
            text_field=options.text_field,
        )
        if options.compare is None:
            return of
    return compare(content, open_two(options.compare or ("", ""), options.tokenizers, progress), of)


def _check(o: InspectOptions) -> None:
    if o.dataset is None and o.text is None:
        raise InputError("nothing to inspect: give a dataset and --doc N, or --text TEXT with --scheme NAME")
    if o.dataset is not None and o.text is not None:
        raise InputError(
            f"{o.dataset} and --text are two texts; to see one in a dataset's scheme: --scheme DIR"
        )
    if o.dataset is not None:
        if o.doc is None:
            raise InputError(f"which document of {o.dataset}? give --doc N, counted from 0")
        if o.scheme is not None:
            raise InputError(
                f"--scheme is for --text; a document in another scheme: --compare {o.dataset} {o.scheme}"
            )
    else:
        given = {"--doc": o.doc, "--split": o.split, "--docs": o.docs, "--text-field": o.text_field}
        names = [name for name, value in given.items() if value is not None]
        if names:
            raise InputError(f"{', '.join(names)}: of which dataset? leave it out with --text")
        if (o.scheme is None) == (o.compare is None):
            raise InputError("--text needs a scheme: --scheme NAME for one, --compare A B for two, not both")
    most = 2 if o.compare else 1 if o.scheme else 0
    if len(o.tokenizers) > most:
        takes = (
            "goes with --scheme or --compare",
            "was given twice for one scheme",
            "is for two schemes at most",
        )
        raise InputError(f"--tokenizer {takes[most]}")
