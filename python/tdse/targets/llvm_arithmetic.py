"""How the kernels of ``llvm`` multiply, sum up and store: in integers, or in float32.

Values to be multiplied are packed into words of 32 bits, as many as one instruction multiplies and
adds up; a vector has several words. Sums of integers are scaled to the output's quantisation in
float32, as XNNPACK does it, once for each output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm.tirx.script import builder as T

from tdse.graph.model import Op, Quantization, Tensor

from .llvm_isa import Isa

# What the activation of an operator limits results to.
ACTIVATIONS = {
    "none": (-math.inf, math.inf),
    "relu": (0.0, math.inf),
    "relu6": (0.0, 6.0),
    "relu_n1_to_1": (-1.0, 1.0),
}


# Steps of a vector that take a microsecond or two: twice as long as it takes to hand some of them
# to a thread that is awake. What is not divided has to fetch what threads have made before it from
# their caches, and they what it has made, so it costs more than its own time.
_WORTH_DIVIDING = 4_000
# Elements that do, in kernels that make each from others at the same place, and bytes.
ELEMENTS_WORTH_DIVIDING = 8_000
BYTES_WORTH_DIVIDING = 16_000
# Of a vector of float32 results: to load, to activate, to store.
STEPS_BESIDE = 3


# Vectors of int32 whose values, as bytes, fill one vector.
VECTORS_TOGETHER = 4


@dataclass(frozen=True)
class Arithmetic:
    """How words are multiplied.

    Attributes:
        taps: values in a word of 32 bits: 4 bytes, 2 int16, or 1 float32.
        lanes: words in a vector.
        instruction: what multiplies words and adds them up, or empty for plain arithmetic.
        is_unsigned: of four bytes, the first factor counts as unsigned.
        weights: type in which weights are kept: that of the values in a word, or int8, which are
            widened to int16 when they are read.
    """

    taps: int
    lanes: int
    instruction: str
    is_unsigned: bool = False
    weights: str = "int8"

    def shift(self, dtype: str) -> int:
        """What is added to stored bytes of type ``dtype`` to make them factors: flips a bit."""
        if self.taps != 4 or (dtype == "uint8") == self.is_unsigned:
            return 0
        return 128 if self.is_unsigned else -128


def integer_arithmetic(weights: Tensor, isa: Isa) -> Arithmetic:
    """The fastest arithmetic that ``isa`` has for weights that are quantised as ``weights``."""
    fits_bytes = are_bytes(weights)
    if isa.vnni and fits_bytes:
        return Arithmetic(4, 16, "llvm.x86.avx512.vpdpbusd.512", is_unsigned=True)
    if isa.dotprod and fits_bytes:
        return Arithmetic(4, 4, "llvm.aarch64.neon.sdot.v4i32.v16i8")
    if isa.avx512:
        return Arithmetic(2, 16, "llvm.x86.avx512.pmaddw.d.512", weights="int16")
    if isa.avx2:
        return Arithmetic(2, 8, "llvm.x86.avx2.pmadd.wd", weights="int16")
    return Arithmetic(2, 8, "", weights="int16")


def are_bytes(weights: Tensor) -> bool:
    """Whether weights, without their zero points, are signed bytes."""
    assert weights.quantization is not None
    return weights.dtype == "int8" and not any(weights.quantization.zero_points)


def float_arithmetic(isa: Isa) -> Arithmetic:
    """Arithmetic in float32, with one rounding for product and sum where the processor has that."""
    lanes = 16 if isa.avx512 else 8 if isa.avx2 else 4
    return Arithmetic(1, lanes, f"llvm.fma.v{lanes}f32" if isa.fma else "", weights="float32")


def float_lanes(isa: Isa, channels: int) -> int:
    """Lanes of a float32 vector of channels: as many as ``isa`` has, or as there are channels for.

    A power of two.
    """
    lanes = float_arithmetic(isa).lanes
    while lanes > channels:
        lanes //= 2
    return lanes


def channel_vector(vector: Any, channels: int, lanes: int) -> Any:
    """The channel that a vector begins with; the last one overlaps the one before it."""
    start = vector * lanes
    return T.min(start, channels - lanes) if channels % lanes else start


def span(start: Any, lanes: int) -> Any:
    """The places of a vector, or of a single element."""
    return T.Ramp(start, 1, lanes) if lanes > 1 else start


def register(lanes: int, dtype: str) -> Any:
    """A buffer for one vector, which LLVM keeps in a register where its uses allow it.

    TVM would allocate it on the heap, like any buffer inside a loop: the annotation leaves it on
    the stack. Its pass StorageRewrite drops annotations, so ``llvm_build`` leaves that out.
    """
    return T.alloc_buffer(
        (lanes,), dtype, scope="local", annotations={"disable_lower_builtin": True}
    )


def bounds_of_call(extent: int, is_divided: bool) -> tuple[Any, Any]:
    """The first of ``extent`` iterations that a call of a kernel makes, and the one after its last.

    They are two more arguments of a kernel that threads divide; any other makes all iterations.
    """
    if not is_divided:
        return 0, extent
    begin, end = T.arg("begin", T.int32()), T.arg("end", T.int32())
    return begin, end


def is_worth_dividing(steps: float) -> bool:
    """Whether threads should share so many multiplications of vectors, or other steps."""
    return steps > _WORTH_DIVIDING


def multiply_add(total: Any, words: Any, weights: Any, how: Arithmetic, isa: Isa) -> Any:
    """``total`` plus the products of the values in each word; int32 vectors, or float32 ones."""
    wide, halves = f"int32x{how.lanes}", f"int16x{2 * how.lanes}"
    if how.taps == 1:
        if how.instruction:
            kind = f"float32x{how.lanes}"
            return T.call_llvm_pure_intrin(kind, how.instruction, words, weights, total)
        return total + words * weights
    if how.taps == 4:
        if not how.is_unsigned or isa.llvm_major >= 22:
            # Before LLVM 22, vpdpbusd had vectors of words as operands.
            first = "uint8" if how.is_unsigned else "int8"
            words = T.reinterpret(f"{first}x{4 * how.lanes}", words)
            weights = T.reinterpret(f"int8x{4 * how.lanes}", weights)
        return T.call_llvm_pure_intrin(wide, how.instruction, total, words, weights)
    if how.instruction:
        words, weights = T.reinterpret(halves, words), T.reinterpret(halves, weights)
        return total + T.call_llvm_pure_intrin(wide, how.instruction, words, weights)
    sixteen = T.Broadcast(T.int32(16), how.lanes)
    for halves_up in (True, False):
        word, weight = (T.shift_left(v, sixteen) if halves_up else v for v in (words, weights))
        total = total + T.shift_right(word, sixteen) * T.shift_right(weight, sixteen)
    return total


def requantized(
    totals: Sequence[Any], factors: Sequence[Any], bounds: Any, lanes: int, dtype: str
) -> Any:
    """Vectors of int32 sums as one vector of stored bytes.

    Those of ``VECTORS_TOGETHER`` are narrowed to bytes by as many instructions as those of one.

    Args:
        totals: vectors of sums.
        factors: the scale of a sum over that of the output, a vector for each of sums.
        bounds: least and largest result without the zero point, the latter not negative; and the
            zero point.
        lanes: in each of the vectors.
        dtype: of the result.
    """
    low, high, zero = bounds
    rounded = []
    for total, factor in zip(totals, factors, strict=True):
        scaled = T.Cast(f"float32x{lanes}", total) * factor
        # The upper limit is not negative, so floats are limited by it as their bits are. Of
        # comparisons of floats, LLVM 22 first joins the vectors and then takes them apart again.
        bits = T.reinterpret(f"int32x{lanes}", scaled)
        bits = T.min(bits, T.Broadcast(T.reinterpret("int32", high), lanes))
        nearest = f"llvm.lrint.v{lanes}i32.v{lanes}f32"
        scaled = T.reinterpret(f"float32x{lanes}", bits)
        rounded.append(T.call_llvm_pure_intrin(f"int32x{lanes}", nearest, scaled))
    all_lanes = lanes * len(rounded)
    joined = rounded[0] if len(rounded) == 1 else lanes_of(rounded, 0, all_lanes)
    halves = _saturated(joined, "int32", "int16", all_lanes)
    zeros = T.Broadcast(T.Cast("int16", zero), all_lanes)
    add = f"llvm.sadd.sat.v{all_lanes}i16"
    halves = T.call_llvm_pure_intrin(f"int16x{all_lanes}", add, halves, zeros)
    stored = _saturated(halves, "int16", dtype, all_lanes)
    return T.max(stored, T.Broadcast(T.Cast(dtype, T.Cast("int32", low) + zero), all_lanes))


def _saturated(values: Any, wide: str, dtype: str, lanes: int) -> Any:
    """Integers as narrower ones, with the nearest value where one is out of range."""
    limits = np.iinfo(dtype)
    least, most = (T.Broadcast(T.IntImm(wide, int(v)), lanes) for v in (limits.min, limits.max))
    return T.Cast(f"{dtype}x{lanes}", T.max(T.min(values, most), least))


def lanes_of(vectors: Sequence[Any], start: int, stop: int) -> Any:
    """Lanes from ``start`` to before ``stop`` of vectors that are put one after the other."""
    return tvm.tirx.Shuffle(vectors, [T.int32(lane) for lane in range(start, stop)])


def requantization_factors(
    given: Quantization, weights: Quantization, result: Quantization
) -> npt.NDArray[np.float32]:
    """The scale of a sum of products over that of the result, one for each scale of weights."""
    scale_in, scale_out = np.float32(given.scales[0]), np.float32(result.scales[0])
    factors: npt.NDArray[np.float32] = scale_in * np.array(weights.scales, np.float32) / scale_out
    return factors


def stored_limits(op: Op, result: Tensor) -> npt.NDArray[np.float32]:
    """Least and largest stored result that type and activation allow, without the zero point."""
    assert result.quantization is not None
    limits = np.iinfo(result.dtype)
    scale, zero = np.float32(result.quantization.scales[0]), result.quantization.zero_points[0]
    return np.array(
        [
            np.clip(np.rint(v / scale) + zero, limits.min, limits.max) - zero
            for v in ACTIVATIONS[activation_of(op)]
        ],
        np.float32,
    )


def activation_of(op: Op) -> str:
    """The name of the activation that is part of the operator."""
    return str(op.attributes.get("fused_activation_function", "none"))
