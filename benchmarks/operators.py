"""How fast each operator is, beside its Python twin, and the stack of three that `wordops` is.

    python benchmarks/operators.py [--data DIR] [--megabytes 16] [--repeat 5]

One thread, by slices as a build takes them; MB of source text per second of CPU, the fastest of `--repeat`.
Twins take a part of the text, once. Nothing is asserted: a benchmark informs, tests judge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from measure import cpu_seconds
from text import kernel_options, load_documents, repeated

from tokenlab.ops.case import DEFAULTS, PLACES, Case
from tokenlab.ops.digits import GROUPINGS, Digits, borders_reference
from tokenlab.ops.operator import Operator
from tokenlab.own_process import take_over
from tokenlab.ragged import Ragged
from tokenlab.registry import OPERATORS
from tokenlab.scheme import SLICE_BYTES, Scheme
from tokenlab.scheme_spec import SchemeSpec, open_scheme_spec

KERNEL_TARGET, STACK_TARGET = 150, 80
STACKS = ("spaceops", "wordops", "wordops-auto")


def main() -> None:
    """Measure and print."""
    options = kernel_options(__doc__, megabytes=16, twin_megabytes=0.25)
    take_over()  # as a build does
    what, documents = load_documents(options.data)
    text = Ragged.from_bytes(repeated(documents, int(options.megabytes * 1e6)))
    few = repeated(documents, int(options.twin_megabytes * 1e6))
    slices = [text.rows(*bounds) for bounds in text.slices(SLICE_BYTES)]
    print(f"text: {what}; {len(text.values) / 1e6:.1f} MB, MB of source text per CPU second")
    head = f"{'operator':<32} {'apply':>8} {'invert':>8} {'twin':>8} {'apply / twin':>14}"
    print(f"{head}   target {KERNEL_TARGET}")
    for name, operator in _operators():
        _row(name, operator.apply, operator.invert, operator, slices, few, options.repeat)
    for grouping in GROUPINGS:
        _borders_row(grouping, slices, few, options.repeat)
    print(f"{'stack, with its cut map':<32} {'':>40}   target {STACK_TARGET}")
    for name in STACKS:
        operators = open_scheme_spec(name).operators
        scheme = Scheme(SchemeSpec(name, open_scheme_spec("bytes").segmenter, operators))
        _row(name, scheme.rewrite, scheme.read_back, None, slices, few, options.repeat)


def _operators() -> list[tuple[str, Operator]]:
    cases = [(place, default) for place in PLACES for default in DEFAULTS]
    plain = [(name, make()) for name, make in OPERATORS.items() if name not in (Case.name, Digits.name)]
    return [*plain, *((f"case {p} {d}", Case(place=p, default=d)) for p, d in cases)]


def _row(
    name: str,
    apply: Callable[[Ragged], tuple[Ragged, object]],
    invert: Callable[[Ragged], Ragged],
    twin: Operator | None,
    slices: Sequence[Ragged],
    few: Sequence[bytes],
    repeat: int,
) -> None:
    megabytes = sum(len(part.values) for part in slices) / 1e6
    rewritten = [apply(part)[0] for part in slices]  # compiles the kernels
    invert(rewritten[0])
    forward = megabytes / min(cpu_seconds(lambda: [apply(part) for part in slices]) for _ in range(repeat))
    back = megabytes / min(cpu_seconds(lambda: [invert(part) for part in rewritten]) for _ in range(repeat))
    slow = ""
    if twin is not None:
        seconds = cpu_seconds(lambda: [twin.apply_reference(document) for document in few])
        rate = sum(map(len, few)) / 1e6 / seconds
        slow = f"{rate:8.2f} {forward / rate:13.0f}x"
    print(f"{name:<32} {forward:8.0f} {back:8.0f} {slow}".rstrip(), flush=True)


def _borders_row(grouping: str, slices: Sequence[Ragged], few: Sequence[bytes], repeat: int) -> None:
    """`digits` leaves the text as it is; what it does is to find the borders."""
    digits = Digits(grouping=grouping)
    digits.borders(slices[0])  # compiles the kernel
    megabytes = sum(len(part.values) for part in slices) / 1e6
    fast = megabytes / min(
        cpu_seconds(lambda: [digits.borders(part) for part in slices]) for _ in range(repeat)
    )
    texts = [document.decode() for document in few]
    slow = (
        sum(map(len, few)) / 1e6 / cpu_seconds(lambda: [borders_reference(text, grouping) for text in texts])
    )
    print(
        f"{f'digits {grouping}, borders':<32} {fast:8.0f} {'':>8} {slow:8.2f} {fast / slow:13.0f}x",
        flush=True,
    )


if __name__ == "__main__":
    main()
