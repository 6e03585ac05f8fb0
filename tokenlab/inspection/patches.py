"""`tokenlab inspect --boundaries`: the patches of a text, and what they are like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from tokenlab.boundaries.fit import fit_rule
from tokenlab.boundaries.request import parse_rule
from tokenlab.boundaries.rule import Rule
from tokenlab.boundaries.state import new_state
from tokenlab.boundaries.stream import as_document, as_ids
from tokenlab.dataset import BoundaryBits, Dataset, read_boundary_rule
from tokenlab.errors import InputError
from tokenlab.inspection.document import locate
from tokenlab.manifest import Split
from tokenlab.scheme_spec import open_scheme_spec


class PatchRow(msgspec.Struct, frozen=True):
    """A patch: bytes `start:stop` of the text. `text`: what they are, with what is no whole character written
    `\\xe2`; `spells`: in hex. `starts_word`: its first byte begins a word."""

    patch: int
    start: int
    stop: int
    text: str
    spells: str
    starts_word: bool


class PatchStatistics(msgspec.Struct, frozen=True):
    """Patches of bytes; those of BOS are not among them. A word is a run of ASCII letters, digits and bytes
    of other characters. `word_share`: of the patches, those that start one; `chance`: of all bytes, the same.
    `lengths`: bytes of a patch to how many there are."""

    documents: int
    bytes: int
    patches: int
    bytes_per_patch: float
    word_share: float
    chance: float
    lengths: dict[int, int]


class PatchInspection(msgspec.Struct, frozen=True):
    """The patches of a text or a document, or of a split as a whole (without `patches` then). The first four
    say which text it is, and are None where that does not apply."""

    dataset: str | None
    split: Split | None
    document: int | None
    source_document: int | None
    rule: str
    causal: bool
    statistics: PatchStatistics
    patches: tuple[PatchRow, ...] | None


@dataclass(frozen=True, kw_only=True)
class PatchOptions:
    """Document `doc` of a dataset, or a split of it, or a `text`. `rule` is given, or that of the dataset or
    of `scheme`, the scheme of the text: a name, a file or a dataset."""

    dataset: Path | None = None
    doc: int | None = None
    split: Split | None = None
    text: str | None = None
    scheme: str | None = None
    rule: str | None = None


def inspect_patches(options: PatchOptions) -> PatchInspection:
    """The patches that were asked for. Raises InputError for options that do not go together, or a rule
    that needs a table and has none."""
    if (options.dataset is None) == (options.text is None):
        raise InputError(
            "--boundaries shows one text: a dataset (with --doc N, or a whole split), or --text TEXT"
        )
    if options.dataset is not None:
        if options.scheme is not None:
            raise InputError("--scheme is for --text; a dataset has its own")
        return _of_dataset(options.dataset, options)
    if options.doc is not None or options.split is not None:
        raise InputError("--doc, --split: of which dataset? leave them out with --text")
    document = (options.text or "").encode()
    rule = _text_rule(options)
    tally = _Tally()
    bits = rule.starts(as_ids(document), new_state())
    tally.add(document, bits[1:])
    return PatchInspection(
        None, None, None, None, rule.text, rule.causal, tally.statistics(), _rows(document, bits[1:])
    )


def _text_rule(options: PatchOptions) -> Rule:
    if options.rule is not None:
        return _named(options.rule)
    if options.scheme is None:
        raise InputError(
            "--text needs a rule: --rule space, or --scheme with boundaries (space-bytes, a dataset)"
        )
    if Path(options.scheme).is_dir():
        return _stored(Dataset(Path(options.scheme)))
    rule = open_scheme_spec(options.scheme).boundaries
    if rule is None:
        raise InputError(f"scheme {options.scheme} has no boundaries; give --rule, or --scheme space-bytes")
    return _named(rule)


def _named(text: str) -> Rule:
    request = parse_rule(text)
    if request.is_fitted:
        raise InputError(
            f"{text} has a table that is fitted on training documents: build a dataset with "
            f"--boundaries {text}, and give it as DIR or --scheme DIR"
        )
    return fit_rule(request, None, np.zeros(0, np.uint16))


def _stored(dataset: Dataset) -> Rule:
    rule = read_boundary_rule(dataset.folder, dataset.manifest)
    if rule is None:
        raise InputError(
            f"{dataset.folder} has no boundaries; give --rule space or fixed:P, or build it with --boundaries"
        )
    return rule


def _of_dataset(folder: Path, options: PatchOptions) -> PatchInspection:
    """As they are stored, unless a rule is given."""
    dataset = Dataset(folder)
    if dataset.scheme.spec.needs_vocabulary or dataset.scheme.operators:
        raise InputError(f"{folder} is of scheme {dataset.scheme.spec.name}; patches are of bytes")
    rule = _stored(dataset) if options.rule is None else _named(options.rule)
    split: Split = options.split or "val"
    index = source = None
    if options.doc is not None:
        split, index, source = locate(dataset.manifest, options.doc, options.split)
    tally = _Tally()
    rows = None
    for number, (document, bits) in enumerate(_documents(dataset, split, rule, stored=options.rule is None)):
        if index in (None, number):
            tally.add(document, bits)
        if index == number:
            rows = _rows(document, bits)
            break
    return PatchInspection(
        str(folder), split, index, source, rule.text, rule.causal, tally.statistics(), rows
    )


def _documents(
    dataset: Dataset, split: Split, rule: Rule, *, stored: bool
) -> Iterator[tuple[bytes, NDArray[np.uint8]]]:
    """The documents of a split, and the bits of their bytes: those on record, or those of the rule."""
    on_record = BoundaryBits(dataset.folder, dataset.manifest.splits[split].shards) if stored else None
    at = 0
    for batch in dataset.batches(split):
        for ids in batch.ids:
            document = as_document(ids)
            stop = at + 1 + len(ids)
            if on_record is not None:
                bits = on_record.read(at, stop)
            else:
                bits = rule.starts(as_ids(document), new_state())
            yield document, bits[1:]
            at = stop


def _word_starts(document: bytes) -> NDArray[np.bool_]:
    data = np.frombuffer(document, np.uint8)
    lower = data | 0x20
    in_word = (data >= 0x80) | ((lower >= 0x61) & (lower <= 0x7A)) | ((data >= 0x30) & (data <= 0x39))
    starts: NDArray[np.bool_] = in_word.copy()
    starts[1:] &= ~in_word[:-1]
    return starts


def _rows(document: bytes, bits: NDArray[np.uint8]) -> tuple[PatchRow, ...]:
    starts = np.flatnonzero(bits).tolist()
    words = _word_starts(document)
    return tuple(
        PatchRow(
            patch=number,
            start=start,
            stop=stop,
            text=document[start:stop].decode(errors="backslashreplace"),
            spells=document[start:stop].hex(),
            starts_word=bool(words[start]),
        )
        for number, (start, stop) in enumerate(pairwise([*starts, len(document)]))
    )


class _Tally:
    """Counts over documents."""

    def __init__(self) -> None:
        self.documents = self.bytes = self.words = self.on_words = 0
        self.lengths: Counter[int] = Counter()

    def add(self, document: bytes, bits: NDArray[np.uint8]) -> None:
        """Count a document; `bits`: of its bytes, without that of BOS."""
        words = _word_starts(document)
        self.documents += 1
        self.bytes += len(document)
        self.words += int(words.sum())
        self.on_words += int((words & (bits == 1)).sum())
        self.lengths.update(np.diff(np.append(np.flatnonzero(bits), len(document))).tolist())

    def statistics(self) -> PatchStatistics:
        """What came of it; shares of nothing are 0."""
        patches = self.lengths.total()
        return PatchStatistics(
            documents=self.documents,
            bytes=self.bytes,
            patches=patches,
            bytes_per_patch=self.bytes / max(1, patches),
            word_share=self.on_words / max(1, patches),
            chance=self.words / max(1, self.bytes),
            lengths=dict(sorted(self.lengths.items())),
        )
