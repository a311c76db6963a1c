"""Inputs for a model, and the values its tensors take on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tdse.errors import ModelError
from tdse.graph.model import Graph
from tdse.graph.slice import slice_model
from tdse.runtime.litert import run_litert
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


def activations(
    graph: Graph, inputs: Sequence[Array], *, begin: Callable[[int], None] | None = None
) -> dict[int, Array]:
    """The value of every tensor between the placed operators, as LiteRT computes them.

    Each operator's slice is run by itself, one after the other: LiteRT keeps the tensors inside a
    delegate to itself, and some operators run nowhere but there. One slice per operator gives the
    same bits as the whole model.

    Args:
        graph: the model.
        inputs: one array for each input.
        begin: called with each operator before it is run.

    Raises:
        ModelError: LiteRT cannot run an operator by itself, or gives a tensor another shape than
            the model says.
    """
    values = dict(zip(graph.inputs, inputs, strict=True))
    for op in graph.placed_ops:
        if begin is not None:
            begin(op)
        piece = slice_model(graph, [op])
        label = f"op {graph.ops[op].label}"
        try:
            outputs = run_litert(piece.data, [values[index] for index in piece.inputs])
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                f"LiteRT cannot run {label}",
                where=graph.name,
                why=str(error),
                hint="replace the operator in the model, or use a newer ai-edge-litert",
            ) from None
        demand_shapes(graph, label, piece.outputs, outputs)
        values.update(zip(piece.outputs, outputs, strict=True))
    return values


def demand_shapes(
    graph: Graph, source: str, tensors: Sequence[int], values: Sequence[Array]
) -> None:
    """Refuse values of other shapes than the model says; everything is planned with these.

    Args:
        graph: the model.
        source: what computed the values, for the message.
        tensors: indices of tensors.
        values: their values.

    Raises:
        ModelError: a shape differs.
    """
    for index, value in zip(tensors, values, strict=True):
        tensor = graph.tensors[index]
        if value.shape != tensor.shape:
            raise ModelError(
                f"{source} makes another shape than the model says",
                where=graph.name,
                why=f"LiteRT gives tensor {tensor.name!r} the shape {list(value.shape)}, the "
                f"model says {list(tensor.shape)}",
                hint="convert the model again",
            )
