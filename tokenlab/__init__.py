"""tokenlab: token shards with byte-exact accounting, and the proof of them.

>>> import tokenlab
>>> scheme = tokenlab.load_scheme("bytes")
>>> ids, charges = scheme.encode("café")
>>> len(ids), int(charges.sum()), scheme.decode(ids).decode()
(5, 5, 'café')

`tokenlab.verify("out/caseops")` returns the verdicts that `tokenlab verify` prints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenlab.on_demand import on_demand

if TYPE_CHECKING:
    from tokenlab.errors import DecodingError, EncodingError, InputError, TokenlabError
    from tokenlab.scheme import Scheme
    from tokenlab.verification import verify
    from tokenlab.vocabulary import load_scheme

__version__ = "0.1.0"

__all__ = ["DecodingError", "EncodingError", "InputError", "Scheme", "TokenlabError", "load_scheme", "verify"]

__getattr__ = on_demand(
    __name__,
    {
        "DecodingError": "tokenlab.errors",
        "EncodingError": "tokenlab.errors",
        "InputError": "tokenlab.errors",
        "TokenlabError": "tokenlab.errors",
        "Scheme": "tokenlab.scheme",
        "load_scheme": "tokenlab.vocabulary",
        "verify": "tokenlab.verification",
    },
)
