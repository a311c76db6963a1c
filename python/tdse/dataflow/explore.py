"""Many sizes of an accelerator, and those that no other beats: side by side, and resumed if killed.

Points are independent tasks of joblib: processes of this machine, or of a cluster that Dask knows.
Each is written to a file as soon as it is done.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tdse.dataflow.architecture import Architecture
from tdse.dataflow.layer import Layer
from tdse.dataflow.native import Objective
from tdse.dataflow.network import distinct_layers, map_network
from tdse.dataflow.vary import grid
from tdse.errors import TdseError, UsageError

Search = Literal["exact", "dmazerunner"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Point:
    """Sizes of an accelerator and what the models cost on it; all of it is modelled.

    Attributes:
        pes: processing elements.
        rf_bytes: register file of one PE.
        spm_kib: scratchpad.
        area: the area proxy, bytes of scratchpad.
        latency_us: of one run of each model, one after the other; None where there is no mapping.
        energy_uj: likewise.
        proven: no layer has a better mapping.
        why: why there is no mapping.
        seconds: that the searches took.
    """

    pes: float
    rf_bytes: float
    spm_kib: float
    area: float | None = None
    latency_us: float | None = None
    energy_uj: float | None = None
    proven: bool = False
    why: str = ""
    seconds: float = 0.0

    @property
    def sizes(self) -> tuple[float, float, float]:
        """What tells points apart."""
        return (self.pes, self.rf_bytes, self.spm_kib)


@dataclass(frozen=True)
class Exploration:
    """All points, in the order of the grid.

    Attributes:
        points: also those without a mapping.
        front: positions of the points that no other beats in latency, energy and area.
        resumed: how many points were in the file already.
    """

    points: tuple[Point, ...]
    front: tuple[int, ...]
    resumed: int


def explore(
    layers: Sequence[Layer],
    base: Architecture,
    varied: Mapping[str, Sequence[int]],
    *,
    file: str | os.PathLike[str] | None = None,
    objective: Objective = "edp",
    search: Search = "exact",
    seconds: float = 60.0,
    jobs: int = -1,
    dask: str | None = None,
    progress: Progress = lambda done, total: None,
) -> Exploration:
    """Map the layers onto each size of an accelerator.

    Args:
        layers: of all models.
        base: what is not varied, and the energies that grow with the sizes.
        varied: sizes to try, by the name of the field.
        file: where points are kept; those that it has already are not computed again.
        objective: what is best for each layer.
        search: ``exact``, or what dMazeRunner would look at.
        seconds: for each layer of each point, at most.
        jobs: processes; -1 for as many as there are cores.
        dask: address of a Dask scheduler, whose workers are used instead.
        progress: called with how many points are done, of how many.

    Raises:
        UsageError: the file is of another exploration, or cannot be written; or Dask is missing.
    """
    import joblib

    distinct = distinct_layers(layers)
    points = grid(base, varied)
    store = _Store(file, _identity(distinct, base, objective, search))
    known = store.read()
    waiting = [(sizes, found) for sizes, found in points if _key(sizes) not in known]
    resumed = len(points) - len(waiting)
    done = resumed
    progress(done, len(points))
    tasks = (
        joblib.delayed(_point)(sizes, found, distinct, objective, search, seconds)
        for sizes, found in waiting
    )
    with store.writing(), _backend(dask):
        found_points = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")(tasks)
        for point in found_points:
            store.add(point)
            known[point.sizes] = point
            done += 1
            progress(done, len(points))
    ordered = tuple(known[_key(sizes)] for sizes, _ in points)
    return Exploration(ordered, _front(ordered), resumed)


def _point(
    sizes: Mapping[str, float],
    architecture: Architecture | str,
    layers: Sequence[Layer],
    objective: Objective,
    search: Search,
    seconds: float,
) -> Point:
    pes, rf_bytes, spm_kib = _key(sizes)
    if isinstance(architecture, str):
        return Point(pes, rf_bytes, spm_kib, why=architecture)
    area = architecture.area_proxy
    try:
        result = map_network(
            layers,
            architecture,
            objective,
            seconds=seconds,
            as_dmazerunner=search == "dmazerunner",
        )
    except TdseError as error:
        return Point(pes, rf_bytes, spm_kib, area=area, why=str(error))
    return Point(
        pes,
        rf_bytes,
        spm_kib,
        area=area,
        latency_us=result.latency_us,
        energy_uj=result.energy_pj / 1e6,
        proven=result.is_proven,
        seconds=result.seconds,
    )


def _key(sizes: Mapping[str, float]) -> tuple[float, float, float]:
    return (sizes["pes"], sizes["rf_bytes"], sizes["spm_kib"])


def _front(points: Sequence[Point]) -> tuple[int, ...]:
    import moocore

    valid = [i for i, point in enumerate(points) if point.latency_us is not None]
    if not valid:
        return ()
    costs = np.array(
        [(points[i].latency_us, points[i].energy_uj, points[i].area) for i in valid], float
    )
    return tuple(np.array(valid)[moocore.is_nondominated(costs)].tolist())


def _identity(
    layers: Sequence[Layer], base: Architecture, objective: Objective, search: Search
) -> str:
    """What points of one file have in common."""
    content = [[(*map(str, layer.shape), layer.instances) for layer in layers], objective, search]
    text = json.dumps([content, base.model_dump(exclude={"name"})], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class _Store:
    """A file of lines: what the exploration is, then one point each."""

    def __init__(self, file: str | os.PathLike[str] | None, identity: str) -> None:
        self._path = None if file is None else Path(file)
        self._identity = identity
        self._stream: Any = None

    def read(self) -> dict[tuple[float, float, float], Point]:
        """The points in the file; a last line that was not finished is dropped."""
        if self._path is None or not self._path.exists():
            return {}
        try:
            data = self._path.read_bytes()
            lines = data[: data.rfind(b"\n") + 1].decode().splitlines()
            header = json.loads(lines[0]) if lines else {"exploration": self._identity}
            if header["exploration"] != self._identity:
                raise UsageError(
                    "the points are of another exploration",
                    where=str(self._path),
                    why="models, architecture, objective or search differ",
                    hint="give another file",
                )
            points = [Point(**json.loads(line)) for line in lines[1:]]
            if len(data) > data.rfind(b"\n") + 1:
                os.truncate(self._path, data.rfind(b"\n") + 1)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                "cannot read the points of an exploration",
                where=str(self._path),
                why=str(error),
                hint="give another file",
            ) from error
        return {point.sizes: point for point in points}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """While points are added."""
        if self._path is None:
            yield
            return
        try:
            self._stream = self._path.open("a")
            if not self._path.stat().st_size:
                self._write({"exploration": self._identity})
        except OSError as error:
            raise UsageError(
                "cannot write the points", where=str(self._path), why=error.strerror or ""
            ) from error
        with self._stream:
            yield

    def add(self, point: Point) -> None:
        """Keep a point, so that it is not lost if the next is never done."""
        if self._stream is not None:
            self._write(asdict(point))

    def _write(self, value: dict[str, Any]) -> None:
        self._stream.write(json.dumps(value) + "\n")
        self._stream.flush()


@contextmanager
def _backend(dask: str | None) -> Iterator[None]:
    """Where tasks run: on this machine, or on the workers behind a Dask scheduler."""
    import joblib

    if dask is None:
        yield
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError(
            "Dask is not installed", where=f"--dask {dask}", hint="pip install tdse[cluster]"
        ) from error
    try:
        client = Client(dask, timeout=10)
    except (OSError, ValueError) as error:
        raise UsageError(
            "there is no Dask scheduler", where=f"--dask {dask}", why=str(error)
        ) from error
    with client, joblib.parallel_config(backend="dask"):
        yield
