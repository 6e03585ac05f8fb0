"""FineWeb, streamed from the Hugging Face Hub through `datasets`.

    fineweb                               sample-10BT of HuggingFaceFW/fineweb, as it is today
    fineweb:CC-MAIN-2024-10@v1.3.0        another configuration, at a revision

Today's commit is looked up first and recorded, so that the rows are of one revision. After a
break, `datasets` skips the rows that were read, which it fetches again. The same documents
without `datasets`, with ranges and a cheap resume, are
`--input 'hf://datasets/HuggingFaceFW/fineweb/sample/10BT/*.parquet'`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from tokenlab.corpus.documents import Flaw, one_line, text_of
from tokenlab.corpus.retries import FIRST_PAUSES, PAUSES, Tries
from tokenlab.corpus.urls import refuse_offline, without_secrets
from tokenlab.errors import InputError, InputUnavailable

DATASET = "HuggingFaceFW/fineweb"
CONFIG = "sample-10BT"


class FineWeb(NamedTuple):
    """Which rows of FineWeb: a configuration, and a revision or None for today's."""

    config: str
    revision: str | None


class Rows(Protocol):
    """What is used of a `datasets.IterableDataset`."""

    def __iter__(self) -> Iterator[Mapping[str, object]]: ...
    def skip(self, n: int, /) -> Rows: ...


def parse_fineweb(given: str) -> FineWeb | None:
    """What `fineweb[:CONFIG][@REVISION]` names; None for any other input. Raises InputError."""
    found = re.fullmatch(r"fineweb(:[^@]*)?(@.*)?", given)
    if found is None:
        return None
    config, revision = found[1], found[2]
    if ":" in (config, revision) or revision == "@":
        raise InputError(f"{given}: write fineweb:CONFIG@REVISION, such as fineweb:CC-MAIN-2024-10@main")
    return FineWeb(config[1:] if config else CONFIG, revision[1:] if revision else None)


def open_fineweb(which: FineWeb) -> tuple[Rows, str | None]:
    """The rows, and the commit that they are pinned to. Raises InputError."""
    refuse_offline(DATASET)
    try:
        importlib.import_module("datasets")
    except ImportError as error:
        raise InputError(
            f"--input fineweb needs the package {error.name}; pip install 'tokenlab-bpb[fineweb]'"
        ) from error
    tries = Tries(PAUSES[:FIRST_PAUSES])
    while True:
        try:
            return load_fineweb(which.config, which.revision)
        except Exception as error:  # whatever the network stack of the day raises
            if type(error).__name__ == "RevisionNotFoundError":
                raise InputError(f"{DATASET}: there is no revision {which.revision!r}") from None
            if isinstance(error, ValueError) and which.config in str(error):
                known = f"{CONFIG}, sample-100BT, sample-350BT, default, CC-MAIN-2024-10 and other crawls"
                raise InputError(f"{DATASET}: there is no {which.config!r}; known are {known}") from None
            if not tries.pause():
                raise _unreachable(error) from None


def load_fineweb(config: str, revision: str | None) -> tuple[Rows, str | None]:
    """The rows in streaming order, and their commit."""
    commit = find_commit(revision)
    datasets: Any = importlib.import_module("datasets")
    datasets.disable_progress_bars()  # tokenlab shows its own
    rows = datasets.load_dataset(DATASET, name=config, split="train", streaming=True, revision=commit)
    return rows, commit


def find_commit(revision: str | None) -> str | None:
    """The commit that a revision (None: the main branch) is at the moment."""
    api: Any = importlib.import_module("huggingface_hub").HfApi()
    commit: str | None = api.dataset_info(DATASET, revision=revision).sha
    return commit


def read_fineweb(rows: Rows, text_field: str) -> Iterator[tuple[int, bytes | Flaw]]:
    """The documents and their rows, from 1. Raises InputError when the stream breaks for good."""
    row = reached = 0
    tries = Tries()
    while True:
        try:
            for record in rows.skip(row) if row else rows:
                row += 1
                yield row, text_of(record, text_field)
            return
        except Exception as error:  # as above
            if row > reached:
                reached, tries = row, Tries()
            if not tries.pause():
                raise _unreachable(error, row) from None


def _unreachable(error: Exception, row: int = 0) -> InputUnavailable:
    first = (str(error).splitlines() or [""])[0]
    where = f"after row {row}" if row else "at the start"
    return InputUnavailable(
        f"{DATASET}: cannot be read {where}: {type(error).__name__}: "
        f"{one_line(without_secrets(first))[:300]}; check the network, or give files to --input"
    )
