"""Byte-level BPE in the `tokenizer.json` format of Hugging Face `tokenizers`.

Text is cut by a regular expression, each piece is BPE-merged over bytes, so every byte
string of valid UTF-8 is spelled exactly and nothing needs escaping. The file's control
tokens are set aside before encoding: `<s>` in a text is four characters.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np

from tokenlab.errors import InputError
from tokenlab.ragged import Ragged
from tokenlab.segment.gigatoken_encoder import BACKEND, GigatokenEncoder
from tokenlab.segment.spelling import cover

TOKENIZER_FILE = "tokenizer.json"
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")
BOS_NAMES = ("<s>", "<|bos|>", "<|begin_of_text|>", "<|startoftext|>", "<|endoftext|>")

_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
SPLIT_PATTERNS = {
    "gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "cl100k": rf"{_WORDS}|\p{{N}}{{1,3}}|{_REST}",
    "qwen2": rf"{_WORDS}|\p{{N}}|{_REST}",
}
"""Published split expressions by the name of the vocabulary that made them known."""

_INEXACT_OPTIONS = ("dropout", "continuing_subword_prefix", "end_of_word_suffix")
"""Options of a model under which chance decides, or its pieces are not the text's bytes."""


class ByteLevelSegmenter:
    """A byte-level BPE vocabulary from a `tokenizer.json`.

    gigatoken encodes where it knows the file's split expression; `tokenizers` does
    otherwise, and is the reference. Raises InputError for a file that is not byte-level
    BPE, that normalises, or that names no BOS.
    """

    def __init__(self, data: bytes) -> None:
        content = _parse(data)
        self.files = {TOKENIZER_FILE: data}
        specials = {token["content"]: int(token["id"]) for token in content.get("added_tokens") or []}
        vocabulary: dict[str, int] = content["model"]["vocab"]
        self._pieces = {i: piece for piece, i in (vocabulary | specials).items()}
        self.vocab_size = max(self._pieces) + 1
        self.bos = _find_bos(specials)
        self._plain = content | {
            "added_tokens": [],
            "post_processor": None,
            "truncation": None,
            "padding": None,
        }
        unbyte = {character: byte for byte, character in byte_characters().items()}
        rows = [b""] * self.vocab_size
        for piece, i in vocabulary.items():
            if piece not in specials:
                rows[i] = _piece_bytes(piece, unbyte)
        self.token_bytes = Ragged.from_bytes(rows)
        self.backends = {"tokenizers": version("tokenizers")}
        self._encoder = _gigatoken(self._plain)
        self.fast = self._encoder is not None
        if self.fast:
            self.backends |= BACKEND
        else:
            _ = self._tokenizer  # refused now, not at the first document

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        try:
            return Tokenizer.from_str(json.dumps(self._plain, ensure_ascii=False))
        except Exception as error:  # the class that tokenizers raises
            raise InputError(f"the tokenizer.json is refused by tokenizers: {error}") from error

    def split(self, text: Ragged) -> Ragged:
        """See `Segmenter.split`."""
        return self._encoder.encode(text) if self._encoder else self.split_reference(text)

    def split_with_ends(self, text: Ragged) -> tuple[Ragged, Ragged]:
        """See `Segmenter.split_with_ends`."""
        ids = self.split(text)
        return ids, cover(ids, self.token_bytes, text)

    def split_reference(self, text: Ragged) -> Ragged:
        """See `Segmenter.split_reference`: `tokenizers` itself, without control tokens."""
        documents = [row.decode() for row in text.tobytes()]
        encodings = self._tokenizer.encode_batch_fast(documents, add_special_tokens=False)
        return Ragged.from_rows([encoding.ids for encoding in encodings], np.uint32)

    def piece(self, token: int) -> str:
        """See `Segmenter.piece`."""
        return str(self._pieces.get(token, f"<unused {token}>"))


def _parse(data: bytes) -> dict[str, Any]:
    try:
        content = json.loads(data)
        kind = content["model"]["type"]
        normalizer = content.get("normalizer")
        normalizes = normalizer and normalizer.get("type")
        byte_level = '"ByteLevel"' in json.dumps(content.get("pre_tokenizer"))
        ids = [*content["model"]["vocab"].values()] if kind == "BPE" else []
        ids += [token["id"] for token in content.get("added_tokens") or [] if token["content"] is not None]
        if not all(type(i) is int and i >= 0 for i in ids):
            raise ValueError("an id is not a whole number from 0 on")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError("the tokenizer is not a tokenizer.json of Hugging Face tokenizers") from error
    if kind != "BPE" or not byte_level:
        raise InputError(f"the tokenizer.json holds a {kind} model; this scheme needs byte-level BPE")
    if normalizer is not None:
        raise InputError(f"the tokenizer.json normalises text ({normalizes}) and so cannot be reversed")
    if '"add_prefix_space": true' in json.dumps(content.get("pre_tokenizer")):
        raise InputError(
            "the tokenizer.json puts a space before every text (add_prefix_space) and so cannot be reversed"
        )
    for option in _INEXACT_OPTIONS:
        if content["model"].get(option):
            raise InputError(
                f"the tokenizer.json sets {option}, which tokenlab cannot encode exactly; unset it"
            )
    return dict(content)


def _find_bos(specials: dict[str, int]) -> int:
    for name in BOS_NAMES:
        if name in specials:
            return specials[name]
    raise InputError(f"the tokenizer.json has none of {', '.join(BOS_NAMES)} to open a document with")


def _piece_bytes(piece: str, unbyte: dict[str, int]) -> bytes:
    try:
        return bytes(unbyte[character] for character in piece)
    except KeyError as error:
        raise InputError(f"the tokenizer.json has a piece that is not byte-level: {piece!r}") from error


def _gigatoken(plain: dict[str, Any]) -> GigatokenEncoder | None:
    steps = plain["pre_tokenizer"].get("pretokenizers") or [plain["pre_tokenizer"]]
    # gigatoken takes every split for an isolating one.
    if any(step.get("type") == "Split" and step.get("behavior") != "Isolated" for step in steps):
        return None
    try:
        return GigatokenEncoder(plain)
    except RuntimeError:  # a split expression or a feature that gigatoken does not know
        return None


def byte_characters() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte: itself where it is printable Latin-1,
    else the next code point from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    characters = {byte: chr(byte) for byte in printable}
    hidden = [byte for byte in range(256) if byte not in characters]
    return characters | {byte: chr(0x100 + k) for k, byte in enumerate(hidden)}


def train_byte_level(texts: Iterable[bytes], *, vocab_size: int, split: str) -> bytes:
    """Train a byte-level BPE on texts of valid UTF-8; the bytes of its `tokenizer.json`.

    `split` names one of SPLIT_PATTERNS. Deterministic. Raises InputError when the texts
    cannot fill the vocabulary.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    if split not in SPLIT_PATTERNS:
        raise InputError(f"unknown split {split!r}; known: {', '.join(SPLIT_PATTERNS)}")
    if vocab_size < len(SPECIALS) + 256:
        raise InputError(
            f"a byte-level vocabulary has at least {len(SPECIALS) + 256} ids, asked for {vocab_size}"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERNS[split]), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(byte_characters().values()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text.decode() for text in texts), trainer)
    if tokenizer.get_vocab_size() != vocab_size:
        most = tokenizer.get_vocab_size()
        raise InputError(
            f"the text fills at most {most} pieces, not {vocab_size}: give more text, or ask for {most}"
        )
    content = json.loads(tokenizer.to_str())
    merged = {"".join(pair) for pair in content["model"]["merges"]}
    if merged & set(SPECIALS):
        raise InputError(f"training merged text into the special {sorted(merged & set(SPECIALS))[0]!r}")
    return tokenizer.to_str().encode()
