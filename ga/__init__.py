"""A genetic algorithm with an ask / tell interface; needs neither NNI nor torch."""

from ga.beliefs import Belief
from ga.early_stopping.learning_curves import Outlook
from ga.evaluation import (
    Candidate,
    Evaluation,
    Measurement,
    SpaceExhausted,
    UnsatisfiableConstraint,
)
from ga.history.pareto import hypervolume, nondominated
from ga.moved import install
from ga.optimizer import Optimizer
from ga.problem.gene_traits import GeneTraits
from ga.problem.genes import Categorical, Gene, Integer, Normal, Ordered, Real
from ga.problem.objectives import Constraint, Objectives, parse_constraints, violation
from ga.problem.search_space import SearchSpace

__all__ = [
    "Belief",
    "Candidate",
    "Categorical",
    "Constraint",
    "Evaluation",
    "Gene",
    "GeneTraits",
    "Integer",
    "Measurement",
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

install()
