"""`tokenlab sample`: text that a trained model goes on with."""

from __future__ import annotations

import codecs
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenlab.cli.app import Json, app, show
from tokenlab.cli.train import INSTALL

if TYPE_CHECKING:
    from tokenlab.scheme import Scheme


@app.command(
    epilog="\b\nExamples:\n"
    '  tokenlab sample runs/a --prompt "The weather" --bytes 200\n'
    '  tokenlab sample runs/a --prompt "The weather" --temperature 0.7 --seed 3\n'
    '  tokenlab sample runs/hnet --prompt "Where do patches begin?" --bytes 0 --patches'
)
def sample(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run of `tokenlab train`, or its artifact.")],
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="How the document begins.")] = "",
    count: Annotated[
        int, typer.Option("--bytes", metavar="N", min=0, help="Stop after N bytes, or where the text ends.")
    ] = 200,
    temperature: Annotated[
        float, typer.Option(metavar="T", min=0.0, help="Below 1 likelier text; 0 takes the likeliest token.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="The same seed draws the same text.")] = 0,
    patches: Annotated[
        bool, typer.Option("--patches", help="Show | where a hierarchical model's patches begin.")
    ] = False,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Run the artifact's code though it is not tokenlab's own.")
    ] = False,
    json: Json = False,
) -> None:
    """Print a prompt and what a trained model goes on with, token by token.

    The artifact is all that is needed: its own scheme makes ids of the prompt and text of the
    ids. Bytes that are no whole UTF-8 character are shown as \\xNN. Of a scheme with operators
    text is shown as soon as its ids can be read back.
    """
    import msgspec

    from tokenlab.errors import InputError
    from tokenlab.scheme import Scheme

    artifact = run / "artifact" if (run / "artifact").is_dir() else run
    if not (artifact / "artifact.json").exists():
        raise InputError(f"{run}: no artifact there; give a run that `tokenlab train --output` made")
    scheme = Scheme.open(artifact)
    ids = [scheme.segmenter.bos, *scheme.encode(prompt)[0].tolist()]
    options = [str(artifact), "--tokens", str(count), "--temperature", str(temperature), "--seed", str(seed)]
    text = _Text(scheme, patches and not json, given=len(ids) - 1, room=count)
    for line in _sampled([*options, *["--trust-code"] * trust_code], msgspec.json.encode(ids)):
        token = msgspec.json.decode(line)
        if patches and token["patch"] is None and len(text.tokens) == 0:
            raise InputError(f"{artifact}: a flat model has no patches (or the prompt is beyond its context)")
        shown = text.add(token)
        if not json:
            sys.stdout.write(shown)
            sys.stdout.flush()
        if text.full:
            break
    if json:
        show(msgspec.json.encode(text.facts(prompt)).decode())
    else:
        show(text.end())


class _Text:
    """Ids as they come, and the text of them as soon as it is known."""

    def __init__(self, scheme: Scheme, marks: bool, *, given: int, room: int) -> None:
        """`given` ids come first; it is full `room` bytes behind their text."""
        self.tokens: list[dict[str, Any]] = []
        self._scheme, self._marks, self._given, self._room = scheme, marks, given, room
        self._bytes = b""
        self._start: int | None = None if given else 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    @property
    def full(self) -> bool:
        """Whether enough bytes were drawn."""
        return self._start is not None and len(self._bytes) - self._start >= self._room

    def add(self, token: dict[str, Any]) -> str:
        """What another token lets be shown."""
        self.tokens.append(token)
        if self._scheme.operators:
            known = self._read_back()
            more = known[len(self._bytes) :] if known.startswith(self._bytes) else b""
        else:  # then an id's spelling is its source, be it whole UTF-8 or not
            more = self._scheme.segmenter.token_bytes[token["id"]].tobytes()
        self._bytes += more
        if len(self.tokens) == self._given:
            self._start = len(self._bytes)
        mark = "|" if self._marks and token["patch"] else ""
        return mark + self._decoder.decode(more)

    def end(self) -> str:
        """What is left of a character that was not finished."""
        return self._decoder.decode(b"", final=True)

    def facts(self, prompt: str) -> dict[str, Any]:
        """For --json: the prompt, the text behind it and its bytes, and every token."""
        drawn = self._bytes[self._start or 0 :]
        return {
            "prompt": prompt,
            "text": drawn.decode("utf-8", "backslashreplace"),
            "bytes": list(drawn),
            "tokens": self.tokens,
        }

    def _read_back(self) -> bytes:
        """The source of the ids so far; what is known of it where they end amid a mark."""
        from tokenlab.errors import DecodingError

        try:
            return bytes(self._scheme.decode([token["id"] for token in self.tokens]))
        except DecodingError:
            return self._bytes


def _sampled(options: list[str], ids: bytes) -> Iterator[bytes]:
    """The lines of `python -m trainer sample`, which ends when they are no longer read."""
    import importlib.util

    from tokenlab.errors import InputError

    if importlib.util.find_spec("torch") is None:
        raise InputError(f"sampling needs torch (2.11 to 2.13): {INSTALL}")
    command = [sys.executable, "-P", "-m", "trainer", "sample", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            if process.stdin is None or process.stdout is None:
                raise RuntimeError("pipes were asked for")
            process.stdin.write(ids)
            process.stdin.close()
            yield from process.stdout
        except GeneratorExit:
            process.terminate()
            raise
        if (code := process.wait()) > 0:
            raise typer.Exit(code)
