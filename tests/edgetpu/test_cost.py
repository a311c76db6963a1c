"""The model of the Edge TPU, held against published latencies that it was not fitted to."""

from __future__ import annotations

import edgetpu_model
import numpy as np
import pytest
from edgetpu_networks import NETWORKS

from tdse.edgetpu.cost import (
    FITTED,
    PARAMETER_CAPACITY_BYTES,
    Layer,
    compute_us,
    first_run_us,
    layer_of,
    layer_us,
    streamed,
)
from tdse.graph.model import Graph
from tdse.platform.edgetpu import LINKS


def test_held_out_latencies() -> None:
    errors = np.abs(list(edgetpu_model.held_out().values()))
    assert len(errors) == 14
    assert np.median(errors) <= 0.12
    assert errors.max() <= 0.35


def test_the_first_form_is_that_of_tdse() -> None:
    rates, rate = edgetpu_model.Rates(250.0, 0.5, 2000.0), 464.0
    constants = edgetpu_model.Constants(rates, 368.0, rate, 0.0)
    for network in NETWORKS.values():
        for layer in network().layers:
            for is_streamed in (False, True):
                assert edgetpu_model.FORMS[0].layer_us(
                    layer, constants, is_streamed=is_streamed
                ) == layer_us(layer, rate, is_streamed=is_streamed, rates=rates)
    # Each other form says something else of one network at least.
    vgg, mobilenet, pooled = (NETWORKS[n]() for n in ("VGG16", "MobileNet v1", "SqueezeNet"))
    figures = {
        tuple(edgetpu_model.latency_us(each, constants, form) for each in (vgg, mobilenet, pooled))
        for form in edgetpu_model.FORMS
    }
    assert len(figures) == len(edgetpu_model.FORMS) == 16


def test_constants_are_those_of_the_fit() -> None:
    networks = [NETWORKS[name]() for name in edgetpu_model.USB3_MS]
    fitted = edgetpu_model.fit(networks, list(edgetpu_model.USB3_MS.values()))
    assert fitted.rates.invoke_us == pytest.approx(FITTED.invoke_us, rel=0.01)
    assert fitted.rates.array_share == pytest.approx(FITTED.array_share, rel=0.01)
    assert fitted.rates.results_per_us == pytest.approx(FITTED.results_per_us, rel=0.01)
    link = LINKS["usb3"]
    assert fitted.tensor_bytes_per_us == pytest.approx(link.tensor_bytes_per_us, rel=0.01)
    assert fitted.parameter_bytes_per_us == pytest.approx(link.parameter_bytes_per_us, rel=0.01)


@pytest.mark.parametrize(
    ("name", "gmacs", "parameters"),
    # Figures of the networks' papers, in 1e9 and 1e6.
    [("MobileNet v1", 0.569, 4.2), ("ResNet-50", 4.1, 25.6), ("VGG16", 15.5, 138.4)],
)
def test_networks_are_those_of_the_papers(name: str, gmacs: float, parameters: float) -> None:
    layers = NETWORKS[name]().layers
    assert sum(layer.macs for layer in layers) / 1e9 == pytest.approx(gmacs, rel=0.02)
    assert sum(layer.parameter_bytes for layer in layers) / 1e6 == pytest.approx(
        parameters, rel=0.06
    )


def test_few_channels_leave_the_array_idle() -> None:
    def conv(inputs: int, outputs: int) -> float:
        return compute_us(Layer("conv2d", 8, 8, inputs, outputs, 9, 0))

    assert conv(1, 1) == conv(4, 64)
    assert conv(4, 65) == 2 * conv(4, 64)
    assert conv(8, 64) == 2 * conv(4, 64)


def test_parameters_that_do_not_fit_are_streamed_while_layers_compute() -> None:
    layer = Layer("fully_connected", 1, 1, 4096, 4096, 1, 4096 * 4096)
    assert layer_us(layer, 464.0, is_streamed=True) == 4096 * 4096 / 464.0
    assert layer_us(layer, 464.0, is_streamed=False) == compute_us(layer)
    half = PARAMETER_CAPACITY_BYTES // 2
    # The second that does not fit is left out, what comes later may still fit.
    assert streamed([(0, half), (1, half + 2), (2, half)]) == {1}


def test_the_first_run() -> None:
    # Published: 1.3, 5.6 and 13.6 ms, the shortest run of 0.25 ms included.
    for size, published_ms in ((66e3, 1.3), (1.06e6, 5.6), (4.2e6, 13.6)):
        assert first_run_us(int(size)) / 1e3 + 0.25 == pytest.approx(published_ms, rel=0.28)


def test_operators_as_layers(graph: Graph) -> None:
    conv, reshape, dense = (layer_of(graph, op) for op in range(3))
    assert (conv.height, conv.width, conv.inputs, conv.outputs, conv.taps) == (6, 6, 4, 4, 9)
    assert (dense.inputs, dense.outputs, dense.macs) == (144, 5, 720)
    assert compute_us(reshape) == 0
    assert conv.macs == graph.ops[0].macs
