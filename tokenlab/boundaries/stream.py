"""Documents as the stream of ids that rules read: scheme `bytes`, BOS before each document."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenlab.ragged import Ragged
from tokenlab.segment.byte import FIRST_BYTE
from tokenlab.segment.segmenter import BOS


def as_stream(ids: Ragged) -> NDArray[np.uint16]:
    """The ids of documents (rows without BOS) in one stream, uint16."""
    return np.insert(ids.values.astype(np.uint16), ids.offsets[:-1], BOS)


def as_ids(document: bytes) -> NDArray[np.uint16]:
    """BOS and the bytes of a document as ids, uint16."""
    return np.insert(np.frombuffer(document, np.uint8).astype(np.uint16) + np.uint16(FIRST_BYTE), 0, BOS)


def as_document(ids: NDArray[np.generic]) -> bytes:
    """The bytes that the ids of a document (without BOS) spell."""
    return (ids.astype(np.int64) - FIRST_BYTE).astype(np.uint8).tobytes()
