"""A target for tdse, as short as one can be: activations of floats, computed by numpy.

    pip install ./examples/custom_target
    tdsec model.tflite -o out/ --targets litert,numpy --pin relu=numpy

A real target would compile to something faster. What is the same: it says what it can run and why
not, gives a blob for each region, and brings the function that runs such a blob.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tdse.graph import Graph, Region, slice_model
from tdse.targets import CompiledRegion, CompiledRegions, Support, Variant

Array = np.ndarray[Any, np.dtype[Any]]

_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "tanh": np.tanh,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
}


class NumpyTarget:
    """Activations of float32 tensors."""

    name = "numpy"

    def available(self) -> Support:
        """It needs nothing but numpy."""
        return Support(True)

    def variants(self, cores: int) -> tuple[Variant, ...]:
        """These functions use one thread."""
        return (Variant(self.name, 1),)

    def supports(self, graph: Graph, op_index: int) -> Support:
        """Whether there is a function for the operator; users read the reason if not."""
        op = graph.ops[op_index]
        if op.kind not in _FUNCTIONS:
            return Support(False, f"numpy-target has no {op.kind}")
        dtype = graph.tensors[op.inputs[0]].dtype
        if dtype != "float32":
            return Support(False, f"numpy-target computes float32, not {dtype}")
        return Support(True)

    def compile(self, graph: Graph, regions: Sequence[Region], threads: int) -> CompiledRegions:
        """A list of steps for each region; a region may be several operators in a row."""
        return CompiledRegions(tuple(self._compile(graph, region) for region in regions))

    def _compile(self, graph: Graph, region: Region) -> CompiledRegion:
        # The border of a region is that of its slice, in that order.
        border = slice_model(graph, region.ops)
        ops = [graph.ops[index] for index in region.ops]
        program = {
            "inputs": border.inputs,
            "outputs": border.outputs,
            "steps": [(op.kind, op.inputs[0], op.outputs[0]) for op in ops],
        }
        blob = json.dumps(program).encode()
        return CompiledRegion(self.name, blob, border.inputs, border.outputs)


def register_regions() -> None:
    """Tell executors how regions of kind ``numpy`` are made; called before the first one is."""
    import tvm_ffi

    tvm_ffi.register_global_func("tdse.region.numpy", _make, override=True)


def _make(blob: bytes, threads: int, sizes: Sequence[int]) -> object:
    """Prepare a region; ``sizes`` are the bytes of its inputs and then of its outputs."""
    import tvm_ffi

    program = json.loads(bytes(blob))
    counts = [size // np.dtype(np.float32).itemsize for size in sizes]
    borders = [*program["inputs"], *program["outputs"]]

    def run(*addresses: int) -> None:
        """Read the inputs where they lie and write the outputs in place."""
        arrays = [
            np.ctypeslib.as_array((ctypes.c_float * count).from_address(address))
            for address, count in zip(addresses, counts, strict=True)
        ]
        values = dict(zip(borders, arrays, strict=True))
        for kind, source, target in program["steps"]:
            result = _FUNCTIONS[kind](values[source])
            if target in program["outputs"]:
                values[target][:] = result
            else:
                values[target] = result

    return tvm_ffi.convert(run)
