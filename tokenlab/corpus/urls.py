"""URLs as they may be shown, and the errors of drivers in a few words: nothing secret in either.

https://me:pw@host/a.jsonl.gz?signature=…   is called   https://host/a.jsonl.gz
"""

from __future__ import annotations

import http
import os
import re

from tokenlab.corpus.documents import one_line
from tokenlab.errors import InputError

OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
"""Variables with which Hugging Face's libraries are told to keep off the network."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?")
_PASSING = {408, 425, 429}
"""Refusals of http that may pass."""


def is_remote(given: str) -> bool:
    """Whether an input is a URL and no path."""
    return _URL.match(given) is not None


def public_name(url: str) -> str:
    """A URL without what may be secret: user and password, and the query of http(s).

    >>> public_name("https://me:pw@host/a.jsonl?X-Amz-Signature=1f")
    'https://host/a.jsonl'
    """
    protocol, _, rest = url.partition("://")
    protocol = protocol.lower()
    if protocol in ("http", "https"):
        rest = re.split("[?#]", rest, maxsplit=1)[0]
    place, slash, path = rest.partition("/")
    host = place.rpartition("@")[2]
    if protocol in ("http", "https") and not _HOST.fullmatch(host):
        return f"{protocol}://…"  # a password with a / # or ? in it, not escaped
    return f"{protocol}://{host}{slash}{path}"


def is_http(name: str) -> bool:
    """Whether a URL is one of http or https."""
    return name.startswith(("http://", "https://"))


def without_secrets(text: str) -> str:
    """A text in which every URL is as `public_name` has it."""
    return re.sub(r"\w[\w+.-]*://\S*", lambda url: public_name(url[0]), text)


def refuse_offline(what: str) -> None:
    """Raise InputError when the environment forbids the Hugging Face Hub."""
    for variable in OFFLINE:
        if os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE"):
            raise InputError(
                f"{what} is on the Hugging Face Hub, and {variable}={os.environ[variable]} forbids the "
                "network; unset it, or give local files to --input"
            )


def _root(error: BaseException) -> BaseException:
    """What lies behind: fsspec says "not found" of whatever http says."""
    while isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _status(error: BaseException) -> int | None:
    """The status of http behind an error of aiohttp, huggingface_hub or botocore."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        status = getattr(error, "status", None) or getattr(response, "status_code", None)
    return status if isinstance(status, int) else None


def lasts(error: BaseException) -> bool:
    """Whether a new try would fail as this one did."""
    error = _root(error)
    status = _status(error)
    if status is not None:
        return 400 <= status < 500 and status not in _PASSING
    kinds = (FileNotFoundError, PermissionError, IsADirectoryError, ImportError, ValueError, TypeError)
    return isinstance(error, kinds) or "Credentials" in type(error).__name__


def said(error: BaseException) -> str:
    """An error of a driver in a few words, without what may be secret."""
    error = _root(error)
    status = _status(error)
    if status == 404 or (status is None and isinstance(error, FileNotFoundError)):
        return "no such file" + (f" (HTTP {status})" if status else "")
    if status is not None:
        phrase = {entry.value: entry.phrase for entry in http.HTTPStatus}.get(status, "")
        return f"HTTP {status} {phrase}".rstrip()
    if isinstance(error, PermissionError):
        return "access refused; check the credentials"
    if "NoCredentials" in type(error).__name__:
        return "no credentials found; for a public bucket set FSSPEC_S3_ANON=true"
    if isinstance(error, TimeoutError):
        return "the server does not answer"
    first = (str(error).splitlines() or [""])[0]
    return one_line(without_secrets(f"{type(error).__name__}: {first}".rstrip(": ")))[:300]
