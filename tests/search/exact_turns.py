"""Takes from the CP-SAT model, where a solution used it, the freedom to wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from exact_model import Copy, PlacementModel
from instances import cuts_between

from tdse.search import Problem
from tdse.search.schedule import Genes


@dataclass(frozen=True)
class Times:
    """A solution: regions by their roots, and units of time.

    Attributes:
        root: of the region of each operator.
        variant: of each operator.
        start: of the region of each operator.
        end: of the region of each operator.
        copies: the transfers that are made, with their buses, starts and ends.
    """

    root: tuple[int, ...]
    variant: tuple[int, ...]
    start: tuple[int, ...]
    end: tuple[int, ...]
    copies: dict[Copy, tuple[int, int, int]]

    @staticmethod
    def read(model: PlacementModel, value: Callable[[Any], int]) -> Times:
        """From the values of the model's variables."""
        held = {key[0]: key for key, literal in model.regions.member.items() if value(literal)}
        copies = {
            (index, target): (
                int(model.problem.link_bus[source, target]),
                value(model.copy_start[index, target]),
                value(model.copy_end[index, target]),
            )
            for (index, source, target), literal in model.copied.items()
            if model.timed and value(literal)
        }
        ops = range(model.problem.n_ops)
        return Times(
            tuple(held[op][1] for op in ops),
            tuple(held[op][2] for op in ops),
            tuple(value(one) if model.timed else 0 for one in model.start),
            tuple(value(one) if model.timed else 0 for one in model.end),
            copies,
        )

    def genes(self, problem: Problem) -> Genes:
        """Regions in the order of their starts."""
        regions: dict[int, list[int]] = {}
        for op, root in enumerate(self.root):
            regions.setdefault(root, []).append(op)
        cuts = cuts_between(problem, regions.values())
        # Beside this, what the schedule would do by itself is nothing.
        late = [
            -1e6 * start if op == root else 0.0
            for op, (root, start) in enumerate(zip(self.root, self.start, strict=True))
        ]
        return Genes(self.variant, cuts, late, strict=True)


class Turns:
    """Adds to a model what a solution of it did and the evaluation does not.

    Args:
        model: the model.
        strictly: regions and transfers that could begin must not wait, either. Without this, the
            model's optimum stays a bound of what any regions could reach, not only of those that
            it is made of.
    """

    def __init__(self, model: PlacementModel, *, strictly: bool) -> None:
        self._model, self._strictly = model, strictly
        self._pairs: set[tuple[Copy, Copy]] = set()
        self._prompt: set[int | Copy] = set()

    def add(self, times: Times) -> bool:
        """Whether there was anything to add."""
        if not self._strictly or not self._model.timed:
            return False
        added = [self._keep_turns(one, other) for one, other in self._overtaken(times)]
        if added:
            return True
        idle = [*self._idle_regions(times), *self._idle_copies(times)]
        for item in idle:
            self._prompt.add(item)
            if isinstance(item, int):
                self._start_promptly(item)
            else:
                self._copy_promptly(item)
        return bool(idle)

    # Transfers on one bus begin in the order in which they are asked for.

    def _asked(self, times: Times, copy: Copy) -> tuple[int, int, int, int]:
        """By when a transfer takes its turn."""
        problem, memory = self._model.problem, self._model.memory
        value = problem.values[copy[0]]
        reader = next(
            (i for i, op in enumerate(value.consumers) if memory[times.variant[op]] == copy[1]),
            problem.n_ops,
        )
        if value.producer < 0:
            return (0, -1, copy[0], reader)
        root = times.root[value.producer]
        return (times.end[value.producer], root, copy[0], reader)

    def _overtaken(self, times: Times) -> list[tuple[Copy, Copy]]:
        """Pairs of transfers on one bus that did not keep their turns."""
        pairs = []
        for one, other in combinations(sorted(times.copies), 2):
            (bus, start, end), (other_bus, other_start, other_end) = (
                times.copies[one], times.copies[other],
            )  # fmt: skip
            if bus < 0 or bus != other_bus or (one, other) in self._pairs:
                continue
            asked_first = self._asked(times, one) < self._asked(times, other)
            if asked_first != ((start, end) < (other_start, other_end)):
                pairs.append((one, other))
        return pairs

    def _keep_turns(self, one: Copy, other: Copy) -> None:
        self._pairs.add((one, other))
        cp, model = self._model.cp, self._model
        values = model.problem.values
        producers = [values[copy[0]].producer for copy in (one, other)]
        for bus, literals in self._together(one, other):
            first = cp.new_bool_var(f"first{one},{other},{bus}")
            before = model.copy_start[other] >= model.copy_end[one]
            after = model.copy_start[one] >= model.copy_end[other]
            cp.add(before).only_enforce_if(*literals, first)
            cp.add(after).only_enforce_if(*literals, first.negated())
            if one[0] == other[0]:
                self._in_order_of_readers(one, other, first)
            elif min(producers) < 0 or producers[0] == producers[1]:
                # Inputs come first; pairs are sorted, inputs are the first values.
                cp.add(first == 1)
            else:
                ends = [model.end[producer] for producer in producers]
                cp.add(ends[0] <= ends[1]).only_enforce_if(*literals, first)
                later = cp.add(ends[1] <= ends[0])
                later.only_enforce_if(*literals, first.negated())
                link = model.regions.joined.get((producers[0], producers[1]))
                if link is not None:
                    cp.add_implication(link, first)

    def _together(self, one: Copy, other: Copy) -> Iterator[tuple[int, list[Any]]]:
        """Buses on which both may be, with literals that say that they are."""
        model = self._model
        on: list[dict[int, list[Any]]] = []
        for copy in (one, other):
            buses: dict[int, list[Any]] = {}
            for (index, source, target), literal in model.copied.items():
                if (index, target) == copy:
                    bus = int(model.problem.link_bus[source, target])
                    buses.setdefault(bus, []).append(literal)
            on.append(buses)
        for bus in sorted(set(on[0]) & set(on[1]) - {-1}):
            for literal in on[0][bus]:
                for other_literal in on[1][bus]:
                    yield bus, [literal, other_literal]

    def _in_order_of_readers(self, one: Copy, other: Copy, first: Any) -> None:
        """Copies of one tensor: whose first reader comes first."""
        model = self._model
        earlier: list[Any] = []
        for op in model.problem.values[one[0]].consumers:
            within = [
                [
                    model.regions.x[op, variant]
                    for variant in model.problem.choices[op]
                    if model.memory[variant] == target
                ]
                for target in (one[1], other[1])
            ]
            for literal in within[0]:
                model.cp.add_bool_or([first, literal.negated(), *earlier])
            for literal in within[1]:
                model.cp.add_bool_or([first.negated(), literal.negated(), *earlier])
            earlier += [*within[0], *within[1]]
        # The host's copy of an output comes after the readers.
        host = model.host_memory
        if model.problem.values[one[0]].is_output and host in (one[1], other[1]):
            last = first.negated() if host == one[1] else first
            model.cp.add_bool_or([last, *earlier])

    # Whatever can begin, begins.

    def _idle_regions(self, times: Times) -> Iterator[int]:
        """Roots of regions that start when nothing happens that they could have waited for."""
        model = self._model
        problem = model.problem
        device = [int(problem.variant_device[variant]) for variant in times.variant]
        roots = sorted(set(times.root))
        there: dict[int, set[int]] = {root: {0} for root in roots}
        for index, value in enumerate(problem.values):
            for op in value.consumers:
                copy = (index, int(problem.device_memory[device[op]]))
                if copy in times.copies:
                    there[times.root[op]].add(times.copies[copy][2])
                elif value.producer >= 0 and times.root[value.producer] != times.root[op]:
                    there[times.root[op]].add(times.end[value.producer])
        for root in roots:
            for other in roots:
                if other != root and device[other] == device[root]:
                    there[root].add(times.end[other])
                    if problem.device_cores[device[root]] > 1:
                        there[root].add(times.start[other])
            if root not in self._prompt and times.start[root] not in there[root]:
                yield root

    def _idle_copies(self, times: Times) -> Iterator[Copy]:
        for copy, (bus, start, _) in sorted(times.copies.items()):
            producer = self._model.problem.values[copy[0]].producer
            free = {0 if producer < 0 else times.end[producer]}
            free |= {
                end
                for other, (other_bus, _, end) in times.copies.items()
                if other != copy and bus == other_bus and bus >= 0
            }
            if copy not in self._prompt and start not in free:
                yield copy

    def _start_promptly(self, root: int) -> None:
        model, cp = self._model, self._model.cp
        problem, start = model.problem, model.start[root]
        present = [model.regions.member[root, root, variant] for variant in problem.choices[root]]
        reasons = []

        def reason(time: Any, *literals: Any) -> None:
            chosen = cp.new_bool_var("")
            cp.add(start == time).only_enforce_if(chosen)
            for literal in literals:
                cp.add_implication(chosen, literal)
            reasons.append(chosen)

        reason(0)
        inside = {
            op: model.regions.within(op, root) for op in range(root, problem.n_ops)
            if any(key[1] == root for key, _ in model.regions.members_of(op))
        }  # fmt: skip
        for u, w in problem.links:
            if w in inside:
                joined = model.regions.joined.get((u, w))
                apart = [] if joined is None else [joined.negated()]
                reason(model.end[u], inside[w], *apart)
        for (index, reader, target), moved in model.moved.items():
            if reader in inside:
                reason(model.copy_end[index, target], inside[reader], moved)
        for other in range(problem.n_ops):
            for variant in problem.choices[other] if other != root else ():
                device = problem.variant_device[variant]
                for own in problem.choices[root]:
                    if problem.variant_device[own] != device:
                        continue
                    both = (
                        model.regions.member[root, root, own],
                        model.regions.member[other, other, variant],
                    )
                    reason(model.end[other], *both)
                    if problem.device_cores[device] > 1:
                        reason(model.start[other], *both)
        for literal in present:
            cp.add_bool_or([literal.negated(), *reasons])

    def _copy_promptly(self, copy: Copy) -> None:
        model, cp = self._model, self._model.cp
        producer = model.problem.values[copy[0]].producer
        made = cp.new_bool_var("")
        cp.add(
            model.copy_start[copy] == (0 if producer < 0 else model.end[producer])
        ).only_enforce_if(made)
        reasons = [made]
        for other in sorted({(index, target) for index, _, target in model.copied} - {copy}):
            for _, literals in self._together(copy, other):
                chosen = cp.new_bool_var("")
                for literal in literals:
                    cp.add_implication(chosen, literal)
                cp.add(model.copy_start[copy] == model.copy_end[other]).only_enforce_if(chosen)
                reasons.append(chosen)
        for (index, _, target), literal in model.copied.items():
            if (index, target) == copy:
                cp.add_bool_or([literal.negated(), *reasons])
