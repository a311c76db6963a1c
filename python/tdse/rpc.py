"""What tdse offers on a board, made known to TVM, whose RPC server lets others call it."""

from __future__ import annotations


def register() -> None:
    """Register the functions of ``tdse.measure.board`` and ``tdse.measure.deployed``.

    TVM calls this when it is imported, through the entry point group ``tvm.backends``, also in
    the process of ``python -m tvm.exec.rpc_server``.
    """
    import tvm_ffi

    tvm_ffi.register_global_func("tdse.rpc.describe", _describe, override=True)
    tvm_ffi.register_global_func("tdse.rpc.time_executor", _time_executor, override=True)
    tvm_ffi.register_global_func("tdse.rpc.run_artefacts", _run_artefacts, override=True)


# Whoever imports TVM for something else does not import what these need.
def _describe() -> str:
    from tdse.measure.description import describe

    return describe()


def _time_executor(request: bytes) -> bytes:
    from tdse.measure.board import time_executor

    return time_executor(bytes(request))


def _run_artefacts(request: bytes) -> bytes:
    from tdse.measure.deployed import run_artefacts

    return run_artefacts(bytes(request))
