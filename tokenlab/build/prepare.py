"""The scheme of a build with its vocabulary: trained on its training documents, or given."""

from __future__ import annotations

import json
from typing import Any

from shards import write_atomically
from tokenlab.build.plan import Plan
from tokenlab.build.workspace import VOCABULARY_FILE, Workspace
from tokenlab.errors import EncodingError, InputError
from tokenlab.progress import Progress
from tokenlab.scheme import Scheme
from tokenlab.vocabulary import sample_training_documents, train_vocabulary


def prepare_scheme(plan: Plan, progress: Progress) -> tuple[Scheme, dict[str, Any]]:
    """The scheme, and the record of where its vocabulary came from. Raises InputError."""
    spec, options = plan.spec, plan.options
    content: bytes | None = None
    record: dict[str, Any] = {"from": "none"}
    if plan.tokenizer is not None:
        content = plan.tokenizer
        record = {"from": "file", "file": str(options.tokenizer)}
    elif spec.needs_vocabulary:
        progress.note(f"vocabulary: training {spec.vocab_size} pieces on the training documents")
        sample = sample_training_documents(plan.corpus, val_docs=plan.val_docs, seed=options.seed)
        content = train_vocabulary(spec, sample.documents)
        record = {"from": "training", **sample.record()}
    where = options.tokenizer or options.scheme
    try:
        scheme = Scheme(spec, content)
        scheme.identity  # noqa: B018  # encodes the probe: a vocabulary that cannot is found here
    except EncodingError as error:
        raise InputError(
            f"{where}: the vocabulary cannot spell every text ({error.message}); "
            "train it with byte fallback, or use another"
        ) from error
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return scheme, record


def store_scheme(plan: Plan, workspace: Workspace, progress: Progress) -> tuple[Scheme, dict[str, Any]]:
    """`prepare_scheme`, with `scheme.toml` and `tokenizer/` written to the workspace, or read
    from there when an earlier run of the same plan left them."""
    folder = workspace.job.dataset
    stored = workspace.folder / VOCABULARY_FILE
    if workspace.resumed and stored.exists():
        progress.note("resumed: scheme and vocabulary were already stored")
        return Scheme.open(folder), json.loads(stored.read_text())
    scheme, record = prepare_scheme(plan, progress)
    contents = {"scheme.toml": scheme.spec.to_toml().encode()}
    contents |= {f"tokenizer/{name}": data for name, data in scheme.segmenter.files.items()}
    # Last, so that its presence means the stored scheme is whole.
    files = [(folder / name, data) for name, data in contents.items()]
    for path, data in [*files, (stored, json.dumps(record).encode())]:
        path.parent.mkdir(exist_ok=True)
        with write_atomically(path) as file:
            file.write(data)
    return scheme, record
