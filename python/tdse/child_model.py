"""A model in the process that ``child`` starts: what is known of it from earlier jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tdse.assemble import Compiled
from tdse.child import PREPARING, RUNNING
from tdse.edgetpu.package import is_compiled
from tdse.errors import ModelError
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.measure.activations import Array, activations, random_inputs
from tdse.measure.deadline import Deadline
from tdse.outputs import LitertOutputs
from tdse.runtime.litert import run_litert
from tdse.targets.litert import demand_as_said, demand_runs
from tdse.verify import Verified, verified_regions


class ChildModel:
    """The model, what is known of it from earlier jobs, and the way to the parent."""

    def __init__(
        self, graph: Graph, directory: Path, tell: Callable[..., None], stop: Path
    ) -> None:
        self.graph = graph
        self._tell = tell
        self._stop = stop
        self._file = directory / "values.npz"
        self._values: dict[int, Array] = {}
        # Where kernels were written, which several candidates may share.
        self.libraries: dict[Any, Path] = {}
        self._outputs: LitertOutputs | None = None
        # Candidates that differ in their lanes only are compiled once.
        self._verified: dict[Any, Verified] = {}

    def verified(self, regions: Sequence[Region], threads: int, seed: int) -> Verified:
        """Regions compiled and checked.

        Raises:
            TargetError: they cannot be compiled, or their results are off.
        """
        key = threads, tuple((region.device, region.ops) for region in regions)
        if key not in self._verified:
            self._verified[key] = verified_regions(
                self.graph, regions, threads=threads, values=self.values(seed)
            )
        return self._verified[key].on_lanes_of(regions)

    def deadline(self, at_s: float) -> Deadline:
        """That time, or when the parent is asked to end early."""
        return Deadline(at_s, self._stop)

    def output_gap(self, compiled: Compiled, seed: int) -> dict[str, Any] | None:
        """The outputs of all regions together beside those of the whole model in LiteRT.

        None of a model that is not cut, which is LiteRT's, or that LiteRT cannot run.

        Raises:
            TargetError: LiteRT or a region cannot be run.
        """
        if self.graph.whole_reason or self.graph.ir:
            return None
        if self._outputs is None:
            self._outputs = LitertOutputs(self.graph, seed)
        return self._outputs.gap(compiled.whole().model().run).as_json()

    def at(self, stage: str, target: str, keys: Sequence[str]) -> None:
        """Say what is begun, and with which operators; none for the model as a whole."""
        self._tell(at=[stage, target, keys])

    def say(self, stage: str, done: int, total: int, detail: str) -> None:
        """Say how far it is."""
        self._tell(progress=[stage, done, total, detail])

    def demand_runs(self, seed: int) -> None:
        """Refuse a model that LiteRT cannot run.

        Raises:
            ModelError: with LiteRT's reason.
        """
        graph = self.graph
        if graph.ir:
            return
        self.at(PREPARING, "litert", [])
        demand_runs(graph)
        if graph.whole_reason:
            self.at(RUNNING, "litert", [])
            try:
                outputs = run_litert(graph.data, random_inputs(graph, seed))
            except (RuntimeError, ValueError) as error:
                raise ModelError(
                    "LiteRT cannot run the model", where=graph.name, why=str(error)
                ) from None
            for index, output in zip(graph.outputs, outputs, strict=True):
                demand_as_said(graph, "the model", index, output.shape, output.dtype)
        self.at("", "", [])

    def values(self, seed: int, signatures: Mapping[int, str] | None = None) -> dict[int, Array]:
        """Activations, tensor index to array; none of a model that is not cut.

        LiteRT computes them, or what TVM builds by default of a model without a flatbuffer. They
        outlive the process in a file. Those of a model that edgetpu_compiler made are zeros: no
        machine but an Edge TPU knows them, and times do not depend on them.

        Args:
            seed: of the inputs.
            signatures: operator index to signature, to name the one that is run.
        """
        if self.graph.whole_reason or self._values:
            return self._values
        if self._file.is_file():
            with np.load(self._file) as archive:
                indices, *arrays = (archive[name] for name in archive.files)
            self._values = dict(zip(indices.tolist(), arrays, strict=True))
            return self._values

        if is_compiled(self.graph):
            self._values = {
                tensor.index: np.zeros(tensor.shape, tensor.dtype)
                for tensor in self.graph.tensors
                if not tensor.is_constant
            }
            return self._values

        def begin(op: int) -> None:
            self.at(RUNNING, "litert", [signatures[op]] if signatures else [])

        inputs = random_inputs(self.graph, seed)
        if self.graph.ir:
            from tdse.lifted.reference import reference_values

            values = reference_values(self.graph, inputs)
        else:
            values = activations(self.graph, inputs, begin=begin)
        self.at("", "", [])
        beside = self._file.with_suffix(".part.npz")
        np.savez(beside, np.array(list(values)), *values.values())
        beside.replace(self._file)
        self._values = values
        return values
