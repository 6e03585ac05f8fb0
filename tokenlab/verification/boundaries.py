"""The verdict `causal`: every patch boundary is what the bytes before it give, and nothing else.

Two checks. All bits are recomputed from the ids by the kernels. And for prefixes of every document, drawn
with a fixed seed, the slow twin of the rule, which is shown the prefix alone, must give the whole's bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shards import ShardError
from shards.boundaries import BoundaryHeader, read_boundary_header
from tokenlab.accounting.verdicts import Failure
from tokenlab.boundaries.request import LOOKS_AHEAD
from tokenlab.boundaries.rule import Rule
from tokenlab.boundaries.state import new_state
from tokenlab.boundaries.stream import as_document, as_stream
from tokenlab.dataset import BoundaryBits, Dataset, TokenBatch, read_boundary_rule
from tokenlab.errors import InputError
from tokenlab.manifest import SPLITS, BoundariesRecord, ShardRecord, Split
from tokenlab.verification.tally import Tally

PREFIXES = 4
"""Prefixes of a document, each checked at its last PREFIX_BITS bits."""
PREFIX_BITS = 16
SLOW_BITS = 1_000_000
"""Bits recomputed by the slow twin; behind them one a document."""


def has_boundaries(dataset: Dataset) -> bool:
    """Whether a dataset says that it has boundaries, anywhere."""
    manifest = dataset.manifest
    named = [shard.boundaries for split in manifest.splits.values() for shard in split.shards]
    return dataset.scheme.spec.boundaries is not None or any(
        one is not None for one in [manifest.boundaries, *named]
    )


class BoundaryCheck:
    """The boundaries of one dataset, split by split, batch by batch."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.tally = Tally("causal", "documents")
        self.rule: Rule | None = None
        self._slow_bits = SLOW_BITS
        try:
            self.rule = read_boundary_rule(dataset.folder, dataset.manifest)
        except InputError as error:
            self.tally.fail(Failure(str(error)))
        record = dataset.manifest.boundaries
        if record is None or self.rule is None:
            self.tally.fail(Failure("the manifest names no rule for the boundaries that are there"))
            return
        self.tally.detail = (
            f"every bit of {self.rule.text} recomputed from the ids; prefixes by the slow twin"
        )
        self._check_record(record, self.rule)

    def _check_record(self, record: BoundariesRecord, rule: Rule) -> None:
        expect = self.tally.expect
        if not rule.causal:
            self.tally.fail(
                Failure(f"{LOOKS_AHEAD[rule.kind]}: for analysis only, no model of these bytes may read them")
            )
        expect(rule.causal, record.causal, "the manifest is wrong about whether the rule looks ahead")
        expect(rule.text, record.rule, "the manifest's name of the rule is not that of its parameters")
        request = self.dataset.scheme.spec.boundary_rule
        expect(request.kind if request else "none", rule.kind, "the rule is not that of scheme.toml")
        for split in SPLITS:
            for shard in self.dataset.manifest.splits[split].shards:
                self._check_header(shard, rule)

    def _check_header(self, shard: ShardRecord, rule: Rule) -> None:
        if shard.boundaries is None:
            self.tally.fail(Failure("the shard has no boundaries", file=shard.file))
            return
        name = shard.boundaries.file
        try:
            header = read_boundary_header(self.dataset.folder / name)
        except ShardError as error:
            self.tally.fail(Failure(str(error), file=name))
            return
        wanted = BoundaryHeader(shard.tokens, rule.kind, rule.causal, rule.sha256, shard.sha256)
        for field, what in (
            ("count", "number of bits"),
            ("rule", "rule"),
            ("causal", "claim that the rule is causal"),
            ("parameters_sha256", "digest of the rule's parameters"),
            ("parent_sha256", "digest of the token shard"),
        ):
            self.tally.expect(
                getattr(wanted, field), getattr(header, field), f"the header's {what}", file=name
            )

    def start(self, split: Split) -> SplitBoundaries | None:
        """The check of a split, or None where a failure has made it pointless."""
        record = self.dataset.manifest.boundaries
        if self.rule is None or record is None or self.tally.failure is not None:
            return None
        shards = self.dataset.manifest.splits[split].shards
        bits = BoundaryBits(self.dataset.folder, shards)
        return SplitBoundaries(self, self.rule, split, bits, record.patches.get(split, 0))

    def slow_bits(self, wanted: int) -> int:
        """How many bits of a document the slow twin may recompute: at least one."""
        granted = min(wanted, max(1, self._slow_bits))
        self._slow_bits -= granted
        return granted


class SplitBoundaries:
    """The boundaries of one split; `patches` is what the manifest counts."""

    def __init__(
        self, check: BoundaryCheck, rule: Rule, split: Split, bits: BoundaryBits, patches: int
    ) -> None:
        self.check = check
        self.rule = rule
        self.split = split
        self.bits = bits
        self.patches = patches
        self.found_patches = 0
        self._random = np.random.default_rng(SPLITS.index(split))
        self._at = 0

    def batch(self, batch: TokenBatch) -> None:
        """Check the boundaries of the next documents."""
        if self.check.tally.failure is not None:
            return
        stream = as_stream(batch.ids)
        found = self.bits.read(self._at, self._at + len(stream))
        self._at += len(stream)
        self.found_patches += int(np.count_nonzero(found))
        expected = self.rule.starts(stream, new_state())
        begins = batch.ids.offsets[:-1] + np.arange(len(batch.ids))  # of each document's BOS in the stream
        self._compare(batch, begins, expected, found)
        self._check_prefixes(batch, begins, found)
        self.check.tally.count += len(batch.ids)

    def _compare(
        self,
        batch: TokenBatch,
        begins: NDArray[np.int64],
        expected: NDArray[np.uint8],
        found: NDArray[np.uint8],
    ) -> None:
        if len(wrong := np.flatnonzero(expected != found)):
            at = int(wrong[0])
            d = int(np.searchsorted(begins, at, side="right")) - 1
            self._fail(batch, d, at - int(begins[d]), int(expected[at]), int(found[at]))

    def _check_prefixes(self, batch: TokenBatch, begins: NDArray[np.int64], found: NDArray[np.uint8]) -> None:
        if not self.rule.causal:
            return
        for d, begin in enumerate(begins.tolist()):
            document = as_document(batch.ids[d])
            if not document:
                continue
            granted = self.check.slow_bits(PREFIXES * PREFIX_BITS)
            for end in self._random.integers(1, len(document) + 1, -(-granted // PREFIX_BITS)).tolist():
                for token in range(max(1, end - min(granted, PREFIX_BITS) + 1), end + 1):
                    expected = int(self.rule.begins(document[: token - 1]))
                    if expected != found[begin + token]:
                        self._fail(batch, d, token, expected, int(found[begin + token]))
                        return

    def _fail(self, batch: TokenBatch, d: int, token: int, expected: int, found: int) -> None:
        """`token` is counted from BOS, which is 0."""
        what = "a patch begins here" if found else "no patch begins here"
        self.check.tally.fail(
            Failure(
                f"{what}, which the tokens before it do not give" if token else f"{what}, at BOS",
                split=self.split,
                document=batch.first + d,
                token=token - 1 if token else None,
                piece=self.check.dataset.scheme.segmenter.piece(int(batch.ids[d][token - 1]))
                if token
                else None,
                expected=expected,
                found=found,
            )
        )

    def finish(self) -> None:
        """The count of patches against the manifest's, and what is behind the last bit."""
        if self.check.tally.failure is None:
            self.check.tally.expect(
                self.patches, self.found_patches, "patches of the split", split=self.split
            )
            for file in self.bits.stray():
                self.check.tally.fail(Failure("a bit behind the last token is set", file=file))
