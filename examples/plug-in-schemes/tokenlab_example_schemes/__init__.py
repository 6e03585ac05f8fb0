"""Schemes for tokenlab as the text of scheme files; `pyproject.toml` gives each its name."""

_UNIGRAM_SEGMENTER = """
[segmenter]
kind = "sentencepiece"
vocab_size = 8192
normalization = "identity"
model_type = "unigram"
split_digits = true
character_coverage = 0.999

[specials]
bos = 1
"""

UNIGRAM = f"""
name = "unigram"
summary = "SentencePiece unigram, lossless"
operators = ["escape"]
{_UNIGRAM_SEGMENTER}"""

WORDOPS_UNIGRAM = f"""
name = "wordops-unigram"
summary = "the operators of wordops, then SentencePiece unigram"
operators = ["newline-space", "glue", {{ name = "case", place = "space" }}]
{_UNIGRAM_SEGMENTER}"""
