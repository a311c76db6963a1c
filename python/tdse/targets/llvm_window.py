"""What operators with a sliding window have in common."""

from __future__ import annotations

from dataclasses import dataclass

from tdse.errors import TargetError
from tdse.graph.model import Op, Tensor


def int_attribute(op: Op, name: str) -> int:
    """An attribute that the schema defines as an integer.

    Raises:
        TargetError: the model does not give it.
    """
    value = op.attributes.get(name)
    if not isinstance(value, int):
        raise TargetError(f"op {op.label} has no attribute {name}")
    return value


@dataclass(frozen=True)
class Window:
    """What a convolution's filters are laid over.

    Attributes:
        kernel: height and width.
        stride: of rows and columns.
        dilation: of rows and columns; distance of the window's elements.
        padding: rows above and columns left of the image.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]


def window_of(op: Op, x: Tensor, w: Tensor, y: Tensor) -> Window:
    """The window of a convolution, depthwise or not.

    Args:
        op: the operator.
        x: the input [n, height, width, channels].
        w: the filters; their height and width are its second and third dimension.
        y: the output.

    Raises:
        TargetError: the model does not give an attribute.
    """
    kernel = w.shape[1], w.shape[2]
    stride = int_attribute(op, "stride_h"), int_attribute(op, "stride_w")
    dilation = int_attribute(op, "dilation_h_factor"), int_attribute(op, "dilation_w_factor")
    reach = (kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1
    return Window(kernel, stride, dilation, padding_before(op, x, y, reach, stride))


def padding_before(
    op: Op, x: Tensor, y: Tensor, reach: tuple[int, int], stride: tuple[int, int]
) -> tuple[int, int]:
    """Rows above and columns left of an image that a window of size ``reach`` begins with.

    Args:
        op: has the attribute ``padding``: ``same`` or ``valid``.
        x: the input [n, height, width, channels].
        y: the output.
        reach: height and width of the window, with the gaps of a dilation.
        stride: of rows and columns.
    """
    if op.attributes.get("padding") != "same":
        return 0, 0
    top, left = (
        max((y.shape[1 + i] - 1) * stride[i] + reach[i] - x.shape[1 + i], 0) // 2 for i in (0, 1)
    )
    return top, left
