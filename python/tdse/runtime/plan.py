"""The plan of an executor: tensors, constants and regions, as the C++ side reads them.

Little endian; ``str`` is a u32 length and UTF-8 bytes, ``ids`` a u32 count and a u32 for each::

    8 bytes "TDSEPLAN"; u32 version = 4
    u32 number of blobs; a u64 size for each; then the blobs, each at a multiple of 64 bytes from
        the start of the plan, zero padded
    u32 number of tensors; each: str name; u8 DLPack type code; u8 bits; u16 lanes;
        u32 rank; i64 for each dimension; i32 blob of a constant, or -1
    ids of the inputs; ids of the outputs
    u32 number of lanes; each: str name; ids of CPUs; u32 spin_us; u32 timeout_ms
    u32 items in flight for each lane
    u32 number of regions; each: str name; str kind; u32 threads; i32 blob, or -1; ids of lanes;
        ids of its inputs; ids of its outputs; u32 number of steps; each: str symbol; ids;
        u32 iterations
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from tdse.errors import TargetError

MAGIC = b"TDSEPLAN"
VERSION = 4
BLOB_ALIGNMENT = 64
# Kinds of regions that run on a device with memory of its own; a colon and its number may follow.
DEVICE_KINDS = ("opencl", "cuda")

# About what it costs to wake a thread that sleeps and to be woken by it: 35 to 80 us on virtual
# machines (benchmarks/executor.py). A thread that spins for as long before it sleeps waits at most
# twice as long as one that knows beforehand which is better.
SPIN_US = 50

# A region counts as hung after so many times what a whole run is predicted or measured to take: a
# board that is throttled tenfold beside another process is far from it. And not before so long:
# what is swapped out, or compiles kernels at its first run, may take many seconds of it.
_TIMES_EXPECTED = 100
_LEAST_LIMIT_MS = 60_000
_MOST_LIMIT_MS = 2**32 - 1

# DLDataTypeCode and bits of the element types that a tensor at a region's border can have.
_TYPES = {
    "bool": (6, 8),
    "int8": (0, 8),
    "int16": (0, 16),
    "int32": (0, 32),
    "int64": (0, 64),
    "uint8": (1, 8),
    "uint16": (1, 16),
    "uint32": (1, 32),
    "uint64": (1, 64),
    "float16": (2, 16),
    "float32": (2, 32),
    "float64": (2, 64),
    "bfloat16": (4, 16),
}


@dataclass(frozen=True)
class PlanTensor:
    """A tensor in memory.

    Attributes:
        name: for messages; need not be unique.
        dtype: numpy's name of the element type, or ``bfloat16``.
        shape: dimensions, outermost first; contiguous.
        constant: its value, of exactly the tensor's size, or None.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    constant: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Step:
    """One call of a compiled kernel.

    Attributes:
        symbol: the kernel's name in an imported library.
        arguments: positions in ``Plan.tensors``; the kernel writes the last ones.
        iterations: of the kernel's outermost loop. The kernel takes two more arguments, the first
            iteration of a call and the one after its last, so that threads can divide the work. 0:
            it takes none.
    """

    symbol: str
    arguments: tuple[int, ...]
    iterations: int = 0


@dataclass(frozen=True)
class PlanLane:
    """A thread that runs regions one after the other.

    An executor of one lane, without CPUs and timeout, has no such thread: regions run on the thread
    of the caller, who need not wait until another one is awake.

    Attributes:
        name: for messages and traces.
        cpus: numbers of the CPUs that the thread, and threads that regions start for it, stay on;
            none: any.
        spin_us: how long the thread looks for work before it sleeps, at most a second.
        timeout_ms: a region that takes longer counts as hung; its lane is not used any more. 0: no
            limit.
    """

    name: str
    cpus: tuple[int, ...] = ()
    spin_us: int = SPIN_US
    timeout_ms: int = 0


def time_limit_ms(expected_us: float | None, n_lanes: int) -> int:
    """The time limit of each lane of a plan, milliseconds; 0: none.

    One lane is the caller's own thread, which nobody could leave behind; to give it another one
    would cost every run a wake-up.

    Args:
        expected_us: what a whole run takes; None if nothing is known.
        n_lanes: lanes of the plan.
    """
    if expected_us is None or n_lanes < 2:
        return 0
    limit_ms = max(_LEAST_LIMIT_MS, math.ceil(_TIMES_EXPECTED * expected_us / 1e3))
    return min(limit_ms, _MOST_LIMIT_MS)


@dataclass(frozen=True)
class PlanRegion:
    """A part of the model that one target runs.

    Attributes:
        name: for messages and profiles.
        kind: ``litert`` or ``litert_interpreter``, which run ``blob``, or ``tvm``, or a device:
            ``opencl``, ``opencl:1``, ``cuda``, or a kind that another package brings.
        threads: threads that it may use.
        blob: a ``.tflite`` slice.
        inputs: positions in ``Plan.tensors``, in the slice's order.
        outputs: likewise.
        steps: kernels of the other kinds, called in order.
        lanes: positions in ``Plan.lanes``; each has a copy of the region, and whichever is free
            first takes an item, with all its regions on the same lanes. A region that keeps state
            from run to run must have one, and must not come after one that has several.
    """

    name: str
    kind: str
    threads: int
    blob: bytes | None = field(repr=False)
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    steps: tuple[Step, ...] = ()
    lanes: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Plan:
    """All that an executor needs besides compiled kernels.

    Attributes:
        tensors: every tensor at a border, every constant and intermediate of ``tvm`` regions.
        inputs: positions in ``tensors``, in the model's order.
        outputs: likewise.
        regions: in an order in which they can run; those on the same lanes run in this order.
        lanes: what runs side by side.
        items_per_lane: how many items of a stream may be in flight for each lane, if there are
            several: one that it works on, and those that wait. Each has buffers of its own.
    """

    tensors: tuple[PlanTensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    regions: tuple[PlanRegion, ...]
    lanes: tuple[PlanLane, ...] = (PlanLane("cpu"),)
    items_per_lane: int = 2

    def to_bytes(self) -> bytes:
        """The plan for ``tdse.executor_create``. Equal blobs are stored once.

        Raises:
            TargetError: a tensor has an element type that no region can pass on.
        """
        blobs = _Blobs()
        regions = [_region(region, blobs) for region in self.regions]
        tensors = [_tensor(tensor, blobs) for tensor in self.tensors]
        return b"".join(
            (
                blobs.to_bytes(MAGIC + _u32(VERSION)),
                _list(tensors),
                _ids(self.inputs),
                _ids(self.outputs),
                _list([_lane(lane) for lane in self.lanes]),
                _u32(self.items_per_lane),
                _list(regions),
            )
        )


class _Blobs:
    """Blobs in the order in which they were added, each once."""

    def __init__(self) -> None:
        self._index: dict[bytes, int] = {}

    def add(self, blob: bytes | None) -> int:
        if blob is None:
            return -1
        return self._index.setdefault(blob, len(self._index))

    def to_bytes(self, header: bytes) -> bytes:
        out = bytearray(header + _u32(len(self._index)))
        for blob in self._index:
            out += struct.pack("<Q", len(blob))
        for blob in self._index:
            out += bytes(-len(out) % BLOB_ALIGNMENT)
            out += blob
        return bytes(out)


def _tensor(tensor: PlanTensor, blobs: _Blobs) -> bytes:
    if tensor.dtype not in _TYPES:
        raise TargetError(
            f"tensor {tensor.name!r} of type {tensor.dtype} cannot pass between regions",
            hint="place the operators on both sides of it on the same device",
        )
    code, bits = _TYPES[tensor.dtype]
    return b"".join(
        (
            _str(tensor.name),
            struct.pack("<BBH", code, bits, 1),
            _u32(len(tensor.shape)),
            struct.pack(f"<{len(tensor.shape)}q", *tensor.shape),
            struct.pack("<i", blobs.add(tensor.constant)),
        )
    )


def _lane(lane: PlanLane) -> bytes:
    return b"".join((_str(lane.name), _ids(lane.cpus), _u32(lane.spin_us), _u32(lane.timeout_ms)))


def _region(region: PlanRegion, blobs: _Blobs) -> bytes:
    steps = [
        _str(step.symbol) + _ids(step.arguments) + _u32(step.iterations) for step in region.steps
    ]
    return b"".join(
        (
            _str(region.name),
            _str(region.kind),
            struct.pack("<Ii", region.threads, blobs.add(region.blob)),
            _ids(region.lanes),
            _ids(region.inputs),
            _ids(region.outputs),
            _list(steps),
        )
    )


def _u32(value: int) -> bytes:
    return struct.pack("<I", value)


def _str(text: str) -> bytes:
    encoded = text.encode("utf-8", "replace")
    return _u32(len(encoded)) + encoded


def _ids(ids: Sequence[int]) -> bytes:
    return _u32(len(ids)) + struct.pack(f"<{len(ids)}I", *ids)


def _list(encoded: Sequence[bytes]) -> bytes:
    return _u32(len(encoded)) + b"".join(encoded)


@dataclass(frozen=True)
class PlanBorders:
    """The inputs and outputs in the bytes of a plan.

    Attributes:
        inputs: positions of the inputs among the tensors.
        outputs: likewise.
        start: where the list of outputs begins in the bytes.
        end: where it ends.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    start: int
    end: int


def read_borders(plan: bytes) -> PlanBorders:
    """Find the inputs and outputs of a plan that an executor was made of."""
    at = len(MAGIC) + 4
    (n_blobs,) = struct.unpack_from("<I", plan, at)
    sizes = struct.unpack_from(f"<{n_blobs}Q", plan, at + 4)
    at += 4 + 8 * n_blobs
    for size in sizes:
        at += -at % BLOB_ALIGNMENT + size
    (n_tensors,) = struct.unpack_from("<I", plan, at)
    at += 4
    for _ in range(n_tensors):
        (length,) = struct.unpack_from("<I", plan, at)
        at += 4 + length + struct.calcsize("<BBH")
        (rank,) = struct.unpack_from("<I", plan, at)
        at += 4 + 8 * rank + 4
    inputs, start = _read_ids(plan, at)
    outputs, end = _read_ids(plan, start)
    return PlanBorders(inputs, outputs, start, end)


def with_outputs(plan: bytes, outputs: Sequence[int]) -> bytes:
    """The same plan with other outputs: what regions make can be looked at."""
    borders = read_borders(plan)
    return plan[: borders.start] + _ids(outputs) + plan[borders.end :]


def _read_ids(plan: bytes, at: int) -> tuple[tuple[int, ...], int]:
    (count,) = struct.unpack_from("<I", plan, at)
    return struct.unpack_from(f"<{count}I", plan, at + 4), at + 4 + 4 * count
