"""Inputs behind URLs: the same documents as from disk, from real servers on this machine only."""

from __future__ import annotations

import base64
import json
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.command import refused, tokenlab
from tests.test_corpus import TEXTS, containers, error_read, jsonl, parquet, rows_read, write, zstd
from tokenlab.build.plan import BuildOptions, make_plan
from tokenlab.corpus import fineweb as fineweb_module
from tokenlab.corpus import lines as lines_module
from tokenlab.corpus import open_corpus, retries
from tokenlab.corpus import remote_file as remote_module
from tokenlab.corpus.fineweb import parse_fineweb
from tokenlab.corpus.urls import public_name, without_secrets
from tokenlab.errors import InputError

MANY = [f"{i} {TEXTS[i % len(TEXTS)]}" for i in range(300)]


@dataclass
class Site:
    """What the server has, what is wrong with it, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    url: str = ""
    ranges: bool = True
    length: bool = True
    chunked: bool = False
    version: str | None = "v1"
    status: int | None = None
    failures: int = 10**9
    """How many requests get `status`."""
    drop_after: int | None = None
    """Bytes of a response after which the connection breaks."""
    drops: int = 10**9
    """How many connections break."""
    password: str | None = None
    before: Callable[[Site, str], None] | None = None
    log: list[tuple[str, str, str | None]] = field(default_factory=list)
    sent: int = 0

    def gets(self) -> list[str | None]:
        """The ranges of the GET requests."""
        return [ranges for method, _, ranges in self.log if method == "GET"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def log_message(self, *_: object) -> None: ...

    def handle(self) -> None:
        with suppress(ConnectionError):  # a client that has enough
            super().handle()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        site, path = self.site, self.path.split("?")[0].lstrip("/")
        asked = self.headers.get("Range")
        site.log.append((self.command, self.path, asked))
        if site.before is not None:
            site.before(site, self.command)
        basic = base64.b64encode(f"me:{site.password}".encode()).decode()
        status = 404 if path not in site.files else None
        if site.password is not None and self.headers.get("Authorization") != f"Basic {basic}":
            status = 403
        if site.status is not None and site.failures > 0:
            site.failures -= 1
            status = site.status
        if status is not None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = site.files[path]
        start, stop = 0, len(data)
        if site.ranges and asked:
            first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", asked).groups()  # type: ignore[union-attr]
            start, stop = int(first), min(int(last) + 1, len(data)) if last else len(data)
        self.send_response(206 if site.ranges and asked else 200)
        if site.ranges and asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        if site.version is not None:
            self.send_header("ETag", f'"{site.version}"')
        if site.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif site.length:
            self.send_header("Content-Length", str(stop - start))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "GET":
            self.send_body(data[start:stop])

    def send_body(self, body: bytes) -> None:
        site = self.site
        broken = site.drop_after is not None and len(body) > site.drop_after and site.drops > 0
        if broken:
            site.drops -= 1
            body = body[: site.drop_after]
        try:
            for at in range(0, len(body), 1 << 16):
                block = body[at : at + (1 << 16)]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(block), block) if site.chunked else block)
                site.sent += len(block)
            if site.chunked and not broken:
                self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True
        if broken or not site.length:
            self.close_connection = True


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> Iterator[Site]:
    pytest.importorskip("aiohttp")
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"site": site}))
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that would have been made."""
    made: list[float] = []
    monkeypatch.setattr(retries, "time", SimpleNamespace(sleep=made.append))
    for variable in ("http_proxy", "HTTP_PROXY", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    return made


@pytest.fixture(params=[(1 << 16, 1 << 22), (64, 100)], ids=str)
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", request.param[0])
    monkeypatch.setattr(remote_module, "REQUEST_BYTES", request.param[1])


def table(path: Path, texts: list[str] = MANY) -> bytes:
    """A parquet file of several row groups, most of which is not text."""
    columns = {"other": pa.array([bytes([i % 256]) * 2000 for i in range(len(texts))]), "text": texts}
    pq.write_table(pa.table(columns), path, row_group_size=70, compression="NONE", use_dictionary=False)
    return path.read_bytes()


@pytest.mark.parametrize("name", [*containers(), "a.txt", "a.txt.gz", "a.txt.zst", "a.parquet"])
def test_http_is_like_disk(tmp_path: Path, site: Site, blocks: None, name: str) -> None:
    if name == "a.parquet":
        parquet(tmp_path / name, pa.array(TEXTS), row_group_size=3)
    elif name.startswith("a.txt"):
        pack: dict[str, Callable[[bytes], bytes]] = {"gz": containers()["A.JSONL.GZ"], "zst": zstd}
        write(tmp_path / name, pack.get(name.rpartition(".")[2], bytes)("".join(TEXTS).encode()))
    else:
        write(tmp_path / name, containers()[name](jsonl(TEXTS)))
    site.files[name] = (tmp_path / name).read_bytes()
    here, there = open_corpus([str(tmp_path / name)]), open_corpus([f"{site.url}/{name}"])
    assert rows_read(there) == rows_read(here)
    assert rows_read(there) == rows_read(here)  # and again
    assert [file.size for file in there.files] == [file.size for file in here.files]
    last = list(there.batches())[-1]
    assert last.file == f"{site.url}/{name}"
    assert last.consumed == len(site.files[name])


def test_many_files_and_progress(tmp_path: Path, site: Site) -> None:
    site.files = {"a.jsonl": jsonl(MANY), "b.parquet": table(tmp_path / "b.parquet")}
    write(tmp_path / "c.jsonl", jsonl(MANY))
    inputs = [f"{site.url}/a.jsonl", f"{site.url}/b.parquet", str(tmp_path / "c.jsonl")]
    corpus = open_corpus(inputs, batch_bytes=1000)
    batches = list(corpus.batches())
    consumed = [batch.consumed for batch in batches]
    assert consumed == sorted(consumed)
    assert consumed[-1] == sum(file.size for file in corpus.files)
    assert [text for _, _, text in rows_read(corpus)] == MANY * 3
    assert len(rows_read(open_corpus(inputs, limit_docs=301))) == 301


@pytest.mark.parametrize("request_bytes", [1 << 22, 3000])
def test_parquet_is_read_by_ranges(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch, request_bytes: int
) -> None:
    monkeypatch.setattr(remote_module, "REQUEST_BYTES", request_bytes)
    site.files["a.parquet"] = table(tmp_path / "a.parquet")
    corpus = open_corpus([f"{site.url}/a.parquet"], batch_bytes=1000)
    assert [text for _, _, text in rows_read(corpus)] == MANY
    assert all(site.gets())
    # The footer, whose first 64 KiB pyarrow reads at a guess, and one column of two.
    assert site.sent < 1 << 17 < len(site.files["a.parquet"]) / 4


def test_a_limit_ends_the_reading(site: Site) -> None:
    """What is not wanted is not fetched, but for what lies in buffers of the system."""
    site.files["a.jsonl"] = jsonl(["x" * 1000]) * 30_000
    assert len(rows_read(open_corpus([f"{site.url}/a.jsonl"], limit_docs=5))) == 5
    assert site.sent < 16 << 20


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "frames.jsonl.zst", "a.parquet", "a.txt"])
def test_a_broken_connection_is_resumed(
    tmp_path: Path, site: Site, pauses: list[float], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(remote_module, "REQUEST_BYTES", 16_000 if name == "a.parquet" else 2000)
    monkeypatch.setattr(remote_module, "LEAST_REQUEST_BYTES", 200)
    pack = containers().get("A.JSONL.GZ" if name == "a.jsonl.gz" else name, bytes)
    whole = table(tmp_path / name) if name == "a.parquet" else pack(jsonl(MANY))
    local = write(tmp_path / name, whole)
    site.files[name] = whole
    site.drop_after = 4000 if name == "a.parquet" else len(whole) // 5
    corpus = open_corpus([f"{site.url}/{name}"], batch_bytes=1000)
    assert rows_read(corpus) == rows_read(open_corpus([str(local)]))
    if name != "a.parquet":
        starts = [int(ranges[6:].partition("-")[0]) for ranges in site.gets() if ranges]
        assert starts == sorted(starts)
        assert starts[-1] >= len(whole) - site.drop_after
        # A new try begins with a look whether the file is still the same.
        tries = site.log[site.log.index(("GET", f"/{name}", None)) :]
        tried_at = {
            str(ranges).partition("-")[0]
            for (before, *_), (method, _, ranges) in pairwise(tries)
            if (before, method) == ("HEAD", "GET")
        }
        assert len(tried_at) > 1
        assert pauses.count(0.5) == len(tried_at)  # progress starts the pauses again
    else:
        assert pauses.count(0.5) >= 4


def test_a_broken_connection_of_unknown_length_is_resumed(site: Site, pauses: list[float]) -> None:
    site.chunked = True  # so that a break is noticed
    texts = ["x" * 1000] * 4000
    site.files["a.jsonl"] = jsonl(texts)
    site.drop_after = 1_200_000
    assert [text for _, _, text in rows_read(open_corpus([f"{site.url}/a.jsonl"]))] == texts
    starts = [int(ranges[6:-1]) for ranges in site.gets() if ranges]
    assert len(starts) >= 3
    assert starts == sorted(set(starts))


def test_a_server_that_never_gets_on(site: Site, pauses: list[float]) -> None:
    whole = jsonl(["x" * 1000] * 3000)
    site.files["a.jsonl"] = whole
    site.drop_after = 1_200_000

    def stop_after(site: Site, method: str) -> None:
        if len(site.gets()) == 2:
            site.drop_after = 0

    site.before = stop_after
    message = error_read(f"{site.url}/a.jsonl?signature=secret")
    told = re.fullmatch(rf"{site.url}/a\.jsonl: cannot be read after byte ([\d,]+) of ([\d,]+): .*", message)
    assert told is not None, message
    assert 0 < int(told[1].replace(",", "")) <= 1_200_000
    assert told[2] == f"{len(whole):,}"
    assert message.endswith("(7 tries)")
    assert "secret" not in message
    assert pauses == [0.5, 1, 2, 4, 8, 16]


def test_a_server_that_restarts(site: Site, pauses: list[float]) -> None:
    site.files["a.jsonl"] = jsonl(MANY)
    site.status, site.failures = 503, 4  # two for a look at it: HEAD, GET
    assert [text for _, _, text in rows_read(open_corpus([f"{site.url}/a.jsonl"]))] == MANY
    assert pauses == [0.5, 1]
    site.status, site.failures = 503, 10**9
    assert error_read(f"{site.url}/a.jsonl") == (
        f"{site.url}/a.jsonl: cannot be reached: HTTP 503 Service Unavailable (4 tries)"
    )


def test_a_server_without_ranges(tmp_path: Path, site: Site, pauses: list[float]) -> None:
    site.ranges = False
    whole = jsonl(MANY)
    site.files = {"a.jsonl": whole, "a.parquet": table(tmp_path / "a.parquet")}
    assert [text for _, _, text in rows_read(open_corpus([f"{site.url}/a.jsonl"]))] == MANY
    needs = "which parquet needs; download the file and give its path"
    assert error_read(f"{site.url}/a.parquet") == (
        f"{site.url}/a.parquet: the server sends no parts of a file, {needs}"
    )
    site.drop_after = 3000
    assert re.sub(r"after byte [\d,]+ of", "after byte N of", error_read(f"{site.url}/a.jsonl")) == (
        f"{site.url}/a.jsonl: cannot be read after byte N of {len(whole):,}: the connection broke, and "
        "the server sends no parts of a file, so the reading cannot go on where it stopped; start again, "
        "or download the file and give its path"
    )


@pytest.mark.parametrize("chunked", [True, False])
def test_a_server_that_does_not_tell_sizes(tmp_path: Path, site: Site, chunked: bool) -> None:
    site.length, site.chunked = False, chunked
    site.files = {"a.jsonl": jsonl(MANY), "b.jsonl.gz": containers()["A.JSONL.GZ"](jsonl(MANY))}
    site.files["a.parquet"] = table(tmp_path / "a.parquet")
    corpus = open_corpus([f"{site.url}/a.jsonl", f"{site.url}/b.jsonl.gz"], batch_bytes=1000)
    assert [text for _, _, text in rows_read(corpus)] == MANY * 2
    consumed = [batch.consumed for batch in corpus.batches()]
    assert consumed == sorted(consumed)
    assert consumed[-1] == sum(map(len, [site.files["a.jsonl"], site.files["b.jsonl.gz"]]))
    assert corpus.name.endswith("(0.0 MB and files whose server does not tell)")
    assert corpus.describe()["files"][0] == {  # type: ignore[index]
        "path": f"{site.url}/a.jsonl",
        "size": None,
        "version": "v1",
    }
    assert "does not tell its size, which parquet needs" in error_read(f"{site.url}/a.parquet")
    site.ranges, site.drop_after = False, len(site.files["b.jsonl.gz"]) // 2
    if chunked:
        # Where nothing arrived before the break, a new try from the start is no different.
        message = error_read(f"{site.url}/a.jsonl")
        assert ": the connection broke, and the server sends no parts" in message or "(7 tries)" in message
    else:  # nothing but the container tells that something is missing
        assert "cut off" in error_read(f"{site.url}/b.jsonl.gz")


def test_refusals(site: Site, pauses: list[float]) -> None:
    assert error_read(f"{site.url}/no.jsonl") == f"{site.url}/no.jsonl: no such file (HTTP 404)"
    site.files["a.jsonl"] = b""
    assert error_read(f"{site.url}/a.jsonl") == f"{site.url}/a.jsonl is empty"
    site.files["a.jsonl"] = jsonl(MANY)
    for status, phrase in ((401, "Unauthorized"), (403, "Forbidden"), (410, "Gone")):
        site.status = status
        assert error_read(f"{site.url}/a.jsonl") == f"{site.url}/a.jsonl: HTTP {status} {phrase}"
    site.status = None
    site.drop_after = 2000

    def expire(site: Site, method: str) -> None:
        site.status = 403 if len(site.gets()) > 3 else None

    site.log.clear()
    site.before = expire
    assert re.fullmatch(
        rf"{site.url}/a\.jsonl: cannot be read after byte [\d,]+ of [\d,]+: HTTP 403 Forbidden",
        error_read(f"{site.url}/a.jsonl"),
    )
    assert 1 <= len(pauses) <= 3
    port = site.url.rpartition(":")[2]
    site.before = None
    unreachable = error_read(f"http://127.0.0.1:{int(port) % 60000 + 1}/a.jsonl?key=secret")
    assert "cannot be reached" in unreachable
    assert unreachable.endswith("(4 tries)")
    assert "secret" not in unreachable


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
@pytest.mark.parametrize("tells", [True, False])
def test_a_file_that_changes(tmp_path: Path, site: Site, name: str, tells: bool) -> None:
    old, new = MANY, [*MANY, "one more"]
    whole, other = (
        (table(tmp_path / "1"), table(tmp_path / "2", new))
        if name == "a.parquet"
        else (jsonl(old), jsonl(new))
    )
    url = f"{site.url}/{name}"
    changed = f"{url}: changed since it was opened; start again"

    def restore() -> None:
        site.files[name], site.version, site.before = whole, "v1" if tells else None, None
        site.log.clear()

    def change() -> None:
        site.files[name] = other
        site.version = "v2" if tells else None

    restore()
    corpus = open_corpus([url], batch_bytes=1000)
    assert len(rows_read(corpus)) == len(MANY)
    change()
    with pytest.raises(InputError, match=re.escape(changed)):  # before a reading
        rows_read(corpus)
    restore()
    batches = corpus.batches()
    next(batches)
    change()
    with pytest.raises(InputError, match=re.escape(changed)):  # during one
        list(batches)
    for count in range(1, 4):  # at any request
        restore()
        corpus = open_corpus([url], batch_bytes=1000)
        site.log.clear()
        site.before = lambda site, _, count=count: change() if len(site.log) == count else None  # type: ignore
        with pytest.raises(InputError, match="changed since it was opened"):
            rows_read(corpus)


def test_a_file_of_the_same_size_that_changes_at_a_break(site: Site) -> None:
    site.files["a.jsonl"] = jsonl(MANY)
    site.drop_after = 3000

    def change(site: Site, method: str) -> None:
        site.version = "v2" if len(site.gets()) > 2 else "v1"

    site.before = change
    assert error_read(f"{site.url}/a.jsonl").endswith("changed since it was opened; start again")


def test_a_plan_knows_the_version(site: Site, tmp_path: Path) -> None:
    def plan() -> str:
        options = BuildOptions(
            scheme="bytes", output=tmp_path / "out", val_docs=1, inputs=(f"{site.url}/a.jsonl?t=secret",)
        )
        return make_plan(options).to_json()

    site.files["a.jsonl"] = jsonl(TEXTS)
    first = plan()
    assert first == plan()
    assert "secret" not in first
    site.version = "v2"
    assert plan() != first


def test_secrets_stay_out_of_names(site: Site, tmp_path: Path) -> None:
    site.password = "hunter2"
    site.files = {"a.jsonl": jsonl(TEXTS)}
    url = site.url.replace("//", "//me:hunter2@") + "/a.jsonl?X-Amz-Signature=5ecre7&x=%2F#part"
    corpus = open_corpus([url])
    assert [text for _, _, text in rows_read(corpus)] == TEXTS
    assert "X-Amz-Signature=5ecre7&x=%2F" in site.log[-1][1]  # as it was given
    shown = repr(corpus) + json.dumps(corpus.describe()) + corpus.name + repr(next(corpus.batches()).file)
    assert corpus.files[0].path == f"{site.url}/a.jsonl"
    for status in (403, 500):
        site.status = status
        shown += error_read(url)
    site.status = None
    shown += error_read(url, url) + error_read(url, f"{site.url}/a.jsonl?other")
    site.files["a.jsonl"] = b"[]\n"
    shown += error_read(url)
    site.files["a.jsonl"] = jsonl(TEXTS)
    result = tokenlab(
        "build", "--scheme", "bytes", "--input", url, "--val-docs", 2, "--output", tmp_path / "out"
    )
    assert result.returncode == 0, result.stderr
    shown += result.stdout + result.stderr + (tmp_path / "out" / "manifest.json").read_text()
    site.status = 404
    shown += refused(
        "build", "--scheme", "bytes", "--input", url, "--val-docs", 2, "--output", tmp_path / "2"
    )
    assert "hunter2" not in shown
    assert "5ecre7" not in shown


def test_public_names() -> None:
    for url, name in {
        "https://u:p@h:1/a.jsonl?sig=1#f": "https://h:1/a.jsonl",
        "HTTPS://h?sig=/@x": "https://h",
        "https://u:p/w@h/a.jsonl": "https://…",
        "https://u:p#w@h/a.jsonl": "https://…",
        "http://[::1]:80/a@b.jsonl": "http://[::1]:80/a@b.jsonl",
        "s3://b/part-?.jsonl": "s3://b/part-?.jsonl",
        "hf://datasets/a/b@main/c.parquet": "hf://datasets/a/b@main/c.parquet",
    }.items():
        assert public_name(url) == name
    text = "x https://u:p@h/a?s=1 and 's3://k:s@b/c' (https://h/(1)?q)"
    assert without_secrets(text) == "x https://h/a and 's3://b/c' (https://h/(1)"


def test_urls_that_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kinds = "unknown kind of file; known are .jsonl "
    assert error_read("https://host/a.csv?x=.jsonl").startswith(f"https://host/a.csv: {kinds}")
    assert error_read("file:///a.jsonl") == "file:///a.jsonl: give the path itself, without file://"
    assert "takes no user and password" in error_read("s3://key:secret@bucket/a.jsonl")
    assert "secret" not in error_read("s3://key:secret@bucket/a.jsonl")
    assert "chained with ::" in error_read("zip://a.jsonl::s3://b/c.zip?x=.jsonl")
    assert "Protocol not known: nope" in error_read("nope://host/a.jsonl")
    for extra, url, module in (("http", "https://h/a.jsonl", "aiohttp"), ("s3", "s3://b/a.jsonl", "s3fs")):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            if extra == "http":
                patch.delitem(sys.modules, "fsspec.implementations.http", raising=False)
            registry = sys.modules.get("fsspec.registry")
            if registry is not None:
                patch.setattr(registry, "_registry", {})
            assert error_read(url) == (
                f"{url}: reading {url.partition(':')[0]}:// needs a package; "
                f"pip install 'tokenlab-bpb[{extra}]'"
            )
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "fsspec", None)
        assert error_read("hf://datasets/a/b/c.jsonl").endswith("pip install 'tokenlab-bpb[hf]'")
        assert error_read("gs://b/c.jsonl").endswith("pip install gcsfs")
        local = write(tmp_path / "a.jsonl", jsonl(TEXTS))  # needs none
        assert len(rows_read(open_corpus([str(local)]))) == len(TEXTS)


def test_globs_of_http(site: Site) -> None:
    assert error_read(f"{site.url}/*.jsonl") == (
        f"{site.url}/*.jsonl: there is no list of files to match on http; name each file"
    )
    assert "write %20" in error_read(f"{site.url}/a b.jsonl")


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"])
def test_offline(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    advice = "forbids the network; unset it, or give local files to --input"
    for given, what in (
        ("fineweb", "HuggingFaceFW/fineweb"),
        ("hf://datasets/a/b/*.jsonl", "hf://datasets/a/b/*.jsonl"),
    ):
        assert error_read(given) == f"{what} is on the Hugging Face Hub, and {variable}=1 {advice}"


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    pytest.importorskip("s3fs")
    server_module = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> Iterator[Any]:
    import s3fs

    for name, value in (
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", s3_server),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem(skip_instance_cache=True)
    system.mkdir("bucket")
    yield system
    system.rm("bucket", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()


def test_s3_is_like_disk(tmp_path: Path, bucket: Any, blocks: None) -> None:
    for name in ("b10.jsonl", "b2.jsonl"):
        write(tmp_path / name, jsonl([name, *TEXTS]))
    write(tmp_path / "frames.jsonl.zst", containers()["frames.jsonl.zst"](jsonl(TEXTS)))
    parquet(tmp_path / "c.parquet", pa.array(TEXTS), row_group_size=3)
    for path in tmp_path.iterdir():
        bucket.pipe_file(f"bucket/sub/{path.name}", path.read_bytes())
    corpus = open_corpus(["s3://bucket/sub/b*.jsonl", "s3://bucket/sub/c.parquet", "s3://bucket/*/*.zst"])
    here = [str(tmp_path / name) for name in ("b10.jsonl", "b2.jsonl", "c.parquet", "frames.jsonl.zst")]
    assert rows_read(corpus) == rows_read(open_corpus(here))
    assert rows_read(corpus) == rows_read(open_corpus(here))
    names = [file.path for file in corpus.files]
    assert names == [f"s3://bucket/sub/{Path(path).name}" for path in here]
    assert all(file.version for file in corpus.files)


def test_s3_refusals(bucket: Any, pauses: list[float]) -> None:
    bucket.pipe_file("bucket/sub/a.jsonl", jsonl(MANY))
    assert error_read("s3://bucket/no.jsonl") == "s3://bucket/no.jsonl: no such file"
    assert error_read("s3://bucket/no*.jsonl") == "s3://bucket/no*.jsonl: no file matches"
    assert error_read("s3://nobucket/*.jsonl") == "s3://nobucket/*.jsonl: no file matches"
    assert error_read("s3://nobucket/a.jsonl") == "s3://nobucket/a.jsonl: no such file (HTTP 404)"
    assert error_read("s3://bucket/*/a.jsonl", "s3://bucket/sub/a.jsonl") == (
        "s3://bucket/sub/a.jsonl is given twice; give each file once"
    )
    assert pauses == []
    bucket.pipe_file("bucket/x.jsonl/a.jsonl", b"x")
    assert "s3://bucket/x.jsonl is a directory" in error_read("s3://bucket/x.jsonl")


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_an_object_that_changes(tmp_path: Path, bucket: Any, name: str) -> None:
    whole = table(tmp_path / name) if name == "a.parquet" else jsonl(MANY)
    bucket.pipe_file(f"bucket/{name}", whole)
    corpus = open_corpus([f"s3://bucket/{name}"], batch_bytes=100)
    batches = corpus.batches()
    next(batches)
    bucket.pipe_file(f"bucket/{name}", whole.replace(b"cat", b"dog"))
    with pytest.raises(InputError, match=f"s3://bucket/{name}: changed since it was opened"):
        list(batches)


def test_a_store_that_breaks(bucket: Any, monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    """Smaller and smaller requests, from where the reading stopped."""
    import s3fs

    bucket.pipe_file("bucket/a.jsonl", jsonl(MANY))
    monkeypatch.setattr(remote_module, "REQUEST_BYTES", 4096)
    monkeypatch.setattr(remote_module, "LEAST_REQUEST_BYTES", 100)
    fetch = s3fs.S3File._fetch_range
    asked: list[tuple[int, int]] = []

    def broken(self: Any, start: int, end: int) -> bytes:
        asked.append((start, end))
        if end - start > 1500 and start > 5000:
            raise ConnectionResetError("no")
        data: bytes = fetch(self, start, end)
        return data

    monkeypatch.setattr(s3fs.S3File, "_fetch_range", broken)
    assert [text for _, _, text in rows_read(open_corpus(["s3://bucket/a.jsonl"]))] == MANY
    assert asked[:5] == [(0, 4096), (4096, 8192), (8192, 12288), (8192, 10240), (8192, 9216)]
    assert pauses[:2] == [0.5, 1]


HUB = r"""
import json, sys
from tokenlab.corpus import open_corpus
from tokenlab.errors import InputError
seen = []
for given in sys.argv[1:]:
    try:
        corpus = open_corpus([given])
        texts = [t.decode() for b in corpus.batches() for t in b.documents.tobytes()]
        seen.append([corpus.describe()["files"], texts])
    except InputError as error:
        seen.append(str(error))
print(json.dumps(seen))
"""


def test_hf_is_like_disk(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against as much of the Hub as is needed, in a process of its own: its address is read at import."""
    pytest.importorskip("huggingface_hub")
    data = {"b.jsonl": jsonl(MANY), "a.parquet": table(tmp_path / "a.parquet")}
    api = "api/datasets/o/n"
    folder = [
        {"type": "file", "path": f"data/{name}", "oid": name * 4, "size": len(whole)}
        for name, whole in data.items()
    ]
    site.files[api] = site.files[f"{api}/revision/main"] = b'{"id": "o/n", "sha": "abc", "siblings": []}'
    site.files[f"{api}/tree/main"] = b'[{"type": "directory", "path": "data", "oid": "d", "size": 0}]'
    site.files[f"{api}/tree/main/data"] = json.dumps(folder).encode()
    for name, whole in data.items():
        site.files[f"datasets/o/n/resolve/main/data/{name}"] = whole
    monkeypatch.setenv("HF_ENDPOINT", site.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    root = "hf://datasets/o/n/data"
    given = [f"{root}/*", f"{root}/b.jsonl", f"{root}/no.jsonl", f"{root}/no*.jsonl"]
    run = [sys.executable, "-c", HUB, *given]
    result = subprocess.run(run, capture_output=True, text=True, timeout=60, check=True)
    both, one, missing, unmatched = json.loads(result.stdout)
    assert both[1] == MANY * 2
    assert [file["path"] for file in both[0]] == [f"{root}/a.parquet", f"{root}/b.jsonl"]
    assert [file["version"] for file in both[0]] == ["a.parquet" * 4, "b.jsonl" * 4]
    assert one[1] == MANY
    assert missing == f"{root}/no.jsonl: no such file"
    assert unmatched == f"{root}/no*.jsonl: no file matches"


def test_names_of_fineweb() -> None:
    assert parse_fineweb("fineweb") == ("sample-10BT", None)
    assert parse_fineweb("fineweb:CC-MAIN-2024-10") == ("CC-MAIN-2024-10", None)
    assert parse_fineweb("fineweb:a@v1@x") == ("a", "v1@x")
    assert parse_fineweb("fineweb@refs/pr/1") == ("sample-10BT", "refs/pr/1")
    for other in ("fineweb2", "./fineweb", "fineweb_orig.jsonl.zst", "Fineweb"):
        assert parse_fineweb(other) is None
    for bad in ("fineweb:", "fineweb@", "fineweb:a@", "fineweb:@b"):
        with pytest.raises(InputError, match="write fineweb:CONFIG@REVISION"):
            parse_fineweb(bad)
    assert "cannot be mixed with other inputs" in error_read("a.jsonl", "fineweb:x")


@pytest.fixture
def local_fineweb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> list[str | None]:
    """A dataset on disk with FineWeb's columns and configurations; the revisions asked for."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    repository = tmp_path / "fineweb"
    configs = {"sample-10BT": "sample/10BT", "CC-MAIN-2024-10": "data/CC-MAIN-2024-10"}
    for config, folder in configs.items():
        (repository / folder).mkdir(parents=True)
        for shard in range(3):
            texts = [f"{config} {shard} {text}" for text in MANY[:50]]
            columns = {"text": texts, "id": [f"<{i}>" for i in range(50)], "dump": ["CC-MAIN-2024-10"] * 50}
            columns |= {
                "url": ["u"] * 50,
                "date": ["d"] * 50,
                "file_path": ["s3"] * 50,
                "language": ["en"] * 50,
            }
            numbers = {"language_score": [0.9] * 50, "token_count": [7] * 50}
            pq.write_table(
                pa.table(columns | numbers),
                repository / folder / f"{shard:03}_00000.parquet",
                row_group_size=20,
            )
    entries = "".join(
        f"- config_name: {config}\n  data_files:\n  - split: train\n    path: {folder}/*\n"
        for config, folder in configs.items()
    )
    (repository / "README.md").write_text(f"---\nconfigs:\n{entries}---\n")
    asked: list[str | None] = []

    def find_commit(revision: str | None) -> str:
        asked.append(revision)
        return "c0ffee"

    monkeypatch.setattr(fineweb_module, "DATASET", str(repository))
    monkeypatch.setattr(fineweb_module, "find_commit", find_commit)
    return asked


def test_fineweb_through_datasets(local_fineweb: list[str | None]) -> None:
    corpus = open_corpus(["fineweb"])
    assert corpus.describe()["config"] == "sample-10BT"
    assert corpus.describe()["revision"] == "c0ffee"
    expected = [f"sample-10BT {shard} {text}" for shard in range(3) for text in MANY[:50]]
    assert [text for _, _, text in rows_read(corpus)] == expected
    assert [row for _, row, _ in rows_read(corpus)] == list(range(1, 151))
    corpus = open_corpus(["fineweb:CC-MAIN-2024-10@v1.0.0"], limit_docs=60)
    assert len(rows_read(corpus)) == 60
    assert corpus.describe()["config"] == "CC-MAIN-2024-10"
    assert local_fineweb == [None, "v1.0.0"]
    assert "there is no 'sample-11BT'; known are sample-10BT, " in error_read("fineweb:sample-11BT")


def test_fineweb_goes_on_after_a_break(
    local_fineweb: list[str | None], monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    import datasets

    whole = [text for _, _, text in rows_read(open_corpus(["fineweb"]))]
    read = datasets.IterableDataset.__iter__
    left = [3, 70, 1, 40]

    def breaking(self: Any) -> Iterator[Any]:
        last = left.pop() if left else 10**9
        for count, row in enumerate(read(self)):
            if count == last:
                raise ConnectionError("the line is dead")
            yield row

    monkeypatch.setattr(datasets.IterableDataset, "__iter__", breaking)
    assert [text for _, _, text in rows_read(open_corpus(["fineweb"], batch_bytes=100))] == whole
    assert pauses == [0.5, 0.5, 0.5, 0.5]
    pauses.clear()
    left[:] = [0] * 100 + [40]
    assert error_read("fineweb").endswith(
        "cannot be read after row 40: ConnectionError: the line is dead; "
        "check the network, or give files to --input"
    )
    assert pauses == [0.5, 1, 2, 4, 8, 16]
