"""What ``relay.build`` makes of regions of tdse: functions that give their tensors to the executor.

Such a function is LLVM code, so that it runs in the process that built it and is linked into what
is exported. It holds the region's plan, with the slice in it, and opens ``libtdse_region.so``: that
of this installation, or one that the dynamic linker finds by name. Nothing of Python is needed
where it runs, and nothing has to be registered there.
"""

from __future__ import annotations

import re
import tempfile
from functools import cache
from typing import Any

import tvm

from tdse.errors import TargetError
from tdse.runtime.native import REGION_LIBRARY, litert_library
from tdse.targets.llvm_relay import host_target

COMPILERS = ("litert", "edgetpu")
PLAN = "tdse.plan"

# The code is in terms of integers and of pointers to them, which LLVM before 15 writes as `i64*`
# and later as `ptr`. DLTensor has its data at byte 0 and its byte_offset at byte 40.
_CODE = r"""
{header}

@plan = internal constant [{size} x i8] c"{plan}", align 64
@executor = internal global i64 0
@function = internal global i64 0
@library = internal constant [{library_size} x i8] c"{library}"
@by_name = internal constant [18 x i8] c"libtdse_region.so\00"
@litert = internal constant [{litert_size} x i8] c"{litert}"
@run = internal constant [14 x i8] c"tdse_run_plan\00"
@tell = internal constant [20 x i8] c"TVMAPISetLastError\00\00"

declare i64 @dlopen(i64, i32)
declare i64 @dlsym(i64, i64)
declare i64 @dlerror()

define i32 @{symbol}({p} %args, {p} %codes, i32 %n, {p} %result, {p} %result_code, {p} %resource) {{
entry:
  %tensors = alloca [{n} x i64]
  %first = ptrtoint {array} %tensors to i64
{tensors}
  %known = load i64, {p} @function
  %is_known = icmp ne i64 %known, 0
  br i1 %is_known, label %calling, label %looking
looking:
  %path = ptrtoint {of_library} @library to i64
  %here = call i64 @dlopen(i64 %path, i32 1)
  %is_here = icmp ne i64 %here, 0
  br i1 %is_here, label %opened, label %elsewhere
elsewhere:
  %tell_name = ptrtoint {of_tell} @tell to i64
  %tell_address = call i64 @dlsym(i64 0, i64 %tell_name)
  %name = ptrtoint {of_name} @by_name to i64
  %there = call i64 @dlopen(i64 %name, i32 1)
  %is_there = icmp ne i64 %there, 0
  br i1 %is_there, label %opened, label %missing
opened:
  %handle = phi i64 [ %here, %looking ], [ %there, %elsewhere ]
  %run_name = ptrtoint {of_run} @run to i64
  %run_address = call i64 @dlsym(i64 %handle, i64 %run_name)
  store i64 %run_address, {p} @function
  br label %calling
calling:
  %address = phi i64 [ %known, %entry ], [ %run_address, %opened ]
  %run_function = inttoptr i64 %address to {of_run_function}
  %executor_address = ptrtoint {p} @executor to i64
  %plan_address = ptrtoint {of_plan} @plan to i64
  %litert_address = ptrtoint {of_litert} @litert to i64
  %status = call i32 %run_function(
      i64 %executor_address, i64 %plan_address, i64 {size}, i64 %litert_address, i64 %first)
  ret i32 %status
missing:
  %why = call i64 @dlerror()
  %can_tell = icmp ne i64 %tell_address, 0
  br i1 %can_tell, label %telling, label %failed
telling:
  %tell_function = inttoptr i64 %tell_address to {of_tell_function}
  call void %tell_function(i64 %why)
  br label %failed
failed:
  ret i32 -1
}}
"""


def register() -> None:
    """Have ``relay.build`` find the code generators."""
    for compiler in COMPILERS:
        tvm.register_func(f"relay.ext.{compiler}", _module_of, override=True)
        # The slice has the weights; those in the body are not wanted besides.
        tvm.register_func(
            f"relay.ext.{compiler}.constant_updater", lambda function, symbol: {}, override=True
        )


def _module_of(function: Any) -> Any:
    """The runtime module of a region's function.

    Raises:
        TargetError: the function was not made by ``tdse.relay.partition``.
    """
    symbol = str(function.attrs["global_symbol"])
    if PLAN not in function.attrs:
        raise TargetError(
            f"{symbol} cannot be compiled",
            why=f"it has no attribute {PLAN}",
            hint="tdse.relay.partition makes such functions; no other pass may",
        )
    plan = function.attrs[PLAN].numpy().tobytes()
    made = function.ret_type
    outputs = len(made.fields) if isinstance(made, tvm.ir.TupleType) else 1
    text = region_code(symbol, plan, len(function.params) + outputs)
    with tempfile.NamedTemporaryFile("w", prefix="tdse-", suffix=".ll") as file:
        file.write(text)
        file.flush()
        return tvm.runtime.load_module(file.name)


def region_code(symbol: str, plan: bytes, n_tensors: int) -> str:
    """LLVM code of a function that TVM calls with ``n_tensors`` tensors, outputs last."""
    header, is_opaque = _header()

    def pointer(kind: str) -> str:
        return "ptr" if is_opaque else f"{kind}*"

    p = pointer("i64")
    lines = []
    for i in range(n_tensors):
        lines += [
            f"  %arg{i} = getelementptr i64, {p} %args, i64 {i}",
            f"  %tensor{i} = load i64, {p} %arg{i}",
            f"  %data_at{i} = inttoptr i64 %tensor{i} to {p}",
            f"  %data{i} = load i64, {p} %data_at{i}",
            f"  %offset_at{i} = getelementptr i64, {p} %data_at{i}, i64 5",
            f"  %offset{i} = load i64, {p} %offset_at{i}",
            f"  %address{i} = add i64 %data{i}, %offset{i}",
            f"  %slot_at{i} = add i64 %first, {8 * i}",
            f"  %slot{i} = inttoptr i64 %slot_at{i} to {p}",
            f"  store i64 %address{i}, {p} %slot{i}",
        ]
    library = str(REGION_LIBRARY).encode() + b"\0"
    litert = str(litert_library() or "libLiteRt.so").encode() + b"\0"

    def array(size: int) -> str:
        return pointer(f"[{size} x i8]")

    return _CODE.format(
        header=header,
        symbol=symbol,
        size=len(plan),
        plan=_escaped(plan),
        library=_escaped(library),
        library_size=len(library),
        litert=_escaped(litert),
        litert_size=len(litert),
        p=p,
        n=n_tensors,
        array=pointer(f"[{n_tensors} x i64]"),
        tensors="\n".join(lines),
        of_library=array(len(library)),
        of_name=array(18),
        of_run=array(14),
        of_tell=array(20),
        of_plan=array(len(plan)),
        of_litert=array(len(litert)),
        of_run_function=pointer("i32 (i64, i64, i64, i64, i64)"),
        of_tell_function=pointer("void (i64)"),
    )


def _escaped(data: bytes) -> str:
    return "".join(f"\\{byte:02x}" for byte in data)


@cache
def _header() -> tuple[str, bool]:
    """What code for this machine begins with, as TVM writes it; whether pointers have no types."""
    x = tvm.te.placeholder((1,), name="x")
    y = tvm.te.compute((1,), lambda i: x[i] + x[i], name="y")
    target = host_target()
    code = tvm.build(tvm.te.create_prim_func([x, y]), target=target).get_source("ll")
    lines = re.findall(r"^target (?:datalayout|triple) = .*$", code, re.MULTILINE)
    flags = f'!llvm.module.flags = !{{!0}}\n!0 = !{{i32 4, !"tvm_target", !"{target}"}}'
    return "\n".join([*lines, flags]), "ptr" in code
