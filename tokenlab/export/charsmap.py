"""SentencePiece's normaliser in the terms of `tokenizers`, exactly.

SentencePiece replaces, from left to right, the longest prefix that has a rule. `tokenizers` reads
the same rules (`Precompiled`) but by grapheme: it takes the shortest prefix of a grapheme under six
bytes, drops the rest of it, and composes nothing longer. So the text is first cut the way
SentencePiece cuts it:

    1. U+0002 behind every chunk, a longest match of several characters or one character (only
       where something not ASCII stands near; ASCII chunks need no fence)
    2. U+0001 between the characters of a chunk, so that each is a grapheme of its own
    3. what rules delete is deleted (`Precompiled` may panic on it), then the rules of single
       characters apply
    4. U+0001 goes, and NFC composes what is left of a chunk, never across a U+0002; rules of
       Unicode versions that the library's NFC does not know are replaced one by one
    5. U+0002 goes; spaces are collapsed and stripped as the model says

This is right because every rule of several characters is the NFC of what its characters become
alone, which is checked for all of them, together with every single code point, when such a model
is exported; and because the text's own U+0001 and U+0002 are deleted by the model anyway.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable
from struct import Struct
from typing import Any

from tokenlab.errors import InputError
from tokenlab.segment.sentencepiece_model import SentencePieceModel

INSIDE, FENCE = "\x01", "\x02"
_LEAF = 0x100
_BATCH = 4096


def read_rules(charsmap: bytes) -> dict[str, str]:
    """Every rule of a precompiled charsmap: a Darts-clone double array, then the replacements.

    A unit is found by its parent's offset exclusive-or its own label, so the label tells the parent.
    """
    size = int.from_bytes(charsmap[:4], "little")
    units, strings = _units(charsmap), charsmap[4 + size :]
    children: defaultdict[int, list[int]] = defaultdict(list)
    for at, unit in enumerate(units):
        if 0 < unit & 0x800000FF < 256:
            children[at ^ unit & 0xFF].append(at)
    rules: dict[str, str] = {}
    pending = [(_offset(units[0]), b"")]
    while pending:
        node, prefix = pending.pop()
        for at in children[node]:
            key, child = prefix + bytes([units[at] & 0xFF]), at ^ _offset(units[at])
            if units[at] & _LEAF:
                start = units[child] & 0x7FFFFFFF
                rules[key.decode()] = strings[start : strings.index(b"\0", start)].decode()
            pending.append((child, key))
    return rules


def _units(charsmap: bytes) -> list[int]:
    return [
        unit for (unit,) in Struct("<I").iter_unpack(charsmap[4 : 4 + int.from_bytes(charsmap[:4], "little")])
    ]


def _offset(unit: int) -> int:
    return (unit >> 10) << ((unit & 0x200) >> 6)


def without_rules(charsmap: bytes, characters: Iterable[str]) -> bytes:
    """The charsmap with the rules of these one-byte characters taken out."""
    units, patched = _units(charsmap), bytearray(charsmap)
    for character in characters:
        at = _offset(units[0]) ^ ord(character)
        patched[4 + 4 * at : 8 + 4 * at] = (units[at] & ~_LEAF).to_bytes(4, "little")
    return bytes(patched)


def charsmap_steps(model: SentencePieceModel) -> list[dict[str, Any]]:
    """Normalisers of a `tokenizer.json` that do what the model's rules do to characters.

    Raises InputError for rules that cannot be written so.
    """
    if not model.charsmap:
        return []
    rules = read_rules(model.charsmap)
    single = {source: target for source, target in rules.items() if len(source) == 1}
    several = {source: target for source, target in rules.items() if len(source) > 1}
    if single.get(INSIDE) != "" or single.get(FENCE) != "":
        raise InputError(
            f"its normaliser ({model.normalizer_name}) keeps U+0001 and U+0002; tokenizers cannot do it"
        )
    later = {character for source in several for character in source[1:]}
    deleted = {source for source, target in single.items() if not target} - {INSIDE, FENCE}
    charsmap = base64.b64encode(without_rules(model.charsmap, (INSIDE, FENCE))).decode()
    steps = [
        _replace(_chunk_ends(several, later), FENCE),
        # Not at the start: tokenizers panics later on text with something put before it.
        _replace(rf"(?!\A)(?={_class(later)})", INSIDE),
        _replace(_class(deleted), ""),
        {"type": "Precompiled", "precompiled_charsmap": charsmap},
        {"type": "Replace", "pattern": {"String": INSIDE}, "content": ""},
        *_compositions(single, several),
        {"type": "NFC"},
        {"type": "Replace", "pattern": {"String": FENCE}, "content": ""},
    ]
    _require_equal(steps, rules)
    return steps


def whitespace_steps(model: SentencePieceModel) -> list[dict[str, Any]]:
    """What the model does to spaces; U+2581 of the text counts as one where a text ends."""
    steps = []
    if model.remove_extra_whitespaces:
        steps += [_replace(" {2,}", " "), _replace("\\A +|[ \u2581]+\\z", "")]
    steps.append({"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"})
    if model.add_dummy_prefix:
        steps.append({"type": "Prepend", "prepend": "\u2581"})
    return steps


def _replace(regex: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"Regex": regex}, "content": content}


def _chunk_ends(several: Iterable[str], later: set[str]) -> str:
    """An expression that matches, emptily, behind each chunk that needs a fence."""
    tails: defaultdict[str, set[str]] = defaultdict(set)
    for source in several:
        tails[source[0]].add(source[1:])
    heads: defaultdict[frozenset[str], list[str]] = defaultdict(list)
    for head, tail in tails.items():
        heads[frozenset(tail)].append(head)
    longest = "|".join(sorted(_class(head) + _tail(tail) for tail, head in heads.items()))
    one = r"[^\x00-\x7F]|\r(?=\n)|[\x00-\x7F](?=[^\x00-\x7F])"
    return rf"(?m:(?:(?=.{_class(later)})(?:{longest})|{one})\K)"


def _tail(tails: Iterable[str]) -> str:
    """An expression for any of these strings, the longest first."""
    rests: defaultdict[str, set[str]] = defaultdict(set)
    for tail in tails:
        rests[tail[0]].add(tail[1:])
    heads: defaultdict[frozenset[str], list[str]] = defaultdict(list)
    for head, rest in rests.items():
        heads[frozenset(rest)].append(head)
    branches = []
    for ends, firsts in heads.items():
        longer = [end for end in ends if end]
        optional = "?" if "" in ends else ""
        branches.append(_class(firsts) + (f"(?:{_tail(longer)}){optional}" if longer else ""))
    return f"(?:{'|'.join(sorted(branches))})"


def _class(characters: Iterable[str]) -> str:
    """A character class, in ranges."""
    ranges: list[list[int]] = []
    for code in sorted(map(ord, characters)):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "[" + "".join(rf"\x{{{a:X}}}-\x{{{b:X}}}" for a, b in ranges) + "]"


def _compositions(single: dict[str, str], several: dict[str, str]) -> list[dict[str, Any]]:
    """Replacements for the rules that the library's NFC does not know, the longest first."""
    from tokenizers import normalizers

    compose = normalizers.NFC().normalize_str
    unknown = {}
    for sources in _batches(sorted(several)):
        alone = ["".join(single.get(character, character) for character in source) for source in sources]
        composed = compose(FENCE.join(alone)).split(FENCE)
        for source, parts, got in zip(sources, alone, composed, strict=True):
            if got != several[source]:
                unknown[parts] = several[source]
    ordered = sorted(unknown, key=lambda parts: (-len(parts), parts))
    return [{"type": "Replace", "pattern": {"String": parts}, "content": unknown[parts]} for parts in ordered]


def _require_equal(steps: list[dict[str, Any]], rules: dict[str, str]) -> None:
    """Raise InputError unless the steps do to every rule and every code point what the rules say."""
    import json

    from tokenizers import Tokenizer

    model: dict[str, Any] = {"type": "BPE", "vocab": {}, "merges": []}
    content = {"model": model, "normalizer": {"type": "Sequence", "normalizers": steps}}
    normalizer = Tokenizer.from_str(json.dumps(content)).normalizer
    everything = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    everything += [source for source in rules if len(source) > 1]
    in_rules = set("".join(rules))
    between = next(c for c in map(chr, range(0x21, 0x7F)) if c not in in_rules)
    for sources in _batches(everything):
        expected = between + between.join(rules.get(source, source) for source in sources)
        if normalizer.normalize_str(between + between.join(sources)) != expected:
            raise InputError("its normaliser cannot be written in a tokenizer.json: it gives other text")


def _batches(items: list[str]) -> Iterable[list[str]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]
