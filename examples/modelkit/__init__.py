"""Builds TFLite models in memory with LiteRT's own schema: no TensorFlow is needed.

``NetworkBuilder`` makes a network in float32 and in int8; ``write_model`` packs tensors and
operators of any kind into a flatbuffer.
"""

from modelkit.builder import NetworkBuilder, Value
from modelkit.writer import Operator, Signature, Subgraph, Tensor, write_model

__all__ = [
    "NetworkBuilder",
    "Operator",
    "Signature",
    "Subgraph",
    "Tensor",
    "Value",
    "write_model",
]
