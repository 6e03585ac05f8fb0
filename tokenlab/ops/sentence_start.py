"""Where a capital letter is expected: the rule that `case` with `default = "predicted"` shares with
its decoder.

A word is expected to have a capital if it is `i`, or if it stands at a start:

- only non-letters (`letters.py`) stand before it since a newline or the beginning of the document, or
- the last 12 characters before it end in one of `. ! ? :`, then closing quotes or brackets, if any, then
  ASCII whitespace, then opening quotes or brackets, if any.

A glue mark and its space directly before the word are not there for this rule: they are no source text.
Definition: shared/REPRESENTATIONS.md, case-auto; the glue clause is ours.
"""

from __future__ import annotations

import re

from tokenlab.ops.letters import is_letter
from tokenlab.ops.marks import GLUE

REACH = 12
"""Characters before a word that are looked at for the end of a sentence."""

OPENING = "\"'([{\u2018\u201c\u00ab"
CLOSING = "\"')]}\u2019\u201d\u00bb"

_SENTENCE_END = re.compile(rf"[.!?:][{re.escape(CLOSING)}]*[ \t\n\v\f\r]+[{re.escape(OPENING)}]*\Z")


def expects_capital(before: str, word: str) -> bool:
    """Whether a word behind the text `before` is expected to have a capital: the kernel's twin."""
    if word.lower() == "i":
        return True
    line = before[before.rfind("\n") + 1 :]
    if not any(map(is_letter, line)):
        return True
    return _SENTENCE_END.search(before.removesuffix(GLUE + " ")[-REACH:]) is not None
