"""The costs of mappings and the searches among them in C++, with the results of ``reference``."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tdse.dataflow.architecture import Architecture
from tdse.dataflow.figures import FIGURES
from tdse.dataflow.layer import LOOPS, OPERANDS, Layer, Sizes
from tdse.errors import TdseError

LIBRARY = Path(__file__).resolve().parent.parent / "lib" / "libtdse_dataflow.so"

Objective = Literal["edp", "energy", "cycles"]
# In the order of cpp/dataflow/search.h.
OBJECTIVES: tuple[Objective, ...] = ("edp", "energy", "cycles")
_MOST_DIMENSIONS = 6
_DIMENSIONS = {name: i for i, name in enumerate((*LOOPS, "Ix", "Iy"))}
_N = len(LOOPS)


class _Layer(ctypes.Structure):
    _fields_ = [
        ("stride", ctypes.c_int32 * 2),
        ("dilation", ctypes.c_int32 * 2),
        ("input_size", ctypes.c_int32 * 2),
        ("dimensions", ctypes.c_int32 * _MOST_DIMENSIONS * len(OPERANDS)),
    ]


class _Architecture(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_double)
        for name in (
            *("pes", "rf_elements", "spm_banks", "bank_bytes", "element_bytes"),
            *("dma_init_cycles", "dma_cycles_per_byte", "dma_mhz", "mhz"),
            *("rf_pj", "noc_pj", "spm_pj", "dram_pj", "mac_pj"),
        )
    ]


class _Pruning(ctypes.Structure):
    _fields_ = [
        ("least_pe_use", ctypes.c_double),
        ("least_rf_use", ctypes.c_double),
        ("least_spm_use", ctypes.c_double),
        ("no_spatial_reduction", ctypes.c_int32),
        ("whole_filters", ctypes.c_int32),
    ]


class _Found(ctypes.Structure):
    _fields_ = [
        ("value", ctypes.c_double),
        ("dram", ctypes.c_int32 * _N),
        ("spm", ctypes.c_int32 * _N),
        ("rf", ctypes.c_int32 * _N),
        ("spatial", ctypes.c_int32 * _N),
        ("dram_operand", ctypes.c_int32),
        ("spm_operand", ctypes.c_int32),
    ]


class _Count(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("arrays", "tiles", "mappings")]


class _Bounded(ctypes.Structure):
    _fields_ = [("best", _Found), ("bound", ctypes.c_double), ("count", _Count)]


@dataclass(frozen=True)
class Pruning:
    """What is left out without being looked at, as dMazeRunner does; none of it without loss.

    Attributes:
        least_pe_use: share of the PEs that is used at least.
        least_rf_use: of the elements of a register file.
        least_spm_use: of the bytes of a half of the scratchpad.
        no_spatial_reduction: no sums over PEs.
        whole_filters: filter rows and columns are not split in DRAM.
    """

    least_pe_use: float = 0.0
    least_rf_use: float = 0.0
    least_spm_use: float = 0.0
    no_spatial_reduction: bool = False
    whole_filters: bool = False


@dataclass(frozen=True)
class Found:
    """A tiling, and the operand that each level of memory uses again.

    Attributes:
        value: of the objective.
        tiling: factors of the loops in DRAM, in the scratchpad, in register files and in space.
        reused: index of the operand that is used again in DRAM and in the scratchpad; -1 for none.
    """

    value: float
    tiling: tuple[Sizes, Sizes, Sizes, Sizes]
    reused: tuple[int, int]


@dataclass(frozen=True)
class Count:
    """How much there was to look at.

    Attributes:
        arrays: ways to use register files and PEs that fit.
        tiles: ways to use the scratchpad that fit.
        mappings: tilings that were evaluated, each with all orders of its loops.
    """

    arrays: int
    tiles: int
    mappings: int


def evaluate(
    layer: Layer,
    architecture: Architecture,
    tilings: NDArray[np.integer[Any]],
    orders: NDArray[np.integer[Any]] | None = None,
    objective: Objective = "edp",
) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """The figures of many mappings.

    Args:
        layer: what is computed.
        architecture: on what.
        tilings: [count, 4, 8], factors of ``LOOPS`` in DRAM, scratchpad, register files and space.
        orders: [count, 2, 8], indices of the loops in DRAM and in the scratchpad, outermost first;
            None for the orders that are best for the objective.
        objective: what is best.

    Returns:
        [count, len(FIGURES)], and [count, 2], the operands that are used again in DRAM and in the
        scratchpad.
    """
    given = np.ascontiguousarray(tilings, np.int32)
    assert given.ndim == 3 and given.shape[1:] == (4, _N)
    order = None if orders is None else np.ascontiguousarray(orders, np.int8)
    assert order is None or order.shape == (len(given), 2, _N)
    figures = np.empty((len(given), len(FIGURES)))
    reused = np.empty((len(given), 2), np.int8)
    _library().TdseDataflowEvaluate(
        ctypes.byref(_layer(layer)),
        ctypes.byref(_architecture(architecture)),
        len(given),
        given.ctypes.data,
        None if order is None else order.ctypes.data,
        OBJECTIVES.index(objective),
        figures.ctypes.data,
        reused.ctypes.data,
    )
    return figures, reused


def exhaust(
    layer: Layer, architecture: Architecture, pruning: Pruning, *, count_only: bool = False
) -> tuple[dict[Objective, Found], Count]:
    """The best of all mappings that a pruning leaves, for each objective; empty if none is."""
    found, count = (_Found * len(OBJECTIVES))(), _Count()
    counts, sizes = _sizes([(size,) for size in layer.sizes])
    done = _library().TdseDataflowExhaust(
        ctypes.byref(_layer(layer)),
        ctypes.byref(_architecture(architecture)),
        counts.ctypes.data,
        sizes.ctypes.data,
        ctypes.byref(
            _Pruning(
                pruning.least_pe_use,
                pruning.least_rf_use,
                pruning.least_spm_use,
                pruning.no_spatial_reduction,
                pruning.whole_filters,
            )
        ),
        None if count_only else ctypes.byref(found),
        ctypes.byref(count),
    )
    _demand(done, layer)
    best = {} if count_only or not count.mappings else dict(zip(OBJECTIVES, found, strict=True))
    return {name: _found(each) for name, each in best.items()}, _count(count)


def bound(
    layer: Layer,
    architecture: Architecture,
    objective: Objective,
    seconds: float,
    sizes: Sequence[Sequence[int]] | None = None,
) -> tuple[Found | None, float, Count]:
    """A mapping that no other beats, or the best after so many seconds.

    Args:
        layer: what is computed.
        architecture: on what.
        objective: what is best.
        seconds: when to give up, at the latest.
        sizes: those that each loop may be padded to, its own first; by default only that.

    Returns:
        The mapping, what no mapping can be better than, and how much was looked at. The mapping is
        None if none fits or none was found in time; the bound is infinite if none fits.
    """
    result = _Bounded()
    counts, flat = _sizes(sizes or [(size,) for size in layer.sizes])
    done = _library().TdseDataflowBound(
        ctypes.byref(_layer(layer)),
        ctypes.byref(_architecture(architecture)),
        counts.ctypes.data,
        flat.ctypes.data,
        OBJECTIVES.index(objective),
        seconds,
        ctypes.byref(result),
    )
    _demand(done, layer)
    best = _found(result.best) if np.isfinite(result.best.value) else None
    return best, float(result.bound), _count(result.count)


def _found(found: _Found) -> Found:
    tiling = (found.dram, found.spm, found.rf, found.spatial)
    dram, spm, rf, spatial = (tuple(map(int, factors)) for factors in tiling)
    return Found(
        float(found.value), (dram, spm, rf, spatial), (found.dram_operand, found.spm_operand)
    )


def _count(count: _Count) -> Count:
    return Count(int(count.arrays), int(count.tiles), int(count.mappings))


def _sizes(sizes: Sequence[Sequence[int]]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    counts = np.array([len(each) for each in sizes], np.int32)
    return counts, np.array([size for each in sizes for size in each], np.int32)


def _layer(layer: Layer) -> _Layer:
    given = _Layer(layer.stride, layer.dilation, layer.input_size)
    for operand, names in enumerate(layer.layout):
        numbers = [_DIMENSIONS[name] for name in names]
        given.dimensions[operand][:] = numbers + [-1] * (_MOST_DIMENSIONS - len(numbers))
    return given


def _architecture(architecture: Architecture) -> _Architecture:
    energy = architecture.energy_pj
    return _Architecture(
        architecture.pes,
        architecture.rf_elements,
        architecture.spm_banks,
        architecture.spm_bank_bytes,
        architecture.element_bytes,
        architecture.dma_init_cycles,
        architecture.dma_cycles_per_byte,
        architecture.dma_clock_mhz,
        architecture.clock_mhz,
        energy.rf,
        energy.noc,
        energy.spm,
        energy.dram,
        energy.mac,
    )


def _demand(done: bool, layer: Layer) -> None:
    if not done:
        raise TdseError(
            "the mappings cannot be searched", where=layer.name, why="there is not enough memory"
        )


@cache
def _library() -> Any:
    if not LIBRARY.is_file():
        raise TdseError(
            "the native library is not built",
            where=str(LIBRARY),
            hint="run pip install . in tdse's source directory",
        )
    library = ctypes.CDLL(str(LIBRARY))
    pointer, number = ctypes.c_void_p, ctypes.c_double
    library.TdseDataflowEvaluate.argtypes = [
        pointer,
        pointer,
        ctypes.c_int64,
        pointer,
        pointer,
        ctypes.c_int32,
        pointer,
        pointer,
    ]
    library.TdseDataflowEvaluate.restype = None
    library.TdseDataflowExhaust.argtypes = [pointer] * 7
    library.TdseDataflowExhaust.restype = ctypes.c_bool
    library.TdseDataflowBound.argtypes = [*[pointer] * 4, ctypes.c_int32, number, pointer]
    library.TdseDataflowBound.restype = ctypes.c_bool
    return library
