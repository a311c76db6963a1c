"""TensorDSE's measurements as placement problems, with the costs that its own search sums up.

A layer costs its mean time on the device, and its mean communication over USB, whatever runs
before it; the layers of a model are a chain. That its costs are kept by operator kind, so that of
equal kinds the last one counts, is not repeated here.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from tdse.search import Problem

_US_PER_S = 1e6


def tensordse_problem(path: Path, model: str) -> Problem:
    """A chain of layers on cpu, gpu and tpu.

    Args:
        path: a file of benchmark results.
        model: its name in the file.

    Raises:
        KeyError: the file has no such model.
    """
    models = {one["name"]: one for one in json.loads(path.read_text())["models"]}
    layers = sorted(models[model]["layers"], key=_position)
    devices = tuple(sorted({d["device"] for layer in layers for d in layer["delegates"]}))
    cost_us = np.full((len(layers), len(devices)), math.inf)
    for op, layer in enumerate(layers):
        for delegate in layer["delegates"]:
            # A count of 0 is a delegate that never ran.
            if int(delegate["count"]):
                seconds = delegate["mean"] + delegate["usb"]["communication"]["mean"]
                cost_us[op, devices.index(delegate["device"])] = seconds * _US_PER_S
    free = np.zeros((len(devices),) * 2)
    n = len(layers)
    return Problem(
        n_ops=n,
        variants=devices,
        cost_us=cost_us,
        edges=[(op, op + 1, op + 1) for op in range(n - 1)],
        tensor_bytes=[*(_input_bytes(layer) for layer in layers), 0],
        launch_us=free[0],
        copy_us_per_byte=free,
        border_us=free,
        inputs=[(0, 0)],
        outputs=[(n - 1, n)],
        labels=tuple(layer["name"] for layer in layers),
        variant_device=range(len(devices)),
        devices=devices,
    )


def _position(layer: dict[str, Any]) -> int:
    """The first number in a name such as ``conv_2d_0_28_28_1``; the file sorts by name."""
    return next(int(part) for part in layer["name"].split("_") if part.isdigit())


def _input_bytes(layer: dict[str, Any]) -> int:
    """All inputs are int8."""
    return math.prod(int(side) for side in layer["delegates"][0]["input"]["shape"])
