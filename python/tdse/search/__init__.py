"""Placement search on arrays; it knows nothing of models or IRs."""

from tdse.search.evaluate import Evaluation, evaluate, regions_of
from tdse.search.problem import Problem

__all__ = ["Evaluation", "Problem", "evaluate", "regions_of"]
