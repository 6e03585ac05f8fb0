"""`pre_step.py` of an export: the template with a scheme's operators filled in."""

from __future__ import annotations

from importlib.resources import files

from tokenlab.ops.case import Case
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
    other = list(dict.fromkeys(op.name for op in operators_of(scheme) if _step(op) is None))
    if not other:
        return ""
    if "digits" in other:
        return (
            "operator 'digits' names borders that no token crosses, which text that was rewritten cannot say "
            "to a tokenizer.json"
        )
    listed = ", ".join(map(repr, other))
    one = f"operator {listed} has" if len(other) == 1 else f"operators {listed} have"
    return (
        f"{one} no pre-step in plain Python (caseops and escape have), so its ids would be those of another "
        "text"
    )


def _step(operator: Operator) -> tuple[str, bool] | None:
    """An operator as the template's STEPS have it, or None for one that it cannot do."""
    if isinstance(operator, Escape):
        return "escape", False
    if isinstance(operator, Case) and (operator.place, operator.default) != ("word", "lower"):
        return None
    # `case` with its defaults is `caseops`, byte for byte.
    return ("caseops", operator.escape_metaspace) if isinstance(operator, Case | CaseOps) else None


def pre_step_source(scheme: Scheme) -> str:
    """The Python file that does what the scheme's operators do, and undoes it."""
    steps = [step for op in operators_of(scheme) if (step := _step(op)) is not None]
    template = (files("tokenlab.export") / "pre_step_template.py").read_text()
    listed = ", ".join(f'("{name}", {metaspace})' for name, metaspace in steps)
    return template.replace(_PLACE, f"{_PLACE[:-2]}[{listed}]")
