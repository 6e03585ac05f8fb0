"""`tokenlab verify` for datasets that tokenlab did not build: shards, a tokenizer and a claim."""

from tokenlab.verification.foreign.verify import ForeignOptions, ForeignVerification, verify_foreign

__all__ = ["ForeignOptions", "ForeignVerification", "verify_foreign"]
