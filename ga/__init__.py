"""A genetic algorithm with an ask / tell interface; needs neither NNI nor torch."""

from ga.courses import Outlook
from ga.evaluation import Candidate, Evaluation, SpaceExhausted, UnsatisfiableConstraint
from ga.genes import Categorical, Gene, Integer, Normal, Ordered, Real
from ga.objectives import Constraint, Objectives, parse_constraints, violation
from ga.optimizer import Optimizer
from ga.pareto import hypervolume, nondominated
from ga.space import SearchSpace

__all__ = [
    "Candidate",
    "Categorical",
    "Constraint",
    "Evaluation",
    "Gene",
    "Integer",
    "Normal",
    "Objectives",
    "Optimizer",
    "Ordered",
    "Outlook",
    "Real",
    "SearchSpace",
    "SpaceExhausted",
    "UnsatisfiableConstraint",
    "hypervolume",
    "nondominated",
    "parse_constraints",
    "violation",
]
