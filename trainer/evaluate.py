"""The exact evaluator: nats of every validation target once, over the sidecar's source bytes.

Logits are float32 as the model gives them; sums, over the vocabulary too, are float64. Windows are
batched by length and logits computed for scored targets only; every window is computed whole, for a
cache of keys and values is exact only while a window's start stands still. Two modes:

- stream: the split is one stream; every token but the first is a target, BOS included, and a
  window may reach back into the document before (the contest's evaluator);
- isolated: each document by itself; BOS is context only and never a target.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from tokenlab.accounting.bpb import Score, score_documents
from trainer.boundaries import Rule
from trainer.data import Dataset, Split, Values
from trainer.errors import DataError, RunFailure
from trainer.windows import Coverage, cut_windows

BATCH_TOKENS = {"cpu": 4_096, "cuda": 65_536}
"""Inputs a forward pass; with fewer, a small model waits for Python, with more it leaves a CPU's cache."""
HELD_LOGITS = {"cpu": 1 << 19, "cuda": 1 << 25}
"""Logits held at once, for the same reason."""


class Scorable(Protocol):
    """What the evaluator needs of a model; one with a `rule` that is not None takes, as second argument
    of `hidden`, after which positions a patch begins, bool[batch, time]."""

    @property
    def hidden(self) -> Callable[..., torch.Tensor]:
        """ids int64[batch, time] -> [batch, time, dim]; causal."""

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """[n, dim] -> float32[n, vocab_size]."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A score and what it is made of. Arrays have one value a document, in order: nats of its
    targets (the BOS that opens it included), nats of that BOS, and charged bytes. `token_nats` has one
    a token of the split, NaN where it is no target, if they were asked for."""

    score: Score
    nats: NDArray[np.float64]
    nats_bos: NDArray[np.float64]
    charges: NDArray[np.int64]
    token_nats: NDArray[np.float32] | None


def evaluate(
    model: Scorable,
    dataset: Dataset,
    *,
    context: int,
    stride: int,
    isolated: bool = False,
    device: torch.device | None = None,
    batch_tokens: int | None = None,
    keep_tokens: bool = False,
) -> Evaluation:
    """Score a model on the validation split in windows of `context` tokens moved by `stride`,
    `batch_tokens` inputs at a time, or what suits the device; `keep_tokens` asks for each token's nats.

    Where a model reads patches they are recomputed from the tokens by its rule and held against the
    dataset's. Raises DataError for a split that cannot be scored, RunFailure if coverage is not exact or
    a target's nats are not finite."""
    split = dataset.split("val")
    rule: Rule | None = getattr(model, "rule", None)
    opens = None
    if rule is not None:
        sha256 = dataset.boundaries().parameters_sha256
        opens = split.patches(rule, sha256).recomputed_and_compared()
    starts = split.document_starts()
    charges = document_charges(split, starts)
    ends = np.append(starts[1:], len(split.tokens))
    stream = np.array([[0, len(split.tokens)]], np.int64)
    windows = cut_windows(np.stack([starts, ends], axis=1) if isolated else stream, context, stride)
    expected = np.ones(len(split.tokens), np.bool_)
    expected[starts if isolated else starts[:1]] = False
    coverage = Coverage(expected)
    nats = np.zeros(len(starts))
    nats_bos = np.zeros(len(starts))
    token_nats = np.full(len(split.tokens), np.nan, np.float32) if keep_tokens else None
    place = device or torch.device("cpu")
    rows = max(1, HELD_LOGITS[place.type] // dataset.manifest.vocab_size)
    scorer = _Scorer(model, split.tokens, opens, place, rows)
    for batch in _batches(windows, batch_tokens or BATCH_TOKENS[place.type]):
        targets, target_nats = scorer.score(batch)
        coverage.add(targets)
        if token_nats is not None:
            token_nats[targets] = target_nats
        document = np.searchsorted(starts, targets, side="right") - 1
        np.add.at(nats, document, target_nats)
        opening = starts[document] == targets
        np.add.at(nats_bos, document[opening], target_nats[opening])
    coverage.check()
    if not np.isfinite(nats).all():
        raise RunFailure(
            "the model gives a target no probability, or none that is a number; no score is given"
        )
    score = score_documents(
        nats,
        nats_bos,
        charges,
        targets=int(expected.sum()),
        targets_bos=0 if isolated else len(starts) - 1,
    )
    return Evaluation(score=score, nats=nats, nats_bos=nats_bos, charges=charges, token_nats=token_nats)


def document_charges(split: Split, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bytes charged to each document, int64, from the sidecar alone.

    Raises DataError when there is none, or it does not sum to the manifest's figure."""
    charges = split.charges()
    values = charges.read(0, len(charges))
    if values[starts].any():
        raise DataError(f"the sidecar of {split.name} charges BOS; see `tokenlab verify`")
    sums = np.add.reduceat(values, starts)
    if int(sums.sum()) != split.record.charged_bytes:
        raise DataError(
            f"the sidecar of {split.name} sums to {int(sums.sum()):,}, the manifest says "
            f"{split.record.charged_bytes:,}; see `tokenlab verify`"
        )
    return sums


class _Scorer:
    """`opens` bool[tokens] or None; `rows` are the targets whose logits are held at once."""

    def __init__(
        self,
        model: Scorable,
        tokens: Values,
        opens: NDArray[np.bool_] | None,
        device: torch.device,
        rows: int,
    ) -> None:
        self._model, self._tokens, self._opens = model, tokens, opens
        self._device, self._rows = device, rows

    @torch.inference_mode()
    def score(self, windows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Targets (positions of tokens) and their nats; windows are padded on the right, which a
        causal model does not see."""
        width = int((windows[:, 1] - windows[:, 0]).max())
        ids = np.zeros((len(windows), width + 1), np.int64)
        opens = np.zeros((len(windows), width), np.bool_)
        for row, (begin, end, _) in enumerate(windows.tolist()):
            ids[row, : end - begin + 1] = self._tokens.read(begin, end + 1)
            if self._opens is not None:
                opens[row, : end - begin] = self._opens[begin:end]
        position = windows[:, :1] + np.arange(width)
        scored = (position >= windows[:, 2:]) & (position < windows[:, 1:2])
        tokens = torch.from_numpy(ids).to(self._device)
        chosen = torch.from_numpy(scored).to(self._device)
        with precision(self._device):
            patches = () if self._opens is None else (torch.from_numpy(opens).to(self._device),)
            hidden = self._model.hidden(tokens[:, :-1], *patches)[chosen]
            wanted = tokens[:, 1:][chosen]
            parts = []
            for at in range(0, len(wanted), self._rows):
                logits = self._model.logits(hidden[at : at + self._rows])
                parts.append(target_nats(logits, wanted[at : at + self._rows]))
        return position[scored] + 1, torch.cat(parts).cpu().numpy()


def target_nats(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """-ln p of targets int64[n] under logits float32[n, vocab_size], float64[n].

    Exponentials are float32 (each off by 6e-8 of itself at most), their sum and the rest float64."""
    top = logits.amax(1, keepdim=True)
    total = (logits - top).exp_().sum(1, dtype=torch.float64)
    chosen = logits.gather(1, targets[:, None])
    return total.log() + (top.double() - chosen.double())[:, 0]


def precision(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 for matrix products on a GPU, float32 on a CPU, where bfloat16 is no faster."""
    if device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


def _batches(windows: NDArray[np.int64], tokens: int) -> list[NDArray[np.int64]]:
    """Windows of like length together, longest first."""
    lengths = windows[:, 1] - windows[:, 0]
    order = np.argsort(-lengths, kind="stable")
    batches = []
    at = 0
    while at < len(order):
        rows = max(1, tokens // int(lengths[order[at]]))
        batches.append(windows[order[at : at + rows]])
        at += rows
    return batches
