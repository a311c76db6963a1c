"""The cost models of a machine's variants: trained from its records, kept in a file beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tdse.cost.features import quantities
from tdse.cost.model import CostModel, train
from tdse.cost.region import MINIMUM_CHAINS, SUM, RegionModel, fit_region
from tdse.errors import TdseError
from tdse.measure.records import Record, RecordStore
from tdse.measure.timing import DISTURBED

# The file beside the records; in place of the star, the key of the conditions.
MODELS = "models-*.json"
# Models are trained anew once there are so many times the records they were trained on.
_GROWTH = 1.1
_FORMAT = "tdse.cost-models/2"


@dataclass(frozen=True)
class VariantModels:
    """What was learnt of a target with a thread count.

    Attributes:
        operators: predicts operators; None where too few were measured.
        regions: predicts regions from their operators.
        launch_us: of a launch: no operator took less.
    """

    operators: CostModel | None
    regions: RegionModel
    launch_us: float

    def to_json(self) -> dict[str, Any]:
        """As JSON values, from which ``from_json`` makes equal models."""
        return {
            "operators": self.operators.to_json() if self.operators else None,
            "regions": self.regions.to_json(),
            "launch_us": self.launch_us,
        }

    @staticmethod
    def from_json(fields: Mapping[str, Any]) -> VariantModels:
        """The models that ``to_json`` gave.

        Raises:
            KeyError, TypeError, ValueError: they are something else, or of other terms.
        """
        operators = fields["operators"]
        return VariantModels(
            CostModel.from_json(operators) if operators else None,
            RegionModel.from_json(fields["regions"]),
            fields["launch_us"],
        )


NOTHING = VariantModels(None, SUM, 0.0)


def usable_records(records: Sequence[Record]) -> list[Record]:
    """The records that were not disturbed too much to learn from."""
    return [record for record in records if record.contention <= DISTURBED]


def train_variant(records: Sequence[Record], *, seed: int = 0) -> VariantModels:
    """The models of one variant, from its records of operators and of regions."""
    usable = usable_records(records)
    singles = [record for record in usable if len(record.workloads) == 1]
    launch_us = min((record.median_us for record in singles), default=0.0)
    operators = train(singles, seed=seed)
    regions = SUM
    if operators is not None:
        chains = []
        for record in usable:
            if len(record.workloads) > 1:
                times_us = operators.predict(quantities(record.workloads)).mean_us
                chains.append((record.workloads, times_us, record.median_us))
        regions = fit_region(chains, launch_us)
    return VariantModels(operators, regions, launch_us)


def variant_models(
    store: RecordStore,
    variants: Sequence[tuple[str, int]],
    *,
    begin: Callable[[int, str], None] | None = None,
) -> dict[tuple[str, int], VariantModels]:
    """The models of variants, from the file where the records have not changed since.

    Args:
        store: has the records; the file lies beside it.
        variants: targets with their threads.
        begin: called with the number of variants that are done, and the name of the next.

    Raises:
        TdseError: the store cannot be read, or the file cannot be written.
    """
    path = store.path.with_name(MODELS.replace("*", store.conditions.key))
    kept = _read(path)
    found: dict[tuple[str, int], VariantModels] = {}
    entries: dict[str, Any] = {}
    for target, threads in variants:
        name, records = f"{target} x{threads}", store.count(target, threads)
        if begin is not None:
            begin(len(found), name)
        entry = kept.get(name)
        models = _usable(entry, records)
        if models is None:
            models = train_variant(store.of_variant(target, threads))
            entry = {"records": records, "models": models.to_json()}
        entries[name] = entry
        found[target, threads] = models
    if any(kept.get(name) is not entry for name, entry in entries.items()):
        text = json.dumps({"format": _FORMAT, "variants": {**kept, **entries}})
        _write(path, text)
    return found


def needed_models(
    store: RecordStore,
    variants: Sequence[tuple[str, int]],
    legal: Mapping[str, Collection[str]],
    records: Mapping[tuple[str, str, int], Record],
) -> dict[tuple[str, int], VariantModels]:
    """The models that a cost table asks, and ``NOTHING`` in place of those that it does not.

    Where every operator has a record, and chains are too few to learn from, all is measured.

    Args:
        store: as of ``variant_models``.
        variants: likewise.
        legal: target to the signatures of the operators that may run there.
        records: of ``RecordStore.find``.

    Raises:
        TdseError: as ``variant_models``.
    """
    needed = [
        (target, threads)
        for target, threads in variants
        if any((key, target, threads) not in records for key in legal[target])
        or store.count_regions(target, threads, DISTURBED) >= MINIMUM_CHAINS
    ]
    return {**dict.fromkeys(variants, NOTHING), **variant_models(store, needed)}


def _read(path: Path) -> dict[str, Any]:
    """The variants in the file; none where there is no file, or one that tdse did not write."""
    try:
        fields = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(fields, dict) or fields.get("format") != _FORMAT:
        return {}
    variants = fields.get("variants")
    return variants if isinstance(variants, dict) else {}


def _write(path: Path, text: str) -> None:
    """Write the file in one step, for the user alone: times tell what models somebody has.

    Raises:
        TdseError: it cannot be written.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        beside.write_text(text)
        beside.chmod(0o600)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise TdseError(
            "the cost models cannot be kept",
            where=str(path),
            why=error.strerror or str(error),
            hint="free some space, or point XDG_CACHE_HOME elsewhere",
        ) from None


def _usable(entry: Any, records: int) -> VariantModels | None:
    """The models of an entry, unless the records have changed since, or it cannot be understood."""
    try:
        if not entry["records"] <= records <= _GROWTH * entry["records"]:
            return None
        return VariantModels.from_json(entry["models"])
    except (KeyError, TypeError, ValueError):
        return None
