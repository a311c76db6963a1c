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
        ModelError: LiteRT cannot run an operator by itself, or makes another shape or type of
            tensor than the model says.
    """
    # Imported here: boards have no targets, and need no more than inputs.
    from tdse.targets.litert import demand_as_said

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
        for index, output in zip(piece.outputs, outputs, strict=True):
            demand_as_said(graph, label, index, output.shape, output.dtype)
            values[index] = output
    return values
