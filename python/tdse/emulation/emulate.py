"""Place a model on an emulated board: costs from the platform file, a search, a layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from tdse import __version__
from tdse.candidates import Searched
from tdse.child import Progress, unheard
from tdse.edgetpu.package import is_compiled, is_compiled_region
from tdse.emulation.costs import BoardCosts
from tdse.emulation.executor import KIND
from tdse.emulation.given import given_outcome
from tdse.emulation.layout import Layout, lay_out
from tdse.emulation.stream import stream_period_us
from tdse.emulation.ways import (
    Way,
    compiler_genes,
    find_genes,
    first_run_us,
    streamed_in,
    way_of,
)
from tdse.errors import ModelError, PlatformError, UsageError
from tdse.goals import PARETO, goals_of
from tdse.graph.model import Graph
from tdse.measure.records import RecordStore
from tdse.platform.model import Platform
from tdse.runtime.emulated import MODES, Emulated, Mode
from tdse.search import Problem
from tdse.search.objectives import Objective, uses_energy, value
from tdse.search.placement import PlacedOp, PlacedRegion, Placement, parse_pins

# The target of an accelerator that is only described; what runs is a region of kind ``KIND``.
DATAFLOW = "dataflow"
# Seconds of a search; most settle earlier.
_MOST_SEARCH_S = 10.0
# Streams whose predicted periods differ by less are equal; then the one with fewer steps is taken,
# or fewer runs on their way.
_TIED = 1.03
# How many runs of a stream may be on their way for each lane: the fewest that keep lanes as busy as
# more would. Each takes memory.
_ITEMS_PER_LANE = (2, 3, 4)


@dataclass(frozen=True)
class Emulation:
    """A model on an emulated board.

    Attributes:
        emulated: its steps, their modelled times, and how their results come about.
        placement: which operator runs where.
        searches: how each search ended.
        problem: what operators take on each device, of which the placement was chosen.
        refusals: (name of a device, operator) to why it does not run there.
    """

    emulated: Emulated
    placement: Placement
    searches: tuple[Searched, ...]
    problem: Problem
    refusals: Mapping[tuple[str, int], str]


def emulate(
    graph: Graph,
    board: Platform,
    mode: Mode,
    *,
    objective: str = "latency",
    pins: Sequence[str] = (),
    seed: int = 0,
    budget_s: float = _MOST_SEARCH_S,
    records: RecordStore | None = None,
    say: Progress = unheard,
) -> Emulation:
    """Place a model; all is modelled but regions on Edge TPUs of which there are records.

    Args:
        graph: the model.
        board: an emulated platform.
        mode: how results come about.
        objective: any but ``pareto``.
        pins: ``OP=DEVICE`` texts.
        seed: of the search.
        budget_s: seconds of the search, which takes ten at most.
        records: of the machine that the Edge TPUs are attached to; None for none.
        say: progress.

    Raises:
        ModelError: an operator runs on no device.
        PlacementError: no placement obeys the pins and fits, or the model cannot be cut.
        PlatformError: there are no power figures though the objective needs them, or two links
            join the same devices.
        UsageError: a pin is unknown, or the objective is ``pareto``.
    """
    _demand_objective(board, objective)
    names = [device.name for device in board.devices]
    ops = [graph.ops[op] for op in graph.placed_ops]
    chosen = parse_pins(pins, [op.label for op in ops], [op.kind for op in ops], names)
    say("search", 0, 1, board.name)
    costs = BoardCosts(graph, board, chosen, records)
    goals = [goals_of(objective)]
    if objective == "throughput":
        # The search's period leaves out that only so many runs are on their way. Of placements
        # that are as good as that, those with the shorter runs make the better streams.
        goals.append(("latency", "throughput"))
    seconds = min(budget_s, _MOST_SEARCH_S) / len(goals)
    founds, candidates = [], []
    for each in goals:
        found, more = find_genes(costs, each, seed=seed, seconds=seconds)
        founds.append(found)
        candidates += more
    compiler = compiler_genes(costs)
    by_compiler = None if compiler is None else way_of(costs, compiler)
    # Only now everything is looked up that was measured.
    ways = [way_of(costs, each) for each in candidates]
    if objective == "throughput":
        made = [
            (_emulated(graph, board, way, mode, copies=copies), way)
            for way in ways
            for copies in ((False,) if graph.why_stateful else (False, True))
        ]
        least_us = min(one.predicted_period_us for one, _ in made)
        tied = [pair for pair in made if pair[0].predicted_period_us <= _TIED * least_us]
        emulated, best = min(
            tied, key=lambda pair: (len(pair[0].steps), pair[0].predicted_period_us)
        )
    else:
        if objective == "latency" and by_compiler is not None:
            ways.append(by_compiler)
        best = min(ways, key=lambda way: _worth(way, goals[0][0]))
        emulated = _emulated(graph, board, best, mode, copies=False)
    if by_compiler is not None:
        compiler_us = by_compiler.outcome.makespan_us
        emulated = emulated.model_copy(update={"compiler_us": compiler_us})
    return Emulation(
        emulated,
        _placement(graph, board, emulated, seed),
        tuple(Searched.of(found, 1) for found in founds),
        best.problem,
        costs.refusals,
    )


def emulate_given(
    graph: Graph,
    board: Platform,
    mode: Mode,
    placement: Placement,
    *,
    seed: int = 0,
    records: RecordStore | None = None,
) -> Emulation:
    """The emulation of a placement that a user gives; nothing is searched.

    Args:
        graph: the model.
        board: an emulated platform.
        mode: how results come about.
        placement: of this model; its regions can run in their order.
        seed: that the placement file says.
        records: as of ``emulate``.

    Raises:
        PlacementError: it is not for this board, or the board cannot run it.
        ModelError, PlatformError: as of ``emulate``.
    """
    device = {op.index: op.device for op in placement.ops}
    costs = BoardCosts(graph, board, records=records)
    streamed = streamed_in(costs, device)
    problem = costs.problem(streamed)
    outcome, copies = given_outcome(costs, problem, placement, _targets(board))
    measured = costs.measured_in(outcome.schedule.regions, streamed)
    if measured:
        problem = costs.problem(streamed, measured)
        outcome, copies = given_outcome(costs, problem, placement, _targets(board))
    regions = frozenset(ops for _, ops in measured)
    way = Way(problem, outcome, first_run_us(costs, device), regions)
    emulated = _emulated(graph, board, way, mode, copies=copies)
    placed = _placement(graph, board, emulated, seed)
    return Emulation(emulated, placed, (), problem, costs.refusals)


def _worth(way: Way, goal: Objective) -> float:
    outcome = way.outcome
    return value(goal, outcome.makespan_us, outcome.period_us, outcome.energy_uj)


def demand_mode(board: Platform, mode: str | None) -> Mode | None:
    """The mode of an emulated platform, None for one that is there.

    Raises:
        UsageError: the mode is missing, not known, or not for this platform.
    """
    choice = " or ".join(f"--emulate {each}" for each in MODES)
    if not board.is_emulated:
        if mode is not None:
            raise UsageError(
                f"platform {board.name} is not emulated",
                where=f"--emulate {mode}",
                hint="leave it out",
            )
        return None
    if mode is None:
        raise UsageError(
            f"platform {board.name} is emulated: its times are modelled, not measured",
            hint=f"say {choice} if that is what you want"
            + (
                ", or --edgetpu hardware or compile-only to build for a real Edge TPU"
                if any(device.edgetpu is not None for device in board.devices)
                else ""
            ),
        )
    if mode not in MODES:
        raise UsageError(f"there is no mode {mode!r}", hint=f"choose {choice}")
    return cast(Mode, mode)


def demand_known(graph: Graph, emulated: Emulated) -> None:
    """Refuse what edgetpu_compiler made, unless only its time is asked for and was measured.

    Raises:
        ModelError: what it computes, or how long that takes, is not known.
    """
    for step in emulated.steps:
        if not is_compiled_region(graph, step.ops):
            continue
        label = graph.ops[step.ops[0]].label
        if emulated.mode == "correctness":
            raise ModelError(
                f"op {label} cannot be computed on this machine",
                where=graph.name,
                why="it holds instructions of an Edge TPU",
                hint="give the model from before edgetpu_compiler, or --edgetpu where an Edge TPU "
                "is, or --emulate timing for its time alone",
            )
        if not step.is_measured:
            raise ModelError(
                f"how long op {label} takes is not known",
                where=graph.name,
                why="there is no record of it, and what edgetpu_compiler made does not tell",
                hint="compile with --edgetpu hardware where an Edge TPU is, and bring the record "
                "here with tdse profile --export and --import",
            )


def _demand_objective(board: Platform, objective: str) -> None:
    if objective == PARETO:
        raise UsageError(
            "an emulated board has no front to choose from",
            where="--objective pareto",
            hint="choose one objective",
        )
    powerless = _powerless(board)
    if any(map(uses_energy, goals_of(objective))) and powerless:
        raise PlatformError(
            f"the objective {objective} needs the energy of a run, which is not known",
            where=f"platform {board.name}",
            why=f"device {powerless[0]} has no power figures to model it from",
            hint="set active_w_per_core of each device in a platform file",
        )


def _emulated(graph: Graph, board: Platform, way: Way, mode: Mode, *, copies: bool) -> Emulated:
    """A schedule on lanes; ``copies`` as of ``lay_out``."""
    layout = lay_out(graph, board, way.problem, way.outcome, copies=copies)
    steps = tuple(
        step.model_copy(update={"is_measured": True}) if step.ops in way.measured else step
        for step in layout.steps
    )
    items_per_lane, period_us = _stream(graph, layout)
    made = Emulated(
        board=board.name,
        mode=mode,
        lanes=layout.lanes,
        steps=steps,
        predicted_us=layout.predicted_us,
        predicted_period_us=period_us,
        items_per_lane=items_per_lane,
        predicted_mj=None if copies or _powerless(board) else way.outcome.energy_uj / 1e3,
        first_run_us=way.first_run_us,
        has_results=not is_compiled(graph),
    )
    # Some hundred runs say it to within some percent; no stream is faster than this.
    period_us = max(made.predicted_period_us, made.capacity_us)
    return made.model_copy(update={"predicted_period_us": period_us})


def _stream(graph: Graph, layout: Layout) -> tuple[int, float]:
    """How many runs may be on their way for each lane, and the microseconds between two results."""
    n_lanes = len(layout.lanes)
    if n_lanes == 1:
        return _ITEMS_PER_LANE[0], stream_period_us(graph, layout.steps, 1, 1)
    periods_us = {
        items: stream_period_us(graph, layout.steps, n_lanes, items * n_lanes)
        for items in _ITEMS_PER_LANE
    }
    tied_us = _TIED * min(periods_us.values())
    return next((items, us) for items, us in periods_us.items() if us <= tied_us)


def _powerless(board: Platform) -> list[str]:
    """Devices without power figures; an accelerator's energy is modelled by itself."""
    return [
        device.name
        for device in board.devices
        if device.active_w_per_core is None and device.dataflow is None
    ]


def _targets(board: Platform) -> dict[str, str]:
    """What operators on each device are for."""
    return {each.name: DATAFLOW if each.dataflow else KIND for each in board.devices}


def _placement(graph: Graph, board: Platform, emulated: Emulated, seed: int) -> Placement:
    regions = [step for step in emulated.steps if step.tensor is None]
    device = {op: step.place for step in regions for op in step.ops}
    targets = _targets(board)
    return Placement(
        model_sha256=graph.sha256,
        model_name=graph.name,
        threads=1,
        ops=tuple(
            PlacedOp(
                index=op, label=graph.ops[op].label, device=device[op], target=targets[device[op]]
            )
            for op in sorted(device)
        ),
        regions=tuple(
            PlacedRegion(
                index=index,
                device=step.place,
                target=targets[step.place],
                ops=step.ops,
                lanes=step.lanes,
                predicted_us=step.modelled_us,
            )
            for index, step in enumerate(regions)
        ),
        predicted_us=emulated.predicted_us,
        predicted_period_us=emulated.predicted_period_us,
        seed=seed,
        tdse_version=__version__,
    )
