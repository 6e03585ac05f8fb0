"""Readers: the same documents from every container, and one clear line for every bad input."""

from __future__ import annotations

import doctest
import gzip
import hashlib
import json
import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import tokenlab.corpus
from tests.command import ONE_THREAD
from tokenlab.corpus import (
    BadDocument,
    Corpus,
    CorpusDigest,
    DigestSet,
    bad_row,
    document_digests,
    open_corpus,
    parse_lines,
)
from tokenlab.corpus import documents as documents_module
from tokenlab.corpus import fineweb as fineweb_module
from tokenlab.corpus import lines as lines_module
from tokenlab.corpus import parquet as parquet_module
from tokenlab.corpus import retries as retries_module
from tokenlab.corpus import sources as sources_module
from tokenlab.corpus.documents import Flaw
from tokenlab.corpus.json_kernels import unescape
from tokenlab.corpus.lines import _parse_fast, parse_slowly
from tokenlab.errors import InputError
from tokenlab.ragged import Ragged

TEXTS = [
    "The cat",
    "",
    "two\u2028rows\u2029in\u0085one\x0b\x0c\x1c",
    "NUL \0 and \r\n and \ttab",
    'quotes " \\ / \\u0041',
    "é ▁ \ue001 \ufeff 😀 \U0010ffff",
    "x" * 300,
    "",
]
SKIP = "(or pass --on-bad-document skip)"


def jsonl(texts: Sequence[str], field: str = "text", ascii: bool = False) -> bytes:
    rows = [
        json.dumps({"id": i, field: text, "url": None}, ensure_ascii=ascii) for i, text in enumerate(texts)
    ]
    return "".join(row + "\n" for row in rows).encode()


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def parquet(path: Path, column: Any, **options: Any) -> Path:
    pq.write_table(pa.table({"id": pa.array(range(len(column))), "text": column}), path, **options)
    return path


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def rows_of(corpus: Corpus) -> list[tuple[str, int, str]]:
    """(file name, row, text) of every document; the same when who reads does not parse."""
    parsed = rows_read(corpus)
    bad = corpus.bad_documents
    assert _rows_of(parsed_elsewhere(corpus)) == parsed
    assert corpus.bad_documents == bad
    return parsed


def rows_read(corpus: Corpus) -> list[tuple[str, int, str]]:
    """(file name, row, text) of every document, read once."""
    return _rows_of((batch.file, batch.rows, batch.documents) for batch in corpus.batches())


Batch = tuple[str, NDArray[np.int64], Ragged]


def parsed_elsewhere(corpus: Corpus) -> Iterator[Batch]:
    for batch in corpus.row_batches():
        texts: Ragged | tuple[int, Flaw] = batch.contents
        if batch.json_field is not None:
            texts = parse_lines(batch.contents, batch.json_field)
        if not isinstance(texts, Ragged):
            raise bad_row(batch.file, int(batch.rows[texts[0]]), texts[1])
        yield batch.file, batch.rows, texts


def _rows_of(batches: Iterable[Batch]) -> list[tuple[str, int, str]]:
    found = []
    for file, rows, documents in batches:
        assert documents.values.dtype == np.uint8
        assert rows.dtype == np.int64
        assert len(documents) == len(rows) > 0
        texts = [text.decode() for text in documents.tobytes()]
        found += [(Path(file).name, row, text) for row, text in zip(rows.tolist(), texts, strict=True)]
    return found


def texts_of(*paths: Path, **options: Any) -> list[str]:
    return [text for _, _, text in rows_of(open_corpus([str(path) for path in paths], **options))]


def error_of(*inputs: Path | str, **options: Any) -> str:
    """The one line that a reading ends with, whoever parses."""
    parsed = error_read(*inputs, **options)
    with pytest.raises(InputError) as elsewhere:
        list(parsed_elsewhere(open_corpus([str(given) for given in inputs], **options)))
    assert str(elsewhere.value) == parsed
    return parsed


def error_read(*inputs: Path | str, **options: Any) -> str:
    """The one line that a reading ends with."""
    with pytest.raises(InputError) as caught:
        rows_read(open_corpus([str(given) for given in inputs], **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(params=[1 << 16, 7, 1])
def block_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", request.param)
    return int(request.param)


def containers() -> dict[str, Callable[[bytes], bytes]]:
    half = len(jsonl(TEXTS)) // 2
    skippable = b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"
    return {
        "a.jsonl": lambda data: data,
        "a.ndjson": lambda data: data.removesuffix(b"\n"),
        "crlf.jsonl": lambda data: data.replace(b"\n", b"\r\n"),
        "bom.jsonl": lambda data: b"\xef\xbb\xbf" + data,
        "A.JSONL.GZ": gzip.compress,
        "members.jsonl.gz": lambda data: gzip.compress(data[:half]) + gzip.compress(data[half:]),
        "padded.ndjson.gz": lambda data: gzip.compress(data) + bytes(512),
        "a.jsonl.zst": zstd,
        "frames.jsonl.zst": lambda data: zstd(data[:half]) + skippable + zstd(b"") + zstd(data[half:]),
        "bom.ndjson.zst": lambda data: zstd(b"\xef\xbb\xbf" + data),
    }


@pytest.mark.parametrize("name", containers())
@pytest.mark.parametrize("ascii", [False, True])
@pytest.mark.parametrize("batch_bytes", [1, 100, 1 << 22])
def test_jsonl(tmp_path: Path, block_bytes: int, name: str, ascii: bool, batch_bytes: int) -> None:
    path = write(tmp_path / name, containers()[name](jsonl(TEXTS, ascii=ascii)))
    corpus = open_corpus([str(path)], batch_bytes=batch_bytes)
    expected = [(name, row, text) for row, text in enumerate(TEXTS, 1)]
    assert rows_of(corpus) == expected
    assert rows_of(corpus) == expected  # and again


def test_zstd_of_a_long_window(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=30)
    data = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    path = write(tmp_path / "long.jsonl.zst", data.compress(jsonl(TEXTS)) + data.flush())
    assert zstandard.get_frame_parameters(path.read_bytes()).window_size == 1 << 30
    assert texts_of(path) == TEXTS


def dictionary(values: list[bytes | None], indices: list[int | None], kind: Any) -> Any:
    return pa.DictionaryArray.from_arrays(
        pa.array(indices, pa.int32()), pa.array(values, pa.binary()).cast(kind)
    )


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.dictionary(pa.int32(), pa.string())],
    ids=str,
)
@pytest.mark.parametrize("batch_bytes", [1, 100, 1 << 22])
def test_parquet(tmp_path: Path, kind: Any, batch_bytes: int) -> None:
    column = (
        pa.array(TEXTS).dictionary_encode()
        if pa.types.is_dictionary(kind)
        else pa.array([text.encode() for text in TEXTS], pa.binary()).cast(kind)
    )
    path = parquet(tmp_path / "a.parquet", column, row_group_size=3)
    assert pq.ParquetFile(path).metadata.num_row_groups == 3
    assert pq.ParquetFile(path).schema_arrow.field("text").type == kind
    corpus = open_corpus([str(path)], batch_bytes=batch_bytes)
    assert rows_of(corpus) == [("a.parquet", row, text) for row, text in enumerate(TEXTS, 1)]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.binary(), pa.string_view(), pa.binary_view()], ids=str
)
def test_a_slice_of_an_arrow_array(kind: Any) -> None:
    column = pa.array([text.encode() for text in TEXTS], pa.binary()).cast(kind)
    for start in range(len(TEXTS) + 1):
        text = parquet_module.text_of_column(parquet_module.flat(column.slice(start, 3)))
        assert [row.decode() for row in text.tobytes()] == TEXTS[start : start + 3]


def test_parquet_that_holds_more_than_its_footer_tells(tmp_path: Path) -> None:
    """A dictionary counts once in the footer; the batches are cut by the text all the same."""
    column = dictionary([b"x" * 1000, b"y"], [0, 1, 0, 0] * 500, pa.string())
    batches = list(open_corpus([str(parquet(tmp_path / "a.parquet", column))], batch_bytes=5000).batches())
    assert max(len(batch.documents.values) for batch in batches) <= 5000
    assert sum(len(batch.documents) for batch in batches) == 2000
    assert np.concatenate([batch.rows for batch in batches]).tolist() == list(range(1, 2001))


def test_parquet_column_with_a_dot(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [{"b": "no"}], "a.c": ["yes"]}), tmp_path / "a.parquet")
    assert texts_of(tmp_path / "a.parquet", text_field="a.c") == ["yes"]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.txt.zst"])
def test_txt_is_one_document_byte_for_byte(tmp_path: Path, block_bytes: int, name: str) -> None:
    text = "\ufefffirst\r\n\r\n" + "".join(TEXTS)
    pack: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstd}
    data = text.encode()
    path = write(tmp_path / name, pack.get(Path(name).suffix, bytes)(data))
    assert rows_of(open_corpus([str(path)], batch_bytes=1)) == [(name, 1, text)]


texts = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(texts, st.booleans(), st.integers(1, 80), st.integers(1, 80))
def test_any_documents(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], ascii: bool, batch_bytes: int, block: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    plain = write(folder / "a.jsonl", jsonl(texts, ascii=ascii))
    packed = write(folder / "b.jsonl.zst", zstd(plain.read_bytes()))
    table = parquet(folder / "c.parquet", pa.array(texts), row_group_size=max(1, block // 8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "BLOCK_BYTES", block)
        assert texts_of(plain, packed, table, batch_bytes=batch_bytes) == texts * 3


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for its memory")
@pytest.mark.parametrize("rows_of_group", [500, 100_000])
def test_memory_is_not_that_of_the_file(tmp_path: Path, rows_of_group: int) -> None:
    """However many row groups there are, and however large one is."""
    noise = np.random.default_rng(0).integers(32, 127, 80_000_000, np.uint8).tobytes().decode()
    texts = [noise[at : at + 4_000] for at in range(0, len(noise), 4_000)]
    path = parquet(
        tmp_path / "a.parquet", pa.array(texts), row_group_size=rows_of_group, use_dictionary=False
    )
    assert path.stat().st_size > 60_000_000
    program = (
        f"import re, sys\n{ONE_THREAD}"
        "import pyarrow.parquet\n"
        "from tokenlab.corpus import open_corpus\n"
        "def peak(): return int(re.search('VmHWM:(.*)kB', open('/proc/self/status').read())[1]) << 10\n"
        "before = peak()\n"
        "documents = sum(len(batch.documents) for batch in open_corpus(sys.argv[1:]).batches())\n"
        "print(documents, peak() - before, pyarrow.default_memory_pool().backend_name)\n"
    )
    result = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True)
    documents, grown, pool = result.stdout.split()
    assert documents == "20000", result.stderr
    assert int(grown) < 80_000_000
    assert pool == os.environ.get("ARROW_DEFAULT_MEMORY_POOL", "system"), "where freed memory is kept"


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(["text", "id", "é"])
    return st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3)


leaves = st.none() | st.booleans() | st.integers() | st.text()


@settings(max_examples=200, deadline=None)
@given(st.recursive(leaves, nested, max_leaves=6))
def test_the_fast_parser_takes_what_the_slow_one_takes(value: Any) -> None:
    line = json.dumps(value).encode()
    slow = parse_slowly(line, "text")
    fast = _parse_fast(Ragged.from_bytes([line]), "text")
    assert (fast is not None) == isinstance(slow, bytes)
    if fast is not None:
        assert fast.tobytes() == [slow]


odd_strings = st.text(
    st.sampled_from('a"\\/\b\f\n\r\tué€\u2028\ud800\udc00\udfff\U0001f600\U0010ffff') | st.characters()
)


@settings(max_examples=300, deadline=None)
@given(st.lists(odd_strings, max_size=5), st.booleans())
def test_strings_are_unescaped_as_json_does(texts: list[str], ascii_only: bool) -> None:
    """The kernel on strings back to back: right where UTF-8 can hold them, else refused."""
    raws = [json.dumps(text, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass") for text in texts]
    strings = Ragged.from_bytes(raws)
    values, offsets, good = unescape(strings.values, strings.offsets)
    # Halves of a pair that were written as two escapes are one character to every JSON reader.
    read = [json.loads(raw.decode("utf-8", "surrogatepass")) for raw in raws]
    assert good == all(not any(0xD800 <= ord(c) < 0xE000 for c in text) for text in read)
    if good:
        assert Ragged(values, offsets).tobytes() == [text.encode() for text in read]


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=8).filter(lambda b: b'"' not in b and b"\\" not in b and min(b, default=32) >= 32))
def test_bytes_that_are_not_utf8_are_refused(inside: bytes) -> None:
    strings = Ragged.from_bytes([b'"ok"', b'"' + inside + b'"'])
    values, offsets, good = unescape(strings.values, strings.offsets)
    try:
        expected = inside.decode().encode()
    except UnicodeDecodeError:
        assert not good
    else:
        assert good
        assert Ragged(values, offsets).tobytes() == [b"ok", expected]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.binary(max_size=6) | st.text(max_size=4).map(lambda t: t.encode("utf-8", "surrogatepass")))
)
def test_parquet_finds_the_rows_that_are_not_utf8(rows: list[bytes]) -> None:
    column = parquet_module.flat(pa.array(rows, pa.binary()))
    flaws = [parquet_module.flaw_of(np.frombuffer(row, np.uint8), False) for row in rows]
    assert parquet_module.is_sound(column) == (not any(flaws))


def test_blank_lines_count_as_rows(tmp_path: Path, block_bytes: int) -> None:
    path = write(tmp_path / "a.jsonl", b'\n \t\r\n{"text": "a"}\n\n\n{"text": "b"}')
    assert rows_of(open_corpus([str(path)])) == [("a.jsonl", 3, "a"), ("a.jsonl", 6, "b")]


def test_batches_do_not_mix_files_and_tell_progress(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", jsonl(["x" * 50] * 40))
    b = parquet(tmp_path / "b.parquet", pa.array(["y" * 50] * 40))
    c = write(tmp_path / "c.txt", b"z" * 99)
    corpus = open_corpus([str(b), str(a), str(c)], batch_bytes=500)
    batches = list(corpus.batches())
    names = [Path(batch.file).name for batch in batches]
    assert names == sorted(names, key=["b.parquet", "a.jsonl", "c.txt"].index)
    assert names.count("a.jsonl") >= 4
    assert all(len(batch.documents.values) <= 500 for batch in batches)
    consumed = [batch.consumed for batch in batches]
    assert consumed == sorted(consumed)
    assert consumed[names.index("a.jsonl") - 1] == b.stat().st_size
    assert consumed[-1] == sum(file.size for file in corpus.files)


@pytest.mark.parametrize("limit", range(1, 12))
@pytest.mark.parametrize("batch_bytes", [1, 10, 1 << 22])
def test_limit_docs_counts_good_documents_over_all_files(
    tmp_path: Path, limit: int, batch_bytes: int
) -> None:
    """And nothing behind the last one is judged, whatever the batches."""
    a = write(tmp_path / "a.jsonl", jsonl(["aaa", "bbb"]) + b"{}\n" + jsonl(["ccc", "ddd"]) + b"[]\n")
    b = parquet(tmp_path / "b.parquet", pa.array(["eee", None, "fff", None]))
    c = write(tmp_path / "c.txt", b"\xff")
    d = write(tmp_path / "d.txt", b"ggg")
    order = [("aaa", 0), ("bbb", 0), ("ccc", 1), ("ddd", 1), ("eee", 2), ("fff", 3), ("ggg", 5)]
    options: dict[str, Any] = {"limit_docs": limit, "batch_bytes": batch_bytes}
    corpus = open_corpus([str(p) for p in (a, b, c, d)], on_bad_document="skip", **options)
    assert [text for _, _, text in rows_of(corpus)] == [text for text, _ in order[:limit]]
    assert len(corpus.bad_documents) == order[min(limit, len(order)) - 1][1]
    if limit <= 2:
        assert texts_of(a, b, c, d, **options) == [text for text, _ in order[:limit]]
    else:
        assert error_of(a, b, c, d, **options).startswith(f"{a}: row 3: ")


def test_a_limit_ends_the_reading(tmp_path: Path) -> None:
    """A file behind the limit may be broken, and so may the rest of the one that it falls into."""
    a = write(tmp_path / "a.jsonl.zst", zstd(jsonl(["a", "b"])) + b"garbage!")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "BLOCK_BYTES", 1)
        assert texts_of(a, limit_docs=2) == ["a", "b"]
    b = write(tmp_path / "b.parquet", b"not parquet")
    assert texts_of(write(tmp_path / "c.jsonl", jsonl(["c"])), b, limit_docs=1) == ["c"]


def test_skip_lists_what_it_skips(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", b'{"text": "a"}\n{"text": null}\n\nnope\n{"text": "b"}\n')
    b = parquet(tmp_path / "b.parquet", pa.array([None, b"c", b"\xff", b"d", b"ab\xc3"], pa.binary()))
    corpus = open_corpus([str(a), str(b)], on_bad_document="skip")
    expected = [("a.jsonl", 1, "a"), ("a.jsonl", 5, "b"), ("b.parquet", 2, "c"), ("b.parquet", 4, "d")]
    bad = [
        BadDocument(str(a), 2, "field 'text' is null, not a string"),
        BadDocument(str(a), 4, "invalid JSON: Expecting value at column 1"),
        BadDocument(str(b), 1, "the text is null, not a string"),
        BadDocument(str(b), 3, "invalid UTF-8 at byte 1"),
        BadDocument(str(b), 5, "invalid UTF-8 at byte 3"),
    ]
    for _ in range(2):  # a new reading starts a new list
        assert rows_of(corpus) == expected
        assert corpus.bad_documents == bad
    earlier = corpus.bad_documents
    corpus.batches()
    assert corpus.bad_documents == []
    assert earlier == bad


def test_a_file_of_nothing_but_flaws(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", b"[]\n" * 5000)
    corpus = open_corpus([str(path)], on_bad_document="skip")
    assert rows_of(corpus) == []
    assert len(corpus.bad_documents) == 5000
    assert error_of(path) == f"{path}: row 1: not an object but an array {SKIP}"


BAD_LINES: dict[str, tuple[bytes, str]] = {
    "json": (
        b'{"text": "a",}',
        "invalid JSON: Expecting property name enclosed in double quotes at column 14",
    ),
    "cut": (b'{"text": "a', "invalid JSON: Unterminated string starting at column 10"),
    "control": (b'{"text": "a\x01"}', "invalid JSON: Invalid control character at column 12"),
    "escape": (b'{"text": "\\q"}', "invalid JSON: Invalid \\escape at column 11"),
    "extra": (b'{"text": "a"} {"text": "b"}', "invalid JSON: Extra data at column 15"),
    "deep": (b'{"id": ' + b"[" * 100_000, "invalid JSON: nested too deeply"),
    "array": (b'["a"]', "not an object but an array"),
    "string": (b'"a"', "not an object but a string"),
    "null": (b'{"text": null}', "field 'text' is null, not a string"),
    "int": (b'{"text": 7}', "field 'text' is int, not a string"),
    "long int": (b'{"text": ' + b"7" * 5000 + b"}", "field 'text' is int, not a string"),
    "float": (b'{"text": 7.5}', "field 'text' is float, not a string"),
    "bool": (b'{"text": true}', "field 'text' is bool, not a string"),
    "object": (b'{"text": {"text": "a"}}', "field 'text' is an object, not a string"),
    "missing": (
        b'{"id": 1, "url": "u"}',
        "no field 'text' (fields: id, url); name the right one with --text-field",
    ),
    "odd names": (
        b'{"a\\nb": 1, "\\ud800": 2}',
        "no field 'text' (fields: 'a\\nb', '\\ud800'); name the right one with --text-field",
    ),
    "many names": (
        json.dumps({f"f{i}": i for i in range(20)}).encode(),
        "no field 'text' (fields: f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, …); "
        "name the right one with --text-field",
    ),
    "empty": (b"{}", "no field 'text' (fields: none); name the right one with --text-field"),
    "surrogate": (b'{"text": "ab\\ud800c"}', "lone surrogate U+D800 at character 3"),
    "low": (b'{"text": "\\ud83d\\ude00\\udfff"}', "lone surrogate U+DFFF at character 2"),
    "pairless": (b'{"text": "\\ud800\\ud800"}', "lone surrogate U+D800 at character 1"),
    "utf8": (b'{"text": "a\xff"}', "invalid UTF-8 at byte 12"),
    "overlong": (b'{"text": "\xc0\x80"}', "invalid UTF-8 at byte 11"),
    "cesu": (b'{"text": "\xed\xa0\x80"}', "invalid UTF-8 at byte 11"),
    "bom": (
        b'\xef\xbb\xbf{"text": "a"}',
        "invalid JSON: Unexpected UTF-8 BOM (decode using utf-8-sig) at column 1",
    ),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_bad_line(tmp_path: Path, name: str) -> None:
    line, reason = BAD_LINES[name]
    path = write(tmp_path / "a.jsonl", jsonl(TEXTS[:6]) + line + b"\n" + jsonl(["last"]))
    assert error_of(path) == f"{path}: row 7: {reason} {SKIP}"
    corpus = open_corpus([str(path)], on_bad_document="skip")
    assert [text for _, _, text in rows_of(corpus)] == [*TEXTS[:6], "last"]
    assert corpus.bad_documents == [BadDocument(str(path), 7, reason)]


@pytest.mark.parametrize(
    "line",
    [
        b'{"score": NaN, "text": "a"}',
        b'{"id": "\\ud800", "text": "a"}',
        b'{"id": "\xff", "text": "a"}',
        b'{"id": ' + b"7" * 5000 + b', "text": "a"}',
        b'{"te\\u0078t": "\\u0061"}',
        b'\t{"text" : "a"} \r',
    ],
)
def test_what_is_wrong_elsewhere_does_not_matter(tmp_path: Path, line: bytes) -> None:
    assert texts_of(write(tmp_path / "a.jsonl", line)) == ["a"]


@pytest.mark.parametrize("field", ["content", "é", 'a"b', "a\\b", "a\nb", "a.b"])
def test_text_field(tmp_path: Path, field: str) -> None:
    path = write(tmp_path / "a.jsonl", jsonl(TEXTS, field) + b"{}")
    corpus = open_corpus([str(path)], text_field=field, on_bad_document="skip")
    assert [text for _, _, text in rows_of(corpus)] == TEXTS
    assert corpus.bad_documents[0].reason.startswith(f"no field {field!r} (fields: none)")


def test_bad_txt(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", b"abc\xe2\x82")
    assert error_of(path) == f"{path}: row 1: invalid UTF-8 at byte 4 {SKIP}"
    corpus = open_corpus([str(path)], on_bad_document="skip")
    assert rows_of(corpus) == []
    assert len(corpus.bad_documents) == 1


@pytest.mark.parametrize("kind", ["string", "binary", "dictionary"])
@pytest.mark.parametrize("batch_bytes", [1, 1 << 22])
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"ab\xff", "invalid UTF-8 at byte 3"),
        (b"\x82\xac", "invalid UTF-8 at byte 1"),  # the rest of the row before
        (b"\xed\xa0\x80", "invalid UTF-8 at byte 1"),
        (None, "the text is null, not a string"),
    ],
)
def test_bad_parquet_row(tmp_path: Path, kind: str, batch_bytes: int, bad: bytes | None, reason: str) -> None:
    rows: list[bytes | None] = [b"a", b"", b"c", bad, b"e"]
    raw = pa.array(rows, pa.binary())
    column = {
        "binary": raw,
        "string": pa.StringArray.from_buffers(5, *raw.buffers()[1:], raw.buffers()[0]),
        "dictionary": dictionary(
            [b"a", b"", b"c", bad or b"unused", b"e"], [0, 1, 2, 3 if bad else None, 4], pa.binary()
        ),
    }[kind]
    path = parquet(tmp_path / "a.parquet", column)
    assert error_of(path, batch_bytes=batch_bytes) == f"{path}: row 4: {reason} {SKIP}"
    corpus = open_corpus([str(path)], batch_bytes=batch_bytes, on_bad_document="skip")
    assert [(row, text) for _, row, text in rows_of(corpus)] == [(1, "a"), (2, ""), (3, "c"), (5, "e")]
    assert corpus.bad_documents == [BadDocument(str(path), 4, reason)]


def test_a_character_cut_in_two_by_rows(tmp_path: Path) -> None:
    """The column as a whole is UTF-8; neither row is."""
    path = parquet(tmp_path / "a.parquet", pa.array([b"\xe2", b"\x82\xac"], pa.binary()))
    corpus = open_corpus([str(path)], on_bad_document="skip")
    assert rows_of(corpus) == []
    assert [bad.row for bad in corpus.bad_documents] == [1, 2]


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "a.txt", "a.txt.zst"])
def test_too_long(tmp_path: Path, block_bytes: int, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for module in (documents_module, lines_module, parquet_module):
        monkeypatch.setattr(module, "MAX_DOCUMENT_BYTES", 10)
    good, long = "é" * 5, "é" * 5 + "x"
    reason = "11 bytes of UTF-8, more than the 10 that a document may have"
    path = tmp_path / name
    if name.startswith("a.txt"):
        pack: Callable[[bytes], bytes] = zstd if name.endswith("zst") else bytes
        assert texts_of(write(path, pack(good.encode()))) == [good]
        write(path, pack(long.encode()))
        assert error_of(path) == f"{path}: row 1: {reason} {SKIP}"
    else:
        if name == "a.jsonl":
            write(path, jsonl([good, long, good]))
        else:
            parquet(path, pa.array([good, long, good]))
        assert error_of(path) == f"{path}: row 2: {reason} {SKIP}"
        assert texts_of(path, on_bad_document="skip") == [good, good]


@pytest.mark.parametrize("suffix", ["gz", "zst"])
@pytest.mark.parametrize("on_bad_document", ["stop", "skip"])
def test_corrupt_container(tmp_path: Path, block_bytes: int, suffix: str, on_bad_document: Any) -> None:
    pack, kind = {"gz": (gzip.compress, "gzip"), "zst": (zstd, "zstd")}[suffix]
    whole = pack(jsonl(TEXTS))
    path = tmp_path / f"a.jsonl.{suffix}"

    def message(data: bytes) -> str:
        return error_of(write(path, data), on_bad_document=on_bad_document)

    for cut in (whole[:3], whole[:-1], whole[: len(whole) // 2], whole + whole[:4]):
        assert message(cut) == f"{path}: the {kind} data is cut off; fetch or compress the file again"
    for corrupt in (b"plain text", whole + b"garbage", jsonl(TEXTS)):
        assert message(corrupt).startswith(f"{path}: not valid {kind}: ")


def test_every_cut_of_a_compressed_file_is_noticed(tmp_path: Path) -> None:
    for suffix, pack in (("gz", gzip.compress), ("zst", zstd)):
        whole = pack(jsonl(["some text that is long enough to be split, " * 20, "b"]))
        for end in range(1, len(whole)):
            path = write(tmp_path / f"a.jsonl.{suffix}", whole[:end])
            assert "cut off" in error_of(path, on_bad_document="skip")


def test_bad_parquet_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", b"PAR1 or so")
    assert error_of(path).startswith(f"{path}: not a parquet file: ")
    whole = parquet(path, pa.array(TEXTS * 100), compression="NONE").read_bytes()
    write(path, whole[:-20])
    assert error_of(path).startswith(f"{path}: not a parquet file: ")
    table = pq.ParquetFile(write(tmp_path / "whole.parquet", whole))
    start = table.metadata.row_group(0).column(1).data_page_offset
    path.write_bytes(whole[:start] + b"\xff" * 40 + whole[start + 40 :])
    assert error_of(path, on_bad_document="skip").startswith(f"{path}: corrupt after row 0: ")
    parquet(path, pa.array(TEXTS))
    assert (
        error_of(path, text_field="body")
        == f"{path}: no column 'body' (columns: id, text); name the right one with --text-field"
    )
    assert (
        error_of(path, text_field="id")
        == f"{path}: column 'id' is int64, not text; name the right one with --text-field"
    )


def test_parquet_checksums_are_checked(tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "a.parquet", pa.array(["a needle"]), write_page_checksum=True, compression="NONE"
    )
    write(path, path.read_bytes().replace(b"a needle", b"a noodle", 1))
    assert error_of(path).startswith(f"{path}: corrupt after row 0: ")


def test_parquet_with_a_column_name_that_is_no_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "misnomer": ["b"]}), tmp_path / "a.parquet", store_schema=False)
    path = write(
        tmp_path / "b.parquet", (tmp_path / "a.parquet").read_bytes().replace(b"misnomer", b"m\xffsnomer")
    )
    assert error_of(path).startswith(f"{path}: not a parquet file: ")


def test_empty_files(tmp_path: Path) -> None:
    good = write(tmp_path / "good.jsonl", jsonl(["a"]))
    for name, data in {
        "a.jsonl": b"",
        "b.jsonl": b"\n \n\n",
        "c.jsonl.zst": zstd(b""),
        "d.txt": b"",
        "e.txt.gz": gzip.compress(b""),
        "f.jsonl": b"\xef\xbb\xbf",
    }.items():
        path = write(tmp_path / name, data)
        assert error_of(good, path, on_bad_document="skip") == f"{path} is empty"
    path = parquet(tmp_path / "g.parquet", pa.array([], pa.string()))
    assert error_of(path) == f"{path} is empty"


def test_a_file_that_vanishes_or_changes(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.parquet"):
        path = tmp_path / name
        write(path, jsonl(TEXTS)) if name == "a.jsonl" else parquet(path, pa.array(TEXTS))
        corpus = open_corpus([str(path)])
        rows_of(corpus)
        os.utime(path, ns=(0, 0))
        with pytest.raises(InputError) as caught:
            rows_of(corpus)
        assert str(caught.value) == f"{path}: changed since it was opened; start again"
        path.unlink()
        with pytest.raises(InputError) as caught:
            rows_of(corpus)
        assert str(caught.value) == f"{path}: cannot be read: No such file or directory"


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", jsonl(["a", "b"]))
    batches = open_corpus([str(path)], batch_bytes=1).batches()
    next(batches)
    path.write_bytes(path.read_bytes() + jsonl(["c"]))
    with pytest.raises(InputError, match="changed since it was opened"):
        list(batches)


def test_a_read_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __enter__(self) -> Broken:
            return self

        def __exit__(self, *_: object) -> None: ...

        def read(self, size: int) -> bytes:
            raise OSError(5, "Input/output error")

        def tell(self) -> int:
            return 0

    path = write(tmp_path / "a.jsonl.zst", zstd(jsonl(TEXTS)))
    monkeypatch.setattr(lines_module, "open", lambda *_, **__: Broken(), raising=False)
    assert error_of(path) == f"{path}: cannot be read: Input/output error"


def test_order_is_as_given_and_globs_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    for name in ("b10.jsonl", "b2.jsonl", "a.txt", "sub/d.jsonl", "sub/deep/c.jsonl", "odd[1].jsonl"):
        write(tmp_path / name, jsonl([name]) if name.endswith("jsonl") else name.encode())

    def files(*inputs: str) -> list[str]:
        return [text for _, _, text in rows_of(open_corpus(inputs))]

    assert files("b2.jsonl", "a.txt", "b1*.jsonl") == ["b2.jsonl", "a.txt", "b10.jsonl"]
    assert files("a.txt", "b*.jsonl") == ["a.txt", "b10.jsonl", "b2.jsonl"]
    assert files("sub/**/*.jsonl") == ["sub/d.jsonl", "sub/deep/c.jsonl"]
    assert files("sub/**") == ["sub/d.jsonl", "sub/deep/c.jsonl"]
    assert files("odd[1].jsonl") == ["odd[1].jsonl"]
    assert files("[ab].txt") == ["a.txt"]
    kinds = " ".join(sources_module.READERS)
    assert error_of("nothing*.jsonl") == "nothing*.jsonl: no file matches"
    assert error_of("no.jsonl") == "no.jsonl: no such file"
    assert error_of("sub/e.jsonl") == "sub/e.jsonl: no such file; there is sub/d.jsonl"
    assert error_of("b10.json") == "b10.json: no such file; there is b10.jsonl"
    assert error_of("sbu/d.jsonl") == "sbu/d.jsonl: no such file; there is no folder sbu"
    for name in ("finweb", "FineWeb:sample-10BT", "HuggingFaceFW/fineweb"):
        assert error_of(name) == f"{name}: no such file; the dataset is called fineweb"
    assert error_of("fineweb.csv") == f"fineweb.csv: no such file (kinds of file: {kinds})"
    assert error_of("sub") == "sub is a directory; give a glob, such as 'sub/*.jsonl'"
    assert error_of("a.txt", "./a.txt") == "./a.txt is given twice (first as a.txt); give each file once"
    assert error_of("a.txt", "*.txt") == "a.txt is given twice; give each file once"
    (tmp_path / "link.txt").symlink_to("a.txt")
    assert "given twice" in error_of("a.txt", "link.txt")
    (tmp_path / "gone.txt").symlink_to("nowhere")
    assert error_of("gone.txt") == "gone.txt: cannot be read: No such file or directory"
    for name in ("a.json", "a.csv", "a.jsonl.xz", "a.parquet.gz", "README"):
        write(tmp_path / name, b"x")
        assert error_of(name) == f"{name}: unknown kind of file; known are {kinds}"
    write(tmp_path / "two\nlines.jsonl", b"")
    assert error_of("two\nlines.jsonl") == "'two\\nlines.jsonl' is empty"
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert error_of("pipe.jsonl") == "pipe.jsonl: not a regular file; a corpus is read more than once"


def test_options() -> None:
    with pytest.raises(InputError, match="no input"):
        open_corpus([])
    with pytest.raises(InputError, match="--text-field is empty"):
        open_corpus(None, text_field="")
    with pytest.raises(InputError, match="--limit-docs is 0"):
        open_corpus(None, limit_docs=0)
    with pytest.raises(InputError, match="--on-bad-document is 'ignore'"):
        open_corpus(None, on_bad_document="ignore")  # type: ignore[arg-type]


def test_describe(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", jsonl(TEXTS))
    corpus = open_corpus([str(path)], limit_docs=3)
    assert corpus.describe() == {
        "kind": "files",
        "files": [{"path": str(path), "size": path.stat().st_size}],
        "text_field": "text",
        "limit_docs": 3,
        "on_bad_document": "stop",
    }
    json.dumps(corpus.describe())
    assert corpus.files[0].mtime_ns == path.stat().st_mtime_ns
    assert corpus.name == f"{path} (0.0 MB)"
    other = write(tmp_path / "b.jsonl", jsonl(TEXTS))
    assert open_corpus([str(path), str(other)]).name == f"2 files, {path} … {other} (0.0 MB)"


def test_embedded() -> None:
    from pydoc_data.topics import topics

    corpus = open_corpus(None, batch_bytes=10_000)
    found = rows_of(corpus)
    assert [text for _, _, text in found] == [topics[topic] for topic in sorted(topics)]
    assert [row for _, row, _ in found] == list(range(1, len(topics) + 1))
    python = ".".join(map(str, sys.version_info[:3]))
    assert python in corpus.name
    assert corpus.files == ()
    assert corpus.describe()["python"] == python
    assert len(rows_of(open_corpus(None, limit_docs=5))) == 5
    assert doctest.testmod(tokenlab.corpus).failed == 0


class Rows:
    """Rows as `datasets` streams them."""

    def __init__(self, rows: Callable[[], Iterable[dict[str, object]]], start: int = 0) -> None:
        self._rows, self._start = rows, start

    def __iter__(self) -> Iterator[dict[str, object]]:
        return islice(iter(self._rows()), self._start, None)

    def skip(self, n: int) -> Rows:
        return Rows(self._rows, self._start + n)


def fineweb(monkeypatch: pytest.MonkeyPatch, rows: Callable[[], Iterable[Any]], **options: Any) -> Corpus:
    monkeypatch.setitem(sys.modules, "datasets", types.ModuleType("datasets"))
    monkeypatch.setattr(retries_module, "PAUSES", ())
    monkeypatch.setattr(fineweb_module, "PAUSES", ())
    monkeypatch.setattr(fineweb_module, "load_fineweb", lambda *_: (Rows(rows), "9bb295d"))
    return open_corpus(["fineweb"], **options)


def test_fineweb(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[dict[str, object]] = [{"text": text, "id": i} for i, text in enumerate(TEXTS)]
    corpus = fineweb(monkeypatch, lambda: rows, batch_bytes=10)
    assert [text for _, _, text in rows_of(corpus)] == TEXTS
    assert [text for _, _, text in rows_of(corpus)] == TEXTS
    assert corpus.describe() == {
        "kind": "fineweb",
        "dataset": "HuggingFaceFW/fineweb",
        "config": "sample-10BT",
        "revision": "9bb295d",
        "files": [],
        "text_field": "text",
        "limit_docs": None,
        "on_bad_document": "stop",
    }
    rows[2]["text"] = "a\ud800"
    del rows[3]["text"]
    with pytest.raises(InputError) as caught:
        rows_of(corpus)
    reason = "lone surrogate U+D800 at character 2"
    assert str(caught.value) == f"HuggingFaceFW/fineweb: row 3: {reason} {SKIP}"
    corpus = fineweb(monkeypatch, lambda: rows, on_bad_document="skip")
    assert len(rows_of(corpus)) == len(TEXTS) - 2
    assert [bad.row for bad in corpus.bad_documents] == [3, 4]


def test_fineweb_takes_no_more_rows_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows() -> Iterator[dict[str, object]]:
        yield {"text": "a"}
        yield {"text": "b"}
        raise AssertionError("a third row was read")

    assert len(rows_of(fineweb(monkeypatch, rows, limit_docs=2))) == 2


def test_fineweb_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows() -> Iterator[dict[str, object]]:
        yield {"text": "a"}
        raise ConnectionError("the line\nis dead")

    advice = "check the network, or give files to --input"
    with pytest.raises(InputError) as caught:
        rows_of(fineweb(monkeypatch, rows))
    assert str(caught.value) == (
        f"HuggingFaceFW/fineweb: cannot be read after row 1: ConnectionError: the line; {advice}"
    )

    def unreachable(*_: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(fineweb_module, "load_fineweb", unreachable)
    with pytest.raises(InputError, match="cannot be read at the start: OSError: no route; check the network"):
        open_corpus(["fineweb"])


def test_fineweb_without_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install 'tokenlab-bpb\[fineweb\]'"):
        open_corpus(["fineweb"])


def test_a_file_called_fineweb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fineweb").mkdir()
    assert error_of("./fineweb") == "./fineweb is a directory; give a glob, such as './fineweb/*.jsonl'"
    assert "a file of that name is ./fineweb" in error_of("fineweb", "a.jsonl")


def test_digests_do_not_depend_on_the_container(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl.zst", zstd(jsonl(TEXTS)))
    b = parquet(tmp_path / "b.parquet", pa.array(TEXTS))
    each = [hashlib.sha256(text.encode()).digest() for text in TEXTS]
    for path in (a, b):
        for batch_bytes in (1, 10, 1 << 22):
            digest = CorpusDigest()
            for batch in open_corpus([str(path)], batch_bytes=batch_bytes).batches():
                digest.update(document_digests(batch.documents))
            assert digest.hexdigest() == hashlib.sha256(b"".join(each)).hexdigest()
    digests = document_digests(Ragged.from_bytes([text.encode() for text in TEXTS]))
    assert digests.shape == (len(TEXTS), 32)
    assert digests.dtype == np.uint8
    assert [row.tobytes() for row in digests] == each


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=6), min_size=1, max_size=4)
)
def test_digests_are_found_among_others(batches: list[list[tuple[int, int]]]) -> None:
    """Those that begin alike, too; a set of Python's is the twin."""

    def digests(batch: list[tuple[int, int]]) -> np.ndarray:
        rows = [bytes([begin] * 8 + [end] * 24) for begin, end in batch]
        return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 32)

    *added, asked = map(digests, batches)
    known, twin = DigestSet(), set()
    for batch in added:
        known.add(batch)
        twin.update(row.tobytes() for row in batch)
    assert known.find(asked).tolist() == [row.tobytes() in twin for row in asked]


def test_digests_of_nothing() -> None:
    assert document_digests(Ragged.from_bytes([])).shape == (0, 32)
    assert CorpusDigest().hexdigest() == hashlib.sha256(b"").hexdigest()
    with pytest.raises(ValueError, match="uint8"):
        CorpusDigest().update(np.zeros(32, np.uint8))


def test_import_is_cheap() -> None:
    code = "import sys, tokenlab.corpus; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = {"pyarrow", "msgspec", "zstandard", "gzip", "datasets", "numba"}
    assert heavy.isdisjoint(loaded.split())
