"""The placement problem as arrays: what the search gets, and all that it knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tdse.errors import TdseError

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
    """

    producer: int
    consumers: tuple[int, ...]
    size_bytes: int


def _no_pairs() -> Ints:
    return np.zeros((0, 2), np.int32)


def _no_floats() -> Floats:
    return np.zeros(0, np.float64)


@dataclass(frozen=True, eq=False)
class Problem:
    """Operators, the device choices each may go to, and what everything costs.

    A device choice is whatever the caller wants told apart, for example ``litert`` and ``llvm``.
    All choices share one lane: the time of a run is the sum of what is run. Arrays are copied,
    converted to the dtypes below and made read-only.

    Attributes:
        n_ops: number of operators, numbered in topological order.
        devices: names of the device choices.
        cost_us: float64 [n_ops, n_devices], microseconds of the operator on the device inside a
            region; inf where it is not legal.
        edges: int32 [n_edges, 3], (producer, consumer, tensor), producer < consumer.
        tensor_bytes: int64 [n_tensors], bytes of each tensor.
        launch_us: float64 [n_devices], microseconds that one more region on the device costs.
        copy_us_per_byte: float64 [n_devices, n_devices], microseconds per byte of a tensor that
            goes from a region on the first to a region on the second device. The diagonal is for
            two regions on one device.
        border_us: float64 [n_devices, n_devices], the same, but once per tensor and consuming
            region.
        single_region: bool [n_devices], the device may hold at most one region; none by default.
        pins: int32 [n_ops], the device each operator must go to, -1 for a free choice; all free
            by default.
        inputs: int32 [n, 2], (consumer, tensor) of the model's inputs; none by default.
        outputs: int32 [n, 2], (producer, tensor) of the model's outputs; none by default.
        host_border_us: float64 [n_devices], microseconds per input of the model and consuming
            region, and per output of the model; free by default.
        host_copy_us_per_byte: float64 [n_devices], the same, per byte.
        labels: names of the operators for messages, for example ``12:conv2d``; ``op 12`` where
            there are none.

    Raises:
        TdseError: an array has a wrong shape or a value out of range.
    """

    n_ops: int
    devices: tuple[str, ...]
    cost_us: Floats
    edges: Ints
    tensor_bytes: Longs
    launch_us: Floats
    copy_us_per_byte: Floats
    border_us: Floats
    single_region: Flags = field(default_factory=lambda: np.zeros(0, np.bool_))
    pins: Ints = field(default_factory=lambda: np.zeros(0, np.int32))
    inputs: Ints = field(default_factory=_no_pairs)
    outputs: Ints = field(default_factory=_no_pairs)
    host_border_us: Floats = field(default_factory=_no_floats)
    host_copy_us_per_byte: Floats = field(default_factory=_no_floats)
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "devices", tuple(self.devices))
        object.__setattr__(self, "labels", tuple(self.labels))
        n_ops, n_devices = self.n_ops, len(self.devices)
        _demand(n_ops >= 0, "n_ops", "is negative")
        _demand(n_devices > 0, "devices", "is empty")
        _demand(len(set(self.devices)) == n_devices, "devices", "holds a name twice")
        _demand(len(self.labels) in (0, n_ops), "labels", f"needs {n_ops} names, or none")
        self._floats("cost_us", (n_ops, n_devices), infinite=True)
        self._floats("launch_us", (n_devices,))
        self._floats("copy_us_per_byte", (n_devices, n_devices))
        self._floats("border_us", (n_devices, n_devices))
        self._floats("host_border_us", (n_devices,), default=0.0)
        self._floats("host_copy_us_per_byte", (n_devices,), default=0.0)
        self._set("single_region", np.bool_, (n_devices,), default=False)
        self._set("pins", np.int32, (n_ops,), default=-1)
        self._inside("pins", self.pins, -1, n_devices)
        self._set("tensor_bytes", np.int64, (None,))
        _demand(bool((self.tensor_bytes >= 0).all()), "tensor_bytes", "has a negative size")
        self._set("edges", np.int32, (None, 3))
        self._inside("edges", self.edges[:, :2], 0, n_ops)
        _demand(
            bool((self.edges[:, 0] < self.edges[:, 1]).all()),
            "edges",
            "has a consumer that does not come after its producer",
        )
        self._inside("edges", self.edges[:, 2], 0, len(self.tensor_bytes))
        for name in ("inputs", "outputs"):
            self._set(name, np.int32, (None, 2))
            self._inside(name, getattr(self, name)[:, 0], 0, n_ops)
            self._inside(name, getattr(self, name)[:, 1], 0, len(self.tensor_bytes))

    @property
    def n_devices(self) -> int:
        """Number of device choices."""
        return len(self.devices)

    def label(self, op: int) -> str:
        """The operator's name in messages."""
        return self.labels[op] if self.labels else f"op {op}"

    @cached_property
    def costs(self) -> list[list[float]]:
        """``cost_us`` as lists, which Python reads faster one value at a time."""
        rows: list[list[float]] = self.cost_us.tolist()
        return rows

    @cached_property
    def choices(self) -> tuple[tuple[int, ...], ...]:
        """The devices each operator may go to: legal there, and as pinned."""
        return tuple(
            tuple(
                device
                for device in range(self.n_devices)
                if row[device] != float("inf") and pin in (-1, device)
            )
            for row, pin in zip(self.costs, self.pins.tolist(), strict=True)
        )

    @cached_property
    def links(self) -> list[tuple[int, int]]:
        """(producer, consumer) of every edge, each pair once, ascending."""
        return sorted({(int(u), int(v)) for u, v in self.edges[:, :2].tolist()})

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
        """The model's inputs, one entry a tensor."""
        readers: dict[int, set[int]] = {}
        for consumer, tensor in self.inputs.tolist():
            readers.setdefault(tensor, set()).add(consumer)
        return tuple(
            Flow(-1, tuple(sorted(consumers)), int(self.tensor_bytes[tensor]))
            for tensor, consumers in sorted(readers.items())
        )

    @cached_property
    def output_flows(self) -> tuple[Flow, ...]:
        """The model's outputs, one entry a tensor, without consumers."""
        return tuple(
            Flow(producer, (), int(self.tensor_bytes[tensor]))
            for producer, tensor in sorted({(int(p), int(t)) for p, t in self.outputs.tolist()})
        )

    @cached_property
    def transfer_us(self) -> list[list[list[float]]]:
        """Microseconds of each of ``flows`` between two regions: [flow][from device][to device]."""
        return [
            (self.border_us + self.copy_us_per_byte * flow.size_bytes).tolist()
            for flow in self.flows
        ]

    @cached_property
    def host_us(self) -> list[list[float]]:
        """Microseconds of each input, then each output of the model: [flow][device]."""
        return [
            (self.host_border_us + self.host_copy_us_per_byte * flow.size_bytes).tolist()
            for flow in (*self.input_flows, *self.output_flows)
        ]

    def _floats(
        self,
        name: str,
        shape: tuple[int, ...],
        *,
        infinite: bool = False,
        default: float | None = None,
    ) -> None:
        self._set(name, np.float64, shape, default=default)
        values = getattr(self, name)
        _demand(not np.isnan(values).any(), name, "holds a value that is not a number")
        _demand(bool((values >= 0).all()), name, "holds a negative value")
        _demand(infinite or bool(np.isfinite(values).all()), name, "holds an infinite value")

    def _set(
        self,
        name: str,
        dtype: type[np.generic],
        shape: tuple[int | None, ...],
        *,
        default: float | None = None,
    ) -> None:
        values = _array(name, getattr(self, name), dtype)
        if default is not None and values.size == 0:
            values = np.full([size or 0 for size in shape], default, dtype)
        if values.size == 0 and len(shape) == 2 and shape[0] is None:
            values = values.reshape(0, shape[1] or 0)
        fits = len(shape) == values.ndim and all(
            wanted in (None, size) for wanted, size in zip(shape, values.shape, strict=True)
        )
        text = " x ".join("n" if size is None else str(size) for size in shape)
        _demand(fits, name, f"has shape {values.shape}, not {text}")
        values.setflags(write=False)
        object.__setattr__(self, name, values)

    def _inside(self, name: str, values: NDArray[np.int32], low: int, end: int) -> None:
        fits = bool(((values >= low) & (values < end)).all())
        _demand(fits, name, f"holds an index outside {low} to {end - 1}")


def _array(name: str, values: ArrayLike, dtype: type[np.generic]) -> NDArray[np.generic]:
    try:
        given = np.asarray(values)
        converted = np.array(given, dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise _fault(name, f"cannot be read as an array of {dtype.__name__}: {error}") from error
    if np.issubdtype(dtype, np.integer) and given.size and not np.array_equal(given, converted):
        raise _fault(name, f"holds a value that is not a {dtype.__name__}")
    return converted


def _demand(holds: bool, name: str, why: str) -> None:
    if not holds:
        raise _fault(name, why)


def _fault(name: str, why: str) -> TdseError:
    return TdseError("the placement problem is not well formed", where=name, why=f"it {why}")


def listed(labels: Sequence[str], limit: int = 6) -> str:
    """Names for a message: all of a few, the first ones and a count of many."""
    if len(labels) <= limit:
        return ", ".join(labels)
    return f"{', '.join(labels[:limit])} and {len(labels) - limit} more"
