"""The graph of a model: reading, slicing, regions. Knows nothing of any IR or runtime."""

from .kinds import kind_of
from .model import AttributeValue, Graph, Op, Quantization, Tensor
from .reader import read_tflite
from .regions import Region, check_regions, form_regions
from .signature import signature
from .slice import Slice, slice_model, whole_model
from .unpack import constant_bytes

__all__ = [
    "AttributeValue",
    "Graph",
    "Op",
    "Quantization",
    "Region",
    "Slice",
    "Tensor",
    "check_regions",
    "constant_bytes",
    "form_regions",
    "kind_of",
    "read_tflite",
    "signature",
    "slice_model",
    "whole_model",
]
