"""Byte accounting: what every token is charged, and proofs that the sums are right."""
