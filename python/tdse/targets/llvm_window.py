"""What operators with a sliding window have in common."""

from __future__ import annotations

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
