"""The optima of TensorDSE's measurements under its own costs, found in three ways."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from exact import solve
from tensordse import tensordse_problem

DATA = Path(__file__).parents[3] / "shared" / "data" / "tensordse"


def layer(name, seconds, communication_s=0.0):
    return {
        "name": name,
        "delegates": [
            {
                "device": device,
                "count": "0" if mean is None else "1",
                "input": {"shape": ["4", "4", "2"], "type": "int8"},
                "mean": mean or 0.0,
                "usb": {"communication": {"mean": communication_s if device == "tpu" else 0.0}},
            }
            for device, mean in zip(("cpu", "gpu", "tpu"), seconds, strict=True)
        ],
    }


def test_layers_are_in_order_and_communication_counts(tmp_path):
    layers = [
        layer("conv_2d_2_4_4_2", (5e-6, 4e-6, 1e-6), 2e-6),
        layer("max_pool_2d_1_4_4_2", (2e-6, None, 1e-6), 9e-6),
        layer("conv_2d_0_4_4_2", (7e-6, 8e-6, 9e-6)),
    ]
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"models": [{"name": "m", "layers": layers}]}))
    problem = tensordse_problem(path, "m")
    assert problem.labels == ("conv_2d_0_4_4_2", "max_pool_2d_1_4_4_2", "conv_2d_2_4_4_2")
    expected_us = np.array([[7, 8, 9], [2, math.inf, 10], [5, 4, 3]])
    assert problem.cost_us == pytest.approx(expected_us)
    found = solve(problem)
    assert found.status == "proven"
    assert found.value == pytest.approx(7 + 2 + 3)
    assert list(found.genes.variants) == [0, 0, 2]


def least_by_chain(problem):
    """Dynamic programming over the layers and the device of the last one."""
    best = [0.0] * problem.n_variants
    for row in problem.costs:
        best = [min(best) + cost for cost in row]
    return min(best)


@pytest.mark.parametrize(
    ("board", "model", "published_us"),
    [
        ("smallpc", "MNIST_full_quanitization", 1581.5),
        ("rpi", "MNIST_extended_full_quanitization", 393.9),
        ("rpi", "kws_ref_model", 701.6),
    ],
)
def test_the_published_optima(board, model, published_us):
    path = DATA / board / f"{model}.json"
    if not path.is_file():
        pytest.skip(f"TensorDSE's measurements are not there: {path}")
    problem = tensordse_problem(path, model)
    found = solve(problem)
    assert found.status == "proven"
    assert round(found.value, 1) == published_us
    assert round(least_by_chain(problem), 1) == published_us
    assert found.value == pytest.approx(least_by_chain(problem))
