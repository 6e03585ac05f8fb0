"""The artifact: exact to its grid, counted to the byte, loaded without trust."""

from __future__ import annotations

import ast
import hashlib
import json
import struct
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import trainer
from tests.test_trainer_model import shaken
from trainer import weights
from trainer.artifact import PUBLISHED_SCALE_FLOOR, check_codecs, export, load, quantize, quantize_rows
from trainer.data import Dataset, open_dataset
from trainer.errors import RunFailure, TrainerError
from trainer.evaluate import evaluate
from trainer.inference import load_model
from trainer.model import Baseline, ModelShape
from trainer.single_file import single_file
from trainer.weights import CODECS, Int8Rows, WeightsError, compress, decode, encode


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


@pytest.mark.parametrize("codec", CODECS)
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


@pytest.mark.parametrize("codec", CODECS)
def test_a_file_cut_short_or_longer_is_refused(codec: str) -> None:
    good = compress(codec, encode({"a": np.arange(300, dtype=np.float32)}, {}))
    for bad in (good[:-1], good[: len(good) // 2], good[:4], good + b"x"):
        with pytest.raises(WeightsError):
            decode(bad)


@pytest.mark.parametrize("codec", [name for name in CODECS if name != "none"])
def test_a_file_that_unpacks_to_too_much_is_refused(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is allocated: a megabyte of zeros may be a gigabyte."""
    bomb = compress(codec, encode({"a": np.zeros(1_000_000, np.float32)}, {}))
    assert decode(bomb)[1]["a"].shape == (1_000_000,)
    monkeypatch.setattr(weights, "LARGEST_TABLE", 1_000_000)
    with pytest.raises(WeightsError, match="more than 1,000,000 bytes"):
        decode(bomb)


def test_a_hostile_header_is_one_clear_error() -> None:
    def entry(kind: object, *shape: object) -> bytes:
        return json.dumps({"about": {}, "tensors": [{"name": "a", "kind": kind, "shape": shape}]}).encode()

    headers = {
        entry("float32", 1 << 60): "beyond the end",
        entry("float32", 1 << 31, 1 << 31, 1 << 31): "beyond the end",
        entry("int8_rows", 1 << 60, 0): "beyond the end",
        entry("float32", -1): "a tensor of shape",
        entry("float32", 2, "x"): "a tensor of shape",
        entry("int8_rows"): "not a weights file",
        entry("object", 1): "not a weights file",
        entry(None, 1): "not a weights file",
        b'{"tensors": []}': "not a weights file",
        b'{"tensors": [{}], "about": {}}': "not a weights file",
        b"[1, 2]": "not a weights file",
        b"\x80\x04.": "not a weights file",
        b"[" * 100_000: "not a weights file",
        b"": "not a weights file",
    }
    for header, message in headers.items():
        with pytest.raises(WeightsError, match=message):
            decode(b"none" + struct.pack("<I", len(header)) + header + b"\0" * 8)
    with pytest.raises(WeightsError, match=r"a header of 4,294,967,295 bytes in 8"):
        decode(b"none\xff\xff\xff\xff{}{}")


@pytest.mark.parametrize(
    "change",
    [
        {"layers": 10**12},
        {"vocab_size": 10**9},
        {"dim": 2**40},
        {"heads": 0},
        {"dim": "x"},
        {"other": 1},
        {"kv_heads": 2},
    ],
)
def test_tensors_of_another_shape_are_refused(model: Baseline, change: dict[str, Any]) -> None:
    table = encode(quantize(model, 0.0), {"shape": asdict(model.shape) | change})
    with pytest.raises(WeightsError, match="not the tensors of a model of its shape"):
        load_model(compress("none", table))


def test_an_unknown_codec_or_a_missing_package_is_said_before_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_codecs(tuple(CODECS))
    with pytest.raises(TrainerError, match=r"artifact\.codecs: codec 'rar'; known: none, zlib"):
        check_codecs(("rar",))
    packed = compress("brotli", encode({}, {}))
    monkeypatch.setitem(sys.modules, "brotli", None)
    with pytest.raises(TrainerError, match="codec brotli needs a package: pip install brotli"):
        check_codecs(("zlib", "brotli"))
    with pytest.raises(WeightsError, match="pip install brotli"):
        decode(packed)


def test_sizes_are_those_of_the_files(artifact: Path, model: Baseline, dataset: Dataset) -> None:
    record, _ = load(artifact)
    size = {p.relative_to(artifact).as_posix(): p.stat().st_size for p in artifact.rglob("*") if p.is_file()}
    assert record.contest_bytes == size["model.py"] + size["weights.bin"]
    assert record.strict_bytes == sum(size.values()) - size["artifact.json"]
    assert record.weights_bytes == min(record.codec_bytes.values()) == record.codec_bytes[record.codec]
    assert list(record.tensor_bytes) == [name for name, _ in model.named_parameters()]
    assert max(record.tensor_bytes, key=lambda name: record.tensor_bytes[name]) == "blocks.0.mlp.up.weight"
    assert sum(record.tensor_bytes.values()) == pytest.approx(record.weights_bytes, rel=0.1)
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
    code = (artifact / "model.py").read_text() + "\nFOREIGN = True\n"
    (artifact / "model.py").write_text(code)
    record = json.loads((artifact / "artifact.json").read_text())
    record["sha256"]["model.py"] = hashlib.sha256(code.encode()).hexdigest()
    (artifact / "artifact.json").write_text(json.dumps(record))
    with pytest.raises(TrainerError, match="--trust-code"):
        load(artifact)
    _, model = load(artifact, trust_code=True)
    assert sys.modules[type(model).__module__].FOREIGN


def test_artifact_code_runs_by_itself(artifact: Path, model: Baseline) -> None:
    """Two files and torch give the model: nothing of this repository is imported."""
    program = (
        "import runpy, sys\n"
        "sys.argv = ['model.py', 'weights.bin']\n"
        "net = runpy.run_path('model.py', run_name='__main__')['model']\n"
        "assert not [m for m in sys.modules if m.split('.')[0] in ('trainer', 'tokenlab', 'shards')]\n"
        "assert 'torch._dynamo' not in sys.modules, 'it takes longer to load than the model'\n"
        "print(sum(float(p.detach().double().sum()) for p in net.parameters()))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=artifact, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    said, total = answer.stdout.splitlines()
    count = sum(parameter.numel() for parameter in model.parameters())
    assert said.startswith(f"{count:,} parameters: ModelShape(vocab_size=")
    expected = sum(float(p.detach().double().sum()) for p in load(artifact)[1].parameters())
    assert float(total) == pytest.approx(expected, rel=1e-12)  # threads decide the order of a sum


def test_an_artifact_s_code_is_this_package_s_text(artifact: Path) -> None:
    """Every line of the modules but imports, in one readable file."""
    code = (artifact / "model.py").read_text()
    tree = ast.parse(code)
    for name in ("model.py", "weights.py", "inference.py"):
        for node in ast.parse((Path(trainer.__file__).parent / name).read_text()).body:
            if not isinstance(node, (ast.Import, ast.ImportFrom)) and not _is_docstring(node):
                assert ast.dump(node) in {ast.dump(other) for other in tree.body}
    assert code.count("from __future__") == 1
    assert "from trainer" not in code
    assert "LARGEST_TABLE" in code


def test_modules_that_cannot_be_joined_are_refused(tmp_path: Path) -> None:
    def joined(entry: str, other: str) -> bytes:
        (tmp_path / "entry.py").write_text(entry)
        (tmp_path / "other.py").write_text(other)
        return single_file(tmp_path / "entry.py")

    good = joined(
        '"""Does."""\n\nfrom trainer.other import f\n\n# why\nf()', "import os\n\n\ndef f():\n    os\n"
    )
    assert good.decode().endswith("import os\n\n\ndef f():\n    os\n\n\n# why\nf()\n")
    with pytest.raises(ValueError, match="two modules define f"):
        joined("from trainer.other import g\nf = 1", "def f(): ...")
    for line in ("import trainer.other", "from trainer import other", "from .other import f"):
        with pytest.raises(ValueError, match="cannot be joined"):
            joined(line, "")
    with pytest.raises(ValueError, match="cannot be joined"):
        joined("def f():\n    from trainer.other import g", "")


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
