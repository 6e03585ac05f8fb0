"""The artifact: all that is needed to run a trained model, with its bytes counted.

    artifact/model.py                    the code that runs it: this package's own (single_file.py)
             weights.bin                 the weights, quantised and compressed (weights.py); with them the
                                         rule and table that a model reads its patches by
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
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from shards import write_atomically
from trainer.data import Dataset
from trainer.errors import RunFailure, TrainerError
from trainer.hierarchical import Hierarchical
from trainer.hierarchical_inference import TABLE
from trainer.network import Model
from trainer.single_file import single_file
from trainer.weights import Int8Rows, WeightsError, compress, encode

CAP = 16_000_000
CODE = "model.py"
WEIGHTS = "weights.bin"
QUANTIZED_ABOVE = 65_536
"""Values; smaller matrices stay float16."""
CLIP_QUANTILE = 0.9999984
"""Of |w| in a row: in rows below 600,000 values hardly more than the largest is clipped."""
PUBLISHED_SCALE_FLOOR = 1 / 127
"""The published export's. It binds on every row whose largest |w| is below 1: a coarser grid that
compresses better. 0 uses all 127 steps."""
SCHEMA = "tokenlab-artifact-1"


class ArtifactRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`artifact.json`. All sizes are bytes; `codec_bytes` has one a codec that was tried,
    `tensor_bytes` one a tensor, compressed by itself: what they sum to is not `weights_bytes`,
    but their shares tell what an artifact is made of."""

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
    tensor_bytes: dict[str, int]
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


def quantize(model: Model, scale_floor: float) -> dict[str, NDArray[Any] | Int8Rows]:
    """Every parameter as it is stored, by name, and the table of a rule as it is."""
    stored: dict[str, NDArray[Any] | Int8Rows] = {}
    for name, parameter in model.named_parameters():
        values = parameter.detach().float().cpu().numpy()
        if not name.endswith(".weight"):
            stored[name] = values
        elif values.size > QUANTIZED_ABOVE:
            stored[name] = quantize_rows(values, scale_floor)
        else:
            stored[name] = values.astype(np.float16)
    if isinstance(model, Hierarchical) and model.rule is not None and model.rule.table.size:
        stored[TABLE] = model.rule.table
    return stored


def describe_model(model: Model) -> dict[str, Any]:
    """What a weights file says of its tensors: the shape, and the rule of a model that has patches."""
    about: dict[str, Any] = {"shape": asdict(model.shape)}
    if isinstance(model, Hierarchical):
        rule = model.rule
        names = ("kind", "parameters", "bos", "first_byte")
        about["rule"] = {name: getattr(rule, name) for name in names} if rule is not None else None
    return about


def export(
    folder: Path,
    model: Model,
    dataset: Dataset,
    *,
    context: int,
    codecs: tuple[str, ...] = ("zlib",),
    scale_floor: float = 0.0,
    cap: int = CAP,
) -> ArtifactRecord:
    """Write the artifact of a model at `folder`, replacing one that is there.

    Raises RunFailure, writing nothing, when code and weights are more than `cap` bytes, and
    TrainerError for a codec that is not there."""
    check_codecs(codecs)
    stored = quantize(model, scale_floor)
    table = encode(stored, describe_model(model))
    packed = {codec: compress(codec, table) for codec in codecs}
    codec = min(packed, key=lambda name: len(packed[name]))
    tensor_bytes = {name: len(compress(codec, encode({name: tensor}, {}))) for name, tensor in stored.items()}
    code = own_code(hierarchical=isinstance(model, Hierarchical))
    over = len(code) + len(packed[codec]) - cap
    if over > 0:
        largest = sorted(tensor_bytes.items(), key=lambda entry: -entry[1])[:3]
        raise RunFailure(
            f"the artifact is {over + cap:,} bytes, {over:,} over the cap of {cap:,}; largest tensors "
            f"({codec}): {', '.join(f'{name} {size:,}' for name, size in largest)}"
        )
    tokenizer = {name: (dataset.root / name).read_bytes() for name in dataset.manifest.files}
    files = {CODE: code, WEIGHTS: packed[codec]} | tokenizer
    record = ArtifactRecord(
        schema=SCHEMA,
        scheme=dataset.manifest.scheme.name,
        fingerprint=dataset.manifest.scheme.fingerprint,
        vocab_size=model.shape.vocab_size,
        context=context,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        code_bytes=len(code),
        weights_bytes=len(packed[codec]),
        tokenizer_bytes=sum(map(len, tokenizer.values())),
        codec=codec,
        codec_bytes={name: len(content) for name, content in packed.items()},
        tensor_bytes=tensor_bytes,
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
    code, weights = (_checked(folder, record, name) for name in (CODE, WEIGHTS))
    if code not in (own_code(), own_code(hierarchical=True)) and not trust_code:
        raise TrainerError(
            f"{folder / CODE} is not this trainer's own; read it, then run it with --trust-code"
        )
    module = _module(folder / CODE, code)
    try:
        model = module.load_model(weights)
    except module.WeightsError as error:
        raise TrainerError(f"{folder / WEIGHTS}: {error}") from error
    if not trust_code and model.shape.vocab_size != record.vocab_size:
        raise TrainerError(
            f"{folder / WEIGHTS}: {model.shape.vocab_size} ids, artifact.json has {record.vocab_size}"
        )
    return record, model


@cache
def own_code(*, hierarchical: bool = False) -> bytes:
    """The code of an artifact made by this package: inference.py (hierarchical_inference.py) and what it
    needs, as one file."""
    entry = "hierarchical_inference.py" if hierarchical else "inference.py"
    return single_file(Path(__file__).parent / entry)


def check_codecs(codecs: tuple[str, ...]) -> None:
    """Raise TrainerError for a codec that is unknown or whose package is missing."""
    for codec in codecs:
        try:
            compress(codec, b"")
        except WeightsError as error:
            raise TrainerError(f"artifact.codecs: {error}") from error


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


def _write(path: Path, content: bytes) -> None:
    with write_atomically(path) as file:
        file.write(content)
