"""Convolutions and fully connected layers of ``llvm`` against LiteRT, and how they are built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st
from target_models import (
    byte_tensor,
    conv,
    dense,
    depthwise,
    one_op,
    pool,
    random_values,
    run_on,
    unary,
)

from litert_reference import run_litert
from modelkit import Tensor
from tdse.assemble import Compiled
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.runtime.litert import invoke, make_interpreter

tvm = pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

import tvm_ffi  # noqa: E402 - comes with tvm

from tdse.targets.llvm import LlvmTarget  # noqa: E402 - needs tvm
from tdse.targets.llvm_arithmetic import Arithmetic  # noqa: E402
from tdse.targets.llvm_build import compile_kernels  # noqa: E402
from tdse.targets.llvm_conv import (  # noqa: E402
    Conv,
    Tiles,
    column_starts,
    conv_arithmetic,
    conv_of,
    word_starts,
)
from tdse.targets.llvm_conv_kernel import padding_iterations  # noqa: E402
from tdse.targets.llvm_conv_tiles import choose_tiles  # noqa: E402
from tdse.targets.llvm_isa import Isa, host_isa, isa_of  # noqa: E402
from tdse.targets.llvm_lower import Constant  # noqa: E402
from tdse.targets.llvm_own import own_calls  # noqa: E402

# Instruction sets, from the one that this machine has to none.
CPUS = ["host", "skylake-avx512", "haswell", "x86-64"]


def isa_for(cpu: str, triple: str = "") -> Isa:
    options = {"kind": "llvm", "mcpu": cpu} | ({"mtriple": triple} if triple else {})
    return isa_of(tvm.target.Target(options))


def target_for(cpu: str) -> LlvmTarget:
    host = host_isa()
    if cpu == "host":
        return LlvmTarget(host)
    if (cpu == "skylake-avx512" and not host.avx512) or not host.avx2:
        pytest.skip(f"this machine cannot run code for {cpu}")
    return LlvmTarget(isa_for(cpu))


def assert_like_litert(graph: Graph, cpu: str = "host") -> None:
    values = random_values(graph)
    (expected,) = run_litert(graph.data, values)
    (result,) = run_on(target_for(cpu), graph, values)
    if expected.dtype == np.float32:
        assert np.abs(result - expected).max() <= 1e-5 * np.abs(expected).max()
        return
    difference = np.abs(result.astype(int) - expected.astype(int))
    assert difference.max() <= 1
    # A wrong weight or border would show in many places, another rounding in few.
    assert (difference > 0).mean() <= 0.03


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
@pytest.mark.parametrize(
    ("channels", "filters", "kernel", "stride"),
    [(3, 16, (3, 3), 2), (16, 40, (1, 1), 1), (11, 22, (1, 1), 1), (9, 20, (2, 5), 1)],
)
def test_instruction_sets(
    cpu: str, dtype: str, channels: int, filters: int, kernel: tuple[int, int], stride: int
) -> None:
    graph = conv(9, 13, channels, filters, kernel, stride=stride, dtype=dtype)
    assert conv_of(graph, graph.ops[0]) is not None
    assert_like_litert(graph, cpu)


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"),
    [((3, 3), 1, 1), ((3, 3), 1, 2), ((1, 1), 2, 1), ((7, 2), 3, 1)],
)
def test_windows(
    dtype: str, padding: str, kernel: tuple[int, int], stride: int, dilation: int
) -> None:
    graph = conv(
        17, 15, 6, 24, kernel, stride=stride, dilation=dilation, padding=padding, dtype=dtype
    )
    assert_like_litert(graph)


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 5, 64])
@pytest.mark.parametrize("filters", [1, 7, 16, 33, 130])
def test_channels_and_filters(dtype: str, channels: int, filters: int) -> None:
    assert_like_litert(conv(5, 6, channels, filters, dtype=dtype))


@pytest.mark.parametrize(
    "graph",
    [
        conv(9, 13, 16, 40, (3, 3), dtype="float16"),
        conv(5, 6, 11, 22, activation="relu6", dtype="float16"),
        depthwise(13, 10, 24, (5, 5), stride=2, dtype="float16"),
        dense(3, 20, 33, dtype="float16"),
        dense(1, 20, 33, dtype="float16", bias=False),
    ],
    ids=lambda graph: graph.name,
)
def test_weights_kept_as_float16_are_those_of_float32_kernels(graph: Graph) -> None:
    (op,) = graph.placed_ops
    assert len(graph.ops) > 1 and own_calls(graph, (op,), host_isa())
    assert_like_litert(graph)


@pytest.mark.parametrize(("height", "width", "rows"), [(56, 57, 64), (53, 61, 64), (7, 7, 49)])
def test_an_image_of_one_row_is_copied_in_parts(height: int, width: int, rows: int) -> None:
    # That of a 1x1 convolution; with AVX2 it is copied as int16.
    graph = conv(height, width, 33, 300)
    isa, op = isa_for("haswell"), graph.ops[0]
    shape = conv_of(graph, op)
    assert shape is not None and shape.height == 1
    assert padding_iterations(shape, conv_arithmetic(graph, op, shape, isa)) == rows
    assert_like_litert(graph, "haswell")


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("activation", ["relu", "relu6", "relu_n1_to_1"])
def test_activations(dtype: str, activation: str) -> None:
    assert_like_litert(conv(6, 6, 8, 24, (3, 3), activation=activation, dtype=dtype))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
@pytest.mark.parametrize(("rows", "bias"), [(1, True), (3, False)])
def test_fully_connected(dtype: str, rows: int, bias: bool) -> None:
    graph = dense(rows, 37, 50, dtype=dtype, bias=bias)
    assert conv_of(graph, graph.ops[0]) is not None
    assert_like_litert(graph)


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("activation", ["NONE", "RELU", "RELU_N1_TO_1"])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_sums_far_out_of_range_saturate(cpu: str, activation: str, dtype: str) -> None:
    # Scaled, these sums are beyond int32 on either side, and some are within the range.
    most = 2**31 - 2**20
    bias = np.array([most, -most, 100, -100, 0, most // 2, 7, -7], np.int32)
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = 1
    options.fusedActivationFunction = getattr(schema.ActivationFunctionType, activation)
    weights = np.full((8, 1, 1, 2), 1 if dtype == "int8" else 129, dtype)
    zero = 0 if dtype == "int8" else 128
    graph = one_op(
        "CONV_2D",
        [
            byte_tensor("x", (1, 3, 5, 2), dtype, 1.0),
            Tensor("w", weights.shape, dtype, weights, (1.0,), (zero,)),
            Tensor("b", (8,), "int32", bias, (1.0,), (0,)),
        ],
        [byte_tensor("y", (1, 3, 5, 8), dtype, 0.25, -9)],
        options,
        3,
    )
    (values,) = random_values(graph)
    (result,) = run_on(target_for(cpu), graph, [values])
    # Some of LiteRT's kernels add the zero point in 32 bits, which wraps around here.
    zero_in, zero_out = (
        t.quantization.zero_points[0] for t in (graph.tensors[0], graph.tensors[3])
    )
    sums = bias + (values.astype(np.int64) - zero_in).sum(-1, keepdims=True)
    limits = {"NONE": (-np.inf, np.inf), "RELU": (0, np.inf), "RELU_N1_TO_1": (-4, 4)}
    stored = np.rint(np.clip(sums / 0.25, *limits[activation])) + zero_out
    bounds = np.iinfo(dtype)
    np.testing.assert_array_equal(result, np.clip(stored, bounds.min, bounds.max))


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "dilation"),
    [(4, (3, 3), 1, 1), (24, (5, 5), 2, 1), (40, (3, 3), 1, 3), (16, (9, 1), 1, 1)],
)
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_float_depthwise(
    cpu: str, channels: int, kernel: tuple[int, int], stride: int, dilation: int, padding: str
) -> None:
    size = {"stride": stride, "dilation": dilation, "padding": padding}
    assert_like_litert(depthwise(19, 11, channels, kernel, dtype="float32", **size), cpu)


@pytest.mark.parametrize("cpu", ["haswell", "x86-64"])
def test_weights_that_are_read_once_are_kept_as_bytes(cpu: str) -> None:
    for rows, kept in ((1, "int8"), (2, "int16")):
        graph = dense(rows, 37, 50)
        calls = own_calls(graph, (0,), isa_for(cpu))
        constants = [a.value for a in calls[-1].arguments if isinstance(a, Constant)]
        assert constants[0].dtype == kept and constants[0].ndim == 1
        assert_like_litert(graph, cpu)


def test_float_depthwise_window_larger_than_the_image() -> None:
    assert_like_litert(depthwise(3, 2, 16, (7, 7), dtype="float32", activation="relu6"))


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("make", ["conv", "depthwise"])
def test_two_threads_give_the_same(make: str, dtype: str) -> None:
    graph = (
        conv(40, 40, 32, 64, (3, 3), dtype=dtype)
        if make == "conv"
        else depthwise(64, 64, 64, (5, 5), dtype=dtype)
    )
    values = random_values(graph)
    results = [run_on(LlvmTarget(), graph, values, threads=threads)[0] for threads in (1, 2)]
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (lambda: conv(3, 3, 8, 24), 1),
        (lambda: conv(4, 4, 3, 16, (3, 3)), 1),
        (lambda: dense(1, 40, 20), 1),
        (lambda: depthwise(5, 5, 16), 1),
        (lambda: pool("AVERAGE_POOL_2D", (5, 5, 4), (3, 3), 1, "same"), 0),
        (lambda: pool("MAX_POOL_2D", (5, 5, 4), (3, 3), 1, "same"), 0),
        (lambda: unary("HARD_SWISH", (1, 100)), 0),
        (lambda: unary("LOGISTIC", (1, 100)), 0),
        (lambda: unary("TANH", (1, 100)), 0),
    ],
)
def test_a_thousand_random_tensors(make: Callable[[], Graph], steps: int) -> None:
    graph = make()
    regions = (Region(0, "llvm", (0,)),)
    made = LlvmTarget().compile(graph, regions, 1)
    model = Compiled(graph, regions, made.regions, made.libraries, 1).whole().model()
    interpreter = make_interpreter(graph.data)
    worst = 0
    for _ in range(1000):
        values = random_values(graph)
        (expected,) = invoke(interpreter, values)
        (result,) = model.run(values)
        worst = max(worst, int(np.abs(result.astype(int) - expected.astype(int)).max()))
    assert worst <= steps


def _found(statement: Any, kind: type, wanted: Callable[[Any], bool]) -> list[Any]:
    """Nodes of a kind inside a statement."""
    found: list[Any] = []

    def visit(node: Any) -> None:
        if wanted(node):
            found.append(node)

    tvm_ffi.structural_walk(statement, (kind, visit), order="post")
    return found


def _loops_of_sums(function: Any) -> list[Any]:
    """The innermost loops around products, of a kernel before it is lowered."""

    def has_products(loop: Any) -> bool:
        return bool(_found(loop.body, tvm.ir.Call, lambda call: "llvm_pure" in str(call.op)))

    return _found(
        function.body,
        tvm.tirx.For,
        lambda loop: has_products(loop) and not _found(loop.body, tvm.tirx.For, has_products),
    )


@pytest.mark.parametrize("cpu", ["znver4", "skylake-avx512", "haswell"])
@pytest.mark.parametrize("make", [lambda: conv(9, 9, 16, 32, (3, 3)), lambda: dense(1, 64, 96)])
def test_no_float_in_the_loops_of_integer_sums(cpu: str, make: Callable[[], Graph]) -> None:
    graph = make()
    call = own_calls(graph, (0,), isa_for(cpu))[-1]
    loops = _loops_of_sums(call.function)
    assert loops
    for loop in loops:
        assert "float" not in loop.script()


def _assembly(graph: Graph, isa: Isa) -> str:
    kernels = {f"k{i}": c.function for i, c in enumerate(own_calls(graph, (0,), isa))}
    return str(compile_kernels(kernels, isa.target).inspect_source("asm"))


@pytest.mark.parametrize(
    ("cpu", "triple", "dtype", "instruction"),
    [
        ("znver4", "", "int8", "vpdpbusd\t%zmm"),
        ("znver4", "", "float32", "vfmadd231ps\t"),
        ("skylake-avx512", "", "int8", "vpmaddwd\t"),
        ("haswell", "", "int8", "vpmaddwd\t"),
        ("cortex-a76", "aarch64-linux-gnu", "int8", "sdot\t"),
        # Four vectors of sums are rounded, and narrowed with saturation, together.
        ("znver4", "", "int8", "vpmovswb\t"),
        ("haswell", "", "int8", "vpacksswb\t"),
        ("haswell", "", "int8", "vcvtps2dq\t"),
        ("cortex-a76", "aarch64-linux-gnu", "int8", "sqxtn\t"),
        ("cortex-a72", "aarch64-linux-gnu", "float32", "fmla\t"),
    ],
)
def test_instructions_in_the_assembly(cpu: str, triple: str, dtype: str, instruction: str) -> None:
    text = _assembly(conv(8, 8, 32, 64, dtype=dtype), isa_for(cpu, triple))
    assert instruction in text
    # Sums stay in registers: nothing in the kernels asks for memory.
    assert "AllocWorkspace" not in text


def _row(pixels: int, channels: int, filters: int, dtype: str) -> Conv:
    given_shape, made, one, size = (pixels, channels), (pixels, filters), (1, 1), (1, pixels)
    return Conv(given_shape, made, *size, channels, filters, one, one, one, (0, 0), size, dtype)


@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 300), st.sampled_from([(4, 16), (1, 8)])
)
def test_tiles_fit_registers_and_make_every_filter(
    pixels: int, channels: int, filters: int, words: tuple[int, int]
) -> None:
    shape = _row(pixels, channels, filters, "int8" if words[0] == 4 else "float32")
    how = Arithmetic(*words, "")
    isa = isa_for("znver4" if words[1] == 16 else "haswell")
    tiles = choose_tiles(shape, how, isa)
    assert tiles.pixels <= pixels and tiles.pixels * tiles.vectors < isa.registers
    made = {
        start + lane
        for starts in column_starts(shape, how, tiles)
        for start in starts
        for lane in range(how.lanes)
    }
    assert made >= set(range(filters))
    assert max(made) < max(filters, how.lanes)


def test_the_last_tile_overlaps_the_one_before_it() -> None:
    shape = Conv((7, 8), (7, 72), 1, 7, 8, 72, (1, 1), (1, 1), (1, 1), (0, 0), (1, 7), dtype="int8")
    starts = column_starts(shape, Arithmetic(4, 16, ""), Tiles(7, 2, 3))
    assert starts == [[0, 16], [32, 48], [48, 56]]


def test_the_last_word_of_a_run_overlaps_the_one_before_it() -> None:
    assert word_starts(11, 4) == [0, 4, 7]
    assert word_starts(3, 4) == [0]
