"""Text that operators and encoders are likely to get wrong, as Hypothesis strategies."""

from __future__ import annotations

from hypothesis import strategies as st

MARKERS = "\ue001\ue002\ue003\ue004"
BLOCKS = "\ue000\ue005\u2580\u2581\u2582"  # neighbours of the markers, and U+2581 with its own
ALL_MARKS = "\ue001\ue002\ue003\ue004\ue005\ue006\ue007\ue008\ue009\u2055\ua78c"  # of every operator
LETTERS = "abezABEZ"
OTHERS = "\u00e9\u00c9\u0301\u00df \n\r\t.0125'[@`{\0\x7f\u00a0\ufeff\U0001f600\U0010ffff"
LITERALS = ["<s>", "</s>", "<unk>", "<pad>", "<0x41>", "<|endoftext|>", "<pad></s>", "\u2581\u2581"]
WORDS = ["the", "The", "NASA", "iPhone", "McDonald", "ABc", "I'LL", "  ", "    ", "e\u0301", "1234"]

characters = st.one_of(
    st.sampled_from(MARKERS + BLOCKS),
    st.sampled_from(LETTERS),
    st.sampled_from(OTHERS),
)
pieces = st.one_of(characters, st.sampled_from(WORDS + LITERALS), st.characters(codec="utf-8"))

texts = st.lists(pieces, max_size=24).map("".join)
"""Any valid text, rich in what is special."""

batches = st.lists(texts, max_size=6)

marked_texts = st.lists(
    st.one_of(st.sampled_from(MARKERS + " "), st.sampled_from("abAB.\u00e9\ue005")), max_size=10
).map("".join)
"""What no operator need have written: markers anywhere."""

HOSTILE = (
    "The </script><script>alert(1)</script> <!-- \" ' ` <img src=x onerror=alert(1)> &amp; &#0; ]]>\n"
    "\u202eright to left\u2066 \u0301lone mark \x00\x07\x1b[31m\x85\u2028 \ufeff\u200d\u3164 </title>\r\n"
    '\u65e5\u672c\u8a9e \U0001f469\u200d\U0001f467 \ue001literal <0xE2> {"a":1} \\ud800 \\x41 \u00e9 e\u0301 '
    "\u00bd \u2581 \u0627\u0644\u0639\u0631\u0628\u064a\u0629 </style>\t"
)
"""What documents of the web would do to a page or a terminal, if they were let."""
