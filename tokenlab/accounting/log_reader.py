"""What a published training log says: its (loss, BPB) pairs, its target count, its vocabulary.

One pass, line by line, over a form that nobody fixed: `val_loss:2.06 val_bpb:1.22`,
`val_loss: 3.07 val_bpb: 1.06`, `val loss=…`, `{"val_loss": …, "bits_per_byte": …}`, the
two on neighbouring lines. Nothing is judged here.

>>> reading = parse_log("x", "val_tokens: 62021632\\nexact val_loss:2.06492760 val_bpb:1.22296644")
>>> reading.final.bytes_per_token, reading.targets_at(reading.final)
(2.43593, 62021632)
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path

LN2 = math.log(2)

ENOUGH_DECIMALS = 6
"""Six decimals fix a denominator of 151 million to about 70 bytes. Of pairs at least this fine the
last counts, not the finest: a JSON writer drops trailing zeros, one pair in ten loses a digit."""

MAX_FILE_BYTES = 1 << 28
MAX_LINE = 20_000
"""Longer lines are dumps (a weight, a base64 blob), never a score."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A loss (nats a token) and a BPB printed together. `loss_half`, `bpb_half` are half a unit
    in the last printed place; `line` counts from 1; `targets` are those stated on it."""

    loss: float
    bpb: float
    loss_half: float
    bpb_half: float
    decimals: int
    line: int
    targets: int | None = None

    @property
    def ratio(self) -> float:
        """Bytes a token, unrounded."""
        return self.loss / (LN2 * self.bpb)

    @property
    def bytes_per_token(self) -> float:
        """Bytes a token to the six decimals that the field's tables print."""
        return round(self.ratio, 6)

    @property
    def interval(self) -> tuple[float, float]:
        """Every bytes-per-token that would have been printed as this pair."""
        low = max(self.loss - self.loss_half, 0.0) / (LN2 * (self.bpb + self.bpb_half))
        below = self.bpb - self.bpb_half
        high = (self.loss + self.loss_half) / (LN2 * below) if below > 0 else math.inf
        # Printed numbers are exact decimals, ours are binary: two ulps outwards keep the bound true.
        return low * (1 - 1e-15), high * (1 + 1e-15)


@dataclass(frozen=True)
class LogReading:
    """All that one log says. `names` are the tokenizer, dataset and path words of its
    configuration lines, lower case; `mixture` is the first line that speaks of one."""

    file: str
    pairs: tuple[Pair, ...]
    targets: tuple[tuple[int, int], ...]
    scored: tuple[tuple[int, int], ...]
    names: tuple[str, ...]
    vocab_size: int | None
    eval_seq_len: int | None
    mixture: str | None

    @cached_property
    def final(self) -> Pair | None:
        """The last pair of those with the most decimals (six are enough)."""
        best: Pair | None = None
        for pair in self.pairs:
            if best is None or min(pair.decimals, ENOUGH_DECIMALS) >= min(best.decimals, ENOUGH_DECIMALS):
                best = pair
        return best

    def targets_at(self, pair: Pair | None) -> int | None:
        """The number of scored targets that holds for a pair: on its own line, else the last of
        the split stated before it, else the first stated at all; else what was said to be scored
        (last, because one process of eight may say it of its own share)."""
        if pair is not None and pair.targets is not None:
            return pair.targets
        for stated in (self.targets, self.scored):
            before = [n for line, n in stated if pair is None or line <= pair.line]
            if before:
                return before[-1]
            if stated:
                return stated[0][1]
        return None


_BITS_PER_BYTE = re.compile(r"bits[ _-]?per[ _-]?byte")
_ITEM = re.compile(
    r"""(?<![A-Za-z0-9_/.-])([A-Za-z][A-Za-z0-9_/.-]*(?:\ (?:loss|nll|bpb|bits[\ -]per[\ -]byte)\b)?)["']?
        \ *(?:\([^()]{0,20}\))?\ *(?:[:=|]|\bis\b)?[\ \t]*["']?
        (\d+\.\d+(?:[eE][+-]?\d+)?)(?![\w.])""",
    re.VERBOSE | re.IGNORECASE,
)
_BPB = re.compile(r"(.*?)_?(?:bpb|bits_?per_?byte)(?:_exact)?$")
_LOSS = re.compile(r"(.*?)_?(?:loss|nll|vl|cross_entropy|nats_per_token)(?:_exact)?$")
_PASSING = re.compile(r"(?:^|_)(?:batch|running|train|chunk|cur|best_so_far)(?:_|$)")
"""Names of a part of the data or of training text; they are no score of the split."""
_COUNT = r"""["']?\ *[:=]\ *["']?(\d{1,3}(?:[,_]\d{3})+|\d+)(?![\w.])"""
_TARGETS = re.compile(
    r"""(?<![A-Za-z0-9_])(?:
        (?:n_|num_|total_)?(?:val|valid|validation|eval|evaluation)[\ _]?(?:tokens|targets)
        | val_loader\b[^\n]*?(?<![A-Za-z0-9_])tokens
        )"""
    + _COUNT,
    re.VERBOSE | re.IGNORECASE,
)
"""Lines that state validation targets. `val_batch_tokens`, `train_batch_tokens`, `max_val_tokens`,
`ppm_subset_tokens`, `chunk_tokens` do not match: the name must stand alone."""
_SCORED = re.compile(
    r"""(?<![A-Za-z0-9_])(?:(?:val_)?(?:scored|evaluated)[\ _](?:tokens|targets)
        | (?:tokens|targets)[\ _](?:scored|evaluated))"""
    + _COUNT,
    re.VERBOSE | re.IGNORECASE,
)
_NAME = re.compile(
    r"""(?<![A-Za-z0-9_."'])(?:tokenizer(?:_path|_kind|_name)?|kind|pattern|(?:train|val|val_bytes)_files
        |data_?path|data_?set|dataset_name|datasets_dir|variant|bpb:sp)
        ["']?\ *[:=]\ *["']?([^\s"'{}(),]{3,400})""",
    re.VERBOSE | re.IGNORECASE,
)
_VOCAB = re.compile(r"""(?<![A-Za-z0-9_])vocab(?:_size)?["']?\ *[:=]\ *(\d{2,6})(?![\w.])""", re.IGNORECASE)
_SEQ = re.compile(
    r"""(?<![A-Za-z0-9_])(?:(eval|val|train)_)?seq_len["']?\ *[:=]\ *(\d{2,6})(?![\w.])""", re.IGNORECASE
)
_MIXTURE = re.compile(
    r"(?<![A-Za-z])(?:ppm[-_]?d?|ppmd|n-?gram\d*|mix(?:ture|er)?|bigram_cache|hedge|dirichlet|knn|backoff)"
    r"(?![A-Za-z])[^\n]*\b\w*bpb\b\W{0,3}\d",
    re.IGNORECASE,
)
_SOURCE_CODE = re.compile(
    r"^\s*(?:#|def |class |return |if |for |f[\"']|log0?\(|print\()"
    r"|\bos\.(?:environ|path)\b|\b(?:args|self)\."
)
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def read_log(path: Path) -> LogReading:
    """Parse a file; undecodable bytes are replaced, UTF-16 (PowerShell's `>`) is understood."""
    with path.open("rb") as stream:
        raw = stream.read(MAX_FILE_BYTES)
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    return parse_log(str(path), raw.decode(encoding, errors="replace"))


def parse_log(file: str, text: str) -> LogReading:
    """Everything a log's text says, in one pass."""
    strong: list[Pair] = []
    weak: list[Pair] = []
    targets: list[tuple[int, int]] = []
    scored: list[tuple[int, int]] = []
    names: list[str] = []
    sizes: list[int] = []
    lengths: dict[str, int] = {}
    mixture: str | None = None
    lone: tuple[int, str] | None = None
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    for number, line in enumerate(text.splitlines(), 1):
        low = line.lower()
        has_bpb = "bpb" in low or ("byte" in low and _BITS_PER_BYTE.search(low) is not None)
        has_loss = "loss" in low or "nll" in low or "vl=" in low
        has_count = "tokens" in low or "targets" in low
        has_name = "token" in low or "data" in low or "val_files" in low or "vocab" in low or "pattern" in low
        has_length = "seq_len" in low
        if not (has_bpb or has_count or has_name or has_length):
            if has_loss:
                lone = number, line
            continue
        if len(line) > MAX_LINE or _SOURCE_CODE.search(line):
            continue
        stated: list[int] = []
        if has_count:
            split, counted = _counts(_TARGETS, line), _counts(_SCORED, line)
            targets += [(number, n) for n in split]
            scored += [(number, n) for n in counted]
            stated = split + counted
        if has_name or has_bpb:
            names += [name.lower() for name in _NAME.findall(line)]
            sizes += map(int, _VOCAB.findall(line))
        if has_length:
            for which, length in _SEQ.findall(line):
                lengths[which.lower()] = int(length)
        if has_bpb:
            if mixture is None and _MIXTURE.search(line):
                mixture = "".join(c for c in line.strip()[:120] if c.isprintable())
            near = lone[1] if lone is not None and not has_loss and number - lone[0] <= 2 else ""
            for pair, named in _pairs(line, near, number, stated):
                (strong if named else weak).append(pair)
        elif has_loss:
            lone = number, line
    return LogReading(
        file=file,
        pairs=tuple(strong or weak),
        targets=tuple(targets),
        scored=tuple(scored),
        names=tuple(dict.fromkeys(names)),
        vocab_size=sizes[-1] if sizes else None,
        eval_seq_len=lengths.get("eval") or lengths.get("val") or lengths.get("train") or lengths.get(""),
        mixture=mixture,
    )


def _counts(pattern: re.Pattern[str], line: str) -> list[int]:
    numbers = (int(re.sub("[,_]", "", found)) for found in pattern.findall(line))
    return [number for number in numbers if number > 0]


def _plain(key: str) -> str:
    return re.sub(r"[ /.-]+", "_", key.lower()).strip("_")


def _pairs(line: str, near: str, number: int, stated: list[int]) -> Iterator[tuple[Pair, bool]]:
    """The pairs of a line that has a BPB, and whether their names say of what; the loss may stand
    on the line `near` it, if that holds one value only."""
    items = [(_plain(key), value) for key, value in _ITEM.findall(line)]
    bpbs = {m[1]: value for key, value in items if (m := _BPB.match(key))}
    if not bpbs:
        return
    losses = {m[1]: value for key, value in items if (m := _LOSS.match(key))}
    if not losses and near:
        above = _ITEM.findall(near)
        losses = {m[1]: value for key, value in above if len(above) == 1 and (m := _LOSS.match(_plain(key)))}
    for stem, bpb in bpbs.items():
        found = _loss_of(stem, losses)
        if found is None or _PASSING.search(stem) or _PASSING.search(found[0]):
            continue
        pair = _pair(found[1], bpb, number, stated)
        if pair is not None:
            yield pair, bool(stem or found[0])


def _loss_of(stem: str, losses: dict[str, str]) -> tuple[str, str] | None:
    """The loss that goes with a BPB: of the same stem; a bare `bpb` takes a validation loss too."""
    if stem in losses:
        return stem, losses[stem]
    if not stem:
        for name in ("val", "valid", "validation", "eval"):
            if name in losses:
                return name, losses[name]
    return None


def _pair(loss: str, bpb: str, line: int, stated: list[int]) -> Pair | None:
    values = float(loss), float(bpb)
    if not all(0 < value < 1e3 for value in values):
        return None
    places = [-int(Decimal(value).as_tuple().exponent) for value in (loss, bpb)]
    return Pair(
        loss=values[0],
        bpb=values[1],
        loss_half=0.5 * 10.0 ** -places[0],
        bpb_half=0.5 * 10.0 ** -places[1],
        decimals=min(places),
        line=line,
        targets=stated[-1] if stated else None,
    )


def log_files(path: Path) -> Iterator[Path]:
    """The logs of a folder, sorted: `*.log`, `*.txt` (but not `requirements.txt`), `log*`, `*.jsonl`."""
    for entry in sorted(path.rglob("*")):
        name = entry.name.lower()
        if name.endswith((".log", ".txt", ".jsonl")) or name.startswith("log"):
            if name.startswith(("requirements", "readme", "license")) or name.endswith(_NEVER):
                continue
            if entry.is_file():
                yield entry


_NEVER = (
    ".py",
    ".pyc",
    ".bin",
    ".npy",
    ".npz",
    ".pt",
    ".png",
    ".svg",
    ".gz",
    ".zst",
    ".md",
    ".html",
    ".toml",
)
