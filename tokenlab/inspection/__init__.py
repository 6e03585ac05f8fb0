"""`tokenlab inspect`: a text token by token, in one scheme or in two.

>>> from tokenlab.inspection import compare, inspect_text, open_scheme
>>> result = inspect_text("Hi", open_scheme("bytes"))
>>> [(row.id, row.piece, row.source, row.bytes) for row in result.tokens]
[(76, '<0x48>', 'H', 1), (109, '<0x69>', 'i', 1)]
"""

from tokenlab.inspection.compare import Block, Comparison, align, compare
from tokenlab.inspection.document import inspect_document, read_document
from tokenlab.inspection.patches import PatchInspection, PatchOptions, inspect_patches
from tokenlab.inspection.request import InspectOptions, run_inspection
from tokenlab.inspection.text import NamedScheme, inspect_text, open_scheme, open_two
from tokenlab.inspection.tokens import Inspection, TokenRow

__all__ = [
    "Block",
    "Comparison",
    "InspectOptions",
    "Inspection",
    "NamedScheme",
    "PatchInspection",
    "PatchOptions",
    "TokenRow",
    "align",
    "compare",
    "inspect_document",
    "inspect_patches",
    "inspect_text",
    "open_scheme",
    "open_two",
    "read_document",
    "run_inspection",
]
