"""A scheme's segmenter as a `tokenizer.json` of Hugging Face.

Specials are in the vocabulary and not among the added tokens, so no text becomes one: `<s>` in a
text is three characters. A user-defined piece needs no added token either: it is one character
that no merge takes part in.
"""

from __future__ import annotations

import json
from typing import Any

from tokenlab.export.charsmap import charsmap_steps, whitespace_steps
from tokenlab.scheme import Scheme
from tokenlab.segment.byte import ByteSegmenter
from tokenlab.segment.byte_level import TOKENIZER_FILE, ByteLevelSegmenter, byte_characters
from tokenlab.segment.gigatoken_encoder import sentencepiece_json, supports_sentencepiece
from tokenlab.segment.segmenter import Segmenter
from tokenlab.segment.sentencepiece import METASPACE, SentencePieceSegmenter

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def refuse_segmenter(segmenter: Segmenter) -> str:
    """Why a segmenter has no `tokenizer.json`, or ""."""
    if isinstance(segmenter, ByteSegmenter | ByteLevelSegmenter):
        return ""
    if not isinstance(segmenter, SentencePieceSegmenter):
        return "its segmenter is a plug-in, and a tokenizer.json holds the merges of BPE alone"
    if supports_sentencepiece(segmenter.model):
        return ""
    model = segmenter.model
    if model.model_type != "bpe":
        return (
            f"its SentencePiece model is {model.model_type}, and only bpe has the merges of a tokenizer.json"
        )
    if not model.byte_fallback:
        return "its SentencePiece model has no byte fallback, so it has no ids for some texts"
    return (
        "its SentencePiece model has unused pieces, pieces of one score or user-defined pieces of several "
        "characters, which merges cannot express"
    )


def tokenizer_json(scheme: Scheme) -> str:
    """The text of the file. It encodes what the scheme's operators leave of a text (`rewrite`),
    but does a model's own normalisation itself. Raises InputError where that cannot be written."""
    segmenter = scheme.segmenter
    if isinstance(segmenter, SentencePieceSegmenter):
        content = _sentencepiece(segmenter)
    elif isinstance(segmenter, ByteLevelSegmenter):
        content = _byte_level(segmenter)
    else:
        content = _bytes(segmenter)
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def _sentencepiece(segmenter: SentencePieceSegmenter) -> dict[str, Any]:
    model = segmenter.model
    content = sentencepiece_json(model) | {"added_tokens": [], "truncation": None, "padding": None}
    steps = [*charsmap_steps(model), *whitespace_steps(model)]
    content["normalizer"] = {"type": "Sequence", "normalizers": steps}
    decoders: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": METASPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if model.add_dummy_prefix:
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    content["decoder"] = {"type": "Sequence", "decoders": decoders}
    return content


def _byte_level(segmenter: ByteLevelSegmenter) -> dict[str, Any]:
    """The file as it is, less what would let text become a control token, or add one."""
    content: dict[str, Any] = json.loads(segmenter.files[TOKENIZER_FILE])
    model = content["model"]
    if not model.get("ignore_merges"):  # with it, a vocabulary entry is matched against whole pieces
        added = {token["content"]: token["id"] for token in content.get("added_tokens") or []}
        model["vocab"] = added | model["vocab"]
    return content | {"added_tokens": [], "post_processor": None, "truncation": None, "padding": None}


def _bytes(segmenter: Segmenter) -> dict[str, Any]:
    spelled = byte_characters()
    names = {segmenter.piece(i): i for i, row in enumerate(segmenter.token_bytes.tobytes()) if not row}
    bytes_of = {spelled[row[0]]: i for i, row in enumerate(segmenter.token_bytes.tobytes()) if row}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": BYTE_LEVEL,
        "post_processor": None,
        "decoder": BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": names | bytes_of,
            "merges": [],
        },
    }
