"""A model's inputs and outputs in ``.npz`` files."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from tdse.errors import UsageError
from tdse.runtime.model import Array, Model

# What numpy raises for a file that is damaged, or is something else.
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    AttributeError,
    TypeError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_inputs(artefact: Model, path: str | os.PathLike[str]) -> list[list[Array]]:
    """The inputs in an ``.npz``: one list of arrays for each case.

    An array has the shape of its input, or one more axis in front, which counts the cases.

    Raises:
        UsageError: the file or an array does not fit; says which and what is wanted.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except _UNREADABLE as error:
        raise UsageError(
            "the inputs cannot be read", where=str(path), why=str(error), hint="give an .npz file"
        ) from None
    names = [info.name for info in artefact.inputs]
    if set(arrays) != set(names):
        if len(arrays) != len(names):
            raise UsageError(
                f"the file holds {len(arrays)} arrays for {len(names)} inputs",
                where=str(path),
                hint=f"the inputs are {', '.join(names)}",
            )
        arrays = dict(zip(names, arrays.values(), strict=True))
    stacks = []
    for info in artefact.inputs:
        array = arrays[info.name]
        if array.dtype == info.dtype and array.shape == info.shape:
            stacks.append(array[np.newaxis])
        elif array.dtype == info.dtype and array.shape[1:] == info.shape and len(array):
            stacks.append(array)
        else:
            raise UsageError(
                f"input {info.name!r} is given as {array.dtype} of shape {array.shape}",
                where=str(path),
                why=f"the model takes {info.dtype} of shape {info.shape}",
                hint="convert it, or stack several inputs along a new first axis",
            )
    if len({len(stack) for stack in stacks}) > 1:
        raise UsageError("the arrays hold different numbers of inputs", where=str(path))
    return [list(case) for case in zip(*stacks, strict=True)]


def write_outputs(path: str | os.PathLike[str], outputs: Mapping[str, Array]) -> None:
    """Write arrays by name, which ``numpy.savez`` cannot if one is named as a parameter of it.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        with zipfile.ZipFile(path, "w") as archive:
            for name, array in outputs.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
    except OSError as error:
        raise UsageError(
            "the outputs cannot be written", where=str(path), why=error.strerror or str(error)
        ) from None
