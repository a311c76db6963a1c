"""What layers take on the Edge TPU: a roofline for each, with constants fitted to published times.

The Edge TPU multiplies in an array of 64 by 64: 64 output channels, 4 input channels, 16 places of
the image. A layer with fewer channels leaves part of it idle. Everything else, depthwise
convolutions included, goes through a vector unit. Parameters that do not fit into its memory are
sent for each run while the layer computes. How well that predicts latencies that the constants
were not fitted to, ``benchmarks/edgetpu_model.py`` prints. All of it is modelled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tdse.edgetpu.package import CUSTOM_OP, read_package
from tdse.edgetpu.parameters import parameter_bytes
from tdse.graph.model import Graph

# 64 x 64 multipliers at 480 MHz make 4 TOPS, Coral's figure.
PEAK_MACS_PER_US = 64 * 64 * 480
# Compilers report 7.4 to 7.9 MiB for parameters; the least of that.
PARAMETER_CAPACITY_BYTES = 7_700_000
# Of a first run, besides sending the parameters: 1.3, 5.6 and 13.6 ms are published for 66 kB,
# 1.06 MB and 4.2 MB.
FIRST_RUN_US, FIRST_RUN_US_PER_BYTE = 1200.0, 3.0e-3

_OUTPUT_CHANNELS, _INPUT_CHANNELS = 64, 4
_CONVOLUTIONS = ("conv2d", "transpose_conv2d")
_MATRICES = ("fully_connected", "lstm", "unidirectional_sequence_lstm")
_WINDOWED = ("depthwise_conv2d", "average_pool2d", "max_pool2d")
# Results of a window of 3x3 count 1: half of that for the result, half for its nine places.
_WINDOW = 9
# A result that is only copied counts half.
_COPIES = (
    "concatenation", "pack", "pad", "slice", "space_to_depth", "split", "strided_slice", "tile",
    "transpose",
)  # fmt: skip
# These only say otherwise how the bytes lie. What compiled regions compute is not known.
_FREE = ("reshape", "squeeze", "expand_dims", "edgetpu_custom_op")


@dataclass(frozen=True)
class Rates:
    """Constants of the model.

    Attributes:
        invoke_us: of each region besides, transfers' latencies included.
        array_share: of the array's peak that full layers reach.
        results_per_us: of the vector unit, for windows of 3x3.
    """

    invoke_us: float
    array_share: float
    results_per_us: float


# As benchmarks/edgetpu_model.py fits them to all published latencies with USB 3.0.
FITTED = Rates(invoke_us=252.5, array_share=0.493, results_per_us=1859.0)


@dataclass(frozen=True)
class Layer:
    """What an operator is to the model.

    Attributes:
        kind: the field's term.
        height: of the result.
        width: of the result.
        inputs: input channels that each result depends on.
        outputs: output channels.
        taps: places of the window; 1 where there is none.
        parameter_bytes: as they lie in the Edge TPU.
        streamed_bytes: parameters that edgetpu_compiler has decided to send for each run.
    """

    kind: str
    height: int
    width: int
    inputs: int
    outputs: int
    taps: int
    parameter_bytes: int
    streamed_bytes: int = 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates, of matrices and convolutions."""
        if self.kind not in (*_CONVOLUTIONS, *_MATRICES, "depthwise_conv2d"):
            return 0
        return self.height * self.width * self.inputs * self.outputs * self.taps


def layer_of(graph: Graph, index: int) -> Layer:
    """An operator as a layer."""
    op = graph.ops[index]
    _, height, width, outputs = (1, 1, 1, 1, *graph.tensors[op.outputs[0]].shape)[-4:]
    size = parameter_bytes(graph, index)
    if op.tflite_name == CUSTOM_OP:
        sent = read_package(graph, index).streamed_bytes
        return Layer(op.kind, height, width, 1, outputs, 1, size, sent)
    if op.kind in _CONVOLUTIONS:
        _, *window, inputs = graph.tensors[op.inputs[1]].shape
        taps = math.prod(window)
        if op.kind == "transpose_conv2d":
            # Its work is counted at the operand, which is the smaller.
            _, height, width, _ = graph.tensors[op.inputs[2]].shape
        return Layer(op.kind, height, width, inputs, outputs, taps, size)
    if op.kind in _MATRICES:
        return Layer(op.kind, 1, 1, -(-op.macs // max(outputs, 1)), outputs, 1, size)
    if op.kind == "depthwise_conv2d":
        _, *window, _ = graph.tensors[op.inputs[1]].shape
        return Layer(op.kind, height, width, 1, outputs, math.prod(window), size)
    taps = math.prod(_whole(op.attributes.get(f"filter_{side}", 1)) for side in ("height", "width"))
    if op.kind in ("mean", "sum", "reduce_max", "reduce_min"):
        taps = max(1, math.prod(graph.tensors[op.inputs[0]].shape) // (height * width * outputs))
    return Layer(op.kind, height, width, 1, outputs, taps, size)


def compute_us(layer: Layer, rates: Rates = FITTED) -> float:
    """Microseconds of a layer, were its parameters there."""
    if layer.kind in _FREE:
        return 0.0
    if layer.kind in (*_CONVOLUTIONS, *_MATRICES):
        lanes = _padded(layer.inputs, _INPUT_CHANNELS) * _padded(layer.outputs, _OUTPUT_CHANNELS)
        macs = layer.height * layer.width * layer.taps * lanes
        return macs / (PEAK_MACS_PER_US * rates.array_share)
    results: float = layer.height * layer.width * layer.outputs
    if layer.kind in _COPIES:
        results /= 2
    elif layer.kind in _WINDOWED and results > layer.outputs:
        results *= (layer.taps + _WINDOW) / (2 * _WINDOW)
    elif results == layer.outputs:
        # A reduction of the whole image passes over it once.
        results *= layer.taps
    return results / rates.results_per_us


def layer_us(
    layer: Layer, parameter_bytes_per_us: float, *, is_streamed: bool, rates: Rates = FITTED
) -> float:
    """Microseconds of a layer; parameters that are streamed arrive while it computes."""
    sent_bytes = layer.streamed_bytes + is_streamed * layer.parameter_bytes
    return max(compute_us(layer, rates), sent_bytes / parameter_bytes_per_us)


def streamed(sizes: Iterable[tuple[int, int]]) -> frozenset[int]:
    """Which operators' parameters do not fit into one Edge TPU's memory.

    It is shared by all regions of an artefact, which are compiled together. It is filled in the
    order of execution, an operator's parameters as a whole or not at all.

    Args:
        sizes: (operator, bytes of its parameters), in the order of execution.
    """
    used, left_out = 0, set()
    for op, size in sizes:
        if used + size <= PARAMETER_CAPACITY_BYTES:
            used += size
        else:
            left_out.add(op)
    return frozenset(left_out)


def first_run_us(cached_bytes: int) -> float:
    """Microseconds that the first run takes beyond the others: parameters are sent and kept."""
    return FIRST_RUN_US + FIRST_RUN_US_PER_BYTE * cached_bytes


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 1


def _padded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
