"""What a worker needs, imported and loaded once before workers are forked from this process.

numba takes half a second to start and to load its kernels; a forked worker has them. The kernels that
every scheme needs, and those of the scheme that an environment variable names, run here once on next to
nothing; one that is missing is loaded by each worker itself.
"""

from __future__ import annotations

import gc
import os

from tokenlab.own_process import take_over

take_over()  # before anything large is loaded

import gigatoken  # noqa: F401  # to be there
import numpy as np

from tokenlab.build import tasks  # noqa: F401  # to be there
from tokenlab.build.encode import opened
from tokenlab.errors import TokenlabError
from tokenlab.fork_server import WARM_SCHEME
from tokenlab.ops.digits import Digits
from tokenlab.ops.operator import Operator
from tokenlab.ragged import Ragged
from tokenlab.registry import OPERATORS, make_operator
from tokenlab.scheme_spec import open_scheme_spec
from tokenlab.segment.byte import ByteSegmenter
from tokenlab.segment.word_cache import WordCache


def warm() -> None:
    """Load the kernels."""
    bytewise = ByteSegmenter()
    cache = WordCache(bytewise.token_bytes, bytewise.split)
    source = Ragged.from_bytes([b"A b\nC'd 12"])
    source = Ragged(source.values.copy(), source.offsets)
    text, cuts = source, None
    for operator in _operators():
        text, step = operator.apply(text)
        cuts = step if cuts is None else step.after(cuts)
        if isinstance(operator, Digits):
            operator.borders(text)
    ids, ends = cache.split(text)
    opened(ids, bytewise.bos, np.dtype("<u2"))
    if cuts is not None:
        charges = cuts.charges(ends).values.astype(np.uint16)
        opened(Ragged(charges, ids.offsets), 0, np.dtype("u1"))


def _operators() -> list[Operator]:
    """Those built in: what a plug-in raises would end this process. None of a scheme that cannot be read;
    the command itself says why."""
    try:
        entries = open_scheme_spec(os.environ[WARM_SCHEME]).operators if os.environ.get(WARM_SCHEME) else ()
    except TokenlabError:
        return []
    names = [entry if isinstance(entry, str) else entry["name"] for entry in entries]
    return [make_operator(entry) for entry, name in zip(entries, names, strict=True) if name in OPERATORS]


warm()
gc.freeze()  # a collection in a worker would copy every page that it looks at
