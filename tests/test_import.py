"""`import`: foreign shards become a dataset only when every token can be made again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tokenlab
from shards import open_shard
from tests.foreign_case import TRAIN, VAL, Case, documents_of
from tokenlab.errors import InputError
from tokenlab.importing import ImportRefused, import_dataset
from tokenlab.manifest import MANIFEST_FILE


@pytest.mark.parametrize(
    ("scheme", "verdict"), [("byte-bpe", "trust"), ("caseops", "trust"), ("bpe", "normalised")]
)
def test_an_honest_dataset_is_imported(
    tmp_path: Path,
    originals: Callable[[str], Case],
    scheme: str,
    verdict: str,
) -> None:
    """The ids are the foreign ones; a SentencePiece model without ESC is taken as it is, with
    its normaliser, so that what tokenlab can promise of it is less than the documents show."""
    case = originals(scheme)
    judged, report = import_dataset(case.folder, case.options, tmp_path / "out")
    assert judged.verdict == "trust"
    assert report.manifest.options["imported"]["verdict"] == "trust"
    assert np.array_equal(open_shard(case.folder / VAL), open_shard(tmp_path / "out" / VAL))
    assert case.options.docs is not None
    assert tokenlab.verify(tmp_path / "out", docs=case.options.docs).verdict == verdict


def test_what_is_refused(tmp_path: Path, copied: Callable[[str], Case]) -> None:
    case = copied("bpe")
    with pytest.raises(InputError, match="import needs --tokenizer, --docs and --val-docs"):
        import_dataset(case.folder, replace(case.options, docs=None), tmp_path / "out")
    case.rewrite(VAL, lambda ids: np.concatenate(documents_of(ids)[:-1]))
    with pytest.raises(ImportRefused, match="verify says reject") as caught:
        import_dataset(case.folder, case.options, tmp_path / "out")
    assert caught.value.exit_code == 1
    assert not (tmp_path / "out").exists()


def test_another_cut_of_a_training_text_is_found(tmp_path: Path, copied: Callable[[str], Case]) -> None:
    """`verify` re-encodes a sample of train; import compares every token."""
    from tokenlab.segment.byte_level import ByteLevelSegmenter

    case = copied("byte-bpe")
    assert case.options.tokenizer is not None
    spelled = ByteLevelSegmenter(case.options.tokenizer.read_bytes()).token_bytes.tobytes()

    def cut(ids: np.ndarray) -> np.ndarray:
        parts = documents_of(ids)
        chosen = parts[5]
        at = next(t for t in range(len(chosen)) if len(spelled[chosen[t]]) == 2)
        halves = [spelled.index(bytes([byte])) for byte in spelled[chosen[at]]]
        parts[5] = np.concatenate([chosen[:at], np.array(halves, ids.dtype), chosen[at + 1 :]])
        return np.concatenate(parts)

    case.rewrite(TRAIN, cut)
    with pytest.raises(ImportRefused, match=r"token [\d,]+ of train is another one"):
        import_dataset(case.folder, case.options, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_the_zoo_dataset_is_imported(tmp_path: Path, shared: Path) -> None:
    from tokenlab.verification.foreign import ForeignOptions

    options = ForeignOptions(
        tokenizer=shared / "tokenizers/sp8192_caseops_v1_reserved.model",
        transform="caseops-v1",
        docs=(str(shared / "zoo/docs.jsonl"),),
        val_docs=40,
    )
    import_dataset(shared / "zoo/ok_caseops_surface", options, tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / MANIFEST_FILE).read_text())
    assert manifest["options"]["imported"]["accounting"] == "sidecar"
    assert tokenlab.verify(tmp_path / "out", docs=options.docs).verdict == "normalised"
