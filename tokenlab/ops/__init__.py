"""Operators: reversible (or declared normalising) rewrites of text, each with its cut map."""
