"""What everything takes, in the integer units of the CP-SAT model."""

from __future__ import annotations

import math

import numpy as np

from tdse.search.problem import Flow, Problem

UNITS_PER_US = 1000


def units(time_us: float) -> int:
    """Microseconds in units of the model, rounded down."""
    return math.floor(time_us * UNITS_PER_US + 1e-6)


class Sizes:
    """Units of time of each part of a problem's regions and transfers."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.launch = [units(one) for one in problem.launch_us.tolist()]

    def op(self, op: int, variant: int) -> int:
        """Of an operator; it must be legal."""
        return units(self._problem.costs[op][variant])

    def host(self, value: Flow, variant: int) -> int:
        """Of taking an input from the caller, or giving it an output."""
        copy_us = float(self._problem.host_copy_us_per_byte[variant]) * value.size_bytes
        return units(float(self._problem.host_border_us[variant]) + copy_us)

    def read(self, value: Flow, source: int, variant: int) -> int:
        """Of reading a tensor that another region made as the variant ``source``."""
        if value.producer < 0:
            return self.host(value, variant)
        copy_us = float(self._problem.copy_us_per_byte[source, variant]) * value.size_bytes
        return units(float(self._problem.border_us[source, variant]) + copy_us)

    def carry(self, value: Flow, source: int, target: int) -> int | None:
        """Of a transfer between memories; 0 within one, None if there is no way."""
        if source == target:
            return 0
        per_byte = float(self._problem.link_us_per_byte[source, target])
        if math.isinf(per_byte):
            return None
        latency_us = float(self._problem.link_latency_us[source, target])
        return units(latency_us + per_byte * value.size_bytes)

    def longest(self) -> int:
        """No schedule without needless waiting is longer: everything one after the other."""
        problem = self._problem
        finite = np.where(np.isfinite(problem.cost_us), problem.cost_us, 0.0)
        total_us = float(finite.max(axis=1, initial=0.0).sum())
        total_us += problem.n_ops * float(problem.launch_us.max())
        per_byte = np.where(np.isfinite(problem.link_us_per_byte), problem.link_us_per_byte, 0.0)
        for value in problem.values:
            pair_us = problem.border_us + problem.copy_us_per_byte * value.size_bytes
            host_us = problem.host_border_us + problem.host_copy_us_per_byte * value.size_bytes
            carry_us = float((problem.link_latency_us + per_byte * value.size_bytes).max())
            each_us = max(float(pair_us.max()), float(host_us.max())) + carry_us
            total_us += each_us * (len(value.consumers) + 1) + float(host_us.max())
        return units(total_us) + 1
