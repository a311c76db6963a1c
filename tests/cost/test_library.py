"""Cost models are trained once, kept beside the records, and trained anew when these have grown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tdse.cost import library
from tdse.cost.features import Quantities, quantities
from tdse.cost.library import (
    NOTHING,
    VariantModels,
    needed_models,
    train_variant,
    variant_models,
)
from tdse.cost.model import MINIMUM_RECORDS
from tdse.cost.region import MINIMUM_CHAINS, SUM
from tdse.measure.conditions import Conditions
from tdse.measure.records import Record, RecordStore
from works import sized_work

CONDITIONS = Conditions("cpu", 2, (0, 1), "", 0.5, (("tdse", "1"),))
COUNT = 3 * MINIMUM_RECORDS
LITERT = ("litert", 1)
LLVM = ("llvm", 1)


def _records(count: int, *, target: str = "litert", first: int = 0) -> list[Record]:
    """Additions whose time follows from their bytes."""
    found = []
    for i in range(first, first + count):
        work = sized_work("add", np.random.default_rng(i))
        time_us = 0.5 + work.input_bytes * 1e-3
        found.append(Record(f"add {i}", target, 1, (work,), time_us, 0.1, 10))
    return found


def _chains(count: int) -> list[Record]:
    """Chains of three, twice as fast as their operators one by one."""
    singles = _records(3 * count)
    return [
        Record(
            f"chain {i}",
            "litert",
            1,
            tuple(record.workloads[0] for record in three),
            sum(record.median_us for record in three) / 2,
            0.1,
            10,
        )
        for i in range(count)
        for three in [singles[3 * i : 3 * i + 3]]
    ]


def _predictions(models: VariantModels) -> list[list[float]]:
    assert models.operators is not None
    found = models.operators.predict(
        quantities([record.workloads[0] for record in _records(10, first=1000)])
    )
    return [found.mean_us.tolist(), found.low_us.tolist(), found.high_us.tolist()]


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    found = RecordStore(CONDITIONS, tmp_path / "records.sqlite")
    found.add(_records(COUNT))
    return found


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of records of each training."""
    found: list[int] = []

    def count(records: Sequence[Record], *, seed: int = 0) -> VariantModels:
        found.append(len(records))
        return train_variant(records, seed=seed)

    monkeypatch.setattr(library, "train_variant", count)
    return found


def _file(store: RecordStore) -> Path:
    (path,) = store.path.parent.glob("models-*.json")
    return path


def test_models_are_trained_once_and_kept(store: RecordStore, trained: list[int]) -> None:
    first = variant_models(store, [LITERT])[LITERT]
    again = variant_models(RecordStore(CONDITIONS, store.path), [LITERT])[LITERT]
    assert trained == [COUNT]
    assert _predictions(again) == _predictions(first)
    assert (again.regions, again.launch_us) == (first.regions, first.launch_us)
    assert _file(store).stat().st_mode & 0o777 == 0o600


def test_a_few_more_records_do_not_train_and_many_do(
    store: RecordStore, trained: list[int]
) -> None:
    variant_models(store, [LITERT])
    store.add(_records(1, first=COUNT))
    variant_models(store, [LITERT])
    assert trained == [COUNT]
    store.add(_records(COUNT, first=COUNT))
    variant_models(store, [LITERT])
    assert trained == [COUNT, 2 * COUNT]


def test_fewer_records_than_were_trained_on_train(
    store: RecordStore, trained: list[int], tmp_path: Path
) -> None:
    variant_models(store, [LITERT])
    kept = _file(store).read_text()
    smaller = RecordStore(CONDITIONS, tmp_path / "other" / "records.sqlite")
    smaller.add(_records(MINIMUM_RECORDS))
    (smaller.path.parent / _file(store).name).write_text(kept)
    variant_models(smaller, [LITERT])
    assert trained == [COUNT, MINIMUM_RECORDS]


def test_variants_stand_beside_each_other(store: RecordStore, trained: list[int]) -> None:
    variant_models(store, [LITERT])
    assert variant_models(store, [LLVM])[LLVM] == NOTHING
    variant_models(store, [LITERT, LLVM])
    assert trained == [COUNT, 0]


def test_models_are_made_only_where_something_is_unknown(
    store: RecordStore, trained: list[int]
) -> None:
    keys = {"litert": {"add 1", "add 2"}, "llvm": {"add 1"}}
    store.add(_records(1, target="llvm", first=1))
    known = store.find({"add 1", "add 2", "add of a model"})
    both = [LITERT, LLVM]
    assert needed_models(store, both, keys, known) == {LITERT: NOTHING, LLVM: NOTHING}
    assert not trained and not list(store.path.parent.glob("models-*.json"))
    found = needed_models(store, both, {**keys, "litert": {"add of a model"}}, known)
    assert found[LITERT] != NOTHING and found[LLVM] == NOTHING
    assert trained == [COUNT]


def test_models_are_made_where_regions_can_be_learnt(
    store: RecordStore, trained: list[int]
) -> None:
    keys, known = {"litert": {"add 1"}}, store.find({"add 1"})
    chains = _chains(MINIMUM_CHAINS)
    store.add([*chains[:-1], replace(chains[-1], contention=3.0)])
    assert needed_models(store, [LITERT], keys, known) == {LITERT: NOTHING}
    store.add(chains)
    assert needed_models(store, [LITERT], keys, known)[LITERT].regions != SUM
    assert trained == [COUNT + MINIMUM_CHAINS]


def test_each_variant_is_named_before_it_is_learnt(store: RecordStore) -> None:
    said: list[tuple[int, str]] = []
    variant_models(store, [LITERT, LLVM], begin=lambda done, name: said.append((done, name)))
    assert said == [(0, "litert x1"), (1, "llvm x1")]


def test_other_conditions_have_models_of_their_own(store: RecordStore, trained: list[int]) -> None:
    variant_models(store, [LITERT])
    other = RecordStore(replace(CONDITIONS, cpu="another"), store.path)
    assert variant_models(other, [LITERT])[LITERT] == NOTHING
    variant_models(store, [LITERT])
    assert trained == [COUNT, 0]


def _break_booster(text: str) -> str:
    fields = json.loads(text)
    fields["variants"]["litert x1"]["models"]["operators"]["factor"] = "AAAA"
    return json.dumps(fields)


def _rename_regressors(text: str) -> str:
    fields = json.loads(text)
    for _, _, flydel in fields["variants"]["litert x1"]["models"]["operators"]["flydels"]:
        flydel["weights"] = {"of_old": 1.0}
    return json.dumps(fields)


def _rename_terms(text: str) -> str:
    fields = json.loads(text)
    fields["variants"]["litert x1"]["models"]["regions"]["weights"] = {"of_old": 1.0}
    return json.dumps(fields)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: '{"format": "another"}',
        lambda text: text.replace('"variants"', '"of_old"', 1),
        lambda text: text.replace('"records"', '"of_old"', 1),
        lambda text: text.replace('"operators"', '"of_old"', 1),
        lambda text: text.replace('"factor"', '"of_old"', 1),
        lambda text: (
            text.replace('"variants": {', '"variants": {"litert x1": 3, "of_old": {', 1) + "}"
        ),
        _break_booster,
        _rename_regressors,
        _rename_terms,
        lambda text: "\udcff" + text,
    ],
)
def test_a_file_that_is_damaged_is_written_anew(
    damage: object, store: RecordStore, trained: list[int]
) -> None:
    assert callable(damage)
    first = variant_models(store, [LITERT])[LITERT]
    path = _file(store)
    path.write_bytes(damage(path.read_text()).encode(errors="surrogateescape"))
    second = variant_models(store, [LITERT])[LITERT]
    assert _predictions(second) == _predictions(first)
    variant_models(store, [LITERT])
    assert trained == [COUNT, COUNT]


def test_models_of_other_features_are_trained_anew(
    store: RecordStore, trained: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    variant_models(store, [LITERT])
    monkeypatch.setattr(Quantities, "features", property(lambda self: self.table[:, :2]))
    monkeypatch.setattr("tdse.cost.model.FEATURE_NAMES", ("first", "second"))
    assert _predictions(variant_models(store, [LITERT])[LITERT])
    assert trained == [COUNT, COUNT]


def test_json_gives_equal_models() -> None:
    models = train_variant([*_records(COUNT), *_chains(MINIMUM_CHAINS)])
    assert models.regions != SUM
    again = VariantModels.from_json(json.loads(json.dumps(models.to_json())))
    assert _predictions(again) == _predictions(models)
    assert again.regions == models.regions
    assert again.launch_us == models.launch_us == min(r.median_us for r in _records(COUNT))
    assert VariantModels.from_json(json.loads(json.dumps(NOTHING.to_json()))) == NOTHING


def test_disturbed_records_are_left_out() -> None:
    records, chains = _records(COUNT), _chains(MINIMUM_CHAINS)
    disturbed = [
        replace(record, signature=f"{record.signature} again", median_us=9e4, contention=3.0)
        for record in (*_records(COUNT, first=COUNT), *chains)
    ]
    plain, given = (
        train_variant([*records, *chains]),
        train_variant([*records, *chains, *disturbed]),
    )
    assert _predictions(given) == _predictions(plain)
    assert given.regions == plain.regions
    assert train_variant(disturbed) == NOTHING


def test_records_of_earlier_versions_teach_nothing() -> None:
    assert train_variant([replace(record, workloads=()) for record in _records(COUNT)]) == NOTHING
