"""Linear programs whose lower bounds hold in spite of what the solver rounds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tdse.search.problem import Floats

# A column and its coefficient.
Term = tuple[int, float]


@dataclass(frozen=True)
class Minimum:
    """What is known of the least value of an objective.

    Attributes:
        bound: no feasible point has less; inf if there is none at all, -inf if nothing is known.
        prices: float64 [rows of ``at_least``], by how much the least value rises with each row's
            right side; none of them is negative.
    """

    bound: float
    prices: Floats


class LinearProgram:
    """Columns between 0 and an upper end, rows, and objectives to minimise over them."""

    def __init__(self) -> None:
        self.upper: list[float] = []
        self._least, self._equal = _Rows(), _Rows()

    def column(self, upper: float = 1.0) -> int:
        """A new column; its upper end must be finite."""
        self.upper.append(upper)
        return len(self.upper) - 1

    def at_least(self, terms: Iterable[Term], least: float) -> int:
        """Demands that the sum of the terms is no less; returns the row's index."""
        return self._least.add(terms, least)

    def equal(self, terms: Iterable[Term], value: float) -> None:
        """Demands that the sum of the terms is just that."""
        self._equal.add(terms, value)

    def minimum(self, objective: Iterable[Term]) -> Minimum:
        """A lower bound on an objective over all feasible points.

        The solver keeps to rows and to optimality up to a tolerance only. So its dual values are
        all that is taken from it: with any of them, b'y plus the least that the reduced costs can
        add between the columns' ends is a lower bound (Neumaier and Shcherbina, "Safe bounds in
        linear and mixed-integer linear programming", 2004).
        """
        # SciPy's optimisers take a while to import.
        from scipy.optimize import linprog
        from scipy.sparse import csr_array

        n, upper = len(self.upper), np.array(self.upper)
        costs = np.zeros(n)
        for column, coefficient in objective:
            costs[column] += coefficient
        least, equal = (
            csr_array((rows.coefficients, (rows.rows, rows.columns)), shape=(len(rows.right), n))
            for rows in (self._least, self._equal)
        )
        right = np.array(self._least.right)
        solved = linprog(
            costs,
            A_ub=-least,
            b_ub=-right,
            A_eq=equal,
            b_eq=self._equal.right,
            bounds=np.stack([np.zeros(n), upper], axis=1),
            method="highs-ds",
        )
        if solved.status != 0:
            infeasible = solved.status == 2
            return Minimum(math.inf if infeasible else -math.inf, np.zeros(len(right)))
        prices = np.maximum(-solved.ineqlin.marginals, 0.0)
        values = solved.eqlin.marginals
        reduced = costs - least.T @ prices - equal.T @ values
        bound = right @ prices + np.dot(self._equal.right, values)
        return Minimum(float(bound + np.minimum(reduced, 0.0) @ upper), prices)


class _Rows:
    """A sparse matrix as it grows, and its right side."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.columns: list[int] = []
        self.coefficients: list[float] = []
        self.right: list[float] = []

    def add(self, terms: Iterable[Term], right: float) -> int:
        row = len(self.right)
        for column, coefficient in terms:
            self.rows.append(row)
            self.columns.append(column)
            self.coefficients.append(coefficient)
        self.right.append(right)
        return row
