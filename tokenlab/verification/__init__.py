"""`tokenlab verify`: every file re-read, every verdict recomputed, the first failure named.

Without documents a dataset is held against its own manifest: a reversible scheme decodes
to documents whose digests the manifest carries, and charges are recomputed from what was
decoded. With the documents (`docs`) everything is held against the source itself.
"""

from pathlib import Path

from tokenlab.errors import InputError
from tokenlab.manifest import MANIFEST_FILE
from tokenlab.verification.foreign import ForeignOptions, ForeignVerification, verify_foreign
from tokenlab.verification.verify import Verification, verify

__all__ = [
    "ForeignOptions",
    "ForeignVerification",
    "Verification",
    "is_foreign",
    "verify",
    "verify_foreign",
]


def is_foreign(folder: Path, *, asked: bool) -> bool:
    """Whether a folder holds shards without a manifest; `asked`: options for such were given.

    Raises InputError when they were given for a dataset that has a manifest.
    """
    if (folder / MANIFEST_FILE).exists():
        if asked:
            raise InputError(
                f"{folder} has a manifest, which says its tokenizer and split: "
                "leave out --tokenizer, --transform, --val-docs, --byte-table, --log and --loss"
            )
        return False
    return asked or any(folder.glob("fineweb_val_*.bin"))
