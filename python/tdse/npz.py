"""A model's inputs and outputs in ``.npz``, ``.npy``, pictures and raw files."""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tdse.errors import UsageError
from tdse.files import written
from tdse.images import SUFFIXES, read_image
from tdse.runtime.model import Array, Model, TensorInfo

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


def read_input_files(
    artefact: Model, given: Sequence[str], pixels: tuple[float, float] | None = None
) -> list[Array]:
    """One case, each input in a file of its own.

    Args:
        artefact: the model.
        given: ``NAME=FILE`` texts, one for each input; a ``.npy`` of the input's type and shape, a
            picture, or any other file with its bytes, outermost dimension first.
        pixels: as of ``read_image``.

    Raises:
        UsageError: an input is missing, unknown or given twice, or a file does not fit.
    """
    infos = {info.name: info for info in artefact.inputs}
    names = f"the inputs are {', '.join(infos)}"
    arrays: dict[str, Array] = {}
    for text in given:
        # Names of tensors may hold an equals sign.
        fitting = [name for name in infos if text.startswith(f"{name}=")]
        if not fitting:
            raise UsageError(f"no input is named in {text!r}", hint=f"give NAME=FILE; {names}")
        name = max(fitting, key=len)
        if name in arrays:
            raise UsageError(f"input {name!r} is given twice")
        arrays[name] = _read_input(infos[name], text[len(name) + 1 :], pixels)
    missing = [name for name in infos if name not in arrays]
    if missing:
        raise UsageError(f"input {missing[0]!r} is missing", hint=f"add --input {missing[0]}=FILE")
    return [arrays[name] for name in infos]


def _read_input(info: TensorInfo, path: str, pixels: tuple[float, float] | None) -> Array:
    if path.lower().endswith(SUFFIXES):
        return read_image(info, path, pixels)
    try:
        if not path.endswith(".npy"):
            data = Path(path).read_bytes()
            wanted = info.dtype.itemsize * math.prod(info.shape)
            if len(data) != wanted:
                raise UsageError(
                    f"the file has {len(data)} bytes",
                    where=path,
                    why=f"input {info.name!r} is {info.dtype} of shape {info.shape}, {wanted}",
                    hint="give these bytes, or a .npy file",
                )
            return np.frombuffer(data, info.dtype).reshape(info.shape)
        array = np.load(path, allow_pickle=False)
    except _UNREADABLE as error:
        raise UsageError("the input cannot be read", where=path, why=str(error)) from None
    if array.dtype != info.dtype or array.shape != info.shape:
        raise UsageError(
            f"input {info.name!r} is given as {array.dtype} of shape {array.shape}",
            where=path,
            why=f"the model takes {info.dtype} of shape {info.shape}",
            hint="convert it",
        )
    return np.asarray(array)


def write_outputs(path: str | os.PathLike[str], outputs: Mapping[str, Array]) -> None:
    """Write arrays by name, which ``numpy.savez`` cannot if one is named as a parameter of it.

    Raises:
        UsageError: the file cannot be written.
    """
    with written(path, "the outputs"), zipfile.ZipFile(path, "w") as archive:
        for name, array in outputs.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
