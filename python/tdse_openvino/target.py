"""OpenVINO on the CPU: slices of the model, read by OpenVINO's TFLite frontend.

The frontend reads files only, and is not needed to run what it has read. So a region is kept in
OpenVINO's own format, which later releases read as well, and is compiled for the CPU when it is
loaded.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tdse.errors import ModelError, TargetError
from tdse.graph import Graph, Region, Slice, signature, slice_model
from tdse.processor import this_processor
from tdse.targets import (
    CompiledRegion,
    CompiledRegions,
    Support,
    Variant,
    cpu_thread_counts,
    cut_region,
)

from .runtime import LIBRARY, openvino_library

# OpenVINO's names of the element types that differ from numpy's.
_TYPES = {
    "boolean": "bool",
    **{
        f"{letter}{bits}": f"{name}{bits}"
        for letter, name in (("i", "int"), ("u", "uint"))
        for bits in (8, 16, 32, 64)
    },
    **{f"f{bits}": f"float{bits}" for bits in (16, 32, 64)},
}

# Sums of 8-bit products; depthwise convolutions are not among them, and exact.
_SUMS = ("conv2d", "transpose_conv", "fully_connected", "batch_matmul")
# Extensions that add such products in 32 bits. Without one, OpenVINO uses vpmaddubsw, which adds
# two in 16 bits and saturates: "Saturation (overflow) issue workaround" in its documentation.
_WIDE_SUMS = {"avx512_vnni", "avx_vnni"}


class OpenvinoTarget:
    """Slices of the model, run by OpenVINO's CPU plugin."""

    name = "openvino"

    def __init__(self) -> None:
        self._support: dict[str, Support] = {}

    def available(self) -> Support:
        """Whether OpenVINO is installed, and the library that runs its regions is built."""
        if openvino_library() is None:
            return Support(False, "OpenVINO is not installed: pip install tdse[openvino]")
        if not LIBRARY.is_file():
            return Support(False, f"{LIBRARY} is not built")
        return Support(True)

    def variants(self, cores: int) -> tuple[Variant, ...]:
        """Thread counts in powers of two, and all cores."""
        return tuple(Variant(self.name, n) for n in cpu_thread_counts(cores))

    def supports(self, graph: Graph, op_index: int) -> Support:
        """Whether OpenVINO reads the operator's slice, with OpenVINO's own words if not."""
        if graph.whole_reason:
            return Support(False, f"the model can only run whole: {graph.whole_reason}")
        if self._saturates and _sums_bytes(graph, op_index):
            return Support(
                False,
                "without VNNI, OpenVINO adds 8-bit products in 16 bits, and saturates",
            )
        key = signature(graph, op_index)
        if key not in self._support:
            try:
                self._read(graph, slice_model(graph, [op_index]))
                self._support[key] = Support(True)
            except (ModelError, TargetError) as error:
                self._support[key] = Support(False, error.why or error.what)
        return self._support[key]

    def compile(self, graph: Graph, regions: Sequence[Region], threads: int) -> CompiledRegions:
        """Have OpenVINO read the regions.

        Raises:
            TargetError: OpenVINO cannot read one, or reads other inputs or outputs.
        """
        return CompiledRegions(tuple(self._compile(graph, region) for region in regions))

    def _compile(self, graph: Graph, region: Region) -> CompiledRegion:
        piece = cut_region(graph, region)
        blob = _serialised(self._read(graph, piece))
        return CompiledRegion(self.name, blob, piece.inputs, piece.outputs)

    def _read(self, graph: Graph, piece: Slice) -> Any:
        """The slice as a model of OpenVINO.

        Raises:
            TargetError: OpenVINO cannot read it, or reads other inputs or outputs.
        """
        with tempfile.TemporaryDirectory(prefix="tdse-openvino-") as directory:
            path = Path(directory) / "slice.tflite"
            path.write_bytes(piece.data)
            try:
                model = self._core.read_model(str(path))
            except RuntimeError as error:
                raise TargetError(
                    "OpenVINO cannot read the operators", where=graph.name, why=_one_line(error)
                ) from None
        borders = [_border(port) for port in (*model.inputs, *model.outputs)]
        planned = [
            (graph.tensors[index].dtype, graph.tensors[index].shape)
            for index in (*piece.inputs, *piece.outputs)
        ]
        if borders != planned:
            odd = [(b, p) for b, p in zip(borders, planned, strict=False) if b != p]
            why = f"{odd[0][0]} instead of {odd[0][1]}" if odd else "their number differs"
            raise TargetError(
                "OpenVINO reads other inputs or outputs",
                where=graph.name,
                why=f"OpenVINO reads other inputs or outputs: {why}",
            )
        return model

    @cached_property
    def _saturates(self) -> bool:
        """Whether sums of 8-bit products may exceed what OpenVINO adds them in here."""
        processor = this_processor()
        return processor.isa == "x86_64" and not processor.features & _WIDE_SUMS

    @cached_property
    def _core(self) -> Any:
        import openvino

        return openvino.Core()


def _sums_bytes(graph: Graph, op_index: int) -> bool:
    """Whether an operator is a sum of 8-bit products."""
    op = graph.ops[op_index]
    return op.kind in _SUMS and graph.tensors[op.inputs[0]].dtype in ("int8", "uint8")


def _border(port: Any) -> tuple[str, tuple[int, ...]]:
    """Type and shape of an input or output; a dimension that is not known is -1."""
    kind = port.get_element_type().get_type_name()
    shape = port.get_partial_shape()
    sizes = tuple(
        size.get_length() if size.is_static else -1
        for size in (shape if shape.rank.is_static else ())
    )
    return _TYPES.get(kind, kind), sizes


def _serialised(model: Any) -> bytes:
    """What ``cpp/openvino/openvino_region.cc`` reads: u64 bytes of the XML, XML, weights."""
    import openvino

    with tempfile.TemporaryDirectory(prefix="tdse-openvino-") as directory:
        description, weights = Path(directory) / "region.xml", Path(directory) / "region.bin"
        openvino.serialize(model, str(description), str(weights))
        xml = description.read_bytes()
        return struct.pack("<Q", len(xml)) + xml + weights.read_bytes()


def _one_line(error: RuntimeError) -> str:
    """OpenVINO's message without where in its source it was raised."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return told[-1][:200] if told else "OpenVINO gives no reason"
