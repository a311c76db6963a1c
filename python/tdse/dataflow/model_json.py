"""Layers from dMazeRunner's model files: ``{"CONV": [...], "DW_CONV": [...], "GEMM": [...]}``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from tdse.dataflow.layer import Layer, convolution, matrix_product
from tdse.errors import ModelError
from tdse.faults import Record, faults_of

_Count = Annotated[int, Field(ge=1, le=2**20)]
_Four = Annotated[tuple[_Count, _Count, _Count, _Count], Field(strict=False)]
_Two = Annotated[tuple[_Count, _Count], Field(strict=False)]


class _Convolution(Record):
    name: str
    size_tensor_A: _Four
    size_tensor_B: _Four
    strides: _Two
    instances: _Count = 1


class _Product(Record):
    name: str
    size_tensor_A: _Two
    size_tensor_B: _Two
    instances: _Count = 1


class _Model(Record):
    CONV: Annotated[tuple[_Convolution, ...], Field(strict=False)] = ()
    GEMM: Annotated[tuple[_Product, ...], Field(strict=False)] = ()
    DW_CONV: Annotated[tuple[_Convolution, ...], Field(strict=False)] = ()


def read_model_json(path: str | Path) -> tuple[Layer, ...]:
    """The layers in a file; tensor A is the input, padded already, and B are the weights.

    Raises:
        ModelError: the file cannot be read or is wrong; all faults are told at once.
    """
    try:
        model = _Model.model_validate_json(Path(path).read_bytes())
    except (OSError, ValidationError) as error:
        faults = "; ".join(faults_of(error, _Model)) if isinstance(error, ValidationError) else ""
        raise ModelError(
            "cannot read the layers",
            where=str(path),
            why=faults or getattr(error, "strerror", None) or str(error),
        ) from error
    layers = [_convolution(each, path, is_depthwise=False) for each in model.CONV]
    layers += [_product(each, path) for each in model.GEMM]
    layers += [_convolution(each, path, is_depthwise=True) for each in model.DW_CONV]
    return tuple(layers)


def _convolution(given: _Convolution, path: str | Path, *, is_depthwise: bool) -> Layer:
    batch, channels, *size = given.size_tensor_A
    out_channels, in_channels, *kernel = given.size_tensor_B
    if channels != in_channels:
        raise _wrong(given.name, path, f"{channels} channels of the input, {in_channels} of B")
    if is_depthwise and out_channels != 1:
        raise _wrong(given.name, path, f"B of a depthwise layer begins with 1, not {out_channels}")
    rows, columns = (
        (n - k) // stride + 1 for n, k, stride in zip(size, kernel, given.strides, strict=True)
    )
    if min(rows, columns) < 1:
        raise _wrong(given.name, path, "the window is larger than the input")
    return convolution(
        given.name,
        batch=batch,
        groups=channels if is_depthwise else 1,
        channels=(1, 1) if is_depthwise else (out_channels, in_channels),
        output=(rows, columns),
        kernel=(kernel[0], kernel[1]),
        stride=given.strides,
        input_size=(size[0], size[1]),
        instances=given.instances,
    )


def _product(given: _Product, path: str | Path) -> Layer:
    rows, inner = given.size_tensor_A
    if inner != given.size_tensor_B[0]:
        raise _wrong(given.name, path, f"{inner} columns of A, {given.size_tensor_B[0]} rows of B")
    return matrix_product(
        given.name, rows, given.size_tensor_B[1], inner, instances=given.instances
    )


def _wrong(layer: str, path: str | Path, why: str) -> ModelError:
    return ModelError(f"layer {layer} is wrong", where=str(path), why=why)
