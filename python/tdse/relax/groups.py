"""The bindings of a Relax ``main``, and which of them form one operator."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import relax, tirx

from tdse.errors import ModelError, TdseError
from tdse.lifted.bodies import with_callees
from tdse.partitioning import demand_main
from tdse.targets.tvm_errors import IMPORT_ERRORS, reason_of

# A pattern is one of these, and then any number of the others, each the only reader of the one
# before and of nothing else but constants.
_HEADS = frozenset(
    {
        "relax.matmul",
        "relax.nn.conv1d",
        "relax.nn.conv1d_transpose",
        "relax.nn.conv2d",
        "relax.nn.conv2d_transpose",
        "relax.nn.conv3d",
        "relax.nn.conv3d_transpose",
    }
)
_FOLLOWERS = frozenset(
    {
        "relax.add",
        "relax.clip",
        "relax.divide",
        "relax.exp",
        "relax.maximum",
        "relax.minimum",
        "relax.multiply",
        "relax.negative",
        "relax.nn.gelu",
        "relax.nn.gelu_tanh",
        "relax.nn.leakyrelu",
        "relax.nn.relu",
        "relax.nn.relu6",
        "relax.nn.silu",
        "relax.sigmoid",
        "relax.subtract",
        "relax.tanh",
    }
)

# Names that are given to what has one already, tuples that are only passed on, and what is neither
# returned nor read, are left out.
_CANONICAL = tvm.transform.Sequential(
    [
        relax.transform.DecomposeOpsForInference("main"),
        relax.transform.ToNonDataflow(),
        relax.transform.CanonicalizeBindings(),
        relax.transform.DeadCodeElimination(["main"]),
    ]
)


@dataclass(frozen=True)
class Group:
    """Bindings that are one operator.

    Attributes:
        origin: names of the bindings that depend on an input.
        bindings: these, and those of constants that they need, in their order.
        makes: variables that are read elsewhere, those first that ``main`` returns.
    """

    origin: str
    bindings: tuple[relax.VarBinding, ...]
    makes: tuple[relax.Var, ...]

    @property
    def reads(self) -> tuple[relax.Var, ...]:
        """Variables of elsewhere, in the order in which they are first read."""
        return tuple(relax.analysis.free_vars(self._body))

    def function(self) -> relax.Function:
        """The operator by itself, with variables of its own."""
        whole = relax.Function(self.reads, self._body, self._body.body.ty)
        module = tvm.IRModule({"main": relax.utils.copy_with_new_vars(whole)})
        return relax.transform.ConvertToDataflow(1)(module)["main"]

    @property
    def _body(self) -> relax.SeqExpr:
        result = self.makes[0] if len(self.makes) == 1 else relax.Tuple(self.makes)
        return relax.SeqExpr([relax.BindingBlock(self.bindings)], result)


def canonical_main(module: tvm.IRModule) -> relax.Function:
    """``main`` as bindings of operators and of parts of what they return, in normal form.

    Raises:
        TdseError: there is no ``main``, or it is not in normal form.
        ModelError: it has control flow, effects, or tensors whose shape is not known.
    """
    demand_main(module)
    main = module["main"]
    try:
        relax.analysis.well_formed(main)
    except IMPORT_ERRORS as error:
        raise TdseError(
            "the IRModule is not in normal form",
            where="main",
            why=reason_of(error),
            hint="run relax.transform.Normalize() and relax.transform.ConvertToDataflow() before",
        ) from None
    if relax.analysis.contains_impure_call(main):
        raise ModelError("main does more than to return its result", why="it has impure calls")
    for parameter in main.params:
        _demand_tensor(parameter, parameter.ty)
    main = _with_tuples_in_place(_CANONICAL(with_callees(module, main))["main"])
    for binding in _bindings(main):
        name, is_tuple = binding.var.name, isinstance(binding.var.ty, relax.TupleType)
        if not isinstance(binding, relax.VarBinding):
            raise ModelError(f"main has the match_cast {name}", why="it is checked when it runs")
        if not isinstance(binding.value, relax.Call | relax.TupleGetItem):
            raise ModelError(f"{name} is control flow", why="it cannot be cut into operators")
        for kind in binding.var.ty.fields if is_tuple else [binding.var.ty]:
            _demand_tensor(binding.var, kind)
        for read in relax.analysis.free_vars(binding.value):
            is_whole = isinstance(read.ty, relax.TupleType)
            if is_whole and isinstance(binding.value, relax.Call):
                raise ModelError(f"{name} takes a tuple as a whole", why=f"it is {read.name}")
    return main


def _with_tuples_in_place(main: relax.Function) -> relax.Function:
    """``main`` without bindings of tuples; they stand where they are read or returned."""
    tuples: dict[Any, Any] = {}

    def in_place(expression: Any) -> Any:
        return tvm_ffi.structural_map(
            expression, (relax.Var, lambda variable: tuples.get(variable, variable))
        )

    kept = []
    for binding in _bindings(main):
        if isinstance(getattr(binding, "value", None), relax.Tuple):
            tuples[binding.var] = in_place(binding.value)
        else:
            kept.append(in_place(binding))
    result = in_place(main.body.body)
    if isinstance(result, relax.Var) and isinstance(result.ty, relax.TupleType):
        parts = [relax.Var(f"{result.name}_{i}", kind) for i, kind in enumerate(result.ty.fields)]
        for i, part in enumerate(parts):
            kept.append(relax.VarBinding(part, relax.TupleGetItem(result, i)))
        result = relax.Tuple(parts)
    return relax.Function(
        main.params, relax.SeqExpr([relax.BindingBlock(kept)], result), main.ret_ty
    )


def returned_by(main: relax.Function) -> list[Any]:
    """What a canonical ``main`` returns, in parts."""
    result = main.body.body
    return list(result.fields) if isinstance(result, relax.Tuple) else [result]


def group_bindings(main: relax.Function) -> list[Group]:
    """The operators of a canonical ``main``, in an order in which they can run.

    Raises:
        ModelError: an output depends on no input.
    """
    bindings = {binding.var: binding for binding in _bindings(main)}
    constants = dict.fromkeys(relax.analysis.computable_at_compile_time(main))
    all_reads = {v: relax.analysis.free_vars(bindings[v].value) for v in bindings}
    reads = {v: [r for r in all_reads[v] if r not in constants] for v in bindings}
    live = [v for v in bindings if v not in constants]
    returned = returned_by(main)
    for output in returned:
        if output not in live or isinstance(output.ty, relax.TupleType):
            name = getattr(output, "name", "of main")
            raise ModelError(
                f"output {name} is no tensor that an operator computes",
                why="it is an input, a constant or a tuple",
                hint="remove this output from the model",
            )
    readers = Counter([*returned, *(r for v in live for r in reads[v])])
    groups: list[list[Any]] = []
    group_of: dict[Any, list[Any]] = {}
    for variable in live:
        value, made = bindings[variable].value, reads[variable]
        group = group_of.get(made[0], []) if len(made) == 1 else []
        is_part = isinstance(value, relax.TupleGetItem)
        follows = (
            bool(group)
            and _operator(bindings[group[0]].value) in _HEADS
            and group[-1].same_as(made[0])
            and _operator(value) in _FOLLOWERS
            and readers[made[0]] == 1
        )
        if not (is_part or follows):
            group = []
            groups.append(group)
        group.append(variable)
        group_of[variable] = group
    position = {variable: i for i, variable in enumerate(bindings)}
    found = []
    for group in groups:
        needed = {*group, *(r for v in group for r in all_reads[v] if r in constants)}
        for constant in reversed(constants):
            if constant in needed:
                needed.update(all_reads[constant])
        origin = "+".join(str(v.name) for v in group if not isinstance(v.ty, relax.TupleType))
        inside = Counter(r for v in group for r in reads[v])
        makes = [v for v in returned if v in group]
        makes += [v for v in group if readers[v] > inside[v]]
        bound = tuple(bindings[v] for v in sorted(needed, key=position.__getitem__))
        found.append(Group(origin, bound, tuple(dict.fromkeys(makes))))
    return found


def _bindings(main: relax.Function) -> list[Any]:
    return [binding for block in main.body.blocks for binding in block.bindings]


def _operator(value: Any) -> str:
    """Name of Relax's operator that is called; empty for anything else."""
    return str(getattr(getattr(value, "op", None), "name", ""))


def _demand_tensor(variable: Any, kind: Any) -> None:
    """Refuse what is no tensor of a known shape.

    Raises:
        ModelError: says which.
    """
    shape = getattr(kind, "shape", None)
    sizes = shape.values if isinstance(shape, relax.ShapeExpr) else [shape]
    if not all(isinstance(size, tirx.IntImm) for size in sizes):
        raise ModelError(
            f"{variable.name} is no tensor of a known shape",
            why=f"its type is {kind}",
            hint="bind symbolic shapes first, with relax.transform.BindSymbolicVars",
        )
