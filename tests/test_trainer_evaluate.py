"""The evaluator against a scorer of one target at a time, and its own proof of coverage."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shards import FORMATS, write_shard
from tests.command import refused, tokenlab
from tests.test_trainer_model import shaken
from trainer import evaluate as evaluator
from trainer.artifact import export
from trainer.data import Dataset, open_dataset
from trainer.errors import DataError, RunFailure, TrainerError
from trainer.evaluate import evaluate, target_nats
from trainer.model import Baseline, ModelShape, build
from trainer.scoring import score_artifact
from trainer.windows import Coverage, cut_windows


@pytest.fixture(scope="module")
def dataset(tiny_dataset: Path) -> Dataset:
    return open_dataset(tiny_dataset)


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> Baseline:
    torch.set_num_threads(1)
    return shaken(ModelShape(vocab_size=dataset.manifest.vocab_size, layers=2, dim=16, heads=2, kv_heads=1))


def one_by_one(model: Baseline, tokens: list[int], context: int, stride: int) -> list[float]:
    """Nats of every token of a segment but the first, each from a forward pass of its own."""
    nats = []
    for target in range(1, len(tokens)):
        begin = max(0, math.ceil((target - context) / stride)) * stride
        with torch.no_grad():
            logits = model.logits(model.hidden(torch.tensor([tokens[begin:target]]))[0, -1])
        nats.append(-float(torch.log_softmax(logits.double(), 0)[tokens[target]]))
    return nats


@pytest.mark.parametrize(("context", "stride"), [(16, 16), (16, 5), (9, 1), (200, 70)])
def test_a_stream_equals_brute_force(dataset: Dataset, model: Baseline, context: int, stride: int) -> None:
    split = dataset.split("val")
    tokens = split.tokens.read(0, len(split.tokens)).tolist()
    nats = one_by_one(model, tokens, context, stride)
    result = evaluate(model, dataset, context=context, stride=stride, batch_tokens=200)
    bos = [n for n, token in zip(nats, tokens[1:], strict=True) if token == tokens[0]]
    assert result.score.nats == pytest.approx(sum(nats), rel=1e-8)
    assert result.score.nats_bos == pytest.approx(sum(bos), rel=1e-6)
    assert (result.score.targets, result.score.targets_bos) == (len(tokens) - 1, 7)
    assert result.score.source_bytes == dataset.manifest.splits["val"].source_bytes
    starts = split.document_starts()
    for document, (begin, end) in enumerate(zip(starts, [*starts[1:], len(tokens)], strict=True)):
        own = nats[max(0, begin - 1) : end - 1]
        assert result.nats[document] == pytest.approx(sum(own), rel=1e-6)
        assert result.nats_bos[document] == pytest.approx(own[0] if document else 0.0, rel=1e-6)


@pytest.mark.parametrize(("context", "stride"), [(16, 5), (1_000, 1_000)])
def test_isolated_documents_equal_brute_force(
    dataset: Dataset, model: Baseline, context: int, stride: int
) -> None:
    split = dataset.split("val")
    result = evaluate(model, dataset, context=context, stride=stride, isolated=True, batch_tokens=300)
    ends = [*split.document_starts()[1:], len(split.tokens)]
    for document, (begin, end) in enumerate(zip(split.document_starts(), ends, strict=True)):
        nats = one_by_one(model, split.tokens.read(int(begin), int(end)).tolist(), context, stride)
        assert result.nats[document] == pytest.approx(sum(nats), rel=1e-6)
    assert result.score.nats_bos == result.score.targets_bos == 0
    assert result.score.targets == len(split.tokens) - 8
    assert result.score.bpb == result.score.bpb_documents


@pytest.mark.parametrize("isolated", [False, True])
def test_what_each_token_costs(dataset: Dataset, model: Baseline, isolated: bool) -> None:
    """The tokens of a document sum to its nats; what is no target has none."""
    result = evaluate(model, dataset, context=16, stride=5, isolated=isolated, keep_tokens=True)
    starts = dataset.split("val").document_starts()
    nats = result.token_nats
    assert nats is not None
    assert nats.dtype == np.float32
    assert np.flatnonzero(np.isnan(nats)).tolist() == (starts if isolated else starts[:1]).tolist()
    sums = np.add.reduceat(np.nan_to_num(nats.astype(np.float64)), starts)
    assert sums == pytest.approx(result.nats, rel=1e-6)
    assert evaluate(model, dataset, context=16, stride=5).token_nats is None


def test_token_nats_of_an_artifact(
    tmp_path: Path, tiny_dataset: Path, dataset: Dataset, model: Baseline
) -> None:
    artifact, file = tmp_path / "artifact", tmp_path / "nats.bin"
    export(artifact, model, dataset, context=32)
    answer = tokenlab("eval", artifact, "--dataset", tiny_dataset, "--token-nats", file, "--json")
    assert answer.returncode == 0, answer.stderr
    nats = np.fromfile(file, "<f4")
    assert len(nats) == dataset.manifest.splits["val"].tokens
    score = json.loads(answer.stdout)["score"]
    assert np.nansum(nats, dtype=np.float64) == pytest.approx(score["nats"], rel=1e-7)
    answer = tokenlab("eval", artifact, "--dataset", tiny_dataset, "--token-nats", tmp_path / "no/file")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert f"there is no folder {tmp_path}/no; give a file name" in answer.stderr


def test_the_size_of_batches_does_not_matter(dataset: Dataset, model: Baseline) -> None:
    scores = [evaluate(model, dataset, context=16, stride=4, batch_tokens=n).score.nats for n in (16, 9_999)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-7)


def test_document_bytes_are_the_source_s(dataset: Dataset, model: Baseline) -> None:
    result = evaluate(model, dataset, context=64, stride=64)
    starts = [*dataset.split("val").document_starts(), dataset.manifest.splits["val"].tokens]
    assert result.charges.tolist() == (np.diff(starts) - 1).tolist()  # `bytes`: a token a byte


@given(st.integers(0, 1_000), st.sampled_from([0.01, 1.0, 30.0]))
def test_nats_are_those_of_a_float64_softmax(seed: int, size: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn((7, 300), generator=draw) * size
    targets = torch.randint(0, 300, (7,), generator=draw)
    exact = -torch.log_softmax(logits.double(), 1).gather(1, targets[:, None])[:, 0]
    found = target_nats(logits, targets)
    assert found.dtype == torch.float64
    assert torch.allclose(found, exact, rtol=1e-8, atol=1e-7)


def test_how_many_logits_are_held_does_not_matter(
    dataset: Dataset, model: Baseline, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluate(model, dataset, context=16, stride=4)
    monkeypatch.setitem(evaluator.HELD_LOGITS, "cpu", 1)
    assert evaluate(model, dataset, context=16, stride=4).nats == pytest.approx(whole.nats, rel=1e-8)


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=5),
    st.integers(1, 12).flatmap(lambda c: st.tuples(st.just(c), st.integers(1, c))),
)
def test_windows_score_every_target_once(lengths: list[int], sizes: tuple[int, int]) -> None:
    context, stride = sizes
    ends = np.cumsum(lengths)
    segments = np.stack([ends - lengths, ends], axis=1)[np.array(lengths) > 0]
    windows = cut_windows(segments, context, stride) if len(segments) else np.zeros((0, 3), np.int64)
    scored = sorted(i for _, end, first in windows.tolist() for i in range(first, end))
    assert scored == [i for begin, end in segments.tolist() for i in range(begin, end - 1)]
    for begin, end, first in windows.tolist():
        assert 0 < end - begin <= context
        assert first == begin or first - begin == context - stride


def test_a_stride_beyond_the_context_is_refused() -> None:
    for stride in (0, 5):
        with pytest.raises(TrainerError, match="between 1 and the context"):
            cut_windows(np.array([[0, 10]]), 4, stride)


def test_coverage_fails_on_a_gap_and_on_a_repeat() -> None:
    expected = np.array([False, True, True, True])
    coverage = Coverage(expected)
    coverage.add(np.array([1, 3]))
    with pytest.raises(RunFailure, match=r"did not score token 2 \(1 in all\)"):
        coverage.check()
    with pytest.raises(RunFailure, match="scored token 3 twice"):
        coverage.add(np.array([2, 3]))
    with pytest.raises(RunFailure, match="scored token 2 twice"):
        Coverage(expected).add(np.array([2, 2]))
    against = Coverage(expected)
    against.add(np.arange(4))
    with pytest.raises(RunFailure, match="against the plan, token 0"):
        against.check()


def test_an_evaluator_that_skips_the_tail_gives_no_score(
    dataset: Dataset, model: Baseline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluator, "cut_windows", lambda *a: cut_windows(*a)[:-1])
    with pytest.raises(RunFailure, match="did not score token"):
        evaluate(model, dataset, context=16, stride=16)


def test_a_sidecar_that_charges_bos_or_another_sum_is_refused(tmp_path: Path, tiny_dataset: Path) -> None:
    for at, message in ((0, "charges BOS"), (1, "sums to")):
        copy = tmp_path / str(at)
        shutil.copytree(tiny_dataset, copy)
        manifest = json.loads((copy / "manifest.json").read_text())
        record = manifest["splits"]["val"]["shards"][0]["sidecar"]
        charges = open_dataset(copy).split("val").charges().read(0, 500).astype("<u2")
        charges[at] += 1
        record["sha256"] = write_shard(copy / record["file"], FORMATS["uint16"], 500, [charges])
        (copy / "manifest.json").write_text(json.dumps(manifest))
        changed = open_dataset(copy)
        with pytest.raises(DataError, match=message):
            evaluator.document_charges(changed.split("val"), changed.split("val").document_starts())


def test_a_model_of_no_numbers_gives_no_score(dataset: Dataset) -> None:
    shape = ModelShape(vocab_size=dataset.manifest.vocab_size, layers=1, dim=8, heads=1, kv_heads=1)
    broken = build(shape, 0)
    torch.nn.init.constant_(broken.embedding.weight[5], float("nan"))
    with pytest.raises(RunFailure, match="none that is a number; no score is given"):
        evaluate(broken, dataset, context=16, stride=16)


def test_an_artifact_of_another_vocabulary_is_refused(
    tmp_path: Path, tiny_dataset: Path, dataset: Dataset, model: Baseline
) -> None:
    export(tmp_path / "artifact", model, dataset, context=32)
    path = tmp_path / "artifact/artifact.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"vocab_size": 7}))
    with pytest.raises(TrainerError, match=r"weights\.bin: 260 ids, artifact\.json has 7"):
        score_artifact(tmp_path / "artifact", tiny_dataset)


def test_windows_in_source_bytes(
    tmp_path: Path, tiny_dataset: Path, dataset: Dataset, model: Baseline
) -> None:
    """They become the tokens that hold so many bytes on average, and the signature names those."""
    export(tmp_path / "artifact", model, dataset, context=32)
    record = dataset.manifest.splits["val"]
    context, stride = (round(n * record.tokens / record.source_bytes) for n in (400, 90))
    assert (context, stride) != (400, 90)
    by_bytes = score_artifact(tmp_path / "artifact", tiny_dataset, context_bytes=400, stride_bytes=90)
    by_tokens = score_artifact(tmp_path / "artifact", tiny_dataset, context=context, stride=stride)
    assert by_bytes.score == by_tokens.score
    assert f"|context={context}|stride={stride}|" in by_bytes.score.signature
    assert "|context=32|stride=32|" in score_artifact(tmp_path / "artifact", tiny_dataset).score.signature
    with pytest.raises(TrainerError, match="--context 5 and --context-bytes 6: give one of the two"):
        score_artifact(tmp_path / "artifact", tiny_dataset, context=5, context_bytes=6)
    both = ("--stride", 8, "--stride-bytes", 9)
    answer = tokenlab("eval", tmp_path / "artifact", "--dataset", tiny_dataset, *both)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == "trainer: --stride 8 and --stride-bytes 9: give one of the two\n"
    message = refused("eval", tmp_path, "--dataset", tiny_dataset, "--stride-bytes", 0)
    assert "Invalid value for '--stride-bytes'" in message
