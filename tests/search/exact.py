"""The best placement there is, with its proof, by OR-tools CP-SAT: what the search is held to.

Whatever CP-SAT finds is turned into genes and evaluated. The evaluation's figure counts, and an
optimum is proven only if the bound comes as close to it as rounding allows. Where the model lets
something begin otherwise than the evaluation does, it is told so and solved once more.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from exact_model import UNITS_PER_US, Objective, PlacementModel, units
from exact_turns import Times, Turns
from ortools.sat.python import cp_model

from tdse.errors import TdseError
from tdse.search import Problem
from tdse.search.native import Evaluator
from tdse.search.schedule import Genes, Outcome

Status = Literal["proven", "feasible", "infeasible", "unknown"]


@dataclass(frozen=True)
class Exact:
    """What CP-SAT found out.

    Attributes:
        status: ``proven``, the genes are the best there are, within ``rounding``; ``feasible``,
            they obey all rules, but may not be the best; ``infeasible``, no genes obey all rules;
            ``unknown``, none were found.
        value: objective of the genes, as evaluated, in microseconds, or microjoules for energy;
            inf without genes.
        bound: nothing is better than this.
        rounding: by how much the costs, rounded down to 1/1000 us, may change the objective.
        genes: the best that were found; they give the schedule.
        seconds: that it took, on the clock.
        trail: (seconds, value) whenever better genes were found.
    """

    status: Status
    value: float
    bound: float
    rounding: float
    genes: Genes | None
    seconds: float
    trail: tuple[tuple[float, float], ...]


def solve(
    problem: Problem,
    objective: Objective = "latency",
    limit_s: float = 60.0,
    hint: Genes | None = None,
    *,
    workers: int = 1,
    seed: int = 0,
    first: bool = False,
) -> Exact:
    """The genes with the least makespan, period or energy that obey all rules.

    Of limited memories, the model knows only the constants; if its optimum takes more at its
    peak, the result is not ``proven``.

    Args:
        problem: the placement problem.
        objective: what to make as small as possible.
        limit_s: seconds after which to give up, without those to build the model.
        hint: genes to begin with.
        workers: threads of CP-SAT.
        seed: CP-SAT's; with one worker, equal seeds give equal answers if time suffices.
        first: stop at the first genes that obey all rules.

    Raises:
        TdseError: regions that run side by side slow each other down.
    """
    if (problem.slowdown != 1).any():
        raise TdseError(
            "the problem cannot be solved exactly",
            where="slowdown",
            why="regions that run side by side slow each other down, which the model leaves out",
        )
    return _Solving(problem, objective, limit_s, hint, workers, seed, first).run()


class _Solving:
    def __init__(
        self,
        problem: Problem,
        objective: Objective,
        limit_s: float,
        hint: Genes | None,
        workers: int,
        seed: int,
        first: bool,
    ) -> None:
        self._problem, self._objective = problem, objective
        self._workers, self._seed, self._first = workers, seed, first
        self._began = time.perf_counter()
        self._limit_s = limit_s
        self._evaluator = Evaluator(problem)
        self._rounding = _rounding(problem, objective)
        self._best: Genes | None = None
        self._value, self._bound = math.inf, -math.inf
        self._trail: list[tuple[float, float]] = []
        if hint is not None:
            self.consider(hint)

    def run(self) -> Exact:
        problem = self._problem
        if not problem.n_ops:
            self.consider(Genes([]))
            return self._result("proven" if self._best else "infeasible")
        if not all(problem.choices):
            return self._result("infeasible")
        alone = splits_freely(problem)
        for genes in _plain_genes(problem):
            self.consider(genes)
        if self.satisfied:
            return self._result("feasible")
        status = self._refine(alone=alone)
        if alone and status == "stuck":
            # On a shared bus, it may pay to finish late.
            status = self._refine(alone=False)
        if status == "infeasible":
            return self._result("infeasible")
        return self._result("feasible" if self._best else "unknown")

    @property
    def satisfied(self) -> bool:
        """Any genes were asked for, and some are there."""
        return self._first and self._best is not None

    def consider(self, genes: Genes) -> Outcome:
        """Keeps the genes if they obey the rules and are the best so far."""
        outcome = self._evaluator.outcome(genes)
        value = {
            "latency": outcome.makespan_us,
            "throughput": outcome.period_us,
            "energy": outcome.energy_uj,
        }[self._objective]
        if outcome.is_valid and value < self._value:
            self._best, self._value = genes, value
            self._trail.append((time.perf_counter() - self._began, value))
        return outcome

    def _refine(self, *, alone: bool) -> str:
        """Solves until the evaluation agrees; ``stuck`` if nothing is left to be told."""
        model = PlacementModel(self._problem, self._objective, alone=alone)
        turns = Turns(model, strictly=not alone)
        deadline = time.perf_counter() + self._limit_s
        while (left_s := deadline - time.perf_counter()) > 0:
            self._hint(model)
            solver = cp_model.CpSolver()
            solver.parameters.max_time_in_seconds = left_s
            solver.parameters.num_workers = self._workers
            solver.parameters.random_seed = self._seed
            solver.parameters.linearization_level = 2
            if self._workers == 2:
                # One for each end: on these models they prove far more than the usual pair.
                solver.parameters.subsolvers.extend(["max_lp", "lb_tree_search"])
            watch = _Watch(self, model)
            status = solver.solve(model.cp, watch)
            if status == cp_model.INFEASIBLE:
                # With genes at hand, only times that were rounded contradict each other.
                return "infeasible" if self._best is None else "stuck"
            if status == cp_model.MODEL_INVALID:
                raise AssertionError(model.cp.validate())
            bound = solver.best_objective_bound / model.goal_units
            self._bound = max(self._bound, bound)
            if self._closed() or self.satisfied:
                return "done"
            if watch.times is None or status != cp_model.OPTIMAL:
                return "open"
            if not turns.add(watch.times):
                return "stuck"
        return "open"

    def _closed(self) -> bool:
        return self._value <= self._bound + self._rounding

    def _hint(self, model: PlacementModel) -> None:
        """The best genes so far, with their times."""
        cp, genes = model.cp, self._best
        cp.clear_hints()
        if genes is None:
            return
        schedule = self._evaluator.outcome(genes).schedule
        chosen = {(op, one.ops[0], one.variant) for one in schedule.regions for op in one.ops}
        for key, literal in model.member.items():
            cp.add_hint(literal, key in chosen)
        for one in schedule.regions if model.timed else ():
            for op in one.ops:
                cp.add_hint(model.start[op], units(one.start_us))
                cp.add_hint(model.end[op], units(one.end_us))
        for copy in schedule.transfers if model.timed else ():
            cp.add_hint(model.copy_start[copy.value, copy.target], units(copy.start_us))

    def _result(self, status: Status) -> Exact:
        if self._best is not None and self._closed():
            status = "proven"
        seconds = time.perf_counter() - self._began
        bound = math.inf if status == "infeasible" else self._bound
        return Exact(
            status, self._value, bound, self._rounding, self._best, seconds, tuple(self._trail)
        )


class _Watch(cp_model.CpSolverSolutionCallback):
    """Evaluates each solution when it is found, and keeps the last one."""

    def __init__(self, solving: _Solving, model: PlacementModel) -> None:
        super().__init__()
        self._solving, self._model = solving, model
        self.times: Times | None = None

    def on_solution_callback(self) -> None:
        self.times = Times.read(self._model, self.value)
        self._solving.consider(self.times.genes(self._model.problem))
        if self._solving.satisfied:
            self.stop_search()


def _plain_genes(problem: Problem) -> Iterator[Genes]:
    """Something to begin with: one variant wherever it is legal, elsewhere the fastest."""
    fastest = [
        min(choices, key=problem.costs[op].__getitem__)
        for op, choices in enumerate(problem.choices)
    ]
    for variant in range(problem.n_variants):
        variants = [
            variant if variant in choices else best
            for choices, best in zip(problem.choices, fastest, strict=True)
        ]
        yield Genes(variants)
        yield Genes(variants, [True] * len(problem.links))
    yield Genes(fastest, [True] * len(problem.links))


def splits_freely(problem: Problem) -> bool:
    """A region can always be cut into its operators, one by one, without any cost."""
    if problem.launch_us.any() or problem.single_region.any():
        return False
    if np.diagonal(problem.border_us).any() or np.diagonal(problem.copy_us_per_byte).any():
        return False
    shared = any(len(value.consumers) > 1 for value in problem.flows)
    if shared and (problem.border_us.any() or problem.copy_us_per_byte.any()):
        return False
    shared = any(len(value.consumers) > 1 for value in problem.input_flows)
    return not (shared and (problem.host_border_us.any() or problem.host_copy_us_per_byte.any()))


def _rounding(problem: Problem, objective: Objective) -> float:
    """Each of the sums' terms loses less than one unit."""
    reads = sum(len(value.consumers) + 1 for value in problem.values)
    terms = 2 * problem.n_ops + 2 * reads + 1
    if objective != "energy":
        return terms / UNITS_PER_US
    watts = 1.0 + float(problem.active_w.max()) + float(problem.idle_w.sum())
    total_us = float(np.where(np.isfinite(problem.cost_us), problem.cost_us, 0).sum())
    return (terms * watts + total_us) / UNITS_PER_US
