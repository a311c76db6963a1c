"""What an operator does, apart from the model it stands in: what a cost model may know of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .model import AttributeValue, Graph, Op
from .scales import has_far_scales

# Name of the attribute that says so where ``has_far_scales``.
FAR_SCALES = "far_scales"


@dataclass(frozen=True)
class TensorForm:
    """A tensor that an operator reads or writes.

    Attributes:
        shape: dimensions, outermost first.
        dtype: as of ``Tensor``.
        is_constant: the model holds its value.
        scales: number of scales of its quantisation, 0 without one.
        quantization: equal for the operands of a workload that share scale and zero point.
    """

    shape: tuple[int, ...]
    dtype: str
    is_constant: bool = False
    scales: int = 0
    quantization: int = -1

    @property
    def elements(self) -> int:
        """Number of its elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Workload:
    """Kind, operands and attributes of an operator, without values, names and numbers of tensors.

    Attributes:
        kind: as of ``Op``, as are the others of the same name; ``attributes`` may have
            ``FAR_SCALES`` besides.
        inputs: operands; None for an optional one that is not given.
        outputs: results.
    """

    kind: str
    inputs: tuple[TensorForm | None, ...]
    outputs: tuple[TensorForm, ...]
    attributes: Mapping[str, AttributeValue] = field(hash=False)
    macs: int
    parameter_bytes: int
    input_bytes: int
    output_bytes: int

    def to_row(self) -> list[Any]:
        """As JSON values, from which ``from_row`` makes an equal workload."""
        return [
            self.kind,
            [_row(form) if form else None for form in self.inputs],
            [_row(form) for form in self.outputs],
            dict(self.attributes),
            [self.macs, self.parameter_bytes, self.input_bytes, self.output_bytes],
        ]

    @staticmethod
    def from_row(row: Any) -> Workload:
        """The workload that ``to_row`` made ``row`` of, perhaps by way of JSON.

        Raises:
            ValueError: the row is something else.
        """
        try:
            kind, inputs, outputs, attributes, numbers = row
            macs, parameter_bytes, input_bytes, output_bytes = map(_count, numbers)
            return Workload(
                str(kind),
                tuple(_form(each) if each else None for each in inputs),
                tuple(_form(each) for each in outputs),
                {str(k): tuple(v) if isinstance(v, list) else v for k, v in attributes.items()},
                macs,
                parameter_bytes,
                input_bytes,
                output_bytes,
            )
        except (TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"not a workload: {error}") from None


def workload(graph: Graph, op: Op) -> Workload:
    """The workload of an operator of ``graph``."""
    numbers: dict[Any, int] = {}

    def form(index: int) -> TensorForm:
        tensor = graph.tensors[index]
        quantization = tensor.quantization
        return TensorForm(
            tensor.shape,
            tensor.dtype,
            graph.is_constant(index),
            len(quantization.scales) if quantization else 0,
            numbers.setdefault(quantization, len(numbers)) if quantization else -1,
        )

    return Workload(
        op.kind,
        tuple(form(index) if index >= 0 else None for index in op.inputs),
        tuple(form(index) for index in op.outputs),
        {**op.attributes, **({FAR_SCALES: True} if has_far_scales(graph, op) else {})},
        op.macs,
        op.parameter_bytes,
        op.input_bytes,
        op.output_bytes,
    )


def _row(form: TensorForm) -> list[Any]:
    return [
        form.shape,
        form.dtype,
        int(form.is_constant),
        form.scales,
        form.quantization,
    ]


def _form(row: list[Any]) -> TensorForm:
    shape, dtype, constant, scales, quantization = row
    return TensorForm(
        tuple(map(_count, shape)), str(dtype), bool(constant), _count(scales), int(quantization)
    )


def _count(value: Any) -> int:
    number = int(value)
    if number < 0:
        raise ValueError(f"not a workload: a size of {number}")
    return number
