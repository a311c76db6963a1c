"""Schedules for the kernels that TVM leaves as plain loops.

They are the same few steps for every kernel; the aim is that LLVM can use vector instructions,
not the last bit of speed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tvm
from tvm.s_tir import SBlock, SBlockRealize, Schedule
from tvm.s_tir.schedule import SBlockRV, ScheduleError

from .llvm_arithmetic import ELEMENTS_WORTH_DIVIDING

# Longest vector that an innermost loop is cut into, in elements.
_LANES = 64

# Elements of a tensor of parameters, such as a scale and a zero point.
_SMALL = 4


def schedule_kernel(function: tvm.tirx.PrimFunc) -> tvm.tirx.PrimFunc:
    """The kernel with elementwise stages merged and loops in an order that vectorises.

    Before, in short::

        for i, j: a[i, j] = float(x[i, j])
        for i, j: y[i, j] = int8(round(a[i, j]))

    After::

        for f: y[f] = int8(round(float(x[f])))

    A sum over a window has its innermost loop moved over neighbouring outputs::

        for i, c, k: y[i, c] += x[i + k, c]    ->    for i, k, c: y[i, c] += x[i + k, c]
    """
    schedule = Schedule(tvm.IRModule({"main": function}))
    for block in _blocks(schedule)[:-1]:
        if _is_elementwise(schedule, block) and all(
            _is_elementwise(schedule, reader) for reader in schedule.get_consumers(block)
        ):
            _attempt(schedule.compute_inline, block)
    for block in _blocks(schedule):
        if not _is_elementwise(schedule, block):
            _attempt(_reorder, schedule, block)
        elif _is_flat(schedule, block):
            _attempt(_fuse_all, schedule, block)
    return schedule.mod["main"]


def divide_kernel(function: tvm.tirx.PrimFunc) -> tuple[tvm.tirx.PrimFunc, int]:
    """The kernel with the iterations that a call makes as arguments, and how many there are in all.

    Before, where each element is made from others, and there are many of them::

        def kernel(x, y): for f in range(n): y[f] = ...

    After::

        def kernel(x, y, begin, end): for f in range(begin, end): y[f] = ...

    Any other kernel stays as it is, with 0.
    """
    schedule = Schedule(tvm.IRModule({"main": function}))
    blocks = _blocks(schedule)
    if len(blocks) != 1 or not _is_elementwise(schedule, blocks[0]):
        return function, 0
    loops = schedule.get_loops(blocks[0])
    extents = [int(schedule.get(x).extent) for x in loops]
    if math.prod(extents) < ELEMENTS_WORTH_DIVIDING:
        return function, 0
    if len(loops) > 2:
        schedule.fuse(*loops[:-1])
    function = schedule.mod["main"]
    root, loop = function.body.block, function.body.block.body
    if not isinstance(loop, tvm.tirx.For) or root.alloc_buffers:
        return function, 0
    kind = loop.loop_var.ty
    begin, end = tvm.tirx.Var("begin", kind), tvm.tirx.Var("end", kind)
    part = tvm.tirx.For(loop.loop_var, begin, end - begin, loop.kind, loop.body)
    block = SBlock(root.iter_vars, root.reads, root.writes, root.name_hint, part)
    body = SBlockRealize(function.body.iter_values, function.body.predicate, block)
    parameters = [*function.params, begin, end]
    divided = tvm.tirx.PrimFunc(parameters, body, function.ret_type, function.attrs)
    return divided, int(loop.extent)


def _blocks(schedule: Schedule) -> list[SBlockRV]:
    return list(schedule.get_child_blocks(schedule.get_sblock("root")))


def _attempt(step: Callable[..., object], *arguments: Any) -> None:
    """Do a step that only makes the kernel faster, if the schedule allows it."""
    try:
        step(*arguments)
    except ScheduleError:
        return


def _is_elementwise(schedule: Schedule, block: SBlockRV) -> bool:
    """Whether each run of a block makes one element from others, without a sum over any."""
    statement = schedule.get(block)
    return statement.init is None and all(
        variable.iter_type == tvm.tirx.IterVar.DataPar for variable in statement.iter_vars
    )


def _is_flat(schedule: Schedule, block: SBlockRV) -> bool:
    """Whether all tensors that a block touches have the shape of its loops, or are small."""
    statement = schedule.get(block)
    extents = [int(v.dom.extent) for v in statement.iter_vars]
    for region in (*statement.reads, *statement.writes):
        starts = [r.min for r in region.region]
        shape = [int(s) for s in region.source.shape]
        if math.prod(shape) <= _SMALL and all(isinstance(s, tvm.tirx.IntImm) for s in starts):
            continue
        if shape != extents or not all(
            start.same_as(v.var) for start, v in zip(starts, statement.iter_vars, strict=True)
        ):
            return False
    return True


def _fuse_all(schedule: Schedule, block: SBlockRV) -> None:
    loops = schedule.get_loops(block)
    if len(loops) > 1:
        schedule.fuse(*loops)


def _reorder(schedule: Schedule, block: SBlockRV) -> None:
    """Sum vectors of outputs, with the loops of the sum outside of the innermost output loop."""
    loops = schedule.get_loops(block)
    kinds = [v.iter_type for v in schedule.get(block).iter_vars]
    if len(loops) != len(kinds):
        return
    spatial = [x for x, kind in zip(loops, kinds, strict=True) if kind == tvm.tirx.IterVar.DataPar]
    summed = [x for x, kind in zip(loops, kinds, strict=True) if kind != tvm.tirx.IterVar.DataPar]
    extents = [int(schedule.get(x).extent) for x in spatial]
    if not summed or not spatial or extents[-1] < 4:
        return
    inner = spatial[-1]
    outer = spatial[:-1]
    if extents[-1] > _LANES and extents[-1] % _LANES == 0:
        chunk, inner = schedule.split(inner, [None, _LANES])
        outer.append(chunk)
    schedule.reorder(*outer, *summed, inner)
    schedule.decompose_reduction(block, summed[0])
