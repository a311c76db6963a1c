"""What devices that are not there do with single operators: by rates, or as an Edge TPU does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tdse.edgetpu import cost as edgetpu
from tdse.edgetpu import rules
from tdse.edgetpu.mapping import compiler_mapping
from tdse.edgetpu.package import CUSTOM_OP
from tdse.graph.model import Graph
from tdse.platform.edgetpu import EdgeTpuUnit
from tdse.platform.model import DataflowUnit, Device, EmulatedUnit

Unit = EmulatedUnit | DataflowUnit | EdgeTpuUnit

_DEPTHWISE = frozenset({"depthwise_conv2d"})
_CONVOLUTIONS = frozenset({"conv2d", "transpose_conv2d", "conv3d", "conv3d_transpose"})


@dataclass(frozen=True)
class OnUnit:
    """An operator on a unit.

    Attributes:
        time_us: inside a region; infinite where it does not run.
        energy_uj: what the power of the device leaves out; 0 where it does not run.
        refusal: why it does not run; empty if it does.
    """

    time_us: float
    energy_uj: float = 0.0
    refusal: str = ""

    @classmethod
    def refused(cls, why: str) -> OnUnit:
        """An operator that does not run."""
        return cls(np.inf, 0.0, why)


@dataclass(frozen=True)
class RoundTrip:
    """What it takes to hand a tensor from one region of a unit to another of the same unit.

    Attributes:
        latency_us: of each tensor.
        us_per_byte: of the tensor's bytes.
    """

    latency_us: float = 0.0
    us_per_byte: float = 0.0


def unit_of(device: Device) -> Unit:
    """What a device of an emulated platform would take."""
    unit = device.emulated or device.dataflow or device.edgetpu
    assert unit is not None, "all devices of an emulated platform are"
    return unit


def by_rates(graph: Graph, unit: EmulatedUnit) -> list[OnUnit]:
    """Each of ``graph.placed_ops`` on a device that is described by rates."""
    return [
        OnUnit.refused(why)
        if (why := _refusal(graph, op, unit))
        else OnUnit(_rated_us(graph, op, unit))
        for op in graph.placed_ops
    ]


def on_edgetpu(graph: Graph, unit: EdgeTpuUnit) -> list[OnUnit]:
    """Each of ``graph.placed_ops`` on an Edge TPU that holds its parameters."""
    if unit.one_region:
        mapping = compiler_mapping(graph, unit.runtime)
        refusals = [mapping.reason(graph, op) for op in graph.placed_ops]
    else:
        refusals = [str(rules.refusal(graph, op, unit.runtime) or "") for op in graph.placed_ops]
    return [
        OnUnit.refused(why) if why else OnUnit(edgetpu_us(graph, op, unit, is_streamed=False))
        for op, why in zip(graph.placed_ops, refusals, strict=True)
    ]


def edgetpu_us(graph: Graph, index: int, unit: EdgeTpuUnit, *, is_streamed: bool) -> float:
    """Microseconds of an operator inside a region on an Edge TPU.

    Args:
        graph: the model.
        index: of the operator.
        unit: the Edge TPU.
        is_streamed: its parameters do not fit there.
    """
    rate = unit.rates.parameter_bytes_per_us
    return edgetpu.layer_us(edgetpu.layer_of(graph, index), rate, is_streamed=is_streamed)


def launch_us(unit: Unit) -> float:
    """Microseconds of a region besides its operators and transfers."""
    if isinstance(unit, EdgeTpuUnit):
        # The link has the latency of an input and an output.
        return max(0.0, edgetpu.FITTED.invoke_us - 2 * unit.rates.latency_us)
    return unit.launch_us


def round_trip(unit: Unit) -> RoundTrip:
    """From a region of a unit to the next of the same unit.

    An Edge TPU keeps no tensor between two invocations: it goes to the host and comes back. Where
    the host reads it as well, it is counted to go there twice, which is too much rather than too
    little.
    """
    if isinstance(unit, EdgeTpuUnit):
        return RoundTrip(2 * unit.rates.latency_us, 2 / unit.rates.tensor_bytes_per_us)
    return RoundTrip()


def parameter_capacity_bytes(unit: Unit) -> float:
    """Constants that a unit can hold.

    An accelerator fetches them from DRAM for each run, and an Edge TPU what it has no room for.
    """
    held = unit.parameter_bytes if isinstance(unit, EmulatedUnit) else None
    return np.inf if held is None else held


def _rated_us(graph: Graph, index: int, unit: EmulatedUnit) -> float:
    op = graph.ops[index]
    if not op.macs:
        return unit.operator_us + (op.input_bytes + op.output_bytes) / unit.bytes_per_us
    if op.kind in _DEPTHWISE:
        rate = unit.depthwise_macs_per_us
    elif op.kind in _CONVOLUTIONS:
        rate = unit.conv_macs_per_us
    else:
        rate = unit.dense_macs_per_us
    return unit.operator_us + op.macs / rate


def _refusal(graph: Graph, index: int, unit: EmulatedUnit) -> str:
    op = graph.ops[index]
    if op.tflite_name == CUSTOM_OP:
        return "it is compiled for an Edge TPU"
    if unit.kinds is not None and op.kind not in unit.kinds:
        return f"{op.kind} is not among its kinds"
    if unit.dtypes is None:
        return ""
    for tensor in (graph.tensors[t] for t in (*op.inputs, *op.outputs) if t >= 0):
        if not graph.is_constant(tensor.index) and tensor.dtype not in unit.dtypes:
            return f"tensor {tensor.name!r} is of type {tensor.dtype}"
    return ""
