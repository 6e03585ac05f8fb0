"""From a URL to files: http(s), s3, hf, and every other protocol that has an fsspec driver.

    hf://datasets/HuggingFaceFW/fineweb/sample/10BT/*.parquet
    s3://bucket/web/*.jsonl.zst
    https://host/a.jsonl.gz?signature=…        one file; there is no list to match a glob on

Drivers are imported when a URL asks for one. Credentials are the drivers' affair: their
variables and files, such as AWS_PROFILE, AWS_ENDPOINT_URL, FSSPEC_S3_ANON, HF_TOKEN, netrc.
"""

from __future__ import annotations

import importlib
from typing import Any

from tokenlab.corpus.documents import one_line
from tokenlab.corpus.remote_file import RemoteFile, tried, version_of
from tokenlab.corpus.retries import FIRST_PAUSES, PAUSES
from tokenlab.corpus.urls import is_http, public_name, refuse_offline, said
from tokenlab.errors import InputError

EXTRAS = {"http": "http", "https": "http", "s3": "s3", "s3a": "s3", "hf": "hf"}
"""The extra of this distribution that brings the driver of a protocol."""

DRIVERS = {"gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs"}
"""The package of other protocols' drivers, to be installed by whoever needs them."""


def expand(given: str) -> list[RemoteFile]:
    """The files that a URL names: itself, or what it matches, sorted by name. Raises InputError."""
    protocol, _, rest = given.partition("://")
    protocol = protocol.lower()
    given = f"{protocol}://{rest}"
    name, shown = public_name(given), one_line(public_name(given))
    system, path = _driver(given, name, protocol)

    def info() -> dict[str, Any]:
        return tried(lambda: dict(system.info(path)), name, PAUSES[:FIRST_PAUSES])

    if is_http(name):
        if "*" in name:
            raise InputError(f"{shown}: there is no list of files to match on {protocol}; name each file")
        return [_file(name, info(), path, system)]
    system.invalidate_cache()
    if any(mark in path for mark in "*?["):
        found = tried(lambda: _glob(system, path), name, PAUSES[:FIRST_PAUSES])
        if not found:
            raise InputError(f"{shown}: no file matches")
        return [_file(f"{protocol}://{key.lstrip('/')}", found[key], key, system) for key in sorted(found)]
    one = info()
    if one.get("type") == "directory":
        raise InputError(f"{shown} is a directory; give a glob, such as '{shown.rstrip('/')}/*.jsonl'")
    return [_file(name, one, path, system)]


def _glob(system: Any, pattern: str) -> dict[str, dict[str, Any]]:
    try:
        found = system.glob(pattern, detail=True)
    except FileNotFoundError:  # the folder, bucket or repository
        return {}
    return {str(key): info for key, info in found.items() if info.get("type") == "file"}


def _file(name: str, info: dict[str, Any], path: str, system: Any) -> RemoteFile:
    return RemoteFile(name, info.get("size"), version_of(info), path, system)


def _driver(given: str, name: str, protocol: str) -> tuple[Any, str]:
    """fsspec's file system of a URL, and the path in it."""
    shown = one_line(name)
    if protocol in ("file", "local"):
        raise InputError(f"{shown}: give the path itself, without {protocol}://")
    if "::" in given:
        raise InputError(f"{shown}: URLs chained with :: are not read; give the file itself")
    if is_http(name) and any(map(str.isspace, given)):
        raise InputError(f"{shown}: a URL has no spaces; write %20")
    if not is_http(name) and name != given:
        raise InputError(f"{shown}: a URL of {protocol} takes no user and password; see its own settings")
    if protocol == "hf":
        refuse_offline(shown)
    try:
        options = _http_options(given) if is_http(name) else {}
        system, path = importlib.import_module("fsspec").url_to_fs(given, **options)
    except ImportError as error:
        extra, driver = EXTRAS.get(protocol), DRIVERS.get(protocol)
        package = f"'tokenlab-bpb[{extra}]'" if extra else driver or f"its fsspec driver ({said(error)})"
        raise InputError(f"{shown}: reading {protocol}:// needs a package; pip install {package}") from None
    except Exception as error:
        raise InputError(f"{shown}: cannot be opened: {said(error)}") from None
    return system, path


def _http_options(url: str) -> dict[str, Any]:
    aiohttp = importlib.import_module("aiohttp")
    return {
        # A URL with escapes is sent as it is: a signature may cover its spelling.
        "encoded": "%" in url and url.isascii(),
        "client_kwargs": {
            "trust_env": True,  # proxies of the environment
            "auto_decompress": False,  # the bytes as they lie on the server; the suffix says what they are
            # aiohttp's own limit of five minutes is on a whole response.
            "timeout": aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60),
        },
    }
