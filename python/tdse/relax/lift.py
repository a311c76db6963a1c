"""Bring a Relax module of any importer into tdse's shape: one private function per operator."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tflite
import tvm
import tvm_ffi
from tvm import relax
from tvm.relax.frontend.tflite import from_tflite as import_tflite

from tdse.graph.reader import read_tflite
from tdse.partitioning import attribute, of_another_file
from tdse.targets.llvm_bodies import with_callees

from . import attributes
from .calls import Step, function_of, given_attributes
from .from_tflite import from_tflite
from .groups import Binding, Main, group_bindings, read_bindings
from .ir_graph import kind_of_body
from .names import Names, identifier


def lift(
    module: tvm.IRModule, *, name: str = "model", tflite_path: str | os.PathLike[str] | None = None
) -> tvm.IRModule:
    """The module with a ``main`` that calls one private function per operator.

    An operator is one binding of ``main``, or a group of a fixed pattern (``groups``) with a name.
    What is computed from constants only becomes part of the operators that read it.

    Before::

        @R.function
        def main(
            x: R.Tensor((1, 4), dtype="float32"), w: R.Tensor((4, 4), dtype="float32")
        ) -> R.Tensor((1, 4), dtype="float32"):
            with R.dataflow():
                a: R.Tensor((1, 4), dtype="float32") = R.matmul(x, w, out_dtype=None)
                b: R.Tensor((1, 4), dtype="float32") = R.nn.relu(a)
                y: R.Tensor((1, 4), dtype="float32") = R.nn.softmax(b, axis=-1)
                R.output(y)
            return y

    After, without the attributes of the module::

        @R.function(private=True)
        def op0_fully_connected(
            a0: R.Tensor((1, 4), dtype="float32"), a1: R.Tensor((4, 4), dtype="float32")
        ) -> R.Tensor((1, 4), dtype="float32"):
            R.func_attr({
                "tdse.kind": "fully_connected", "tdse.label": "0:fully_connected",
                "tdse.op": 0, "tdse.origin": "relax:a+b"
            })
            with R.dataflow():
                lv: R.Tensor((1, 4), dtype="float32") = R.matmul(a0, a1, out_dtype=None)
                gv: R.Tensor((1, 4), dtype="float32") = R.nn.relu(lv)
                R.output(gv)
            return gv

        @R.function(private=True)
        def op1_softmax(
            a0: R.Tensor((1, 4), dtype="float32")
        ) -> R.Tensor((1, 4), dtype="float32"):
            R.func_attr({
                "tdse.kind": "softmax", "tdse.label": "1:softmax",
                "tdse.op": 1, "tdse.origin": "relax:y"
            })
            with R.dataflow():
                gv: R.Tensor((1, 4), dtype="float32") = R.nn.softmax(a0, axis=-1)
                R.output(gv)
            return gv

        @R.function
        def main(
            x: R.Tensor((1, 4), dtype="float32"), w: R.Tensor((4, 4), dtype="float32")
        ) -> R.Tensor((1, 4), dtype="float32"):
            cls = Module
            with R.dataflow():
                b: R.Tensor((1, 4), dtype="float32") = cls.op0_fully_connected(x, w)
                y: R.Tensor((1, 4), dtype="float32") = cls.op1_softmax(b)
                R.output(y)
            return y

    Parameters of ``main``, attributes and other functions stay as they are. Batch normalisation is
    decomposed first, as TVM does it for inference.

    Args:
        module: in normal form, of static shapes; one that is in tdse's shape is given back.
        name: of the model, for messages.
        tflite_path: the file that TVM's own ``from_tflite`` made the module of. If importing it
            again gives the same ``main``, the module is ``tdse.relax.from_tflite`` of it, and its
            operators are legal where TFLite is wanted.

    Raises:
        UsageError: the module is not what TVM makes of the file.
        TdseError: ``main`` is missing, or is not in normal form.
        ModelError: a shape is not known, or there is control flow.
    """
    if attribute(module, attributes.MODEL) is not None:
        return module
    if tflite_path is not None:
        return _origin(module, Path(tflite_path))
    read_bindings(module)
    lifted = _lifted(relax.transform.DecomposeOpsForInference("main")(module))
    ir = _alone(lifted)
    return lifted.with_attrs(
        {
            **given_attributes(module),
            attributes.MODEL: ir,
            attributes.MODEL_NAME: name,
            attributes.MODEL_SHA256: hashlib.sha256(ir).hexdigest(),
        }
    )


def _origin(module: tvm.IRModule, path: Path) -> tvm.IRModule:
    graph = read_tflite(path)
    again = import_tflite(tflite.Model.GetRootAsModel(graph.data, 0))
    if not tvm_ffi.structural_equal(again["main"], module["main"], map_free_vars=True):
        hint = "give the file that it was imported from, before any other pass, or none"
        raise of_another_file(path, hint)
    return from_tflite(graph)


def _alone(module: tvm.IRModule) -> bytes:
    """``main`` and what it calls, in TVM's JSON."""
    main = module["main"]
    if attribute(main, "params") is not None:
        main = main.without_attr("params")
    return str(tvm.ir.save_json(with_callees(module, main))).encode()


def _lifted(module: tvm.IRModule) -> tvm.IRModule:
    old, content = module["main"], read_bindings(module)
    groups = group_bindings(content)
    rest = module.clone()
    del rest["main"]
    builder = relax.BlockBuilder(rest)
    names, used = Names(), Names()
    main = function_of(
        "main",
        {parameter: parameter for parameter in old.params},
        [_add(builder, names, i, groups, content) for i in range(len(groups))],
        content.returned,
        name_of=lambda variable: used.unique(str(variable.name)),
        is_tuple=content.is_tuple,
        given=given_attributes(old),
    )
    builder.add_func(main, "main")
    lifted = builder.get()
    relax.analysis.well_formed(lifted)
    return lifted


def _add(
    builder: relax.BlockBuilder,
    names: Names,
    index: int,
    groups: Sequence[Sequence[Binding]],
    main: Main,
) -> Step[Any]:
    """Add the function of a group; it returns tensors in the order of ``op_border``."""
    group = groups[index]
    inside = {binding.variable for binding in group}
    reads = dict.fromkeys(v for b in group for v in b.reads if v not in inside)
    wanted = {v for each in groups if each is not group for b in each for v in b.reads}
    tensors = [b.variable for b in group if not b.is_plumbing]
    makes = dict.fromkeys(v for v in main.returned if v in inside)
    makes.update(dict.fromkeys(v for v in tensors if v in wanted))
    if not makes:
        makes = dict.fromkeys(tensors[-1:])
    inner = relax.BlockBuilder()
    values: dict[Any, Any] = {v: relax.Var(f"a{i}", v.ty) for i, v in enumerate(reads)}
    with inner.function("main", list(values.values())):
        with inner.dataflow():
            for binding in group:
                for part in (*binding.constants, binding):
                    if part.variable not in values:
                        emit = inner.emit_output if part.variable in makes else inner.emit
                        values[part.variable] = emit(part.copied(values))
            results = [values[v] for v in makes]
        inner.emit_func_output(results[0] if len(results) == 1 else relax.Tuple(results))
    body = inner.get()["main"].without_attr("global_symbol")
    kind = kind_of_body(body)
    origin = "+".join(str(b.variable.name) for b in group if not b.is_plumbing)
    function = body.with_attrs(
        {
            attributes.OP: index,
            attributes.KIND: kind,
            attributes.LABEL: f"{index}:{kind}",
            attributes.ORIGIN: f"relax:{origin}",
        }
    )
    added = builder.add_func(function, names.unique(f"op{index}_{identifier(kind)}"))
    return Step(added, tuple(reads), tuple(makes))
