"""What the cost models say of a kind of operator, as formulas that a person can check."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tdse.cost.features import quantities
from tdse.cost.flydel import MOST_SAMPLES, Flydel
from tdse.cost.library import usable_records, variant_models
from tdse.errors import TdseError, UsageError
from tdse.measure.conditions import current_conditions
from tdse.measure.records import Record, RecordStore
from tdse.place import thread_counts
from tdse.platform import discover_host
from tdse.targets import Variant, target_variants


@dataclass(frozen=True)
class FlydelReport:
    """The flydel of a kind and element type on one variant.

    Attributes:
        variant: a target with a thread count.
        dtype: element type of the result; empty for the flydel of all types, which those share
            that have too few samples of their own.
        formula: microseconds of an operator.
        parameters: number of weights in it.
        samples: records that it was fitted to.
        median_error: half of these records are off by less, as a share of the measured time.
        p90_error: nine of ten are off by less.
    """

    variant: str
    dtype: str
    formula: str
    parameters: int
    samples: int
    median_error: float
    p90_error: float


def show_flydel(kind: str) -> list[FlydelReport]:
    """The flydels of ``kind`` on every variant of this machine.

    They are what predictions begin with; trees correct them, so predictions are closer than these
    errors.

    Raises:
        UsageError: there is no flydel of the kind.
        TdseError: there are no cost models.
    """
    device = discover_host().devices[0]
    counts = thread_counts(None, device.cores)
    reports: list[FlydelReport] = []
    kinds: set[str] = set()
    with contextlib.closing(RecordStore(current_conditions())) as store:
        variants = target_variants(device.targets, counts)
        for variant, models in variant_models(store, variants).items():
            if models.operators is None:
                continue
            own = models.operators.flydels.own
            kinds |= {name for name, _ in own if name}
            records = usable_records(store.of_variant(*variant))
            for (name, dtype), flydel in own.items():
                if name == kind:
                    reports.append(_report(str(Variant(*variant)), dtype, flydel, records))
    if not kinds:
        raise TdseError("there are no cost models", hint="run `tdse profile --budget 600` first")
    if not reports:
        near = difflib.get_close_matches(kind, sorted(kinds), n=1)
        raise UsageError(
            f"there is no flydel of kind {kind!r}",
            why="too few such operators were measured, or there are none",
            hint=(f"did you mean {near[0]}? " if near else "")
            + f"there are those of {', '.join(sorted(kinds))}",
        )
    return reports


def _report(variant: str, dtype: str, flydel: Flydel, records: Sequence[Record]) -> FlydelReport:
    # Fitting takes the first so many of what is in the same order.
    samples = [
        (record.workloads[0], record.median_us)
        for record in records
        if len(record.workloads) == 1
        and record.workloads[0].kind == flydel.kind
        and dtype in ("", record.workloads[0].outputs[0].dtype)
    ][:MOST_SAMPLES]
    predicted = flydel.predict_us(quantities([work for work, _ in samples]))
    errors = np.abs(predicted / np.array([time_us for _, time_us in samples]) - 1)
    return FlydelReport(
        variant,
        dtype,
        flydel.formula(),
        len(flydel.weights),
        flydel.samples,
        float(np.median(errors)),
        float(np.percentile(errors, 90)),
    )
