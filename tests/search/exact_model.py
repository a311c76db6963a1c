"""The placement problem for OR-tools CP-SAT: regions, transfers, and when they run.

Times are integers in units of 1/1000 us; every cost is rounded down, so that the least value of
the model is a lower bound of the problem's.

The model leaves two freedoms that the evaluation does not have: transfers take any turn on their
bus, and whatever could begin may wait. ``exact_turns`` takes them away where a solution used them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, Literal

import numpy as np
from exact_regions import Regions, one_of
from exact_sizes import Sizes
from exact_work import Region, Work
from ortools.sat.python import cp_model

from tdse.search.problem import Flow, Problem

Objective = Literal["latency", "throughput", "energy"]
Copy = tuple[int, int]
"""A tensor, by its index among ``Problem.values``, and the memory that it is carried to."""
Asking = dict[int, dict[int, list[Any]]]
"""Who reads a copy, -1 for the host, and from which memory: literals, of which one is true."""

_HOST = 0


class PlacementModel:
    """Variables and constraints of one problem.

    Args:
        problem: without slowdown, and with a variant for each operator.
        objective: what is to be made as small as possible.
        alone: let each operator be a region.

    Attributes:
        timed: times matter to the objective or a rule; without, there are no times.
        start: when the region of each operator starts.
        end: when it ends.
        copied: literals, by value, source and target memory: the transfer is made.
        copy_start: by copy.
        copy_end: by copy.
        moved: literals, by value, reader (-1 for the host) and memory: it reads a copy there.
        latency: of each model.
        makespan: of all.
    """

    def __init__(self, problem: Problem, objective: Objective, *, alone: bool) -> None:
        self.problem = problem
        self.cp = cp_model.CpModel()
        self.sizes = Sizes(problem)
        self.timed = _is_timed(problem, objective)
<<<<<<< HEAD
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
=======
        self.memory: list[int] = problem.device_memory[problem.variant_device].tolist()
        self.host_memory = int(problem.device_memory[_HOST])
        self._horizon = self.sizes.longest()
        self.regions = Regions(self.cp, problem, alone=alone)
        self.work = Work(self.cp, problem, self.regions, self.sizes)
>>>>>>> part-exact
        self.start = [self._time(f"start{op}") for op in range(problem.n_ops)]
        self.end = [self._time(f"end{op}") for op in range(problem.n_ops)]
        self.makespan = self._time("makespan")
        self.latency = [self._time(f"latency{model}") for model in range(problem.n_models)]
        self.copied: dict[tuple[int, int, int], Any] = {}
        self.copy_start: dict[Copy, Any] = {}
        self.copy_end: dict[Copy, Any] = {}
        self.moved: dict[tuple[int, int, int], Any] = {}
<<<<<<< HEAD
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
=======
        self._make_copies()
        # Times forbid circles, unless a region may take no time.
        instant = bool((problem.launch_us + problem.cost_us.min(axis=0, initial=1.0) < 0.01).any())
        if not alone and (instant or not self.timed):
            self._order_regions()
>>>>>>> part-exact
        if self.timed:
            self._time_regions()
            self._lengthen_ways()
            self._share_buses()
            for device in range(problem.n_devices):
                self._share_cores(device)
            self._end_runs()

    def _time(self, name: str) -> Any:
        return self.cp.new_int_var(0, self._horizon, name)

    # Regions.

<<<<<<< HEAD
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
=======
    def _order_regions(self) -> None:
        """Levels that rise along every link between two regions."""
        n_ops = self.problem.n_ops
        level = [self.cp.new_int_var(0, n_ops - 1, f"level{op}") for op in range(n_ops)]
        for u, w in self.problem.links:
            rises = self.cp.add(level[w] >= level[u] + 1)
            if (joined := self.regions.joined.get((u, w))) is not None:
                rises.only_enforce_if(joined.negated())
                self.cp.add(level[w] == level[u]).only_enforce_if(joined)
>>>>>>> part-exact

    def _time_regions(self) -> None:
        cp = self.cp
        for u, w in self.problem.links:
            follows = cp.add(self.start[w] >= self.end[u])
            if (joined := self.regions.joined.get((u, w))) is not None:
                follows.only_enforce_if(joined.negated())
                cp.add(self.start[w] == self.start[u]).only_enforce_if(joined)
                cp.add(self.end[w] == self.end[u]).only_enforce_if(joined)
        for (root, variant), work in self.work.units.items():
            if root not in self.work.bare:
                present = self.regions.member[root, root, variant]
                cp.add(self.end[root] == self.start[root] + work).only_enforce_if(present)

    def _lengthen_ways(self) -> None:
        """Lets the linear relaxation see the longest ways.

        Operators of a region begin one after the other, once it is launched and all is read.
        """
        cp, problem, x = self.cp, self.problem, self.regions.x
        self._begin = [
            self.start[op] if op in self.work.bare else self._time(f"begin{op}")
            for op in range(problem.n_ops)
        ]
        own = [
            sum(self.work.own(op, v) * x[op, v] for v in problem.choices[op])
            for op in range(problem.n_ops)
        ]
        for op, choices in enumerate(problem.choices):
            if op in self.work.bare:
                cp.add(self.end[op] == self.start[op] + own[op])
                continue
            launch = sum(self.sizes.launch[v] * x[op, v] for v in choices)
            giving = sum(self.work.giving(op, v) * x[op, v] for v in choices)
            cp.add(self._begin[op] >= self.start[op] + launch)
            cp.add(self.end[op] >= self._begin[op] + own[op] + giving)
        for value in problem.values:
            u = value.producer
            for w in value.consumers if u >= 0 else ():
                way = [
                    (
                        (self.sizes.carry(value, self.memory[a], self.memory[b]) or 0)
                        + self.sizes.launch[b]
                        + self.sizes.read(value, a, b)
                    )
                    * literal
                    for (a, b), literal in self.regions.apart[u, w].items()
                ]
                cp.add(self._begin[w] >= self._begin[u] + own[u] + sum(way))

    # Transfers.

    def _make_copies(self) -> None:
        """Copies in other memories: whether they are made, and when they are there."""
        for index, value in enumerate(self.problem.values):
            for target, asking in sorted(self._asking(value).items()):
                self._make_copy(index, value, target, asking)

    def _asking(self, value: Flow) -> dict[int, Asking]:
        """Who asks for a copy, by the memory that it is to be in."""
        problem, memory, host = self.problem, self.memory, self.host_memory
        found: dict[int, Asking] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
        for op in value.consumers:
            if value.producer < 0:
                pairs = {(host, memory[b], b): self.regions.x[op, b] for b in problem.choices[op]}
            else:
                apart = self.regions.apart[value.producer, op]
                pairs = {(memory[a], memory[b], (a, b)): one for (a, b), one in apart.items()}
            for (source, target, _), literal in pairs.items():
                if source != target:
                    found[target][op][source].append(literal)
        for a in problem.choices[value.producer] if value.is_output else ():
            if memory[a] != host:
                found[host][-1][memory[a]].append(self.regions.x[value.producer, a])
        return found

    def _make_copy(self, index: int, value: Flow, target: int, asking: Asking) -> None:
        cp = self.cp
        start, there = self._time(f"copy{index},{target}"), self._time(f"there{index},{target}")
        self.copy_start[index, target], self.copy_end[index, target] = start, there
        sizes = []
        for source in sorted({source for sources in asking.values() for source in sources}):
            asked = [sum(sources[source]) for sources in asking.values() if source in sources]
            size = self.sizes.carry(value, source, target)
            if size is None:
                cp.add(sum(asked) == 0)
                continue
            copied = cp.new_bool_var(f"copied{index},{source},{target}")
            for one in asked:
                cp.add(copied >= one)
            cp.add(copied <= sum(asked))
            self.copied[index, source, target] = copied
            sizes.append(size * copied)
        for reader, sources in asking.items():
            literals = [literal for one in sources.values() for literal in one]
            moved = one_of(cp, literals, f"moved{index},{reader},{target}")
            self.moved[index, reader, target] = moved
            if reader >= 0 and self.timed:
                cp.add(self.start[reader] >= there).only_enforce_if(moved)
        if self.timed:
            cp.add(there == start + sum(sizes))
            if value.producer >= 0:
                cp.add(start >= self.end[value.producer])

    def _share_buses(self) -> None:
        cp = self.cp
        intervals: dict[int, list[Any]] = defaultdict(list)
        loads: dict[int, list[Any]] = defaultdict(list)
        for (index, source, target), copied in self.copied.items():
            bus = int(self.problem.link_bus[source, target])
            size = self.sizes.carry(self.problem.values[index], source, target)
            if bus >= 0 and size:
                start = self.copy_start[index, target]
                name = f"copy{index},{source},{target}"
                intervals[bus].append(
                    cp.new_optional_fixed_size_interval_var(start, size, copied, name)
                )
                loads[bus].append(size * copied)
        for bus in intervals:
            cp.add_no_overlap(intervals[bus])
            cp.add(sum(loads[bus]) <= self.makespan)

    # Devices.

    def _share_cores(self, device: int) -> None:
        """Regions of a device run side by side as its cores allow; so do their operators."""
        problem, work = self.problem, self.work
        devices, needs = problem.variant_device.tolist(), problem.variant_cores.tolist()
        cores = int(problem.device_cores[device])
        here = [region for region in work.units if devices[region[1]] == device]
        loads = [needs[region[1]] * work.units[region] for region in here]
        self.cp.add(sum(loads) <= cores * self.makespan)
        self._overlap([(self._interval(region), needs[region[1]]) for region in here], cores)
        if all(region in work.fixed for region in here):
            return
        inner = []
        for (op, variant), literal in self.regions.x.items():
            if devices[variant] == device and (size := work.own(op, variant)):
                interval = self.cp.new_optional_fixed_size_interval_var(
                    self._begin[op], size, literal, f"op{op},{variant}"
                )
<<<<<<< HEAD
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
=======
                inner.append((interval, needs[variant]))
        self._overlap(inner, cores)

    def _interval(self, region: Region) -> Any:
        root, variant = region
        present, name = self.regions.member[root, root, variant], f"region{root},{variant}"
        if region in self.work.fixed:
            return self.cp.new_optional_fixed_size_interval_var(
                self.start[root], self.work.fixed[region], present, name
            )
        return self.cp.new_optional_interval_var(
            self.start[root], self.work.units[region], self.end[root], present, name
>>>>>>> part-exact
        )

    def _overlap(self, intervals: list[tuple[Any, int]], cores: int) -> None:
        if all(2 * need > cores for _, need in intervals):
            self.cp.add_no_overlap(interval for interval, _ in intervals)
        else:
            self.cp.add_cumulative(*zip(*intervals, strict=True), cores)

    # Runs.

    def _end_runs(self) -> None:
        """A model is done when its regions are, and its outputs are in the host's memory."""
        cp, problem = self.cp, self.problem
        for op in range(problem.n_ops):
            cp.add(self.latency[problem.model_of[op]] >= self.end[op])
        for index, value in enumerate(problem.values):
            moved = self.moved.get((index, -1, self.host_memory))
            if moved is None:
                continue
            latency = self.latency[problem.model_of[value.producer]]
            there = self.copy_end[index, self.host_memory]
            cp.add(latency >= there).only_enforce_if(moved)
            carried = sum(
                (self.sizes.carry(value, self.memory[a], self.host_memory) or 0)
                * self.regions.x[value.producer, a]
                for a in problem.choices[value.producer]
            )
            cp.add(latency >= self.end[value.producer] + carried)
        for latency in self.latency:
            cp.add(self.makespan >= latency)


def _is_timed(problem: Problem, objective: Objective) -> bool:
    """The objective or a rule depends on when regions run."""
    counts_energy = objective == "energy" or math.isfinite(problem.energy_budget_uj)
    return (
        objective == "latency"
        or bool(np.isfinite(problem.deadline_us).any())
        or (counts_energy and float(problem.idle_w.sum()) > 0)
    )
