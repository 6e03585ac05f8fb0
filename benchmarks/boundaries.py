"""How fast boundary rules are, beside their Python twins.

    python benchmarks/boundaries.py [--data DIR] [--megabytes 32] [--repeat 5]

One thread, in chunks as a build takes them; MB of text per second of CPU, the fastest of `--repeat`. Twins
take a part of the text, once. Nothing is asserted: a benchmark informs, tests judge.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from measure import cpu_seconds
from numpy.typing import NDArray
from text import kernel_options, load_documents, repeated

from tokenlab.boundaries.fit import fit_rule
from tokenlab.boundaries.request import parse_rule, target_bytes_per_patch
from tokenlab.boundaries.rule import Rule
from tokenlab.boundaries.state import new_state
from tokenlab.boundaries.stream import as_stream
from tokenlab.build.boundaries import CHUNK
from tokenlab.ragged import Ragged
from tokenlab.segment.byte import ByteSegmenter

TARGETS = {"fixed:6": 200, "space": 200, "table2": 200, "entropy": 50, "monotonic": 50}


def main() -> None:
    """Measure and print."""
    options = kernel_options(__doc__, megabytes=32, twin_megabytes=0.1)
    what, documents = load_documents(options.data)
    text = Ragged.from_bytes(repeated(documents, int(options.megabytes * 1e6)))
    few = repeated(documents, int(options.twin_megabytes * 1e6))
    stream = as_stream(ByteSegmenter().split(text))
    print(f"text: {what}; {len(text.values) / 1e6:.1f} MB, MB of text per CPU second")
    print(f"{'rule':<16} {'kernel':>8} {'target':>8} {'twin':>8} {'kernel / twin':>14} {'bytes a patch':>14}")
    for name, target in TARGETS.items():
        request = parse_rule(name)
        rule = fit_rule(request, target_bytes_per_patch(request, None), stream)
        patches = _starts(rule, stream) - len(text)
        seconds = min(cpu_seconds(partial(_starts, rule, stream)) for _ in range(options.repeat))
        fast = len(text.values) / 1e6 / seconds
        size = sum(map(len, few))
        slow = size / 1e6 / cpu_seconds(partial(_twin, rule, few))
        print(
            f"{rule.text:<16} {fast:>8.0f} {target:>8} {slow:>8.3f} {fast / slow:>14,.0f} "
            f"{len(text.values) / patches:>14.3f}"
        )


def _starts(rule: Rule, stream: NDArray[np.uint16]) -> int:
    """Patches of the stream."""
    state = new_state()
    return sum(
        int(rule.starts(stream[at : at + CHUNK], state).sum(dtype=np.int64))
        for at in range(0, len(stream), CHUNK)
    )


def _twin(rule: Rule, documents: list[bytes]) -> None:
    for document in documents:
        rule.starts_reference(document)


if __name__ == "__main__":
    main()
