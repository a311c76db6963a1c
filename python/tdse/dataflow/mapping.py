"""A mapping: how the loops of a layer are cut over memories and PEs, and in which order."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping as Table
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from tdse.dataflow.architecture import Architecture
from tdse.dataflow.layer import IRRELEVANT, LOOPS, OPERANDS, Layer, Sizes
from tdse.errors import UsageError
from tdse.faults import Record, faults_of

LEVELS = ("dram", "spm", "rf", "spatial")
Order = tuple[str, ...]

_Loop = Literal["G", "N", "M", "C", "Ox", "Oy", "Fx", "Fy"]
_Factors = dict[_Loop, Annotated[int, Field(ge=1)]]


class _Level(Record):
    factors: _Factors


class _OrderedLevel(Record):
    factors: _Factors
    order: Annotated[tuple[_Loop, ...], Field(strict=False)]


class _File(Record):
    layer: str
    dram: _OrderedLevel
    spm: _OrderedLevel
    rf: _Level
    spatial: _Level


@dataclass(frozen=True)
class Mapping:
    """How a layer runs.

    The product of a loop's factors is its size, or more: then it is padded, and what is computed
    too much is counted like all else.

    Attributes:
        tiling: of each of ``LEVELS``, factors of the loops in the order of ``LOOPS``.
        orders: of the loops in DRAM and in the scratchpad, outermost first.
    """

    tiling: tuple[Sizes, Sizes, Sizes, Sizes]
    orders: tuple[Order, Order]

    @property
    def sizes(self) -> Sizes:
        """Iterations of each loop, padding included."""
        return tuple(math.prod(factors) for factors in zip(*self.tiling, strict=True))

    def tile(self, *levels: str) -> Sizes:
        """Iterations of each loop in the given levels."""
        chosen = [self.tiling[LEVELS.index(level)] for level in levels]
        return tuple(math.prod(factors) for factors in zip(*chosen, strict=True))

    def to_json(self, layer: str) -> str:
        """The mapping as a file that ``read_mapping`` reads; factors of 1 are left out."""
        levels: dict[str, object] = {"layer": layer}
        for number, level in enumerate(LEVELS):
            entry: dict[str, object] = {
                "factors": {
                    loop: factor
                    for loop, factor in zip(LOOPS, self.tiling[number], strict=True)
                    if factor > 1
                }
            }
            if number < len(self.orders):
                entry["order"] = list(self.orders[number])
            levels[level] = entry
        return json.dumps(levels, indent=1)

    def loop_nest(self) -> str:
        """The mapping as loops, outermost first; loops of one iteration are left out."""
        lines: list[str] = []
        orders = (*self.orders, LOOPS, LOOPS)
        titles = ("DRAM", "scratchpad", "register files", "PEs, at once")
        # In space before register files: each PE runs the innermost loops.
        for number in (0, 1, 3, 2):
            factors = dict(zip(LOOPS, self.tiling[number], strict=True))
            lines.append(f"{'  ' * len(lines)}# {titles[number]}")
            for loop in orders[number]:
                if factors[loop] > 1:
                    word = "spread" if number == 3 else "for"
                    lines.append(f"{'  ' * len(lines)}{word} {loop} in 0..{factors[loop] - 1}:")
        return "\n".join(_indented(lines))


def order_for(reused: int) -> Order:
    """An order whose innermost loops are those on which an operand does not depend."""
    inner = IRRELEVANT[reused] if reused >= 0 else frozenset()
    # No loop is irrelevant to all; a loop of groups innermost lets nothing be used again.
    outer = [loop for loop in LOOPS[1:] if loop not in inner]
    if reused < 0:
        return (*outer, LOOPS[0])
    return (LOOPS[0], *outer, *(loop for loop in LOOPS if loop in inner))


def read_mapping(path: str | Path) -> Mapping:
    """The mapping in a file, as ``Mapping.to_json`` writes it.

    Raises:
        UsageError: the file cannot be read or is wrong.
    """
    try:
        found = _File.model_validate_json(Path(path).read_bytes())
    except (OSError, ValidationError) as error:
        faults = "; ".join(faults_of(error, _File)) if isinstance(error, ValidationError) else ""
        raise UsageError(
            "cannot read the mapping",
            where=str(path),
            why=faults or getattr(error, "strerror", None) or str(error),
        ) from error
    for name, level in (("dram", found.dram), ("spm", found.spm)):
        if sorted(level.order) != sorted(LOOPS):
            raise UsageError(
                f"{name}.order must name each of {', '.join(LOOPS)} once", where=str(path)
            )
    dram, spm = _sizes(found.dram.factors), _sizes(found.spm.factors)
    return Mapping(
        (dram, spm, _sizes(found.rf.factors), _sizes(found.spatial.factors)),
        (found.dram.order, found.spm.order),
    )


def check_mapping(layer: Layer, architecture: Architecture, mapping: Mapping) -> None:
    """Demand that a mapping computes a layer and fits an accelerator.

    Raises:
        UsageError: with all that is wrong.
    """
    faults = [
        f"loop {loop} runs {have} times, not {need}"
        for loop, have, need in zip(LOOPS, mapping.sizes, layer.sizes, strict=True)
        if have < need
    ]
    pes = math.prod(mapping.tile("spatial"))
    if pes > architecture.pes:
        faults.append(f"it takes {pes} PEs, and pes is {architecture.pes}")
    elements = _elements(layer, mapping.tile("rf"))
    if sum(elements.values()) > architecture.rf_elements:
        faults.append(
            f"a register file holds {_bytes(elements, architecture)}, "
            f"and rf_bytes is {architecture.rf_bytes}"
        )
    elements = _elements(layer, mapping.tile("spm", "rf", "spatial"))
    bank = architecture.spm_bank_bytes
    banks = sum(math.ceil(n * architecture.element_bytes / bank) for n in elements.values())
    if banks > architecture.spm_banks:
        faults.append(
            f"a tile of the scratchpad holds {_bytes(elements, architecture)} in {banks} banks of "
            f"{bank} bytes, and half of spm_kib = {architecture.spm_kib:g} are "
            f"{architecture.spm_banks:g} banks"
        )
    if faults:
        raise UsageError("the mapping is not valid", where=layer.name, why="; ".join(faults))


def _elements(layer: Layer, tile: Sizes) -> dict[str, int]:
    return {name: layer.elements(operand, tile) for operand, name in enumerate(OPERANDS)}


def _bytes(elements: Table[str, int], architecture: Architecture) -> str:
    each = [f"{n * architecture.element_bytes} of {name}" for name, n in elements.items()]
    return f"{sum(elements.values()) * architecture.element_bytes} bytes ({', '.join(each)})"


def _sizes(factors: Table[_Loop, int]) -> Sizes:
    return tuple(factors.get(loop, 1) for loop in LOOPS)  # type: ignore[call-overload]


def _indented(lines: list[str]) -> list[str]:
    """Headings stand where the loops that follow them do."""
    depth, result = 0, []
    for line in lines:
        text = line.strip()
        result.append("  " * depth + text)
        depth += not text.startswith("#")
    return result
