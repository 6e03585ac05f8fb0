"""`tokenlab ab`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tokenlab.cli.app import Json, LimitDocs, app, require_libraries, show


class Column(StrEnum):
    """In what respect the arms are equal."""

    bytes = "bytes"
    swap = "swap"
    artifact = "artifact"
    wallclock = "wallclock"
    flops = "flops"


class Lengths(StrEnum):
    """What a row and a step are the same of in every arm."""

    bytes = "bytes"
    tokens = "tokens"


class Rule(StrEnum):
    """What decides."""

    paired = "paired"
    contest = "contest"


class Where(StrEnum):
    """Where runs are trained."""

    local = "local"
    ray = "ray"


class Allow(StrEnum):
    """A difference between arms that a user may override."""

    train_documents = "train-documents"
    validation_documents = "validation-documents"
    validation_bytes = "validation-bytes"
    verdict = "verdict"


@app.command(
    epilog="\b\nExamples:\n"
    "  tokenlab ab --arm bpe:1024 --arm caseops:1024 --input docs.jsonl.zst --val-docs 50 --preset nano \\\n"
    "      --pairs 8 --output ab --plan                 # what it costs and can prove; then without --plan\n"
    "  tokenlab ab out/bpe out/caseops --preset nano --column bytes --column swap --output ab2\n"
    "  tokenlab ab out/bpe out/caseops --preset baseline --seconds 600 --column artifact --output ab3\n"
    "  tokenlab ab ab/plan.toml --resume                # go on; the same command as before does too\n"
    "  tokenlab ab ab/plan.toml --pairs 12              # four more pairs of the same experiment\n"
    "  tokenlab report ab --html ab.html"
)
def ab(
    given: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DATASET…|PLAN.toml]",
            help="Existing datasets as arms, the first is the baseline; or a plan, such as the one in an "
            "experiment's folder.",
        ),
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]SCHEME[:IDS|@TOKENIZER]",
            help="An arm built here (repeatable; the first is the baseline): bpe, caseops:2048, "
            "mine=my.toml:1024, bpe-v1@published.model.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The experiment's folder [default: that of PLAN.toml, if in one]."),
    ] = None,
    input: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH…", help="Documents, as `tokenlab build --input` takes them."),
    ] = None,
    text_field: Annotated[str | None, typer.Option(metavar="NAME", help="Field of the text.")] = None,
    limit_docs: LimitDocs = None,
    val_docs: Annotated[
        int | None,
        typer.Option(metavar="N", help="The first N documents of --input are validation [default: 50]."),
    ] = None,
    confirm_docs: Annotated[
        int | None,
        typer.Option(metavar="N", help="Hold N more back, opened once by `tokenlab report --confirm`."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="The trainer's: nano, micro or baseline.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="Trainer settings that override the preset's.")
    ] = None,
    column: Annotated[
        list[Column] | None,
        typer.Option(
            help="In what the arms are equal (repeatable): the text seen, all but the embedding, artifact "
            "size, seconds, or operations [default: bytes]"
        ),
    ] = None,
    train_bytes: Annotated[
        int | None,
        typer.Option(metavar="N", help="Source bytes of a run [default: nano 1,000,000, micro 4,000,000]"),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds of training, for wallclock (and artifact).")
    ] = None,
    cap_bytes: Annotated[
        int | None,
        typer.Option(metavar="N", help="Column artifact: bytes of code and weights [default: 16,000,000]"),
    ] = None,
    lengths: Annotated[
        Lengths | None,
        typer.Option(help="Rows, steps and windows are the same source bytes in every arm, or tokens."),
    ] = None,
    pairs: Annotated[
        int | None, typer.Option(metavar="N", help="Pairs of runs that share a seed [default: 8]")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed of the first pair [default: 1]")] = None,
    confidence: Annotated[
        str | None, typer.Option(metavar="SHARE", help="Of intervals and tests [default: 95%, contest 99%]")
    ] = None,
    margin: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="Differences below it are equivalent, of BPB [default: 0.5%]"),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="A difference to be found; --plan says the pairs it needs."),
    ] = None,
    until_decided: Annotated[
        bool,
        typer.Option("--until-decided", help="Stop early when the sequential test has decided."),
    ] = False,
    rule: Annotated[
        Rule | None, typer.Option(help="Decide by the paired t test (Holm), or as Parameter Golf does.")
    ] = None,
    controls: Annotated[
        bool,
        typer.Option("--controls/--no-controls", help="A/A, permuted ids, 512 against 1,024, bad sidecar."),
    ] = True,
    control_pairs: Annotated[
        int | None, typer.Option(metavar="N", help="Pairs of each control [default: 2]")
    ] = None,
    allow: Annotated[
        list[Allow] | None,
        typer.Option(help="Compare though this differs (repeatable); every report will show it."),
    ] = None,
    engine: Annotated[Where | None, typer.Option(help="Train in processes here, or as Ray tasks.")] = None,
    engine_address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="ray: a running cluster (none: one is started).")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Runs at a time [default: one a core, or one a GPU]")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Only go on: refuse to begin an experiment.")
    ] = False,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Say what it costs and what it can prove; train only short probes."),
    ] = False,
    json: Json = False,
) -> None:
    """Find out which representation of text is better, and how sure that is.

    Arms are built, verified and refused unless they are of the same documents. Each pair trains
    every arm with one seed, one run a core; differences are taken within pairs. Everything is kept
    in --output: killed at any point, the same command goes on. The first arm is the baseline.
    docs/ab.md explains the columns, the statistics and the controls.
    """
    require_libraries("ab", "torch", "scipy")
    from tokenlab.ab.conduct import conduct, conducting, prepare, take_up
    from tokenlab.ab.forecast import forecast
    from tokenlab.report.ab_plan import plan_text
    from tokenlab.report.plain import to_json
    from tokenlab.terminal import stderr_progress

    options: dict[str, Any] = {
        "input": input,
        "text_field": text_field,
        "limit_docs": limit_docs,
        "val_docs": val_docs,
        "confirm_docs": confirm_docs,
        "preset": preset,
        "config": config,
        "columns": column,
        "train_bytes": train_bytes,
        "seconds": seconds,
        "cap_bytes": cap_bytes,
        "lengths": lengths,
        "pairs": pairs,
        "first_seed": seed,
        "confidence": confidence,
        "margin": margin,
        "target": target,
        "until_decided": until_decided or None,
        "rule": rule,
        "controls": None if controls else False,
        "control_pairs": control_pairs,
        "allow": allow,
        "engine": engine,
        "engine_address": engine_address,
        "workers": workers,
    }
    wanted, folder = _wanted(given or [], arm or [], output, options, resume)
    progress = stderr_progress()
    with conducting(folder):
        experiment, places = prepare(folder, take_up(folder, wanted), progress)
        if plan:
            found = forecast(experiment, places, progress)
            show(to_json(found) if json else plan_text(found))
            return
        conduct(experiment, places, progress)
    _show_results(folder, json)


def _wanted(
    given: list[Path], arms: list[str], output: Path | None, options: dict[str, Any], resume: bool
) -> tuple[Any, Path]:
    """The plan that is asked for, and the experiment's folder."""
    from tokenlab.ab.plan import PLAN_FILE, read_plan
    from tokenlab.errors import InputError

    file = given[0] if len(given) == 1 and given[0].suffix == ".toml" else None
    if output is None and file is not None and file.name == PLAN_FILE:
        output = file.parent
    if output is None:
        raise InputError("no --output DIR: an experiment needs a folder, to go on in if it is interrupted")
    if resume and not (output / PLAN_FILE).exists():
        raise InputError(f"--resume: {output} holds no experiment to go on with")
    if file is None:
        return _planned(given, arms, options), output
    if arms:
        raise InputError("--arm: the plan names its arms; add them there")
    return _changed(read_plan(file), options), output


def _changed(plan: Any, options: dict[str, Any]) -> Any:
    """A plan from a file, with the options that do not make another one of it."""
    import msgspec

    from tokenlab.ab.plan import FREE
    from tokenlab.errors import InputError

    changes = {name: value for name, value in options.items() if value is not None}
    for name in changes:
        if name not in FREE:
            raise InputError(
                f"--{name.replace('_', '-')}: the plan says it; change it there (options that go with a "
                "plan: --pairs, --workers, --engine, --engine-address)"
            )
    if changes.get("pairs", 1) < 1 or changes.get("workers", 1) < 1:
        raise InputError("--pairs and --workers must be at least 1")
    if "engine" in changes:
        changes["engine"] = changes["engine"].value
    return msgspec.structs.replace(plan, **changes)


def _planned(datasets: list[Path], arms: list[str], options: dict[str, Any]) -> Any:
    """The plan of a command line."""
    import msgspec

    from tokenlab.ab.plan import CONTEST_CONFIDENCE, dataset_arms, make_plan, parse_arm, read_settings

    chosen = dict(options)
    file = chosen.pop("config")
    settings = read_settings(file) if file is not None else {}
    if chosen["preset"] is None and "preset" in settings:
        chosen["preset"] = settings.pop("preset")
    limits = {name: chosen.pop(name) for name in ("train_bytes", "seconds")}
    if limits["seconds"] is not None and limits["train_bytes"] is None and not chosen["columns"]:
        chosen["columns"] = [Column.wallclock]
    for name in ("columns", "allow"):
        if chosen[name] is not None:
            chosen[name] = [value.value for value in chosen[name]]
    for name in ("lengths", "rule", "engine"):
        if chosen[name] is not None:
            chosen[name] = chosen[name].value
    for name in ("confidence", "margin", "target"):
        if chosen[name] is not None:
            chosen[name] = _share(f"--{name}", chosen[name])
    if chosen["rule"] == "contest" and chosen["confidence"] is None:
        chosen["confidence"] = CONTEST_CONFIDENCE
    members = [*dataset_arms(datasets), *map(parse_arm, arms)]
    budget = {name: value for name, value in limits.items() if value is not None}
    return make_plan(chosen | {"arms": msgspec.to_builtins(members), "budget": budget, "config": settings})


def _share(option: str, text: str) -> float:
    """A fraction, as 0.3% or 0.003."""
    from tokenlab.errors import InputError

    number, percent = (text[:-1], True) if text.endswith("%") else (text, False)
    try:
        return float(f"{number}e-2") if percent else float(number)
    except ValueError as error:
        raise InputError(f"{option} {text}: write a share such as 0.3% or 0.003") from error


def _show_results(folder: Path, json: bool) -> None:
    from tokenlab.ab.analysis import analyse
    from tokenlab.ab.experiment import Experiment
    from tokenlab.report.ab import ab_json, ab_text

    found = analyse(Experiment.open(folder))
    show(ab_json(found) if json else ab_text(found))
