"""Boundaries beside a small dataset, by a bit at a time from their definition in docs/format.md."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.boundaries import BoundaryHeader, boundaries_name, write_boundaries
from tests.trainer_case import tiny_run
from trainer.boundaries import Rule
from trainer.data import open_dataset

BOS, FIRST_BYTE = 1, 4


def make_rule(text: str, seed: int = 0) -> Rule:
    """A rule as `tokenlab build --boundaries` spells it, its tables drawn by seed."""
    kind, _, number = text.partition(":")
    draw = np.random.default_rng(seed)
    parameters: dict[str, int] = {"period": int(number)} if kind == "fixed" else {}
    table = np.zeros(0, np.uint8)
    if kind == "table2":
        table = draw.integers(0, 256, 8192, np.uint8) & draw.integers(0, 256, 8192, np.uint8)
    if kind in ("entropy", "monotonic"):
        parameters = {"threshold": int(31 * float(number)), "orders": 3, "bits": 8, "order0": 120}
        table = draw.integers(0, 249, 3 << 8, np.uint8)
        table[draw.random(len(table)) < 0.3] = 255
    return Rule(kind=kind, parameters=parameters, table=table, bos=BOS, first_byte=FIRST_BYTE)


def opens_after(rule: Rule, read: list[int]) -> bool:
    """Whether a patch begins after the bytes `read` of a document."""
    p, t = rule.parameters, len(read)
    if t == 0:
        return True
    if rule.kind == "fixed":
        return t % p["period"] == 0
    if rule.kind == "space":
        return space_like(read[-1]) and not (t > 1 and space_like(read[-2]))
    if rule.kind == "table2":
        index = 256 * (read[-2] if t > 1 else 0) + read[-1]
        return bool(rule.table[index // 8] >> (index % 8) & 1)
    rise = entropy_after(rule, read) - (entropy_after(rule, read[:-1]) if rule.kind == "monotonic" else 0)
    return rise > p["threshold"]


def space_like(byte: int) -> bool:
    return not (chr(byte).isascii() and chr(byte).isalnum()) and not 0x80 <= byte <= 0xBF


def entropy_after(rule: Rule, read: list[int]) -> int:
    p = rule.parameters
    for order in range(min(p["orders"], len(read)), 0, -1):
        key = sum(read[-i] << 8 * (i - 1) for i in range(1, order + 1))
        slot = (key * 0x9E3779B97F4A7C15 + order * 0xD1B54A32D192ED03) % 2**64 >> (64 - p["bits"])
        entry = int(rule.table[((order - 1) << p["bits"]) + slot])
        if entry != 255:
            return entry
    return p["order0"]


def bits_of(rule: Rule, ids: list[int]) -> NDArray[np.uint8]:
    """The bitmap of a stream of documents."""
    read: list[int] = []
    bits = []
    for token in ids:
        bits.append(token == BOS or opens_after(rule, read))
        read = [] if token == BOS else [*read, token - FIRST_BYTE]
    return np.array(bits, np.uint8)


def with_boundaries(dataset: Path, output: Path, text: str, *, causal: bool = True, flip: int = -1) -> Path:
    """A copy of a dataset of bytes with the boundaries of a rule; bit `flip` of val is wrong."""
    rule = make_rule(text)
    shutil.copytree(dataset, output)
    (output / "boundaries").mkdir()
    manifest = json.loads((output / "manifest.json").read_text())
    plain = json.dumps(
        {"kind": rule.kind, "parameters": rule.parameters}, sort_keys=True, separators=(",", ":")
    )
    sha256 = hashlib.sha256(plain.encode() + rule.table.tobytes()).hexdigest()
    model = None
    if rule.table.size:
        (output / "boundaries/model.bin").write_bytes(rule.table.tobytes())
        model = {"file": "boundaries/model.bin", "sha256": hashlib.sha256(rule.table).hexdigest()}
    record: dict[str, Any] = {
        "rule": text,
        "kind": rule.kind,
        "causal": causal,
        "parameters": rule.parameters,
        "model": model,
        "parameters_sha256": sha256,
        "patches": {},
    }
    for name in ("train", "val"):
        split = open_dataset(dataset).split(name)
        bits = bits_of(rule, split.tokens.read(0, len(split.tokens)).tolist())
        record["patches"][name] = int(bits.sum())
        if name == "val" and flip >= 0:
            bits[flip] ^= 1
        at = 0
        for index, shard in enumerate(manifest["splits"][name]["shards"]):
            file = f"boundaries/{boundaries_name(name, index)}"
            count = shard["tokens"]
            header = BoundaryHeader(count, rule.kind, causal, sha256, shard["sha256"])
            digest = write_boundaries(output / file, header, [bits[at : at + count]])
            shard["boundaries"] = {"file": file, "sha256": digest}
            at += count
    manifest["boundaries"] = record
    (output / "manifest.json").write_text(json.dumps(manifest))
    return output


def tiny_patches(dataset: Path, output: Path, source: str, **more: Any) -> dict[str, Any]:
    """`tiny_run` with a hierarchical model."""
    tables = tiny_run(dataset, output)
    model = {
        "boundary_source": source,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "byte_dim": 8,
        "byte_heads": 2,
        "byte_kv_heads": 1,
        "middle_dim": 12,
        **({"target_bytes_per_patch": 4.0} if source == "router" else {}),
    }
    tables["model"] |= model | more
    return tables
