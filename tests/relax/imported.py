"""Small networks as TVM's importers of ONNX and PyTorch give them, and what they compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm

Array = np.ndarray[Any, Any]
# The module, inputs for it, and what the network's own framework makes of them.
Imported = tuple[tvm.IRModule, list[Array], list[Array]]


def _weights(*shape: int) -> Array:
    scale = np.sqrt(np.prod(shape[1:]))
    return (np.random.default_rng(sum(shape)).standard_normal(shape) / scale).astype(np.float32)


def _onnx(
    nodes: list[Any], inputs: dict[str, Any], outputs: list[str], **weights: Array
) -> Imported:
    onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
    from onnx.reference import ReferenceEvaluator
    from tvm.relax.frontend.onnx import from_onnx

    helper = onnx.helper
    made = [helper.make_node(kind, reads, makes, **given) for kind, reads, makes, given in nodes]
    graph = helper.make_graph(
        made,
        "network",
        [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in outputs],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model)
    given = {name: _weights(*shape) for name, shape in inputs.items()}
    return from_onnx(model), list(given.values()), ReferenceEvaluator(model).run(None, given)


def onnx_classifier() -> Imported:
    """Convolution, mean and a matrix product."""
    return _onnx(
        [
            ("Conv", ["x", "w", "b"], ["c"], {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
            ("Relu", ["c"], ["r"], {}),
            ("GlobalAveragePool", ["r"], ["p"], {}),
            ("Flatten", ["p"], ["f"], {}),
            ("Gemm", ["f", "d", "e"], ["g"], {}),
            ("Softmax", ["g"], ["y"], {}),
        ],
        {"x": [1, 3, 16, 16]},
        ["y"],
        w=_weights(8, 3, 3, 3),
        b=_weights(8),
        d=_weights(8, 5),
        e=_weights(5),
    )


def onnx_residual() -> Imported:
    """A depthwise convolution beside which its input passes, and a pool."""
    return _onnx(
        [
            ("Conv", ["x", "w"], ["c"], {"pads": [1, 1, 1, 1], "group": 4}),
            ("Add", ["c", "x"], ["a"], {}),
            ("MaxPool", ["a"], ["p"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
            ("Sigmoid", ["p"], ["y"], {}),
        ],
        {"x": [1, 4, 8, 8]},
        ["y"],
        w=_weights(4, 1, 3, 3),
    )


def onnx_two_outputs() -> Imported:
    """Two inputs joined, split, and returned in two parts."""
    return _onnx(
        [
            ("Concat", ["x", "z"], ["j"], {"axis": 1}),
            ("Split", ["j"], ["s", "t"], {"axis": 1}),
            ("Tanh", ["s"], ["u"], {}),
            ("Mul", ["u", "t"], ["v"], {}),
        ],
        {"x": [2, 6], "z": [2, 2]},
        ["v", "t"],
    )


def _torch(make: Callable[[Any], Any], *shapes: tuple[int, ...]) -> Imported:
    torch = pytest.importorskip("torch", reason="the package torch is not installed")
    from tvm.relax.frontend.torch import from_exported_program

    torch.manual_seed(0)
    network = make(torch).eval()
    inputs = [_weights(*shape) for shape in shapes]
    given = tuple(map(torch.from_numpy, inputs))
    with torch.no_grad():
        results = network(*given)
        module = from_exported_program(torch.export.export(network, given))
    results = results if isinstance(results, tuple) else (results,)
    return module, inputs, [result.numpy() for result in results]


def torch_normalised() -> Imported:
    """Convolution, batch normalisation, activation, and a linear layer."""

    def make(torch: Any) -> Any:
        nn = torch.nn
        normal = nn.BatchNorm2d(8)
        normal.running_mean.uniform_(-1, 1)
        normal.running_var.uniform_(0.5, 2)
        layers = nn.Conv2d(3, 8, 3, padding=1), normal, nn.ReLU(), nn.Flatten(), nn.Linear(512, 4)
        return nn.Sequential(*layers)

    return _torch(make, (1, 3, 8, 8))


def torch_attention() -> Imported:
    """Matrix products of activations, softmax and layer normalisation."""

    def make(torch: Any) -> Any:
        class Attention(torch.nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.query, self.key = torch.nn.Linear(16, 16), torch.nn.Linear(16, 16)
                self.norm = torch.nn.LayerNorm(16)

            def forward(self, x: Any) -> Any:
                scores = self.query(x) @ self.key(x).transpose(1, 2) / 4.0
                return self.norm(x + torch.softmax(scores, -1) @ x)

        return Attention()

    return _torch(make, (1, 6, 16))


def torch_two_outputs() -> Imported:
    """Two heads on one trunk."""

    def make(torch: Any) -> Any:
        class Heads(torch.nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.trunk = torch.nn.Linear(8, 12)
                self.left, self.right = torch.nn.Linear(12, 3), torch.nn.Linear(12, 2)

            def forward(self, x: Any, z: Any) -> Any:
                trunk = torch.nn.functional.gelu(self.trunk(x)) + z
                return self.left(trunk), torch.tanh(self.right(trunk))

        return Heads()

    return _torch(make, (2, 8), (2, 12))


NETWORKS = {
    make.__name__: make
    for make in (
        onnx_classifier,
        onnx_residual,
        onnx_two_outputs,
        torch_normalised,
        torch_attention,
        torch_two_outputs,
    )
}
