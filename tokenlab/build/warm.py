"""What a worker needs, imported and loaded once before workers are forked from this process.

numba takes a second of CPU to start and to load its kernels; a forked worker has them. Every kernel
runs here once on next to nothing; one that is missing is loaded by each worker itself.
"""

from __future__ import annotations

import gigatoken  # noqa: F401  # to be there
import numpy as np

from tokenlab.build import tasks  # noqa: F401  # to be there
from tokenlab.build.encode import opened
from tokenlab.ops.caseops import CaseOps
from tokenlab.ops.escape import Escape
from tokenlab.own_process import take_over
from tokenlab.ragged import Ragged
from tokenlab.segment.byte import ByteSegmenter
from tokenlab.segment.word_cache import WordCache


def warm() -> None:
    """Load the kernels."""
    take_over()
    bytewise = ByteSegmenter()
    cache = WordCache(bytewise.token_bytes, bytewise.split)
    text = Ragged.from_bytes([b"A b"])
    text = Ragged(text.values.copy(), text.offsets)
    for operator in (CaseOps(), Escape()):
        rewritten, cuts = operator.apply(text)
        ids, ends = cache.split(rewritten)
        charges = cuts.charges(ends).values.astype(np.uint16)
        opened(ids, bytewise.bos, np.dtype("<u2"))
        opened(Ragged(charges, ids.offsets), 0, np.dtype("u1"))


warm()
