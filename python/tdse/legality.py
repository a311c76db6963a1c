"""Which operator may run on which target, and why not elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tdse.errors import ModelError, TdseError, UsageError
from tdse.graph.model import Graph
from tdse.graph.signature import signature
from tdse.measure.records import RecordStore
from tdse.platform import Device, Platform
from tdse.targets import Support, Target, get_target, target_for
from tdse.targets.base import target_code

Begin = Callable[[str, str, Sequence[str]], None]


@dataclass(frozen=True)
class Legality:
    """The word of each target on each placed operator.

    Attributes:
        targets: names, in the platform's order.
        support: target to operator index to ``Support``.
        signatures: operator index to signature.
    """

    targets: tuple[str, ...]
    support: Mapping[str, Mapping[int, Support]]
    signatures: Mapping[int, str]

    def legal(self) -> dict[str, dict[int, bool]]:
        """Target to operator index to whether it may run there."""
        return {t: {op: s.ok for op, s in ops.items()} for t, ops in self.support.items()}

    def corrected(self, store: RecordStore) -> Legality:
        """With what was found out on another machine, where operators were run: its word counts.

        Args:
            store: has that machine's records.
        """
        support: dict[str, dict[int, Support]] = {}
        for target, answers in self.support.items():
            support[target] = {}
            for op, answer in answers.items():
                found = store.find_support(self.signatures[op], target)
                support[target][op] = Support(*found) if found else answer
        return Legality(self.targets, support, self.signatures)


def chosen_targets(platform: Platform, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The platform's targets, or those of them that the user asks for.

    A target of another package that lacks something here is only taken where it is asked for.

    Raises:
        UsageError: a wanted target is not one of the platform's, or it is emulated and has none.
    """
    if platform.is_emulated:
        raise UsageError(
            f"platform {platform.name} is emulated, so that it has no targets to measure or to "
            "choose from",
            hint="tdsec --emulate places models on it",
        )
    offered = tuple(dict.fromkeys(t for device in platform.devices for t in device.targets))
    for name in wanted or ():
        if name not in offered:
            raise UsageError(
                f"platform {platform.name} has no target {name!r}",
                why=_why_missing(name, platform),
                hint=f"it has {', '.join(offered)}",
            )
        if target_code(name) and not get_target(name).available().ok:
            raise UsageError(
                f"target {name} cannot be used here", why=get_target(name).available().reason
            )
    if wanted is not None:
        return tuple(t for t in offered if t in wanted)
    unasked = [device for device in platform.devices if not device.on_request]
    targets = dict.fromkeys(t for device in unasked for t in device.targets)
    return tuple(t for t in targets if not target_code(t) or get_target(t).available().ok)


def device_names(platform: Platform) -> dict[str, str]:
    """The device of each target of the platform: the first that offers it."""
    return {t: device.name for device in reversed(platform.devices) for t in device.targets}


def _why_missing(name: str, platform: Platform) -> str:
    """What a known target lacks on this machine; empty if that is not known."""
    if platform.source != "found":
        return ""
    try:
        return get_target(name).available().reason
    except TdseError:
        return ""


def find_legality(
    graph: Graph,
    targets: Sequence[str],
    store: RecordStore,
    *,
    begin: Begin | None = None,
    processor: Device | None = None,
) -> Legality:
    """Ask each target about each operator, equal operators once; answers are remembered.

    Args:
        graph: the model.
        targets: names.
        store: takes and gives the answers.
        begin: called with what is done, the target and the signature before a target is asked.
        processor: a platform's device that is not this machine's CPU; None for that.
    """
    signatures = {op: signature(graph, op) for op in graph.placed_ops}
    support: dict[str, dict[int, Support]] = {}
    for name in targets:
        target = target_for(name, processor)
        answers: dict[str, Support] = {}
        for op, key in signatures.items():
            if key in answers:
                continue
            remembered = store.find_support(key, name)
            if remembered is None:
                if begin is not None:
                    begin("compiling", name, [key])
                answers[key] = _asked(target, graph, op)
                store.add_support([(key, name, answers[key].ok, answers[key].reason)])
            else:
                answers[key] = Support(*remembered)
        support[name] = {op: answers[key] for op, key in signatures.items()}
    return Legality(tuple(targets), support, signatures)


def _asked(target: Target, graph: Graph, op: int) -> Support:
    if not graph.data and not hasattr(target, "compile_bodies"):
        reason = f"it has no TFLite origin, and {target.name} compiles nothing but TFLite"
        return Support(False, reason)
    return target.supports(graph, op)


def demand_all_supported(graph: Graph, legality: Legality) -> None:
    """Refuse a model with an operator that runs on no target.

    Raises:
        ModelError: naming the operator, with each target's reason.
    """
    nowhere = [
        op
        for op in graph.placed_ops
        if not any(legality.support[target][op].ok for target in legality.targets)
    ]
    if not nowhere:
        return
    first = nowhere[0]
    reasons = "; ".join(f"{t}: {legality.support[t][first].reason}" for t in legality.targets)
    others = f" and {len(nowhere) - 1} more" if len(nowhere) > 1 else ""
    raise ModelError(
        f"op {graph.ops[first].label} ({graph.ops[first].tflite_name}){others} runs on no target",
        where=graph.name,
        why=reasons,
        hint="replace the operator in the model, or allow more targets with --targets",
    )
