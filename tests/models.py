"""Small models for the tests, each built in milliseconds: plain networks and awkward cases.

``MODELS`` names them all; ``model_path`` in ``conftest.py`` writes one to a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from modelkit import NetworkBuilder, Operator, Signature, Subgraph, Tensor, Value, write_model
from modelkit.kernels import Array

# What the custom operator of `custom_op` is called and carries.
CUSTOM_NAME = "ExampleFilter"
CUSTOM_OPTIONS = b"\x00\x01strength=3\x00"
# A builtin operator that no schema has yet.
FUTURE_CODE = 9999


def tiny_conv_int8() -> bytes:
    """An int8 classifier of 13 operators: convolutions, HARD_SWISH, ADD, pools, softmax."""
    network = NetworkBuilder(seed=1)
    return network.int8({"scores": _tiny_conv(network)}, "tiny_conv_int8")


def tiny_conv_float() -> bytes:
    """The float32 twin of ``tiny_conv_int8``."""
    network = NetworkBuilder(seed=1)
    return network.float32({"scores": _tiny_conv(network)}, "tiny_conv_float")


def tiny_float() -> bytes:
    """Float32 convolution, RELU, CONCATENATION and RESHAPE."""
    network = NetworkBuilder(seed=2)
    x = network.input("image", _samples((8, 8, 4)))
    a = network.conv2d(x, 6, 3, name="conv_a")
    b = network.conv2d(x, 2, 1, name="conv_b")
    joined = network.concat([network.relu(a, name="relu_a"), network.relu(b, name="relu_b")])
    return network.float32({"flat": network.reshape(joined, (1, 8 * 8 * 8))}, "tiny_float")


def branches() -> bytes:
    """An int8 diamond: one producer, two independent branches of three operators, one ADD."""
    network = NetworkBuilder(seed=3)
    x = network.input("image", _samples((16, 16, 8)))
    root = network.conv2d(x, 8, 3, activation="relu", name="root")
    arms: list[Value] = []
    for arm in ("left", "right"):
        y = network.depthwise_conv2d(root, 3, name=f"{arm}/depthwise")
        y = network.hard_swish(y, name=f"{arm}/hard_swish")
        arms.append(network.conv2d(y, 8, name=f"{arm}/project"))
    return network.int8({"sum": network.add(*arms, name="join")}, "branches")


def two_inputs_two_outputs() -> bytes:
    """Float32 model of two inputs and two outputs.

    Its signature names the inputs ``beta`` and ``alpha`` and the outputs ``difference`` (beta -
    alpha) and ``product``, in this order; tensor indices and the operators have another one, and
    the tensors' own names are not the signature's.
    """
    tensors = [
        Tensor("alpha_tensor", (1, 4)),
        Tensor("beta_tensor", (1, 4)),
        Tensor("difference_tensor", (1, 4)),
        Tensor("product_tensor", (1, 4)),
    ]
    operators = [
        Operator("MUL", (0, 1), (3,), schema.MulOptionsT()),
        Operator("SUB", (1, 0), (2,), schema.SubOptionsT()),
    ]
    main = Subgraph(tensors, operators, inputs=(1, 0), outputs=(2, 3))
    names = Signature(("beta", "alpha"), ("difference", "product"))
    return write_model([main], signature=names)


def hostile_names() -> bytes:
    """``two_inputs_two_outputs`` with names that would steer a terminal, or a printer of tables."""
    red, line, markup, right_to_left = "\x1b[31m", "\ntdse: all is well", "[/bold]", "\u202egnp"
    tensors = [Tensor(f"a{red}{i}", (1, 4)) for i in range(4)]
    operators = [
        Operator("MUL", (0, 1), (3,), schema.MulOptionsT()),
        Operator("SUB", (1, 0), (2,), schema.SubOptionsT()),
    ]
    main = Subgraph(tensors, operators, inputs=(1, 0), outputs=(2, 3))
    inputs, outputs = (f"in{red}{line}", f"in{markup}"), ("file", f"out{right_to_left}{red}")
    return write_model([main], signature=Signature(inputs, outputs))


def shared_output() -> bytes:
    """Float32 model whose first output is also read by the operator that makes the second."""
    tensors = [Tensor(name, (1, 4)) for name in ("x", "first", "second")]
    operators = [Operator("ABS", (0,), (1,), schema.AbsOptionsT()), Operator("EXP", (1,), (2,))]
    return write_model([Subgraph(tensors, operators, (0,), (1, 2))])


def resource_variable() -> bytes:
    """Float32 accumulator in a resource variable, set to 10 by a CALL_ONCE subgraph.

    Each run adds the input to the variable and gives the sum.
    """
    once = schema.CallOnceOptionsT()
    once.initSubgraphIndex = 1
    main = Subgraph(
        tensors=[
            Tensor("x", (1, 2)),
            Tensor("handle", (), "resource"),
            Tensor("old", (1, 2)),
            Tensor("new", (1, 2)),
        ],
        operators=[
            Operator("CALL_ONCE", (), (), once),
            Operator("VAR_HANDLE", (), (1,), _variable()),
            Operator("READ_VARIABLE", (1,), (2,), schema.ReadVariableOptionsT()),
            Operator("ADD", (0, 2), (3,), schema.AddOptionsT()),
            Operator("ASSIGN_VARIABLE", (1, 3), (), schema.AssignVariableOptionsT()),
        ],
        inputs=(0,),
        outputs=(3,),
    )
    initial = np.full((1, 2), 10.0, np.float32)
    setup = Subgraph(
        tensors=[Tensor("handle", (), "resource"), Tensor("initial", (1, 2), data=initial)],
        operators=[
            Operator("VAR_HANDLE", (), (0,), _variable()),
            Operator("ASSIGN_VARIABLE", (0, 1), (), schema.AssignVariableOptionsT()),
        ],
        inputs=(),
        outputs=(),
        name="setup",
    )
    return write_model([main, setup], signature=Signature(("x",), ("sum",)))


def conditional() -> bytes:
    """Float32 IF: ``x + y`` where ``choose`` is true, ``x * y`` where it is not."""
    options = schema.IfOptionsT()
    options.thenSubgraphIndex, options.elseSubgraphIndex = 1, 2
    operands = [Tensor("x", (1, 2)), Tensor("y", (1, 2)), Tensor("result", (1, 2))]
    main = Subgraph(
        tensors=[Tensor("choose", (1,), "bool"), *operands],
        operators=[Operator("IF", (0, 1, 2), (3,), options)],
        inputs=(0, 1, 2),
        outputs=(3,),
    )
    then = Subgraph(
        operands, [Operator("ADD", (0, 1), (2,), schema.AddOptionsT())], (0, 1), (2,), "then"
    )
    otherwise = Subgraph(
        operands, [Operator("MUL", (0, 1), (2,), schema.MulOptionsT())], (0, 1), (2,), "otherwise"
    )
    return write_model([main, then, otherwise])


def variable_tensor() -> bytes:
    """Float32 SVDF between two RELUs: its state is an ``is_variable`` tensor, not an input."""
    random = np.random.default_rng(4)
    options = schema.SVDFOptionsT()
    options.rank = 1
    tensors = [
        Tensor("x", (1, 3)),
        Tensor("positive", (1, 3)),
        Tensor("features", (4, 3), data=random.normal(size=(4, 3)).astype(np.float32)),
        Tensor("times", (4, 5), data=random.normal(size=(4, 5)).astype(np.float32)),
        Tensor("state", (1, 20), is_variable=True),
        Tensor("filtered", (1, 4)),
        Tensor("y", (1, 4)),
    ]
    operators = [
        Operator("RELU", (0,), (1,)),
        Operator("SVDF", (1, 2, 3, -1, 4), (5,), options),
        Operator("RELU", (5,), (6,)),
    ]
    return write_model([Subgraph(tensors, operators, (0,), (6,))])


def dynamic_batch() -> bytes:
    """Float32 FULLY_CONNECTED and RELU whose batch is 1 in the file and may be resized."""
    weights = np.random.default_rng(5).normal(size=(3, 4)).astype(np.float32)
    tensors = [
        Tensor("x", (1, 4), shape_signature=(-1, 4)),
        Tensor("weights", (3, 4), data=weights),
        Tensor("product", (1, 3), shape_signature=(-1, 3)),
        Tensor("y", (1, 3), shape_signature=(-1, 3)),
    ]
    operators = [
        Operator("FULLY_CONNECTED", (0, 1, -1), (2,), schema.FullyConnectedOptionsT()),
        Operator("RELU", (2,), (3,)),
    ]
    return write_model([Subgraph(tensors, operators, (0,), (3,))])


def dynamic_output() -> bytes:
    """GREATER and WHERE: the number of rows of the output depends on the input's values."""
    tensors = [
        Tensor("x", (6,)),
        Tensor("zero", (), data=np.array(0.0, np.float32)),
        Tensor("positive", (6,), "bool"),
        Tensor("places", (1, 1), "int64", shape_signature=(-1, 1)),
    ]
    operators = [
        Operator("GREATER", (0, 1), (2,), schema.GreaterOptionsT()),
        Operator("WHERE", (2,), (3,), schema.WhereOptionsT()),
    ]
    return write_model([Subgraph(tensors, operators, (0,), (3,))])


def custom_op() -> bytes:
    """Float32 RELU, a custom operator that LiteRT does not know, RELU."""
    custom = Operator("CUSTOM", (1,), (2,), custom_name=CUSTOM_NAME, custom_options=CUSTOM_OPTIONS)
    return _between_relus(custom)


def future_op() -> bytes:
    """Float32 RELU, a builtin operator with a number beyond the schema, RELU."""
    return _between_relus(Operator(FUTURE_CODE, (1,), (2,)))


def float16_weights() -> bytes:
    """Float32 FULLY_CONNECTED whose float16 weights and bias pass through DEQUANTIZE."""
    random = np.random.default_rng(6)
    tensors = [
        Tensor("x", (1, 8)),
        Tensor("weights16", (4, 8), "float16", random.normal(size=(4, 8)).astype(np.float16)),
        Tensor("bias16", (4,), "float16", random.normal(size=4).astype(np.float16)),
        Tensor("weights", (4, 8)),
        Tensor("bias", (4,)),
        Tensor("product", (1, 4)),
        Tensor("y", (1, 4)),
    ]
    operators = [
        Operator("DEQUANTIZE", (1,), (3,), schema.DequantizeOptionsT(), version=3),
        Operator("DEQUANTIZE", (2,), (4,), schema.DequantizeOptionsT(), version=3),
        Operator("FULLY_CONNECTED", (0, 3, 4), (5,), schema.FullyConnectedOptionsT()),
        Operator("RELU", (5,), (6,)),
    ]
    return write_model([Subgraph(tensors, operators, (0,), (6,))])


def sparse_weights() -> bytes:
    """Float32 FULLY_CONNECTED whose weights are stored row by row without zeros, for DENSIFY."""
    stored = np.array([1.5, -2.0, 0.5, 3.0], np.float32)
    tensors = [
        Tensor("x", (1, 4)),
        Tensor("stored", (4,), data=stored),
        Tensor("weights", (3, 4)),
        Tensor("y", (1, 3)),
    ]
    operators = [
        Operator("DENSIFY", (1,), (2,), schema.DensifyOptionsT()),
        Operator("FULLY_CONNECTED", (0, 2, -1), (3,), schema.FullyConnectedOptionsT()),
    ]
    data = write_model([Subgraph(tensors, operators, (0,), (3,))])
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
    tensor = model.subgraphs[0].tensors[1]
    tensor.shape = np.array([3, 4], np.int32)
    rows, columns = schema.DimensionMetadataT(), schema.DimensionMetadataT()
    rows.format, rows.denseSize = schema.DimensionType.DENSE, 3
    columns.format = schema.DimensionType.SPARSE_CSR
    columns.arraySegmentsType = schema.SparseIndexVector.Int32Vector
    columns.arraySegments = schema.Int32VectorT([0, 1, 1, 4])
    columns.arrayIndicesType = schema.SparseIndexVector.Int32Vector
    columns.arrayIndices = schema.Int32VectorT([2, 0, 1, 3])
    tensor.sparsity = schema.SparsityParametersT([0, 1], None, [rows, columns])
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


# Models that LiteRT runs.
RUNNABLE: Mapping[str, Callable[[], bytes]] = {
    build.__name__: build
    for build in (
        tiny_conv_int8,
        tiny_conv_float,
        tiny_float,
        branches,
        two_inputs_two_outputs,
        hostile_names,
        shared_output,
        resource_variable,
        conditional,
        variable_tensor,
        dynamic_batch,
        dynamic_output,
        float16_weights,
        sparse_weights,
    )
}
MODELS: Mapping[str, Callable[[], bytes]] = {
    **RUNNABLE,
    "custom_op": custom_op,
    "future_op": future_op,
}


def _tiny_conv(network: NetworkBuilder) -> Value:
    x = network.input("image", _samples((16, 16, 3)))
    x = network.conv2d(x, 8, 3, stride=2, name="stem")
    x = network.hard_swish(x, name="stem_swish")
    y = network.conv2d(x, 16, activation="relu6", name="expand")
    y = network.depthwise_conv2d(y, 5, name="depthwise")
    y = network.hard_swish(y, name="depthwise_swish")
    y = network.conv2d(y, 8, name="project")
    x = network.add(x, y, name="residual")
    x = network.max_pool2d(x, name="max_pool")
    x = network.average_pool2d(x, name="average_pool")
    x = network.mul(x, network.constant(0.5, "half"), name="halve")
    x = network.reshape(x, (1, 2 * 2 * 8), name="flatten")
    x = network.fully_connected(x, 10, gain=2.0, name="logits")
    return network.softmax(x, name="scores")


def _samples(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(shape).uniform(-1.0, 1.0, size=(16, *shape))


def _variable() -> schema.VarHandleOptionsT:
    options = schema.VarHandleOptionsT()
    options.container = ""
    options.sharedName = "accumulator"
    return options


def _between_relus(middle: Operator) -> bytes:
    tensors = [Tensor(name, (1, 4)) for name in ("x", "before", "after", "y")]
    operators = [Operator("RELU", (0,), (1,)), middle, Operator("RELU", (2,), (3,))]
    return write_model([Subgraph(tensors, operators, (0,), (3,))])
