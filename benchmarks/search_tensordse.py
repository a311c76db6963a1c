"""TensorDSE's measured models as placement problems, by its own cost model.

Its costs are the means over all runs of an operator on a delegate, communication is free, and
operators run one after another: the optimum takes each at its fastest. What is on a Coral includes
its USB transfers.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from tdse.search import Problem

OPTIMA_US = {
    "smallpc/MNIST_full_quanitization": 1581.5,
    "rpi/MNIST_extended_full_quanitization": 393.9,
    "rpi/kws_ref_model": 701.6,
}
"""Within that cost model, known from outside of this project; to a tenth of a microsecond."""


def read_problem(path: Path) -> Problem:
    """A model of one of TensorDSE's result files.

    Raises:
        ValueError: a layer says nothing of its place in the model.
    """
    layers = json.loads(path.read_text())["models"][0]["layers"]
    layers.sort(key=_position)
    delegates = tuple(one["device"] for one in layers[0]["delegates"])
    seconds = [
        [{one["device"]: one["mean"] for one in layer["delegates"]}[name] for name in delegates]
        for layer in layers
    ]
    n_ops, n_delegates = len(layers), len(delegates)
    free = np.zeros((n_delegates, n_delegates))
    return Problem(
        n_ops=n_ops,
        variants=delegates,
        cost_us=np.array(seconds) * 1e6,
        edges=[(op, op + 1, op) for op in range(n_ops - 1)],
        tensor_bytes=[1] * n_ops,
        launch_us=free[0],
        copy_us_per_byte=free,
        border_us=free,
        labels=tuple(layer["name"] for layer in layers),
        variant_device=range(n_delegates),
        devices=delegates,
    )


def _position(layer: dict[str, dict[str, str]]) -> int:
    found = re.search(r"submodel_(\d+)_ops", layer["path"]["cpu"])
    if found is None:
        raise ValueError(f"layer {layer['name']} says nothing of its place in the model")
    return int(found.group(1))
