"""Newline-space: a space after each newline and at the start, so that a line's first word has the
form that a vocabulary holds it in, with its space.

`The cat\\nsat` becomes `␣The cat\\n␣sat`. A document of no bytes stays one. The spaces come from no source
byte. Nothing needs an escape: a document begins with an added space, and behind each newline the first
space is an added one, whatever follows.
"""

from __future__ import annotations

from tokenlab.ops.kernel_operator import KernelOperator


class NewlineSpace(KernelOperator):
    """The `newline-space` operator."""

    name: str = "newline-space"
    markers: tuple[str, ...] = ()
    kernels = "tokenlab.ops.newline_space_kernels"

    def apply_reference(self, text: bytes) -> tuple[bytes, list[int]]:
        """See `Operator.apply_reference`."""
        out = bytearray()
        cuts: list[int] = []
        for i, byte in enumerate(text):
            if i == 0:
                out.append(0x20)
                cuts.append(0)
            out.append(byte)
            cuts.append(i)
            if byte == 0x0A:
                out.append(0x20)
                cuts.append(i + 1)
        return bytes(out), [*cuts, len(text)]


def invert_reference(text: str) -> str:
    """One document read back, in plain Python: the twin of the kernel. Raises ValueError."""
    if not text:
        return text
    lines = text.split("\n")
    if text == " " or any(not line.startswith(" ") for line in lines):
        raise ValueError("a line does not begin with its added space")
    return "\n".join(line[1:] for line in lines)
