"""Devices, links and platforms as plain values."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from tdse.dataflow.architecture import Architecture
from tdse.faults import Record
from tdse.platform.edgetpu import EdgeTpuUnit

_Name = Annotated[str, Field(min_length=1)]
_Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]

# What each x86-64 level of the System V psABI adds, in the kernel's flag names. The kernel calls
# SSE3 pni and LZCNT abm; OSFXSR and OSXSAVE are the kernel's own business.
X86_LEVELS: tuple[tuple[str, frozenset[str]], ...] = (
    ("x86-64", frozenset({"cmov", "cx8", "fpu", "fxsr", "mmx", "sse", "sse2"})),
    ("x86-64-v2", frozenset({"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"})),
    (
        "x86-64-v3",
        frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    ),
    ("x86-64-v4", frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})),
)


class _Record(Record):
    model_config = ConfigDict(validate_default=True)


class EmulatedUnit(_Record):
    """What a device that is not there would take: rates of one of its units, all modelled.

    An operator takes ``operator_us``, and its multiply-accumulates at the rate of its class, or,
    where it has none, the bytes that it reads and writes at ``bytes_per_us``.

    Attributes:
        conv_macs_per_us: multiply-accumulates per microsecond of convolutions.
        depthwise_macs_per_us: of depthwise convolutions.
        dense_macs_per_us: of all other operators that have any.
        bytes_per_us: of operators without.
        operator_us: of each operator besides.
        launch_us: of each region besides.
        kinds: operator kinds that it runs; None for all.
        dtypes: element types of the tensors between the operators that it runs; None for all.
        parameter_bytes: constants that it holds; None for any number.
    """

    conv_macs_per_us: _Rate
    depthwise_macs_per_us: _Rate
    dense_macs_per_us: _Rate
    bytes_per_us: _Rate
    operator_us: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    launch_us: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    kinds: Annotated[tuple[_Name, ...], Field(strict=False)] | None = None
    dtypes: Annotated[tuple[_Name, ...], Field(strict=False)] | None = None
    parameter_bytes: Annotated[int, Field(ge=0)] | None = None


class DataflowUnit(_Record):
    """An accelerator that exists only as a description: layers take what their mappings take.

    Attributes:
        architecture: its PEs and memories, and what they cost.
        objective: what the mapping of each layer is best in: ``edp``, ``energy`` or ``cycles``.
        launch_us: of each region besides.
    """

    architecture: Architecture
    objective: Literal["edp", "energy", "cycles"] = "edp"
    launch_us: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


# Tables of a device that say what it takes, instead of what it is measured to take.
_MODELS = ("emulated", "dataflow", "edgetpu")


class Device(_Record):
    """One unit that runs one target's code at a time.

    Attributes:
        name: what pins and placements call it, for example ``cpu``.
        targets: ways to compile for it, for example ``litert`` and ``llvm``; none if it is
            emulated.
        emulated: what it would take by rates; None for a device that is there.
        dataflow: the same, for an accelerator with a model of its own.
        edgetpu: the same, for an Edge TPU; what it would take is then known to tdse.
        cores: cores that code on it may use at once.
        triple: LLVM target triple, architecture first; empty for what is not a CPU.
        mcpu: LLVM's name of the processor or of its level; empty where it is not known.
        features: instruction set extensions, in the names of ``/proc/cpuinfo``.
        model_name: the processor's or board's name, for people.
        memory_bytes: memory it may use, bytes; None where it is not known.
        memory_bytes_per_s: peak rate of that memory, bytes per second.
        clock_hz: highest sustained clock of a core, hertz.
        idle_w: power while nothing runs, watts, at the place where ``active_w_per_core`` is taken.
        active_w_per_core: power that each busy core adds, watts.
        on_request: its targets are only used where they are asked for by name.
    """

    name: _Name
    targets: Annotated[tuple[_Name, ...], Field(strict=False)] = ()
    emulated: EmulatedUnit | None = None
    dataflow: DataflowUnit | None = None
    edgetpu: EdgeTpuUnit | None = None
    cores: Annotated[int, Field(ge=1)] = 1
    triple: str = ""
    mcpu: str = ""
    features: Annotated[tuple[_Name, ...], Field(strict=False)] = ()
    model_name: str = ""
    memory_bytes: Annotated[int, Field(ge=1)] | None = None
    memory_bytes_per_s: _Rate | None = None
    clock_hz: _Rate | None = None
    idle_w: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    active_w_per_core: _Rate | None = None
    on_request: bool = False

    @property
    def isa(self) -> str:
        """The architecture, for example ``x86_64`` or ``aarch64``; empty if there is no triple."""
        return self.triple.partition("-")[0]

    @property
    def is_modelled(self) -> bool:
        """What it takes is modelled, not measured."""
        return bool(self._models)

    @property
    def _models(self) -> list[str]:
        """Keys of the tables that say what it takes."""
        return [key for key in _MODELS if getattr(self, key) is not None]

    @model_validator(mode="after")
    def _has_one_way(self) -> Device:
        models = self._models
        if not models and not self.targets:
            raise ValueError(f"needs targets, or one of {', '.join(_MODELS)} if it is modelled")
        if models and self.targets:
            raise ValueError(f"has both targets and {models[0]}, so that times would mix; keep one")
        if len(models) > 1:
            raise ValueError(f"has both {models[0]} and {models[1]}, two models of it; keep one")
        return self

    @model_validator(mode="after")
    def _distinct(self) -> Device:
        for target in self.targets:
            if self.targets.count(target) > 1:
                raise ValueError(f"targets names {target} twice")
        return self


class Link(_Record):
    """What carries tensors between two devices, either way.

    Attributes:
        between: names of the two devices.
        bandwidth_bytes_per_s: bytes per second of a long transfer.
        latency_us: microseconds that a transfer takes before its first byte.
        shared: transfers over it and over other shared links take turns.
    """

    between: Annotated[tuple[_Name, _Name], Field(strict=False)]
    bandwidth_bytes_per_s: _Rate
    latency_us: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    shared: bool = False


class Platform(_Record):
    """Devices and the links between them.

    Attributes:
        name: for messages and for the files that are written.
        source: found on this machine, shipped with tdse, or read from a user's file.
        devices: the first is the one that runs the executor, a CPU.
        links: devices that share a memory need none.
    """

    name: _Name
    source: Literal["found", "preset", "file"]
    devices: Annotated[tuple[Device, ...], Field(min_length=1, strict=False)]
    links: Annotated[tuple[Link, ...], Field(strict=False)] = ()

    def device(self, name: str) -> Device | None:
        """The device of that name, or None."""
        return next((device for device in self.devices if device.name == name), None)

    @property
    def is_emulated(self) -> bool:
        """Its devices are not there: what they take is modelled."""
        return self.devices[0].is_modelled

    @property
    def all_links(self) -> tuple[Link, ...]:
        """The links of the file, and those of the Edge TPUs.

        What two Edge TPUs pass on goes through the host.
        """
        host, tpus = self.devices[0].name, [d for d in self.devices if d.edgetpu is not None]
        made = [_edgetpu_link((host, device.name), [device]) for device in tpus]
        made += [
            _edgetpu_link((one.name, other.name), [one, other])
            for one, other in itertools.combinations(tpus, 2)
        ]
        return (*self.links, *made)

    def is_host(self, host: Platform) -> bool:
        """Code for this platform can be run and measured on ``host``."""
        return not self.differs_from(host)

    def differs_from(self, host: Platform) -> str:
        """Why code for this platform cannot be run or measured on ``host``; empty if it can.

        Args:
            host: what ``discover_host`` found on this machine.
        """
        return "; ".join(why for device in self.devices for why in _differences(device, host))

    @model_validator(mode="after")
    def _agree(self) -> Platform:
        if self.devices[0].edgetpu is not None:
            raise ValueError(f"{self.devices[0].name} runs the executor, an Edge TPU cannot")
        names = [device.name for device in self.devices]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two devices are called {name}")
        for device in self.devices:
            if device.is_modelled != self.is_emulated:
                first, other = ("is", "is not") if self.is_emulated else ("is not", "is")
                raise ValueError(
                    f"{self.devices[0].name} {first} emulated and {device.name} {other}: "
                    "measured and modelled times never mix"
                )
        for index, link in enumerate(self.links):
            for name in link.between:
                if name not in names:
                    raise ValueError(
                        f"links[{index}].between names {name}, but the devices are "
                        f"{', '.join(names)}"
                    )
            if link.between[0] == link.between[1]:
                raise ValueError(f"links[{index}].between names {link.between[0]} twice")
        return self


def _edgetpu_link(between: tuple[str, str], passed: Sequence[Device]) -> Link:
    """What carries tensors over the links of one or two Edge TPUs, one after the other."""
    rates = [device.edgetpu.rates for device in passed if device.edgetpu is not None]
    return Link(
        between=between,
        bandwidth_bytes_per_s=1e6 / sum(1 / rate.tensor_bytes_per_us for rate in rates),
        latency_us=sum(rate.latency_us for rate in rates),
        shared=any(rate.shared for rate in rates),
    )


def x86_level(features: frozenset[str] | set[str]) -> str:
    """The highest x86-64 level whose features are all there; empty if not even the first is."""
    level = ""
    for name, added in X86_LEVELS:
        if not added <= features:
            break
        level = name
    return level


def _differences(device: Device, host: Platform) -> list[str]:
    """What stands between a device and the one of the host that offers its targets."""
    if device.is_modelled:
        return [f"{device.name} is emulated"]
    offered = [here for here in host.devices if set(device.targets) <= set(here.targets)]
    if not offered:
        return [f"no device of this machine offers {' and '.join(device.targets)}"]
    here = offered[0]
    if device.isa != here.isa:
        return [f"{device.name} is {device.isa or 'no CPU'}, this machine is {here.isa}"]
    reasons = []
    missing = [name for name in device.features if name not in here.features]
    if missing:
        reasons.append(f"{device.name} needs {', '.join(missing)}, which this machine has not")
    if device.mcpu and not _serves(device.mcpu, here):
        found = here.mcpu or here.model_name or "of an unknown kind"
        reasons.append(f"{device.name} is a {device.mcpu}, this machine's processor is {found}")
    if device.cores > here.cores:
        cores = "1 core" if here.cores == 1 else f"{here.cores} cores"
        reasons.append(f"{device.name} has {device.cores} cores, this process may use {cores}")
    return reasons


def _serves(mcpu: str, here: Device) -> bool:
    """This machine is such a processor, or has all of a level that stands for many."""
    levels = [name for name, _ in X86_LEVELS]
    if mcpu in levels and here.mcpu in levels:
        return levels.index(mcpu) <= levels.index(here.mcpu)
    return mcpu in ("generic", here.mcpu)
