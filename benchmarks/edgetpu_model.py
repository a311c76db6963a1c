"""How well the model of the Edge TPU predicts latencies that it was not fitted to.

Run ``python benchmarks/edgetpu_model.py``. Coral has published latencies of networks on an Edge TPU
behind USB 3.0, on its Dev Board, which has PCIe, and behind USB 2.0 on a Raspberry Pi 3B+. The
constants of the model are fitted to those with USB 3.0, of all networks but one, and the one that
was left out is predicted; in turns. What is fitted to all of them is what ``tdse.edgetpu.cost`` and
``tdse.platform.edgetpu`` hold. Of the other boards' latencies, only the rates of their links were
taken: with PCIe from ResNet-152, with USB 2.0 from Inception v4 and the two MobileNets.

The form of the model was chosen with these latencies in view, so that the errors of a network that
is unlike all of them may be larger. Nothing here is measured by tdse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from edgetpu_networks import NETWORKS, Network
from numpy.typing import NDArray
from scipy.optimize import least_squares

from tdse.edgetpu.cost import FITTED, Rates, layer_us, streamed
from tdse.platform.edgetpu import LINKS

# Milliseconds, from https://coral.ai/docs/edgetpu/benchmarks.
USB3_MS: Mapping[str, float] = {
    "MobileNet v1": 2.4,
    "MobileNet v2": 2.6,
    "Inception v1": 3.4,
    "Inception v4": 85,
    "SSD-MobileNet v1": 6.5,
    "SSD-MobileNet v2": 7.2,
    "ResNet-50": 49,
    "ResNet-152": 128,
    "VGG16": 296,
    "VGG19": 308,
    "DenseNet-121": 20,
    "SqueezeNet": 2.1,
    "EfficientNet-EdgeTPU S": 5.1,
    "EfficientNet-EdgeTPU M": 8.7,
}
PCIE_MS: Mapping[str, float] = {
    "MobileNet v1": 2.4,
    "MobileNet v2": 2.6,
    "Inception v1": 4.1,
    "Inception v4": 102,
    "ResNet-50": 56,
    "ResNet-152": 151,
    "VGG16": 343,
    "VGG19": 357,
    "DenseNet-121": 25,
    "SqueezeNet": 2.0,
    "EfficientNet-EdgeTPU S": 5.5,
    "EfficientNet-EdgeTPU M": 10.6,
}
USB2_MS: Mapping[str, float] = {
    "MobileNet v1": 9.0,
    "MobileNet v2": 10.6,
    "Inception v1": 18.9,
    "Inception v4": 1055,
}

# What the fit begins with, and by what factor (as a logarithm) each is free to differ from that:
# the shortest invocation and the rates of the link are known from other measurements.
_BEGIN = np.log([250.0, 0.35, 2500.0, 420.0, 440.0, 2000.0])
_FREEDOM = np.array([0.1, 1.0, 1.5, 0.3, 0.1, 1.0])
# Published latencies are rounded, and taken on machines of which little is known.
_ERROR = 0.1


@dataclass(frozen=True)
class Constants:
    """What is fitted.

    Attributes:
        rates: of the Edge TPU.
        tensor_bytes_per_us: of the link, for inputs and outputs.
        parameter_bytes_per_us: of the link, for parameters that are streamed.
        postprocessing_us: of the detectors' last operator, which the host runs.
    """

    rates: Rates
    tensor_bytes_per_us: float
    parameter_bytes_per_us: float
    postprocessing_us: float

    @classmethod
    def of(cls, logarithms: NDArray[np.float64]) -> Constants:
        """From the values that the fit varies."""
        invoke_us, share, results, tensors, parameters, after_us = np.exp(logarithms).tolist()
        return cls(Rates(invoke_us, share, results), tensors, parameters, after_us)


def latency_us(network: Network, constants: Constants) -> float:
    """Microseconds of a run, modelled."""
    out = streamed((i, layer.parameter_bytes) for i, layer in enumerate(network.layers))
    layers_us = sum(
        layer_us(
            layer,
            constants.parameter_bytes_per_us,
            is_streamed=i in out,
            rates=constants.rates,
        )
        for i, layer in enumerate(network.layers)
    )
    moved_us = (network.input_bytes + network.output_bytes) / constants.tensor_bytes_per_us
    after_us = constants.postprocessing_us if network.has_postprocessing else 0.0
    return constants.rates.invoke_us + layers_us + moved_us + after_us


def fit(networks: Sequence[Network], published_ms: Sequence[float]) -> Constants:
    """Constants with which the networks take about what is published."""
    published_us = np.array(published_ms) * 1e3

    def residuals(logarithms: NDArray[np.float64]) -> NDArray[np.float64]:
        constants = Constants.of(logarithms)
        ratios = np.array([latency_us(each, constants) for each in networks]) / published_us
        return np.concatenate([np.log(ratios) / _ERROR, (logarithms - _BEGIN) / _FREEDOM])

    return Constants.of(least_squares(residuals, _BEGIN).x)


def held_out() -> dict[str, float]:
    """Of each network, by what share constants fitted to the others are off."""
    networks = {name: NETWORKS[name]() for name in USB3_MS}
    errors = {}
    for name in networks:
        others = [other for other in networks if other != name]
        constants = fit([networks[o] for o in others], [USB3_MS[o] for o in others])
        errors[name] = latency_us(networks[name], constants) / (USB3_MS[name] * 1e3) - 1
    return errors


def main() -> None:
    """Print the held-out errors, the constants, and how other boards are predicted."""
    errors = held_out()
    print("USB 3.0: each network predicted with constants fitted to the others (modelled)")
    for name, error in errors.items():
        predicted_ms = USB3_MS[name] * (1 + error)
        print(f"  {name:24} published {USB3_MS[name]:6.1f} ms  {predicted_ms:6.1f} {error:+7.1%}")
    _summary(list(errors.values()))

    constants = fit([NETWORKS[name]() for name in USB3_MS], list(USB3_MS.values()))
    print(f"fitted to all: {constants}")
    print(f"in tdse:       {FITTED}, {LINKS['usb3']}")
    for title, link, published in (
        ("Dev Board, PCIe", LINKS["pcie"], PCIE_MS),
        ("Raspberry Pi 3B+, USB 2.0", LINKS["usb2"], USB2_MS),
    ):
        print(f"{title}: predicted with tdse's constants (modelled)")
        there = Constants(FITTED, link.tensor_bytes_per_us, link.parameter_bytes_per_us, 0.0)
        found = []
        for name, time_ms in published.items():
            predicted_ms = latency_us(NETWORKS[name](), there) / 1e3
            found.append(predicted_ms / time_ms - 1)
            print(f"  {name:24} published {time_ms:6.1f} ms  {predicted_ms:6.1f} {found[-1]:+7.1%}")
        _summary(found)


def _summary(errors: Sequence[float]) -> None:
    sizes = np.abs(errors)
    print(f"  median error {np.median(sizes):.1%}, worst {sizes.max():.1%}, of {len(errors)}")


if __name__ == "__main__":
    main()
