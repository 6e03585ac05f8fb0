"""`tokenlab verify`: every file re-read, every verdict recomputed, the first failure named.

Without documents a dataset is held against its own manifest: a reversible scheme decodes
to documents whose digests the manifest carries, and charges are recomputed from what was
decoded. With the documents (`docs`) everything is held against the source itself.
"""

from tokenlab.verification.verify import Verification, verify

__all__ = ["Verification", "verify"]
