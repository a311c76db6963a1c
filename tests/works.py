"""Workloads for tests: of random operators as ``profile`` measures them, and of any numbers."""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import strategies as st

from tdse.graph.build import build_graph
from tdse.graph.workload import TensorForm, Workload, workload
from tdse.measure.excitation import KINDS, draw

# An operator kind that no cost model knows by name is last.
NAMED_KINDS = (*sorted({kind for kind, _ in KINDS}), "fresh_kind")


@cache
def drawn_works() -> tuple[Workload, ...]:
    """Two of each kind and element type that are drawn to learn from."""
    generator = np.random.default_rng(5)
    graphs = [build_graph(draw(generator, *each)) for each in sorted(KINDS) for _ in range(2)]
    return tuple(workload(graph, graph.ops[0]) for graph in graphs)


def sized_work(kind: str, generator: np.random.Generator) -> Workload:
    """A workload whose numbers have nothing to do with each other, so that all can be told apart.

    It has one operand that is not constant, and a window.
    """
    height, width, channels = (round(float(np.exp(generator.uniform(0, 4)))) for _ in range(3))
    kernel = int(generator.integers(1, 8))
    macs, parameters, read, written = (
        round(float(np.exp(generator.uniform(7, 15)))) for _ in range(4)
    )
    rows, depth = (round(float(generator.uniform(1, 200))) for _ in range(2))
    value = TensorForm((1, rows, depth), "float32")
    weights = TensorForm((channels, kernel, kernel, depth), "float32", is_constant=True)
    result = TensorForm((1, height, width, channels), "float32", quantization=-1)
    attributes = {
        "padding": str(generator.choice(["same", "valid"])),
        "stride_h": int(generator.integers(1, 3)),
        "filter_height": kernel,
        "filter_width": kernel,
    }
    return Workload(kind, (value, weights), (result,), attributes, macs, parameters, read, written)


_SIZES = st.integers(0, 70)
_FORMS = st.builds(
    TensorForm,
    st.lists(_SIZES, max_size=5).map(tuple),
    st.sampled_from(["float32", "int8", "uint8", "int32", "int64", "string"]),
    st.booleans(),
    st.integers(0, 3),
    st.integers(-1, 2),
)
_ATTRIBUTES = st.fixed_dictionaries(
    {},
    optional={
        "padding": st.sampled_from(["same", "valid"]),
        "stride_h": st.integers(0, 3),
        "dilation_h_factor": st.integers(0, 3),
        "filter_height": st.integers(0, 9),
        "filter_width": st.integers(0, 9),
        "fused_activation_function": st.sampled_from(["none", "relu", "relu6"]),
        "beta": st.floats(allow_nan=False),
        "axes": st.lists(st.integers(), max_size=3).map(tuple),
        "keep_dims": st.booleans(),
    },
)
_COUNTS = st.integers(0, 2**40)

# Also such as no model has.
WORKS = st.builds(
    Workload,
    st.sampled_from(NAMED_KINDS),
    st.lists(st.none() | _FORMS, max_size=4).map(tuple),
    st.lists(_FORMS, min_size=1, max_size=3).map(tuple),
    _ATTRIBUTES,
    _COUNTS,
    _COUNTS,
    _COUNTS,
    _COUNTS,
)
