"""Demands and changes in the words of a user, with the labels of operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tdse.search.demands import OF_OPERATORS, Demand, Kind
from tdse.search.problem import Flags, Problem, listed

# So many operators of which the same is to be said are told one by one.
_FEW = 3


def reason(problem: Problem, core: Sequence[Demand]) -> str:
    """Demands that cannot all be met, as one sentence."""
    parts = [_said(problem, one, core) for one in core if one.kind not in OF_OPERATORS]
    alike: dict[str, list[int]] = {}
    for op in sorted({one.index for one in core if one.kind in OF_OPERATORS}):
        alike.setdefault(_said_of(problem, op, core), []).append(op)
    told: dict[int, str] = {}
    for said, ops in alike.items():
        if len(ops) <= _FEW:
            told |= {op: f"{problem.label(op)} {_verbs(said, one=True)}" for op in ops}
        else:
            told[ops[0]] = f"{_labels(problem, ops)} {_verbs(said, one=False)}"
    parts += [text for _, text in sorted(told.items())]
    return ", but ".join(parts) if len(parts) == 2 else ", ".join(parts)


def change(problem: Problem, drop: Sequence[Demand], too_little: Mapping[Demand, float]) -> str:
    """What would let the other demands be met.

    Args:
        problem: the placement problem.
        drop: the demands to take back or to raise.
        too_little: for those with a limit, one that is still too low.
    """
    by_kind = {kind: [one for one in drop if one.kind is kind] for kind in Kind}
    texts = []
    pinned = [one.index for kind in (Kind.PIN, Kind.DEVICE_PIN) for one in by_kind[kind]]
    if pinned:
        texts.append(f"change the pin of {_labels(problem, sorted(set(pinned)))}")
    if by_kind[Kind.FORBIDDEN_PAIR]:
        pairs = [_pair(problem, one.index) for one in by_kind[Kind.FORBIDDEN_PAIR]]
        texts.append(f"let {listed(pairs)} share a device")
    for one in drop:
        limit = too_little.get(one, 0.0)
        match one.kind:
            case Kind.LEGALITY:
                texts.append(f"allow another target for {problem.label(one.index)}")
            case Kind.SINGLE_REGION:
                texts.append(f"use {problem.variants[one.index]} for fewer operators")
            case Kind.PREFIX:
                texts.append(f"do not ask for {problem.variants[one.index]}")
            case Kind.NO_LINK:
                source, target = _ends(problem, one.index)
                texts.append(f"add a link from {source} to {target}")
            case Kind.PARAMETERS:
                name = problem.devices[one.index]
                texts.append(f"give {name} room for more than {_bytes(limit)} of constants")
            case Kind.MEMORY:
                texts.append(f"give {_memory(problem, one.index)} more than {_bytes(limit)}")
            case Kind.DEADLINE:
                name = problem.models[one.index]
                texts.append(f"give {name} more than {_time(limit)} from its start to its end")
            case Kind.PERIOD:
                name = problem.models[one.index]
                texts.append(f"leave more than {_time(limit)} from one run of {name} to the next")
            case Kind.ENERGY:
                texts.append(f"raise the energy budget above {_energy(limit)}")
    return ", and ".join(texts)


def _said(problem: Problem, demand: Demand, core: Sequence[Demand]) -> str:
    index = demand.index
    match demand.kind:
        case Kind.FORBIDDEN_PAIR:
            return f"{_pair(problem, index)} must not share a device"
        case Kind.SINGLE_REGION:
            return f"only one region is allowed on {problem.variants[index]}"
        case Kind.PREFIX:
            name = problem.variants[index]
            return f"an operator may run on {name} only if all that it reads from do"
        case Kind.NO_LINK:
            source, target = _ends(problem, index)
            return f"there is no link from {source} to {target}"
        case Kind.PARAMETERS:
            limit = float(problem.parameter_capacity_bytes[index])
            needed = _confined_bytes(problem, core, problem.variant_device == index)
            text = f"{problem.devices[index]} holds {_bytes(limit)} of constants"
            return f"{text} and would need {_bytes(needed)}" if needed > limit else text
        case Kind.MEMORY:
            limit = float(problem.memory_bytes[index])
            there = problem.device_memory[problem.variant_device] == index
            needed = _confined_bytes(problem, core, there)
            text = f"{_memory(problem, index)} has {_bytes(limit)}"
            return f"{text} and would need {_bytes(needed)}" if needed > limit else text
        case Kind.DEADLINE:
            time = _time(float(problem.deadline_us[index]))
            return f"{problem.models[index]} must be done within {time}"
        case Kind.PERIOD:
            time = _time(float(problem.period_us[index]))
            return f"{problem.models[index]} must run every {time}"
        case _:
            return f"a run may take no more than {_energy(problem.energy_budget_uj)}"


def _said_of(problem: Problem, op: int, core: Sequence[Demand]) -> str:
    """What is demanded of one operator, with ``{is}`` and ``{can}`` for its verbs."""
    said = []
    if Demand(Kind.PIN, op) in core:
        said.append(f"{{is}} pinned to {problem.variants[problem.pins[op]]}")
    if Demand(Kind.DEVICE_PIN, op) in core:
        said.append(f"{{is}} pinned to {problem.devices[problem.device_pins[op]]}")
    if Demand(Kind.LEGALITY, op) in core:
        legal = [problem.variants[v] for v in np.flatnonzero(np.isfinite(problem.cost_us[op]))]
        none = f"can run on none of {listed(problem.variants)}"
        said.append(f"can run only on {listed(legal)}" if legal else none)
    return " and ".join(said)


def _verbs(said: str, *, one: bool) -> str:
    return said.replace("{is}", "is" if one else "are")


def _confined_bytes(problem: Problem, core: Sequence[Demand], there: Flags) -> float:
    """The constants of operators that the demands leave nowhere else."""
    allowed = np.ones((problem.n_ops, problem.n_variants), bool)
    for one in core:
        if one.kind is Kind.LEGALITY:
            allowed[one.index] &= np.isfinite(problem.cost_us[one.index])
        elif one.kind is Kind.PIN:
            allowed[one.index] &= np.arange(problem.n_variants) == problem.pins[one.index]
        elif one.kind is Kind.DEVICE_PIN:
            allowed[one.index] &= problem.variant_device == problem.device_pins[one.index]
    confined = ~(allowed & ~there).any(axis=1)
    return float(problem.parameter_bytes[confined].sum())


def _labels(problem: Problem, ops: Sequence[int]) -> str:
    return listed([problem.label(op) for op in ops])


def _pair(problem: Problem, index: int) -> str:
    one, other = problem.forbidden_pairs[index].tolist()
    return f"{problem.label(one)} and {problem.label(other)}"


def _ends(problem: Problem, link: int) -> tuple[str, str]:
    source, target = divmod(link, problem.n_memories)
    return _memory(problem, source), _memory(problem, target)


def _memory(problem: Problem, memory: int) -> str:
    names = [problem.devices[d] for d in np.flatnonzero(problem.device_memory == memory)]
    return f"the memory of {listed(names)}"


def _bytes(size: float) -> str:
    for unit, name in ((2**20, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{size / unit:.4g} {name}"
    return f"{size:.4g} bytes"


def _time(time_us: float) -> str:
    return f"{time_us / 1e3:.4g} ms" if time_us >= 1e3 else f"{time_us:.4g} us"


def _energy(energy_uj: float) -> str:
    return f"{energy_uj / 1e3:.4g} mJ" if energy_uj >= 1e3 else f"{energy_uj:.4g} uJ"
