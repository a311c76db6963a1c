"""The accelerator of dMazeRunner's publications, layers, and what dMazeRunner says of them.

The figures were taken from runs of dMazeRunner (commit f755a7b of MPSLab-ASU/dMazeRunner) and from
its repository's ``energy_validation`` and ``dse_tune_memory_256_PE``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from tdse.dataflow.architecture import Architecture, EnergyPj
from tdse.dataflow.layer import NCHW, NHWC, Layer, convolution, matrix_product
from tdse.dataflow.mapping import Mapping

ENERGY = EnergyPj(mac=0.075, rf=0.96, noc=2.0, spm=13.5, dram=200.0)
ARCHITECTURE = Architecture(
    name="dMazeRunner's",
    pes=256,
    rf_bytes=512,
    spm_kib=128.0,
    spm_bank_bytes=2048,
    element_bytes=2,
    clock_mhz=500.0,
    dma_clock_mhz=3200.0,
    dma_init_cycles=291.0,
    dma_cycles_per_byte=0.24,
    energy_pj=ENERGY,
)
SMALL = ARCHITECTURE.model_copy(update={"pes": 8, "rf_bytes": 32, "spm_kib": 2.0}).model_copy(
    update={"spm_bank_bytes": 64}
)

CONV5_2 = convolution("conv5_2", batch=4, channels=(512, 512), output=(7, 7), kernel=(3, 3))


def resnet18() -> tuple[Layer, ...]:
    """The layers of dMazeRunner's ResNet-18; its inputs are padded by more than windows reach."""
    rows = [
        ("CONV_1_1", 229, 3, 64, 7, 2, 112, 1),
        ("CONV_2_1a", 58, 64, 64, 3, 1, 56, 4),
        ("CONV_3_1a", 58, 64, 128, 3, 2, 28, 1),
        ("CONV_3_1b", 30, 128, 128, 3, 1, 28, 3),
        ("CONV_4_1a", 30, 128, 256, 3, 2, 14, 1),
        ("CONV_4_1b", 16, 256, 256, 3, 1, 14, 3),
        ("CONV_5_1a", 16, 256, 512, 3, 2, 7, 1),
        ("CONV_5_1b", 9, 512, 512, 3, 1, 7, 3),
    ]
    layers = [
        convolution(
            name,
            channels=(out_channels, in_channels),
            output=(size, size),
            kernel=(kernel, kernel),
            stride=(stride, stride),
            input_size=(given, given),
            instances=instances,
        )
        for name, given, in_channels, out_channels, kernel, stride, size, instances in rows
    ]
    return (*layers, matrix_product("FC", 1, 1000, 25088))


# Of each layer: mappings that are left, best EDP, best energy in pJ, fewest cycles.
RESNET18_AUTO = {
    "CONV_1_1": (7634, 1207336157550880.0, 750464746.0, 1530368.0),
    "CONV_2_1a": (17616, 449781780212352.0, 625683932.0, 681856.0),
    "CONV_3_1a": (5592, 306840635760240.0, 380300078.0, 698248.0),
    "CONV_3_1b": (5963, 358068075179008.0, 612592476.0, 561080.0),
    "CONV_4_1a": (1094, 373827896366080.0, 369487150.0, 845312.0),
    "CONV_4_1b": (1078, 436676274446592.0, 640257372.0, 638848.0),
    "CONV_5_1a": (191, 687437187469152.0, 527034414.0, 1203200.0),
    "CONV_5_1b": (192, 2436225405852800.0, 996518236.0, 2365184.0),
    "FC": (131, 1.3836755278500755e17, 5515272908.0, 25088064.0),
}

# Five of the fixed mappings of ``CONV5_2``: tilings without groups, then the energies of MAC, RF,
# NoC, SPM and DRAM and their sum, with 16 digits as the spreadsheet has them.
FIXED: Sequence[tuple[str, list[list[int]], tuple[float, ...]]] = (
    (
        "Fx | Fy",
        [
            [1, 8, 32, 1, 1, 1, 1],
            [1, 64, 1, 1, 1, 1, 1],
            [1, 1, 4, 7, 7, 1, 1],
            [4, 1, 4, 1, 1, 3, 3],
        ],
        (43111219.2, 2099395952.64, 270958592.0, 136470528.0, 757350400.0, 3307286692.0),
    ),
    (
        "C | Fy",
        [
            [1, 8, 32, 1, 1, 1, 1],
            [1, 1, 1, 7, 7, 1, 1],
            [1, 8, 8, 1, 1, 3, 1],
            [4, 8, 2, 1, 1, 1, 3],
        ],
        (35885875.2, 1821942743.04, 179437568.0, 216096768.0, 757350400.0, 3010713354.0),
    ),
    (
        "M | Fy",
        [
            [1, 8, 32, 1, 1, 1, 1],
            [1, 32, 1, 1, 1, 3, 1],
            [4, 1, 4, 7, 1, 1, 1],
            [1, 2, 4, 1, 7, 1, 3],
        ],
        (42629529.59999999, 2080899072.0, 312410112.0, 333766656.0, 757350400.0, 3527055770.0),
    ),
    (
        "N | M",
        [
            [1, 8, 32, 1, 1, 1, 1],
            [2, 1, 1, 1, 7, 1, 1],
            [1, 4, 2, 7, 1, 3, 3],
            [2, 16, 8, 1, 1, 1, 1],
        ],
        (36367564.8, 1840439623.68, 166330368.0, 160358400.0, 757350400.0, 2960846356.0),
    ),
    (
        "Ox | Oy",
        [
            [1, 8, 32, 1, 1, 1, 1],
            [1, 2, 1, 1, 1, 3, 3],
            [4, 16, 8, 1, 1, 1, 1],
            [1, 2, 2, 7, 7, 1, 1],
        ],
        (34922495.99999999, 1784948981.76, 308281344.0, 313638912.0, 757350400.0, 3199142134.0),
    ),
)

# Of some sizes of scratchpad and register files, with the energies of an access: how many mappings
# of ``CONV5_2`` are left at a use of 0.8, 0.8 and 0.5, and the best EDP of them.
MEMORIES = (
    (16.0, 16, 4.0, 0.03, 90, 1.8621660093632512e17),
    (16.0, 1024, 4.0, 1.92, 0, None),
    (64.0, 64, 9.0, 0.12, 926, 1.3719550196501632e16),
    (128.0, 512, 13.5, 0.96, 753, 6844957271165824.0),
    (256.0, 256, 20.25, 0.48, 2187, 6256145890402688.0),
    (512.0, 128, 30.375, 0.24, 2289, 8445565780545280.0),
    (1024.0, 16, 45.5625, 0.03, 807, 5.029951260249843e16),
)


def resized(spm_kib: float, rf_bytes: int, spm_pj: float, rf_pj: float) -> Architecture:
    """dMazeRunner's accelerator with other memories."""
    energy = ENERGY.model_copy(update={"spm": spm_pj, "rf": rf_pj})
    return ARCHITECTURE.model_copy(
        update={"spm_kib": spm_kib, "rf_bytes": rf_bytes, "energy_pj": energy}
    )


@st.composite
def layers(draw: st.DrawFn, most: int = 8) -> Layer:
    """Convolutions with groups, rectangular windows, strides and dilations; matrix products too."""
    small, size = st.integers(1, 3), st.integers(1, most)
    if draw(st.booleans()):
        return matrix_product("product", draw(size), draw(size), draw(size), batch=draw(small))
    pair = st.tuples(small, small)
    layer = convolution(
        "layer",
        batch=draw(small),
        groups=draw(small),
        channels=(draw(size), draw(size)),
        output=(draw(size), draw(size)),
        kernel=draw(pair),
        stride=draw(pair),
        dilation=draw(pair),
        layout=draw(st.sampled_from((NCHW, NHWC))),
    )
    rows, columns = layer.input_size
    given = (rows + draw(st.integers(0, 2)), columns + draw(st.integers(0, 2)))
    return Layer(layer.name, layer.sizes, layer.stride, layer.dilation, given, layout=layer.layout)


@st.composite
def mappings(draw: st.DrawFn, layer: Layer) -> Mapping:
    """Any way to cut the loops, and any two orders."""
    columns = []
    for size in layer.sizes:
        factors = []
        for _ in range(3):
            factors.append(draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0])))
            size //= factors[-1]
        columns.append((*factors, size))
    dram, spm, rf, spatial = zip(*columns, strict=True)
    loops = st.permutations(["G", "N", "M", "C", "Ox", "Oy", "Fx", "Fy"]).map(tuple)
    return Mapping((dram, spm, rf, spatial), (draw(loops), draw(loops)))


def tilings(rows: Sequence[Sequence[Sequence[int]]]) -> np.ndarray:
    """Tilings without groups as the native library takes them."""
    return np.array([[[1, *factors] for factors in tiling] for tiling in rows])
