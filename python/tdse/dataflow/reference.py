"""What a mapping costs, in plain Python: the specification of ``cpp/dataflow``.

The model is dMazeRunner's (Dave et al., ACM TECS 2019), for one layer on PEs with register files,
a double-buffered scratchpad, and DRAM behind a DMA. Loops are cut over four levels; a pass of a
level is one iteration of all its loops. All time is in cycles of the PEs.

An operand is used again by as many passes as the innermost loops of a level have iterations on
which it does not depend. One that stays the same for all passes over a tile, and for several
tiles, is *kept*: it is neither sent nor collected with every tile.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations, product

from tdse.dataflow.architecture import Architecture
from tdse.dataflow.figures import Figures
from tdse.dataflow.layer import IRRELEVANT, LOOPS, OPERANDS, Layer, Sizes
from tdse.dataflow.mapping import Mapping, Order

_OUTPUT = 0
_ALL = range(len(OPERANDS))


def evaluate(layer: Layer, architecture: Architecture, mapping: Mapping) -> Figures:
    """What a mapping costs."""
    energy = architecture.energy_pj
    _, spm, rf, spatial = mapping.tiling
    dram = mapping.tiling[0]
    array = mapping.tile("rf", "spatial")
    rf_passes, spm_passes = math.prod(spm), math.prod(dram)
    dram_reuse, spm_reuse = _reuses(dram, mapping.orders[0]), _reuses(spm, mapping.orders[1])
    kept = [spm_reuse[op] == rf_passes and dram_reuse[op] > 1 for op in _ALL]

    # One pass of the register files: each PE computes, operands are sent to the PEs over networks
    # of their own, an element a cycle, and outputs that several PEs add to are summed up.
    compute = math.prod(rf)
    send = [layer.elements(op, array) for op in _ALL]
    summed = math.prod(_irrelevant(_OUTPUT, spatial))
    senders = math.prod(spatial) // summed
    reduce = layer.elements(_OUTPUT, rf) * (summed - 1) * senders

    # A pass over a tile of the scratchpad. What is sent every k-th pass is hidden behind what is
    # sent more often; nothing is hidden behind the last outputs of a sum, which are waited for.
    stall = compute + reduce
    waits_always = not kept[_OUTPUT] and spm_reuse[_OUTPUT] == 1
    every_pass = max((send[op] for op in _ALL if not kept[op] and spm_reuse[op] == 1), default=0)
    hidden = every_pass if waits_always else max(compute, every_pass)
    tile_cycles = hidden * rf_passes + (stall * rf_passes if waits_always else 0)
    for op in _ALL:
        if spm_reuse[op] > 1 and not kept[op]:
            times = rf_passes // spm_reuse[op]
            tile_cycles += max(0, send[op] - hidden) * times
            tile_cycles += stall * times if op == _OUTPUT else 0

    # The layer: tiles are fetched while others are computed. Outputs that change with every tile
    # are stored and loaded at once.
    bursts = [_bursts(layer, mapping, op) for op in _ALL]
    dma = [count * _burst_cycles(architecture, elements) for count, elements in bursts]
    every_tile = sum(dma[op] * (2 if op == _OUTPUT else 1) for op in _ALL if dram_reuse[op] == 1)
    steady = max(every_tile, tile_cycles)
    cycles: float = steady * spm_passes
    dma_cycles = every_tile * spm_passes
    for op in _ALL:
        if dram_reuse[op] > 1:
            # A tile with which it is fetched, and one with which an output is stored.
            more = every_tile + dma[op]
            first = tile_cycles + (stall if kept[op] and op == _OUTPUT else 0)
            second = tile_cycles + (max(0, send[op] - every_pass) if kept[op] else 0)
            over = max(0, max(more, first) - steady)
            over += max(0, max(more if op == _OUTPUT else every_tile, second) - steady)
            cycles += over * (spm_passes // dram_reuse[op])
            dma_cycles += dma[op] * (2 if op == _OUTPUT else 1) * (spm_passes // dram_reuse[op])

    macs = math.prod(mapping.sizes)
    mac_pj, rf_pj = macs * energy.mac, 3 * macs * energy.rf + macs * energy.rf
    noc_pj = spm_pj = dram_pj = 0.0
    for op in _ALL:
        transfers = spm_passes // dram_reuse[op]
        times = transfers if kept[op] else rf_passes // spm_reuse[op] * spm_passes
        # Partial sums go both ways.
        ways = 2 if op == _OUTPUT and not kept[op] else 1
        receivers = senders if op == _OUTPUT else math.prod(spatial)
        noc_pj += ways * layer.elements(op, rf) * receivers * energy.noc * times
        spm_pj += ways * send[op] * energy.spm * times
        fetched = transfers
        if op == _OUTPUT:
            mac_pj += reduce * energy.mac * times
            rf_pj += 3 * reduce * energy.rf * times
            noc_pj += reduce * energy.noc * times
            # Partial sums are loaded but for the first time.
            fetched += transfers - spm_passes // math.prod(_irrelevant(_OUTPUT, dram))
        dram_pj += math.prod(bursts[op]) * energy.dram * fetched
    total = round(mac_pj + rf_pj + noc_pj + spm_pj + dram_pj)
    return Figures(
        cycles=cycles,
        energy_pj=total,
        compute_cycles=compute * rf_passes * spm_passes,
        pass_cycles=tile_cycles,
        dma_cycles=dma_cycles,
        mac_pj=mac_pj,
        rf_pj=rf_pj,
        noc_pj=noc_pj,
        spm_pj=spm_pj,
        dram_pj=dram_pj,
    )


def orders(dram: Sizes, spm: Sizes) -> Iterator[tuple[Order, Order]]:
    """Orders of the loops of DRAM and scratchpad: each that gives other reuse than all others."""
    yield from product(_orders(dram), _orders(spm))


def _orders(factors: Sizes) -> list[Order]:
    """All subsets of the loops on which an operand does not depend, innermost."""
    factor = dict(zip(LOOPS, factors, strict=True))
    inner: list[tuple[str, ...]] = []
    for op in _ALL:
        loops = [loop for loop in LOOPS if loop in IRRELEVANT[op] and factor[loop] > 1]
        for count in range(1, len(loops) + 1):
            inner += combinations(loops, count)
    found = []
    for last in inner:
        relevant = [op for op in _ALL if last[0] in IRRELEVANT[op]]
        first = [loop for loop in LOOPS if loop not in last]
        # The next loop outwards must end the reuse, or the subset is another one.
        ends = [loop for loop in first if factor[loop] > 1 and loop not in IRRELEVANT[relevant[0]]]
        if ends or all(factor[loop] == 1 for loop in first):
            rest = [loop for loop in first if loop not in ends[:1]]
            found.append((*rest, *ends[:1], *last))
    if factor["G"] > 1 or not found:
        found.append((*LOOPS[1:], LOOPS[0]))
    return found


def _reuses(factors: Sizes, order: Order) -> list[int]:
    factor = dict(zip(LOOPS, factors, strict=True))
    reuses = [1] * len(OPERANDS)
    for op in _ALL:
        for loop in reversed(order):
            if factor[loop] == 1:
                continue
            if loop not in IRRELEVANT[op]:
                break
            reuses[op] *= factor[loop]
    return reuses


def _irrelevant(op: int, factors: Sizes) -> list[int]:
    return [factor for loop, factor in zip(LOOPS, factors, strict=True) if loop in IRRELEVANT[op]]


def _bursts(layer: Layer, mapping: Mapping, op: int) -> tuple[int, int]:
    """How many bursts fetch an operand's part of a tile, and the elements of each.

    A burst grows from the innermost dimension outwards, as long as dimensions are whole.
    """
    tile = dict(zip(LOOPS, mapping.tile("spm", "rf", "spatial"), strict=True))
    whole = dict(zip(LOOPS, mapping.sizes, strict=True))
    count = elements = 1
    grows = True
    for name in layer.layout[op]:
        if name in ("Ix", "Iy"):
            axis, output, tap = (0, "Ox", "Fx") if name == "Ix" else (1, "Oy", "Fy")
            extent = layer.span(axis, tile[output], tile[tap])
            full = max(layer.input_size[axis], layer.span(axis, whole[output], whole[tap]))
        else:
            extent, full = tile[name], whole[name]
        if grows:
            elements *= extent
        else:
            count *= extent
        grows = grows and extent == full
    return count, elements


def _burst_cycles(architecture: Architecture, elements: int) -> int:
    size_bytes = elements * architecture.element_bytes
    clocks = architecture.dma_init_cycles + architecture.dma_cycles_per_byte * size_bytes
    return math.ceil(clocks * (architecture.clock_mhz / architecture.dma_clock_mhz))
