"""Whether the scales of an operator suit the kernels that runtimes have for it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .model import Graph, Op

# How much larger than that of the result the scale of each operand, or for MUL the product of the
# scales, may be: from the first, but not as much as the second. LiteRT computes others by plain
# kernels of its own, which took 35 times as long. Source: CheckTensorsInputOutputScale and
# CheckTensorsInputProductOutputScale in TFLite's delegates/xnnpack/xnnpack_delegate.cc.
_BOUNDS: Mapping[str, tuple[float, float]] = {
    "add": (2.0**-10, 2.0**8),
    "sub": (2.0**-10, 2.0**8),
    "mul": (2.0**-16, 2.0**8),
}


def has_far_scales(graph: Graph, op: Op) -> bool:
    """Whether the scales of an ADD, SUB or MUL of 8-bit values are too far from each other."""
    bounds = _BOUNDS.get(op.kind)
    if bounds is None:
        return False
    known = [graph.tensors[tensor].quantization for tensor in (*op.inputs, *op.outputs)]
    scales = [each.scales[0] for each in known if each is not None]
    if len(scales) < len(known) or not scales[-1]:
        return False
    *given, made = scales
    low, high = bounds
    ratios = [math.prod(given) / made] if op.kind == "mul" else [each / made for each in given]
    return not all(low <= ratio < high for ratio in ratios)
