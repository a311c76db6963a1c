"""Whether a Relay module is what TVM imports from a ``.tflite``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tvm
from tvm import relay

from tdse.errors import UsageError
from tdse.graph.model import Graph
from tdse.partitioning import demand_main, of_another_file
from tdse.targets.llvm_relay import import_model


def demand_origin(module: Any, params: Mapping[str, Any], graph: Graph, where: str) -> None:
    """Refuse a module that does not compute what the graph does.

    The file is imported again; both must be equal, weights included.

    Raises:
        TdseError: there is no ``main``.
        TargetError: Relay cannot import the file.
        UsageError: they differ, or ``main`` is of another intermediate representation.
    """
    demand_main(module)
    if not isinstance(module["main"], relay.Function):
        raise UsageError(
            "the IRModule is not of Relay",
            why=f"its function main is a {type(module['main']).__module__}.Function",
            hint="import the file with relay.frontend.from_tflite",
        )
    again, weights = import_model(graph.data)
    if not tvm.ir.structural_equal(
        _bare(again, weights), _bare(module, params), map_free_vars=True
    ):
        raise of_another_file(
            where,
            "give the file that it was imported from, the params that came with it, and the "
            "module as it was before any other pass and before relay.build",
        )


def _bare(module: Any, params: Mapping[str, Any]) -> Any:
    """``main`` with its weights as constants, and without attributes."""
    main = relay.build_module.bind_params_by_name(module["main"], dict(params))
    return relay.Function(main.params, main.body)
