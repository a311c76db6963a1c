"""LiteRT's own interpreter: the reference for results, and what users run today."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tdse.quiet import quiet_stderr

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

Array = npt.NDArray[Any]


def make_interpreter(
    data: bytes, *, threads: int = 1, reference_kernels: bool = False
) -> Interpreter:
    """An interpreter with its tensors allocated.

    Args:
        data: a ``.tflite`` model.
        threads: threads it may use.
        reference_kernels: use the plain kernels that define the operators, without XNNPACK.

    Raises:
        RuntimeError, ValueError: LiteRT cannot run the model; the text is LiteRT's.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_REF if reference_kernels else OpResolverType.AUTO
    # LiteRT logs to standard error what it also raises, and that it uses XNNPACK.
    with quiet_stderr():
        interpreter = Interpreter(
            model_content=data, num_threads=threads, experimental_op_resolver_type=resolver
        )
        interpreter.allocate_tensors()
    return interpreter


def invoke(interpreter: Interpreter, inputs: Sequence[Array]) -> list[Array]:
    """Run once, inputs and outputs in the model's order."""
    for detail, array in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def run_litert(
    data: bytes, inputs: Sequence[Array], *, reference_kernels: bool = False
) -> list[Array]:
    """The outputs of a model on ``inputs``, one thread."""
    interpreter = make_interpreter(data, reference_kernels=reference_kernels)
    return [np.array(y) for y in invoke(interpreter, inputs)]
