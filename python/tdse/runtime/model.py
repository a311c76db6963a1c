"""Load an artefact and run it with numpy arrays."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ctypes import addressof, c_char
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from tdse.errors import TargetError, TdseError, UsageError
from tdse.runtime import native
from tdse.runtime.artefact import MODULE
from tdse.runtime.check import check_artefact, demand_edgetpus
from tdse.runtime.plan import DEVICE_KINDS

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class TensorInfo:
    """Name, numpy dtype and shape of an input or output."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class RegionRun:
    """One region of one item, as a trace has it.

    Attributes:
        item: number of the call or element of a stream, counted since the model was loaded.
        region: position in ``Model.regions``.
        lane: position in ``Model.lanes``.
        start_us: microseconds since the trace was started.
        end_us: likewise.
    """

    item: int
    region: int
    lane: int
    start_us: float
    end_us: float


def load(
    directory: str | os.PathLike[str],
    *,
    isolate: bool = False,
    public_key: str | os.PathLike[str] | None = None,
) -> Model:
    """Load the artefact in ``directory``.

    Args:
        directory: what tdsec wrote.
        isolate: load and run its code in a child process, so that a crash in it is a TargetError
            here. The child ends when the model is dropped. A call takes some 0.1 ms longer, and
            ``stream`` runs one item after the other.
        public_key: an Ed25519 public key in PEM; an artefact that is not signed with it is refused.

    Raises:
        ArtefactError: it is incomplete, damaged, made for another machine, or not signed with the
            key; its code has not been loaded then.
        UsageError: the key cannot be read.
        TargetError: the child process crashed while it loaded the artefact, or the artefact is for
            an Edge TPU and there is none.
    """
    metadata = check_artefact(directory, public_key=public_key)
    demand_edgetpus(metadata)
    module = Path(directory) / MODULE
    return Model(
        _child_executor(module) if isolate else native.load_executor(module),
        input_names=metadata["inputs"],
        output_names=metadata["outputs"],
        metadata=metadata,
    )


def _child_executor(module: Path) -> Any:
    # Imported here: few models are loaded so, and all others would wait for it.
    from tdse.runtime.isolated import ChildExecutor

    return ChildExecutor(module)


def model_by_position(executor: Any) -> Model:
    """The model of an executor that comes without metadata: its tensors are named 0, 1, ..."""
    description = json.loads(executor["describe"]())
    return Model(
        executor,
        input_names=[str(i) for i in range(len(description["inputs"]))],
        output_names=[str(i) for i in range(len(description["outputs"]))],
    )


class Model:
    """A loaded model: call it with one array per input, by position or by tensor name.

    A call copies the inputs in, runs every region, and returns new arrays. Several threads may
    call; what one lane has to do for them is done one after the other.
    """

    def __init__(
        self,
        executor: Any,
        *,
        input_names: Sequence[str],
        output_names: Sequence[str],
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.metadata = dict(metadata or {})
        self._executor = executor
        self._run = executor["run"]
        description = json.loads(executor["describe"]())
        self.inputs = _infos(description["inputs"], input_names)
        self.outputs = _infos(description["outputs"], output_names)
        self.lanes: list[dict[str, Any]] = description["lanes"]
        self.regions: list[dict[str, Any]] = description["regions"]
        self.max_items: int = description["max_items"]
        self.arena_bytes: int = description["arena_bytes"]
        self.uses_device = any(
            region["kind"].partition(":")[0] in DEVICE_KINDS for region in self.regions
        )
        self._position = {info.name: i for i, info in enumerate(self.inputs)}

    def __call__(self, *arrays: npt.ArrayLike, **named: npt.ArrayLike) -> Array | tuple[Array, ...]:
        """Run the model once.

        Args:
            arrays: inputs in the model's order; shapes and dtypes as in ``inputs``.
            named: inputs by tensor name, instead.

        Returns:
            The output, or a tuple of outputs if the model has several.

        Raises:
            UsageError: an input is missing, unknown, or of the wrong shape or dtype.
            TargetError: a region failed; its name is in the message.
        """
        return _one_or_tuple(self.run(self._ordered(arrays, named) if named else arrays))

    def run(self, arrays: Sequence[npt.ArrayLike]) -> list[Array]:
        """Like a call, with the inputs in a sequence and always a list of outputs."""
        inputs = self._checked(arrays)
        outputs = self._empty_outputs()
        native.call(self._run, *_addresses(inputs), *_addresses(outputs))
        return outputs

    @overload
    def stream(
        self, items: Iterable[Any], *, return_exceptions: Literal[False] = False
    ) -> Iterator[Array | tuple[Array, ...]]: ...

    @overload
    def stream(
        self, items: Iterable[Any], *, return_exceptions: bool
    ) -> Iterator[Array | tuple[Array, ...] | TdseError]: ...

    def stream(
        self, items: Iterable[Any], *, return_exceptions: bool = False
    ) -> Iterator[Array | tuple[Array, ...] | TdseError]:
        """Run the model on each of ``items``, several at a time where it has several lanes.

        Items are taken only as fast as results are: at most ``max_items`` are on their way. What is
        done is yielded before the next item is asked for. The generator may be closed at any time,
        which skips what is on its way.

        Args:
            items: for each call its input, a tuple of its inputs, or a dictionary by tensor name.
            return_exceptions: yield the error of an item in the place of its result. Otherwise it
                is raised there, which ends the stream: what is on its way behind it is skipped.

        Yields:
            For each item, in order, what a call returns.

        Raises:
            UsageError: an input is missing, unknown, or of the wrong shape or dtype.
            TargetError: a region failed; its name is in the message.
        """
        stream = native.call(self._executor["stream"])
        push, pop, ready = stream["push"], stream["pop"], stream["ready"]
        cancel = partial(_cancel, stream["cancel"])
        # A thread that wants to run Python while the interpreter ends would end the process.
        atexit.register(cancel)
        # For each item on its way, what is wrong with its inputs.
        waiting: deque[UsageError | None] = deque()

        def next_result() -> Array | tuple[Array, ...] | TdseError:
            try:
                error = waiting.popleft()
                if error is not None:
                    raise error
                outputs = self._empty_outputs()
                native.call(pop, *_addresses(outputs))
            except TdseError as error:
                if not return_exceptions:
                    raise
                return error
            return _one_or_tuple(outputs)

        try:
            for item in items:
                try:
                    inputs = self._checked(self._inputs_of(item))
                except UsageError as error:
                    waiting.append(error)
                else:
                    while not native.call(push, *_addresses(inputs)):
                        yield next_result()
                    waiting.append(None)
                while waiting and (waiting[0] is not None or native.call(ready)):
                    yield next_result()
            while waiting:
                yield next_result()
        finally:
            atexit.unregister(cancel)
            cancel()

    def time_runs(self, arrays: Sequence[npt.ArrayLike], count: int) -> npt.NDArray[np.float64]:
        """Microseconds of ``count`` runs, inputs copied in once, outputs left in place."""
        inputs = self._checked(arrays)
        raw = native.call(self._executor["time_runs"], count, *_addresses(inputs))
        return np.frombuffer(raw, np.float64)

    def time_stream(self, arrays: Sequence[npt.ArrayLike], count: int) -> npt.NDArray[np.float64]:
        """Microseconds from the first input to each of ``count`` outputs of a stream, copies
        included, without Python in between. All items have the same inputs.
        """
        inputs = self._checked(arrays)
        raw = native.call(self._executor["time_stream"], count, *_addresses(inputs))
        return np.frombuffer(raw, np.float64)

    def time_period(self, arrays: Sequence[npt.ArrayLike], count: int) -> float:
        """Microseconds between two of ``count`` results of a stream, while its lanes are full.

        Neither results count that come before lanes are full, nor those that nothing follows.
        """
        depth = self.max_items
        ends_us = self.time_stream(arrays, count + 2 * depth)
        return float(ends_us[-depth - 1] - ends_us[depth - 1]) / count

    def start_trace(self) -> None:
        """Note each region that runs from now on, in calls and streams, until ``take_trace``."""
        native.call(self._executor["start_trace"])

    def take_trace(self) -> list[RegionRun]:
        """End the trace; what ran, in the order in which it ended."""
        raw = native.call(self._executor["take_trace"])
        rows = np.frombuffer(bytes(raw), np.float64).reshape(-1, 5).tolist()
        return [
            RegionRun(int(item), int(region), int(lane), start_us, end_us)
            for item, region, lane, start_us, end_us in rows
        ]

    def profile(self, arrays: Sequence[npt.ArrayLike], count: int) -> npt.NDArray[np.float64]:
        """Microseconds of each region in ``count`` runs, shape ``[count, regions]``."""
        inputs = self._checked(arrays)
        raw = native.call(self._executor["profile"], count, *_addresses(inputs))
        return np.frombuffer(raw, np.float64).reshape(count, len(self.regions))

    def random_inputs(self, seed: int) -> list[Array]:
        """One array for each input: any 8-bit value, floats in [-1, 1), else 0 or 1."""
        generator = np.random.default_rng(seed)
        return [random_array(info.shape, info.dtype, generator) for info in self.inputs]

    def _empty_outputs(self) -> list[Array]:
        return [np.empty(info.shape, info.dtype) for info in self.outputs]

    def _inputs_of(self, item: Any) -> list[npt.ArrayLike]:
        """The inputs of an element of a stream, in the model's order."""
        if isinstance(item, Mapping):
            return self._ordered((), item)
        return list(item) if isinstance(item, tuple) else [item]

    def _ordered(
        self, arrays: Sequence[npt.ArrayLike], named: Mapping[str, npt.ArrayLike]
    ) -> list[npt.ArrayLike]:
        if not named:
            return list(arrays)
        if arrays:
            raise UsageError("inputs are given both by position and by name", hint="use one way")
        unknown = [name for name in named if name not in self._position]
        missing = [info.name for info in self.inputs if info.name not in named]
        if unknown or missing:
            raise UsageError(
                f"no input is named {unknown[0]!r}"
                if unknown
                else f"input {missing[0]!r} is missing",
                hint=f"the inputs are {', '.join(info.name for info in self.inputs)}",
            )
        return [named[info.name] for info in self.inputs]

    def _checked(self, arrays: Sequence[npt.ArrayLike]) -> list[Array]:
        if len(arrays) != len(self.inputs):
            raise UsageError(
                f"the model takes {len(self.inputs)} inputs, not {len(arrays)}",
                hint=f"they are {', '.join(info.name for info in self.inputs)}",
            )
        checked = []
        for array, info in zip(arrays, self.inputs, strict=True):
            try:
                value = np.asarray(array)
            except ValueError as error:
                raise UsageError(f"input {info.name!r} is not an array", why=str(error)) from None
            if value.shape != info.shape or value.dtype != info.dtype:
                raise UsageError(
                    f"input {info.name!r} has shape {value.shape} and dtype {value.dtype}",
                    why=f"the model takes {info.shape} and {info.dtype}",
                    hint="convert the array first",
                )
            checked.append(value if value.flags.c_contiguous else value.copy())
        return checked


def random_array(
    shape: tuple[int, ...], dtype: np.dtype[Any], generator: np.random.Generator
) -> Array:
    """Random values that a model may meet: see ``Model.random_inputs``."""
    if dtype.kind == "f":
        return generator.uniform(-1.0, 1.0, shape).astype(dtype)
    if dtype.kind != "b" and dtype.itemsize <= 2:
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    # Wider integers are indices or counts far more often than values.
    return generator.integers(0, 2, shape).astype(dtype)


def _cancel(cancel: Callable[[], None]) -> None:
    # Refused in a forked process, where nothing is on its way.
    with contextlib.suppress(TargetError):
        native.call(cancel)


def _one_or_tuple(outputs: list[Array]) -> Array | tuple[Array, ...]:
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _addresses(arrays: Sequence[Array]) -> list[int]:
    """Where contiguous arrays begin."""
    # Takes a third of the time of numpy's own way, which would be a third of an empty call.
    return [
        addressof(_buffer_of(array)) if array.flags.writeable and array.size else array.ctypes.data
        for array in arrays
    ]


# Of anything that has a buffer: numpy's stubs do not say so of arrays before Python 3.12.
_buffer_of: Callable[[Any], c_char] = c_char.from_buffer


def _infos(described: Sequence[Mapping[str, Any]], names: Sequence[str]) -> tuple[TensorInfo, ...]:
    return tuple(
        TensorInfo(name, np.dtype(entry["dtype"]), tuple(entry["shape"]))
        for entry, name in zip(described, names, strict=True)
    )
