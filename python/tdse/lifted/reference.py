"""What a lifted module computes, by TVM's own default build: what results are held against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from tdse.graph.model import Graph

Array = npt.NDArray[Any]


def reference_values(graph: Graph, inputs: Sequence[Array]) -> dict[int, Array]:
    """The value of every tensor between operators, computed without tdse's targets.

    Args:
        graph: one that came as a Relax module.
        inputs: one array for each input.
    """
    module = relax.transform.ToNonDataflow()(tvm.ir.load_json(graph.ir.decode()))
    main = module["main"]
    bindings = [binding for block in main.body.blocks for binding in block.bindings]
    made = [b.var for b in bindings if not isinstance(b.var.ty, relax.TupleType)]
    body = relax.SeqExpr(main.body.blocks, relax.Tuple(made))
    module["main"] = relax.Function(
        main.params, body, relax.TupleType([variable.ty for variable in made])
    ).with_attr("global_symbol", "main")
    run = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())["main"]
    results = run(*[tvm.runtime.tensor(np.ascontiguousarray(x)) for x in inputs])
    # Tensors of a graph are numbered in the order in which they are made.
    return dict(enumerate([*inputs, *(result.numpy() for result in results)]))
