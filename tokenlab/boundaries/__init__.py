"""Where the patches of a byte stream begin, for models that group bytes themselves.

>>> from tokenlab.boundaries.state import new_state
>>> from tokenlab.boundaries.stream import as_ids
>>> from tokenlab.boundaries.unfitted import Space
>>> rule = Space()
>>> rule.starts(as_ids(b"a cat, so"), new_state()).tolist()
[1, 1, 0, 1, 0, 0, 0, 1, 0, 0]
"""
