"""The byte segmenter: id = byte + 4, after pad 0, bos 1, eos 2, unk 3; 260 ids."""

from __future__ import annotations

import numpy as np

from tokenlab.ragged import Ragged
from tokenlab.segment.segmenter import BOS
from tokenlab.segment.spelling import cover

FIRST_BYTE = 4


class ByteSegmenter:
    """One token a byte."""

    vocab_size = FIRST_BYTE + 256
    bos = BOS

    def __init__(self) -> None:
        self.backends: dict[str, str] = {}
        self.files: dict[str, bytes] = {}
        self.token_bytes = Ragged.from_bytes([b""] * FIRST_BYTE + [bytes([b]) for b in range(256)])

    def split(self, text: Ragged) -> Ragged:
        """See `Segmenter.split`."""
        return Ragged(text.values.astype(np.uint32) + FIRST_BYTE, text.offsets)

    def split_with_ends(self, text: Ragged) -> tuple[Ragged, Ragged]:
        """See `Segmenter.split_with_ends`."""
        ids = self.split(text)
        return ids, cover(ids, self.token_bytes, text)

    def split_reference(self, text: Ragged) -> Ragged:
        """See `Segmenter.split_reference`."""
        return Ragged.from_rows([[FIRST_BYTE + byte for byte in row] for row in text.tobytes()], np.uint32)

    def piece(self, token: int) -> str:
        """See `Segmenter.piece`."""
        return (
            ("<pad>", "<s>", "</s>", "<unk>")[token]
            if token < FIRST_BYTE
            else f"<0x{token - FIRST_BYTE:02X}>"
        )
