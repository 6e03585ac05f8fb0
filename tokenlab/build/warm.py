"""What every worker needs, imported and loaded once by the process that workers are forked from.

numba takes half a second to start and to load its kernels; a forked worker has them. Those of a scheme's
operators are loaded by each worker itself.
"""

from __future__ import annotations

import gc

from tokenlab.own_process import import_numpy, take_over

take_over()  # before anything large is loaded
import_numpy()

import gigatoken  # noqa: F401  # to be there
import numpy as np

from tokenlab.build import tasks  # noqa: F401  # to be there
from tokenlab.build.encode import opened
from tokenlab.ragged import Ragged
from tokenlab.segment.byte import ByteSegmenter
from tokenlab.segment.word_cache import WordCache


def warm() -> None:
    """Run the kernels on next to nothing."""
    bytewise = ByteSegmenter()
    ids, _ = WordCache(bytewise.token_bytes, bytewise.split).split(Ragged.from_bytes([b"A b\nC'd 12"]))
    opened(ids, bytewise.bos, np.dtype("<u2"))


warm()
gc.freeze()  # a collection in a worker would copy every page that it looks at
