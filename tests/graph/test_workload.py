"""What is kept of an operator: all that its cost may depend on, and nothing of the model around."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import MODELS
from tdse.graph.build import build_graph
from tdse.graph.layers import Configuration, Input, Layer, beside
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.signature import region_signature, signature
from tdse.graph.slice import slice_model
from tdse.graph.workload import FAR_SCALES, TensorForm, Workload, workload
from tdse.measure.excitation import KINDS, draw
from tdse.measure.excitation_chains import draw_chain
from works import WORKS

ModelPath = Callable[[str], Path]
SHAPE = (1, 8, 8, 8)


def _works(graph: Graph) -> list[Workload]:
    return [workload(graph, op) for op in graph.ops]


def _by_json(work: Workload) -> Workload:
    return Workload.from_row(json.loads(json.dumps(work.to_row())))


@pytest.mark.parametrize("name", [name for name in MODELS if name != "future_op"])
def test_workloads_of_models_survive_json(name: str, model_path: ModelPath) -> None:
    for work in _works(read_tflite(model_path(name))):
        again = _by_json(work)
        assert again == work
        assert hash(again) == hash(work)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), combination=st.sampled_from(sorted(KINDS)))
def test_workloads_of_random_operators_survive_json(
    seed: int, combination: tuple[str, str]
) -> None:
    for work in _works(build_graph(draw(np.random.default_rng(seed), *combination))):
        assert _by_json(work) == work


@given(work=WORKS)
def test_any_workload_survives_json(work: Workload) -> None:
    assert _by_json(work) == work


@pytest.mark.parametrize("name", ["tiny_conv_int8", "tiny_float", "branches"])
def test_the_model_around_an_operator_does_not_matter(name: str, model_path: ModelPath) -> None:
    graph = read_tflite(model_path(name))
    for op in graph.placed_ops:
        alone = read_tflite(slice_model(graph, [op]).data, "alone")
        assert _works(alone) == [workload(graph, graph.ops[op])]


def test_names_and_numbers_of_tensors_do_not_matter() -> None:
    layer = Layer("conv2d", channels=4, kernel=(3, 3))
    one = Configuration((Input(SHAPE, "int8"),), (layer,))
    first, second = _works(build_graph(beside([one, one])))
    assert first == second


@pytest.mark.parametrize(
    "change",
    [
        Layer("conv2d", channels=5, kernel=(3, 3)),
        Layer("conv2d", channels=4, kernel=(3, 1)),
        Layer("conv2d", channels=4, kernel=(3, 3), stride=2),
        Layer("conv2d", channels=4, kernel=(3, 3), activation="relu6"),
        Layer("conv2d", channels=4, kernel=(3, 3), per_channel=False),
    ],
)
def test_what_the_cost_depends_on_is_told_apart(change: Layer) -> None:
    layer = Layer("conv2d", channels=4, kernel=(3, 3))
    first, second = (
        _works(build_graph(Configuration((Input(SHAPE, "int8"),), (each,))))
        for each in (layer, change)
    )
    assert first != second


def test_operands_that_share_a_scale_are_told_from_others() -> None:
    network = (Input(SHAPE, "int8"),)
    plain, rescaled = (
        _works(build_graph(Configuration(network, (Layer("relu", rescaled=each),))))[0]
        for each in (False, True)
    )
    assert plain.inputs[0] is not None
    assert plain.inputs[0].quantization == plain.outputs[0].quantization
    assert plain != rescaled


def test_scales_far_from_each_other_are_told_from_others() -> None:
    # LiteRT's XNNPACK refuses those, and another kernel takes many times as long.
    network = (Input(SHAPE, "int8"),)
    near, far = (
        build_graph(Configuration(network, (Layer("sub", constant=(8,), rescaled=each),)))
        for each in (False, True)
    )
    assert FAR_SCALES not in _works(near)[0].attributes
    assert _works(far)[0].attributes[FAR_SCALES] is True
    assert signature(near, 0) != signature(far, 0)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=12,
)


def _demand_workload_or_value_error(row: Any) -> None:
    try:
        work = Workload.from_row(row)
    except ValueError:
        return
    numbers = (work.macs, work.parameter_bytes, work.input_bytes, work.output_bytes)
    forms = [form for form in (*work.inputs, *work.outputs) if form is not None]
    assert min(numbers) >= 0
    assert all(size >= 0 for form in forms for size in form.shape)


@given(row=_JSON)
def test_what_is_no_workload_is_a_value_error(row: Any) -> None:
    _demand_workload_or_value_error(row)


@given(work=WORKS, place=st.integers(0, 4), inner=st.integers(0, 4), value=_JSON)
def test_a_damaged_workload_is_a_value_error(
    work: Workload, place: int, inner: int, value: Any
) -> None:
    row = json.loads(json.dumps(work.to_row()))
    if isinstance(row[place], list) and inner < len(row[place]):
        row[place][inner] = value
    else:
        row[place] = value
    _demand_workload_or_value_error(row)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (3, 7),
        (4, [0, 0, 0]),
        (4, [-1, 0, 0, 0]),
        (4, [float("inf"), 0, 0, 0]),
        (2, [[[1, -4], "int8", 0, 0, -1]]),
        (1, [["int8", [1, 4], 0, 0, -1]]),
    ],
)
def test_a_row_that_no_operator_has_is_refused(place: int, value: object) -> None:
    form = TensorForm((1, 4), "int8")
    row = Workload("relu", (form,), (form,), {}, 0, 0, 4, 4).to_row()
    row[place] = value
    with pytest.raises(ValueError):
        Workload.from_row(row)


def _pair(second_reads: int) -> Graph:
    """Two equal operators; the second reads the input (0) or the first's result (1)."""
    layers = (Layer("hard_swish", (0,)), Layer("hard_swish", (second_reads,)))
    return build_graph(Configuration((Input(SHAPE, "float32"),), layers))


def test_the_signature_of_a_region_covers_what_feeds_what() -> None:
    parallel, chained = _pair(0), _pair(1)
    assert signature(parallel, 0) == signature(parallel, 1) == signature(chained, 1)
    assert region_signature(parallel, [0, 1]) != region_signature(chained, [0, 1])
    assert region_signature(chained, [0]) == region_signature(chained, [1])
    assert region_signature(chained, [0]) != region_signature(chained, [0, 1])


def test_the_signature_of_a_region_does_not_depend_on_where_it_stands() -> None:
    chain = draw_chain(np.random.default_rng(3), "int8")
    graph = build_graph(beside([chain, chain]))
    count = len(chain.layers)
    assert region_signature(graph, range(count)) == region_signature(graph, range(count, 2 * count))
