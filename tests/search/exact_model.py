"""The placement problem for OR-tools CP-SAT: regions, transfers, and when they run.

A region is named by its lowest operator, its root. ``member[op, root, variant]`` says that an
operator is in it. Times are integers in units of 1/1000 us; every cost is rounded down, so that
the least value of the model is a lower bound of the problem's.

The model alone leaves two freedoms that the evaluation does not have: transfers take any turn on
their bus, and whatever could begin may wait. ``keep_turns`` and ``forbid_waiting`` take them away
for those that made use of them in a solution; most optima do not need that.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

import networkx
import numpy as np
from ortools.sat.python import cp_model

from tdse.search.problem import Flow, Problem

UNITS_PER_US = 1000
# Energies are counted in 1/1000 of a unit of time times a watt.
_UNITS_PER_WATT = 1000
_HOST = 0

Objective = Literal["latency", "throughput", "energy"]
Member = tuple[int, int, int]
Copy = tuple[int, int]
"""A tensor, by its index among ``Problem.values``, and the memory that it is carried to."""


def units(time_us: float) -> int:
    """Microseconds in units of the model, rounded down."""
    return math.floor(time_us * UNITS_PER_US + 1e-6)


class PlacementModel:
    """Variables and constraints of one problem.

    Args:
        problem: without slowdown, and with a variant for each operator.
        objective: what to make as small as possible: the time of one run, the period, or the
            energy of one run.
        alone: let each operator be a region.
    """

    def __init__(self, problem: Problem, objective: Objective, *, alone: bool) -> None:
        self.problem, self.objective = problem, objective
        self.cp = cp_model.CpModel()
        self._memory = problem.device_memory[problem.variant_device].tolist()
        self._host_memory = int(problem.device_memory[_HOST])
        self._graph = networkx.DiGraph(problem.links)
        self._graph.add_nodes_from(range(problem.n_ops))
        self._after = [networkx.descendants(self._graph, op) for op in range(problem.n_ops)]
        self._horizon = self._longest()
        self.timed = _is_timed(problem, objective)
        # Times forbid circles, unless a region may take no time.
        instant = bool((problem.launch_us + problem.cost_us.min(axis=0, initial=1.0) < 0.01).any())
        self._levelled = not alone and (instant or not self.timed)
        self._candidates = self._find_candidates(alone)
        self._bare = self._find_bare()
        self._choose_members()
        self._connect_side_entries()
        self._join_links()
        self._time_links()
        self._copy_values()
        self._sum_work()
        self._run_on_devices()
        self._obey_rules()
        self._sum_figures()

    # Building blocks.

    def _bool(self, name: str) -> Any:
        return self.cp.new_bool_var(name)

    def _time(self, name: str) -> Any:
        return self.cp.new_int_var(0, self._horizon, name)

    def _literal(self, terms: Sequence[Any], name: str) -> Any:
        """A literal for a sum of literals of which at most one is true."""
        if len(terms) == 1:
            return terms[0]
        literal = self._bool(name)
        self.cp.add(literal == sum(terms))
        return literal

    def _longest(self) -> int:
        """No schedule without needless waiting is longer: everything one after the other."""
        problem = self.problem
        finite = np.where(np.isfinite(problem.cost_us), problem.cost_us, 0.0)
        total_us = float(finite.max(axis=1, initial=0.0).sum())
        total_us += problem.n_ops * float(problem.launch_us.max())
        per_byte = np.where(np.isfinite(problem.link_us_per_byte), problem.link_us_per_byte, 0.0)
        for value in problem.values:
            pair_us = problem.border_us + problem.copy_us_per_byte * value.size_bytes
            host_us = problem.host_border_us + problem.host_copy_us_per_byte * value.size_bytes
            carry_us = float((problem.link_latency_us + per_byte * value.size_bytes).max())
            each_us = max(float(pair_us.max()), float(host_us.max())) + carry_us
            total_us += each_us * (len(value.consumers) + 1) + float(host_us.max())
        return units(total_us) + 1

    # Regions.

    def _find_candidates(self, alone: bool) -> dict[tuple[int, int], list[int]]:
        """(root, variant): the operators that may be in such a region, ascending."""
        problem = self.problem
        found = {}
        for root in range(problem.n_ops):
            for variant in problem.choices[root]:
                fit = {op for op in range(root, problem.n_ops) if variant in problem.choices[op]}
                found[root, variant] = [root] if alone else sorted(self._reach(root, fit))
        return found

    def _reach(self, root: int, fit: set[int]) -> set[int]:
        """What is connected with the root, all ways from the root included."""
        while True:
            near = networkx.node_connected_component(
                self._graph.subgraph(fit).to_undirected(as_view=True), root
            )
            inside = {
                op
                for op in near
                if all(
                    u in near
                    for u in self._graph.predecessors(op)
                    if u == root or u in self._after[root]
                )
            }
            if inside == fit:
                return inside
            fit = inside

    def _find_bare(self) -> set[int]:
        """Operators that are regions of their own, which take the operator's time and no more."""
        problem = self.problem
        joinable = {op for (root, _), ops in self._candidates.items() if len(ops) > 1 for op in ops}
        costly = set()
        for value in problem.values:
            into = {
                op: any(
                    self._pair_size(value, a, b)
                    for a in problem.choices[value.producer]
                    for b in problem.choices[op]
                )
                if value.producer >= 0
                else any(self._host_size(value, b) for b in problem.choices[op])
                for op in value.consumers
            }
            costly |= {op for op, costs in into.items() if costs}
            if value.is_output and any(
                self._host_size(value, a) for a in problem.choices[value.producer]
            ):
                costly.add(value.producer)
        launched = {
            op
            for op in range(problem.n_ops)
            if any(problem.launch_us[variant] for variant in problem.choices[op])
        }
        return set(range(problem.n_ops)) - joinable - costly - launched

    def _choose_members(self) -> None:
        problem = self.problem
        self.member: dict[Member, Any] = {}
        for (root, variant), ops in self._candidates.items():
            for op in ops:
                self.member[op, root, variant] = self._bool(f"m{op},{root},{variant}")
        self._by_op: dict[int, list[tuple[Member, Any]]] = defaultdict(list)
        for key, literal in self.member.items():
            self._by_op[key[0]].append((key, literal))
        self.x: dict[tuple[int, int], Any] = {}
        of_op: dict[tuple[int, int], list[Any]] = defaultdict(list)
        for (op, _, variant), literal in self.member.items():
            of_op[op, variant].append(literal)
        for (op, variant), literals in of_op.items():
            self.x[op, variant] = self._literal(literals, f"x{op},{variant}")
        for op in range(problem.n_ops):
            self.cp.add_exactly_one(
                literal for variant in problem.choices[op] for literal in of_op[op, variant]
            )
        for (op, root, variant), literal in self.member.items():
            if op != root:
                self.cp.add_implication(literal, self.member[root, root, variant])
            for u in self._graph.predecessors(op):
                if self._passes(root, u):
                    self.cp.add_implication(literal, self.member[u, root, variant])

    def _passes(self, root: int, op: int) -> bool:
        """The operator lies on a way from the root to any of its readers."""
        return op == root or op in self._after[root]

    def _connect_side_entries(self) -> None:
        """What is not after the root is connected with it by a tree of links."""
        side: dict[int, list[Member]] = defaultdict(list)
        for op, root, variant in self.member:
            if not self._passes(root, op):
                side[op].append((op, root, variant))
        rank = {op: self.cp.new_int_var(0, self.problem.n_ops, f"rank{op}") for op in side}
        for op, members in side.items():
            near = [*self._graph.predecessors(op), *self._graph.successors(op)]
            parent = {other: self._bool(f"parent{op},{other}") for other in near}
            for key in members:
                self.cp.add_bool_or([self.member[key].negated(), *parent.values()])
                for other, literal in parent.items():
                    held = self.member.get((other, *key[1:]))
                    clause = [literal.negated(), self.member[key].negated()]
                    self.cp.add_bool_or(clause if held is None else [*clause, held])
            for other, literal in parent.items():
                if other in rank:
                    self.cp.add(rank[op] >= rank[other] + 1).only_enforce_if(literal)

    # Links.

    def _join_links(self) -> None:
        """For each link: joined in a region, or apart, and then from which to which variant."""
        problem = self.problem
        self.joined: dict[tuple[int, int], Any] = {}
        self.apart: dict[tuple[int, int], dict[tuple[int, int], Any]] = {}
        for u, w in problem.links:
            together: dict[int, list[Any]] = defaultdict(list)
            for (op, root, variant), literal in self.members_of(w):
                held = self.member.get((u, root, variant))
                if held is None:
                    continue
                if self._passes(root, u):
                    both = literal
                else:
                    both = self._bool(f"both{u},{op},{root},{variant}")
                    self.cp.add_implication(both, held)
                    self.cp.add_implication(both, literal)
                    self.cp.add_bool_or([both, held.negated(), literal.negated()])
                together[variant].append(both)
            every = [literal for literals in together.values() for literal in literals]
            if every:
                self.joined[u, w] = self._literal(every, f"joined{u},{w}")
            pairs = {
                (a, b): self._bool(f"apart{u},{w},{a},{b}")
                for a in problem.choices[u]
                for b in problem.choices[w]
            }
            for a in problem.choices[u]:
                leaving = [pairs[a, b] for b in problem.choices[w]]
                self.cp.add(sum(leaving) + sum(together.get(a, [])) == self.x[u, a])
            for b in problem.choices[w]:
                coming = [pairs[a, b] for a in problem.choices[u]]
                self.cp.add(sum(coming) + sum(together.get(b, [])) == self.x[w, b])
            self.apart[u, w] = pairs

    def members_of(self, op: int) -> list[tuple[Member, Any]]:
        """The literals of the regions that an operator may be in."""
        return self._by_op[op]

    def within(self, op: int, root: int) -> Any:
        """A literal: the operator is in the region of the root."""
        literals = [literal for key, literal in self._by_op[op] if key[1] == root]
        return self._literal(literals, f"within{op},{root}")

    def _time_links(self) -> None:
        """Starts and ends of each operator's region; a region that reads of another is later."""
        problem = self.problem
        self.start = [self._time(f"start{op}") for op in range(problem.n_ops)]
        self.end = [self._time(f"end{op}") for op in range(problem.n_ops)]
        # Each operator in its region, launches and borders first, as if one ran after the other.
        self.begin = [
            self.start[op] if op in self._bare else self._time(f"begin{op}")
            for op in range(problem.n_ops)
        ]
        for u, w in problem.links if self.timed else ():
            self._follow(self.joined.get((u, w)), (self.end[u], self.start[w]), 0)
            if (u, w) in self.joined:
                equal = self.joined[u, w]
                self.cp.add(self.start[w] == self.start[u]).only_enforce_if(equal)
                self.cp.add(self.end[w] == self.end[u]).only_enforce_if(equal)
        if self._levelled:
            most = max(problem.n_ops - 1, 0)
            level = [self.cp.new_int_var(0, most, f"level{op}") for op in range(problem.n_ops)]
            for u, w in problem.links:
                self._follow(self.joined.get((u, w)), (level[u], level[w]), 1)
                if (u, w) in self.joined:
                    self.cp.add(level[w] == level[u]).only_enforce_if(self.joined[u, w])

    def _follow(self, joined: Any, pair: tuple[Any, Any], step: int) -> None:
        follows = self.cp.add(pair[1] >= pair[0] + step)
        if joined is not None:
            follows.only_enforce_if(joined.negated())

    # Transfers.

    def carry(self, value: Flow, source: int, target: int) -> int | None:
        """Units of a transfer; None if there is no way."""
        per_byte = float(self.problem.link_us_per_byte[source, target])
        if math.isinf(per_byte):
            return None
        latency_us = float(self.problem.link_latency_us[source, target])
        return units(latency_us + per_byte * value.size_bytes)

    def _copy_values(self) -> None:
        """Copies in other memories: whether they are made, and when they are there."""
        self.copied: dict[tuple[int, int, int], Any] = {}
        self.copy_start: dict[Copy, Any] = {}
        self.copy_end: dict[Copy, Any] = {}
        self.moved: dict[tuple[int, int, int], Any] = {}
        for index, value in enumerate(self.problem.values):
            wanted = self._wanted(index, value)
            for target in sorted({target for _, target in wanted}):
                self._copy(index, value, target, wanted)
        by_bus: dict[int, list[Any]] = defaultdict(list)
        for (index, source, target), literal in self.copied.items():
            bus = int(self.problem.link_bus[source, target])
            size = self.carry(self.problem.values[index], source, target)
            if bus >= 0 and size:
                by_bus[bus].append(
                    self.cp.new_optional_fixed_size_interval_var(
                        self.copy_start[index, target], size, literal, f"copy{index},{target}"
                    )
                )
        for intervals in by_bus.values() if self.timed else ():
            self.cp.add_no_overlap(intervals)

    def _wanted(self, index: int, value: Flow) -> dict[tuple[int, int], dict[int, list[Any]]]:
        """(reader, target memory), with -1 for the host: the literals that ask, by source."""
        problem = self.problem
        wanted: dict[tuple[int, int], dict[int, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for op in value.consumers:
            if value.producer < 0:
                for b in problem.choices[op]:
                    if self._memory[b] != self._host_memory:
                        wanted[op, self._memory[b]][self._host_memory].append(self.x[op, b])
                continue
            for (a, b), literal in self.apart[value.producer, op].items():
                if self._memory[a] != self._memory[b]:
                    wanted[op, self._memory[b]][self._memory[a]].append(literal)
        if value.is_output:
            for a in problem.choices[value.producer]:
                if self._memory[a] != self._host_memory:
                    literal = self.x[value.producer, a]
                    wanted[-1, self._host_memory][self._memory[a]].append(literal)
        return wanted

    def _copy(
        self,
        index: int,
        value: Flow,
        target: int,
        wanted: dict[tuple[int, int], dict[int, list[Any]]],
    ) -> None:
        start, there = self._time(f"copy{index},{target}"), self._time(f"there{index},{target}")
        self.copy_start[index, target], self.copy_end[index, target] = start, there
        asking = {
            reader: sources for (reader, memory), sources in wanted.items() if memory == target
        }
        sizes = []
        for source in sorted({source for sources in asking.values() for source in sources}):
            size = self.carry(value, source, target)
            sums = [sum(sources[source]) for sources in asking.values() if source in sources]
            if size is None:
                for one in sums:
                    self.cp.add(one == 0)
                continue
            literal = self._bool(f"copied{index},{source},{target}")
            for one in sums:
                self.cp.add(literal >= one)
            self.cp.add(literal <= sum(sums))
            self.copied[index, source, target] = literal
            sizes.append(size * literal)
        self.cp.add(there == start + sum(sizes))
        if value.producer >= 0:
            self.cp.add(start >= self.end[value.producer])
        for reader, sources in asking.items():
            literals = [literal for one in sources.values() for literal in one]
            moved = self._literal(literals, f"moved{index},{reader},{target}")
            self.moved[index, reader, target] = moved
            if reader >= 0:
                self.cp.add(self.start[reader] >= there).only_enforce_if(moved)

    # Work.

    def _sum_work(self) -> None:
        """The work of each region: launch, operators, and what it reads and gives the caller."""
        problem = self.problem
        terms: dict[tuple[int, int], list[Any]] = defaultdict(list)
        self._op_size: dict[tuple[int, int], int] = {}
        given: dict[int, list[Flow]] = defaultdict(list)
        for value in problem.output_flows:
            given[value.producer].append(value)
        for op, variant in self.x:
            self._op_size[op, variant] = units(problem.costs[op][variant])
        for (op, root, variant), literal in self.member.items():
            size = self._op_size[op, variant]
            size += sum(self._host_size(value, variant) for value in given[op])
            size += units(float(problem.launch_us[variant])) if op == root else 0
            terms[root, variant].append(size * literal)
        for index, value in enumerate(problem.values):
            for root, variant in self._candidates:
                self._read(index, value, root, variant, terms[root, variant])
        self._terms = terms
        self.work = {key: self.cp.new_int_var(0, self._horizon, f"work{key}") for key in terms}
        for key, parts in terms.items():
            self.cp.add(self.work[key] == sum(parts))
        if self.timed:
            self._lengthen_ways(given)

    def _host_size(self, value: Flow, variant: int) -> int:
        copy_us = float(self.problem.host_copy_us_per_byte[variant]) * value.size_bytes
        return units(float(self.problem.host_border_us[variant]) + copy_us)

    def _pair_size(self, value: Flow, a: int, b: int) -> int:
        copy_us = float(self.problem.copy_us_per_byte[a, b]) * value.size_bytes
        return units(float(self.problem.border_us[a, b]) + copy_us)

    def _read(self, index: int, value: Flow, root: int, variant: int, terms: list[Any]) -> None:
        """Adds what it costs a region to read a tensor that it does not make."""
        producer = value.producer
        readers = [
            self.member[op, root, variant]
            for op in value.consumers
            if (op, root, variant) in self.member
        ]
        # Whoever is in the region of an operator after the root, has it read inside.
        made = self.member.get((producer, root, variant))
        if not readers or (made is not None and self._passes(root, producer)):
            return
        if producer < 0:
            sizes = {-1: self._host_size(value, variant)}
        else:
            sizes = {a: self._pair_size(value, a, variant) for a in self.problem.choices[producer]}
        if not any(sizes.values()):
            return
        if made is None and len(readers) == 1:
            reads = readers[0]
        else:
            reads = self._bool(f"reads{index},{root},{variant}")
            for reader in readers:
                clause = [reads, reader.negated()]
                self.cp.add_bool_or(clause if made is None else [*clause, made])
            self.cp.add_bool_or([reads.negated(), *readers])
            if made is not None:
                self.cp.add_implication(reads, made.negated())
        least = min(sizes.values())
        if least:
            terms.append(least * reads)
        more = {a: size - least for a, size in sizes.items() if size > least}
        if not more:
            return
        extra = self.cp.new_int_var(0, max(more.values()), f"extra{index},{root},{variant}")
        self.cp.add(extra == 0).only_enforce_if(reads.negated())
        for a in sizes:
            self.cp.add(extra == more.get(a, 0)).only_enforce_if(reads, self.x[producer, a])
        terms.append(extra)

    def _lengthen_ways(self, given: dict[int, list[Flow]]) -> None:
        """Not needed, but it lets the linear relaxation see the longest ways."""
        problem = self.problem
        launch = [units(float(one)) for one in problem.launch_us]
        self._own = [
            sum(self._op_size[op, v] * self.x[op, v] for v in problem.choices[op])
            for op in range(problem.n_ops)
        ]
        for op in range(problem.n_ops):
            if op in self._bare:
                self.cp.add(self.end[op] == self.start[op] + self._own[op])
                continue
            before = sum(launch[v] * self.x[op, v] for v in problem.choices[op])
            behind = sum(
                sum(self._host_size(value, v) for value in given[op]) * self.x[op, v]
                for v in problem.choices[op]
            )
            self.cp.add(self.begin[op] >= self.start[op] + before)
            self.cp.add(self.end[op] >= self.begin[op] + self._own[op] + behind)
        for value in problem.values:
            for w in value.consumers if value.producer >= 0 else ():
                u = value.producer
                way = []
                for (a, b), literal in self.apart[u, w].items():
                    source, target = self._memory[a], self._memory[b]
                    carried = 0 if source == target else self.carry(value, source, target)
                    size = launch[b] + self._pair_size(value, a, b) + (carried or 0)
                    way.append(size * literal)
                self.cp.add(self.begin[w] >= self.begin[u] + self._own[u] + sum(way))

    # Devices.

    def _run_on_devices(self) -> None:
        problem = self.problem
        if not self.timed:
            return
        self.makespan = self._time("makespan")
        self.latency = [self._time(f"latency{model}") for model in range(problem.n_models)]
        for (root, variant), work in self.work.items():
            literal = self.member[root, root, variant]
            if root not in self._bare:
                self.cp.add(self.end[root] == self.start[root] + work).only_enforce_if(literal)
        for device in range(problem.n_devices):
            self._run_on(device)
        for op in range(problem.n_ops):
            self.cp.add(self.latency[problem.model_of[op]] >= self.end[op])
        for index, value in enumerate(problem.values):
            moved = self.moved.get((index, -1, self._host_memory))
            if value.is_output and moved is not None:
                latency = self.latency[problem.model_of[value.producer]]
                there = self.copy_end[index, self._host_memory]
                self.cp.add(latency >= there).only_enforce_if(moved)
                way = [
                    self.carry(value, self._memory[a], self._host_memory) or 0
                    if self._memory[a] != self._host_memory
                    else 0
                    for a in problem.choices[value.producer]
                ]
                carried = sum(
                    size * self.x[value.producer, a]
                    for size, a in zip(way, problem.choices[value.producer], strict=True)
                )
                self.cp.add(latency >= self.end[value.producer] + carried)
        for latency in self.latency:
            self.cp.add(self.makespan >= latency)
        carried: dict[int, list[Any]] = defaultdict(list)
        for (index, source, target), literal in self.copied.items():
            size = self.carry(problem.values[index], source, target) or 0
            carried[int(problem.link_bus[source, target])].append(size * literal)
        for bus, sizes in carried.items():
            if bus >= 0:
                self.cp.add(sum(sizes) <= self.makespan)

    def _run_on(self, device: int) -> None:
        """Regions share the cores of the device."""
        problem = self.problem
        cores = int(problem.device_cores[device])
        here = [key for key in self.work if problem.variant_device[key[1]] == device]
        if not here:
            return
        demands = [int(problem.variant_cores[variant]) for _, variant in here]
        regions, inner, inner_demands = [], [], []
        for root, variant in here:
            literal = self.member[root, root, variant]
            parts = self._terms[root, variant]
            if len(parts) == 1:
                size = self._fixed_size(root, variant)
                regions.append(
                    self.cp.new_optional_fixed_size_interval_var(
                        self.start[root], size, literal, f"region{root},{variant}"
                    )
                )
            else:
                regions.append(
                    self.cp.new_optional_interval_var(
                        self.start[root], self.work[root, variant], self.end[root], literal,
                        f"region{root},{variant}",
                    )
                )  # fmt: skip
        for (op, variant), literal in self.x.items():
            if problem.variant_device[variant] == device and self._op_size[op, variant]:
                inner.append(
                    self.cp.new_optional_fixed_size_interval_var(
                        self.begin[op], self._op_size[op, variant], literal, f"op{op},{variant}"
                    )
                )
                inner_demands.append(int(problem.variant_cores[variant]))
        solid = all(len(self._terms[key]) == 1 for key in here)
        if all(2 * demand > cores for demand in demands):
            self.cp.add_no_overlap(regions)
            if not solid:
                self.cp.add_no_overlap(inner)
            self.cp.add(sum(self.work[key] for key in here) <= self.makespan)
        else:
            self.cp.add_cumulative(regions, demands, cores)
            if not solid:
                self.cp.add_cumulative(inner, inner_demands, cores)
            loads = [demand * self.work[key] for key, demand in zip(here, demands, strict=True)]
            self.cp.add(sum(loads) <= cores * self.makespan)

    def _fixed_size(self, root: int, variant: int) -> int:
        given = [v for v in self.problem.output_flows if v.producer == root]
        size = self._op_size[root, variant] + units(float(self.problem.launch_us[variant]))
        return size + sum(self._host_size(value, variant) for value in given)

    # Rules and figures.

    def _on(self, op: int, device: int) -> Any:
        """1 if the operator is on the device."""
        devices = self.problem.variant_device
        return sum(self.x[op, v] for v in self.problem.choices[op] if devices[v] == device)

    def _obey_rules(self) -> None:
        problem = self.problem
        for one, other in problem.forbidden_pairs.tolist():
            for device in range(problem.n_devices):
                self.cp.add(self._on(one, device) + self._on(other, device) <= 1)
        for variant in np.flatnonzero(problem.single_region).tolist():
            roots = [
                literal
                for (op, root, v), literal in self.member.items()
                if op == root and v == variant
            ]
            self.cp.add_at_most_one(roots)
        for u, w in problem.links:
            for variant in problem.choices[w]:
                if problem.prefix[variant]:
                    before = self.x.get((u, variant))
                    if before is None:
                        self.cp.add(self.x[w, variant] == 0)
                    else:
                        self.cp.add_implication(self.x[w, variant], before)
        held = [
            sum(int(problem.parameter_bytes[op]) * self._on(op, d) for op in range(problem.n_ops))
            for d in range(problem.n_devices)
        ]
        for device, capacity in enumerate(problem.parameter_capacity_bytes.tolist()):
            if math.isfinite(capacity):
                self.cp.add(held[device] <= math.floor(capacity))
        # Of the peak only the constants are known here; the evaluation looks at the rest.
        for memory, size_bytes in enumerate(problem.memory_bytes.tolist()):
            if math.isfinite(size_bytes):
                devices = np.flatnonzero(problem.device_memory == memory).tolist()
                self.cp.add(sum(held[device] for device in devices) <= math.floor(size_bytes))
        for model, deadline_us in enumerate(problem.deadline_us.tolist()):
            if math.isfinite(deadline_us):
                self.cp.add(self.latency[model] <= units(deadline_us))

    def _sum_figures(self) -> None:
        """The objective, rates and the budget of energy."""
        problem = self.problem
        if problem.n_ops and np.isfinite(problem.period_us).any():
            for loads in self._loads([1 / float(one) for one in problem.period_us], 10**6):
                self.cp.add(sum(loads) <= 10**6 * UNITS_PER_US)
        energy = self._energy() if self._counts_energy() else 0
        if math.isfinite(problem.energy_budget_uj):
            self.cp.add(energy <= units(problem.energy_budget_uj) * _UNITS_PER_WATT)
        if self.objective == "latency":
            self.goal: Any = self.makespan
            self.goal_units = UNITS_PER_US
        elif self.objective == "energy":
            self.goal, self.goal_units = energy, UNITS_PER_US * _UNITS_PER_WATT
        else:
            shares = [self._share(variant) for variant in range(problem.n_variants)]
            self.goal_units = UNITS_PER_US * math.lcm(*shares)
            self.goal = self.cp.new_int_var(0, self._horizon * math.lcm(*shares), "period")
            for loads in self._loads([1.0] * problem.n_models, math.lcm(*shares)):
                self.cp.add(sum(loads) <= self.goal)
        self.cp.minimize(self.goal)

    def _share(self, variant: int) -> int:
        """How many runs' regions of this variant a device serves at once."""
        problem = self.problem
        cores = int(problem.device_cores[problem.variant_device[variant]])
        return cores // int(problem.variant_cores[variant]) * int(problem.variant_batch[variant])

    def _loads(self, weight: Sequence[float], scale: int) -> list[list[Any]]:
        """Load of each device and bus, times the weight of each model and the scale."""
        problem = self.problem
        devices: dict[int, list[Any]] = defaultdict(list)
        for (root, variant), work in self.work.items():
            of_model = weight[problem.model_of[root]]
            factor = math.floor(scale / self._share(variant) * of_model + 1e-9)
            devices[int(problem.variant_device[variant])].append(factor * work)
        buses: dict[int, list[Any]] = defaultdict(list)
        for (index, source, target), literal in self.copied.items():
            value = problem.values[index]
            bus = int(problem.link_bus[source, target])
            if bus >= 0:
                op = value.producer if value.producer >= 0 else value.consumers[0]
                factor = math.floor(scale * weight[problem.model_of[op]] + 1e-9)
                buses[bus].append(factor * (self.carry(value, source, target) or 0) * literal)
        return [*devices.values(), *buses.values()]

    def _counts_energy(self) -> bool:
        return self.objective == "energy" or math.isfinite(self.problem.energy_budget_uj)

    def _energy(self) -> Any:
        problem = self.problem
        watts = [math.floor(one * _UNITS_PER_WATT + 1e-9) for one in problem.active_w.tolist()]
        active = sum(watts[variant] * work for (_, variant), work in self.work.items())
        active += sum(
            units(float(problem.energy_uj[op, variant])) * _UNITS_PER_WATT * literal
            for (op, variant), literal in self.x.items()
        )
        idle = math.floor(float(problem.idle_w.sum()) * _UNITS_PER_WATT + 1e-9)
        return active + idle * self.makespan if idle else active


def _is_timed(problem: Problem, objective: Objective) -> bool:
    """The objective or a rule depends on when regions run."""
    counts_energy = objective == "energy" or math.isfinite(problem.energy_budget_uj)
    return (
        objective == "latency"
        or bool(np.isfinite(problem.deadline_us).any())
        or (counts_energy and float(problem.idle_w.sum()) > 0)
    )
