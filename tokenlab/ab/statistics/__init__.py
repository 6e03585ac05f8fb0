"""Statistics of an A/B experiment: pure functions over float64 arrays, no I/O.

Differences are arm minus baseline. What a test cannot say is None, never a number that looks like an
answer; input that no experiment can have (nothing, NaN, unequal pairs) raises ValueError.
"""

from tokenlab.ab.statistics.bootstrap import Interval, document_bootstrap
from tokenlab.ab.statistics.contest import ContestRule, contest_rule
from tokenlab.ab.statistics.cost import Cost, ResolveCost, resolve_cost
from tokenlab.ab.statistics.covariates import Adjusted, control_variate
from tokenlab.ab.statistics.equivalence_test import Equivalence, equivalence
from tokenlab.ab.statistics.multiple_comparisons import holm
from tokenlab.ab.statistics.permutation import sign_flip
from tokenlab.ab.statistics.power import minimal_detectable, pairs_needed, sd_interval
from tokenlab.ab.statistics.reachable import smallest_p
from tokenlab.ab.statistics.sequential import Decision, SequentialPower, SequentialTest, sequential_power
from tokenlab.ab.statistics.t_tests import Paired, Welch, paired, welch

__all__ = [
    "Adjusted",
    "ContestRule",
    "Cost",
    "Decision",
    "Equivalence",
    "Interval",
    "Paired",
    "ResolveCost",
    "SequentialPower",
    "SequentialTest",
    "Welch",
    "contest_rule",
    "control_variate",
    "document_bootstrap",
    "equivalence",
    "holm",
    "minimal_detectable",
    "paired",
    "pairs_needed",
    "resolve_cost",
    "sd_interval",
    "sequential_power",
    "sign_flip",
    "smallest_p",
    "welch",
]
