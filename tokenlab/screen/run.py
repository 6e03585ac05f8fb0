"""A screen from end to end: schemes that are done are kept, the others scored, some at a time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import as_completed
from contextlib import closing
from importlib.util import find_spec

import msgspec

from tokenlab.build.pool import WorkerPool
from tokenlab.corpus import Corpus, open_corpus
from tokenlab.errors import InputError
from tokenlab.progress import Progress
from tokenlab.scheme_spec import SchemeSpec
from tokenlab.screen.documents import ScreenDocuments, split_documents
from tokenlab.screen.plan import METHOD, ScreenFolder, ScreenOptions, ScreenPlan, open_specs
from tokenlab.screen.ranking import Screen, rank
from tokenlab.screen.scoring import SchemeScore, score_scheme


def run_screen(options: ScreenOptions, progress: Progress) -> Screen:
    """Score the schemes and rank them; `options.output` then holds it all.

    Run again after a kill, or with more schemes, it goes on with what is missing. Raises InputError
    for documents, schemes or an output that cannot be used; what is done by then is kept.
    """
    if find_spec("scipy") is None:
        raise InputError("a screen needs scipy for its intervals: pip install 'tokenlab-bpb[screen]'")
    if options.workers < 1:
        raise InputError(f"--workers is {options.workers}; it must be positive")
    specs = open_specs(options)
    corpus, documents = read_documents(options)
    plan = make_plan(options, corpus, documents)
    folder = ScreenFolder(options.output, plan)
    scores = {spec.name: kept for spec in specs if (kept := folder.kept(spec)) is not None}
    missing = [spec for spec in specs if spec.name not in scores]
    progress.note(
        f"{len(documents.train):,} documents ({plan.train_bytes:,} bytes) to learn, {plan.documents:,} "
        f"({plan.source_bytes:,} bytes) held out; {len(specs) - len(missing)} of {len(specs)} schemes done"
    )
    progress.start("screening", len(missing), "schemes")
    try:
        for done, score in enumerate(_scored(options, folder, documents, missing), 1):
            scores[score.scheme] = score
            progress.note(
                f"{score.scheme}: {score.score.bpb_documents:.4f} bits per byte, "
                f"{score.seconds.total:.1f} s of CPU"
            )
            progress.advance(done)
    finally:
        progress.finish()
    screen = rank(plan, [scores[spec.name] for spec in specs])
    folder.finish(msgspec.json.format(msgspec.json.encode(screen)))
    return screen


def read_documents(options: ScreenOptions) -> tuple[Corpus, ScreenDocuments]:
    """The input and its two sides. Raises InputError."""
    inputs = list(options.inputs) if options.inputs is not None else None
    corpus = open_corpus(inputs, text_field=options.text_field, limit_docs=options.limit_docs)
    return corpus, split_documents(corpus, options.holdout_docs)


def make_plan(options: ScreenOptions, corpus: Corpus, documents: ScreenDocuments) -> ScreenPlan:
    """What the scores will depend on."""
    return ScreenPlan(
        method=METHOD,
        corpus=corpus.describe(),
        documents_sha256=documents.digest,
        holdout_docs=options.holdout_docs,
        train_documents=len(documents.train),
        train_bytes=sum(map(len, documents.train)),
        documents=len(documents.holdout),
        source_bytes=sum(map(len, documents.holdout)),
        vocab_size=options.vocab_size,
    )


def _scored(
    options: ScreenOptions, folder: ScreenFolder, documents: ScreenDocuments, specs: list[SchemeSpec]
) -> Iterator[SchemeScore]:
    """Scores as they are done and kept: here, or by worker processes, which read the input themselves."""
    workers = min(options.workers, len(specs))
    if workers < 2:
        for spec in specs:
            yield _score_and_keep(spec, documents, folder)
        return
    with closing(WorkerPool(workers)) as pool:  # what is being scored is kept for the next run
        for future in as_completed([pool.submit(_work, options, spec, folder) for spec in specs]):
            yield future.result()


_read: dict[str, ScreenDocuments] = {}
"""A worker's documents by their plan's digest, read with its first scheme."""


def _work(options: ScreenOptions, spec: SchemeSpec, folder: ScreenFolder) -> SchemeScore:
    digest = folder.plan.documents_sha256
    if digest not in _read:
        _, documents = read_documents(options)
        if documents.digest != digest:
            raise InputError("the input changed while it was screened; run the same command again")
        _read[digest] = documents
    return _score_and_keep(spec, _read[digest], folder)


def _score_and_keep(spec: SchemeSpec, documents: ScreenDocuments, folder: ScreenFolder) -> SchemeScore:
    scheme, score = score_scheme(spec, documents)
    folder.keep(spec, scheme, score)
    return score
