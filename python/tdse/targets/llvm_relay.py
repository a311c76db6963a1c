"""The target ``llvm`` where TVM is a 0.x with Relay: whole slices, compiled by ``relay.build``.

A region is a library that TVM's graph executor runs, which the executor calls as one function. That
is how regions are measured and raced; in a module of ``tdse.relay`` they are part of ``main``.
"""

from __future__ import annotations

import ctypes
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tflite
import tvm
from tvm import relay
from tvm.contrib import graph_executor

from tdse.errors import ModelError, TargetError
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.graph.signature import signature
from tdse.graph.slice import Slice, slice_model
from tdse.link import find_linker
from tdse.platform import discover_host
from tdse.quiet import quiet_stderr

from .base import CompiledRegion, CompiledRegions, Support, Variant
from .tvm_errors import IMPORT_ERRORS, reason_of

KIND = "relay"
_INPUT = "tdse_input_{}"


class LlvmTarget:
    """Regions compiled with ``relay.build`` for this machine."""

    name = "llvm"

    def __init__(self) -> None:
        self._support: dict[str, Support] = {}

    def available(self) -> Support:
        """Whether the installed TVM compiles with LLVM."""
        if not tvm.runtime.enabled("llvm"):
            return Support(False, "the installed TVM is built without LLVM")
        return Support(True)

    def variants(self, cores: int) -> tuple[Variant, ...]:
        """One: TVM's own environment variables say how many threads the graph executor uses."""
        return (Variant(self.name, 1),)

    def supports(self, graph: Graph, op_index: int) -> Support:
        """Whether Relay imports the operator and types it as the model does; if not, why."""
        if graph.whole_reason:
            return Support(False, f"the model can only run whole: {graph.whole_reason}")
        key = signature(graph, op_index)
        if key not in self._support:
            try:
                import_slice(graph, (op_index,))
                self._support[key] = Support(True)
            except TargetError as error:
                self._support[key] = Support(False, error.why)
        return self._support[key]

    def compile(self, graph: Graph, regions: Sequence[Region], threads: int) -> CompiledRegions:
        """Compile each region by itself.

        Raises:
            TargetError: Relay cannot import or compile one.
        """
        return CompiledRegions(tuple(_compiled(graph, region) for region in regions))


def host_target() -> Any:
    """This machine, as TVM 0.x names it; its own default may be another."""
    device = discover_host().devices[0]
    return tvm.target.Target(f"llvm -mtriple={device.triple} -mcpu={device.mcpu or 'generic'}")


def import_model(data: bytes) -> tuple[Any, Any]:
    """What Relay imports from a ``.tflite``: a module, and its weights by name.

    Raises:
        TargetError: Relay cannot import it; ``why`` is its reason.
    """
    try:
        with quiet_stderr():
            module, weights = relay.frontend.from_tflite(tflite.Model.GetRootAsModel(data, 0))
    except IMPORT_ERRORS as error:
        raise TargetError("Relay cannot import the model", why=reason_of(error)) from None
    return module, weights


def import_slice(graph: Graph, ops: Sequence[int]) -> tuple[Slice, Any]:
    """The slice of some operators, and Relay's import of it as a typed function.

    The function takes the slice's inputs in their order and returns its outputs, several as a
    tuple; weights are constants in it.

    Raises:
        TargetError: it cannot be cut out or imported, or has other types than the model says.
    """
    labels = ", ".join(graph.ops[op].label for op in ops[:3])
    what = f"Relay cannot import {labels}{' and others' if len(ops) > 3 else ''}"
    try:
        piece = slice_model(graph, ops)
    except ModelError as error:
        raise TargetError(what, where=graph.name, why=str(error)) from error
    try:
        module, weights = import_model(piece.data)
        with quiet_stderr():
            function = relay.build_module.bind_params_by_name(module["main"], weights)
            function = typed(_in_order(graph, piece, function))
    except TargetError as error:
        raise TargetError(what, where=graph.name, why=error.why) from None
    except IMPORT_ERRORS as error:
        raise TargetError(what, where=graph.name, why=reason_of(error)) from None
    made = function.ret_type
    fields = made.fields if isinstance(made, tvm.ir.TupleType) else [made]
    wanted = [tensor_type(graph, t) for t in piece.outputs]
    if not tvm.ir.structural_equal(list(fields), wanted):
        why = f"it makes {', '.join(map(str, fields))} of {', '.join(map(str, wanted))}"
        raise TargetError(what, where=graph.name, why=why)
    return piece, function


def tensor_type(graph: Graph, tensor: int) -> Any:
    """Relay's type of a tensor of the model."""
    of = graph.tensors[tensor]
    return relay.TensorType(of.shape, of.dtype)


def typed(function: Any) -> Any:
    """The function with its types inferred."""
    return relay.transform.InferType()(tvm.IRModule.from_expr(function))["main"]


def _in_order(graph: Graph, piece: Slice, function: Any) -> Any:
    """The function with the slice's inputs as its parameters.

    Raises:
        ValueError: it takes something else.
    """
    by_name = {str(parameter.name_hint): parameter for parameter in function.params}
    parameters = []
    for t in piece.inputs:
        found = by_name.pop(graph.tensors[t].name, None)
        # Not every operator reads all that it is given.
        parameters.append(found or relay.var(f"t{t}", tensor_type(graph, t)))
        if found is not None and not tvm.ir.structural_equal(
            found.type_annotation, tensor_type(graph, t)
        ):
            raise ValueError(f"it takes {found.type_annotation} as {graph.tensors[t].name!r}")
    if by_name:
        raise ValueError(f"it takes {', '.join(by_name)}, which the operators do not")
    return relay.Function(parameters, function.body)


def _compiled(graph: Graph, region: Region) -> CompiledRegion:
    piece, function = import_slice(graph, region.ops)
    # Weights are inputs of the graph executor, too: ours are told by their names.
    named = [relay.var(_INPUT.format(i), p.type_annotation) for i, p in enumerate(function.params)]
    body = relay.bind(function.body, dict(zip(function.params, named, strict=True)))
    module = tvm.IRModule.from_expr(relay.Function(named, body))
    with tempfile.TemporaryDirectory(prefix="tdse-relay-") as directory:
        file = Path(directory) / "region.so"
        try:
            with quiet_stderr(), tvm.transform.PassContext(opt_level=3):
                library = relay.build(module, target=host_target())
            library.export_library(str(file), cc=str(find_linker()))
        except IMPORT_ERRORS as error:
            raise TargetError(
                f"Relay cannot compile region {region.index}",
                where=graph.name,
                why=reason_of(error),
            ) from None
        return CompiledRegion(KIND, file.read_bytes(), piece.inputs, piece.outputs)


def relay_region(library: bytes, threads: int, sizes: Sequence[int]) -> Callable[..., None]:
    """What runs a region of kind ``relay``: a function of the addresses of its tensors."""
    with tempfile.NamedTemporaryFile(prefix="tdse-relay-", suffix=".so") as file:
        file.write(library)
        file.flush()
        loaded = tvm.runtime.load_module(file.name)
    executor = graph_executor.GraphModule(loaded["default"](tvm.cpu()))
    outputs = [executor.get_output(i) for i in range(executor.get_num_outputs())]
    n_inputs = len(sizes) - len(outputs)
    # What is not read has no place.
    numbers = [executor.get_input_index(_INPUT.format(i)) for i in range(n_inputs)]
    inputs = [executor.get_input(number) if number >= 0 else None for number in numbers]

    def run(*addresses: int) -> None:
        for address, tensor in zip(addresses[:n_inputs], inputs, strict=True):
            if tensor is not None:
                _copy(tensor, address, to_tensor=True)
        executor.run()
        for address, tensor in zip(addresses[n_inputs:], outputs, strict=True):
            _copy(tensor, address, to_tensor=False)

    return run


def _copy(tensor: Any, address: int, *, to_tensor: bool) -> None:
    size = math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
    inside = int(tensor.handle.contents.data) + int(tensor.handle.contents.byte_offset)
    ctypes.memmove(*((inside, address) if to_tensor else (address, inside)), size)
