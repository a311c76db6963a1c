"""Pictures as inputs of models."""

from __future__ import annotations

import numpy as np

from tdse.errors import UsageError
from tdse.runtime.model import Array, TensorInfo

SUFFIXES = (".png", ".jpg", ".jpeg")
# Of each number of channels, how Pillow calls such a picture.
_MODES = {1: "L", 3: "RGB"}


def read_image(info: TensorInfo, path: str, pixels: tuple[float, float] | None) -> Array:
    """A picture, stretched to the size of an input.

    Args:
        info: the input, ``[1, height, width, 1 or 3]``.
        path: of the picture.
        pixels: numbers that black and white become, for an input of floats. An input of 8 bits
            gets its smallest and largest number: its quantisation tells what they stand for.

    Raises:
        UsageError: the input takes no picture, ``pixels`` does not go with it, or the file cannot
            be read.
    """
    size = info.shape[1:3]
    mode = _MODES.get(info.shape[3]) if len(info.shape) == 4 and info.shape[0] == 1 else None
    is_float = info.dtype.kind == "f"
    if mode is None or not (is_float or info.dtype.itemsize == 1):
        raise UsageError(
            f"input {info.name!r} takes no picture",
            where=path,
            why=f"it is {info.dtype} of shape {info.shape}",
            hint="give a .npy file, or raw bytes",
        )
    if is_float and pixels is None:
        raise UsageError(
            f"it is not known which numbers input {info.name!r} takes for black and white",
            where=path,
            why="its numbers are floats",
            hint="say it with --pixels, for example --pixels=-1,1 or --pixels=0,1",
        )
    values = _read(path, mode, (size[1], size[0])).reshape(info.shape)
    if is_float and pixels is not None:
        low, high = pixels
        return (low + values.astype(np.float64) / 255 * (high - low)).astype(info.dtype)
    return (values.astype(np.int16) + np.iinfo(info.dtype).min).astype(info.dtype)


def _read(path: str, mode: str, size: tuple[int, int]) -> Array:
    """Bytes ``[height, width]`` or ``[height, width, 3]``; ``size`` is width and height."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise UsageError(
            "pictures cannot be read",
            where=path,
            why="Pillow is not installed",
            hint="pip install 'tdse[image]', or give a .npy file",
        ) from None
    try:
        with Image.open(path) as picture:
            # A camera may have kept how it was turned beside the pixels.
            upright = ImageOps.exif_transpose(picture).convert(mode)
            return np.asarray(upright.resize(size, Image.Resampling.BILINEAR))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UsageError("the picture cannot be read", where=path, why=str(error)) from None
