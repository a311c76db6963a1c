"""Arrays that callers give: converted, checked and made read-only, with errors that name them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tdse.errors import TdseError

# None stands for any length.
Shape = tuple[int | None, ...]


def read_array(
    name: str,
    values: ArrayLike,
    dtype: type[np.generic],
    shape: Shape,
    *,
    default: ArrayLike | None = None,
) -> NDArray[np.generic]:
    """A read-only copy of ``values``.

    Args:
        name: what errors call the array.
        values: what the caller gave; None or nothing at all stands for ``default``.
        dtype: of the copy; integers must not change by the conversion.
        shape: what it must have.
        default: is broadcast to ``shape``; None if the array must be given.

    Raises:
        TdseError: the values cannot be read, or have another shape.
    """
    given = np.asarray([] if values is None else values)
    if default is not None and given.size == 0:
        given = np.broadcast_to(default, [size or 0 for size in shape])
    array = _converted(name, given, dtype)
    if array.size == 0 and len(shape) == 2 and shape[0] is None:
        array = array.reshape(0, shape[1] or 0)
    fits = len(shape) == array.ndim and all(
        wanted in (None, size) for wanted, size in zip(shape, array.shape, strict=True)
    )
    text = " x ".join("n" if size is None else str(size) for size in shape)
    demand(fits, name, f"has shape {array.shape}, not {text}")
    array.setflags(write=False)
    return array


def demand(holds: bool, name: str, why: str) -> None:
    """Refuses the array ``name``, which ``why`` says something wrong of, unless ``holds``."""
    if not holds:
        raise _fault(name, why)


def demand_inside(name: str, values: NDArray[Any], low: int, end: int) -> None:
    """Refuses indices outside ``low`` to ``end`` - 1."""
    fits = bool(((values >= low) & (values < end)).all())
    demand(fits, name, f"holds an index outside {low} to {end - 1}")


def demand_amounts(
    name: str, values: NDArray[Any], *, infinite: bool = False, least: float = 0.0
) -> None:
    """Refuses what is no amount: not a number, below ``least``, or infinite where it may not be."""
    demand(not np.isnan(values).any(), name, "holds a value that is not a number")
    low = "a negative value" if least == 0.0 else f"a value below {least:g}"
    demand(bool((values >= least).all()), name, f"holds {low}")
    demand(infinite or bool(np.isfinite(values).all()), name, "holds an infinite value")


def _converted(
    name: str, given: NDArray[np.generic], dtype: type[np.generic]
) -> NDArray[np.generic]:
    try:
        converted = np.array(given, dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise _fault(name, f"cannot be read as an array of {dtype.__name__}: {error}") from error
    if np.issubdtype(dtype, np.integer) and given.size and not np.array_equal(given, converted):
        raise _fault(name, f"holds a value that is not a {dtype.__name__}")
    return converted


def _fault(name: str, why: str) -> TdseError:
    return TdseError("the placement problem is not well formed", where=name, why=f"it {why}")
