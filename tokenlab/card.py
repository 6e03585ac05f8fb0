"""The dataset card: a dataset's `README.md`, with the front matter that the Hugging Face hub reads.

>>> print(dataset_card(read_manifest(Path("out/caseops")), license="odc-by").splitlines()[1])
license: odc-by

It says what the manifest says, to people: the same manifest gives the same bytes.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tokenlab.errors import InputError
from tokenlab.manifest import SPLITS, Manifest

CARD_FILE = "README.md"
LISTED_FILES = 40
"""Files whose digests the card lists; the manifest has them all."""

_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))
_MORE_SIZES = ((10**7, "1M<n<10M"), (10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"))


def dataset_card(manifest: Manifest, *, license: str | None = None) -> str:
    """The text of `README.md`. `license`: that of the source, as the hub names it (`odc-by`,
    `cc0-1.0`, …); without it the card says that none was given. Raises InputError for a license
    that is no such name."""
    license = check_license(license if license is not None else manifest.options.get("license"))
    parts = [
        _front_matter(manifest, license),
        _introduction(manifest),
        _source(manifest, license),
        _scheme(manifest),
        _counts(manifest),
        _verdicts(manifest),
        _loading(manifest),
        _digests(manifest),
    ]
    return "\n\n".join(parts) + "\n"


def check_license(license: str | None) -> str | None:
    """The name back. Raises InputError unless it is written as the hub writes license names."""
    if license is not None and not re.fullmatch(r"[a-z0-9]+([.\-][a-z0-9]+)*", license):
        raise InputError(f"--license {license!r}: give a name as the Hugging Face hub writes it, like odc-by")
    return license


def _front_matter(manifest: Manifest, license: str | None) -> str:
    documents = manifest.stats.docs_total
    sizes = [name for below, name in (*_SIZES, *_MORE_SIZES) if documents < below]
    fields: dict[str, Any] = {"license": license} if license else {}
    fields |= {
        "pretty_name": manifest.name,
        "task_categories": ["text-generation"],
        "size_categories": [sizes[0] if sizes else "10B<n<100B"],
        "tags": ["tokenlab", "pretokenized"],
        "viewer": False,  # shards are no format that the hub can show
    }
    # JSON values are YAML; a plain name needs no quotes.
    lines = [f"{key}: {value if key == 'license' else json.dumps(value)}" for key, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def _introduction(manifest: Manifest) -> str:
    return (
        f"# {manifest.name}\n\nToken shards with byte-exact accounting, made by tokenlab "
        f"{manifest.tokenlab_version}: {manifest.stats.docs_total:,} documents, "
        f"{manifest.stats.tokens_total:,} tokens of scheme `{manifest.scheme.name}`. "
        "`manifest.json` is the full record."
    )


def _source(manifest: Manifest, license: str | None) -> str:
    source = manifest.source
    files = [(file["path"], file["size"]) for file in source.corpus.get("files", [])]
    origin = {key: value for key, value in source.corpus.items() if value is not None and key != "files"}
    rows = [
        ("corpus", ", ".join(f"{key} {value}" for key, value in origin.items())),
        *(("file", f"`{path}`, {size:,} bytes") for path, size in files[:LISTED_FILES]),
        ("documents", f"{source.documents:,}"),
        ("bytes", f"{source.bytes:,}"),
        ("documents sha256", f"`{source.documents_sha256}`"),
        ("skipped rows", f"{len(source.bad_documents):,}"),
        ("license", f"{license}, as given when it was built" if license else "none was given"),
    ]
    if len(files) > LISTED_FILES:
        rows.insert(1 + LISTED_FILES, ("file", f"and {len(files) - LISTED_FILES:,} more"))
    return "## Source\n\n" + _table(("", ""), rows)


def _scheme(manifest: Manifest) -> str:
    scheme = manifest.scheme
    rows = [
        ("name", f"`{scheme.name}` (`scheme.toml`)"),
        ("ids", f"{scheme.vocab_size:,}; BOS {scheme.bos} opens each document"),
        ("fingerprint", f"`{scheme.fingerprint}`"),
        ("encoders", ", ".join(f"{name} {version}" for name, version in scheme.backends.items()) or "none"),
        ("vocabulary", str(manifest.vocabulary.get("from", "unknown"))),
        ("decodes to", "the source" if scheme.reversible else "a normal form: the source is not in the ids"),
    ]
    if (boundaries := manifest.boundaries) is not None:
        looks = "" if boundaries.causal else ", looking ahead: for analysis only"
        rows.append(("boundaries", f"`{boundaries.rule}`{looks}"))
    return "## Scheme\n\n" + _table(("", ""), rows)


def _counts(manifest: Manifest) -> str:
    head = (
        "split",
        "documents",
        "tokens",
        "source bytes",
        "charged",
        "unattributed",
        "bytes a token",
        "shards",
    )
    rows = []
    for split in SPLITS:
        record = manifest.splits[split]
        body = record.tokens - record.documents
        numbers = [record.documents, record.tokens, record.source_bytes, record.charged_bytes]
        rows.append(
            (
                split,
                *(f"{number:,}" for number in (*numbers, record.unattributed_bytes)),
                f"{record.source_bytes / body:.3f}" if body else "",
                f"{len(record.shards):,}",
            )
        )
    return (
        "## Counts\n\n"
        + _table(head, rows)
        + "\n\nTokens count BOS, bytes a token does not. A token's charge is the number of source bytes "
        "it stands for; what a normaliser strips from a document's ends is unattributed."
    )


def _verdicts(manifest: Manifest) -> str:
    splits = manifest.splits.values()
    balanced = all(s.charged_bytes + s.unattributed_bytes == s.source_bytes for s in splits)
    dropped = len(manifest.source.dropped_duplicates)
    rows = [
        (
            "balanced",
            f"{'yes' if balanced else 'NO'}: charges + unattributed = source bytes, in both splits",
        ),
        ("disjoint", f"{dropped:,} training documents that equal a validation document were left out"),
        (
            "reversible",
            "by its parts; each document is for `verify` to decode"
            if manifest.scheme.reversible
            else "no: it normalises text, and scores are on the normal form",
        ),
    ]
    docs = "" if manifest.scheme.reversible else " --docs SOURCE"
    return (
        "## Verdicts\n\nWhat the build measured:\n\n"
        + _table(("verdict", "measured"), rows)
        + "\n\nTake none of it on trust. This reads everything again, recomputes every charge and names "
        "the first fault (`--docs SOURCE` compares with the documents themselves):\n\n"
        f"```sh\ntokenlab verify .{docs}\n```"
    )


def _loading(manifest: Manifest) -> str:
    wide = manifest.vocab_size > 2**16
    magic, dtype = (20240801, "<u4") if wide else (20240520, "<u2")
    return f'''## Loading

```python
from pathlib import Path
import numpy as np

def read(pattern, dtype="<u2", magic=20240520):
    """256 int32 of header (magic, version, count), then the values."""
    paths = sorted(Path(".").glob(pattern))
    assert paths and all(np.fromfile(path, "<i4", 1)[0] == magic for path in paths), pattern
    return np.concatenate([np.memmap(path, dtype, "r", 1024) for path in paths])

ids = read("fineweb_val_*.bin", "{dtype}", {magic})
charges = read("bytes/fineweb_val_bytes_*.bin")  # source bytes of each token
starts = np.flatnonzero(ids == {manifest.bos_id})  # BOS opens a document
print(len(starts), "documents,", len(ids), "tokens,", int(charges.sum(dtype="u8")), "bytes")
```

`tokenlab.load_scheme(".")` encodes and decodes; `tokenlab export . --layout NAME --output OUT` makes
the folders and files that other trainers expect.'''


def _digests(manifest: Manifest) -> str:
    rows = [(name, sha256) for name, sha256 in manifest.files.items()]
    for split in SPLITS:
        rows += [(shard.file, shard.sha256) for shard in manifest.splits[split].shards]
        rows += [(s.sidecar.file, s.sidecar.sha256) for s in manifest.splits[split].shards if s.sidecar]
    listed = [(f"`{name}`", f"`{sha256}`") for name, sha256 in rows[:LISTED_FILES]]
    if len(rows) > LISTED_FILES:
        listed.append((f"{len(rows) - LISTED_FILES:,} more", "in `manifest.json`"))
    documents = [(f"documents of {s}", f"`{manifest.splits[s].documents_sha256}`") for s in SPLITS]
    return "## Digests\n\n" + _table(("file", "sha256"), [*listed, *documents])


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
