"""Case: capital letters as marks, with a choice of where the mark stands and what goes without one.

A word is a maximal run of ASCII letters. It is written in lower case and its form as marks: TITLE (first
letter upper, the rest lower, also one capital), ALLCAPS (two or more letters, all upper), or CAPNEXT before
each later upper letter, with TITLE if the first is upper. `place` says where TITLE and ALLCAPS stand:

    place    The     x The       x NASA        iPhone        McDonald
    word     T the   x␣T the     x␣A nasa      i C phone     T mc C donald     (CaseOps, PR 1729)
    space    T the   x T␣the     x A␣nasa      i C phone     T mc C donald
    suffix   the T   x␣the T     x␣nasa A      i C phone     mc C donald T
    alias    T the   x ␣T the    x ␣A nasa     i C phone     T mc C donald     ␣T, ␣A are one mark each

`space`: the mark goes before a space (U+0020) directly before the word, so that `␣the` stays whole. `alias`:
mark and space are one character, which is charged the byte of the space.

`default = "predicted"`: where `sentence_start.py` expects a capital, TITLE is left out and LOWER marks a word
that has none. It is judged on this operator's input up to the word, which the decoder has rebuilt, so nothing
needs to be sent.

ESC stands before a mark that the input spells itself; with `escape_metaspace` U+2581 is written ESC and a
space. `place = "word"`, `default = "lower"` is the operator `caseops`, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokenlab.errors import InputError
from tokenlab.ops.kernel_operator import KernelOperator
from tokenlab.ops.marks import (
    ALLCAPS,
    CAPNEXT,
    ESC,
    LOWER,
    METASPACE,
    SPACE_ALLCAPS,
    SPACE_LOWER,
    SPACE_TITLE,
    TITLE,
)
from tokenlab.ops.sentence_start import expects_capital

PLACES = ("word", "space", "suffix", "alias")
DEFAULTS = ("lower", "predicted")
ALIASES = {TITLE: SPACE_TITLE, ALLCAPS: SPACE_ALLCAPS, LOWER: SPACE_LOWER}


class Case(KernelOperator):
    """The `case` operator. Raises InputError for a place or a default that it does not know."""

    name: str = "case"
    kernels = "tokenlab.ops.case_kernels"

    def __init__(self, *, place: str = "word", default: str = "lower", escape_metaspace: bool = True) -> None:
        for parameter, value, known in (("place", place, PLACES), ("default", default, DEFAULTS)):
            if value not in known:
                raise InputError(f"operator 'case': {parameter} = {value!r}; known: {', '.join(known)}")
        self.place = place
        self.default = default
        self.escape_metaspace = escape_metaspace
        self.markers = markers_of(place, default)
        self.arguments = (PLACES.index(place), default == "predicted", escape_metaspace)

    def apply_reference(self, text: bytes) -> tuple[bytes, list[int]]:
        """See `Operator.apply_reference`."""
        return apply_reference(text.decode(), self)


def markers_of(place: str, default: str) -> tuple[str, ...]:
    """The marks that a variant of the operator writes, and so escapes."""
    forms = (TITLE, ALLCAPS, *((LOWER,) if default == "predicted" else ()))
    aliases = tuple(ALIASES[form] for form in forms) if place == "alias" else ()
    return (TITLE, ALLCAPS, CAPNEXT, ESC, *forms[2:], *aliases)


def apply_reference(text: str, case: Case) -> tuple[bytes, list[int]]:
    """One document rewritten, with its cut map, in plain Python: the twin of the kernel."""
    out = bytearray()
    cuts: list[int] = []
    consumed = 0
    for rendered, source_bytes in _rendered(text, case):
        data = rendered.encode()
        advances = len(data) == source_bytes  # a character that stands for itself, byte by byte
        cuts.extend(consumed + k * advances for k in range(len(data)))
        out.extend(data)
        consumed += source_bytes
    return bytes(out), [*cuts, consumed]


def _rendered(text: str, case: Case) -> Iterator[tuple[str, int]]:
    """(what is written, source bytes it stands for), character by character."""
    for match in re.finditer(r"(?P<space> ?)(?P<word>[A-Za-z]+)|(?P<other>[^A-Za-z])", text):
        if match["other"]:
            yield from _escaped(match["other"], case)
            continue
        word = match["word"]
        form = _form(word)
        if case.default == "predicted" and expects_capital(text[: match.start("word")], word):
            form = {TITLE: "", "": LOWER}.get(form, form)
        mark, space = form, match["space"]
        if case.place == "alias" and mark and space:
            yield ALIASES[mark], 0
            # The alias is charged where the next byte begins.
            yield "", 1
            mark = space = ""
        if mark and case.place != "suffix" and not (case.place == "word" and space):
            yield mark, 0
            mark = ""
        if space:
            yield space, 1
        if mark and case.place == "word":
            yield mark, 0
        for k, letter in enumerate(word):
            if letter.isupper() and k and form != ALLCAPS:
                yield CAPNEXT, 0
            yield letter.lower(), 1
        if mark and case.place == "suffix":
            yield mark, 0


def _escaped(character: str, case: Case) -> Iterator[tuple[str, int]]:
    if character == METASPACE and case.escape_metaspace:
        yield ESC, 0
        yield " ", 3
        return
    if character in case.markers:
        yield ESC, 0
    yield character, len(character.encode())


def _form(word: str) -> str:
    if len(word) >= 2 and word.isupper():
        return ALLCAPS
    return TITLE if word[0].isupper() else ""


def invert_reference(text: str, case: Case) -> str:
    """One document read back, in plain Python: the twin of the kernel. Raises ValueError."""
    own = "".join(case.markers)
    forms = "".join(form for form in ALIASES if form in own)
    aliases = "".join(alias for alias in ALIASES.values() if alias in own)
    mark_and_space, after = {
        "word": (f"(?P<mark>[{forms}]?)(?P<space>)", ""),
        "space": (f"(?P<mark>[{forms}]?)(?P<space> ?)", ""),
        "suffix": ("", f"(?P<mark>[{forms}]?)(?P<space>)"),
        "alias": (f"(?P<mark>[{forms}{aliases}]?)(?P<space>)", ""),
    }[case.place]
    token = re.compile(
        f"{ESC}(?P<literal>[{own}{' ' if case.escape_metaspace else ''}])"
        f"|{mark_and_space}(?P<body>[a-z](?:{CAPNEXT}?[a-z])*){after}"
        f"|(?P<other>[^A-Z{own}])",
        re.DOTALL,
    )
    out = ""
    at = 0
    while at < len(text):
        match = token.match(text, at)
        if match is None:
            raise ValueError(f"unreadable mark at character {at}")
        if match["literal"]:
            out += METASPACE if match["literal"] == " " else match["literal"]
        elif match["other"]:
            out += match["other"]
        else:
            mark = match["mark"]
            if mark and mark in aliases:
                out += " "
                mark = next(form for form, alias in ALIASES.items() if alias == mark)
            out += match["space"]
            out += _word(match["body"], mark, out, case)
        at = match.end()
    return out


def _word(body: str, mark: str, before: str, case: Case) -> str:
    if mark == ALLCAPS:
        if CAPNEXT in body or len(body) < 2:
            raise ValueError("ALLCAPS is not followed by two letters or more without CAPNEXT")
        return body.upper()
    word = re.sub(f"{CAPNEXT}(.)", lambda m: m[1].upper(), body)
    expected = case.default == "predicted" and expects_capital(before, word)
    if mark == TITLE or (not mark and expected):
        return word[0].upper() + word[1:]
    return word
