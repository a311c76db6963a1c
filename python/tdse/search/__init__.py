"""Placement search on arrays; it knows nothing of models or IRs."""

from tdse.search.evaluate import Evaluation, evaluate, regions_of
from tdse.search.problem import Problem
from tdse.search.search import Candidate, search

__all__ = ["Candidate", "Evaluation", "Problem", "evaluate", "regions_of", "search"]
