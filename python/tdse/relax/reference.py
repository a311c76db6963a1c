"""What a lifted module computes, by TVM's own default build: what results are held against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from tdse.graph.model import Graph

from .calls import follow

Array = npt.NDArray[Any]


def reference_values(graph: Graph, inputs: Sequence[Array]) -> dict[int, Array]:
    """The value of every tensor between operators, computed without tdse's targets.

    Args:
        graph: one that came as a Relax module.
        inputs: one array for each input.
    """
    module = tvm.ir.load_json(graph.ir.decode())
    main = module["main"]
    builder = relax.BlockBuilder(module)
    given = [relax.Var(f"x{i}", p.ty) for i, p in enumerate(main.params)]
    made: list[Any] = []

    def emitted(call: relax.Call, arguments: tuple[Any, ...]) -> list[Any]:
        bound = builder.emit(relax.Call(call.op, list(arguments)))
        is_tuple = isinstance(call.ty, relax.TupleType)
        count = len(call.ty.fields) if is_tuple else 0
        parts = [builder.emit(relax.TupleGetItem(bound, i)) for i in range(count)] or [bound]
        made.extend(parts)
        return parts

    with builder.function("every_tensor", given):
        follow(main, "main", given, emitted)
        builder.emit_func_output(relax.Tuple(made))
    library = tvm.compile(builder.get(), target="llvm")
    run = relax.VirtualMachine(library, tvm.cpu())["every_tensor"]
    results = run(*[tvm.runtime.tensor(np.ascontiguousarray(x)) for x in inputs])
    # Tensors of a graph are numbered in the order in which they are made.
    arrays = [*inputs, *(result.numpy() for result in results)]
    return dict(enumerate(arrays))
