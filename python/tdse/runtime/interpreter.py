"""Regions that LiteRT's Python interpreter runs: those that its C interface refuses."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tdse.errors import TargetError


class InterpreterRegion:
    """A ``.tflite`` slice that reads its inputs from, and writes its outputs to, raw addresses."""

    def __init__(self, model: bytes, threads: int, sizes: Sequence[int]) -> None:
        """Prepare the slice.

        Args:
            model: the slice.
            threads: threads of the interpreter.
            sizes: bytes at each address that ``run`` will be given.

        Raises:
            TargetError: LiteRT refuses the slice, or its tensors are not of these sizes.
        """
        # Imported here: it takes long, and few models need it.
        from ai_edge_litert.interpreter import Interpreter

        try:
            self._interpreter = Interpreter(model_content=model, num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise TargetError("LiteRT refuses the region", why=str(error)) from None
        self._read_borders(sizes)

    @classmethod
    def of(cls, interpreter: Any, sizes: Sequence[int]) -> InterpreterRegion:
        """The same of an interpreter whose tensors are allocated.

        Raises:
            TargetError: its tensors are not of these sizes.
        """
        region = cls.__new__(cls)
        region._interpreter = interpreter
        region._read_borders(sizes)
        return region

    def _read_borders(self, sizes: Sequence[int]) -> None:
        self._inputs = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()
        details = [*self._inputs, *self._outputs]
        if [_size(detail) for detail in details] != list(sizes):
            raise TargetError("the inputs and outputs of the slice are not those of the plan")

    def run(self, *addresses: int) -> None:
        """Run once; ``addresses`` are those of the inputs and then of the outputs.

        Raises:
            TargetError: an output turned out to have another shape than was planned.
        """
        for detail, address in zip(self._inputs, addresses, strict=False):
            self._interpreter.set_tensor(detail["index"], _view(detail, address))
        self._interpreter.invoke()
        for detail, address in zip(self._outputs, addresses[len(self._inputs) :], strict=True):
            value = self._interpreter.get_tensor(detail["index"])
            planned = tuple(detail["shape"].tolist())
            if value.shape != planned:
                raise TargetError(
                    f"output {detail['name']!r} has shape {value.shape}, not {planned} as planned"
                )
            _view(detail, address)[...] = value


def _view(detail: dict[str, Any], address: int) -> npt.NDArray[Any]:
    """The memory at ``address`` as an array of the shape and type in ``detail``."""
    size = _size(detail)
    array: npt.NDArray[Any] = np.empty(detail["shape"], detail["dtype"])
    if size > 0:
        memory = memoryview((ctypes.c_char * size).from_address(address))
        array = np.frombuffer(memory, detail["dtype"]).reshape(detail["shape"])
    return array


def _size(detail: dict[str, Any]) -> int:
    """Bytes of the tensor that ``detail`` describes."""
    size: int = math.prod(detail["shape"]) * np.dtype(detail["dtype"]).itemsize
    return size
