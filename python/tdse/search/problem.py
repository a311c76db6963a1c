"""The placement problem as arrays: what the search gets, and all that it knows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tdse.search.arrays import Shape, demand, demand_amounts, demand_inside, read_array

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Flow:
    """One tensor on its way: who makes it and who needs it.

    Attributes:
        producer: operator that makes it, -1 for an input of the model.
        consumers: operators that read it, each once, ascending.
        size_bytes: its size.
        is_output: the caller reads it as well.
    """

    producer: int
    consumers: tuple[int, ...]
    size_bytes: int
    is_output: bool = False


# Stands for the array's default, which depends on the other fields.
_DEFAULT: Any = ()


@dataclass(frozen=True, eq=False)
class Problem:
    """Operators, the variants that each may run as, and what everything costs.

    A variant is a way to run an operator on a device, for example ``litert`` with two threads. It
    is the gene of the search: a placement names the variant of each operator. Devices hold their
    tensors in memories, between which links carry them. The first device is the host's: it gives
    the models their inputs and takes their outputs. Several models may share the platform.

    Only the first eight fields must be given. The defaults leave everything free: one device, on
    which one region of any variant runs at a time, no limits, one model. Arrays are copied,
    converted to the dtypes below and made read-only.

    Attributes:
        n_ops: number of operators, numbered in topological order.
        variants: names of the variants.
        cost_us: float64 [n_ops, n_variants], microseconds of the operator as that variant inside a
            region; inf where it is not legal. With a ``variant_batch``, of the whole batch.
        edges: int32 [n_edges, 3], (producer, consumer, tensor), producer < consumer.
        tensor_bytes: int64 [n_tensors], bytes of each tensor.
        launch_us: float64 [n_variants], microseconds that one more region of the variant costs.
        copy_us_per_byte: float64 [n_variants, n_variants], microseconds per byte of a tensor that
            goes from a region of the first to a region of the second variant, spent by the second
            region. The diagonal is for two regions of one variant.
        border_us: float64 [n_variants, n_variants], the same, but once per tensor and consuming
            region.
        single_region: bool [n_variants], there may be at most one region of the variant; none by
            default.
        pins: int32 [n_ops], the variant each operator must run as, -1 for a free choice; all free
            by default.
        inputs: int32 [n, 2], (consumer, tensor) of the models' inputs; none by default.
        outputs: int32 [n, 2], (producer, tensor) of the models' outputs; none by default.
        host_border_us: float64 [n_variants], microseconds per input of the model and consuming
            region, and per output of the model, spent by that region; free by default.
        host_copy_us_per_byte: float64 [n_variants], the same, per byte.
        labels: names of the operators for messages, for example ``12:conv2d``; ``op 12`` where
            there are none.
        cost_low_us: float64 [n_ops, n_variants], the lower end of each cost's interval;
            ``cost_us`` by default.
        cost_high_us: float64 [n_ops, n_variants], the upper end.
        energy_uj: float64 [n_ops, n_variants], microjoules of the operator beyond what
            ``active_w`` accounts for; none by default.
        parameter_bytes: int64 [n_ops], bytes of the operator's constants; none by default.
        variant_device: int32 [n_variants], the device of each variant; the first by default.
        variant_cores: int32 [n_variants], cores (or identical units) of its device that a region
            of the variant occupies; 1 by default.
        variant_batch: int32 [n_variants], inferences that one launch serves; 1 by default.
        active_w: float64 [n_variants], watts that a running region draws beyond the device's idle
            power; none by default.
        prefix: bool [n_variants], an operator may only run as this variant if all operators that
            it reads from do, too; none by default.
        devices: names of the devices; ``cpu`` alone by default.
        device_cores: int32 [n_devices], cores, or identical units, that run side by side; 1 by
            default.
        device_memory: int32 [n_devices], the memory that the device's tensors are in; one of its
            own for each device by default.
        idle_w: float64 [n_devices], watts that the device draws at any time; none by default.
        parameter_capacity_bytes: float64 [n_devices], bytes of constants that one unit of the
            device holds; inf, the default, for no limit.
        slowdown: float64 [n_devices, n_devices], factor of at least 1 by which a region on the
            first device takes longer while one runs on the second; the diagonal is for two regions
            on one device. 1 by default.
        memory_bytes: float64 [n_memories], bytes that constants and tensors may take at any time;
            inf, the default, for no limit.
        link_latency_us: float64 [n_memories, n_memories], microseconds that a transfer from the
            first to the second memory takes before its first byte; none by default.
        link_us_per_byte: float64 [n_memories, n_memories], microseconds per byte of a transfer;
            inf where there is no way; none by default.
        link_bus: int32 [n_memories, n_memories], transfers of the same bus take turns; -1, the
            default, for a link that carries any number at once.
        device_pins: int32 [n_ops], the device each operator must be on, -1 for a free choice; all
            free by default.
        forbidden_pairs: int32 [n, 2], operators that must not be on one device; none by default.
        models: names of the models; ``model`` alone by default.
        model_of: int32 [n_ops], the model of each operator; the first by default. No edge joins
            two models.
        deadline_us: float64 [n_models], microseconds by which a run of each model must be done
            when all start together; inf by default.
        period_us: float64 [n_models], microseconds between two runs of each model that the
            platform must keep up with; inf, the default, for a model without a rate.
        energy_budget_uj: microjoules that one run of all models may take; inf by default.

    Raises:
        TdseError: an array has a wrong shape or a value out of range.
    """

    n_ops: int
    variants: tuple[str, ...]
    cost_us: Floats
    edges: Ints
    tensor_bytes: Longs
    launch_us: Floats
    copy_us_per_byte: Floats
    border_us: Floats
    single_region: Flags = _DEFAULT
    pins: Ints = _DEFAULT
    inputs: Ints = _DEFAULT
    outputs: Ints = _DEFAULT
    host_border_us: Floats = _DEFAULT
    host_copy_us_per_byte: Floats = _DEFAULT
    labels: tuple[str, ...] = ()
    cost_low_us: Floats = _DEFAULT
    cost_high_us: Floats = _DEFAULT
    energy_uj: Floats = _DEFAULT
    parameter_bytes: Longs = _DEFAULT
    variant_device: Ints = _DEFAULT
    variant_cores: Ints = _DEFAULT
    variant_batch: Ints = _DEFAULT
    active_w: Floats = _DEFAULT
    prefix: Flags = _DEFAULT
    devices: tuple[str, ...] = ("cpu",)
    device_cores: Ints = _DEFAULT
    device_memory: Ints = _DEFAULT
    idle_w: Floats = _DEFAULT
    parameter_capacity_bytes: Floats = _DEFAULT
    slowdown: Floats = _DEFAULT
    memory_bytes: Floats = _DEFAULT
    link_latency_us: Floats = _DEFAULT
    link_us_per_byte: Floats = _DEFAULT
    link_bus: Ints = _DEFAULT
    device_pins: Ints = _DEFAULT
    forbidden_pairs: Ints = _DEFAULT
    models: tuple[str, ...] = ("model",)
    model_of: Ints = _DEFAULT
    deadline_us: Floats = _DEFAULT
    period_us: Floats = _DEFAULT
    energy_budget_uj: float = float("inf")

    def __post_init__(self) -> None:
        demand(self.n_ops >= 0, "n_ops", "is negative")
        for name in ("variants", "devices", "models"):
            names = tuple(getattr(self, name))
            object.__setattr__(self, name, names)
            demand(len(names) > 0, name, "is empty")
            demand(len(set(names)) == len(names), name, "holds a name twice")
        object.__setattr__(self, "labels", tuple(self.labels))
        demand(len(self.labels) in (0, self.n_ops), "labels", f"needs {self.n_ops} names, or none")
        self._read_costs()
        self._read_tensors()
        self._read_platform()
        self._read_rules()

    def _read_costs(self) -> None:
        each, by_variant = (self.n_ops, self.n_variants), (self.n_variants,)
        pairs = (self.n_variants, self.n_variants)
        self._amounts("cost_us", each, infinite=True)
        for name in ("cost_low_us", "cost_high_us"):
            self._amounts(name, each, infinite=True, default=self.cost_us)
        for low, high, name in (
            (self.cost_low_us, self.cost_us, "cost_low_us"),
            (self.cost_us, self.cost_high_us, "cost_high_us"),
        ):
            ordered = bool((low <= high).all() and (np.isinf(low) == np.isinf(high)).all())
            demand(ordered, name, "is no end of an interval around cost_us")
        self._amounts("energy_uj", each, default=0.0)
        self._amounts("launch_us", by_variant)
        self._amounts("copy_us_per_byte", pairs)
        self._amounts("border_us", pairs)
        self._amounts("host_border_us", by_variant, default=0.0)
        self._amounts("host_copy_us_per_byte", by_variant, default=0.0)
        self._amounts("active_w", by_variant, default=0.0)

    def _read_tensors(self) -> None:
        self._set("tensor_bytes", np.int64, (None,))
        self._set("parameter_bytes", np.int64, (self.n_ops,), default=0)
        for name in ("tensor_bytes", "parameter_bytes"):
            demand(bool((getattr(self, name) >= 0).all()), name, "has a negative size")
        self._set("edges", np.int32, (None, 3))
        demand_inside("edges", self.edges[:, :2], 0, self.n_ops)
        demand(
            bool((self.edges[:, 0] < self.edges[:, 1]).all()),
            "edges",
            "has a consumer that does not come after its producer",
        )
        demand_inside("edges", self.edges[:, 2], 0, len(self.tensor_bytes))
        for name in ("inputs", "outputs"):
            self._set(name, np.int32, (None, 2))
            demand_inside(name, getattr(self, name)[:, 0], 0, self.n_ops)
            demand_inside(name, getattr(self, name)[:, 1], 0, len(self.tensor_bytes))
        self._indices("model_of", (self.n_ops,), 0, self.n_models, default=0)
        models = self.model_of[self.edges[:, :2]]
        demand(bool((models[:, 0] == models[:, 1]).all()), "edges", "joins two models")

    def _read_platform(self) -> None:
        by_device = (self.n_devices,)
        self._indices("device_cores", by_device, 1, 2**31, default=1)
        variant = (self.n_variants,)
        self._indices("variant_device", variant, 0, self.n_devices, default=0)
        self._indices("variant_cores", variant, 1, 2**31, default=1)
        self._indices("variant_batch", variant, 1, 2**31, default=1)
        demand(
            bool((self.variant_cores <= self.device_cores[self.variant_device]).all()),
            "variant_cores",
            "holds more cores than the device has",
        )
        own = np.arange(self.n_devices)
        self._indices("device_memory", by_device, 0, self.n_devices, default=own)
        used = np.unique(self.device_memory)
        demand(bool((used == np.arange(len(used))).all()), "device_memory", "leaves out a memory")
        self._amounts("idle_w", by_device, default=0.0)
        self._amounts("parameter_capacity_bytes", by_device, infinite=True, default=np.inf)
        self._amounts("slowdown", (self.n_devices, self.n_devices), default=1.0, least=1.0)
        self._amounts("memory_bytes", (self.n_memories,), infinite=True, default=np.inf)
        pairs = (self.n_memories, self.n_memories)
        self._amounts("link_latency_us", pairs, default=0.0)
        self._amounts("link_us_per_byte", pairs, infinite=True, default=0.0)
        self._indices("link_bus", pairs, -1, self.n_memories**2, default=-1)

    def _read_rules(self) -> None:
        self._set("single_region", np.bool_, (self.n_variants,), default=False)
        self._set("prefix", np.bool_, (self.n_variants,), default=False)
        self._indices("pins", (self.n_ops,), -1, self.n_variants, default=-1)
        self._indices("device_pins", (self.n_ops,), -1, self.n_devices, default=-1)
        self._set("forbidden_pairs", np.int32, (None, 2))
        demand_inside("forbidden_pairs", self.forbidden_pairs, 0, self.n_ops)
        different = bool((self.forbidden_pairs[:, 0] != self.forbidden_pairs[:, 1]).all())
        demand(different, "forbidden_pairs", "holds an operator and itself")
        self._amounts("deadline_us", (self.n_models,), infinite=True, default=np.inf)
        self._amounts("period_us", (self.n_models,), infinite=True, default=np.inf)
        demand(bool((self.period_us > 0).all()), "period_us", "holds zero")
        demand(self.energy_budget_uj >= 0, "energy_budget_uj", "is no amount of energy")

    @property
    def n_variants(self) -> int:
        """Number of variants."""
        return len(self.variants)

    @property
    def n_devices(self) -> int:
        """Number of devices."""
        return len(self.devices)

    @property
    def n_models(self) -> int:
        """Number of models."""
        return len(self.models)

    @cached_property
    def n_memories(self) -> int:
        """Number of memories."""
        return int(self.device_memory.max()) + 1

    @cached_property
    def n_buses(self) -> int:
        """Number of buses."""
        return int(self.link_bus.max()) + 1

    def label(self, op: int) -> str:
        """The operator's name in messages."""
        return self.labels[op] if self.labels else f"op {op}"

    def at(self, end: Literal["low", "high"]) -> Problem:
        """The same problem with every operator at that end of its cost's interval."""
        costs = self.cost_low_us if end == "low" else self.cost_high_us
        return dataclasses.replace(self, cost_us=costs, cost_low_us=costs, cost_high_us=costs)

    @cached_property
    def costs(self) -> list[list[float]]:
        """``cost_us`` as lists, which Python reads faster one value at a time."""
        rows: list[list[float]] = self.cost_us.tolist()
        return rows

    @cached_property
    def allowed(self) -> Flags:
        """bool [n_ops, n_variants], what each operator may run as: legal, and as pinned."""
        pins, device_pins = self.pins[:, None], self.device_pins[:, None]
        allowed: Flags = np.isfinite(self.cost_us)
        allowed &= (pins == -1) | (pins == np.arange(self.n_variants))
        allowed &= (device_pins == -1) | (device_pins == self.variant_device)
        return allowed

    @cached_property
    def choices(self) -> tuple[tuple[int, ...], ...]:
        """``allowed`` as the variants of each operator, ascending."""
        return tuple(tuple(np.flatnonzero(row).tolist()) for row in self.allowed)

    @cached_property
    def links(self) -> list[tuple[int, int]]:
        """(producer, consumer) of every edge, each pair once, ascending."""
        return sorted({(int(u), int(v)) for u, v in self.edges[:, :2].tolist()})

    @cached_property
    def link_array(self) -> Ints:
        """``links`` as int32 [n_links, 2]."""
        return np.array(self.links, np.int32).reshape(-1, 2)

    @cached_property
    def flows(self) -> tuple[Flow, ...]:
        """The tensors between operators, one entry a tensor."""
        readers: dict[tuple[int, int], set[int]] = {}
        for producer, consumer, tensor in self.edges.tolist():
            readers.setdefault((producer, tensor), set()).add(consumer)
        return tuple(
            Flow(producer, tuple(sorted(consumers)), int(self.tensor_bytes[tensor]))
            for (producer, tensor), consumers in sorted(readers.items())
        )

    @cached_property
    def input_flows(self) -> tuple[Flow, ...]:
        """The models' inputs, one entry a tensor."""
        readers: dict[int, set[int]] = {}
        for consumer, tensor in self.inputs.tolist():
            readers.setdefault(tensor, set()).add(consumer)
        return tuple(
            Flow(-1, tuple(sorted(consumers)), int(self.tensor_bytes[tensor]))
            for tensor, consumers in sorted(readers.items())
        )

    @cached_property
    def output_flows(self) -> tuple[Flow, ...]:
        """The models' outputs, one entry a tensor, without consumers."""
        return tuple(
            Flow(producer, (), int(self.tensor_bytes[tensor]))
            for producer, tensor in sorted({(int(p), int(t)) for p, t in self.outputs.tolist()})
        )

    @cached_property
    def values(self) -> tuple[Flow, ...]:
        """All tensors that an operator or the caller hands over, one entry a tensor.

        The inputs of the models come first, then the others by their producer and tensor.
        """
        readers: dict[tuple[int, int], set[int]] = {
            (producer, tensor): set() for producer, tensor in self.outputs.tolist()
        }
        made = set(readers)
        for producer, consumer, tensor in self.edges.tolist():
            readers.setdefault((producer, tensor), set()).add(consumer)
        return self.input_flows + tuple(
            Flow(
                producer,
                tuple(sorted(consumers)),
                int(self.tensor_bytes[tensor]),
                (producer, tensor) in made,
            )
            for (producer, tensor), consumers in sorted(readers.items())
        )

    @cached_property
    def transfer_us(self) -> list[list[list[float]]]:
        """Microseconds of each of ``flows`` between regions: [flow][from variant][to variant]."""
        return [
            (self.border_us + self.copy_us_per_byte * flow.size_bytes).tolist()
            for flow in self.flows
        ]

    @cached_property
    def host_us(self) -> list[list[float]]:
        """Microseconds of each input, then each output of the models: [flow][variant]."""
        return [
            (self.host_border_us + self.host_copy_us_per_byte * flow.size_bytes).tolist()
            for flow in (*self.input_flows, *self.output_flows)
        ]

    def _set(
        self,
        name: str,
        dtype: type[np.generic],
        shape: Shape,
        *,
        default: Any = None,
    ) -> None:
        values = read_array(name, getattr(self, name), dtype, shape, default=default)
        object.__setattr__(self, name, values)

    def _amounts(
        self,
        name: str,
        shape: Shape,
        *,
        infinite: bool = False,
        default: Any = None,
        least: float = 0.0,
    ) -> None:
        self._set(name, np.float64, shape, default=default)
        demand_amounts(name, getattr(self, name), infinite=infinite, least=least)

    def _indices(self, name: str, shape: Shape, low: int, end: int, *, default: Any = None) -> None:
        self._set(name, np.int32, shape, default=default)
        demand_inside(name, getattr(self, name), low, end)


def listed(labels: Sequence[str], limit: int = 6) -> str:
    """Names for a message: all of a few, the first ones and a count of many."""
    if len(labels) <= limit:
        return ", ".join(labels)
    return f"{', '.join(labels[:limit])} and {len(labels) - limit} more"
