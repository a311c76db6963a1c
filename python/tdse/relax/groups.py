"""The bindings of a Relax ``main``, and which of them form one operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax, tirx

from tdse.errors import ModelError, TdseError
from tdse.partitioning import demand_main

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

_HINT = "run relax.transform.Normalize() and relax.transform.ConvertToDataflow() before"


@dataclass(frozen=True)
class Binding:
    """One binding of ``main``.

    Attributes:
        variable: that is bound.
        value: an expression of variables and constants; tuples that were bound stand in it.
        reads: variables of tensors that it reads and that depend on an input, each once.
        constants: bindings of constants that it needs, in their order.
        depends: it depends on an input.
    """

    variable: Any
    value: Any
    reads: tuple[Any, ...]
    constants: tuple[Binding, ...]
    depends: bool

    @property
    def operator(self) -> str:
        """Name of Relax's operator that it calls; empty for others."""
        return str(getattr(self.value.op, "name", "")) if isinstance(self.value, relax.Call) else ""

    @property
    def is_plumbing(self) -> bool:
        """It makes a tuple, whose elements other bindings name."""
        return isinstance(self.variable.ty, relax.TupleType)

    def copied(self, values: Mapping[Any, Any]) -> Any:
        """The value with variables replaced."""
        return _replaced(self.value, values)


@dataclass(frozen=True)
class Main:
    """What ``main`` computes.

    Attributes:
        bindings: in their order.
        returned: variables that it returns.
        is_tuple: it returns a tuple.
    """

    bindings: tuple[Binding, ...]
    returned: tuple[Any, ...]
    is_tuple: bool


def read_bindings(module: tvm.IRModule) -> Main:
    """The bindings of ``main``, tuples that are only passed on resolved.

    Raises:
        TdseError: there is no ``main``, or it is not one of bindings in normal form.
        ModelError: it has control flow, or tensors whose shape is not known.
    """
    demand_main(module)
    main = module["main"]
    if not isinstance(main, relax.Function) or not isinstance(main.body, relax.SeqExpr):
        raise _not_normal("main is no function of bindings")
    for parameter in main.params:
        _demand_tensors(parameter, may_be_tuple=False)
    known: dict[Any, Any] = {}
    found: dict[Any, Binding] = {}
    for block in main.body.blocks:
        for bound in block.bindings:
            if not isinstance(bound, relax.VarBinding):
                raise ModelError(
                    f"main binds {bound.var.name} by a {type(bound).__name__}",
                    why="its type is known only when it runs",
                )
            value = _resolve(known, bound.value)
            known[bound.var] = value
            if isinstance(value, relax.Tuple | relax.Var | tvm.ir.GenericConst):
                continue
            found[bound.var] = _binding(bound.var, value, main, found)
            known.pop(bound.var)
    result = _resolve(known, main.body.body)
    returned = tuple(_variables(result))
    for output in returned:
        if output not in found or not found[output].depends:
            raise ModelError(
                f"output {output.name} is computed by no operator",
                why="it is an input or a constant of the model",
                hint="remove this output from the model",
            )
    if not returned:
        raise ModelError("main returns no tensor")
    return Main(tuple(found.values()), returned, isinstance(result, relax.Tuple))


def _resolve(known: Mapping[Any, Any], value: Any) -> Any:
    """``value`` with variables of tuples and other variables replaced by what they stand for."""
    if isinstance(value, relax.Var):
        of = known.get(value)
        is_name = isinstance(of, relax.Tuple | relax.Var | tvm.ir.GenericConst)
        return _resolve(known, of) if is_name else value
    if isinstance(value, relax.Tuple):
        return relax.Tuple([_resolve(known, item) for item in value.fields])
    if isinstance(value, relax.TupleGetItem):
        of = _resolve(known, value.tuple_value)
        return of.fields[value.index] if isinstance(of, relax.Tuple) else value
    if isinstance(value, relax.Call):
        arguments = [_resolve(known, argument) for argument in value.args]
        return relax.Call(value.op, arguments, value.attrs, value.ty_args)
    return value


def group_bindings(main: Main) -> list[list[Binding]]:
    """The bindings that depend on an input, in groups that are one operator each."""
    readers: dict[Any, int] = dict.fromkeys(main.returned, 0)
    live: list[Binding] = []
    for binding in reversed(main.bindings):
        # What neither is returned nor read is left out, as any compiler does.
        if binding.depends and binding.variable in readers:
            live.insert(0, binding)
            for variable in binding.reads:
                readers[variable] = readers.get(variable, 0) + 1
    group_of: dict[Any, list[Binding]] = {}
    groups: list[list[Binding]] = []
    for binding in live:
        made = [v for v in binding.reads if v in group_of]
        group = group_of[made[0]] if made else []
        is_part = isinstance(binding.value, relax.TupleGetItem)
        follows = (
            len(binding.reads) == 1
            and bool(group)
            and group[0].operator in _HEADS
            and group[-1].variable.same_as(made[0])
            and binding.operator in _FOLLOWERS
            and readers[made[0]] == 1
            and made[0] not in main.returned
        )
        if not ((is_part and group) or follows):
            group = []
            groups.append(group)
        group.append(binding)
        group_of[binding.variable] = group
    return groups


def _demand_tensors(variable: Any, *, may_be_tuple: bool) -> None:
    """Refuse a variable that is no tensor of a known shape.

    Raises:
        ModelError: says which.
    """
    is_tuple = may_be_tuple and isinstance(variable.ty, relax.TupleType) and variable.ty.fields
    for kind in variable.ty.fields if is_tuple else [variable.ty]:
        shape = kind.shape if isinstance(kind, relax.TensorType) else None
        if not isinstance(shape, relax.ShapeExpr) or not all(
            isinstance(size, tirx.IntImm) for size in shape.values
        ):
            raise ModelError(
                f"{variable.name} is no tensor of a known shape",
                why=f"its type is {kind}",
                hint="bind symbolic shapes first, with relax.transform.BindSymbolicVars",
            )


def _binding(
    variable: Any, value: Any, main: relax.Function, found: Mapping[Any, Binding]
) -> Binding:
    if isinstance(value, relax.If | relax.Function):
        raise ModelError(f"{variable.name} is control flow", why="it cannot be cut into operators")
    if not isinstance(value, relax.Call | relax.TupleGetItem):
        raise _not_normal(f"{variable.name} is bound to a {type(value).__name__}")
    if isinstance(value, relax.Call):
        for argument in value.args:
            for leaf in argument.fields if isinstance(argument, relax.Tuple) else [argument]:
                if isinstance(leaf, relax.Call | relax.TupleGetItem):
                    raise _not_normal(f"{variable.name} has a call within a call")
        if isinstance(value.op, relax.ExternFunc):
            raise ModelError(
                f"{variable.name} calls the function {value.op.global_symbol}",
                why="what it does beside its result is not known",
            )
    _demand_tensors(variable, may_be_tuple=True)
    reads, constants = [], dict[Any, Binding]()
    parameters = set(main.params)
    for read in dict.fromkeys(_variables(value)):
        if isinstance(read.ty, relax.TupleType) and not isinstance(value, relax.TupleGetItem):
            raise ModelError(f"{variable.name} takes a tuple as a whole", why=f"it is {read.name}")
        if read in parameters or (read in found and found[read].depends):
            reads.append(read)
        elif read in found:
            for each in (*found[read].constants, found[read]):
                constants[each.variable] = each
    return Binding(variable, value, tuple(reads), tuple(constants.values()), bool(reads))


def _variables(value: Any) -> list[Any]:
    if isinstance(value, relax.Var):
        return [value]
    if isinstance(value, relax.Tuple):
        return [v for item in value.fields for v in _variables(item)]
    if isinstance(value, relax.TupleGetItem):
        return _variables(value.tuple_value)
    if isinstance(value, relax.Call):
        return [v for item in value.args for v in _variables(item)]
    return []


def _replaced(value: Any, values: Mapping[Any, Any]) -> Any:
    if isinstance(value, relax.Var):
        return values[value]
    if isinstance(value, relax.Tuple):
        return relax.Tuple([_replaced(item, values) for item in value.fields])
    if isinstance(value, relax.TupleGetItem):
        return relax.TupleGetItem(_replaced(value.tuple_value, values), value.index)
    if isinstance(value, relax.Call):
        arguments = [_replaced(item, values) for item in value.args]
        return relax.Call(value.op, arguments, value.attrs, value.ty_args)
    return value


def _not_normal(why: str) -> TdseError:
    return TdseError("the IRModule is not in normal form", where="main", why=why, hint=_HINT)
