"""Valid placements from Z3: the nearest to an invalid one, and many that differ."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

from tdse.search.formula import Sum
from tdse.search.native import Evaluator
from tdse.search.problem import Problem
from tdse.search.regions import cuts_keeping_whole
from tdse.search.schedule import Genes, Rule
from tdse.search.solver import GaveUpError, Solver
from tdse.search.statement import Statement

# Dead ends after which a repair falls back on what is known, a few hundredths of a second;
# and after which it is not known whether any placement is valid, a few seconds.
_REPAIR_CONFLICTS = 300
_ANY_CONFLICTS = 30_000
# Answers among which a repair that takes too long looks for the nearest.
_N_RECENT = 100


class Constraints:
    """What keeps placements of one problem valid; equal calls in equal order give equal answers.

    Answers keep to all rules that do not depend on time, and to what is necessary for the others
    (``statement``): deadlines, rates, the energy budget and the memories' sizes may still be
    broken.

    Args:
        problem: the placement problem.
        seed: of what Z3 and ``seeds`` do at random.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        self._problem = problem
        self._seed = seed
        self._evaluator = Evaluator(problem)
        self._statement = Statement(problem)
        self._solver = Solver(self._statement, seed, tracked=False)
        # What repairs came to, by the variants that were asked for.
        self._answers: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._recent: deque[tuple[int, ...]] = deque(maxlen=_N_RECENT)
        self._hopeless = False

    def repair(self, genes: Genes) -> Genes | None:
        """A valid placement that keeps most of the genes, or None if none was found.

        Cuts stay where they do not part a region that must be one. If it takes Z3 too long to
        mend a placement, the nearest of the last answers is given instead.
        """
        if not self._breaks(genes, list(Rule)):
            return genes
        variants = self._mended(tuple(genes.variants))
        return None if variants is None else self._with_variants(genes, variants)

    def seeds(self, count: int) -> list[Genes]:
        """Valid placements that differ from each other in many operators; fewer if there are few.

        They are close to those with all operators on one variant, then to random ones.
        """
        problem, chance = self._problem, random.Random(self._seed)
        found: list[tuple[int, ...]] = []
        distance = max(1, problem.n_ops // 4)
        wanted = [[variant] * problem.n_ops for variant in range(problem.n_variants)]
        while len(found) < count:
            solver = Solver(self._statement, self._seed, tracked=False)
            for known in found:
                solver.add(self._apart(known, distance))
            while len(found) < count:
                solver.prefer(wanted[len(found)] if len(found) < len(wanted) else self._any(chance))
                try:
                    variants = solver.solve(conflicts=_ANY_CONFLICTS)
                except GaveUpError:
                    variants = None
                if variants is None:
                    break
                found.append(variants)
                solver.add(self._apart(variants, distance))
            if distance == 1 or not found:
                break
            distance //= 2
        return [self._with_variants(Genes(known), known) for known in found]

    def _mended(self, wanted: tuple[int, ...]) -> tuple[int, ...] | None:
        if wanted in self._answers or self._hopeless:
            return self._answers.get(wanted)
        self._solver.prefer(wanted)
        try:
            conflicts = _REPAIR_CONFLICTS if self._recent else _ANY_CONFLICTS
            answer = self._solver.solve(conflicts=conflicts)
        except GaveUpError:
            answer = min(self._recent, key=lambda one: _distance(one, wanted), default=None)
        if answer is None:
            self._hopeless = True
            return None
        self._recent.append(answer)
        self._answers[wanted] = answer
        return answer

    def _with_variants(self, genes: Genes, variants: Sequence[int]) -> Genes:
        """The genes with other variants, and cuts that leave single regions whole."""
        mended = Genes(variants, genes.cuts, genes.priority, genes.strict)
        if self._breaks(mended, [Rule.SINGLE_REGION]):
            cuts = cuts_keeping_whole(self._problem, mended)
            mended = Genes(variants, cuts, genes.priority, genes.strict)
        return mended

    def _breaks(self, genes: Genes, rules: Sequence[Rule]) -> bool:
        cuts = None if genes.cuts is None else [genes.cuts]
        priority = None if genes.priority is None else [genes.priority]
        found = self._evaluator.evaluate([genes.variants], cuts, priority, strict=genes.strict)
        return bool(found.violations[0, rules].any())

    def _apart(self, variants: Sequence[int], distance: int) -> Sum:
        """At least so many operators run as something else."""
        same = tuple(self._statement.on(op, variant) for op, variant in enumerate(variants))
        return Sum((1,) * len(same), same, len(same) - distance)

    def _any(self, chance: random.Random) -> list[int]:
        return [chance.choice(choices) for choices in self._problem.choices]


def _distance(first: Sequence[int], second: Sequence[int]) -> int:
    return sum(one != other for one, other in zip(first, second, strict=True))
