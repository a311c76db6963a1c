"""How well the cost models predict networks and operators that they have not seen.

    python benchmarks/cost_models.py MODEL_OR_DIRECTORY... --data DIR [--excite SECONDS]
        [--json FILE]

Random operators are measured for ``--excite`` seconds, then the networks; all is kept in DIR, so
that a later run measures only what is missing. No signature of an operator of the network under
test is in what the models are trained on.

Times here drift, so each error is printed twice: raw, and with the measured time divided by how
much slower the reference operator ran in the same window than at its best. What a second
measurement of the same thing differs by, the noise floor, stands beside the errors.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cost_data import VARIANTS, Network, excite, measure_networks, open_store
from cost_regret import Regret, measure_regret
from model_files import model_files
from rich.console import Console
from rich.table import Table

from tdse.cost.features import Quantities, quantities
from tdse.cost.flydel import fit_flydel
from tdse.cost.library import VariantModels, train_variant
from tdse.measure.records import Record
from tdse.measure.timing import QUIET

Floats = npt.NDArray[np.float64]
Variant = tuple[str, int]

# Operators faster than this count for little in a network, and are all launch.
_LEAST_US = 20.0
_SAMPLES = (25, 50, 100, 200)
# To judge a fit, so many more samples of the kind; kinds with fewer are left out.
_HELD_OUT = 40
_LEAST_COUNTS = 3


@dataclass(frozen=True)
class OperatorErrors:
    """Errors of predicted operators over 20 us, as shares of the measured time.

    Attributes:
        variant: target and threads.
        operators: how many.
        median: median error.
        rmspe: root of the mean squared error.
        within_10: share of the operators within 10 %.
        within_15: share within 15 %.
        raw_within_15: share within 15 %, without the reference.
        coverage: share of all operators, fast ones too, whose time is in the 90 % interval.
        floor_median: median difference of repeated measurements.
        floor_within_10: share of the repeated measurements within 10 %.
    """

    variant: str
    operators: int
    median: float
    rmspe: float
    within_10: float
    within_15: float
    raw_within_15: float
    coverage: float
    floor_median: float
    floor_within_10: float


@dataclass(frozen=True)
class NetworkError:
    """The error of one network's latency, whole on one variant; times in microseconds.

    ``unknown`` are kinds of operators that the models were never shown.
    """

    network: str
    variant: str
    measured_us: float
    predicted_us: float
    error: float
    raw_error: float
    floor: float
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """Errors of one way of training."""

    training: str
    operators: list[OperatorErrors]
    networks: list[NetworkError]


def main() -> int:
    """Entry point."""
    arguments = _arguments()
    console = Console(stderr=True)

    def say(text: str) -> None:
        console.print(text, highlight=False)

    data = Path(arguments.data)
    excited = excite(data, arguments.excite, say)
    networks = measure_networks(data, model_files(arguments.models), say)
    report: dict[str, Any] = {"excitation_records": len(excited)}
    tables: list[Table] = []
    say("training on random operators only")
    seen = {key for network in networks for key in network.signatures}
    alone = _train([record for record in excited if record.signature not in seen])
    say("training without one network at a time")
    evaluations = [
        evaluate("random operators only", networks, lambda network: alone, excited),
        evaluate(
            "leave one network out",
            networks,
            lambda network: _train(_without(network, networks, excited)),
            excited,
        ),
    ]
    for evaluation in evaluations:
        tables += [operator_table(evaluation), network_table(evaluation)]
    report["evaluations"] = [asdict(evaluation) for evaluation in evaluations]
    say("placements by predictions alone")
    with contextlib.closing(open_store(data, "networks")) as store:
        regrets = [
            measure_regret(network, store, _train(_without(network, networks, excited)), say)
            for network in networks
            if arguments.regret is None or network.name in arguments.regret
        ]
    report["regret"] = [asdict(regret) for regret in regrets]
    if regrets:
        tables.append(regret_table(regrets))
    say("flydels")
    known = {(r.signature, r.target, r.threads): r for r in excited}
    for network in networks:
        known.update(network.records)
    report["flydels"] = flydel_rows(list(known.values()))
    tables.append(flydel_table(report["flydels"]))
    report["speed"] = speed(excited)
    tables.append(speed_table(report["speed"]))
    for table in tables:
        Console(width=max(100, Console().width)).print(table)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=1))
    return 0


def evaluate(
    training: str,
    networks: Sequence[Network],
    models_for: Callable[[Network], dict[Variant, VariantModels]],
    excited: Sequence[Record],
) -> Evaluation:
    """Predict every network with the models that ``models_for`` gives for it."""
    gathered: dict[Variant, list[tuple[Record, float, float, float]]] = {v: [] for v in VARIANTS}
    found: list[NetworkError] = []
    for network in networks:
        models = models_for(network)
        for variant in VARIANTS:
            known = models[variant]
            assert known.operators is not None, "too few records; give --excite"
            records = network.operators(*variant)
            guess = known.operators.predict(quantities([record.workloads[0] for record in records]))
            rows = zip(records, guess.mean_us, guess.low_us, guess.high_us, strict=True)
            gathered[variant] += rows
            whole = network.whole(*variant)
            if whole is not None:
                found.append(_network_error(network, variant, known, *whole))
    operators = [_operator_errors(variant, rows, excited) for variant, rows in gathered.items()]
    return Evaluation(training, operators, found)


def _network_error(
    network: Network, variant: Variant, models: VariantModels, first: Record, second: Record
) -> NetworkError:
    assert models.operators is not None
    times = models.operators.predict(quantities(network.works)).mean_us
    predicted = models.regions.predict_us(network.works, times, models.launch_us)
    quieter = min((first, second), key=lambda record: record.contention)
    return NetworkError(
        network.name,
        _name(variant),
        quieter.median_us,
        predicted,
        predicted / _relative_us(quieter) - 1,
        predicted / quieter.median_us - 1,
        _relative_us(second) / _relative_us(first) - 1,
        tuple(sorted({w.kind for w in network.works if not models.operators.knows(w.kind)})),
    )


def _operator_errors(
    variant: Variant,
    rows: Sequence[tuple[Record, float, float, float]],
    excited: Sequence[Record],
) -> OperatorErrors:
    relative = np.array([_relative_us(record) for record, *_ in rows])
    raw = np.array([record.median_us for record, *_ in rows])
    mean, low, high = (np.array([row[i] for row in rows]) for i in (1, 2, 3))
    counts = raw > _LEAST_US
    error = np.abs(mean / relative - 1)[counts]
    repeats = [
        abs(record.repeat_us / record.median_us - 1)
        for record in (*(row[0] for row in rows), *excited)
        if (record.target, record.threads) == variant
        and record.repeat_us is not None
        and record.median_us > _LEAST_US
    ]
    floor = np.array(repeats or [np.nan])
    return OperatorErrors(
        variant=_name(variant),
        operators=int(counts.sum()),
        median=float(np.median(error)),
        rmspe=float(np.sqrt(np.mean(error**2))),
        within_10=float(np.mean(error <= 0.10)),
        within_15=float(np.mean(error <= 0.15)),
        raw_within_15=float(np.mean(np.abs(mean / raw - 1)[counts] <= 0.15)),
        coverage=float(np.mean((low <= relative) & (relative <= high))),
        floor_median=float(np.median(floor)),
        floor_within_10=float(np.mean(floor <= 0.10)),
    )


def flydel_rows(records_of_all: Sequence[Record]) -> list[dict[str, Any]]:
    """Errors of flydels and of plain XGBoost fitted to as many samples, on held-out ones.

    The held-out ones of a kind are the same for all numbers of samples.
    """
    groups: dict[tuple[Variant, str, str], list[Record]] = {}
    for record in records_of_all:
        if len(record.workloads) == 1 and record.contention <= QUIET:
            work = record.workloads[0]
            key = (record.target, record.threads), work.kind, work.outputs[0].dtype
            groups.setdefault(key, []).append(record)
    rows = []
    for (variant, kind, dtype), records in sorted(groups.items()):
        counts = [n for n in _SAMPLES if n + _HELD_OUT <= len(records)]
        if len(counts) < _LEAST_COUNTS:
            continue
        order = np.random.default_rng(0).permutation(len(records))
        shuffled = [records[i] for i in order]
        held = shuffled[counts[-1] :]
        truth = np.array([record.median_us for record in held])
        row: dict[str, Any] = {"variant": _name(variant), "kind": kind, "dtype": dtype}
        for samples in counts:
            seen = shuffled[:samples]
            flydel = fit_flydel(kind, _sizes(seen), np.array([r.median_us for r in seen]))
            row[f"flydel_{samples}"] = _median_error(flydel.predict_us(_sizes(held)), truth)
            row[f"xgboost_{samples}"] = _median_error(_plain_xgboost(seen, held), truth)
            row["parameters"] = len(flydel.weights)
            row["formula"] = flydel.formula()
        rows.append(row)
    return rows


def _median_error(guess: Floats, truth: Floats) -> float:
    return float(np.median(np.abs(guess / truth - 1)))


def _sizes(records: Sequence[Record]) -> Quantities:
    return quantities([record.workloads[0] for record in records])


def _plain_xgboost(seen: Sequence[Record], held: Sequence[Record]) -> Floats:
    """XGBoost by itself, on the logarithm of the time, as published latency models use it."""
    import xgboost

    data = xgboost.DMatrix(
        _sizes(seen).features, label=np.log([record.median_us for record in seen])
    )
    parameters = {"max_depth": 5, "eta": 0.1, "subsample": 0.9, "nthread": 1}
    booster = xgboost.train(parameters, data, num_boost_round=200)
    return np.exp(np.asarray(booster.predict(xgboost.DMatrix(_sizes(held).features)), np.float64))


def speed(excited: Sequence[Record]) -> dict[str, float]:
    """Seconds of training on 10,000 records, of loading two models, and predictions a second."""
    usable = [record for record in excited if len(record.workloads) == 1]
    many = [usable[i % len(usable)] for i in range(10_000)]
    begin = time.perf_counter()
    models = _train(many)
    train_s = time.perf_counter() - begin
    with tempfile.TemporaryDirectory() as scratch:
        texts = []
        for i, variant in enumerate(VARIANTS[:2]):
            path = Path(scratch) / f"{i}.json"
            path.write_text(json.dumps(models[variant].to_json()))
            texts.append(path)
        begin = time.perf_counter()
        for path in texts:
            VariantModels.from_json(json.loads(path.read_text()))
        load_s = time.perf_counter() - begin
    works = [record.workloads[0] for record in many]
    begin = time.perf_counter()
    sizes = quantities(works)
    for known in models.values():
        assert known.operators is not None
        known.operators.predict(sizes)
    predict_s = time.perf_counter() - begin
    return {
        "records": len(many),
        "train_s": train_s,
        "load_two_s": load_s,
        "predictions_per_s": len(works) * len(models) / predict_s,
    }


def operator_table(evaluation: Evaluation) -> Table:
    """Operators, a row for each variant."""
    table = Table(title=f"operators over {_LEAST_US:.0f} us: {evaluation.training}")
    for column in (
        "variant", "operators", "median error", "RMSPE", "within 10 %", "within 15 %",
        "raw within 15 %", "in 90 % interval", "noise: median", "noise: within 10 %",
    ):  # fmt: skip
        table.add_column(column, justify="right")
    for row in evaluation.operators:
        shares = list(asdict(row).values())[2:]
        table.add_row(row.variant, str(row.operators), *(f"{100 * x:.1f} %" for x in shares))
    return table


def network_table(evaluation: Evaluation) -> Table:
    """Networks, a row for each, and their median and worst."""
    table = Table(title=f"whole networks: {evaluation.training}")
    for column in ("network", "variant", "measured us", "predicted us", "error", "raw", "noise"):
        table.add_column(column, justify="left" if column == "network" else "right")
    table.add_column("kinds never measured")
    for row in evaluation.networks:
        table.add_row(
            row.network,
            row.variant,
            f"{row.measured_us:.0f}",
            f"{row.predicted_us:.0f}",
            *(f"{100 * x:+.1f} %" for x in (row.error, row.raw_error, row.floor)),
            ", ".join(row.unknown),
        )
    known = [row for row in evaluation.networks if not row.unknown]
    for name, rows in (("all", evaluation.networks), ("all kinds measured", known)):
        for label, reduce in (("median", np.median), ("worst", np.max)):
            columns = [[abs(getattr(row, field)) for row in rows] for field in _ERRORS]
            figures = [f"{100 * reduce(column):.1f} %" for column in columns]
            table.add_row(f"{label}, {name}", "", "", "", *figures)
    return table


_ERRORS = ("error", "raw_error", "floor")


def regret_table(rows: Sequence[Regret]) -> Table:
    """Placements by predictions against those by records."""
    table = Table(title="placements by predictions alone, measured against those by records")
    for column in ("network", "by records", "by predictions", "time ratio", "95 % interval"):
        table.add_column(column)
    for row in rows:
        interval = f"{row.low:.3f} to {row.high:.3f}"
        table.add_row(row.network, row.records, row.predictions, f"{row.ratio:.3f}", interval)
    ratios = [row.ratio for row in rows]
    table.add_row("median", "", "", f"{np.median(ratios):.3f}", "")
    table.add_row("worst", "", "", f"{np.max(ratios):.3f}", "")
    return table


def flydel_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Median errors of flydels and of XGBoost by the number of samples."""
    table = Table(title="median error of flydel / XGBoost, by samples")
    for column in ("variant", "kind", "dtype", "parameters", *map(str, _SAMPLES)):
        table.add_column(column)
    for row in rows:
        table.add_row(
            row["variant"],
            row["kind"],
            row["dtype"],
            str(row["parameters"]),
            *(_both(row, samples) for samples in _SAMPLES),
        )
    return table


def _both(row: dict[str, Any], samples: int) -> str:
    if f"flydel_{samples}" not in row:
        return ""
    return f"{100 * row[f'flydel_{samples}']:.1f} / {100 * row[f'xgboost_{samples}']:.1f} %"


def speed_table(figures: dict[str, float]) -> Table:
    """One row a figure."""
    table = Table(title="speed, one thread")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), f"{value:,.2f}")
    return table


def _train(records: Sequence[Record]) -> dict[Variant, VariantModels]:
    return {
        variant: train_variant([r for r in records if (r.target, r.threads) == variant])
        for variant in VARIANTS
    }


def _without(
    network: Network, networks: Sequence[Network], excited: Sequence[Record]
) -> list[Record]:
    """All records but those of the network, of equal operators, and of itself."""
    barred = {*network.signatures, network.key}
    found = {(r.signature, r.target, r.threads): r for r in excited}
    for other in networks:
        if other is not network:
            found.update(other.records)
    return [record for record in found.values() if record.signature not in barred]


def _relative_us(record: Record) -> float:
    """The time, without the slowdown of the reference where that was more than its own noise."""
    return record.median_us / (1.0 if record.contention <= QUIET else record.contention)


def _name(variant: Variant) -> str:
    return f"{variant[0]} x{variant[1]}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Judge the cost models.")
    parser.add_argument("models", nargs="+", metavar="MODEL_OR_DIRECTORY")
    parser.add_argument("--data", required=True, metavar="DIR", help="keeps the measurements")
    parser.add_argument("--excite", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument(
        "--regret",
        nargs="*",
        metavar="NETWORK",
        help="those to place by predictions alone (default: all)",
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
