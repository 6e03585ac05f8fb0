"""`pre_step.py` of an export: the template with a scheme's operators filled in."""

from __future__ import annotations

from importlib.resources import files

from tokenlab.ops.caseops import CaseOps
from tokenlab.ops.escape import Escape
from tokenlab.ops.operator import Operator
from tokenlab.scheme import Scheme

PRE_STEP_FILE = "pre_step.py"
_PLACE = "STEPS: list[tuple[str, bool]] = []"


def operators_of(scheme: Scheme) -> tuple[Operator, ...]:
    """The operators that the scheme file lists: a model's own normaliser is not among them."""
    return scheme.operators[: len(scheme.spec.operators)]


def refuse_operators(scheme: Scheme) -> str:
    """Why the operators have no pre-step, or ""."""
    unknown = [op.name for op in operators_of(scheme) if not isinstance(op, CaseOps | Escape)]
    return f"operator {unknown[0]!r} has no pre-step in plain Python" if unknown else ""


def pre_step_source(scheme: Scheme) -> str:
    """The Python file that does what the scheme's operators do, and undoes it."""
    steps = [(op.name, isinstance(op, CaseOps) and op.escape_metaspace) for op in operators_of(scheme)]
    template = (files("tokenlab.export") / "pre_step_template.py").read_text()
    listed = ", ".join(f'("{name}", {metaspace})' for name, metaspace in steps)
    return template.replace(_PLACE, f"{_PLACE[:-2]}[{listed}]")
