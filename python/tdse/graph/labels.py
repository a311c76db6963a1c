"""Names of classes that a model file brings: text files in the zip archive at its end."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping

from tdse.graph.model import Graph

# The longest list in use, of ImageNet's 21,843 classes, takes half of it.
_MOST_BYTES = 1 << 20


def read_labels(graph: Graph) -> Mapping[str, tuple[str, ...]]:
    """Labels of the outputs that have one element a class, by the output's name.

    Models with metadata have them in a text file, one a line, in a zip archive that is appended to
    the flatbuffer (TensorFlow's documentation of TFLite metadata, "associated files"). The file
    with as many lines as an output has elements is taken for that output's; where several have,
    none is. An archive that cannot be read holds no labels.
    """
    lists = _lists(graph.data)
    found = {}
    for name, tensor in zip(graph.output_names, graph.outputs, strict=True):
        shape = graph.tensors[tensor].shape
        classes = shape[-1] if shape else 0
        fitting = [labels for labels in lists if len(labels) == classes > 1]
        if len(fitting) == 1 and set(shape[:-1]) <= {1}:
            found[name] = fitting[0]
    return found


def _lists(data: bytes) -> list[tuple[str, ...]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            texts = [
                archive.read(info)
                for info in archive.infolist()
                if info.filename.endswith(".txt") and info.file_size <= _MOST_BYTES
            ]
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError):
        return []
    return [tuple(text.decode("utf-8", "replace").rstrip().splitlines()) for text in texts]
