"""Pages that stand alone: one HTML file, no network, and nothing in it that was not put there.

Every page is built of `element`, which escapes what it is given; only `Html` goes in as it
is, and only this module and `element` make `Html`. A policy in the page forbids loading
anything, and any script or style but its own, by their digests.
"""

from __future__ import annotations

import base64
import hashlib
import html
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

import tokenlab
from shards import write_atomically
from tokenlab.errors import InputError
from tokenlab.report.visible import plain

_ASSETS = files("tokenlab.report") / "assets"


class Html(str):
    """Markup that is safe as it stands."""

    __slots__ = ()


_VOID = frozenset({"meta", "col", "br"})


def element(name: str, /, *children: str | None, **attributes: str | int | bool | None) -> Html:
    """An element. Text is escaped, and None left out; an attribute `data_x_` is written `data-x`,
    True stands alone, None and False are left out.

    >>> element("p", "a < b", element("b", "!"), class_="x", hidden=True)
    '<p class="x" hidden>a &lt; b<b>!</b></p>'
    """
    written = [f"<{name}"]
    for key, value in attributes.items():
        if value is True:
            written.append(f" {key}")
        elif value is not None and value is not False:
            written.append(f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"')
    inside = "".join(c if isinstance(c, Html) else escape(c) for c in children if c is not None)
    return Html("".join(written) + ">" + ("" if name in _VOID else f"{inside}</{name}>"))


def join(children: Sequence[str]) -> Html:
    """Markup and text one after the other."""
    return Html("".join(c if isinstance(c, Html) else escape(c) for c in children))


def escape(text: str) -> Html:
    """Text as markup: what steers a screen (controls, bidi overrides) is named, the rest escaped."""
    return Html(html.escape(plain(text), quote=True))


def page(
    *,
    kind: str,
    title: str,
    body: Html,
    command: str,
    assets: Sequence[str] = (),
    data: Any = None,
) -> str:
    """A whole page. `kind`: the command that makes it, `assets`: names of files of
    `report/assets` (`.css`, `.js`) beside the common style, `data`: what the script reads."""
    styles = _asset("page.css") + "".join(_asset(name) for name in assets if name.endswith(".css"))
    script = "".join(_asset(name) for name in assets if name.endswith(".js"))
    policy = (
        f"default-src 'none'; style-src {_digest(styles)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    head = [
        element("meta", charset="utf-8"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content=f"tokenlab {tokenlab.__version__}"),
        element("title", f"{title} · tokenlab {kind}"),
        Html(f"<style>{styles}</style>"),
    ]
    parts = [element("div", body, _footer(kind, command), class_=f"page {kind}")]
    if data is not None:
        parts.append(Html(f'<script type="application/json" id="data">{_island(data)}</script>'))
    if script:
        parts.append(Html(f"<script>{script}</script>"))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>{join(head)}</head>\n<body>{join(parts)}</body>\n</html>\n'
    )


def code_block(text: str) -> Html:
    """Text as it is typed, line by line."""
    lines = [join([line, Html("\n")]) for line in text.rstrip("\n").split("\n")]
    return element("pre", element("code", *lines))


def require_folder(path: Path | None) -> None:
    """Raise InputError at once for a page that could not be written when the work is done."""
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        what = "is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise InputError(f"--html {path}: {what}; give a file name, such as page.html")


def write_page(path: Path, content: str) -> None:
    """Write a page, whole or not at all. Raises InputError."""
    try:
        with write_atomically(path) as file:
            file.write(content.encode())
    except OSError as error:
        raise InputError(f"--html {path}: cannot write the page: {error.strerror}") from error


def _footer(kind: str, command: str) -> Html:
    machine = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    made = f"tokenlab {tokenlab.__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}"
    repeat = element("section", element("h2", "How to repeat"), code_block(command))
    return element("footer", repeat, element("p", f"Made by {made}."), class_="foot")


def _island(data: Any) -> str:
    """JSON that no parser of HTML can take for markup."""
    text = msgspec.json.encode(data).decode()
    for c in "<>&\u2028\u2029":
        text = text.replace(c, f"\\u{ord(c):04x}")
    return text


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _digest(content: str) -> str:
    if not content:
        return "'none'"
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
