"""The command line as a process: what a user types, reads, and gets as an exit code."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.command import ONE_THREAD, refused, tokenlab, write_jsonl
from tests.test_build import TEXTS
from tokenlab.cli import app, import_commands, spread
from tokenlab.registry import scheme_names


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("docs") / "docs.jsonl", TEXTS)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, documents: Path) -> Path:
    out = tmp_path_factory.mktemp("data") / "out"
    result = tokenlab("build", "--scheme", "bytes", "--input", documents, "--val-docs", 3, "--output", out)
    assert result.returncode == 0, result.stderr
    assert "balanced: charges + unattributed = source bytes in 9 of 9 documents" in result.stdout
    assert f"next: tokenlab verify {out}" in result.stdout
    assert "validation is its first 3 documents" in result.stderr
    return out


def test_the_main_job_on_the_embedded_corpus(tmp_path: Path) -> None:
    out = tmp_path / "caseops"
    result = tokenlab("build", "--scheme", "caseops", "--output", out)
    assert result.returncode == 0, result.stderr
    result = tokenlab("verify", out)
    assert result.returncode == 0
    assert result.stdout.endswith("verdict: TRUST\n")


def test_flags_are_frozen() -> None:
    """A new flag is a decision: change this list with it."""
    import typer.main

    import_commands()
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    result = {
        name: sorted(option for p in command.params for option in p.opts if option.startswith("--"))
        for name, command in commands.items()
    }
    assert result == {
        "build": [
            "--analysis-only",
            "--boundaries",
            "--bytes-per-patch",
            "--dry-run",
            "--engine",
            "--engine-address",
            "--engine-option",
            "--force",
            "--input",
            "--json",
            "--license",
            "--limit-docs",
            "--on-bad-document",
            "--output",
            "--scheme",
            "--seed",
            "--shard-tokens",
            "--text-field",
            "--tokenizer",
            "--train-bytes",
            "--val-docs",
            "--vocab-size",
            "--workers",
        ],
        "verify": [
            "--byte-table",
            "--docs",
            "--html",
            "--json",
            "--log",
            "--loss",
            "--text-field",
            "--tokenizer",
            "--transform",
            "--val-docs",
        ],
        "inspect": [
            "--boundaries",
            "--compare",
            "--doc",
            "--docs",
            "--html",
            "--json",
            "--rule",
            "--scheme",
            "--split",
            "--text",
            "--text-field",
            "--tokenizer",
            "--view",
        ],
        "sample": [
            "--bytes",
            "--json",
            "--patches",
            "--prompt",
            "--seed",
            "--temperature",
            "--trust-code",
        ],
        "screen": [
            "--holdout-docs",
            "--html",
            "--input",
            "--json",
            "--limit-docs",
            "--output",
            "--text-field",
            "--vocab-size",
            "--workers",
        ],
        "schemes": [
            "--input",
            "--json",
            "--scheme",
            "--table",
            "--text-field",
            "--val-docs",
            "--vocab-size",
        ],
        "audit": ["--dataset", "--json"],
        "train": [
            "--config",
            "--force",
            "--json",
            "--output",
            "--preset",
            "--seconds",
            "--seed",
            "--steps",
            "--tensorboard",
            "--train-bytes",
            "--validate-every",
            "--validate-every-bytes",
            "--wandb",
        ],
        "eval": [
            "--context",
            "--context-bytes",
            "--dataset",
            "--isolated",
            "--json",
            "--stride",
            "--stride-bytes",
            "--token-nats",
            "--trust-code",
        ],
        "ab": [
            "--allow",
            "--arm",
            "--cap-bytes",
            "--column",
            "--confidence",
            "--config",
            "--confirm-docs",
            "--control-pairs",
            "--controls",
            "--engine",
            "--engine-address",
            "--input",
            "--json",
            "--lengths",
            "--limit-docs",
            "--margin",
            "--output",
            "--pairs",
            "--plan",
            "--preset",
            "--resume",
            "--rule",
            "--seconds",
            "--seed",
            "--target",
            "--text-field",
            "--train-bytes",
            "--until-decided",
            "--val-docs",
            "--workers",
        ],
        "report": ["--confirm", "--html", "--json", "--record"],
        "export": ["--force", "--json", "--layout", "--output"],
        "import": [
            "--byte-table",
            "--docs",
            "--force",
            "--json",
            "--layout",
            "--output",
            "--text-field",
            "--tokenizer",
            "--transform",
            "--val-docs",
            "--workers",
        ],
    }


def test_help_is_instant_and_teaches() -> None:
    for command in (
        (),
        ("build",),
        ("verify",),
        ("inspect",),
        ("schemes",),
        ("screen",),
        ("audit",),
        ("import",),
        ("export",),
        ("train",),
        ("eval",),
        ("ab",),
        ("report",),
    ):
        result = tokenlab(*command, "--help")
        assert result.returncode == 0
        assert "tokenlab " in result.stdout.split("Options:")[1], "no example below the options"
    program = "import sys; sys.argv = ['tokenlab', '--help']\nfrom tokenlab.cli import main\n"
    program += (
        "try: main()\nfinally: print(sorted(set(sys.modules) & {'numpy', 'numba', 'pyarrow', 'torch'}))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.endswith("[]\n"), "--help loads a heavy library"


@pytest.mark.parametrize(
    ("scheme", "brought_by_gigatoken"),
    [("byte-bpe", ["awkward", "fsspec", "pyarrow"]), ("caseops", [])],
)
def test_build_and_verify_never_import_torch(
    tmp_path: Path, scheme: str, brought_by_gigatoken: list[str]
) -> None:
    """Nor, once their kernels are compiled, what else takes longer to load than the command itself."""
    program = (
        "import sys; sys.modules['torch'] = None\n"  # importing it now fails
        "from tokenlab.cli import main\n"
        "from tokenlab.own_process import take_over; take_over()\n"
        "build = ['build', '--scheme', sys.argv[1], '--vocab-size', '512', '--output', sys.argv[2]]\n"
        "for arguments in (build, ['verify', sys.argv[2]]):\n"
        "    sys.argv = ['tokenlab', *arguments]\n"
        "    try: main()\n"
        "    except SystemExit as end: assert not end.code, end.code\n"
        "print(sorted({name for name in sys.modules if sys.modules[name]} & {*SLOW}))\n"
    ).replace("SLOW", "'scipy', 'cffi', 'pydantic', 'awkward', 'pyarrow', 'datasets', 'fsspec'")
    for out in ("compiles", "loads"):
        result = subprocess.run(
            [sys.executable, "-c", program, scheme, str(tmp_path / out)], capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == str(brought_by_gigatoken)


def test_ctrl_c_waits_for_native_code() -> None:
    """An exception in the midst of numba or gigatoken would crash the process: it comes after it."""
    program = (
        "import signal, time\n"
        "from tokenlab.own_process import interrupt_safely\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "interrupt_safely()\n"
        "inside = {'__name__': 'numba.core.caching', 'signal': signal, 'time': time}\n"
        "exec('def load():\\n signal.raise_signal(2)\\n time.sleep(0.2)\\n print(\"loaded\")', inside)\n"
        "inside['load']()\n"
        "try: time.sleep(600)\n"
        "except KeyboardInterrupt: print('interrupted')\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.stdout == "loaded\ninterrupted\n", result.stderr


@pytest.mark.parametrize("asked", ["", "0", "1"])
def test_numpy_as_a_command_loads_it(asked: str) -> None:
    """With one thread, as no other command may fork, and huge pages only for who asks for them."""
    program = (
        f"import os\nbefore = dict(os.environ)\n{ONE_THREAD}"
        "from tokenlab.own_process import may_fork\n"
        "import numpy as np\nfrom numpy._core import _multiarray_umath as umath\n"
        "np.ones((500, 500)) @ np.ones((500, 500))\n"
        "print(may_fork(), umath._get_madvise_hugepage(), dict(os.environ) == before)\n"
    )
    environment = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": asked}
    if not asked:
        del environment["NUMPY_MADVISE_HUGEPAGE"]
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert result.stdout == f"True {asked == '1'} True\n", result.stderr


@pytest.mark.skipif(
    sys.platform != "linux" or [*map(int, re.findall(r"\d+", os.uname().release)[:2])] < [6, 12],
    reason="the kernel grants no time slices",
)
def test_a_command_asks_for_long_time_slices() -> None:
    """For itself and its threads, and is as nice as it was."""
    program = (
        "import os, threading\n"
        "from tokenlab.own_process import take_over\n"
        "def show():\n"
        "    slices = [line.split()[-1] for line in open('/proc/thread-self/sched') if 'se.slice' in line]\n"
        "    print(*slices, os.nice(0))\n"
        "os.nice(3)\n"
        "take_over()\n"
        "show()\n"
        "threading.Thread(target=show).start()\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout == f"100000000 {min(19, os.nice(0) + 3)}\n" * 2, result.stderr


def test_a_command_ends_beside_a_pool_that_ends() -> None:
    """`concurrent.futures` wakes each pool through a pipe that the pool may be closing."""
    program = (
        "from concurrent.futures import ProcessPoolExecutor, process\n"
        "from tokenlab.own_process import leave\n"
        "wakeup, calls = process._ThreadWakeup.wakeup, []\n"
        "def closed_meanwhile(self):\n"
        "    calls.append(self)\n"
        "    if len(calls) == 1: raise OSError(9, 'Bad file descriptor')\n"
        "    wakeup(self)\n"
        "pool = ProcessPoolExecutor(1)\n"
        "pool.submit(int).result()\n"
        "process._ThreadWakeup.wakeup = closed_meanwhile\n"
        "leave(130)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (130, "")


def test_json_of_build_and_verify(tmp_path: Path, documents: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--scheme", "bytes", "--input", documents, "--val-docs", 3, "--output", out, "--json")
    record = json.loads(tokenlab("build", *arguments).stdout)
    assert list(record) == ["output", "seconds", "reused_parts", "reused_shards", "manifest"]
    assert record["manifest"] == json.loads((out / "manifest.json").read_text())
    result = json.loads(tokenlab("verify", out, "--docs", documents, "--json").stdout)
    assert (result["verdict"], result["against"]) == ("trust", "source")


def test_verify_exit_codes(tmp_path: Path, dataset: Path, documents: Path) -> None:
    assert tokenlab("verify", dataset, "--docs", documents).returncode == 0
    other = write_jsonl(tmp_path / "other.jsonl", [*TEXTS[:-1], "not the last"])
    result = tokenlab("verify", dataset, "--docs", other)
    assert result.returncode == 1
    assert "reversible fails: the ids do not decode to the document" in result.stdout
    assert "split train, document 5" in result.stdout
    assert result.stdout.endswith("verdict: REJECT\n")
    assert "no manifest.json" in refused("verify", tmp_path)
    assert "missing.jsonl" in refused("verify", dataset, "--docs", tmp_path / "missing.jsonl")


def test_schemes(tmp_path: Path) -> None:
    lines = tokenlab("schemes").stdout.splitlines()
    assert [line.split()[0] for line in lines] == scheme_names()
    for line in lines:
        assert ("balanced, not reversible" in line) == ("-v1" in line.split()[0])
    assert [scheme["name"] for scheme in json.loads(tokenlab("schemes", "--json").stdout)] == [
        line.split()[0] for line in lines
    ]


def test_a_table_of_schemes(tmp_path: Path) -> None:
    docs = write_jsonl(
        tmp_path / "docs.jsonl", [f"The cat sat on mat {i}. It's 1, (not 2)\n" * 3 for i in range(40)]
    )
    options = ["--table", "--input", docs, "--val-docs", 4, "--vocab-size", 300]
    chosen = ["--scheme", "bpe", "--scheme", "wordops-auto", "--scheme", "caseops-v1"]
    result = tokenlab("schemes", *options, *chosen)
    assert result.returncode == 0, result.stderr
    text, head, bpe, wordops, published = result.stdout.splitlines()
    assert text.startswith("40 documents, ")
    assert "tokens/byte" in head
    assert bpe.split()[:2] == ["bpe", "300"]
    assert "+0.0 %" in bpe
    assert bpe.endswith("balanced, reversible")
    assert wordops.endswith("balanced, reversible")
    assert "published vocabulary" in published
    rows = json.loads(tokenlab("schemes", *options, *chosen[:2], "--json").stdout)
    assert (rows[0]["documents"], rows[0]["balanced"], rows[0]["reversible"]) == (40, 40, 40)
    assert f"{rows[0]['rate']:.4f}" in bpe
    assert "go with --table" in refused("schemes", "--scheme", "bpe")
    assert "--val-docs is missing" in refused("schemes", "--table", "--input", docs)
    assert "scheme bpe: the text fills" in refused(
        "schemes", "--table", "--input", docs, "--val-docs", 4, *chosen[:2]
    )


def test_a_scheme_file_of_ones_own(tmp_path: Path) -> None:
    scheme = tmp_path / "mine.toml"
    scheme.write_text(
        'name = "mine"\noperators = ["caseops"]\n'
        '[segmenter]\nkind = "sentencepiece"\nnormalization = "identity"\nvocab_size = 400\n'
        "split_digits = false\n"
    )
    assert tokenlab("build", "--scheme", scheme, "--output", tmp_path / "out").returncode == 0
    assert tokenlab("verify", tmp_path / "out").returncode == 0
    scheme.write_text('name = "mine"\n[segmenter]\nkind = "sentencepiece"\nnormalization = "identity"\n')
    assert "must be 'escape'" in refused("build", "--scheme", scheme, "--output", tmp_path / "two")
    scheme.write_text('name = "mine"\n[segmenter]\nkind = "byte"\nsize = 3\n')
    assert "unknown field `size`" in refused("build", "--scheme", scheme, "--output", tmp_path / "two")


def test_dry_run_writes_nothing(tmp_path: Path, documents: Path) -> None:
    arguments = ("--input", documents, "--val-docs", 3, "--output", tmp_path / "out", "--dry-run")
    result = tokenlab("build", "--scheme", "bytes", *arguments)
    assert result.returncode == 0
    for expected in ("val_docs: 3", "shard_tokens: 100000000", "seed: 0", "forecast: about"):
        assert expected in result.stdout
    plan = json.loads(tokenlab("build", "--scheme", "bytes", *arguments, "--json").stdout)
    assert plan["forecast"]["source_bytes"] == sum(len(text.encode()) for text in TEXTS)
    assert list(tmp_path.iterdir()) == []


def test_bad_documents_are_named(tmp_path: Path) -> None:
    """Each kind of bad input: exit code 2, one line with file, row and remedy, nothing on disk."""
    good = [json.dumps({"text": f"document {n}"}) for n in range(10)]

    def lines(*rows: bytes | str) -> Path:
        path = tmp_path / "docs.jsonl"
        path.write_bytes(b"\n".join(row if isinstance(row, bytes) else row.encode() for row in rows) + b"\n")
        return path

    def build(path: Path, *extra: object) -> str:
        message = refused(
            "build",
            "--scheme",
            "bytes",
            "--input",
            path,
            "--val-docs",
            2,
            "--output",
            tmp_path / "out",
            *extra,
        )
        assert str(path) in message
        assert not list(tmp_path.glob("out*"))
        return message

    empty = tmp_path / "empty.jsonl"
    empty.write_bytes(b"")
    assert "is empty" in build(empty)
    assert "no field 'text' (fields: body)" in build(lines(*good[:3], '{"body": "x"}'))
    assert "row 7: invalid JSON" in build(lines(*good[:6], '{"text": "x"', *good[6:]))
    assert "row 3: lone surrogate U+D800" in build(lines(*good[:2], '{"text": "a\\ud800b"}'))
    assert "row 4: invalid UTF-8" in build(lines(*good[:3], b'{"text": "\xff"}'))
    assert "row 2: field 'text' is null" in build(lines(good[0], '{"text": null}'))
    table = tmp_path / "docs.parquet"
    pq.write_table(pa.table({"body": ["a", "b", "c"]}), table)
    assert "body" in build(table)
    packed = tmp_path / "docs.jsonl.gz"
    packed.write_bytes(gzip.compress("\n".join(good).encode())[:-9])
    build(packed)
    assert "--val-docs is 2, the input has 2 documents" in refused(
        "build",
        "--scheme",
        "bytes",
        "--input",
        lines(*good[:2]),
        "--val-docs",
        2,
        "--output",
        tmp_path / "out",
    )
    missing = refused(
        "build", "--scheme", "bytes", "--input", "no/such*.jsonl", "--val-docs", 2, "--output", "x"
    )
    assert "no/such*.jsonl" in missing


def test_bad_options_are_explained(tmp_path: Path, documents: Path, dataset: Path) -> None:
    def build(*arguments: object) -> str:
        message = refused("build", "--output", tmp_path / "out", *arguments)
        assert not list(tmp_path.glob("out*"))
        return message

    given = ("--input", documents)
    assert "--val-docs N is missing" in build("--scheme", "bytes", *given)
    assert "built-in: bpe, bpe-v1" in build("--scheme", "nonsense")
    assert "at least one validation document" in build("--scheme", "bytes", *given, "--val-docs", 0)
    assert "the text fills" in build("--scheme", "bpe", "--vocab-size", 50_000)
    assert "give its SentencePiece model with --tokenizer" in build("--scheme", "bpe-v1")
    assert "fixed vocabulary" in build("--scheme", "bytes", "--vocab-size", 300)
    message = build("--scheme", "bytes", "--vocabsize", 300)
    assert "No such option" in message
    assert "(see tokenlab build --help)" in message
    message = refused("build", "--scheme", "bytes", "--output", dataset)
    assert "pass --force" in message


def test_skipping_bad_documents(tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\nbroken\n{"text": "c"}\n{"text": 1}\n')
    out = tmp_path / "out"
    arguments = ("--scheme", "bytes", "--input", path, "--val-docs", 1, "--output", out)
    result = tokenlab("build", *arguments, "--on-bad-document", "skip")
    assert result.returncode == 0
    assert "2 bad rows" in result.stdout
    assert f"skipped {path} row 3: invalid JSON" in result.stdout
    bad = json.loads((out / "manifest.json").read_text())["source"]["bad_documents"]
    assert [entry["row"] for entry in bad] == [3, 5]
    assert tokenlab("verify", out, "--docs", path).returncode == 0


def test_many_inputs_after_one_flag(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_jsonl(tmp_path / f"{name}.jsonl", [f"{name} one", f"{name} two"])
    files = sorted(tmp_path.glob("*.jsonl"))
    out = tmp_path / "out"
    assert (
        tokenlab("build", "--scheme", "bytes", "--input", *files, "--val-docs", 1, "--output", out).returncode
        == 0
    )
    assert json.loads((out / "manifest.json").read_text())["source"]["documents"] == 6
    assert tokenlab("verify", out, "--docs", *files).returncode == 0
    assert tokenlab("verify", "--docs", tmp_path / "*.jsonl", out).returncode == 0


def test_spread() -> None:
    assert spread(["build", "--input", "a", "b", "--seed", "3"]) == [
        "build", "--input", "a", "--input", "b", "--seed", "3",
    ]  # fmt: skip
    assert spread(["verify", "out", "--docs", "a", "b", "--json"]) == [
        "verify", "out", "--docs", "a", "--docs", "b", "--json",
    ]  # fmt: skip
    assert spread(["verify", "--docs", "a", "out"]) == ["verify", "--docs", "a", "out"]
    two = ["inspect", "--compare", "a", "b", "--text", "--docs", "--docs", "c", "out"]
    assert spread(two) == two


def test_ctrl_c_leaves_a_resumable_build(tmp_path: Path) -> None:
    """One line, exit code 130, and the next run takes the finished parts over."""
    texts = [f"document {n} " + "The NASA word " * 2000 for n in range(3000)]
    documents = write_jsonl(tmp_path / "docs.jsonl", texts)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tokenlab", "build", "--scheme", "caseops", "--vocab-size", "290"]
    command += ["--input", str(documents), "--val-docs", "2", "--output", str(out), "--workers", "2"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    parts = tmp_path / "out.partial/parts"
    deadline = time.monotonic() + 60
    while not list(parts.rglob("*.part")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert stderr.splitlines()[-1] == "tokenlab: interrupted; the same command goes on where it stopped"
    assert "Traceback" not in stderr
    assert not out.exists()
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "parts were already encoded" in again.stderr


def test_verify_of_foreign_shards(tmp_path: Path, documents: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--scheme", "byte-bpe", "--vocab-size", 270, "--input", documents, "--val-docs", 3)
    assert tokenlab("build", *arguments, "--output", out).returncode == 0
    model = ("--tokenizer", out / "tokenizer/tokenizer.json", "--val-docs", 3)
    assert "has a manifest" in refused("verify", out, *model)
    (out / "manifest.json").unlink()
    result = tokenlab("verify", out, *model, "--docs", documents)
    # The training document that equals a validation document was left out by build.
    assert result.returncode == 1
    assert (
        "cause: the ids spell other text" in result.stdout or "cause: a document is missing" in result.stdout
    )
    unique = write_jsonl(tmp_path / "unique.jsonl", [text for n, text in enumerate(TEXTS) if n != 5])
    result = tokenlab("verify", out, *model, "--docs", unique, "--json")
    assert (result.returncode, json.loads(result.stdout)["verdict"]) == (0, "trust")
    result = tokenlab("verify", out)
    assert result.returncode == 3
    assert result.stdout.endswith("verdict: UNPROVEN\n")


def test_audit(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text("val_tokens: 40540160\nfinal val_loss:2.80405024 val_bpb:1.08553523\n")
    result = tokenlab("audit", log)
    assert result.returncode == 0, result.stderr
    assert "consistent" in result.stdout
    wrong = tmp_path / "wrong.log"
    wrong.write_text("val_tokens: 47851520\nfinal val_loss:2.40073153 val_bpb:1.00692894\n")
    result = tokenlab("audit", tmp_path, "--json")
    assert result.returncode == 1
    verdicts = {Path(row["file"]).name: row["verdict"] for row in json.loads(result.stdout)}
    assert verdicts == {"train.log": "consistent", "wrong.log": "inconsistent"}
    (tmp_path / "empty").mkdir()
    silent = tmp_path / "empty" / "silent.log"
    silent.write_text("nothing\n")
    assert tokenlab("audit", silent).returncode == 3
    assert "nowhere.log" in refused("audit", tmp_path / "nowhere.log")


def test_import(tmp_path: Path, shared: Path) -> None:
    zoo = shared / "zoo"
    evidence = ("--tokenizer", zoo / "identity_1024.model", "--docs", zoo / "docs.jsonl", "--val-docs", 40)
    out = tmp_path / "out"
    result = tokenlab("import", zoo / "ok_identity", *evidence, "--output", out)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("foreign verdict: trust\n")
    assert tokenlab("verify", out, "--docs", zoo / "docs.jsonl").returncode == 0
    result = tokenlab("import", zoo / "bad_val_in_train", *evidence, "--output", tmp_path / "bad")
    assert result.returncode == 1
    assert "verify says reject: validation documents are in train" in result.stderr
    assert not (tmp_path / "bad").exists()


def test_export(tmp_path: Path, dataset: Path) -> None:
    from tokenlab.cli.exchange import ExportLayout
    from tokenlab.export import LAYOUTS

    assert {layout.value for layout in ExportLayout} == set(LAYOUTS)
    golf = tmp_path / "golf"
    result = tokenlab("export", dataset, "--layout", "parameter-golf", "--output", golf)
    assert result.returncode == 0, result.stderr
    assert "hard links" in result.stdout
    assert "exists" in refused("export", dataset, "--layout", "parameter-golf", "--output", golf)
    result = tokenlab("export", dataset, "--layout", "numpy", "--output", tmp_path / "np", "--json")
    assert json.loads(result.stdout)["layout"] == "numpy"
    assert "byte-level" in refused("export", dataset, "--layout", "tiktoken", "--output", tmp_path / "t")
    assert not (tmp_path / "t").exists()


def on_terminal(command: list[str], columns: int) -> tuple[str, bytes]:
    """What a command writes to a terminal of so many columns, which is its stderr; its stdout."""
    import pty

    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    process = subprocess.Popen(command, stderr=follower, stdout=subprocess.PIPE, env=environment)
    os.close(follower)
    seen = b""
    while True:
        try:
            block = os.read(leader, 1 << 16)
        except OSError:  # what a terminal says when its last user has gone
            break
        if not block:
            break
        seen += block
    stdout, _ = process.communicate(timeout=60)
    os.close(leader)
    assert process.returncode == 0
    return seen.decode(), stdout


@pytest.mark.parametrize("columns", [80, 160])
def test_one_display_for_the_whole_build_on_a_terminal(tmp_path: Path, columns: int) -> None:
    """Every phase has its row, with rates; when the build ends only notes and summary are left."""
    command = [sys.executable, "-m", "tokenlab", "build", "--scheme", "bpe", "--vocab-size", "400"]
    text, stdout = on_terminal([*command, "--output", str(tmp_path / "out")], columns)
    for expected in ("vocabulary", "encode", "assemble train", "MB/s", "bytes a token", "79 documents"):
        assert expected in text
    assert text.rindex("vocabulary") > text.index("assemble train"), "rows stay while the build runs"
    assert b"next: tokenlab verify" in stdout


def test_a_terminal_of_80_columns_has_room_for_all_of_it() -> None:
    detail = "15,000,000 documents, 13,300,000,000 tokens, 3.60 bytes a token, 129.0 MB/s"
    script = f"""
import time
from tokenlab.terminal import BarProgress
progress = BarProgress()
progress.start("assemble train", 48_000_000_000, "B")
for step in range(1, 11):
    progress.advance(step * 2_000_000_000, {detail!r})
    time.sleep(0.05)
progress.finish()
"""
    text, _ = on_terminal([sys.executable, "-c", script], 80)
    rows = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace("\r", "\n").split("\n")
    assert any(
        re.fullmatch(r"assemble train \u2501+[ \u2501\u257a\u2578]*20\.00 GB +0:00:0\d *", row)
        for row in rows
    )
    assert f"  {detail}" in {row.rstrip() for row in rows}


def test_piped_progress_is_a_line_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tokenlab.terminal import LineProgress

    clock = 0.0
    monkeypatch.setattr("tokenlab.terminal.time.monotonic", lambda: clock)
    progress = LineProgress()
    progress.start("encode", 100_000_000, "B")
    for second in range(1, 36):
        clock = float(second)
        progress.advance(second * 1_000_000, "7 documents, 1.0 MB/s")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"encode: {n} %, {n}.0 MB, 7 documents, 1.0 MB/s, {n} s, about {100 - n} s left" for n in (10, 20, 30)
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ab", "a", "b", "--output", "x"], "this needs torch and scipy: pip install 'tokenlab-bpb[ab]'"),
        (["screen", "bpe", "--output", "x"], "this needs scipy: pip install 'tokenlab-bpb[screen]'"),
        (["report", "home"], "this needs scipy: pip install 'tokenlab-bpb[ab]'"),
    ],
)
def test_a_missing_extra_is_named(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "plan.toml").touch()
    program = (
        "import sys; sys.modules['torch'] = sys.modules['scipy'] = None\n"
        f"sys.argv = ['tokenlab', *{arguments!r}]\n"
        "from tokenlab.cli import main; main()"
    )
    answer = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 2
    assert answer.stderr.splitlines() == [f"tokenlab: {said}"]
