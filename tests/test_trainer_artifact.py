"""The artifact: exact to its grid, counted to the byte, loaded without trust."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.test_trainer_model import shaken
from trainer.artifact import PUBLISHED_SCALE_FLOOR, export, load, quantize, quantize_rows
from trainer.data import Dataset, open_dataset
from trainer.errors import RunFailure, TrainerError
from trainer.evaluate import evaluate
from trainer.model import Baseline, ModelShape
from trainer.weights import Int8Rows, WeightsError, compress, decode, encode


@pytest.fixture(scope="module")
def dataset(tiny_dataset: Path) -> Dataset:
    return open_dataset(tiny_dataset)


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> Baseline:
    """Its embedding is large enough to be quantised."""
    torch.set_num_threads(1)
    shape = ModelShape(vocab_size=dataset.manifest.vocab_size, layers=1, dim=256, heads=2, kv_heads=1)
    return shaken(shape)


@pytest.fixture
def artifact(tmp_path: Path, model: Baseline, dataset: Dataset) -> Path:
    export(tmp_path / "artifact", model, dataset, context=32, codecs=("zlib", "zstd", "lzma"))
    return tmp_path / "artifact"


@given(st.integers(0, 10_000), st.sampled_from([0.0, PUBLISHED_SCALE_FLOOR]), st.floats(1e-4, 100))
def test_int8_rows_are_off_by_half_a_step_at_most(seed: int, floor: float, size: float) -> None:
    draw = np.random.default_rng(seed)
    matrix = (draw.standard_t(3, (4, 50)) * size * draw.choice([0, 1, 1], (4, 1))).astype(np.float32)
    rows = quantize_rows(matrix, floor)
    error = np.abs(rows.dequantize().astype(np.float64) - matrix).max(axis=1)
    scales = rows.scales.astype(np.float64)
    assert (error <= scales * (0.5 + 1e-4) + 1e-30).all()
    assert (scales[np.abs(matrix).max(axis=1) > 0] >= floor).all()


def test_what_is_stored_how(model: Baseline) -> None:
    stored = quantize(model, 0.0)
    assert isinstance(stored["embedding.weight"], Int8Rows)
    assert stored["blocks.0.attention.key.weight"].dtype == np.float16  # type: ignore[union-attr]
    for name in ("blocks.0.resid_mix", "blocks.0.attention.q_gain", "skip_weights"):
        assert stored[name].dtype == np.float32  # type: ignore[union-attr]
    assert list(stored) == [name for name, _ in model.named_parameters()]


@pytest.mark.parametrize("codec", ["none", "zlib", "lzma", "zstd"])
def test_weights_come_back(codec: str) -> None:
    tensors = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.array([0.5, -2], np.float16),
        "c": quantize_rows(np.array([[1.0, -0.5], [0, 0]], np.float32), 0.0),
        "d": np.array(3.0, np.float32),
    }
    about, back = decode(compress(codec, encode(tensors, {"x": 1})))
    assert about == {"x": 1}
    assert list(back) == list("abcd")
    for name, tensor in tensors.items():
        plain = tensor.dequantize() if isinstance(tensor, Int8Rows) else tensor
        assert back[name].dtype == np.float32
        assert back[name].tolist() == plain.astype(np.float32).tolist()


def test_broken_weights_are_refused() -> None:
    good = compress("none", encode({"a": np.ones(3, np.float32)}, {}))
    length_changed = good[:9] + b"\0" + good[10:]
    foreign = (b"pkl!" + good[4:], b"zlib" + good[4:])
    for bad in (b"", good[:-1], good + b"x", length_changed, *foreign):
        with pytest.raises(WeightsError):
            decode(bad)


def test_sizes_are_those_of_the_files(artifact: Path, dataset: Dataset) -> None:
    record, _ = load(artifact)
    size = {p.relative_to(artifact).as_posix(): p.stat().st_size for p in artifact.rglob("*") if p.is_file()}
    assert record.contest_bytes == size["code/model.py"] + size["code/weights.py"] + size["weights.bin"]
    assert record.strict_bytes == sum(size.values()) - size["artifact.json"]
    assert record.weights_bytes == min(record.codec_bytes.values()) == record.codec_bytes[record.codec]
    assert (artifact / "scheme.toml").read_bytes() == (dataset.root / "scheme.toml").read_bytes()


def test_over_the_cap_is_refused_with_the_largest_tensors(
    tmp_path: Path, model: Baseline, dataset: Dataset
) -> None:
    record = export(tmp_path / "at", model, dataset, context=32)
    export(tmp_path / "just", model, dataset, context=32, cap=record.contest_bytes)
    with pytest.raises(RunFailure, match=r" 1 over the cap of .*largest tensors \(zlib\): blocks\.0\.mlp"):
        export(tmp_path / "over", model, dataset, context=32, cap=record.contest_bytes - 1)
    assert not (tmp_path / "over").exists()


def test_a_fresh_process_gives_the_identical_score(artifact: Path, dataset: Dataset) -> None:
    here = evaluate(load(artifact)[1], dataset, context=32, stride=16).score
    command = [sys.executable, "-m", "trainer", "eval", str(artifact), "--dataset", str(dataset.root)]
    answer = subprocess.run([*command, "--stride", "16", "--device", "cpu", "--json"], capture_output=True)
    assert answer.returncode == 0, answer.stderr
    there = json.loads(answer.stdout)
    assert there["score"]["nats"] == here.nats
    assert there["score"]["bpb"] == here.bpb
    assert there["score"]["context"] == 32


def test_a_changed_file_is_refused(artifact: Path) -> None:
    (artifact / "weights.bin").write_bytes((artifact / "weights.bin").read_bytes()[:-1])
    with pytest.raises(TrainerError, match=r"weights\.bin: not the file"):
        load(artifact)
    (artifact / "weights.bin").unlink()
    with pytest.raises(TrainerError, match="No such file"):
        load(artifact)
    with pytest.raises(TrainerError, match="no artifact"):
        load(artifact / "none")


def test_foreign_code_runs_only_when_told_to(artifact: Path) -> None:
    code = (artifact / "code/model.py").read_text() + "\nFOREIGN = True\n"
    (artifact / "code/model.py").write_text(code)
    record = json.loads((artifact / "artifact.json").read_text())
    record["sha256"]["code/model.py"] = hashlib.sha256(code.encode()).hexdigest()
    (artifact / "artifact.json").write_text(json.dumps(record))
    with pytest.raises(TrainerError, match="--trust-code"):
        load(artifact)
    _, model = load(artifact, trust_code=True)
    assert sys.modules[type(model).__module__].FOREIGN


def test_artifact_code_runs_by_itself(artifact: Path) -> None:
    """Without this repository: code/ and weights.bin give a model."""
    program = (
        "import sys; sys.path.insert(0, 'code')\n"
        "import torch, weights, model\n"
        "about, tensors = weights.decode(open('weights.bin', 'rb').read())\n"
        "net = model.build(model.ModelShape(**about['shape']), 0)\n"
        "net.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in tensors.items()})\n"
        "assert not [m for m in sys.modules if m.split('.')[0] in ('trainer', 'tokenlab', 'shards')]\n"
    )
    answer = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=artifact, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
