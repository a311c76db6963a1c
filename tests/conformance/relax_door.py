"""The door into Relax, as a script uses it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import relax

import tdse.relax

Array = np.ndarray[Any, Any]
ModelPath = Callable[[str], Path]
# A preset that this door does not compile for on any machine that runs the tests.
FOREIGN = "zynq"
# What a process says first that runs what was exported.
LOAD = """
import tvm
def run(file, inputs):
    main = tvm.relax.VirtualMachine(tvm.runtime.load_module(str(file)), tvm.cpu())["main"]
    result = main(*[tvm.runtime.tensor(x) for x in inputs.values()])
    return [y.numpy() for y in ([result] if hasattr(result, "numpy") else result)]
"""


def imported(path: Path) -> Any:
    """A module of a ``.tflite``."""
    return tdse.relax.from_tflite(path)


def partition_pass(path: Path, **options: Any) -> Any:
    """The pass for a module of ``path``."""
    return tdse.relax.Partition(**options)


def build(module: Any) -> Any:
    """What can be exported."""
    return tdse.relax.build(module)


def run(library: Any, names: Sequence[str], inputs: Sequence[Array]) -> list[Array]:
    """The outputs of one run."""
    main = relax.VirtualMachine(library, tvm.cpu())["main"]
    result = main(*[tvm.runtime.tensor(x) for x in inputs])
    return [y.numpy() for y in ([result] if hasattr(result, "numpy") else result)]


def with_marks(module: Any) -> Any:
    """The module with an attribute, one of ``main``, and a function that is none of tdse's."""
    x = relax.Var("x", relax.TensorType((1,), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("other", [x]):
        builder.emit_func_output(builder.emit(relax.op.nn.relu(x)))
    marked = module.with_attr("mine", 2)
    marked.update_func(marked.get_global_var("main"), marked["main"].with_attr("mine", 1))
    marked["other"] = builder.get()["other"]
    return marked


def parameters(module: Any) -> list[str]:
    """Names of the parameters of ``main``."""
    return [str(parameter.name) for parameter in module["main"].params]


def is_equal(one: Any, other: Any) -> bool:
    """Whether two modules are the same but for names of variables."""
    return bool(tvm_ffi.structural_equal(one, other, map_free_vars=True))


def other_pass() -> Any:
    """One of TVM's own, that may stand behind tdse's."""
    return relax.transform.RemoveUnusedOutputs()


def unplaceable(model_path: ModelPath, directory: Path) -> tuple[Path, dict[str, Any], str]:
    """A model, options under which it cannot be placed, and the reason that is given."""
    options = {"targets": ["llvm"], "budget_s": 1}
    return model_path("variable_tensor"), options, "llvm: it keeps a state between runs"
