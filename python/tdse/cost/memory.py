"""Memory that a placement takes, predicted from the graph and its regions; nothing is built.

The prediction follows what is allocated. The plan is copied out of a runtime module; the executor
has one arena for tensors between regions; a LiteRT region has TFLite's arena, and XNNPACK's
workspace and packed weights. What remains, a constant for the libraries and small ones for each
region and operator, was fitted to random chains and single operators with LiteRT 2.3 and TVM 0.27
on x86-64; ``benchmarks/kpi_tables.py memory --fit`` fits to chains again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from tdse.graph.model import Graph, Op, Tensor
from tdse.graph.regions import Region

# Of every buffer of the executor, of TFLite's arena and of XNNPACK's workspace.
_ALIGNMENT = 64
# Readable bytes behind a buffer of the executor: kBufferPadding of buffers.h.
_PADDING = 64

# XNNPACK packs weights in tiles of output channels by input channels. These sizes agree with what
# was measured on x86-64 with AVX512; other processors have others, which matters little.
_FLOAT_TILE = (32, 1)
_INT8_TILE = (16, 8)
_DEPTHWISE_TILE = 32
# A depthwise window with more elements has no microkernel of its own and is packed as a convolution
# of one channel in each group: each weight then takes a whole tile. The bytes are as measured.
_MOST_DEPTHWISE_TAPS = 25
_GROUPED_BYTES = {"float32": 64, "int8": 128, "uint8": 128}
_POINTER_BYTES = 8
# TVM's kernels compute with quantised weights as integers of 32 bits, and keep them so; those of
# ``llvm`` for some kinds keep the bytes.
_LLVM_WIDENING = 4
_WIDENED = frozenset(("conv2d", "fully_connected", "transpose_conv2d", "batch_matmul"))
_BYTES_ON_LLVM = frozenset(("conv2d", "fully_connected", "depthwise_conv2d"))

# What XNNPACK is taken to run of TFLite's kinds, by the element type of the result; it only decides
# in which of two arenas a tensor is counted.
_XNNPACK_QUANTIZED = frozenset(
    [
        "add",
        "concatenation",
        "conv2d",
        "depth_to_space",
        "depthwise_conv2d",
        "dequantize",
        "elu",
        "fully_connected",
        "leaky_relu",
        "logistic",
        "max_pool2d",
        "mean",
        "mul",
        "pad",
        "quantize",
        "reshape",
        "resize_bilinear",
        "split",
        "strided_slice",
        "slice",
        "sub",
        "tanh",
        "transpose",
        "transpose_conv2d",
        "batch_matmul",
    ]
)
_TFLITE_FLOAT = frozenset(
    [
        "argmax",
        "arg_max",
        "cast",
        "custom",
        "gather",
        "gather_nd",
        "pack",
        "unpack",
        "shape",
        "range",
        "tile",
        "where",
        "resize_nearest_neighbor",
        "one_hot",
        "topk_v2",
        "reduce_max",
    ]
)
# XNNPACK writes their result over an operand that nothing else reads.
_IN_PLACE = frozenset(
    [
        "abs",
        "add",
        "ceil",
        "div",
        "elu",
        "exp",
        "floor",
        "hard_swish",
        "leaky_relu",
        "logistic",
        "maximum",
        "minimum",
        "mul",
        "neg",
        "prelu",
        "relu",
        "relu6",
        "relu_n1_to_1",
        "round",
        "rsqrt",
        "sqrt",
        "square",
        "squared_difference",
        "sub",
        "tanh",
        "reshape",
        "expand_dims",
        "squeeze",
    ]
)


# Bytes for each byte or count of a term: least squares, relative, on 235 random chains and single
# operators on ``litert`` and on both targets. Those of sizes that are known come out near 1, as
# they should. Of ``executor``: the arena also holds what kernels leave between each other.
COEFFICIENTS: Mapping[str, float] = {
    "plan": 1.04,
    "packed": 1.037,
    "workspace": 1.0,
    "tables": 1.058,
    "border": 0.991,
    "executor": 1.673,
    "widened_in": 1.429,
    "widened_out": 0.727,
    "regions": 18_462.0,
    "ops": 4_402.0,
    "kernels": 10_610.0,
    "process": 875_000.0,
}

# Pages of libraries in a process that loads and runs a module, and what they need beside what is
# fitted above: tdse's and the C++ library's, which kernels need; and LiteRT's. From six placements
# of two networks, among which the sum varies by 2 %, and from modules of nothing but constants
# (x86-64).
LIBRARY_BYTES = 2_760 << 10
LITERT_BYTES = 5_730 << 10
# Before a region has run.
LOADED_BYTES = 600 << 10
# A module is mapped, and its plan copied; then its pages are let go.
_LOADING_COPIES = 2.0


@dataclass(frozen=True)
class MemoryEstimate:
    """Predicted growth of a process that loads a runtime module and runs it; bytes, all modelled.

    Attributes:
        parameter_bytes: parameters in all the forms in which they are kept.
        activation_bytes: tensors between operators, inputs and outputs; and the caller's arrays.
        other_bytes: tables of addresses that XNNPACK makes for windows, and what regions, operators
            and kernels need for themselves.
        runtime_bytes: of the libraries, once in a process.
        loading_bytes: what loading takes at its height, libraries included.
    """

    parameter_bytes: float
    activation_bytes: float
    other_bytes: float
    runtime_bytes: float
    loading_bytes: float

    @property
    def model_bytes(self) -> float:
        """What the model takes while it runs, beside libraries and pages of files."""
        return self.parameter_bytes + self.activation_bytes + self.other_bytes

    @property
    def peak_bytes(self) -> float:
        """The largest resident memory."""
        return max(self.runtime_bytes + self.model_bytes, self.loading_bytes)


def estimate_memory(graph: Graph, regions: Sequence[Region]) -> MemoryEstimate:
    """Predict the memory of a placement.

    Args:
        graph: the model.
        regions: as ``form_regions`` makes them, in the order in which they run.
    """
    terms = memory_terms(graph, regions)
    share = {name: COEFFICIENTS[name] * value for name, value in terms.items()}
    parameters = share["plan"] + share["packed"]
    activations = sum(
        share[name] for name in ("workspace", "border", "executor", "widened_in", "widened_out")
    )
    return MemoryEstimate(
        parameter_bytes=parameters,
        activation_bytes=activations,
        other_bytes=sum(share.values()) - parameters - activations,
        runtime_bytes=LIBRARY_BYTES + (LITERT_BYTES if terms["regions"] else 0),
        loading_bytes=LOADED_BYTES + _LOADING_COPIES * terms["plan"],
    )


def memory_terms(graph: Graph, regions: Sequence[Region]) -> dict[str, float]:
    """What the prediction is a weighted sum of: bytes, from sizes and liveness alone, or counts.

    ``plan``: the model's parameters as the plan holds them; ``packed``: as XNNPACK packs them;
    ``workspace``: TFLite's arena and XNNPACK's workspace, over all regions; ``tables``: XNNPACK's
    addresses for windows; ``border``: inputs and outputs of the model, twice; ``executor``: its
    arena; ``widened_in`` and ``widened_out``: the largest operand and result of a kernel that
    computes with integers of 32 bits; ``regions`` and ``ops`` of ``litert``; ``kernels``: operators
    of other targets; ``process``: 1.
    """
    borders = {*graph.inputs, *graph.outputs}
    terms = {
        "plan": 0.0,
        "packed": 0.0,
        "workspace": 0.0,
        "tables": 0.0,
        "regions": 0.0,
        "ops": 0.0,
        "kernels": 0.0,
        "widened_in": 0.0,
        "widened_out": 0.0,
        "process": 1.0,
        "border": 2.0 * sum(graph.tensors[t].size_bytes for t in borders),
        "executor": float(_executor_arena(graph, regions, borders)),
    }
    kept: set[int] = set()
    for region in regions:
        ops = [graph.ops[index] for index in region.ops]
        if region.device != "litert":
            terms["kernels"] += len(ops)
            narrow = [op for op in ops if region.device == "llvm" and op.kind in _BYTES_ON_LLVM]
            as_stored = _constants(graph, narrow) - kept
            widened = _constants(graph, ops) - as_stored - kept
            kept |= as_stored | widened
            terms["plan"] += sum(graph.tensors[t].size_bytes for t in as_stored)
            terms["plan"] += sum(_llvm_bytes(graph.tensors[t]) for t in widened)
            if region.device != "llvm":
                # Slopes are kept for every element.
                terms["plan"] += sum(op.output_bytes for op in ops if op.kind == "prelu")
            for op in ops:
                if op in narrow:
                    continue
                read, written = _widened_bytes(graph, op)
                terms["widened_in"] = max(terms["widened_in"], read)
                terms["widened_out"] = max(terms["widened_out"], written)
            continue
        # A slice carries its own copy of what several slices read.
        terms["plan"] += sum(_stored_bytes(graph, t) for t in _constants(graph, ops))
        terms["plan"] += 400 * len(ops) + 1000
        terms["packed"] += sum(_packed_bytes(graph, op) for op in ops)
        terms["tables"] += sum(_table_bytes(graph, op) for op in ops)
        terms["workspace"] += _litert_arenas(graph, ops)
        terms["regions"] += 1
        terms["ops"] += len(ops)
    return terms


def _constants(graph: Graph, ops: Iterable[Op]) -> set[int]:
    return {
        t
        for op in ops
        for t in op.inputs
        if t >= 0
        and (graph.tensors[t].is_constant or graph.producer.get(t, -1) in graph.constant_ops)
    }


def _stored_bytes(graph: Graph, tensor: int) -> int:
    """Bytes of a constant in the file, which may hold it as another type."""
    source = graph.producer.get(tensor)
    if source is None:
        return graph.tensors[tensor].size_bytes
    return sum(_stored_bytes(graph, t) for t in graph.ops[source].inputs if t >= 0)


def _llvm_bytes(constant: Tensor) -> int:
    """Bytes of a constant of a kernel: quantised weights are widened when the kernel is made."""
    wide = constant.is_8_bit and len(constant.shape) > 1
    return constant.size_bytes * (_LLVM_WIDENING if wide else 1)


def _widened_bytes(graph: Graph, op: Op) -> tuple[int, int]:
    """What a kernel keeps of its operand and its result while it runs: 32-bit integers."""
    result = graph.tensors[op.outputs[0]]
    if not result.is_8_bit or op.kind not in _WIDENED:
        return 0, 0
    return 4 * op.input_bytes, 4 * result.size_bytes


def _up(size: int, step: int) -> int:
    return -(-size // step) * step


def _weights(graph: Graph, op: Op) -> Tensor | None:
    weights = graph.tensors[op.inputs[1]] if len(op.inputs) > 1 and op.inputs[1] >= 0 else None
    return weights if weights is not None and len(weights.shape) in (2, 4) else None


def _packed_bytes(graph: Graph, op: Op) -> int:
    """Weights and biases of an operator in XNNPACK's layout."""
    weights = _weights(graph, op)
    if weights is None or op.kind not in (
        "conv2d", "depthwise_conv2d", "fully_connected", "transpose_conv2d",
    ):  # fmt: skip
        return 0
    if not (weights.is_constant or graph.producer.get(weights.index, -1) in graph.constant_ops):
        return 0
    is_float = weights.dtype.startswith("float")
    element = 4 if is_float else 1
    # A bias; and, of integers, a scale.
    extra = 4 if is_float else 8
    if op.kind == "depthwise_conv2d":
        _, height, width, channels = weights.shape
        taps = height * width
        if taps > _MOST_DEPTHWISE_TAPS:
            return channels * taps * _GROUPED_BYTES.get(weights.dtype, 64)
        return _up(channels, _DEPTHWISE_TILE) * (taps * element + extra)
    rows, columns = _FLOAT_TILE if is_float else _INT8_TILE
    units, depth = weights.shape[0], weights.shape[-1]
    taps = math.prod(weights.shape[1:-1])
    return _up(units, rows) * (taps * _up(depth, columns) * element + extra)


def _table_bytes(graph: Graph, op: Op) -> int:
    """Addresses of the elements that windows read: XNNPACK's indirection buffers."""
    result = graph.tensors[op.outputs[0]]
    if len(result.shape) != 4 or not _is_xnnpack(graph, op):
        return 0
    _, rows, columns, _ = result.shape
    stride = int(_number(op, "stride_w"))
    if op.kind == "resize_bilinear":
        # Four neighbours of each result and two weights: floats, or 16-bit integers.
        weight = 4 if result.dtype == "float32" else 2
        return rows * columns * (4 * _POINTER_BYTES + 2 * weight)
    if op.kind in ("max_pool2d", "average_pool2d"):
        height, width = int(_number(op, "filter_height")), int(_number(op, "filter_width"))
    else:
        weights = _weights(graph, op)
        if weights is None or len(weights.shape) != 4:
            return 0
        height, width = weights.shape[1:3]
    taps = height * width
    if op.kind == "conv2d" and taps > 1:
        return rows * columns * taps * _POINTER_BYTES
    if op.kind == "transpose_conv2d":
        return rows * columns * taps // stride**2 * _POINTER_BYTES
    if op.kind == "depthwise_conv2d" and taps > _MOST_DEPTHWISE_TAPS:
        return rows * columns * taps * _POINTER_BYTES
    if op.kind in ("depthwise_conv2d", "max_pool2d", "average_pool2d"):
        # Neighbouring windows share columns.
        step = width if _number(op, "dilation_w_factor") > 1 else min(stride, width)
        return rows * (taps + (columns - 1) * step * height) * _POINTER_BYTES
    return 0


def _number(op: Op, name: str) -> float:
    value = op.attributes.get(name, 1)
    return value if isinstance(value, int | float) else 1


def _is_xnnpack(graph: Graph, op: Op) -> bool:
    result = graph.tensors[op.outputs[0]] if op.outputs and op.outputs[0] >= 0 else None
    if result is None or op.is_custom:
        return False
    if result.dtype == "float32":
        return op.kind not in _TFLITE_FLOAT
    return result.is_8_bit and op.kind in _XNNPACK_QUANTIZED


def _litert_arenas(graph: Graph, ops: Sequence[Op]) -> int:
    """TFLite's arena and XNNPACK's workspace, which partitions of a region share."""
    inside = {op.index for op in ops}
    partition: dict[int, int] = {}
    count = 0
    previous = False
    for op in ops:
        current = _is_xnnpack(graph, op)
        # TFLite groups delegated operators by order of execution.
        if current and not previous:
            count += 1
        if current:
            partition[op.index] = count
        previous = current
    arena: list[_Life] = []
    workspaces: dict[int, list[_Life]] = {}
    for op in ops:
        for tensor in op.outputs:
            readers = graph.consumers.get(tensor, ()) if tensor >= 0 else ()
            if tensor < 0 or tensor in graph.outputs or not inside.issuperset(readers):
                # The executor gives the region memory for what leaves it.
                continue
            life = _Life(
                op.index,
                max(readers, default=op.index),
                _up(graph.tensors[tensor].size_bytes, _ALIGNMENT),
                tensor,
            )
            home = partition.get(op.index)
            if home is not None and all(partition.get(reader) == home for reader in readers):
                workspaces.setdefault(home, []).append(life)
            else:
                arena.append(life)
    shared = (arena_bytes(_written_over(graph, lives)) for lives in workspaces.values())
    return arena_bytes(arena) + max(shared, default=0)


def _written_over(graph: Graph, lives: Sequence[_Life]) -> list[_Life]:
    """Lives with those joined of which the second is written over the first."""
    joined: dict[int, _Life] = {}
    holder: dict[int, int] = {}
    for life in lives:
        op = graph.ops[graph.producer[life.tensor]]
        for source in op.inputs if op.kind in _IN_PLACE else ():
            home = holder.get(source, -1)
            if home in joined and joined[home].end == op.index and joined[home].size == life.size:
                joined[home] = _Life(joined[home].begin, life.end, life.size, home)
                holder[life.tensor] = home
                break
        else:
            joined[life.tensor] = life
            holder[life.tensor] = life.tensor
    return list(joined.values())


def _executor_arena(graph: Graph, regions: Sequence[Region], borders: AbstractSet[int]) -> int:
    """The arena of ``PlanBuffers``, with operators for the kernels of an ``llvm`` region."""
    lives: dict[int, _Life] = {}
    time = 0
    for region in regions:
        inside = set(region.ops)
        for index in region.ops:
            op = graph.ops[index]
            for tensor in (*op.inputs, *op.outputs):
                if tensor < 0 or tensor in borders or graph.tensors[tensor].is_constant:
                    continue
                if graph.producer.get(tensor, -1) in graph.constant_ops:
                    continue
                crosses = graph.producer.get(tensor) not in inside or not inside.issuperset(
                    graph.consumers.get(tensor, ())
                )
                if region.device == "litert" and not crosses:
                    continue
                size = _up(graph.tensors[tensor].size_bytes + _PADDING, _ALIGNMENT)
                life = lives.get(tensor, _Life(time, time, size, tensor))
                lives[tensor] = _Life(life.begin, time, size, tensor)
            if region.device != "litert":
                time += 1
        time += region.device == "litert"
    return arena_bytes(list(lives.values()))


@dataclass(frozen=True)
class _Life:
    begin: int
    end: int
    size: int
    tensor: int


def arena_bytes(lives: Sequence[_Life]) -> int:
    """Size of an arena that is laid out as ``PlanBuffers`` does it: largest tensors first."""
    placed: list[tuple[int, _Life]] = []
    total = 0
    for life in sorted(lives, key=lambda each: (-each.size, each.tensor)):
        offset = 0
        for start, other in placed:
            if other.begin <= life.end and life.begin <= other.end:
                if offset + life.size <= start:
                    break
                offset = max(offset, start + other.size)
        placed.append((offset, life))
        placed.sort(key=lambda each: each[0])
        total = max(total, offset + life.size)
    return total
