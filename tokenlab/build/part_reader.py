"""Parts read in a process of their own, which starts before the scheme is open.

A scheme opens for half a second on one core. What is read on another meanwhile is there when the workers
are, and the process that hands it to them has not to read beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from tokenlab.build.parts import PartInput
from tokenlab.corpus import BadDocument, Corpus
from tokenlab.processes.iterator_process import IteratorProcess
from tokenlab.processes.shared_memory import SharedMemory


class PartReader:
    """What `read` gives, a `read_parts` of the corpus that lacks its `empty`; `memory`, `ahead` and errors
    as for `IteratorProcess`."""

    def __init__(
        self,
        corpus: Corpus,
        read: Callable[..., Iterator[tuple[PartInput, int]]],
        *,
        memory: SharedMemory,
        ahead: int,
    ) -> None:
        def items(
            empty: Callable[[int], NDArray[np.uint8]],
        ) -> Iterator[tuple[PartInput, int] | list[BadDocument]]:
            yield from read(empty=empty)
            yield corpus.bad_documents

        self._corpus = corpus
        self._process = IteratorProcess(items, memory=memory, ahead=ahead)

    def __iter__(self) -> Iterator[tuple[PartInput, int]]:
        """Parts, each with the bytes of input files read so far."""
        for item in self._process:
            if isinstance(item, list):
                self._corpus.bad_documents = item
            else:
                yield item

    def close(self) -> None:
        """End the process."""
        self._process.close()
