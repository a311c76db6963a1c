"""Z3 as the solver of a statement: demands as assumptions, and a placement to stay close to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from tdse.search.demands import Demand
from tdse.search.formula import Clause, Constraint
from tdse.search.statement import Statement

# Answers that are refused, each with a new constraint, before it is given up.
_MOST_ROUNDS = 200


class GaveUpError(Exception):
    """There is no answer after as many conflicts as were allowed."""


class Solver:
    """An incremental solver of one problem's statement; equal calls give equal answers.

    Args:
        statement: of the problem. What it states later on, also to others, is taken in.
        seed: of what the solver does at random.
        tracked: demands are assumptions of each ``solve``; else all of them hold at any time.
    """

    def __init__(self, statement: Statement, seed: int, *, tracked: bool) -> None:
        # z3 takes a tenth of a second to import, and most runs never need it.
        import z3

        self._z3: Any = z3
        # Of its own, so that answers do not depend on what Z3 was asked before in this process.
        self._context: Any = z3.Context()
        self._statement = statement
        self._tracked = tracked
        # A solver for finite domains only; the general one keeps fewer preferences.
        self._solver: Any = z3.SolverFor("QF_FD", ctx=self._context)
        self._solver.set("random_seed", seed)
        self._constants: tuple[Any, Any] = tuple(
            z3.BoolVal(value, self._context) for value in (False, True)
        )
        self._literals: dict[int, Any] = {}
        self._guards: dict[tuple[Demand, ...], Any] = {}
        self._declarations: list[list[Any]] = []
        self._preferred: list[int] = []
        self._n_read = 0

    def prefer(self, variants: Sequence[int]) -> None:
        """The placement that the next answers stay close to."""
        if not self._preferred:
            self._preferred = [0] * len(variants)
            for op in range(len(variants)):
                for variant in range(self._statement.problem.n_variants):
                    self._begin_with(op, variant, False)
        for op, (old, new) in enumerate(zip(self._preferred, variants, strict=True)):
            self._begin_with(op, old, False)
            self._begin_with(op, new, True)
        self._preferred = list(variants)

    def solve(
        self, demands: Iterable[Demand] = (), *, also: Iterable[Any] = (), conflicts: int
    ) -> tuple[int, ...] | None:
        """The variants of a placement that keeps to the statement, or None if there is none.

        Args:
            demands: what is demanded, if they are tracked.
            also: further literals of Z3 that are to be true.
            conflicts: dead ends after which Z3 gives up; it may begin again after each refinement.

        Raises:
            GaveUpError: it did.
        """
        self._solver.set("max_conflicts", conflicts)
        assumed = [*(self._guard((demand,)) for demand in demands), *also]
        for _ in range(_MOST_ROUNDS):
            self._read()
            answer = self._solver.check(*assumed)
            if answer == self._z3.unsat:
                return None
            if answer != self._z3.sat:
                raise GaveUpError(self._solver.reason_unknown())
            model = self._solver.model()
            variants = self._variants(model)
            if not self._statement.refine(variants, partial(self._is_made, model)):
                return variants
        raise GaveUpError(f"no answer among {_MOST_ROUNDS} kept to all rules")

    def core(self) -> set[Demand]:
        """Of the demands of the last ``solve``, which had no answer, some that have none."""
        core = {one.get_id() for one in self._solver.unsat_core()}
        singles = ((names[0], guard) for names, guard in self._guards.items() if len(names) == 1)
        return {demand for demand, guard in singles if guard.get_id() in core}

    def fewest(
        self, kept: Iterable[Demand], droppable: Sequence[Demand], *, conflicts: int
    ) -> list[Demand] | None:
        """The fewest of some tracked demands without which all others of both can be met.

        Where Z3 gives up, there may be fewer. None if it does not suffice to drop all of them.
        """
        z3, kept = self._z3, list(kept)
        try:
            found = self.solve(kept, conflicts=conflicts)
        except GaveUpError:
            return None
        if found is None:
            return None
        guards = [self._guard((demand,)) for demand in droppable]
        dropped = self._some_dropped(kept, droppable, conflicts)
        while dropped:
            few = z3.FreshBool("few", self._context)
            terms = [(few, len(guards) + 1 - len(dropped)), *((z3.Not(one), 1) for one in guards)]
            self._solver.add(z3.PbLe(terms, len(guards)))
            try:
                found = self.solve(kept, also=[few], conflicts=conflicts)
            except GaveUpError:
                break
            if found is None:
                break
            dropped = self._not_made(droppable)
        return dropped

    def _some_dropped(
        self, kept: Sequence[Demand], droppable: Sequence[Demand], conflicts: int
    ) -> list[Demand]:
        """Demands that must be dropped if all before them stay that can; after an answer."""
        made, dropped = list(kept), []
        left = self._not_made(droppable)
        made += [demand for demand in droppable if demand not in left]
        while left:
            demand = left.pop(0)
            try:
                found = self.solve([*made, demand], conflicts=conflicts)
            except GaveUpError:
                found = None
            if found is None:
                dropped.append(demand)
                continue
            self.prefer(found)
            met = {demand, *left} - set(self._not_made(left))
            made += [one for one in (demand, *left) if one in met]
            left = [one for one in left if one not in met]
        return dropped

    def _not_made(self, demands: Sequence[Demand]) -> list[Demand]:
        """The demands that do not count in the last answer."""
        model = self._solver.model()
        return [demand for demand in demands if not self._is_made(model, demand)]

    def add(self, constraint: Constraint) -> None:
        """Takes in one more constraint."""
        z3, literals = self._z3, [self._literal(one) for one in constraint.literals]
        guard = self._guard(constraint.demands) if self._tracked and constraint.demands else None
        if isinstance(constraint, Clause):
            literals += [] if guard is None else [z3.Not(guard)]
            self._solver.add(z3.Or(literals, self._context))
            return
        weights, limit = list(constraint.weights), constraint.limit
        if guard is not None:
            # There is room for all but the demands.
            excess = sum(weights) - limit
            literals.append(guard)
            weights.append(excess)
            limit += excess
        terms = list(zip(literals, weights, strict=True))
        self._solver.add(z3.PbLe(terms, limit) if terms else self._constants[limit >= 0])

    def _read(self) -> None:
        constraints = self._statement.constraints
        while self._n_read < len(constraints):
            self._n_read += 1
            self.add(constraints[self._n_read - 1])

    def _guard(self, demands: tuple[Demand, ...]) -> Any:
        """What is true if all of the demands are made."""
        if demands not in self._guards:
            z3, guard = self._z3, self._bool(f"demand {len(self._guards)}")
            self._guards[demands] = guard
            # What is not assumed is better not made: there is less to keep to.
            self._solver.set_initial_value(guard, self._constants[False])
            if len(demands) > 1:
                missing = [z3.Not(self._guard((demand,))) for demand in demands]
                self._solver.add(z3.Or([guard, *missing]))
        return self._guards[demands]

    def _bool(self, name: str) -> Any:
        return self._z3.Bool(name, self._context)

    def _literal(self, literal: int) -> Any:
        if literal not in self._literals:
            z3 = self._z3
            made = self._bool(f"x{literal}") if literal > 0 else z3.Not(self._literal(-literal))
            self._literals[literal] = made
        return self._literals[literal]

    def _begin_with(self, op: int, variant: int, value: bool) -> None:
        # Z3's own functions below the Python classes take a third of the time.
        self._z3.Z3_solver_set_initial_value(
            self._context.ref(),
            self._solver.solver,
            self._literal(self._statement.on(op, variant)).ast,
            self._constants[value].ast,
        )

    def _is_made(self, model: Any, demand: Demand) -> bool:
        """The demand counts in a model."""
        guard = self._guards.get((demand,))
        return not self._tracked or (guard is not None and self._z3.is_true(model.eval(guard)))

    def _variants(self, model: Any) -> tuple[int, ...]:
        """The variants in the solver's model; the preferred one of each operator is tried first."""
        n_variants, n_ops = self._statement.problem.n_variants, self._statement.problem.n_ops
        if not self._declarations:
            self._declarations = [
                [self._literal(self._statement.on(op, v)).decl() for v in range(n_variants)]
                for op in range(n_ops)
            ]
        true = self._constants[True].ast.value
        interpretation, found = self._z3.Z3_model_get_const_interp, []
        context = self._context.ref()
        for row, first in zip(self._declarations, self._preferred or [0] * n_ops, strict=True):
            for variant in (first, *range(first), *range(first + 1, n_variants)):
                value = interpretation(context, model.model, row[variant].ast)
                if value is not None and value.value == true:
                    found.append(variant)
                    break
        return tuple(found)
