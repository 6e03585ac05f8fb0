"""What counts as a letter next to an ASCII word: by block, so that no Unicode version changes ids.

An ASCII letter is one. Beyond ASCII every character is, marks and digits too, unless it is in a block of
punctuation, symbols or private use (`NOT_LETTERS`): `é`, `日` and U+0301 are, `“`, `—`, `½` and emoji
are not.
"""

from __future__ import annotations

NOT_LETTERS = (
    (0x0080, 0x00A9),
    (0x00AB, 0x00B4),
    (0x00B6, 0x00B9),
    (0x00BB, 0x00BF),
    (0x00D7, 0x00D7),
    (0x00F7, 0x00F7),
    (0x2000, 0x2BFF),  # General Punctuation to Miscellaneous Symbols and Arrows
    (0x2E00, 0x2E7F),
    (0x3000, 0x303F),
    (0xE000, 0xF8FF),
    (0xFE00, 0xFE6F),
    (0xFEFF, 0xFF0F),
    (0xFF1A, 0xFF20),
    (0xFF3B, 0xFF40),
    (0xFF5B, 0xFF65),
    (0xFFE0, 0xFFFF),
    (0x1F000, 0x1FBFF),
    (0xE0000, 0x10FFFF),
)
"""First and last code point of each block beyond ASCII that holds no letters, in order."""


def is_letter(character: str) -> bool:
    """Whether one character counts as a letter: the twin of `letters_kernels.is_letter`."""
    if character.isascii():
        return character.isalpha()
    return not any(first <= ord(character) <= last for first, last in NOT_LETTERS)
