"""Whether a Relay module is what TVM imports from a ``.tflite``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tvm
from tvm import relay

from tdse.errors import TdseError, UsageError
from tdse.graph.model import Graph
from tdse.targets.llvm_relay import import_model


def demand_origin(module: Any, params: Mapping[str, Any], graph: Graph, where: str) -> None:
    """Refuse a module that does not compute what the graph does.

    The file is imported again; both must be equal, weights included.

    Raises:
        TdseError: there is no ``main``.
        TargetError: Relay cannot import the file.
        UsageError: they differ.
    """
    if all(variable.name_hint != "main" for variable in module.get_global_vars()):
        raise TdseError("the IRModule has no function main", hint="name the model's function main")
    again, weights = import_model(graph.data)
    if not tvm.ir.structural_equal(
        _bare(again, weights), _bare(module, params), map_free_vars=True
    ):
        raise UsageError(
            "the IRModule is not what TVM imports from the file",
            where=where,
            why="their functions main differ",
            hint="give the file that it was imported from, the params that came with it, and the "
            "module as it was before any other pass",
        )


def _bare(module: Any, params: Mapping[str, Any]) -> Any:
    """``main`` with its weights as constants, and without attributes."""
    main = relay.build_module.bind_params_by_name(module["main"], dict(params))
    return relay.Function(main.params, main.body)
