"""The door into Relay, as a script uses it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tflite
import tvm
from tvm import relay
from tvm.contrib import graph_executor

import tdse.relay

Array = np.ndarray[Any, Any]
ModelPath = Callable[[str], Path]
# A preset that this door does not compile for on any machine that runs the tests.
FOREIGN = "rpi5"
# What a process says first that runs what was exported.
LOAD = """
import tvm
from tvm.contrib import graph_executor
def run(file, inputs):
    executor = graph_executor.GraphModule(tvm.runtime.load_module(str(file))["default"](tvm.cpu()))
    executor.set_input(**inputs)
    executor.run()
    return [executor.get_output(i).numpy() for i in range(executor.get_num_outputs())]
"""


def imported(path: Path) -> Any:
    """A module of a ``.tflite``."""
    return _import(path)[0]


def partition_pass(path: Path, **options: Any) -> Any:
    """The pass for a module of ``path``."""
    return tdse.relay.Partition(path, _import(path)[1], **options)


def build(module: Any) -> Any:
    """What can be exported."""
    with tvm.transform.PassContext(opt_level=3):
        return relay.build(module, target=tdse.relay.build_target(module))


def run(library: Any, names: Sequence[str], inputs: Sequence[Array]) -> list[Array]:
    """The outputs of one run."""
    executor = graph_executor.GraphModule(library["default"](tvm.cpu()))
    for name, value in zip(names, inputs, strict=True):
        executor.set_input(name, value)
    executor.run()
    return [executor.get_output(i).numpy() for i in range(executor.get_num_outputs())]


def with_marks(module: Any) -> Any:
    """The module with an attribute, one of ``main``, and a function that is none of tdse's."""
    x = relay.var("x", shape=(1,))
    marked = module.with_attr("mine", tvm.tir.IntImm("int32", 2))
    marked["main"] = marked["main"].with_attr("mine", tvm.tir.IntImm("int32", 1))
    marked["other"] = relay.Function([x], relay.nn.relu(x))
    return relay.transform.InferType()(marked)


def parameters(module: Any) -> list[str]:
    """Names of the parameters of ``main``."""
    return [str(parameter.name_hint) for parameter in module["main"].params]


def is_equal(one: Any, other: Any) -> bool:
    """Whether two modules are the same but for names of variables."""
    return bool(tvm.ir.structural_equal(one, other, map_free_vars=True))


def other_pass() -> Any:
    """One of TVM's own, that may stand behind tdse's."""
    return relay.transform.FoldConstant()


def unplaceable(model_path: ModelPath, directory: Path) -> tuple[Path, dict[str, Any], str]:
    """A model, options under which it cannot be placed, and the reason that is given."""
    board = directory / "board.toml"
    rates = "conv_macs_per_us = 1\ndepthwise_macs_per_us = 1\ndense_macs_per_us = 1\n"
    board.write_text(
        'name = "narrow"\n[[devices]]\nname = "cpu"\n[devices.emulated]\n'
        f'{rates}bytes_per_us = 1\nkinds = ["conv2d"]\n'
        '[[devices]]\nname = "tpu"\n[devices.edgetpu]\nlink = "usb3"\n'
    )
    return model_path("tiny_conv_float"), {"platform": str(board)}, "1:hard_swish runs on no device"


def _import(path: Path) -> tuple[Any, Any]:
    return relay.frontend.from_tflite(tflite.Model.GetRootAsModel(path.read_bytes(), 0))
