"""Generation from an artifact, a token at a time: ids in, ids out, so that no tokenizer is needed here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from trainer.artifact import load
from trainer.boundaries import Rule
from trainer.devices import open_device
from trainer.errors import TrainerError


class Sampled(msgspec.Struct, frozen=True, kw_only=True):
    """A token of the sequence, given or drawn. `patch`: whether a patch begins at it; None where the
    model has no patches, and where a prompt is longer than the context."""

    id: int
    given: bool
    patch: bool | None


class Sampler:
    """Distributions of the next token after a document's beginning.

    Each is a forward pass over the last `context` tokens, as an evaluator with stride 1 makes it: what
    a step of the main network has seen depends on where the window begins, so none is kept."""

    def __init__(self, model: Any, context: int, device: torch.device) -> None:
        self._model, self._context, self._device = model.to(device), context, device
        self._rule: Rule | None = getattr(model, "rule", None)

    @torch.inference_mode()
    def after(self, ids: list[int]) -> tuple[NDArray[np.float64], bool | None]:
        """ln p of every id after `ids`, which begin with BOS, float64[vocab_size]; and whether a patch
        begins there, None for a flat model."""
        patch = None
        if hasattr(self._model, "hidden_and_patches"):
            hidden, begins = self._model.hidden_and_patches(*self._window(ids))
            patch = bool(begins[0, -1])
        else:
            hidden = self._model.hidden(*self._window(ids))
        logits = self._model.logits(hidden[:, -1])[0].double()
        return torch.log_softmax(logits, 0).cpu().numpy(), patch

    def log_probabilities(self, ids: list[int]) -> NDArray[np.float64]:
        """The first that `after` gives."""
        return self.after(ids)[0]

    def readable(self, bos: int, vocab_size: int) -> NDArray[np.bool_]:
        """Ids that may be drawn, bool[vocab_size]: a rule of patches reads bytes and BOS only."""
        allowed = np.ones(vocab_size, np.bool_)
        if self._rule is not None:
            allowed[: self._rule.first_byte] = False
            allowed[bos] = True
        return allowed

    @torch.inference_mode()
    def patches(self, ids: list[int]) -> list[bool] | None:
        """Whether a patch begins after each of the last `context` of `ids`; None for a flat model."""
        if not hasattr(self._model, "patches"):
            return None
        opens: list[bool] = self._model.patches(*self._window(ids))[0].tolist()
        return opens

    def _window(self, ids: list[int]) -> tuple[torch.Tensor, ...]:
        window = torch.tensor([ids[-self._context :]], device=self._device)
        if self._rule is None:
            return (window,)
        opens = self._rule.opens(np.array(ids, np.int64))[-self._context :]
        return window, torch.from_numpy(opens)[None].to(self._device)


def sample(
    sampler: Sampler, ids: list[int], *, tokens: int, temperature: float, seed: int
) -> Iterator[Sampled]:
    """The tokens of `ids` behind the BOS that they begin with, then at most `tokens` more, until the BOS
    of a next document is drawn (it is not given).

    Probabilities are raised to 1 / `temperature`; 0 takes the likeliest. The same seed draws the same."""
    draw = np.random.default_rng(seed)
    bos, sequence = ids[0], list(ids)
    opens = sampler.patches(sequence)
    unknown: list[bool | None] = [None] * (len(ids) - len(opens or []))
    known = [*unknown, *(opens or [])]
    for token, patch in zip(ids[1:], known, strict=False):
        yield Sampled(id=token, given=True, patch=patch)
    for _ in range(tokens):
        distribution, patch = sampler.after(sequence)
        allowed = sampler.readable(bos, len(distribution))
        token = _draw(np.where(allowed, distribution, -np.inf), temperature, draw)
        if token == bos:
            return
        yield Sampled(id=token, given=False, patch=patch)
        sequence.append(token)


def sample_artifact(
    artifact: Path,
    ids: list[int],
    *,
    tokens: int,
    temperature: float,
    seed: int,
    device: str = "auto",
    threads: int = 1,
    trust_code: bool = False,
) -> Iterator[Sampled]:
    """`sample` from an artifact's files. Raises TrainerError for ids that are not its."""
    place = open_device(device, threads)
    record, model = load(artifact, trust_code=trust_code)
    if not ids or not 0 <= min(ids) <= max(ids) < record.vocab_size:
        raise TrainerError(
            f"ids must begin with BOS and be below {record.vocab_size:,}, as {artifact} has them"
        )
    sampler = Sampler(model, record.context, place)
    return sample(sampler, ids, tokens=tokens, temperature=temperature, seed=seed)


def read_ids(text: bytes) -> list[int]:
    """A JSON list of ids. Raises TrainerError."""
    try:
        return msgspec.json.decode(text, type=list[int])
    except msgspec.MsgspecError as error:
        raise TrainerError(
            f"ids on the standard input: a JSON list, BOS first, is wanted ({error})"
        ) from error


def _draw(log_probabilities: NDArray[np.float64], temperature: float, draw: np.random.Generator) -> int:
    if temperature == 0:
        return int(log_probabilities.argmax())
    weights = np.exp((log_probabilities - log_probabilities.max()) / temperature)
    total = weights.cumsum()
    return int(np.searchsorted(total, draw.random() * total[-1], side="right"))
