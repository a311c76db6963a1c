"""Stands in for edgetpu_compiler: ``stub_compiler.py BEHAVIOUR -s -m RUNTIME -o DIR FILES``.

It makes one custom operator of a model, with the model's inputs and outputs, and a log as the real
one writes it. What it does wrong is the behaviour.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

LOG = """Edge TPU Compiler version 16.0.384591198
Input: {name}
Output: {name}

Operator                       Count      Status

RESHAPE                        1          Mapped to Edge TPU
"""
PARTIAL = LOG + (
    "CONV_2D                        2          More than one subgraph is not supported\n"
    "ARG_MAX                        1          Operation is working on an unsupported data type\n"
)


def main() -> int:
    behaviour, *arguments = sys.argv[1:]
    folder = Path(arguments[arguments.index("-o") + 1])
    options = f"for runtime {arguments[arguments.index('-m') + 1]}".encode()
    files = [Path(argument) for argument in arguments if argument.endswith(".tflite")]
    if behaviour == "hangs":
        time.sleep(60)
    if behaviour == "fails":
        print("Edge TPU Compiler version 16.0.384591198\nInvalid model: region0.tflite")
        print("Compilation failed: Model failed in Tflite interpreter.", file=sys.stderr)
        return 1
    if behaviour == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    for path in files:
        print(LOG.format(name=path.name))
        made = folder / f"{path.stem}_edgetpu.tflite"
        if behaviour == "whole":
            made.write_bytes(compiled(path.read_bytes(), options))
        elif behaviour == "partial":
            made.write_bytes(compiled(path.read_bytes(), options, keep=1))
            made.with_suffix(".log").write_text(PARTIAL.format(name=path.name))
        elif behaviour == "other borders":
            made.write_bytes(compiled(path.read_bytes(), options, shape=(1, 7)))
        elif behaviour == "garbage":
            made.write_bytes(b"\x00garbage" * 100)
    return 0


def compiled(
    data: bytes, options: bytes, keep: int = 0, shape: tuple[int, ...] | None = None
) -> bytes:
    """The model as one custom operator, and its last ``keep`` operators behind that."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
    graph = model.subgraphs[0]
    model.operatorCodes.append(
        schema.OperatorCodeT(
            builtinCode=schema.BuiltinOperator.CUSTOM,
            deprecatedBuiltinCode=schema.BuiltinOperator.CUSTOM,
            customCode="edgetpu-custom-op",
        )
    )
    kept = graph.operators[len(graph.operators) - keep :]
    made = graph.outputs if not kept else [kept[0].inputs[0]]
    custom = schema.OperatorT(
        opcodeIndex=len(model.operatorCodes) - 1,
        inputs=list(graph.inputs),
        outputs=list(made),
        customOptions=list(options),
        builtinOptionsType=0,
    )
    graph.operators = [custom, *kept]
    if shape is not None:
        graph.tensors[graph.outputs[0]].shape = list(shape)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


if __name__ == "__main__":
    sys.exit(main())
