"""Placement search on arrays; it knows nothing of models or IRs."""

from tdse.search.objectives import OBJECTIVES, UNITS, Objective
from tdse.search.problem import Problem
from tdse.search.search import Candidate, Found, search

__all__ = ["OBJECTIVES", "UNITS", "Candidate", "Found", "Objective", "Problem", "search"]
