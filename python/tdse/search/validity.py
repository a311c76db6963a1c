"""What makes a placement valid, stated for Z3, and the reasons when one is not.

Z3 does not take part in the search. It checks its results independently of the code that forms
regions, finds a placement where the rules leave few, and turns an unsatisfiable core into a
sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tdse.errors import PlacementError
from tdse.search.evaluate import regions_of
from tdse.search.problem import Problem, listed

# A request that Z3 has not decided by then is reported as such: minutes help nobody.
_TIMEOUT_MS = 20_000
# Answers that are refused for a region that is not connected, each with a new rule.
_MAX_ROUNDS = 500


def check(problem: Problem, assignment: Sequence[int], regions: Sequence[Sequence[int]]) -> None:
    """Checks that a placement and its regions obey every rule.

    Each operator is on one device, where it is legal and as pinned; each is in exactly one
    region, whose operators share a device; there is an order of the regions in which each comes
    after those it reads from (so every region is convex); and a device of which only one region
    is allowed has no more.

    Args:
        problem: the placement problem.
        assignment: device of each operator, length n_ops.
        regions: operators of each region, in any order.

    Raises:
        PlacementError: a rule is broken; the reason names the operators and regions concerned.
    """
    region_of = _region_of(problem, assignment, regions)
    statement = _Statement(problem)
    for op, device in enumerate(assignment):
        statement.add(statement.on(op, device), "fact", op, device)
    order = [statement.integer(f"order {index}") for index in range(len(regions))]
    homes = [statement.integer(f"home {index}") for index in range(len(regions))]
    for index, region in enumerate(regions):
        for op in region:
            for device in range(problem.n_variants):
                same = statement.implies(statement.on(op, device), homes[index] == device)
                statement.add(same, "member", index, op)
    crossings: dict[tuple[int, int], tuple[int, int]] = {}
    for producer, consumer in problem.links:
        pair = (region_of[producer], region_of[consumer])
        if pair[0] != pair[1]:
            crossings.setdefault(pair, (producer, consumer))
    for (source, target), (producer, consumer) in crossings.items():
        statement.add(order[source] < order[target], "feeds", source, target, producer, consumer)
    for device in _single(problem):
        held = statement.count([home == device for home in homes])
        statement.add(held <= 1, "single", device)
    core = statement.core()
    if core is not None:
        raise PlacementError("the placement is not valid", why=_sentence(problem, core))


def explain(problem: Problem) -> str:
    """Why no placement obeys the rules, in a sentence that names operators, pins and devices.

    Operators that have no device left are all reported at once. Returns an empty string if there
    is a valid placement.
    """
    stuck = [op for op, choices in enumerate(problem.choices) if not choices]
    if not stuck:
        return _solve(problem)[1]
    reasons = []
    for op in stuck:
        statement = _Statement(problem)
        statement.place(op)
        core = statement.core()
        if core is not None:
            reasons.append(_sentence(problem, core))
    return listed(list(dict.fromkeys(reasons)))


def find(problem: Problem) -> tuple[int, ...] | None:
    """Any placement that obeys the rules, or None if there is none.

    It is what Z3 comes upon, not a good one: the search starts from it where nothing else fits.
    """
    return _solve(problem)[0]


class _Statement:
    """A Z3 solver whose assertions carry a tag, so that a core can be read."""

    def __init__(self, problem: Problem) -> None:
        # z3 takes a tenth of a second to import, and most runs never need it.
        import z3

        self._z3: Any = z3
        self._problem = problem
        self._solver: Any = z3.Solver()
        self._solver.set("core.minimize", True)
        self._solver.set("timeout", _TIMEOUT_MS)
        self._solver.set("random_seed", 0)
        self._tags: dict[str, tuple[Any, ...]] = {}
        self._rules: dict[tuple[Any, ...], list[Any]] = {}
        self._placed: set[int] = set()

    def on(self, op: int, device: int) -> Any:
        """The operator is on the device."""
        self.place(op)
        return self._z3.Bool(f"on {op} {device}")

    def place(self, op: int) -> None:
        """States the rules of one operator: one device, legal, and as pinned."""
        if op in self._placed:
            return
        self._placed.add(op)
        z3, problem = self._z3, self._problem
        devices = range(problem.n_variants)
        self._solver.add(z3.PbEq([(self.on(op, device), 1) for device in devices], 1))
        illegal = [d for d in devices if problem.costs[op][d] == float("inf")]
        if illegal:
            self.add(z3.And([z3.Not(self.on(op, d)) for d in illegal]), "legal", op)
        pin = int(problem.pins[op])
        if pin >= 0:
            self.add(self.on(op, pin), "pin", op, problem.variants[pin])
        home = int(problem.device_pins[op])
        if home >= 0:
            there = [self.on(op, d) for d in devices if problem.variant_device[d] == home]
            self.add(z3.Or(there), "pin", op, problem.devices[home])

    def integer(self, name: str) -> Any:
        """An integer unknown."""
        return self._z3.Int(name)

    def implies(self, condition: Any, consequence: Any) -> Any:
        """The consequence holds wherever the condition does."""
        return self._z3.Implies(condition, consequence)

    def either(self, choices: Iterable[Any]) -> Any:
        """At least one holds."""
        return self._z3.Or(list(choices))

    def both(self, parts: Iterable[Any]) -> Any:
        """All hold."""
        return self._z3.And(list(parts))

    def negation(self, condition: Any) -> Any:
        """It does not hold."""
        return self._z3.Not(condition)

    def count(self, conditions: Iterable[Any]) -> Any:
        """How many hold."""
        return self._z3.Sum([self._z3.If(one, 1, 0) for one in conditions])

    def add(self, assertion: Any, *tag: Any) -> None:
        """Adds an assertion; assertions with one tag are one rule in a core."""
        self._rules.setdefault(tag, []).append(assertion)

    def solve(self) -> tuple[Any, list[tuple[Any, ...]]]:
        """A model and no core, or no model and the tags of a core; the solver may go on after."""
        for tag, assertions in self._rules.items():
            name = f"rule {len(self._tags)}"
            self._tags[name] = tag
            self._solver.assert_and_track(self._z3.And(assertions), name)
        self._rules = {}
        answer = self._solver.check()
        if answer == self._z3.sat:
            return self._solver.model(), []
        if answer == self._z3.unsat:
            return None, sorted(
                {self._tags[str(one)] for one in self._solver.unsat_core()}, key=str
            )
        raise PlacementError(
            "the rules of the placement could not be decided",
            why=f"Z3 gave up after {_TIMEOUT_MS // 1000} s: {self._solver.reason_unknown()}",
            hint="pin fewer operators, or allow more targets",
        )

    def core(self) -> list[tuple[Any, ...]] | None:
        """The tags of an unsatisfiable core, or None if all rules can be met."""
        model, core = self.solve()
        return core if model is None else None

    def holds(self, model: Any, condition: Any) -> bool:
        """The condition is true in the model."""
        return bool(self._z3.is_true(model.eval(condition, model_completion=True)))


def _solve(problem: Problem) -> tuple[tuple[int, ...] | None, str]:
    """A valid placement and no reason, or None and the reason why there is none.

    For one region on a device: all its operators share one place in an order in which every
    other operator stands alone and after what it reads. That the region is connected is only
    asked for where an answer is not: two of its operators then need one of those around the
    first one's part.
    """
    statement = _Statement(problem)
    for op in range(problem.n_ops):
        statement.place(op)
    singles = _single(problem)
    if singles:
        _order_around(problem, statement, singles)
    for _ in range(_MAX_ROUNDS):
        model, core = statement.solve()
        if model is None:
            return None, _sentence(problem, core)
        assignment = tuple(
            next(
                device
                for device in range(problem.n_variants)
                if statement.holds(model, statement.on(op, device))
            )
            for op in range(problem.n_ops)
        )
        broken = False
        for device in singles:
            parts = [
                part for part in regions_of(problem, assignment) if assignment[part[0]] == device
            ]
            if len(parts) > 1:
                broken = True
                _refuse(problem, statement, assignment, device, parts)
        if not broken:
            return assignment, ""
    raise PlacementError(
        "the rules of the placement could not be decided",
        why=f"no answer among {_MAX_ROUNDS} kept to one region on a device",
        hint="pin fewer operators, or allow more targets",
    )


def _order_around(problem: Problem, statement: _Statement, singles: Sequence[int]) -> None:
    place = [statement.integer(f"place {op}") for op in range(problem.n_ops)]
    for device in singles:
        shared = statement.integer(f"shared {device}")
        for op in range(problem.n_ops):
            here = statement.implies(statement.on(op, device), place[op] == shared)
            statement.add(here, "single", device)
    for producer, consumer in problem.links:
        together = [
            statement.both((statement.on(producer, device), statement.on(consumer, device)))
            for device in singles
        ]
        statement.add(statement.either([*together, place[producer] < place[consumer]]), "order")


def _refuse(
    problem: Problem,
    statement: _Statement,
    assignment: Sequence[int],
    device: int,
    parts: Sequence[Sequence[int]],
) -> None:
    """Adds what the answer did not keep to: that the parts on the device must be connected."""
    inside = set(parts[0])
    while True:
        around = {
            other
            for link in problem.links
            for op, other in (link, link[::-1])
            if op in inside and other not in inside
        }
        more = {op for op in around if assignment[op] == device}
        if not more:
            break
        inside |= more
    apart = [op for part in parts for op in part if op not in inside]
    if apart:
        needed = [statement.on(op, device) for op in sorted(around)]
        one, other = statement.on(parts[0][0], device), statement.on(apart[0], device)
        rule = statement.implies(statement.both((one, other)), statement.either(needed))
    else:
        # Connected and convex, but cut where the regions of another device were merged.
        held = [statement.on(op, home) for op, home in enumerate(assignment)]
        rule = statement.negation(statement.both(held))
    statement.add(rule, "single", device)


def _region_of(
    problem: Problem, assignment: Sequence[int], regions: Sequence[Sequence[int]]
) -> list[int]:
    """The region of each operator; refuses what is not a partition of the operators."""
    if len(assignment) != problem.n_ops:
        raise _invalid(f"it places {len(assignment)} operators, not {problem.n_ops}")
    region_of = [-1] * problem.n_ops
    for index, region in enumerate(regions):
        if not region:
            raise _invalid(f"region {index} is empty")
        for op in region:
            if not 0 <= op < problem.n_ops:
                raise _invalid(f"region {index} holds operator {op}, which does not exist")
            if region_of[op] >= 0:
                raise _invalid(f"{problem.label(op)} is in regions {region_of[op]} and {index}")
            region_of[op] = index
    for op, device in enumerate(assignment):
        if region_of[op] < 0:
            raise _invalid(f"{problem.label(op)} is in no region")
        if not 0 <= device < problem.n_variants:
            raise _invalid(f"{problem.label(op)} is on device {device}, which does not exist")
    return region_of


def _invalid(why: str) -> PlacementError:
    return PlacementError("the placement is not valid", why=why)


def _single(problem: Problem) -> list[int]:
    return [device for device, single in enumerate(problem.single_region.tolist()) if single]


def _sentence(problem: Problem, core: Sequence[tuple[Any, ...]]) -> str:
    """The rules of an unsatisfiable core, told as one reason."""
    cycle = [tag[1:] for tag in core if tag[0] == "feeds"]
    if cycle:
        return _cycle_sentence(problem, cycle)
    on = {tag[1]: tag[2] for tag in core if tag[0] == "fact"}
    pins = [tag[1:] for tag in core if tag[0] == "pin"]
    limited = [tag[1] for tag in core if tag[0] == "legal"]
    members = [tag[1:] for tag in core if tag[0] == "member"]
    parts = [
        f"only one region is allowed on {problem.variants[tag[1]]}"
        for tag in core
        if tag[0] == "single"
    ]
    for op in sorted({*on, *(pinned for pinned, _ in pins), *limited}):
        said = []
        if op in on:
            said.append(f"is on {problem.variants[on[op]]}")
        said += [f"is pinned to {where}" for pinned, where in pins if pinned == op]
        if op in limited:
            said.append(_can_run(problem, op))
        said += [f"is in region {region}" for region, member in members if member == op]
        parts.append(f"{problem.label(op)} {' and '.join(said)}")
    return ", but ".join(parts) if len(parts) == 2 else ", ".join(dict.fromkeys(parts))


def _can_run(problem: Problem, op: int) -> str:
    legal = [
        name
        for name, cost in zip(problem.variants, problem.costs[op], strict=True)
        if cost != float("inf")
    ]
    if not legal:
        return f"can run on none of {', '.join(problem.variants)}"
    return f"can run only on {', '.join(legal)}"


def _cycle_sentence(problem: Problem, cycle: Sequence[tuple[int, int, int, int]]) -> str:
    follow = {source: (target, producer, consumer) for source, target, producer, consumer in cycle}
    at = start = min(follow)
    path, feeds = [str(start)], []
    while True:
        at, producer, consumer = follow[at]
        path.append(str(at))
        feeds.append(f"{problem.label(producer)} feeds {problem.label(consumer)}")
        if at == start or at not in follow:
            break
    return f"regions {' -> '.join(path)} wait for each other ({', '.join(feeds)})"
