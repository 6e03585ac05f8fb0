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

SUPERWORD = """
name = "superword"
summary = "bpe, then merges of whole neighbours across spaces: tokens of up to four words"
operators = ["escape"]

[segmenter]
kind = "superword"
vocab_size = 8192
first_stage = 0.8
words = 4

[specials]
bos = 1
"""

MIN_TOKENS = """
name = "min-tokens"
summary = "the vocabulary of bpe, cut into the fewest tokens"
operators = ["escape"]

[segmenter]
kind = "min-tokens"
vocab_size = 8192

[specials]
bos = 1
"""
