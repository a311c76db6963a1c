"""LiteRT, with XNNPACK, on the CPU: what a user would otherwise run.

A region is a slice of the model's flatbuffer. The executor runs it through LiteRT's C interface,
or through its Python interpreter where the C interface refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tdse.errors import ModelError, TargetError
from tdse.graph.model import Graph, Op
from tdse.graph.regions import Region
from tdse.graph.signature import signature
from tdse.graph.slice import Slice, slice_model, whole_model
from tdse.platform.model import Device
from tdse.quiet import quiet_stderr
from tdse.runtime import native
from tdse.runtime.litert import make_interpreter
from tdse.runtime.plan import Plan, PlanRegion, PlanTensor

from .base import (
    CompiledRegion,
    CompiledRegions,
    Support,
    Variant,
    cpu_thread_counts,
    cut_region,
)


class LitertTarget:
    """Slices of the model, run by LiteRT."""

    name = "litert"

    def __init__(self) -> None:
        self._support: dict[str, Support] = {}
        # Signatures of operators that LiteRT's C interface has run, alone or with others, and
        # sets of signatures of slices that it refused.
        self._accepted: set[str] = set()
        self._refused: set[frozenset[str]] = set()

    def available(self) -> Support:
        """Whether the installed LiteRT has the library that the executor calls."""
        library = native.litert_library()
        if library is None:
            return Support(False, "ai-edge-litert is not installed")
        if not library.is_file():
            return Support(False, f"ai-edge-litert has no {library.name}")
        return Support(True)

    def variants(self, cores: int) -> tuple[Variant, ...]:
        """Thread counts in powers of two, and all cores."""
        return tuple(Variant(self.name, n) for n in cpu_thread_counts(cores))

    def for_processor(self, processor: Device) -> LitertTarget:
        """The same: a slice of a model is for any processor."""
        return self

    def supports(self, graph: Graph, op_index: int) -> Support:
        """Whether LiteRT prepares the operator's slice, with LiteRT's own words if not.

        The operators of a model that cannot be cut are supported as a whole or not at all.
        """
        if graph.whole_reason:
            failure = _whole_failure(graph)
            return Support(False, failure[1]) if failure else Support(True)
        key = signature(graph, op_index)
        if key not in self._support:
            self._support[key] = _try_op(graph, graph.ops[op_index])
        return self._support[key]

    def compile(self, graph: Graph, regions: Sequence[Region], threads: int) -> CompiledRegions:
        """Cut out the regions.

        Raises:
            TargetError: the model cannot be cut as the regions ask, or LiteRT refuses one.
        """
        return CompiledRegions(tuple(self._compile(graph, region) for region in regions))

    def _compile(self, graph: Graph, region: Region) -> CompiledRegion:
        piece = _cut(graph, region)
        return CompiledRegion(self._kind(graph, piece), piece.data, piece.inputs, piece.outputs)

    def _kind(self, graph: Graph, piece: Slice) -> str:
        """The executor's kind for a slice; found out by running it once on zeros."""
        if graph.whole_reason:
            parts = frozenset({graph.sha256})
        else:
            parts = frozenset(signature(graph, op) for op in piece.ops)
        if parts <= self._accepted:
            return "litert"
        if parts not in self._refused:
            if _runs_in_c_interface(graph, piece):
                self._accepted |= parts
                return "litert"
            _demand_interpreter_runs(graph, piece)
            self._refused.add(parts)
        return "litert_interpreter"


def demand_known_shapes(graph: Graph) -> None:
    """Refuse a model of which a tensor has no known shape.

    Raises:
        ModelError: naming the tensor and the operator that makes it.
    """
    inner = () if graph.whole_reason else [t for op in graph.ops for t in op.outputs if t >= 0]
    for index in (*graph.inputs, *graph.outputs, *inner):
        tensor = graph.tensors[index]
        if tensor.is_dynamic:
            producer = graph.producer.get(index)
            source = "an input" if producer is None else f"made by op {graph.ops[producer].label}"
            raise ModelError(
                "the model has a shape that is only known when it runs",
                where=graph.name,
                why=f"that of tensor {tensor.name!r}, {source}",
                hint="convert the model with fixed shapes",
            )


def demand_runs(graph: Graph) -> None:
    """Refuse a model that LiteRT cannot run, or of which a tensor has no known shape.

    Raises:
        ModelError: naming the operator, with LiteRT's reason.
    """
    demand_known_shapes(graph)
    failure = _whole_failure(graph)
    if failure is not None:
        index, reason = failure
        where = f"op {graph.ops[index].label}" if index is not None else "the model"
        raise ModelError(
            f"LiteRT cannot run {where}",
            where=graph.name,
            why=reason,
            hint="give the model from before edgetpu_compiler, or --edgetpu for a real Edge TPU"
            if "edgetpu-custom-op" in reason
            else "replace the operator in the model, or use a newer ai-edge-litert",
        )
    _demand_right_tensors(graph)


def _demand_right_tensors(graph: Graph) -> None:
    """Refuse a model that says another shape or type of a result than its operator makes.

    Everything is planned with what the file says. XNNPACK takes that at its word, too, and then
    leaves part of such a result undefined, so that the plain kernels are asked.

    Raises:
        ModelError: naming the operator.
    """
    try:
        details = make_interpreter(graph.data, reference_kernels=True).get_tensor_details()
    except (RuntimeError, ValueError):
        # Some operators exist in XNNPACK only, and some names cannot be read.
        return
    made = {detail["index"]: detail for detail in details}
    for op in graph.ops:
        for index in op.outputs:
            if index in made and not graph.tensors[index].is_dynamic:
                shape = tuple(made[index]["shape"].tolist())
                demand_as_said(graph, f"op {op.label}", index, shape, made[index]["dtype"])


def demand_as_said(
    graph: Graph, source: str, index: int, shape: tuple[int, ...], dtype: npt.DTypeLike
) -> None:
    """Refuse a tensor that LiteRT makes of another shape or type than the model says.

    Args:
        graph: the model.
        source: what makes it, for the message.
        index: of the tensor.
        shape: as LiteRT makes it.
        dtype: likewise.

    Raises:
        ModelError: they differ.
    """
    tensor, made = graph.tensors[index], np.dtype(dtype).name
    # LiteRT's Python interface shows types that numpy lacks as others.
    if shape == tensor.shape and (made == tensor.dtype or tensor.dtype not in np.sctypeDict):
        return
    raise ModelError(
        f"{source} makes another tensor than the model says",
        where=graph.name,
        why=f"LiteRT makes {tensor.name!r} of type {made} and shape {list(shape)}, the model says "
        f"{tensor.dtype} and {list(tensor.shape)}",
        hint="convert the model again",
    )


def _whole_failure(graph: Graph) -> tuple[int | None, str] | None:
    """The operator that LiteRT cannot prepare and why, or None if it can run the model."""
    if graph.sha256 not in _whole_failures:
        _whole_failures[graph.sha256] = _find_whole_failure(graph)
    return _whole_failures[graph.sha256]


_whole_failures: dict[str, tuple[int | None, str] | None] = {}


def _find_whole_failure(graph: Graph) -> tuple[int | None, str] | None:
    try:
        make_interpreter(graph.data)
    except (RuntimeError, ValueError) as error:
        # "Node number 7 (CONV_2D) failed to prepare."
        node = re.search(r"Node number (\d+)", str(error))
        index = int(node[1]) if node and int(node[1]) < len(graph.ops) else None
        return index, _one_line(str(error))
    return None


def _try_op(graph: Graph, op: Op) -> Support:
    for tensor in (graph.tensors[t] for t in (*op.inputs, *op.outputs) if t >= 0):
        if tensor.is_dynamic:
            return Support(False, f"tensor {tensor.name!r} has a shape only known at run time")
    try:
        make_interpreter(slice_model(graph, [op.index]).data)
    except ModelError as error:
        return Support(False, str(error))
    except (RuntimeError, ValueError) as error:
        return Support(False, f"{op.tflite_name}: {_one_line(str(error))}")
    return Support(True)


def _cut(graph: Graph, region: Region) -> Slice:
    if graph.whole_reason:
        if set(region.ops) != set(graph.placed_ops):
            raise TargetError(
                "the model cannot be cut into regions", where=graph.name, why=graph.whole_reason
            )
        return whole_model(graph)
    return cut_region(graph, region)


def _runs_in_c_interface(graph: Graph, piece: Slice) -> bool:
    position = {t: i for i, t in enumerate(dict.fromkeys((*piece.inputs, *piece.outputs)))}
    inputs = tuple(position[t] for t in piece.inputs)
    outputs = tuple(position[t] for t in piece.outputs)
    region = PlanRegion("region", "litert", 1, piece.data, inputs, outputs)
    tensors = (graph.tensors[t] for t in position)
    plan = Plan(
        tuple(PlanTensor(t.name, t.dtype, t.shape) for t in tensors), inputs, outputs, (region,)
    )
    try:
        with quiet_stderr():
            _run_once(plan)
    except TargetError:
        return False
    return True


def _demand_interpreter_runs(graph: Graph, piece: Slice) -> None:
    try:
        make_interpreter(piece.data)
    except (RuntimeError, ValueError) as error:
        labels = ", ".join(graph.ops[op].label for op in piece.ops[:3])
        more = f" and {len(piece.ops) - 3} more" if len(piece.ops) > 3 else ""
        raise TargetError(
            f"LiteRT cannot run {labels}{more}", where=graph.name, why=_one_line(str(error))
        ) from None


def _run_once(plan: Plan) -> None:
    """Create the executor of ``plan`` and run it on zeros."""
    executor = native.create_executor(plan.to_bytes())
    arrays = [
        np.zeros(plan.tensors[i].shape, plan.tensors[i].dtype)
        for i in (*plan.inputs, *plan.outputs)
    ]
    native.call(executor["run"], *(array.ctypes.data for array in arrays))


def _one_line(text: str) -> str:
    """LiteRT's message without source locations (``kernel.cc:84``), links and node numbers."""
    text = re.sub(r"\S*\.(cc|h):\d+:?\s*", "", text)
    text = re.sub(r"See instructions: \S+", "", text)
    text = re.sub(r"Node number \d+ \(.*?\) failed to (prepare|invoke)\.?", "", text)
    return " ".join(text.split()).rstrip(".") or "LiteRT gives no reason"
