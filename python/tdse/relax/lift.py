"""Bring a Relax module of any importer into tdse's shape: one private function per operator."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import tflite
import tvm
import tvm_ffi
from tvm import relax
from tvm.relax.frontend.tflite import from_tflite as import_tflite

from tdse.graph.reader import read_tflite
from tdse.lifted.bodies import with_callees
from tdse.lifted.graph import kind_of
from tdse.partitioning import attribute, demand_file, of_another_file

from . import attributes
from .calls import Step, function_of, given_attributes
from .from_tflite import from_tflite
from .groups import Group, canonical_main, group_bindings, returned_by
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
            x: R.Tensor((1, 4), dtype="float32"), w: R.Tensor((4, 4), dtype="float32")
        ) -> R.Tensor((1, 4), dtype="float32"):
            R.func_attr({
                "tdse.kind": "fully_connected", "tdse.label": "0:fully_connected",
                "tdse.op": 0, "tdse.origin": "relax:a+b"
            })
            with R.dataflow():
                a: R.Tensor((1, 4), dtype="float32") = R.matmul(x, w, out_dtype=None)
                b: R.Tensor((1, 4), dtype="float32") = R.nn.relu(a)
                R.output(b)
            return b

        @R.function(private=True)
        def op1_softmax(
            b: R.Tensor((1, 4), dtype="float32")
        ) -> R.Tensor((1, 4), dtype="float32"):
            R.func_attr({
                "tdse.kind": "softmax", "tdse.label": "1:softmax",
                "tdse.op": 1, "tdse.origin": "relax:y"
            })
            with R.dataflow():
                y: R.Tensor((1, 4), dtype="float32") = R.nn.softmax(b, axis=-1)
                R.output(y)
            return y

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
        UsageError: there is no such file, or the module is not what TVM makes of it.
        TdseError: ``main`` is missing, or is not in normal form.
        ModelError: a shape is not known, or there is control flow or an effect.
    """
    if attribute(module, attributes.MODEL) is not None:
        return module
    if tflite_path is not None:
        return _origin(module, Path(tflite_path))
    lifted = _lifted(module)
    main = lifted["main"].without_attr("params")
    ir = str(tvm.ir.save_json(with_callees(lifted, main))).encode()
    return lifted.with_attrs(
        {
            **given_attributes(module),
            attributes.MODEL: ir,
            attributes.MODEL_NAME: name,
            attributes.MODEL_SHA256: hashlib.sha256(ir).hexdigest(),
        }
    )


def _origin(module: tvm.IRModule, path: Path) -> tvm.IRModule:
    demand_file(path)
    graph = read_tflite(path)
    again = import_tflite(tflite.Model.GetRootAsModel(graph.data, 0))
    if not tvm_ffi.structural_equal(again["main"], module["main"], map_free_vars=True):
        hint = "give the file that it was imported from, before any other pass, or none"
        raise of_another_file(path, hint)
    return from_tflite(graph)


def _lifted(module: tvm.IRModule) -> tvm.IRModule:
    canonical = canonical_main(module)
    old, rest = module["main"], module.clone()
    del rest["main"]
    builder = relax.BlockBuilder(rest)
    names = Names()
    main = function_of(
        "main",
        dict(zip(canonical.params, old.params, strict=True)),
        [_add_op(builder, i, group) for i, group in enumerate(group_bindings(canonical))],
        returned_by(canonical),
        name_of=lambda variable: names.unique(str(variable.name)),
        is_tuple=isinstance(old.ret_ty, relax.TupleType),
        given=given_attributes(old),
    )
    builder.add_func(main, "main")
    lifted = builder.get()
    relax.analysis.well_formed(lifted)
    return lifted


def _add_op(builder: relax.BlockBuilder, index: int, group: Group) -> Step[Any]:
    """Add the function of a group; it returns tensors in the order of ``op_border``."""
    function = group.function()
    kind = kind_of(function)
    given = {
        attributes.OP: index,
        attributes.KIND: kind,
        attributes.LABEL: f"{index}:{kind}",
        attributes.ORIGIN: f"relax:{group.origin}",
    }
    added = builder.add_func(function.with_attrs(given), f"op{index}_{identifier(kind)}")
    return Step(added, group.reads, group.makes)
