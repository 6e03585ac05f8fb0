"""Where the patches of a byte stream begin, for models that group bytes themselves.

>>> from tokenlab.boundaries import Space, as_ids, new_state
>>> rule = Space()
>>> rule.starts(as_ids(b"a cat, so"), new_state()).tolist()
[1, 1, 0, 1, 0, 0, 0, 1, 0, 0]
"""

from tokenlab.boundaries.entropy import Entropy, EntropyTable, Monotonic, TopK
from tokenlab.boundaries.fit import fit_rule
from tokenlab.boundaries.record import read_rule
from tokenlab.boundaries.request import LOOKS_AHEAD, RuleRequest, parse_rule, target_bytes_per_patch
from tokenlab.boundaries.rule import Rule
from tokenlab.boundaries.state import State, new_state
from tokenlab.boundaries.stream import as_document, as_ids, as_stream
from tokenlab.boundaries.table2 import Table2
from tokenlab.boundaries.token_ends import TokenEnds
from tokenlab.boundaries.unfitted import Fixed, Space

__all__ = [
    "LOOKS_AHEAD",
    "Entropy",
    "EntropyTable",
    "Fixed",
    "Monotonic",
    "Rule",
    "RuleRequest",
    "Space",
    "State",
    "Table2",
    "TokenEnds",
    "TopK",
    "as_document",
    "as_ids",
    "as_stream",
    "fit_rule",
    "new_state",
    "parse_rule",
    "read_rule",
    "target_bytes_per_patch",
]
