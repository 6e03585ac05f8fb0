"""The artifact: all that is needed to run a trained model, with its bytes counted.

    artifact/code/model.py, weights.py   the code that runs it: this package's own files
             weights.bin                 the weights, quantised and compressed (trainer/weights.py)
             tokenizer/, scheme.toml     what turns text into its ids
             artifact.json               digests and sizes; written last

The contest counts code and weights, at most 16,000,000 bytes (not MiB); the strict count adds the
tokenizer. Weights: matrices of more than 65,536 values as int8 with a scale a row, small ones as
float16, control vectors as float32 (`quantize_state_dict_int8` of the published baseline).
Loading never unpickles, and runs code that is not this package's only when told to.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from shards import write_atomically
from trainer.data import Dataset
from trainer.errors import RunFailure, TrainerError
from trainer.model import Baseline
from trainer.weights import Int8Rows, WeightsError, compress, decode, encode

CAP = 16_000_000
CODE = ("model.py", "weights.py")
QUANTIZED_ABOVE = 65_536
"""Values; smaller matrices stay float16."""
CLIP_QUANTILE = 0.9999984
"""Of |w| in a row: in rows below 600,000 values hardly more than the largest is clipped."""
PUBLISHED_SCALE_FLOOR = 1 / 127
"""The published export's. It binds on every row whose largest |w| is below 1: a coarser grid that
compresses better. 0 uses all 127 steps."""
SCHEMA = "tokenlab-artifact-1"


class ArtifactRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`artifact.json`. All sizes are bytes; `codec_bytes` has one a codec that was tried."""

    schema: str
    scheme: str
    fingerprint: str
    vocab_size: int
    context: int
    parameters: int
    code_bytes: int
    weights_bytes: int
    tokenizer_bytes: int
    codec: str
    codec_bytes: dict[str, int]
    sha256: dict[str, str]

    @property
    def contest_bytes(self) -> int:
        """Code and weights."""
        return self.code_bytes + self.weights_bytes

    @property
    def strict_bytes(self) -> int:
        """Code, weights and tokenizer."""
        return self.contest_bytes + self.tokenizer_bytes


def quantize_rows(matrix: NDArray[np.float32], scale_floor: float) -> Int8Rows:
    """float32[rows, columns] as int8 with a float16 scale a row; a value is off by at most half
    its row's scale. `scale_floor` is the least scale of a row that is not all zero."""
    clip = np.quantile(np.abs(matrix), CLIP_QUANTILE, axis=1).astype(np.float32)
    exact = np.where(clip > 0, np.maximum(clip / 127, np.float32(scale_floor)), np.float32(0))
    scales = exact.astype(np.float16)
    # Rounded up, so that 127 steps still reach the clip.
    scales = np.where(scales < exact, np.nextafter(scales, np.float16(np.inf)), scales)
    steps = matrix / np.where(scales > 0, scales, 1).astype(np.float32)[:, None]
    return Int8Rows(np.clip(np.round(steps), -127, 127).astype(np.int8), scales)


def quantize(model: Baseline, scale_floor: float) -> dict[str, NDArray[Any] | Int8Rows]:
    """Every parameter as it is stored, by name."""
    stored: dict[str, NDArray[Any] | Int8Rows] = {}
    for name, parameter in model.named_parameters():
        values = parameter.detach().float().cpu().numpy()
        if not name.endswith(".weight"):
            stored[name] = values
        elif values.size > QUANTIZED_ABOVE:
            stored[name] = quantize_rows(values, scale_floor)
        else:
            stored[name] = values.astype(np.float16)
    return stored


def export(
    folder: Path,
    model: Baseline,
    dataset: Dataset,
    *,
    context: int,
    codecs: tuple[str, ...] = ("zlib",),
    scale_floor: float = 0.0,
    cap: int = CAP,
) -> ArtifactRecord:
    """Write the artifact of a model at `folder`, replacing one that is there.

    Raises RunFailure, writing nothing, when code and weights are more than `cap` bytes."""
    stored = quantize(model, scale_floor)
    table = encode(stored, {"shape": asdict(model.shape)})
    packed = {codec: compress(codec, table) for codec in codecs}
    codec = min(packed, key=lambda name: len(packed[name]))
    files = {f"code/{name}": (Path(__file__).parent / name).read_bytes() for name in CODE}
    code_bytes = sum(map(len, files.values()))
    over = code_bytes + len(packed[codec]) - cap
    if over > 0:
        raise RunFailure(
            f"the artifact is {over + cap:,} bytes, {over:,} over the cap of {cap:,}; "
            f"largest tensors ({codec}): {_largest(stored, codec)}"
        )
    tokenizer = {name: (dataset.root / name).read_bytes() for name in dataset.manifest.files}
    files |= {"weights.bin": packed[codec]} | tokenizer
    record = ArtifactRecord(
        schema=SCHEMA,
        scheme=dataset.manifest.scheme.name,
        fingerprint=dataset.manifest.scheme.fingerprint,
        vocab_size=model.shape.vocab_size,
        context=context,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        code_bytes=code_bytes,
        weights_bytes=len(packed[codec]),
        tokenizer_bytes=sum(map(len, tokenizer.values())),
        codec=codec,
        codec_bytes={name: len(content) for name, content in packed.items()},
        sha256={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    )
    if folder.exists():
        shutil.rmtree(folder)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        _write(folder / name, content)
    _write(folder / "artifact.json", msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    return record


def load(folder: Path, *, trust_code: bool = False) -> tuple[ArtifactRecord, Any]:
    """The record and the model of an artifact, from nothing but its files.

    Raises TrainerError when a file is missing or changed, or when its code is not this package's
    and `trust_code` is not given."""
    try:
        record = msgspec.json.decode((folder / "artifact.json").read_bytes(), type=ArtifactRecord)
    except (OSError, msgspec.MsgspecError) as error:
        raise TrainerError(f"{folder}: no artifact ({error}); make one with `tokenlab train`") from error
    if record.schema != SCHEMA:
        raise TrainerError(f"{folder}: schema {record.schema}, this trainer reads {SCHEMA}")
    names = [*(f"code/{name}" for name in CODE), "weights.bin"]
    files = {name: _checked(folder, record, name) for name in names}
    for name in CODE:
        if files[f"code/{name}"] != (Path(__file__).parent / name).read_bytes() and not trust_code:
            raise TrainerError(
                f"{folder}/code/{name} is not this trainer's own; read it, then run it with --trust-code"
            )
    try:
        if trust_code:
            about, tensors = _module(folder / "code/weights.py", files["code/weights.py"]).decode(
                files["weights.bin"]
            )
        else:
            about, tensors = decode(files["weights.bin"])
    except (WeightsError, ValueError) as error:
        raise TrainerError(f"{folder}/weights.bin: {error}") from error
    module = _module(folder / "code/model.py", files["code/model.py"])
    model = module.build(module.ModelShape(**about["shape"]), seed=0)
    model.load_state_dict({name: torch.from_numpy(values.copy()) for name, values in tensors.items()})
    return record, model.eval()


def _checked(folder: Path, record: ArtifactRecord, name: str) -> bytes:
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise TrainerError(f"{folder / name}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != record.sha256.get(name):
        raise TrainerError(f"{folder / name}: not the file that artifact.json describes")
    return content


def _module(path: Path, content: bytes) -> ModuleType:
    """The module of code that was checked: these bytes, not what lies at `path` (or compiled
    beside it) by now."""
    module = ModuleType(f"artifact_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    exec(compile(content, str(path), "exec"), module.__dict__)
    return module


def _largest(stored: dict[str, NDArray[Any] | Int8Rows], codec: str) -> str:
    sizes = {name: len(compress(codec, encode({name: tensor}, {}))) for name, tensor in stored.items()}
    top = sorted(sizes, key=lambda name: -sizes[name])[:3]
    return ", ".join(f"{name} {sizes[name]:,}" for name in top)


def _write(path: Path, content: bytes) -> None:
    with write_atomically(path) as file:
        file.write(content)
