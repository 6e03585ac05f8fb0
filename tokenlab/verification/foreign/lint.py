"""What about a tokenizer has led to wrong byte counts before: warnings, each with its reason."""

from __future__ import annotations

from tokenlab.segment.segmenter import Segmenter
from tokenlab.segment.sentencepiece import METASPACE, SentencePieceSegmenter
from tokenlab.segment.sentencepiece_model import PieceKind


def lint_tokenizer(segmenter: Segmenter) -> list[str]:
    """Warnings about a tokenizer, FIELD invariant 14; none for a byte-level one."""
    if not isinstance(segmenter, SentencePieceSegmenter):
        return []
    model = segmenter.model
    text = {piece.text: piece.kind for piece in model.pieces}
    normal = [piece.text for piece in model.pieces if piece.kind is PieceKind.NORMAL]
    byte_pieces = sum(piece.kind is PieceKind.BYTE for piece in model.pieces)
    inner = sum(METASPACE in piece[1:] for piece in normal)
    newline = sum("\n" in piece for piece in normal)
    findings = [
        (METASPACE not in text, "no standalone U+2581: a bare space becomes three byte tokens in a table"),
        (inner > 0, f"{inner} pieces have a U+2581 inside, which the stock table counts as three bytes"),
        (0 < byte_pieces < 256, f"only {byte_pieces} of 256 byte pieces: some text becomes <unk>"),
        (not model.byte_fallback, "no byte fallback: rare characters become <unk> and cannot be decoded"),
        (newline > 0, f"{newline} pieces hold a newline"),
        (bool(model.charsmap), f"it normalises text ({model.normalizer_name}): source bytes are lost"),
        (model.remove_extra_whitespaces, "it removes whitespace: source bytes are lost"),
        (model.add_dummy_prefix, "it puts a space before every text, which stands for no byte"),
        (any(piece.kind is PieceKind.UNUSED for piece in model.pieces), "it has unused pieces"),
    ]
    return [message for found, message in findings if found]
