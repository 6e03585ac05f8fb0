"""The texts of ../shared/REPRESENTATIONS.md section 1 for `tokenlab screen`, and its table by text.

    python benchmarks/screen_protocol.py documents ../shared/data protocol.jsonl
    tokenlab screen bpe caseops byte-bpe bytes --input protocol.jsonl --holdout-docs 748 --output screen
    python benchmarks/screen_protocol.py table screen ../shared/data

With `collapsed` instead of `documents`, every run of whitespace is one space, as in the contest's text
(the split stays that of the raw text), and with `table-collapsed` a screen of them is shown.

H1, H2 and H3 are held out together, in this order, as there: so H2 is scored by a model that has read
H1. H2 leaves out pages of which train has the text, whitespace and compatibility forms aside. The screen
is paired with bpe, which it must hold.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import unicodedata
from pathlib import Path

import zstandard

SETS = ("fineweb_orig", "web_cc0_gov", "c4_demo", "fineweb_edu_chunks")
TABLE_8192 = {
    "bytes": (5.44, 1.99, 1.06),
    "byte-bpe": (0.03, 0.09, 0.21),
    "caseops": (-0.44, -0.84, -0.86),
    "caseops-alias": (-0.77, -1.13, -1.06),
    "caseops-before": (-0.81, -1.43, -0.84),
    "spaceops": (-0.73, -0.49, -1.16),
    "wordops": (-1.80, -2.09, -2.30),
    "wordops-auto": (-1.75, -1.97, -2.07),
    "superword": (2.52, 2.26, 1.99),
    "unigram": (0.01, -0.10, -0.12),
    "min-tokens": (0.08, 0.13, 0.06),
}
TABLE_1024 = {
    "bytes": (4.27, 1.76),
    "byte-bpe": (-0.15, -0.09),
    "caseops": (-0.10, -0.43),
    "caseops-alias": (-0.44, -0.72),
    "caseops-before": (-0.52, -0.83),
    "spaceops": (-0.46, -0.37),
    "wordops": (-1.16, -1.25),
    "wordops-auto": (-1.12, -1.13),
    "superword": (1.76, 1.71),
    "unigram": (0.30, 0.26),
    "min-tokens": (-0.04, 0.00),
}
TABLE_8192_COLLAPSED = {
    "caseops": (-0.16, -0.80, -0.54),
    "caseops-alias": (-0.53, -1.06, -0.75),
    "caseops-before": (-0.94, -1.41, -0.81),
    "wordops": (-1.48, -2.03, -1.73),
    "wordops-auto": (-1.50, -1.98, -1.72),
}
"""Section 3: change of the proxy against bpe in percent, on H1, H2, H3."""


def texts(data: Path, name: str) -> list[str]:
    """The texts of a set, in order."""
    packed = (data / f"{name}.jsonl.zst").read_bytes()
    rows = zstandard.ZstdDecompressor().decompress(packed).split(b"\n")
    return [json.loads(row)["text"] for row in rows if row]


def protocol(data: Path) -> tuple[list[str], list[list[str]]]:
    """The documents to learn, and H1, H2, H3."""
    learned, h1 = [], []
    for text in (text for name in SETS for text in texts(data, name)):
        held_out = hashlib.sha256(text.encode()).digest()[0] < 16
        (h1 if held_out else learned).append(text)
    known = {page(text) for text in learned}
    h2 = [text for text in texts(data, "fineweb_pgval_sp1024")[:330] if page(text) not in known]
    return learned, [h1, h2, texts(data, "wikipedia_demo") + texts(data, "prose_debian_en")[::5]]


def page(text: str) -> str:
    """The beginning of a page, the same in raw and in normalised text."""
    return " ".join(unicodedata.normalize("NFKC", text).split())[:100]


def write_documents(data: Path, path: Path, *, collapsed: bool) -> None:
    """The held-out documents, then those to learn."""
    learned, held_out = protocol(data)
    if collapsed:
        learned, *held_out = ([" ".join(text.split()) for text in part] for part in [learned, *held_out])
    rows = [text for part in held_out for text in part] + learned
    path.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in rows))
    sizes = [(len(part), sum(len(text.encode()) for text in part)) for part in [learned, *held_out]]
    print("documents, bytes of train, H1, H2, H3:", sizes)
    print(f"--holdout-docs {sum(map(len, held_out))}")


def print_table(folder: Path, data: Path, *, collapsed: bool) -> None:
    """Change against bpe on each text, here / in section 3 where it has the vocabulary's size."""
    screen = json.loads((folder / "screen.json").read_text())
    lengths = [len(part) for part in protocol(data)[1]]
    if sum(lengths) != screen["plan"]["documents"]:
        sys.exit(f"{folder} is no screen of these documents: it has {screen['plan']['documents']} held out")
    known = {8192: TABLE_8192_COLLAPSED} if collapsed else {1024: TABLE_1024, 8192: TABLE_8192}
    expected = known.get(screen["plan"]["vocab_size"], {})
    scores = {entry["scheme"]: by_text(entry["score"], lengths) for entry in screen["ranking"]}
    print("bpe " + "  ".join(f"{bits:.4f}" for bits in scores["bpe"]))
    for name, bits in scores.items():
        changes = [100 * (own / of_bpe - 1) for own, of_bpe in zip(bits, scores["bpe"], strict=True)]
        told = [f"{e:+.2f}" for e in expected.get(name, ())] + ["-"] * 3
        cells = (f"{change:+.2f} / {there:>5}" for change, there in zip(changes, told, strict=False))
        print(f"{name:16}", "   ".join(cells))


def by_text(score: dict[str, list[float]], lengths: list[int]) -> list[float]:
    """Bits per byte of each text."""
    found, start = [], 0
    for length in lengths:
        part = slice(start, start + length)
        found.append(sum(score["nats"][part]) / (math.log(2) * sum(score["bytes"][part])))
        start += length
    return found


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] in ("documents", "collapsed"):
        write_documents(Path(sys.argv[2]), Path(sys.argv[3]), collapsed=sys.argv[1] == "collapsed")
    elif len(sys.argv) == 4 and sys.argv[1] in ("table", "table-collapsed"):
        print_table(Path(sys.argv[2]), Path(sys.argv[3]), collapsed=sys.argv[1] == "table-collapsed")
    else:
        sys.exit(__doc__)
