"""What an experiment shows: everything in its reports, computed from the raw facts of its runs alone.

It can be computed again at any time, without training. `analyse` also notes the look (looks.jsonl) and
keeps what it found in analysis.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from shards import write_atomically
from tokenlab.ab.breakdown import (
    ArmTokens,
    DocumentScores,
    by_document_class,
    by_token_class,
    validation_sources,
)
from tokenlab.ab.classes import validation_tokens
from tokenlab.ab.comparing import compare_arms
from tokenlab.ab.control_outcomes import ControlOutcome, control_outcomes
from tokenlab.ab.controls import read_controls
from tokenlab.ab.facts import ArmFacts, ColumnName, Comparison, RunFacts
from tokenlab.ab.looks import Look, look, open_confirmation, read_looks
from tokenlab.ab.measured import Measured, read_measured, require_one_signature
from tokenlab.ab.plan import Plan
from tokenlab.ab.summary import ArmSummary, summarise
from tokenlab.ab.variance import Resolution, resolutions
from tokenlab.dataset import Dataset
from tokenlab.errors import InputError

SCHEMA = "tokenlab-ab-analysis-1"
ANALYSIS_FILE = "analysis.json"


class Experiment(Protocol):
    """What the analysis needs of an experiment; see `tokenlab.ab.experiment`."""

    @property
    def folder(self) -> Path: ...
    @property
    def plan(self) -> Plan: ...
    @property
    def arms(self) -> Sequence[ArmFacts]: ...
    @property
    def runs(self) -> Sequence[RunFacts]: ...
    @property
    def overrides(self) -> Sequence[str]: ...


class Analysis(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An experiment's results. `slice`: which validation documents they are of, `documents` of them,
    `source_bytes` in all. `runs` are all there are, diverged ones too. `overrides`: what was not
    comparable and was allowed. `notes`: what could not be shown, and why."""

    schema: str
    folder: str
    slice: str
    documents: int
    source_bytes: int
    baseline: str
    columns: tuple[ColumnName, ...]
    confidence: float
    margin: float
    target: float | None
    controls_run: bool
    arms: tuple[ArmFacts, ...]
    runs: tuple[RunFacts, ...]
    summaries: tuple[ArmSummary, ...]
    comparisons: tuple[Comparison, ...]
    controls: tuple[ControlOutcome, ...]
    resolutions: tuple[Resolution, ...]
    token_classes: tuple[ArmTokens, ...]
    document_classes: tuple[DocumentScores, ...]
    overrides: tuple[str, ...]
    looks: tuple[Look, ...]
    notes: tuple[str, ...]
    signatures: dict[str, str]
    plan_toml: str


def analyse(experiment: Experiment, *, confirm: bool = False) -> Analysis:
    """The analysis of an experiment's runs so far, on the validation documents that are not held back;
    with `confirm` on those that are, once.

    Raises InputError for an arm without a run in a column, results of another version, unequal
    signatures within an arm, files that do not belong together, and a second confirmation."""
    plan, folder = experiment.plan, experiment.folder
    _require_runs(experiment)
    runs = [read_measured(folder, run) for run in experiment.runs if run.state == "whole"]
    groups = _grouped(runs)
    for group in groups.values():
        require_one_signature(group)
    documents = _slice(runs, plan.confirm_docs, confirm)
    names = [run.facts.folder for run in runs]
    if confirm:
        open_confirmation(folder, "comparisons", names)
    else:
        look(folder, "comparisons", names)
    found = _analysis(experiment, groups, documents, confirm)
    with write_atomically(folder / ANALYSIS_FILE) as file:
        file.write(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    return found


Groups = dict[tuple[ColumnName, str], list[Measured]]


def _analysis(experiment: Experiment, groups: Groups, documents: slice, confirm: bool) -> Analysis:
    plan, arms = experiment.plan, experiment.arms
    baseline, control = plan.baseline.name, {arm.name for arm in arms if arm.control}
    notes = _notes(experiment)
    comparisons: list[Comparison] = []
    found: list[Resolution] = []
    for column in plan.columns:
        others = {
            arm.name: groups[column, arm.name]
            for arm in arms
            if (column, arm.name) in groups and arm.name not in {baseline, *control}
        }
        if (column, baseline) in groups:
            comparisons += compare_arms(groups[column, baseline], others, documents, plan)
            found += resolutions(groups[column, baseline], others, documents, 1 - plan.confidence)
    shown = {key: group for key, group in groups.items() if key[1] not in control}
    tokens, document_scores, more = _breakdown(experiment, shown, documents)
    one = next(iter(groups.values()))[0]
    return Analysis(
        schema=SCHEMA,
        folder=str(experiment.folder),
        slice="confirmation" if confirm else "validation",
        documents=len(one.sizes[documents]),
        source_bytes=int(one.sizes[documents].sum()),
        baseline=baseline,
        columns=plan.columns,
        confidence=plan.confidence,
        margin=plan.margin,
        target=plan.target,
        controls_run=plan.controls,
        arms=tuple(arms),
        runs=tuple(experiment.runs),
        summaries=tuple(summarise(group, documents) for group in groups.values()),
        comparisons=tuple(comparisons),
        controls=tuple(control_outcomes(experiment.folder, plan, groups, documents)),
        resolutions=tuple(found),
        token_classes=tokens,
        document_classes=document_scores,
        overrides=tuple(experiment.overrides),
        looks=read_looks(experiment.folder),
        notes=(*notes, *more),
        signatures={f"{column}, {arm}": group[0].signature for (column, arm), group in groups.items()},
        plan_toml=plan.to_toml(),
    )


def _breakdown(
    experiment: Experiment, groups: Groups, documents: slice
) -> tuple[tuple[ArmTokens, ...], tuple[DocumentScores, ...], list[str]]:
    """Scores by class of token and of document, and what is missing of them."""
    notes: list[str] = []
    tokens: list[ArmTokens] = []
    datasets = {arm.name: Dataset(Path(arm.dataset)) for arm in experiment.arms if not arm.control}
    for name, dataset in datasets.items():
        mine = {key: group for key, group in groups.items() if key[1] == name}
        of_dataset = validation_tokens(dataset)
        for (column, _), group in mine.items():
            found = by_token_class(group, of_dataset, documents)
            if found is None:
                notes.append(f"{name}, {column}: no token_nats.bin, so no bits by class of token")
            else:
                tokens.append(found)
    order = [arm.name for arm in experiment.arms]
    tokens.sort(key=lambda entry: (experiment.plan.columns.index(entry.column), order.index(entry.arm)))
    digests = {dataset.manifest.splits["val"].documents_sha256 for dataset in datasets.values()}
    if len(digests) > 1:
        notes.append("the arms' validation documents differ, so no score by class of document")
        return tuple(tokens), (), notes
    readable = [dataset for dataset in datasets.values() if dataset.scheme.reversible]
    if not readable:
        notes.append("no arm can be read back to the source: classes of documents are of a normal form")
    sources = validation_sources((readable or list(datasets.values()))[0])
    return tuple(tokens), by_document_class(list(groups.values()), sources, documents), notes


def _require_runs(experiment: Experiment) -> None:
    """Raise InputError for an arm that has no run in a column: there is nothing to compare yet."""
    have = {(run.column, run.arm) for run in experiment.runs}
    for column in experiment.plan.columns:
        for arm in experiment.plan.arms:
            if (column, arm.name) not in have:
                raise InputError(
                    f"{experiment.folder}: arm {arm.name} has no finished run in column {column}; "
                    f"`tokenlab ab {experiment.folder}/plan.toml --resume` goes on"
                )
    if not any(run.state == "whole" for run in experiment.runs):
        raise InputError(f"{experiment.folder}: all runs diverged ({experiment.runs[0].failure})")


def _grouped(runs: Sequence[Measured]) -> Groups:
    groups: Groups = {}
    for run in sorted(runs, key=lambda run: run.facts.pair):
        groups.setdefault((run.facts.column, run.facts.arm), []).append(run)
    return groups


def _slice(runs: Sequence[Measured], held_back: int, confirm: bool) -> slice:
    """The validation documents to look at: the last `held_back` are for confirmation. Raises InputError
    where that leaves none."""
    documents = min(len(run.sizes) for run in runs)
    if confirm and not held_back:
        raise InputError("no documents were held back for confirmation: plan them with --confirm-docs")
    if held_back >= documents:
        raise InputError(f"{held_back} of {documents} validation documents are held back: none are left")
    return slice(documents - held_back, documents) if confirm else slice(0, documents - held_back)


def _notes(experiment: Experiment) -> list[str]:
    """Runs that diverged, whose pairs are left out, and controls that this plan cannot have."""
    made = read_controls(experiment.folder) if experiment.plan.controls else None
    lost = [
        f"{run.arm}, seed {run.seed}, {run.column}: diverged ({run.failure}); its pair is left out"
        for run in experiment.runs
        if run.state == "diverged"
    ]
    return [*lost, *(f"without the {reason}" for reason in (made.left_out if made else []))]
