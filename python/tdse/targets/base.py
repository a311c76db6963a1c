"""The contract between targets and the rest of tdse, and the registry of targets.

A target compiles regions of a graph and says beforehand which operators it can run. tdse brings
``litert``, ``llvm``, ``opencl``, ``cuda`` and ``edgetpu``. Another package adds one of its own by
an entry point of the group ``tdse.targets``, which names a class, or a function without arguments,
that gives a ``Target``::

    [project.entry-points."tdse.targets"]
    mine = "my_package:MyTarget"

Its regions are of a kind of tdse's own, or of one that the package brings as well: see
docs/adding-a-target.md.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, runtime_checkable

from tdse.boosting import load_xgboost
from tdse.doors import RELAX, RELAY
from tdse.errors import ModelError, TargetError
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.graph.slice import Slice, slice_model
from tdse.platform.discover import TARGET_ENTRY_POINTS as ENTRY_POINTS
from tdse.platform.model import Device
from tdse.processor import cpu_thread_counts as cpu_thread_counts
from tdse.runtime.plan import PlanTensor, Step

_BUILT_IN = {
    "litert": "tdse.targets.litert:LitertTarget",
    "llvm": "tdse.targets.llvm:LlvmTarget",
    "opencl": "tdse.targets.opencl:OpenclTarget",
    "cuda": "tdse.targets.cuda:CudaTarget",
    "edgetpu": "tdse.targets.edgetpu:EdgetpuTarget",
}

_RELAX_ONLY = ("llvm", "opencl", "cuda")
# The same code generators, by way of another intermediate representation.
_OF_RELAY = {
    "llvm": "tdse.targets.llvm_relay:LlvmTarget",
    "opencl": "tdse.targets.opencl_relay:OpenclTarget",
}


@dataclass(frozen=True)
class Support:
    """Whether something can be done, and in one line why not."""

    ok: bool
    reason: str = ""


@dataclass(frozen=True)
class Variant:
    """One way of running an operator on a device."""

    target: str
    threads: int

    def __str__(self) -> str:
        return f"{self.target} x{self.threads}"


@dataclass(frozen=True)
class CompiledRegion:
    """A region in the form in which the executor runs it.

    Attributes:
        kind: the executor's kind: ``litert``, ``litert_interpreter``, ``edgetpu``, ``tvm`` for
            kernels on the CPU, or the name of the device that kernels run on, such as ``opencl:1``;
            or one that the target's package brings by an entry point of the group ``tdse.regions``.
        blob: for LiteRT's kinds: the ``.tflite`` slice; for ``edgetpu`` what was made of it too;
            for those of other packages: whatever their regions are made of.
        inputs: tensor indices of the graph, in the slice's order.
        outputs: likewise.
        tensors: constants and intermediates of the region.
        steps: for kinds with kernels: these in the order of their calls. An argument of 0 or more
            is a tensor index of the graph; -(k + 1) is ``tensors[k]``.
    """

    kind: str
    blob: bytes | None = field(repr=False)
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    tensors: tuple[PlanTensor, ...] = ()
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class CompiledRegions:
    """Regions that were compiled together.

    Attributes:
        regions: in the order in which they were given.
        libraries: TVM runtime modules with the kernels of all of them. A target that is given
            the bodies of operators returns at most one, which can be exported.
    """

    regions: tuple[CompiledRegion, ...]
    libraries: tuple[Any, ...] = ()


@runtime_checkable
class Target(Protocol):
    """A way to compile and run operators.

    One that can compile for another processor than this machine's has a method ``for_processor``
    as well: given a ``Device`` of a platform, it returns the target that compiles for that.
    """

    name: str

    def available(self) -> Support:
        """Whether this machine has what the target needs."""
        ...

    def variants(self, cores: int) -> tuple[Variant, ...]:
        """The ways of running an operator that differ in time on ``cores`` cores."""
        ...

    def supports(self, graph: Graph, op_index: int) -> Support:
        """Whether the target can run the operator, and if not, why."""
        ...

    def compile(self, graph: Graph, regions: Sequence[Region], threads: int) -> CompiledRegions:
        """Compile regions to run on ``threads`` threads each.

        Raises:
            TargetError: one of them cannot be compiled.
        """
        ...


@cache
def get_target(name: str) -> Target:
    """The target called ``name``; the same object every time.

    A name may say after a colon what the target is for: ``opencl:1`` is the second OpenCL device,
    ``cuda:sm_87`` an architecture.

    Raises:
        TargetError: there is no such target, or the package that brings it cannot be imported.
    """
    kind, _, argument = name.partition(":")
    if kind in _BUILT_IN:
        is_relay = kind in _OF_RELAY and not RELAY.why_not()
        place = (_OF_RELAY if is_relay else _BUILT_IN)[kind]
        if kind in _RELAX_ONLY and not is_relay and RELAX.why_not():
            raise TargetError(
                f"target {name} needs TVM {RELAX.at_least}",
                why=RELAX.why_not(),
                hint=RELAX.advice(),
            )
        if is_relay:
            # Once the module below has loaded tvm.relay, it is too late.
            load_xgboost()
        module, _, attribute = place.partition(":")
        make = getattr(importlib.import_module(module), attribute)
        target: Target = make(argument) if argument else make()
        return target
    found = _entry_points().get(name)
    if found is None:
        near = difflib.get_close_matches(name, target_names(), n=1)
        raise TargetError(
            f"there is no target {name!r}",
            why=f"the known ones are {', '.join(target_names())}",
            hint=f"did you mean {near[0]}?" if near else "",
        )
    return _load(found)


def target_for(name: str, processor: Device | None) -> Target:
    """The target called ``name``, compiling for a processor.

    Args:
        name: of the target.
        processor: a platform's device that is not this machine's CPU; None for that.

    Raises:
        TargetError: there is no such target, or it compiles for this machine only.
        PlatformError: it does not compile for such a processor.
    """
    target = get_target(name)
    if processor is None:
        return target
    if not hasattr(target, "for_processor"):
        raise TargetError(
            f"target {name} compiles for this machine only",
            where=f"device {processor.name}",
            hint=f"leave {name} out with --targets, or compile on the board",
        )
    other: Target = target.for_processor(processor)
    return other


def target_names() -> tuple[str, ...]:
    """Names of all targets: tdse's own, and those that other packages bring."""
    return (*_BUILT_IN, *sorted(set(_entry_points()) - set(_BUILT_IN)))


def target_code(name: str) -> str:
    """The file whose code is run for a target that another package brings; empty for tdse's own.

    The module's name where it is not there, which loading the target tells.
    """
    point = _entry_points().get(name)
    if point is None or name in _BUILT_IN:
        return ""
    try:
        spec = importlib.util.find_spec(point.module)
    except ModuleNotFoundError:
        spec = None
    return (spec and spec.origin) or point.module


def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _load(point: EntryPoint) -> Target:
    what = f"target {point.name!r} cannot be loaded"
    package = point.dist.name if point.dist else ""
    try:
        target = point.load()()
    except (ImportError, AttributeError, TypeError) as error:
        raise TargetError(
            what, where=package, why=str(error), hint=f"mend or remove the package {package}"
        ) from error
    if not isinstance(target, Target):
        raise TargetError(what, where=package, why=f"{point.value} does not give a Target")
    return target


def cut_region(graph: Graph, region: Region) -> Slice:
    """A region as a ``.tflite``, for targets whose regions are made of that.

    Raises:
        TargetError: it cannot be cut out.
    """
    try:
        return slice_model(graph, region.ops)
    except ModelError as error:
        raise TargetError(
            f"region {region.index} cannot be cut out", where=graph.name, why=str(error)
        ) from error


def target_threads(target: str, counts: Sequence[int]) -> tuple[int, ...]:
    """The thread counts among ``counts`` that make a difference to ``target``."""
    most = max(variant.threads for variant in get_target(target).variants(max(counts)))
    return tuple(dict.fromkeys(min(count, most) for count in counts))


def target_variants(targets: Sequence[str], counts: Sequence[int]) -> list[tuple[str, int]]:
    """Each target with each thread count among ``counts`` that makes a difference to it."""
    return [(name, threads) for name in targets for threads in target_threads(name, counts)]
