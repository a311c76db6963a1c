"""Table kernels against LiteRT, for every byte, every tail and every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from target_models import RANDOM, Value, run_on, unary

from litert_reference import run_litert
from tdse.graph.model import Graph

tvm = pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

from tdse.targets.byte_tables import table_of  # noqa: E402 - needs tvm
from tdse.targets.llvm import LlvmTarget  # noqa: E402
from tdse.targets.llvm_isa import Isa, host_isa, isa_of  # noqa: E402
from tdse.targets.llvm_table import table_argument, table_iterations, table_kernel  # noqa: E402

KINDS = ["HARD_SWISH", "LOGISTIC", "TANH", "RELU", "RELU6", "LEAKY_RELU", "QUANTIZE"]


def isas() -> list[Isa]:
    """This machine's instruction sets, and smaller ones that it can run as well."""
    host = host_isa()
    found = [host]
    if host.avx2:
        names = ["haswell", "x86-64"]
        found += [isa_of(tvm.target.Target({"kind": "llvm", "mcpu": name})) for name in names]
    return found


def looked_up(graph: Graph) -> Value:
    table = table_of(graph, (0,))
    assert table is not None and (table.given, table.result) == (0, 1)
    return table.values


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("code", KINDS)
def test_every_byte_is_litert_s(code: str, dtype: str) -> None:
    # More elements than bytes, so that each byte is seen in the vectors and in the tail.
    graph = unary(code, (1, 3, 95, 1), dtype)
    values = np.arange(3 * 95).astype(np.uint8).view(dtype).reshape(1, 3, 95, 1)
    table = looked_up(graph)
    assert (table.shape, table.dtype) == ((256,), np.dtype(dtype))
    (expected,) = run_litert(graph.data, [values])
    np.testing.assert_array_equal(table[values.view(np.uint8)], expected)
    (result,) = run_on(LlvmTarget(), graph, [values])
    np.testing.assert_array_equal(result, expected)


def test_table_of_a_tensor_smaller_than_it() -> None:
    small, large = (looked_up(unary("RELU", (1, size))) for size in (7, 300))
    np.testing.assert_array_equal(small, large)


@pytest.mark.parametrize("isa", isas(), ids=lambda isa: str(isa.target.attrs["mcpu"]))
def test_every_tail_length(isa: Isa) -> None:
    lengths = [*range(1, 201, 7), 31, 32, 33, 63, 64, 65, 127, 128, 129]
    kernels = {
        f"n{n}": table_kernel((1, n), "int8", "uint8", isa).with_attr("global_symbol", f"n{n}")
        for n in lengths
    }
    library = tvm.tirx.build(tvm.IRModule(kernels), isa.target)
    table = RANDOM.integers(0, 256, 256).astype(np.uint8)
    argument = tvm.runtime.tensor(table_argument(table, isa))
    for n in lengths:
        values = RANDOM.integers(-128, 128, (1, n)).astype(np.int8)
        result = tvm.runtime.tensor(np.zeros((1, n), np.uint8))
        library[f"n{n}"](tvm.runtime.tensor(values), argument, result)
        np.testing.assert_array_equal(result.numpy(), table[values.view(np.uint8)])


@pytest.mark.parametrize("isa", isas(), ids=lambda isa: str(isa.target.attrs["mcpu"]))
def test_parts_of_a_large_table_make_the_whole(isa: Isa) -> None:
    size = 70_001
    count = table_iterations((size,), isa)
    assert count > 0 and table_iterations((1000,), isa) == 0
    kernel = table_kernel((size,), "int8", "int8", isa).with_attr("global_symbol", "table")
    library = tvm.tirx.build(tvm.IRModule({"table": kernel}), isa.target)
    table = RANDOM.integers(0, 256, 256).astype(np.uint8)
    values = RANDOM.integers(-128, 128, size).astype(np.int8)
    result = tvm.runtime.tensor(np.zeros(size, np.int8))
    given = tvm.runtime.tensor(values), tvm.runtime.tensor(table_argument(table, isa)), result
    for begin, end in ((count // 3, count), (0, count // 3)):
        library["table"](*given, begin, end)
    np.testing.assert_array_equal(result.numpy().view(np.uint8), table[values.view(np.uint8)])


def test_tables_are_only_for_bytes() -> None:
    from target_models import one_op

    from modelkit import Tensor

    graph = one_op("RELU", [Tensor("x", (1, 4))], [Tensor("y", (1, 4))])
    assert table_of(graph, (0,)) is None
