"""`tokenlab report`: a run's facts as text, page and JSON; seeds averaged only if they compare; records."""

from __future__ import annotations

import json
import math
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.command import refused, tokenlab
from tests.test_pages import ATTRIBUTES, CHROMIUM, ELEMENTS, STEERING, Page, browsed
from tests.trainer_case import tiny_run
from tokenlab.errors import InputError
from tokenlab.report import contest_record
from tokenlab.report.chart import Scale, Series, line_chart, spelled, thinned
from tokenlab.report.contest_record import write_record
from tokenlab.report.training import config_toml, report_text
from tokenlab.report.training_page import training_page
from tokenlab.runs import read_run, read_runs
from trainer.config import RunConfig, load_config
from trainer.data import open_dataset
from trainer.scoring import score_artifact
from trainer.sizes import resolve
from trainer.train import train

DRAWN = {"svg", "path", "line", "text", "g", "rect", "circle", "figure", "figcaption"}
GEOMETRY = {"viewbox", "d", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height"}


@pytest.fixture(scope="module")
def seed1(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Path) -> Path:
    """A real run, of seed 3 as `tiny_run` has it."""
    output = tmp_path_factory.mktemp("runs") / "a"
    train(load_config(None, tiny_run(tiny_dataset, output)), lambda line: None)
    return output


Variant = Callable[..., Path]


@pytest.fixture
def variant(tmp_path: Path, seed1: Path) -> Variant:
    """A copy of the run under another name, its result changed by a function."""

    def make(name: str, change: Callable[[dict[str, Any]], None]) -> Path:
        folder = tmp_path / name
        shutil.copytree(seed1, folder)
        result = json.loads((folder / "result.json").read_text())
        change(result)
        (folder / "result.json").write_text(json.dumps(result))
        return folder

    return make


def another_seed(seed: int, factor: float) -> Callable[[dict[str, Any]], None]:
    """As another seed would have ended: all nats times a factor."""

    def change(result: dict[str, Any]) -> None:
        result["seed"] = result["config"]["seed"] = seed
        for key in ("bpb", "bpb_documents", "loss", "nats", "nats_bos"):
            result["score"][key] *= factor

    return change


@pytest.fixture
def seeds(seed1: Path, variant: Variant) -> list[Path]:
    return [seed1, variant("b", another_seed(1, 1.02)), variant("c", another_seed(2, 0.97))]


def result_of(run: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((run / "result.json").read_text())
    return result


def test_a_run_as_text_and_as_json(seed1: Path) -> None:
    score = result_of(seed1)["score"]
    shown = tokenlab("report", seed1)
    assert shown.returncode == 0, shown.stderr
    for line in (
        f"bpb        {score['bpb']:.6f} bits per byte, 7 BOS targets included",
        f"documents  {score['bpb_documents']:.6f} bits per byte without BOS targets",
        f"signature  {score['signature']}",
    ):
        assert line in shown.stdout
    facts = json.loads(tokenlab("report", seed1, "--json").stdout)
    assert list(facts) == ["signature", "bpb", "bpb_documents", "contest_bytes_max", "runs"]
    assert facts["bpb"] == {"mean": score["bpb"], "sd": None}
    assert facts["signature"] == score["signature"]
    assert facts["runs"][0]["result"]["training"]["steps"] == len(facts["runs"][0]["steps"]) == 12


def test_seeds_are_averaged(seeds: list[Path]) -> None:
    shown = tokenlab("report", *seeds)
    assert shown.returncode == 0, shown.stderr
    values = [result_of(run)["score"]["bpb"] for run in seeds]
    bare = [result_of(run)["score"]["bpb_documents"] for run in seeds]
    mean, sd = statistics.mean(values), statistics.stdev(values)
    spread = "(mean ± standard deviation) bits per byte"
    assert f"bpb        {mean:.6f} ± {sd:.6f} {spread}, 7 BOS targets included" in shown.stdout
    apart = f"documents  {statistics.mean(bare):.6f} ± {statistics.stdev(bare):.6f} {spread} without BOS"
    assert apart in shown.stdout
    rows = re.findall(r"^  (\d) +([\d.]+)", shown.stdout, re.MULTILINE)
    assert [int(seed) for seed, _ in rows] == [1, 2, 3]
    assert result_of(seeds[0])["score"]["signature"] in shown.stdout
    facts = json.loads(tokenlab("report", *seeds, "--json").stdout)
    assert facts["bpb"] == {"mean": pytest.approx(mean, rel=1e-15), "sd": pytest.approx(sd, rel=1e-12)}


def test_what_does_not_compare_is_not_averaged(seed1: Path, variant: Variant) -> None:
    def set_(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
        def change(result: dict[str, Any]) -> None:
            another_seed(1, 1.0)(result)
            for key in path[:-1]:
                result = result[key]
            result[path[-1]] = value

        return change

    mine = result_of(seed1)["score"]["signature"]
    theirs = mine.replace("stride=8", "stride=4")
    message = refused("report", seed1, variant("stride", set_("score", "signature", value=theirs)))
    assert mine in message
    assert theirs in message
    for path, value, expected in (
        (("config", "model", "dim"), 32, "model.dim is 16, 32"),
        (("config", "run", "threads"), 2, "run.threads is 1, 2"),
        (("config", "preset"), "nano", "preset is None, nano"),
        (("dataset", "manifest_sha256"), "0", "dataset.manifest_sha256 is"),
        (("code_sha256",), "0", "code_sha256 is"),
    ):
        other = variant("-".join(path), set_(*path, value=value))
        with pytest.raises(InputError, match=f"not seeds of one experiment: {re.escape(expected)}"):
            read_runs([seed1, other])
    with pytest.raises(InputError, match="both have seed 3"):
        read_runs([seed1, variant("same", lambda result: None)])
    for free in (("dataset",), ("output",), ("log", "wandb"), ("run", "checkpoint_seconds")):
        other = variant("-".join(free), set_("config", *free, value="7" if len(free) == 1 else 7))
        assert [run.result.seed for run in read_runs([seed1, other])] == [1, 3]


def test_what_is_no_finished_run_is_refused(tmp_path: Path, variant: Variant) -> None:
    assert "no such folder" in refused("report", tmp_path / "none")
    assert "no result.json, so no finished run" in refused("report", tmp_path)
    broken = variant("broken", lambda result: result.pop("timing"))
    with pytest.raises(InputError, match=r"result\.json: not the result .* missing required field `timing`"):
        read_run(broken)
    other = variant("other", lambda result: result.update(schema="tokenlab-run-9"))
    with pytest.raises(InputError, match="schema tokenlab-run-9, this version reads tokenlab-run-1"):
        read_run(other)
    cut = variant("cut", lambda result: None)
    (cut / "metrics.jsonl").write_bytes((cut / "metrics.jsonl").read_bytes()[:-9])
    with pytest.raises(InputError, match=r"metrics\.jsonl, line 12: "):
        read_run(cut)


def test_a_report_imports_neither_torch_nor_the_trainer(tmp_path: Path, seed1: Path) -> None:
    program = (
        "import sys\nfrom tokenlab.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "finally: assert not {'torch', 'trainer'} & set(sys.modules)\n"
    )
    options = ["--html", str(tmp_path / "run.html"), "--record", str(tmp_path / "record")]
    command = [sys.executable, "-c", program, "report", str(seed1), *options]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


def parsed(content: str) -> Page:
    page = Page(content)
    assert set(page.elements) <= ELEMENTS | DRAWN
    assert page.attributes <= ATTRIBUTES | GEOMETRY | {"preserveaspectratio", "aria-hidden"}
    assert not STEERING.search(page.text)
    for loads in ("http://", "https://", "src=", "href=", "url(", "@import", "<script"):
        assert loads not in content
    return page


def test_the_page(tmp_path: Path, seed1: Path) -> None:
    file = tmp_path / "run.html"
    result = tokenlab("report", seed1, "--html", file)
    assert result.returncode == 0, result.stderr
    page, facts = parsed(file.read_text()), result_of(seed1)
    for fact in (
        f"{facts['score']['bpb']:.6f}",
        f"{facts['score']['bpb_documents']:.6f}",
        facts["score"]["signature"],
        facts["code_sha256"],
        facts["dataset"]["manifest_sha256"],
        facts["dataset"]["order_sha256"],
        f"{facts['contest_bytes']:,} bytes as the contest counts",
        f"{facts['strict_bytes']:,} with the tokenizer",
        f"tokenlab report {seed1} --html {file}",
        "tokenlab train",
        "--config run.toml --seed 3",
    ):
        assert fact in page.text
    assert config_toml(read_run(seed1)) in page.text
    charts = ("Training loss", "Learning rate", "Throughput")
    assert [name for name in charts if name in page.text] == list(charts)
    assert page.elements.count("path") == 3
    assert "Validation, bits per byte" not in page.text
    for name, size in sorted(facts["artifact"]["tensor_bytes"].items(), key=lambda item: -item[1])[:20]:
        assert name in page.text
        assert f"{size:,}" in page.text
    assert "is a folder" in refused("report", seed1, "--html", tmp_path)


def test_validation_while_training_is_drawn(variant: Variant) -> None:
    run = variant("v", lambda result: None)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines[3::4]:
        line["val_bpb"] = 5.0 - line["step"] / 10
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = parsed(training_page(read_runs([run]), ""))
    assert "Validation, bits per byte (context and stride 16, BOS scored)" in page.text
    assert page.elements.count("circle") == 3


def test_the_page_of_seeds_and_of_hostile_names(variant: Variant, seed1: Path) -> None:
    hostile = "<script>alert(1)</script>\u202e\x07"

    def change(result: dict[str, Any]) -> None:
        another_seed(2, 1.1)(result)
        result["environment"]["device"] = result["dataset"]["scheme"] = hostile
        result["config"]["dataset"] = hostile
        result["artifact"]["tensor_bytes"] = {hostile: 7} | {f"t{n}": n for n in range(40)}

    page = parsed(training_page(read_runs([seed1, variant("h", change)]), hostile))
    assert page.text.count("seed 3") >= 3
    assert page.elements.count("path") == 6
    assert "17 smaller tensors" in parsed(training_page(read_runs([variant("h2", change)]), "")).text


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_browser_draws_it(tmp_path: Path, seeds: list[Path]) -> None:
    """Every label lies within its chart, no two labels of an axis overlap, lines have a colour."""
    content = training_page(read_runs(seeds), "tokenlab report")
    script = """
      const bad = [];
      for (const svg of document.querySelectorAll('svg.chart')) {
        const outer = svg.getBoundingClientRect(), boxes = [];
        for (const text of svg.querySelectorAll('text')) {
          const box = text.getBoundingClientRect();
          if (box.left < outer.left - 1 || box.right > outer.right + 1 || box.top < outer.top - 1 ||
              box.bottom > outer.bottom + 1) bad.push('outside ' + text.textContent);
          for (const other of boxes)
            if (box.left < other.right && other.left < box.right && box.top < other.bottom &&
                other.top < box.bottom) bad.push('overlap ' + text.textContent);
          boxes.push(box);
        }
        for (const path of svg.querySelectorAll('path'))
          if (getComputedStyle(path).stroke === 'none' || path.getTotalLength() < 50) bad.push('line');
      }
      document.title = document.querySelectorAll('svg.chart').length + ' charts ' + bad.join(', ');
    """
    file = tmp_path / "page.html"
    injected = content.replace("</body>", f"<script>{script}</script></body>")
    file.write_text(injected)
    assert "bits per byte: " in browsed(file, "", tmp_path / "profile"), "the policy let a script in"
    file.write_text(re.sub("<meta http-equiv[^>]*>", "", injected))
    assert "<title>3 charts </title>" in browsed(file, "", tmp_path / "profile")


finite = st.floats(-1e12, 1e12, allow_nan=False)


@given(finite, finite, st.integers(2, 8))
def test_ticks_are_round_and_within(one: float, other: float, most: int) -> None:
    scale = Scale.over(min(one, other), max(one, other), 0, 100)
    ticks = scale.ticks(most)
    assert 1 <= len(ticks) <= most + 1
    for tick in ticks:
        assert -1e-3 <= scale.at(tick) <= 100 + 1e-3


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=50), st.integers(1, 60))
def test_thinning_keeps_means(points: list[tuple[float, float]], most: int) -> None:
    thin = thinned(points, most)
    assert len(thin) <= most
    if most >= len(points):
        assert thin == points


def test_numbers_on_an_axis() -> None:
    values = (0, 0.02, 1.5, 300, 5000, 20_000, 2_500_000, 7.2e9)
    assert [spelled(v) for v in values] == ["0", "0.02", "1.5", "300", "5000", "20 k", "2.5 M", "7.2 G"]
    assert "from 1 to 1 at 0" in line_chart([Series("", [(0.0, 1.0)])], x="x", y="y")


def audit(*arguments: object) -> tuple[int, list[dict[str, Any]]]:
    answer = tokenlab("audit", *arguments, "--json")
    return answer.returncode, json.loads(answer.stdout)


def test_a_record_passes_the_audit(tmp_path: Path, tiny_dataset: Path, seeds: list[Path]) -> None:
    record = tmp_path / "2026-12-01_Tiny"
    written = tokenlab("report", *seeds, "--record", record)
    assert written.returncode == 0, written.stderr
    logs = [f"train_seed{seed}.log" for seed in (1, 2, 3)]
    assert sorted(path.name for path in record.iterdir()) == sorted(
        ["README.md", "submission.json", "run.toml", "trainer", *logs]
    )
    code, audits = audit(record, "--dataset", tiny_dataset)
    assert (code, [entry["verdict"] for entry in audits]) == (0, ["consistent"] * 3)
    source_bytes = result_of(seeds[0])["score"]["source_bytes"]
    assert {entry["implied_bytes"] for entry in audits} == {source_bytes}
    path = record / logs[1]
    honest = path.read_text()
    head, bpb = honest.strip().rsplit(":", 1)
    for factor in (1.01, 0.92):  # as if the denominator had been so much larger
        path.write_text(f"{head}:{float(bpb) / factor:.8f}\n")
        code, audits = audit(record, "--dataset", tiny_dataset)
        assert code == 1
        assert [entry["verdict"] == "consistent" for entry in audits] == [True, False, True]


def test_an_isolated_score_passes_the_audit(tmp_path: Path, tiny_dataset: Path, variant: Variant) -> None:
    def change(result: dict[str, Any]) -> None:
        score = score_artifact(tmp_path / "i/artifact", tiny_dataset, stride=8, isolated=True).score
        result["score"] = result["score_before_quantisation"] = msgspec.to_builtins(score)

    run = variant("i", change)
    shown = report_text(read_runs([run]))
    assert "  documents  " in shown
    assert "  bpb  " not in shown
    write_record(tmp_path / "record", read_runs([run]))
    code, audits = audit(tmp_path / "record", "--dataset", tiny_dataset)
    assert (code, audits[0]["tokens"]) == (0, result_of(run)["score"]["targets"])


def test_what_a_record_says(tmp_path: Path, seeds: list[Path]) -> None:
    write_record(tmp_path / "record", read_runs(seeds))
    submission = json.loads((tmp_path / "record/submission.json").read_text())
    results = [result_of(run) for run in seeds]
    values = [result["score"]["bpb"] for result in results]
    assert submission["val_bpb"] == pytest.approx(statistics.mean(values), rel=1e-15)
    assert submission["val_bpb_std"] == pytest.approx(statistics.stdev(values), rel=1e-12)
    assert submission["seeds"] == [1, 2, 3]
    assert submission["bytes_total"] == max(result["contest_bytes"] for result in results)
    assert submission["seed_results"]["3"]["val_bpb"] == values[0]
    assert submission["signature"] == results[0]["score"]["signature"]
    readme = (tmp_path / "record/README.md").read_text()
    assert submission["signature"] in readme
    assert "\npython -m trainer --config run.toml --dataset DATASET --seed 2 --output run2\n" in readme
    for value in values:
        assert f"{value:.8f}" in readme
    assert (tmp_path / "record/trainer/model.py").exists()
    assert (tmp_path / "record/trainer/presets/nano.toml").exists()
    log = (tmp_path / "record/train_seed1.log").read_text()
    last = re.search(r"_exact val_loss:([\d.]+) val_bpb:([\d.]+)$", log.strip())
    assert last is not None
    implied = results[0]["score"]["targets"] * float(last[1]) / (math.log(2) * float(last[2]))
    assert implied == pytest.approx(results[0]["score"]["source_bytes"], abs=0.5)
    assert log.count("train_loss:") == 12


@pytest.mark.parametrize("in_bytes", [False, True])
def test_a_report_s_configuration_is_the_run_s(
    tmp_path: Path, seed1: Path, tiny_dataset: Path, variant: Variant, in_bytes: bool
) -> None:
    """Also where lengths were given in source bytes, of which result.json has both forms."""
    dataset = open_dataset(tiny_dataset)

    def change(result: dict[str, Any]) -> None:
        if in_bytes:
            tables = tiny_run(tiny_dataset, seed1)
            tables["batch"] = {"bytes": 70, "context_bytes": 18, "micro_rows": 2}
            tables["rates"] = {"momentum_bytes": 3_000}
            tables["budget"] = {"train_bytes": 5_000, "warmdown_bytes": 900}
            tables["evaluation"] = {"context_bytes": 19, "stride_bytes": 7, "validate_every_bytes": 2_000}
            result["config"] = msgspec.to_builtins(resolve(load_config(None, tables), dataset))

    run = read_run(variant("a", change))
    (tmp_path / "run.toml").write_text(config_toml(run))
    assert not {"dataset", "output", "seed"} & tomllib.loads(config_toml(run)).keys()
    config = run.result.config
    given = {key: config[key] for key in ("dataset", "output", "seed")}
    again = resolve(load_config(tmp_path / "run.toml", given), dataset)
    assert again == msgspec.convert(config, RunConfig)


def test_a_record_is_whole_or_absent(
    tmp_path: Path, seed1: Path, variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    assert "is there already" in refused("report", seed1, "--record", there)
    assert "there is no folder" in refused("report", seed1, "--record", tmp_path / "no/record")
    changed = variant("changed", lambda result: result.update(code_sha256="0" * 64))
    message = refused("report", changed, "--record", tmp_path / "record")
    assert "was trained by other code (sha256 000000000000, here" in message

    def full(*paths: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(contest_record.os, "rename", full)
    with pytest.raises(InputError, match="cannot write it: No space left on device"):
        write_record(tmp_path / "record", read_runs([seed1]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["changed", "there"]
