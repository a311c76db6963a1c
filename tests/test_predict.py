"""Predictions of a small model from made-up records, against sums done by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tdse.cli.main import main
from tdse.cost.features import quantities
from tdse.cost.library import variant_models
from tdse.cost.table import MODELLED
from tdse.errors import ModelError, TdseError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.signature import signature
from tdse.graph.workload import workload
from tdse.legality import Legality
from tdse.measure.conditions import Conditions, current_conditions
from tdse.measure.launch import launch_graph
from tdse.measure.records import Record, RecordStore
from tdse.outlook import Choice, Outlook, outlook
from tdse.platform import Device
from tdse.predict import predict
from tdse.targets import Support

pytestmark = pytest.mark.tvm
ModelPath = Callable[[str], Path]
Variant = tuple[str, int]
LITERT, LLVM = ("litert", 1), ("llvm", 1)
_BOARD = Conditions("Raspberry Pi 4 Model B", 4, (0, 1, 2, 3), "", 0.0, ())
_LAUNCH_US = 2.0
_SPREAD_US = 1.0


@pytest.fixture(scope="module")
def graph(tiny_conv_int8: Path) -> Graph:
    return read_tflite(tiny_conv_int8)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RecordStore]:
    opened = RecordStore(_BOARD, tmp_path / "records.sqlite")
    yield opened
    opened.close()


def _litert_us(graph: Graph, op: int) -> float:
    """LiteRT is slow at HARD_SWISH only."""
    return 500.0 if graph.ops[op].kind == "hard_swish" else 10.0 + op


def _llvm_us(graph: Graph, op: int) -> float:
    return 3.0 if graph.ops[op].kind == "hard_swish" else 1000.0 + op


TIMES: Mapping[Variant, Callable[[Graph, int], float]] = {LITERT: _litert_us, LLVM: _llvm_us}


def _record(graph: Graph, op: int, variant: Variant, time_us: float, name: str = "") -> Record:
    work = workload(graph, graph.ops[op])
    return Record(name or signature(graph, op), *variant, (work,), time_us, _SPREAD_US, 10)


def _add_records(
    store: RecordStore, graph: Graph, variant: Variant, leave_out: frozenset[int] = frozenset()
) -> None:
    """Records of a launch and of the model's operators."""
    store.add(
        [_record(launch_graph(), 0, variant, _LAUNCH_US)]
        + [
            _record(graph, op, variant, TIMES[variant](graph, op))
            for op in graph.placed_ops
            if op not in leave_out
        ]
    )


def _add_learnt(store: RecordStore, graph: Graph, variant: Variant) -> None:
    """Enough further records to learn a model from."""
    store.add(
        [
            _record(graph, op, variant, TIMES[variant](graph, op) * (1 + 0.02 * i), f"{op}.{i}")
            for op in graph.placed_ops
            for i in range(5)
        ]
    )


def _legality(graph: Graph, refused: Mapping[tuple[str, int], str] | None = None) -> Legality:
    refused = refused or {}
    return Legality(
        ("litert", "llvm"),
        {
            target: {
                op: Support((target, op) not in refused, refused.get((target, op), ""))
                for op in graph.placed_ops
            }
            for target in ("litert", "llvm")
        },
        {op: signature(graph, op) for op in graph.placed_ops},
    )


def _outlook(
    graph: Graph, legality: Legality, store: RecordStore, power_w: float | None = None
) -> Outlook:
    def say(stage: str, done: int, total: int, detail: str) -> None:
        pass

    device = Device(name="cpu", targets=("litert", "llvm"), active_w_per_core=power_w)
    return outlook(graph, legality, (1,), store, device, name="board", seed=0, say=say)


def _named(found: Outlook) -> dict[str, Choice]:
    return {choice.name: choice for choice in found.choices}


def test_measured_times_add_up(graph: Graph, store: RecordStore) -> None:
    for variant in TIMES:
        _add_records(store, graph, variant)
    found = _outlook(graph, _legality(graph), store)
    assert [choice.name for choice in found.choices] == ["placed x1", "litert x1", "llvm x1"]
    assert (found.machine, found.left_out) == (_BOARD.cpu, ())
    # A record is of one launch and the operator; a region is launched once.
    costs = {
        v: {op: t(graph, op) - _LAUNCH_US for op in graph.placed_ops} for v, t in TIMES.items()
    }
    swish = [op for op in graph.placed_ops if graph.ops[op].kind == "hard_swish"]
    whole = _named(found)["litert x1"]
    assert whole.latency_us == pytest.approx(_LAUNCH_US + sum(costs[LITERT].values()))
    assert (whole.regions, whole.targets) == (1, {"litert": 13})
    half_us = len(costs[LITERT]) * _SPREAD_US / 2
    assert whole.low_us == pytest.approx(whole.latency_us - half_us)
    assert whole.high_us == pytest.approx(whole.latency_us + half_us)
    # Each of the two HARD_SWISH parts the chain in front of it from that behind it.
    placed = _named(found)["placed x1"]
    assert (placed.regions, placed.targets) == (5, {"litert": 11, "llvm": 2})
    assert placed.latency_us == pytest.approx(
        5 * _LAUNCH_US + sum(costs[LLVM if op in swish else LITERT][op] for op in graph.placed_ops)
    )
    assert placed.ops == {"measured": 13, "predicted": 0, "modelled": 0}
    assert placed.peak_memory_bytes.source == MODELLED
    assert placed.peak_memory_bytes.value > 1e6
    # The board has no power figures, so nothing is said of its energy.
    assert placed.energy_mj is None
    known = _named(_outlook(graph, _legality(graph), store, power_w=2.0))["placed x1"].energy_mj
    assert known is not None and known.source == MODELLED
    assert known.value == pytest.approx(2.0 * placed.latency_us / 1000)


def test_rates_are_of_the_latency(graph: Graph, store: RecordStore) -> None:
    for variant in TIMES:
        _add_records(store, graph, variant)
    choices = _named(_outlook(graph, _legality(graph), store))
    macs = sum(graph.ops[op].macs for op in graph.placed_ops)
    for variant in TIMES:
        choice = choices[f"{variant[0]} x1"]
        best = max(graph.ops[op].macs / TIMES[variant](graph, op) for op in graph.placed_ops)
        assert choice.gmacs_per_s == pytest.approx(macs / choice.latency_us / 1000)
        assert choice.utilisation == pytest.approx(macs / choice.latency_us / best)
    assert 0 < (choices["placed x1"].utilisation or 0) < 1


def test_a_record_beats_a_prediction(graph: Graph, store: RecordStore) -> None:
    _add_records(store, graph, LLVM)
    convolution = next(op for op in graph.placed_ops if graph.ops[op].kind == "conv2d")
    _add_records(store, graph, LITERT, frozenset({convolution}))
    _add_learnt(store, graph, LITERT)
    before = _named(_outlook(graph, _legality(graph), store))["litert x1"]
    assert before.ops == {"measured": 12, "predicted": 1, "modelled": 0}
    assert before.low_us is not None and before.high_us is not None
    assert before.low_us < before.latency_us < before.high_us
    models = variant_models(store, [LITERT])[LITERT]
    assert models.operators is not None
    work = workload(graph, graph.ops[convolution])
    predicted_us = models.operators.predict(quantities([work])).mean_us[0]
    store.add([_record(graph, convolution, LITERT, 70.0)])
    after = _named(_outlook(graph, _legality(graph), store))["litert x1"]
    assert after.ops == {"measured": 13, "predicted": 0, "modelled": 0}
    assert after.latency_us - before.latency_us == pytest.approx(70.0 - predicted_us)


def test_a_region_model_sets_the_interval(graph: Graph, store: RecordStore) -> None:
    for variant in TIMES:
        _add_records(store, graph, variant)
    _add_learnt(store, graph, LITERT)
    ops = graph.placed_ops
    chains = []
    for i in range(16):
        chain = [ops[(i + k) % len(ops)] for k in range(3)]
        time_us = sum(_litert_us(graph, op) for op in chain) * (1.1 + 0.02 * (i % 4))
        works = tuple(workload(graph, graph.ops[op]) for op in chain)
        chains.append(Record(f"chain {i}", *LITERT, works, time_us, 0.0, 10))
    store.add(chains)
    found = _outlook(graph, _legality(graph), store)
    whole = _named(found)["litert x1"]
    margin = variant_models(store, [LITERT])[LITERT].regions.margin
    assert margin > 0 and whole.low_us is not None and whole.high_us is not None
    assert math.log(whole.high_us / whole.latency_us) == pytest.approx(margin)
    assert math.log(whole.latency_us / whole.low_us) == pytest.approx(margin)
    assert {basis.variant: basis.chains for basis in found.basis} == {"litert x1": 16, "llvm x1": 0}


def test_a_guess_has_no_interval(graph: Graph, store: RecordStore) -> None:
    first, second = graph.placed_ops[:2]
    _add_records(store, graph, LITERT, frozenset({first, second}))
    _add_records(store, graph, LLVM, frozenset({first}))
    found = _outlook(graph, _legality(graph), store)
    # Nothing is known of the first on either target, of the second on LiteRT.
    assert found.choices and all(choice.ops["modelled"] == 1 for choice in found.choices)
    assert all(choice.low_us is None and choice.high_us is None for choice in found.choices)
    assert dict(found.left_out) == {
        "litert x1": f"nothing is known of the time of op {graph.ops[second].label}; "
        "run `tdse profile --budget 600`",
        "llvm x1": f"nothing is known of the time of op {graph.ops[first].label}; "
        "run `tdse profile --budget 600`",
    }


def test_what_a_target_refuses_is_told(graph: Graph, store: RecordStore) -> None:
    for variant in TIMES:
        _add_records(store, graph, variant)
    last = graph.placed_ops[-1]
    found = _outlook(graph, _legality(graph, {("llvm", last): "no softmax"}), store)
    assert dict(found.left_out) == {
        "llvm x1": f"it cannot run op {graph.ops[last].label}: no softmax"
    }
    refused = {(target, last): "no softmax" for target in ("litert", "llvm")}
    with pytest.raises(ModelError, match=r"12:softmax .* runs on no target: litert: no softmax"):
        _outlook(graph, _legality(graph, refused), store)


def test_a_variant_of_which_nothing_is_known(graph: Graph, store: RecordStore) -> None:
    _add_records(store, graph, LITERT)
    with pytest.raises(TdseError, match=r"no cost models of llvm x1: .*tdse profile --budget 600"):
        _outlook(graph, _legality(graph), store)


@pytest.fixture
def cache(graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordStore]:
    """The user's store, in which this machine's targets have said yes to everything."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    opened = RecordStore(current_conditions())
    for target in ("litert", "llvm"):
        opened.add_support([(signature(graph, op), target, True, "") for op in graph.placed_ops])
    yield opened
    opened.close()


def test_another_machine_is_predicted_from_its_records(
    graph: Graph, cache: RecordStore, tiny_conv_int8: Path
) -> None:
    with pytest.raises(
        TdseError, match=r"no records of Raspberry Pi 4 Model B \(4 cores\).*import"
    ):
        predict(tiny_conv_int8, platforms=["rpi4"])
    board = RecordStore(_BOARD)
    for variant in TIMES:
        _add_records(board, graph, variant)
    first = graph.placed_ops[0]
    board.add_support([(signature(graph, first), "llvm", False, "off by 2 steps")])
    board.close()
    found = predict(tiny_conv_int8, platforms=["rpi4"], threads=1)
    assert (found.model, found.ops) == ("tiny_conv_int8", 13)
    (only,) = found.platforms
    assert (only.platform, only.machine) == ("rpi4", _BOARD.cpu)
    assert _named(only).keys() == {"placed x1", "litert x1"}
    assert "off by 2 steps" in dict(only.left_out)["llvm x1"]
    # The board's word is not taken for this machine's.
    assert cache.find_support(signature(graph, first), "llvm") == (True, "")


def test_the_command(
    graph: Graph, cache: RecordStore, tiny_conv_int8: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", str(tiny_conv_int8), "--threads", "1", "--targets", "litert,llvm"]
    assert main(command) == 1
    assert "there are no cost models of litert x1, llvm x1" in capsys.readouterr().err
    for variant in TIMES:
        _add_records(cache, graph, variant)
    assert main([*command, "--json"]) == 0
    fields = json.loads(capsys.readouterr().out)
    assert (fields["ops"], fields["macs"]) == (13, sum(op.macs for op in graph.ops))
    constants = [tensor.size_bytes for tensor in graph.tensors if tensor.is_constant]
    assert fields["parameter_bytes"] == sum(constants)
    (host,) = fields["platforms"]
    assert host["platform"] == "host"
    assert [choice["name"] for choice in host["choices"]] == ["placed x1", "litert x1", "llvm x1"]
    latencies = [choice["latency_us"] for choice in host["choices"]]
    assert latencies == sorted(latencies)
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "placed x1" in text and "13 measured" in text and "litert 11, llvm 2" in text
    assert "litert x1, llvm x1: too few chains of operators were measured" in text
    assert "mJ" not in text and "peak memory is modelled" in text
    assert main([*command, "--targets", "litert"]) == 0
    assert "llvm" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("custom_op", "ExampleFilter"),
        ("resource_variable", "the time of this model cannot be predicted"),
        ("dynamic_output", "a shape that is only known when it runs"),
    ],
)
def test_models_that_cannot_be_predicted(
    name: str, why: str, model_path: ModelPath, cache: RecordStore
) -> None:
    with pytest.raises(ModelError, match=why):
        predict(model_path(name))
