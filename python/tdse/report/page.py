"""A report as one page of HTML, which loads nothing."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping
from importlib import resources
from statistics import median

from tdse.account import OpCost, op_costs, place_of
from tdse.measure.accuracy import Difference
from tdse.measure.conditions import Conditions
from tdse.outputs import OutputGap
from tdse.report.drawing import graph_svg, groups, timeline_svg
from tdse.report.gather import Facts, RegionTimes
from tdse.report.text import escaped, paragraph, share_text, table, time_text
from tdse.runtime.metadata import ContestRow, MadeUnder, Metadata, OpCosts

# As many as style.css has.
_COLOURS = 8


def page(facts: Facts) -> str:
    """The whole document."""
    style, script = (
        (resources.files("tdse.report") / name).read_text(encoding="utf-8")
        for name in ("style.css", "script.js")
    )
    title = f"{facts.metadata.model.name}: tdse report"
    sections = "".join(
        f"<section><h2>{escaped(head)}</h2>{body}</section>"
        for head, body in (
            ("Summary", _summary(facts)),
            ("The placed graph", _graph(facts)),
            ("A run, predicted and measured", _timeline(facts)),
            ("The contest", _contest(facts.metadata)),
            ("The front", _front(facts)),
            ("Why each operator is where it is", _operators(facts)),
            ("Conditions and versions", _conditions(facts)),
        )
        if body
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        # Nothing but these two texts is obeyed, whatever names a model brings.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        f"style-src '{_digest(style)}'; script-src '{_digest(script)}'\">"
        f"<title>{escaped(title)}</title><style>{style}</style></head>"
        f"<body><main><h1>{escaped(facts.metadata.model.name)}</h1>{_lead(facts)}{sections}</main>"
        '<aside id="detail" aria-live="polite" hidden></aside>'
        f"<script>{script}</script></body></html>\n"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _lead(facts: Facts) -> str:
    """What matters most, in one sentence with the source of each figure."""
    metadata = facts.metadata
    winner = _winner(metadata)
    if metadata.emulated is not None:
        board = metadata.emulated
        text = f"A run is modelled to take {time_text(board.predicted_us)} ({board.label})"
    elif winner is not None:
        text = f"{time_text(winner.measured_us)} {_unit(metadata)}, measured"
        text += "".join(f"; {value}" for _, value in _against_litert(metadata, winner))
    else:
        how = "A placement that was given" if metadata.elsewhere is None else "Compiled elsewhere"
        text = f"{how}; {time_text(_traced_us(facts))} a run, traced"
    return paragraph(f"{text}.", label="lead")


def _traced_us(facts: Facts) -> float:
    return max(run.end_us for run in facts.run)


def _winner(metadata: Metadata) -> ContestRow | None:
    """What was timed as the best; None where nothing was."""
    return next((row for row in metadata.contest if row.won and row.measured_us is not None), None)


def _summary(facts: Facts) -> str:
    metadata, placement = facts.metadata, facts.placement
    winner = _winner(metadata)
    counts = Counter(place_of(op, metadata) for op in placement.ops)
    rows = [
        ("model", f"{metadata.model.name}, {metadata.model.ops} operators"),
        ("platform", metadata.platform),
        ("objective", metadata.objective or "none: the placement was given"),
        ("operators", ", ".join(f"{n} {place}" for place, n in counts.most_common())),
        ("regions", str(len(placement.regions))),
        ("threads of a region", str(placement.threads)),
        ("lanes", str(metadata.lanes)),
    ]
    if metadata.emulated is not None:
        measured = metadata.emulated.measured_steps
        but = f", but {measured} regions take what an Edge TPU took" if measured else ""
        told = f"{metadata.emulated.label}; no time below is of that board{but}"
        rows.append(("emulated", told))
        rows.append(("a run (modelled)", time_text(metadata.emulated.predicted_us)))
        rows.append(
            ("results of a stream (modelled)", time_text(metadata.emulated.predicted_period_us))
        )
    if winner is not None:
        unit = _unit(metadata)
        rows.append((f"{unit} (measured in the contest)", time_text(winner.measured_us)))
        rows += _against_litert(metadata, winner)
    rows.append(("a run (predicted)", time_text(metadata.predicted_us)))
    gap = metadata.difference_from_litert
    rows.append(
        (
            "largest difference of a region from LiteRT (measured)",
            "not checked" if gap is None else str(Difference(gap.steps, gap.relative)),
        )
    )
    outputs = metadata.outputs_from_litert
    if outputs is not None:
        text = OutputGap.from_json(outputs.model_dump())
        rows.append(("largest difference of outputs from LiteRT (measured)", str(text)))
    rows += [(name, f"{size / 1e6:.2f} MB") for name, size in facts.files]
    return table("summary", ("what", "value"), rows)


def _unit(metadata: Metadata) -> str:
    return "from one result to the next" if metadata.objective == "throughput" else "a run"


def _against_litert(metadata: Metadata, winner: ContestRow) -> list[tuple[str, str]]:
    plain = [
        row
        for row in metadata.contest
        if row.targets == ("litert",) and row.lanes == 1 and row.measured_us is not None
    ]
    best = min(plain, key=lambda row: row.measured_us or 0.0, default=None)
    if best is None or best.ratio_to_winner is None:
        return []
    if best.name == winner.name:
        return [("against LiteRT", f"it is LiteRT as a whole ({best.name}): nothing was faster")]
    value, low, high = best.ratio_to_winner
    return [
        (
            "against the best whole LiteRT (measured)",
            f"{value:.2f} times as fast as {best.name}, 95 % interval {low:.2f} to {high:.2f}",
        )
    ]


def _graph(facts: Facts) -> str:
    places = {op.index: place_of(op, facts.metadata) for op in facts.placement.ops}
    colour = groups([region.place for region in facts.regions], _COLOURS)
    legend = "".join(
        f'<li class="p{colour[place]}"><span></span>{escaped(place)}: {n} operators</li>'
        for place, n in Counter(places.values()).items()
    )
    picture = graph_svg(
        facts.graph,
        {op: colour[place] for op, place in places.items()},
        lambda op: f"{facts.graph.ops[op].label} runs {places[op]}",
    )
    return (
        paragraph("Each box is an operator; a click shows its times, which stand in the table too.")
        + f'<ul class="legend">{legend}</ul><div class="buttons" hidden>'
        '<button type="button" data-zoom="1.4">larger</button>'
        '<button type="button" data-zoom="0.714">smaller</button>'
        '<button type="button" data-zoom="fit">fit</button></div>'
        '<div class="scroll picture" role="region" tabindex="0" aria-label="the placed graph">'
        f"{picture}</div>"
    )


def _timeline(facts: Facts) -> str:
    mark = ""
    if facts.metadata.emulated is not None:
        mark = f" ({facts.metadata.emulated.label}: lanes are kept for modelled times)"
    start = {one.name: one.start_us for one in facts.predicted}
    ran = {run.region: run for run in facts.run}
    costs = op_costs(facts.metadata, facts.placement)
    rows = []
    for i, region in enumerate(facts.regions):
        ratio = region.median_us / region.predicted_us if region.predicted_us else None
        rows.append(
            (
                region.name,
                region.place,
                str(len(region.ops)) if region.ops else "transfer",
                time_text(start.get(region.name)),
                time_text(region.predicted_us),
                time_text(_border_us(region, costs)),
                time_text(ran[i].start_us if i in ran else None),
                time_text(region.median_us),
                f"{time_text(region.quartiles_us[0])} to {time_text(region.quartiles_us[2])}",
                share_text(ratio),
            )
        )
    heads = (
        "region",
        "where",
        "operators",
        "start, predicted",
        "time, predicted",
        "of which launch and border",
        "start, measured",
        "time, measured (median)",
        "quartiles, measured",
        "measured / predicted",
    )
    colour = groups([region.place for region in facts.regions], _COLOURS)
    return (
        paragraph(
            f"Measured{mark}: {facts.runs} runs on random inputs, traced inside the module when "
            "this report was made; the picture is the run of median length, times of regions are "
            f"medians. {_conditions_text(facts.conditions)}. Predicted: by the cost model when the "
            f"model was compiled. {_errors(facts)}"
        )
        + '<div class="scroll picture" role="region" tabindex="0" aria-label="timeline">'
        f"{timeline_svg(facts, colour)}</div>" + table("regions", heads, rows)
    )


def _border_us(region: RegionTimes, costs: Mapping[int, OpCost]) -> float | None:
    """What a region was predicted to take beside its operators: a launch, copies at its border."""
    if region.predicted_us is None or not region.ops or any(op not in costs for op in region.ops):
        return None
    return max(0.0, region.predicted_us - sum(costs[op].cost_us for op in region.ops))


def _errors(facts: Facts) -> str:
    """How far predicted times of regions are from measured ones, beside how steady those are."""
    known = [(r.predicted_us, r) for r in facts.regions if r.predicted_us and r.median_us > 0]
    # What is modelled of a board is not an error of the machine that stands in for it.
    if not known or facts.metadata.emulated is not None:
        return ""
    off = sorted(abs(predicted_us / r.median_us - 1) for predicted_us, r in known)
    noise = median((r.quartiles_us[2] - r.quartiles_us[0]) / 2 / r.median_us for _, r in known)
    return (
        f"Predicted times of regions are off by {median(off):.0%} (median), {off[-1]:.0%} (most); "
        f"the noise floor, half of what lies between the quartiles, is {noise:.0%} (median)."
    )


def _contest(metadata: Metadata) -> str:
    if not metadata.contest:
        return paragraph(
            "Nothing was timed against each other: "
            + (
                "the board is emulated."
                if metadata.emulated is not None
                else "the placement was given."
            )
        )
    rows = []
    for row in metadata.contest:
        expected_us = (
            row.predicted_period_us if metadata.objective == "throughput" else row.predicted_us
        )
        ratio = row.measured_us / expected_us if row.measured_us and expected_us else None
        interval = row.ratio_to_winner
        rows.append(
            (
                f"{row.name} (won)" if row.won else row.name,
                ", ".join(row.targets),
                str(row.regions),
                str(row.lanes),
                time_text(expected_us),
                time_text(row.measured_us) if row.measured_us else f"not timed: {row.not_timed}",
                share_text(ratio),
                "-" if interval is None else "{:.2f} [{:.2f}, {:.2f}]".format(*interval),
                "-" if row.modelled_mj is None else f"{row.modelled_mj:.3g}",
            )
        )
    heads = (
        "candidate",
        "targets",
        "regions",
        "lanes",
        "predicted",
        "measured",
        "measured / predicted",
        "time / winner's",
        "mJ, modelled",
    )
    won = [i for i, row in enumerate(metadata.contest) if row.won]
    if metadata.elsewhere is not None:
        by = metadata.elsewhere.times_of or "nothing"
        return paragraph(
            f"Nothing was timed: {metadata.elsewhere.why}. Predictions are by times of {by}."
        ) + table("candidates", heads, rows, marked=won)
    return paragraph(
        f"Times of {_unit(metadata)}; measured in turns, in several processes, when the model was "
        "compiled: medians, and 95 % intervals of the ratio from resampling the processes. "
        f"{_conditions_text(metadata.conditions)}. What lies in an interval around 1 cannot be "
        "told from the winner."
    ) + table("candidates", heads, rows, marked=won)


def _front(facts: Facts) -> str:
    if facts.front is None:
        return ""
    rows = [
        (
            str(entry.number),
            entry.name,
            str(len(entry.placement.regions)),
            time_text(entry.measured_us),
            f"{entry.modelled_mj:.3g}",
        )
        for entry in facts.front.entries
    ]
    heads = ("number", "candidate", "regions", "measured", "mJ, modelled")
    return paragraph(
        "None of these is beaten in both latency and energy; tdsec --placement front.json#NUMBER "
        "builds another."
    ) + table("the front", heads, rows)


def _operators(facts: Facts) -> str:
    costs, graph, metadata = facts.metadata.op_costs, facts.graph, facts.metadata
    region = {op: r.index for r in facts.placement.regions for op in r.ops}
    places = [] if costs is None else _place_names(costs)
    alternatives = {} if costs is None else _alternatives(costs)
    rows = []
    for placed in facts.placement.ops:
        op = graph.ops[placed.index]
        shapes = ", ".join(str(list(graph.tensors[t].shape)) for t in op.outputs if t >= 0)
        types = ", ".join(dict.fromkeys(graph.tensors[t].dtype for t in op.outputs if t >= 0))
        rows.append(
            (
                op.label,
                place_of(placed, metadata),
                str(region[placed.index]),
                *alternatives.get(placed.index, ()),
                f"{types} {shapes}",
                f"{op.macs:,}",
                f"{op.parameter_bytes:,}",
            )
        )
    heads = (
        "operator",
        "runs",
        "region",
        *places,
        "result",
        "MACs",
        "bytes of parameters",
    )
    note = (
        "What the operators take elsewhere is not in the artefact: its placement was given, or "
        "the model is placed whole."
        if costs is None
        else "For each place: what the operator adds to its region there, without the launch, with "
        "the source of the figure, and in brackets what it takes by itself, with its launch. "
        "The search made the sum over all regions small, with a launch for each; so an operator "
        "may stand where it is not fastest, because its neighbours are there."
    )
    ids = [f"op{placed.index}" for placed in facts.placement.ops]
    return paragraph(note) + table("operators", heads, rows, ids=ids)


def _place_names(costs: OpCosts) -> list[str]:
    pairs = zip(costs.places, costs.threads, strict=True)
    return [f"on {place} x{threads}" for place, threads in pairs]


def _alternatives(costs: OpCosts) -> dict[int, list[str]]:
    """For each operator one text a place: its cost with the source, or why it may not run there."""
    why = {(one.place, op): one.reason for one in costs.refusals for op in one.ops}
    rows = zip(costs.ops, costs.cost_us, costs.alone_us, costs.source, strict=True)
    return {
        op: [
            _alternative(why.get((place, op), ""), cost, alone, told)
            for place, cost, alone, told in zip(
                costs.places, cost_us, alone_us, source, strict=True
            )
        ]
        for op, cost_us, alone_us, source in rows
    }


def _alternative(why: str, cost_us: float | None, alone_us: float | None, source: str) -> str:
    if cost_us is None:
        return f"{source}: {why}" if why else source
    alone = "" if alone_us is None else f" ({time_text(alone_us)})"
    return f"{time_text(cost_us)} {source}{alone}"


def _conditions_text(conditions: Conditions | MadeUnder) -> str:
    governor = f", governor {conditions.governor}" if conditions.governor else ""
    return (
        f"Conditions: {conditions.cpu}, {conditions.cores} cores{governor}, load average "
        f"{conditions.load_average:.1f}"
    )


def _conditions(facts: Facts) -> str:
    metadata, now = facts.metadata, facts.conditions
    then = metadata.conditions
    rows = [
        ("when", metadata.made_at, "when this report was made"),
        ("processor", then.cpu, now.cpu),
        ("cores", str(then.cores), str(now.cores)),
        ("governor", then.governor or "not told", now.governor or "not told"),
        ("load average of a minute", f"{then.load_average:.2f}", f"{now.load_average:.2f}"),
        ("MHz of the first core", _mhz(then.frequency_mhz), _mhz(now.frequency_mhz)),
    ]
    present = dict(now.versions)
    rows += [(name, version, present.get(name, "-")) for name, version in then.versions]
    return table("conditions", ("what", "when compiled", "when reported"), rows) + paragraph(
        f"Model: {metadata.model.path}, sha256 {metadata.model.sha256}. Seed {metadata.seed}, "
        f"budget {metadata.budget_s:g} s."
    )


def _mhz(value: float | None) -> str:
    return "not told" if value is None else f"{value:.0f}"
