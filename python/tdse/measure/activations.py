"""Inputs for a model, and the values its tensors take on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tdse.graph.model import Graph
from tdse.runtime.model import random_array

Array = npt.NDArray[Any]


def random_inputs(graph: Graph, seed: int) -> list[Array]:
    """One random array for each input: the whole range of an 8-bit type, [-1, 1) for floats."""
    generator = np.random.default_rng(seed)
    return [
        random_array(graph.tensors[i].shape, np.dtype(graph.tensors[i].dtype), generator)
        for i in graph.inputs
    ]


def zero_inputs(graph: Graph) -> list[Array]:
    """One array of zeros for each input."""
    return [np.zeros(graph.tensors[i].shape, graph.tensors[i].dtype) for i in graph.inputs]


def activations(graph: Graph, inputs: Sequence[Array]) -> dict[int, Array]:
    """The value of every tensor that LiteRT's own kernels compute from ``inputs``.

    Delegates are left out, as they keep the tensors between their operators to themselves.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=graph.data,
        num_threads=1,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    for index, array in zip(graph.inputs, inputs, strict=True):
        interpreter.set_tensor(index, array)
    interpreter.invoke()
    values = dict(zip(graph.inputs, inputs, strict=True))
    for op in graph.ops:
        for index in op.outputs:
            values[index] = interpreter.get_tensor(index)
    return values
