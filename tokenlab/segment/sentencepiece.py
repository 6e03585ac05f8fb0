"""SentencePiece vocabularies: trained lossless here, or published ones taken as they are.

SentencePiece cannot tell U+2581 from a space, so text for a lossless vocabulary must not
hold it (the operators escape it); a piece's U+2581 spells a space.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np

from tokenlab.errors import EncodingError, InputError
from tokenlab.ragged import Ragged
from tokenlab.segment.gigatoken_encoder import (
    BACKEND,
    GigatokenEncoder,
    sentencepiece_json,
    supports_sentencepiece,
)
from tokenlab.segment.segmenter import BOS, EOS, PAD, UNK
from tokenlab.segment.sentencepiece_model import Piece, PieceKind, parse_model
from tokenlab.segment.spelling import cover
from tokenlab.segment.word_cache import WordCache

METASPACE = "\u2581"
MODEL_FILE = "sentencepiece.model"

_WITHOUT_NORMALIZER = bytes([3 << 3 | 2, 6, 2 << 3 | 2, 0, 3 << 3, 0, 4 << 3, 0])
"""A NormalizerSpec of no rules, no dummy prefix and no whitespace removal: protobuf merges
a message that follows another, so a model with this behind it encodes text as it stands."""


class SentencePieceSegmenter:
    """Text, already normalised, to the ids of a SentencePiece BPE model.

    gigatoken encodes where its merge loop is SentencePiece's; SentencePiece does otherwise,
    and is the reference. Raises InputError for a model without BOS.
    """

    def __init__(self, data: bytes) -> None:
        self.model = parse_model(data)
        self.files = {MODEL_FILE: data}
        self.vocab_size = len(self.model.pieces)
        self.bos = self.model.bos_id
        if not 0 <= self.bos < self.vocab_size:
            raise InputError(
                "the SentencePiece model has no BOS piece; tokenlab opens every document with it"
            )
        self.fast = supports_sentencepiece(self.model)
        self.backends = {"sentencepiece": version("sentencepiece")} | (BACKEND if self.fast else {})
        self.token_bytes = Ragged.from_bytes([spelled_by(piece) for piece in self.model.pieces])

    @cached_property
    def _encoder(self) -> GigatokenEncoder:
        return GigatokenEncoder(sentencepiece_json(self.model))

    def _encode(self, text: Ragged) -> Ragged:
        return self._spelled(self._encoder.encode(text))

    @cached_property
    def _words(self) -> WordCache:
        return WordCache(self.token_bytes, self._encode)

    @cached_property
    def _processor(self) -> Any:
        from sentencepiece import SentencePieceProcessor

        return SentencePieceProcessor(model_proto=self.files[MODEL_FILE] + _WITHOUT_NORMALIZER)

    def split(self, text: Ragged) -> Ragged:
        """See `Segmenter.split`. Raises EncodingError for a character the model cannot spell."""
        if not self.fast:
            return self.split_reference(text)
        try:
            return self._words.split(text)[0]
        except EncodingError:  # ids that do not spell the text, which is not asked for here
            return self._encode(text)

    def split_with_ends(self, text: Ragged) -> tuple[Ragged, Ragged]:
        """See `Segmenter.split_with_ends`."""
        if self.fast:
            return self._words.split(text)
        ids = self.split_reference(text)
        return ids, cover(ids, self.token_bytes, text)

    def split_reference(self, text: Ragged) -> Ragged:
        """See `Segmenter.split_reference`: SentencePiece itself, without its normaliser."""
        return self._spelled(
            Ragged.from_rows(self._processor.encode(text.tobytes(), num_threads=1), np.uint32)
        )

    def _spelled(self, ids: Ragged) -> Ragged:
        unknown = np.flatnonzero(ids.values == self.model.unk_id)
        if len(unknown):
            document = int(np.searchsorted(ids.offsets, unknown[0], side="right")) - 1
            raise EncodingError(
                document, "the vocabulary has no way to spell one of its characters (no byte fallback)"
            )
        return ids

    def piece(self, token: int) -> str:
        """See `Segmenter.piece`."""
        return self.model.pieces[token].text

    def require_lossless(self, markers: Iterable[str]) -> None:
        """Raise InputError, naming the flag, unless the model keeps every byte of a text
        and holds each marker whole (training with `user_defined_symbols`)."""
        model = self.model
        if model.charsmap:
            reason = (
                f"it normalises text ({model.normalizer_name}); train with normalization_rule_name=identity"
            )
        elif model.remove_extra_whitespaces:
            reason = "it removes whitespace; train with remove_extra_whitespaces=false"
        elif model.add_dummy_prefix:
            reason = "it puts a space before every text; train with add_dummy_prefix=false"
        elif not model.escape_whitespaces:
            reason = "it does not write a space as U+2581; train with escape_whitespaces=true"
        elif not model.byte_fallback:
            reason = "it turns rare characters into <unk>; train with byte_fallback=true"
        else:
            reason = ""
        if reason:
            raise InputError(f"this SentencePiece model is not lossless: {reason}, or use a -v1 scheme")
        self.require_markers(markers)

    def require_markers(self, markers: Iterable[str]) -> None:
        """Raise InputError unless each marker is a piece of its own."""
        whole = {piece.text for piece in self.model.pieces if piece.kind is PieceKind.USER_DEFINED}
        missing = [f"U+{ord(marker):04X}" for marker in markers if marker not in whole]
        if missing:
            raise InputError(
                f"this SentencePiece model does not hold the scheme's markers {', '.join(missing)}; "
                "train it with user_defined_symbols"
            )


def spelled_by(piece: Piece) -> bytes:
    """The bytes that a piece stands for in a text; none for control and unknown pieces."""
    if piece.kind is PieceKind.BYTE:
        return bytes([int(piece.text[3:5], 16)])
    if piece.kind in (PieceKind.CONTROL, PieceKind.UNKNOWN, PieceKind.UNUSED):
        return b""
    return piece.text.replace(METASPACE, " ").encode()


def train_sentencepiece(
    texts: Iterable[bytes], *, vocab_size: int, markers: tuple[str, ...], parameters: dict[str, Any]
) -> bytes:
    """Train a lossless SentencePiece model on rewritten texts; the `.model` file's bytes.

    `parameters` goes to the trainer (`model_type`, `split_digits`, `character_coverage`).
    Deterministic. Raises InputError when the texts cannot fill the vocabulary.
    """
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            vocab_size=vocab_size,
            user_defined_symbols=list(markers),
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            byte_fallback=True,
            # Documents are sentences; the default skips those over 4,192 bytes.
            max_sentence_length=2**30,
            pad_id=PAD,
            bos_id=BOS,
            eos_id=EOS,
            unk_id=UNK,
            num_threads=1,
            minloglevel=2,
            **parameters,
        )
    except RuntimeError as error:
        raise InputError(_training_failure(vocab_size, str(error))) from error
    return model.getvalue()


def _training_failure(vocab_size: int, message: str) -> str:
    most = re.search(r"Vocabulary size too high.*value <= (\d+)", message)
    if most:
        return f"the text fills {most[1]} pieces, not {vocab_size}: pass --vocab-size {most[1]} or more text"
    least = re.search(r"Vocabulary size is smaller than required_chars. (\d+) vs (\d+)", message)
    if least:
        return (
            f"a vocabulary of {vocab_size} is too small: bytes, markers and characters alone take {least[2]}"
        )
    if "sentences_.empty()" in message:
        return "there is no text to train a vocabulary on"
    return (
        f"SentencePiece cannot train a vocabulary of {vocab_size} on this text: {' '.join(message.split())}"
    )
