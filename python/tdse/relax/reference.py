"""What a lifted module computes, by TVM's own default build: what results are held against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from tdse.graph.model import Graph

from .calls import Value, read_main

Array = npt.NDArray[Any]


def reference_values(graph: Graph, inputs: Sequence[Array]) -> dict[int, Array]:
    """The value of every tensor between operators, computed without tdse's targets.

    Args:
        graph: one that came as a Relax module.
        inputs: one array for each input.
    """
    module = tvm.ir.load_json(graph.ir.decode())
    calls = read_main(module)
    builder = relax.BlockBuilder(module)
    values: dict[Value, Any] = {
        Value(-1, i): relax.Var(f"x{i}", p.ty) for i, p in enumerate(calls.parameters)
    }
    with builder.function("every_tensor", list(values.values())):
        for position, call in enumerate(calls.calls):
            bound = builder.emit(relax.Call(call.function, [values[v] for v in call.arguments]))
            for i in range(len(call.results)):
                part = builder.emit(relax.TupleGetItem(bound, i)) if call.is_tuple else bound
                values[Value(position, i)] = part
        made = [v for value, v in values.items() if value.call >= 0]
        builder.emit_func_output(relax.Tuple(made))
    library = tvm.compile(builder.get(), target="llvm")
    run = relax.VirtualMachine(library, tvm.cpu())["every_tensor"]
    results = run(*[tvm.runtime.tensor(np.ascontiguousarray(x)) for x in inputs])
    # Tensors of a graph are numbered in the order in which they are made.
    arrays = [*inputs, *(result.numpy() for result in results)]
    return dict(enumerate(arrays))
