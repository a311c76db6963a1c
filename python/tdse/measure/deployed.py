"""The board's side of ``tdse deploy``: load artefacts, run them, and time them in turns.

A board needs the runtime for this, and nothing of the compiler.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tdse.errors import TdseError, UsageError
from tdse.measure.board_process import BoardProcess
from tdse.measure.message import as_array, pack, unpack
from tdse.runtime.model import Model, load

# Loading, the first runs and all timing must be done within this, in seconds.
LIMIT_S = 300.0
# One turn of a contender is about this long, and has at least so many runs.
_TURN_US = 50_000.0
_FEWEST_RUNS = 3
# Files of an artefact; a request has no say in other names.
FILES = ("model.so", "placement.json", "metadata.json")


def run_artefacts(request: bytes) -> bytes:
    """Run the first of some artefacts on given inputs, and time all of them in turns.

    Args:
        request: a message; its header says the ``names`` of the artefacts, the number of ``cases``
            of inputs, and ``seconds`` to be timed for; its parts are ``FILES`` of each artefact,
            and the inputs of all cases.

    Returns:
        A message; its parts are the outputs of all cases. Its header has a list ``artefacts`` with
        an entry for each: ``error``, or ``load_us``, ``first_us`` and ``turns_us``, the times of
        the runs of each turn; of the first also ``regions_us``, the times of each region in some
        runs, and ``resident_bytes``.
    """
    return _process.ask(request)


def _answer(request: bytes) -> bytes:
    header, parts = unpack(request)
    try:
        names = [str(name) for name in header["names"]]
        n_cases, seconds = int(header["cases"]), float(header["seconds"])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError("a request is malformed", why=str(error)) from None
    if not names or len(parts) < len(FILES) * len(names):
        raise UsageError(f"a request has {len(parts)} parts for {len(names)} artefacts")
    files = [parts[i * len(FILES) : (i + 1) * len(FILES)] for i in range(len(names))]
    before = _peak_bytes()
    ours, load_us = _loaded(files[0])
    cases = _cases(ours, parts[len(FILES) * len(names) :], n_cases)
    begun = time.perf_counter()
    outputs = ours.run(cases[0])
    first_us = 1e6 * (time.perf_counter() - begun)
    for case in cases[1:]:
        outputs += ours.run(case)
    entries: list[dict[str, Any]] = [
        {
            "name": names[0],
            "load_us": load_us,
            "first_us": first_us,
            "resident_bytes": _peak_bytes() - before,
        }
    ]
    models = {0: ours}
    for i, (name, contents) in enumerate(zip(names[1:], files[1:], strict=True), 1):
        try:
            models[i], load_us = _loaded(contents)
            entries.append({"name": name, "load_us": load_us})
        except TdseError as error:
            entries.append({"name": name, "error": error.as_dict()})
    for i, turns in _race(models, cases[0], seconds).items():
        entries[i]["turns_us"] = [turn.tolist() for turn in turns]
    count = max(_FEWEST_RUNS, min(len(turn) for turn in entries[0]["turns_us"]))
    entries[0]["regions_us"] = ours.profile(cases[0], count).tolist()
    return pack({"artefacts": entries}, [np.ascontiguousarray(y).tobytes() for y in outputs])


def _loaded(contents: Sequence[memoryview]) -> tuple[Model, float]:
    """The artefact of these files, and the microseconds that loading it took.

    They are gone once it is loaded: a process that is killed while it runs leaves none behind.
    """
    with tempfile.TemporaryDirectory(prefix="tdse-deployed-") as directory:
        for name, content in zip(FILES, contents, strict=True):
            (Path(directory) / name).write_bytes(content)
        begun = time.perf_counter()
        model = load(directory)
        return model, 1e6 * (time.perf_counter() - begun)


def _cases(model: Model, parts: Sequence[memoryview], count: int) -> list[list[npt.NDArray[Any]]]:
    width = len(model.inputs)
    if count < 1 or len(parts) != count * width:
        raise UsageError(f"a request has {len(parts)} inputs for {count} runs with {width} each")
    return [
        [
            as_array(part, info.dtype, info.shape)
            for part, info in zip(parts[i * width : (i + 1) * width], model.inputs, strict=True)
        ]
        for i in range(count)
    ]


def _race(
    models: Mapping[int, Model], inputs: Sequence[npt.NDArray[Any]], seconds: float
) -> dict[int, list[npt.NDArray[np.float64]]]:
    """Microseconds of runs of each, in turns, so that a slow moment is nobody's alone."""
    counts = {}
    for i, model in models.items():
        once_us = float(np.median(model.time_runs(inputs, 2)))
        counts[i] = max(_FEWEST_RUNS, int(_TURN_US / max(1.0, once_us)))
    times: dict[int, list[npt.NDArray[np.float64]]] = {i: [] for i in models}
    until = time.monotonic() + seconds
    while not all(len(turns) >= _FEWEST_RUNS for turns in times.values()) or (
        time.monotonic() < until
    ):
        for i, model in models.items():
            times[i].append(model.time_runs(inputs, counts[i]))
    return times


def _peak_bytes() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


_process = BoardProcess(_answer, LIMIT_S)
